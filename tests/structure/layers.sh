#!/bin/sh
# SPDX-License-Identifier: ISC
# Who may include whom: every #include of the program against a table of allowed
# edges; the table itself has no circles; libraries stay on their floors; and no
# mutex lives outside of proxy/shared. Usage: layers.sh SOURCE
set -eu

source=${1:?usage: layers.sh SOURCE}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$source"

# module: what it may include beside itself. "Down" is a call, "up" an operations
# table; whoever needs a new edge here changes the design and says so in DESIGN.
cat >"$work/edges" <<'EOF'
base:
policy:   base
shared:   base policy
reaper:   base shared
config:   base policy shared net
net:      base policy shared
loop:     base policy shared config net
ftp:      base policy shared config net loop
pool:     base policy shared config net loop ftp
session:  base policy shared config net loop ftp pool
listener: base policy shared config net loop session
worker:   base policy shared config net loop session listener
tables:
ops:      base policy shared config net reaper tables
ctl:      base tables
main:     base policy shared config net loop pool session listener worker reaper ops
EOF

# library (the beginning of its headers' names): the modules that may use it.
cat >"$work/libraries" <<'EOF'
event2:     net loop ftp pool session listener worker ops main
openssl:    net config ops
ares:       net
confuse:    ops
jansson:    ops ctl
EOF

# The module of a file. A header is of the module of the .c file of its name; those
# that have none are named here.
module_of() { # PATH
	case $1 in
	proxy/main.* | proxy/runtime.* | proxy/runtime_*) echo main ;;
	proxy/worker.* | proxy/worker_*) echo worker ;;
	proxy/listener.*) echo listener ;;
	proxy/session.* | proxy/session_*) echo session ;;
	proxy/reaper.*) echo reaper ;;
	proxy/ops/sallyportctl.*) echo ctl ;;
	proxy/*/*) echo "$1" | cut -d/ -f2 ;;
	policy/*) echo policy ;;
	include/sallyport/tbl/*) module_of_table "$(basename "$1" .def)" ;;
	include/sallyport/*) module_of_header "$(basename "$1" .h)" ;;
	*) echo unknown ;;
	esac
}

module_of_header() { # NAME
	case $1 in
	base | span | clock | session_id) echo base ;;
	thread_safety | event | end_reason) echo shared ;;
	ftp_address) echo ftp ;;
	config) echo config ;; # the snapshot: data that the workers' side reads; made by ops
	socket_calls) echo net ;; # inline, of no .c file
	loop) echo loop ;; # what a session may know of its worker
	policy) echo policy ;;
	sink) echo ops ;;
	config_*) echo ops ;;
	*)
		for f in proxy/"$1".c proxy/*/"$1".c policy/"$1".c; do
			if [ -f "$f" ]; then
				module_of "$f"
				return
			fi
		done
		echo unknown
		;;
	esac
}

module_of_table() { # NAME
	case $1 in
	clocks | verbs) echo policy ;;
	counters | end_reasons | events | ledger) echo shared ;;
	*) echo tables ;; # closed sets of the operator's side
	esac
}

# --- the table has no circles ------------------------------------------------------

tr -d ':' <"$work/edges" | awk '{ print $1, $1; for (i = 2; i <= NF; i++) print $1, $i }' >"$work/pairs"
if ! tsort "$work/pairs" >"$work/order" 2>"$work/loops"; then
	echo "layers: the table of edges has a circle:" >&2
	cat "$work/loops" >&2
	exit 1
fi

# --- every include ------------------------------------------------------------------

find proxy policy include -name '*.[ch]' -o -name '*.def' | sort >"$work/files"
: >"$work/modules"
while read -r file; do
	echo "$file $(module_of "$file")" >>"$work/modules"
done <"$work/files"

# FILE INCLUDED, both as paths of the tree; a private header lies beside its users.
while read -r file; do
	sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file" | while read -r name; do
		case $name in
		sallyport/*) echo "$file include/$name" ;;
		*) echo "$file $(dirname "$file")/$name" ;;
		esac
	done
done <"$work/files" >"$work/includes"

while read -r file; do
	sed -n 's/^[ \t]*#[ \t]*include[ \t]*<\([^>]*\)>.*/\1/p' "$file" | while read -r name; do
		echo "$file $name"
	done
done <"$work/files" >"$work/system"

awk -v edges="$work/edges" -v libraries="$work/libraries" -v modules="$work/modules" -v system_="$work/system" '
	BEGIN {
		while ((getline line < edges) > 0) {
			n = split(line, w, /[: \t]+/)
			known[w[1]] = 1
			allowed[w[1], w[1]] = 1
			for (i = 2; i <= n; i++) allowed[w[1], w[i]] = 1
		}
		while ((getline line < libraries) > 0) {
			n = split(line, w, /[: \t]+/)
			library[w[1]] = 1
			for (i = 2; i <= n; i++) uses[w[i], w[1]] = 1
		}
		while ((getline line < modules) > 0) {
			split(line, w, " ")
			module[w[1]] = w[2]
			if (!(w[2] in known)) print "layers: " w[1] ": of no module (name it in layers.sh)"
		}
		while ((getline line < system_) > 0) {
			split(line, w, " ")
			split(w[2], l, /[\/.]/)
			if (l[1] in library && !((module[w[1]], l[1]) in uses))
				print "layers: " w[1] " (" module[w[1]] ") may not use " l[1]
		}
	}
	!($2 in module) { print "layers: " $1 " includes " $2 ", which does not exist"; next }
	!((module[$1], module[$2]) in allowed) {
		print "layers: " $1 " (" module[$1] ") may not include " $2 " (" module[$2] ")"
	}
' "$work/includes" >"$work/wrong"

# --- every mutex is in proxy/shared -----------------------------------------------------

grep -nE 'pthread_(mutex|rwlock|spin)_|\bmtx_|core_lock_(take|drop)' $(find proxy policy -name '*.[ch]') |
	grep -v '^proxy/shared/' | sed 's/^/layers: a lock outside of proxy\/shared: /' >>"$work/wrong" || true

if [ -s "$work/wrong" ]; then
	cat "$work/wrong" >&2
	exit 1
fi
echo "layers: $(wc -l <"$work/files") files, $(wc -l <"$work/includes") includes:" \
	"all along the $(wc -l <"$work/edges") modules' edges, no circles, no lock outside of proxy/shared"

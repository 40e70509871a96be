#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The benchmark with one command: fetches the peers, builds Sallyport (release) and the tools,
# measures all of them side by side. See README.md.
#
#	run.sh [--quick] [--only WORKLOADS] [--peers PEERS] [--rounds N] [--seconds S] [--out DIR]
#	       [--work DIR] [--no-fetch] [--table] …
#
# --work DIR	where peers and builds are kept (build/bench in the source tree)
# --no-fetch	do not fetch peers; those that are not there are shown as "–"
# --table	the micro-benchmark of the session table instead
# All other options are bench.py's: run.sh --help
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=
fetch=yes
table=no
for argument in "$@"; do
	shift
	case $argument in
	--work=*) work=${argument#--work=} ;;
	--work) work=next ;;
	--no-fetch) fetch=no ;;
	--table) table=yes ;;
	*)
		if [ "$work" = next ]; then
			work=$argument
		else
			set -- "$@" "$argument"
		fi
		;;
	esac
done
: "${work:=$root/build/bench}"
mkdir -p "$work"
work=$(cd "$work" && pwd)

missing=
for tool in cmake pkg-config python3 openssl; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
command -v cc >/dev/null || command -v gcc >/dev/null || missing="$missing gcc"
for module in libevent_core:libevent-dev libcares:libc-ares-dev openssl:libssl-dev \
	libconfuse:libconfuse-dev jansson:libjansson-dev; do
	pkg-config --exists "${module%%:*}" 2>/dev/null || missing="$missing ${module#*:}"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "run.sh: these are missing:$missing" >&2
		exit 1
	fi
	apt-get update -q >/dev/null
	# shellcheck disable=SC2086
	apt-get install -q -y --no-install-recommends $missing >/dev/null
fi

if ! { cmake -S "$root" -B "$work/build" --preset release -DSALLYPORT_WERROR=OFF \
	-DSALLYPORT_BENCH=ON && cmake --build "$work/build" --parallel; } >"$work/build.log" 2>&1; then
	tail -40 "$work/build.log" >&2
	echo "run.sh: the build failed; all of it is in $work/build.log" >&2
	exit 1
fi

if [ "$table" = yes ]; then
	exec "$work/build/tests/bench/bench_table" "$@"
fi

if [ "$fetch" = yes ] && command -v apt-get >/dev/null; then
	"$here/fetch_peers.sh" "$work/peers" ||
		echo "run.sh: not all peers could be fetched; they are shown as –" >&2
fi

out=
for argument in "$@"; do
	case $argument in
	--out | --out=*) out=given ;;
	esac
done
[ -n "$out" ] || set -- --out "$work/results" "$@"
exec python3 "$here/bench.py" --bin "$work/build/tests/bench" --sallyport "$work/build/sallyport" \
	--cache "$work/peers" "$@"

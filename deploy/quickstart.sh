#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Shows Sallyport at work on a fresh Debian 12 in a minute or two: installs what is missing, builds it, starts
# two FTP servers (vsftpd and pyftpdlib) with sample files on loopback, puts Sallyport before them, logs on,
# lists, downloads and uploads through it, and stays up until Ctrl-C for you to try.
#
#	sh deploy/quickstart.sh [--once]
#
# --once		ends after the demonstration
# SALLYPORT_PORT	port to listen on (2121, or the next free one)
# SALLYPORT_BIN		a sallyport to use instead of building one
#
# Everything that it writes is in one temporary folder, which it removes; it ends what it started.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/lib/apt.sh"

once=no
case ${1:-} in
--once) once=yes ;;
'') ;;
*)
	sed -n '/^#	/s/^#	//p' "$0" >&2
	exit 2
	;;
esac

work=
children=
finish()
{
	status=$?
	trap - EXIT INT TERM
	for child in $children; do
		kill "$child" 2>/dev/null || :
	done
	for child in $children; do
		wait "$child" 2>/dev/null || :
	done
	[ -z "$work" ] || rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM

step()
{
	printf '\n--- %s\n' "$1"
}

fail()
{
	echo "quickstart: $1" >&2
	[ -z "${2:-}" ] || tail -n 20 "$2" >&2
	exit 1
}

# listening PORT: is somebody there?
listening()
{
	ss -Hltn "sport = :$1" | grep -q .
}

# free_port FIRST: the first free one from there on
free_port()
{
	port=$1
	while listening "$port"; do
		port=$((port + 1))
	done
	echo "$port"
}

# wait_for PORT PID LOG NAME: until it listens
wait_for()
{
	tries=0
	until listening "$1"; do
		kill -0 "$2" 2>/dev/null || fail "$4 ended at once" "$3"
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "$4 does not listen on port $1" "$3"
		sleep 0.1
	done
}

step "1. Packages"
build_needs="gcc libc6-dev cmake make pkg-config libevent-dev libc-ares-dev libssl-dev libconfuse-dev libjansson-dev"
[ -z "${SALLYPORT_BIN:-}" ] || build_needs=
# shellcheck disable=SC2086
apt_need $build_needs python3 python3-pyftpdlib curl iproute2 || fail "some packages could not be installed"
cache=${SALLYPORT_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sallyport-tests}
vsftpd=$(command -v vsftpd || echo "$cache/servers/vsftpd/usr/sbin/vsftpd")
[ -x "$vsftpd" ] || sh "$root/tests/lib/fetch_servers.sh" "$cache/servers" vsftpd || fail "cannot fetch vsftpd"
echo "all there"

step "2. Build"
sallyport=${SALLYPORT_BIN:-$root/build/release/sallyport}
if [ -z "${SALLYPORT_BIN:-}" ]; then
	mkdir -p "$root/build"
	log=$root/build/quickstart.log
	{ cmake -S "$root" --preset release && cmake --build "$root/build/release" -j "$(nproc)"; } >"$log" 2>&1 ||
		fail "the build failed; all of it is in $log" "$log"
fi
"$sallyport" -V

work=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-quickstart.XXXXXX")
chmod 755 "$work"

step "3. Two FTP servers on 127.0.0.1"
for name in one two; do
	mkdir -p "$work/$name/pub" "$work/$name/incoming"
	echo "Hello from server $name." >"$work/$name/pub/hello.txt"
	head -c 1048576 /dev/urandom >"$work/$name/pub/megabyte.bin"
	chmod 777 "$work/$name/incoming"
done
mkdir "$work/empty"

one=$(free_port 21211)
cat >"$work/vsftpd.conf" <<END
listen=YES
listen_address=127.0.0.1
listen_port=$one
background=NO
anonymous_enable=YES
anon_root=$work/one
anon_upload_enable=YES
anon_umask=022
write_enable=YES
secure_chroot_dir=$work/empty
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
END
if [ "$(id -u)" -eq 0 ]; then
	echo "ftp_username=daemon" # whose home exists: vsftpd insists
else
	echo "run_as_launching_user=YES"
fi >>"$work/vsftpd.conf"
"$vsftpd" "$work/vsftpd.conf" >"$work/vsftpd.log" 2>&1 &
children="$children $!"
wait_for "$one" $! "$work/vsftpd.log" vsftpd
echo "one: vsftpd    127.0.0.1:$one"

two=$(free_port 21311)
/usr/bin/python3 -m pyftpdlib -i 127.0.0.1 -p "$two" -d "$work/two" -w >"$work/pyftpdlib.log" 2>&1 &
children="$children $!"
wait_for "$two" $! "$work/pyftpdlib.log" pyftpdlib
echo "two: pyftpdlib 127.0.0.1:$two"

step "4. Sallyport before them"
port=$(free_port "${SALLYPORT_PORT:-2121}")
cat >"$work/sallyport.conf" <<END
admin { socket = "$work/admin.sock" }
log   { format = text  file = "$work/sallyport.log" }

listener quickstart {
	bind     = { "127.0.0.1:$port" }
	greeting = "Sallyport quickstart."
}
pool both {
	balance = round_robin
	server one { address = "127.0.0.1:$one" }
	server two { address = "127.0.0.1:$two" }
}
policy default { idle_timeout = 5m }
route { pool = both  policy = default }
END
"$sallyport" -t -c "$work/sallyport.conf" || fail "the configuration is not accepted"
"$sallyport" -c "$work/sallyport.conf" >"$work/output.log" 2>&1 &
gate=$!
children="$gate $children"
wait_for "$port" $gate "$work/output.log" sallyport

url=ftp://127.0.0.1:$port
step "5. A logon, a listing, a download and an upload through $url"
ask()
{
	curl -sS --max-time 30 --user anonymous:guest@example.com "$@"
}
# Two of each, since logons go to the servers in turn.
for number in 1 2; do
	ask "$url/pub/hello.txt" || fail "logon $number" "$work/sallyport.log"
done
echo "ok: logon (one at each server)"
ask "$url/pub/" || fail "listing" "$work/sallyport.log"
ask --list-only "$url/pub/" >/dev/null || fail "listing" "$work/sallyport.log"
echo "ok: listing"
for name in one two; do
	ask -o "$work/download" "$url/pub/megabyte.bin" || fail "download" "$work/sallyport.log"
	cmp -s "$work/download" "$work/one/pub/megabyte.bin" || cmp -s "$work/download" "$work/two/pub/megabyte.bin" ||
		fail "the download differs" "$work/sallyport.log"
done
echo "ok: download of 1 MiB, twice, byte for byte"
for name in one two; do
	ask -T "$work/$name/pub/megabyte.bin" "$url/incoming/from-$name.bin" || fail "upload" "$work/sallyport.log"
done
for name in one two; do
	cmp -s "$work/$name/pub/megabyte.bin" "$work/one/incoming/from-$name.bin" ||
		cmp -s "$work/$name/pub/megabyte.bin" "$work/two/incoming/from-$name.bin" ||
		fail "the upload differs" "$work/sallyport.log"
done
echo "ok: upload of 1 MiB to each server, byte for byte"
ctl=$(dirname "$sallyport")/sallyportctl
if [ -x "$ctl" ]; then
	"$ctl" -s "$work/admin.sock" show pools
fi

cat <<END

Try it:
	address   127.0.0.1 port $port
	user      anonymous, any password
	curl      curl $url/pub/hello.txt
	          curl -T FILE $url/incoming/
	lftp      lftp $url
	sessions  $ctl -s $work/admin.sock show sessions
	log       tail -f $work/sallyport.log
	config    $work/sallyport.conf
END
[ "$once" = no ] || exit 0
echo
echo "Ctrl-C ends it."
wait "$gate" || fail "sallyport ended" "$work/output.log"

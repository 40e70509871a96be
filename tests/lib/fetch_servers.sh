#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Unpacks FTP servers of Debian side by side: their packages conflict with one another, so they are not
# installed, and no daemon is started by a package's scripts. What they link with is installed by apt.
#
#	fetch_servers.sh DIRECTORY [PACKAGE...]
#
# Leaves DIRECTORY/<package>/usr/sbin/<daemon>. A second run finds the work done. Exits 1 when a package
# could not be had; the others are there then.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt.sh"

[ $# -ge 1 ] || { echo "usage: $0 DIRECTORY [PACKAGE...]" >&2; exit 2; }
cache=$1
shift
[ $# -gt 0 ] || set -- vsftpd proftpd-core proftpd-mod-crypto proftpd-mod-proxy pure-ftpd haproxy
mkdir -p "$cache" || exit 1
cache=$(cd "$cache" && pwd)

status=0
libraries=
for package in "$@"; do
	[ -e "$cache/$package/complete" ] && continue
	work=$(mktemp -d "$cache/.fetch.XXXXXX") || exit 1
	if (cd "$work" && apt_download "$package") && dpkg-deb -x "$work"/*.deb "$work/tree"; then
		libraries="$libraries $(apt_libraries "$work"/*.deb)"
		rm -rf "${cache:?}/$package"
		mv "$work/tree" "$cache/$package"
		fetched="${fetched:-} $package"
	else
		echo "fetch_servers: cannot fetch $package" >&2
		status=1
	fi
	rm -rf "$work"
done
# shellcheck disable=SC2086
if [ -n "${fetched:-}" ]; then
	apt_need $libraries || exit 1
	for package in $fetched; do
		: >"$cache/$package/complete"
	done
fi
exit $status

#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Unpacks the peers (proftpd with mod_proxy, SuSE ftp-proxy, HAProxy, squid) and the shared
# libraries that they lack into a cache directory. Nothing is installed, so no daemon is started by
# a package's scripts and packages that conflict with one another lie side by side.
#
#	fetch_peers.sh DIRECTORY
#
# Leaves DIRECTORY/root (the unpacked tree), DIRECTORY/libpath (where libraries are) and
# DIRECTORY/versions. A second run finds the work done.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1/debs" "$1/root"
cd "$1"

wanted="proftpd-core proftpd-mod-proxy proftpd-mod-crypto ftp-proxy haproxy squid squid-common
	squid-langpack"

if [ -e complete ]; then
	exit 0
fi

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The first alternative of each dependency of a package file that is a library.
library_depends() {
	dpkg-deb -f "$1" Pre-Depends Depends | tr ',' '\n' |
		sed -e 's/^[A-Za-z-]*Depends://' -e 's/|.*//' -e 's/(.*//' -e 's/:[a-z0-9]*//' -e 's/[[:space:]]//g' |
		grep '^lib' | grep -v -- '-perl$' | sort -u
}

# The lists of packages may be missing or old: once, they are brought up to date.
updated=no
download() {
	(cd debs && apt-get download -q "$1" >apt.log 2>&1) && return 0
	[ "$updated" = no ] && [ "$(id -u)" -eq 0 ] || return 1
	updated=yes
	apt-get update -q >debs/update.log 2>&1 || return 1
	(cd debs && apt-get download -q "$1" >apt.log 2>&1)
}

incomplete=no
fetched=" "
queue=$wanted
: >versions.new
while [ -n "${queue# }" ]; do
	next=
	for package in $queue; do
		case $fetched in *" $package "*) continue ;; esac
		fetched="$fetched$package "
		set -- debs/"$package"_*.deb
		if [ ! -e "$1" ]; then
			echo "fetch_peers: $package" >&2
			if ! download "$package"; then
				cat debs/apt.log >&2
				echo "fetch_peers: cannot download $package" >&2
				incomplete=yes
				continue
			fi
			set -- debs/"$package"_*.deb
		fi
		dpkg-deb -x "$1" root
		echo "$package $(dpkg-deb -f "$1" Version)" >>versions.new
		for library in $(library_depends "$1"); do
			installed "$library" || next="$next $library"
		done
	done
	queue=$next
done

# Packages put libraries into the multiarch directory, and some into one of their own below it.
find root -name '*.so*' -printf '%h\n' | sort -u |
	grep -E '/lib(/[^/]*linux-gnu[^/]*)?$|/libmemcached|/sasl2$' | paste -s -d: - >libpath
mv versions.new versions
[ "$incomplete" = no ] || exit 1
: >complete

# SPDX-License-Identifier: ISC
#
# Shell functions to get Debian packages; sourced, not run. Nothing is asked, nothing is restarted, and what
# is already there is left alone.

# Runs a command as root: as it is, or through sudo.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "This needs root (or sudo): $*" >&2
		return 1
	fi
}

apt_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_updated=
# The package lists, once a run and only when something is to be fetched.
apt_update() {
	[ -n "$apt_updated" ] && return 0
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -q update </dev/null >&2 ||
		echo "apt-get update failed; going on with the package lists that are there" >&2
	apt_updated=yes
}

# Installs those of the packages that are not installed.
apt_need() {
	missing=
	for apt_package in "$@"; do
		apt_installed "$apt_package" || missing="$missing $apt_package"
	done
	[ -n "$missing" ] || return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "These packages are missing and there is no apt-get here:$missing" >&2
		return 1
	fi
	echo "Installing:$missing" >&2
	apt_update
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -q -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 install $missing </dev/null >&2
}

# Downloads a package's file into the current directory.
apt_download() {
	apt-get -q -q download "$1" >/dev/null 2>&1 && return 0
	apt_update
	apt-get -q -q download "$1" >&2
}

# The libraries that a package file depends on.
apt_libraries() {
	dpkg-deb -f "$1" Pre-Depends Depends | sed 's/^[A-Za-z-]*Depends://' | tr ',' '\n' |
		sed -e 's/|.*//' -e 's/(.*//' -e 's/:[a-z0-9]*//' -e 's/[[:space:]]//g' |
		grep '^lib' | grep -v -- '-perl$' | sort -u
}

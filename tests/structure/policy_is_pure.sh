#!/bin/sh
# SPDX-License-Identifier: ISC
# policy/ decides and does nothing: its object code calls only what computes (no
# socket, event loop, TLS, clock, thread, file or allocation), and keeps nothing
# between two calls (no writable data). Usage: policy_is_pure.sh SOURCE
set -eu

source=${1:?usage: policy_is_pure.sh SOURCE}
cc=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What may be called from outside of policy/: libc's functions of their arguments
# alone, and the floor's. sp_assert_failed is the end of the process.
allowed="bcmp memchr memcmp memcpy memmove memset strlen inet_ntop inet_pton
sp_assert_failed sp_copy span_copy span_eq_nocase span_starts_nocase"

compile() { # FILE OBJECT
	# Without PIC, so that constant tables of pointers are seen as the constants they are.
	$cc -std=c11 -D_GNU_SOURCE -O2 -fno-pic -fno-pie -fno-stack-protector -U_FORTIFY_SOURCE \
		-I"$source/include" -c "$1" -o "$2"
}

# Prints what is wrong with these objects taken together; nothing if they are pure.
impurities() {
	nm -g --defined-only "$@" | awk 'NF == 3 { print $3 }' | sort -u >"$work/own"
	printf '%s\n' $allowed | sort -u >"$work/allowed"
	for object in "$@"; do
		name=$(basename "$object" .o)
		nm -u "$object" | awk '{ print $2 }' | sort -u >"$work/wanted"
		sort -u "$work/own" "$work/allowed" | comm -13 - "$work/wanted" |
			sed "s|^|$name calls |"
		nm "$object" | awk -v name="$name" \
			'$2 ~ /^[BbCDdGgSs]$/ { print name " has writable data: " $3 }'
	done
}

# The check must see what it is there for.
must_be_seen() { # NAME CODE
	printf '%s\n' "$2" >"$work/$1.c"
	compile "$work/$1.c" "$work/$1.o"
	if [ -z "$(impurities "$work/$1.o")" ]; then
		echo "policy_is_pure: the check does not see: $1" >&2
		exit 1
	fi
}
must_be_seen clock '#include <time.h>
long f(void); long f(void)
{ struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec; }'
must_be_seen own_clock '#include "sallyport/clock.h"
long f(void); long f(void) { return sp_now_ms(); }'
must_be_seen allocation '#include <stdlib.h>
void *f(void); void *f(void) { return malloc(3); }'
must_be_seen socket '#include <sys/socket.h>
int f(void); int f(void) { return socket(AF_INET, SOCK_STREAM, 0); }'
must_be_seen lock '#include <pthread.h>
int f(pthread_mutex_t *m); int f(pthread_mutex_t *m) { return pthread_mutex_lock(m); }'
must_be_seen output '#include <unistd.h>
long f(void); long f(void) { return write(1, "x", 1); }'
must_be_seen errno '#include <errno.h>
int f(void); int f(void) { return errno; }'
must_be_seen global 'int kept; int f(void); int f(void) { return kept++; }'
must_be_seen hidden_global 'int f(void); int f(void) { static int kept = 3; return kept++; }'

mkdir "$work/policy"
for file in "$source"/policy/*.c; do
	compile "$file" "$work/policy/$(basename "$file" .c).o"
done
found=$(impurities "$work"/policy/*.o)
if [ -n "$found" ]; then
	echo "policy/ is not pure:" >&2
	echo "$found" >&2
	exit 1
fi
echo "policy/ is pure: $(ls "$work"/policy/*.o | wc -l) objects"

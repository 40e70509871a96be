#!/bin/sh
# SPDX-License-Identifier: ISC
# The walls around the lock rule, but for wall 2 (symbols.sh):
#  1. no function pointer in the headers of the locked cores;
#  3. Clang refuses to build what posts, emits, logs, ends, re-enters or takes a
#     second lock while one is held, and what returns with one;
#  4. the same at run time, in a build of any compiler: abort with a message;
#  5. a thread that takes a lock it holds aborts instead of hanging.
# And what they are for: a sink that blocks and re-enters the table while
# thousands of sessions time out (walls/deadlock.c). Usage: walls.sh SOURCE [WALL…]
set -eu

source=${1:?usage: walls.sh SOURCE [WALL...]}
shift
[ $# -gt 0 ] || set -- 1 3 4 q191822
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$source"

warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
flags="-std=c11 -D_GNU_SOURCE -Iinclude -fno-strict-aliasing"
walls=tests/structure/walls

fail() {
	echo "walls: $*" >&2
	exit 1
}

# Wall 1. Comments aside, no "(*" and no typedef; values and opaque structures only.
wall_1() {
	for header in session_table pool_ledger port_ledger port_registry mailbox event wheel wait_queue; do
		gcc -fpreprocessed -dD -E -P "include/sallyport/$header.h" >"$work/$header" 2>"$work/messages" ||
			fail "$(cat "$work/messages")"
		if grep -nE '\( *\*|\(\^|typedef' "$work/$header"; then
			fail "wall 1: $header.h has a function pointer or a typedef"
		fi
		[ -s "$work/$header" ] || fail "wall 1: $header.h is empty"
	done
	echo "walls: 1: no function pointer in the headers of the locked cores"
}

# Wall 3. Each file says what Clang is to say; without the analysis each of them builds.
wall_3() {
	refused=0
	clang $flags $warnings -Wthread-safety -fsyntax-only $walls/control.c ||
		fail "wall 3: what is allowed does not build"
	for file in $walls/*.c; do
		says=$(sed -n 's/^ \* Must not build\. Clang says: //p' "$file")
		[ -n "$says" ] || continue
		clang $flags $warnings -fsyntax-only "$file" 2>"$work/messages" ||
			fail "wall 3: $file does not build for other reasons: $(cat "$work/messages")"
		if clang $flags $warnings -Wthread-safety -fsyntax-only "$file" 2>"$work/messages"; then
			fail "wall 3: $file builds"
		fi
		grep -qF "$says" "$work/messages" || fail "wall 3: $file: not \"$says\" but: $(cat "$work/messages")"
		refused=$((refused + 1))
	done
	[ "$refused" -ge 8 ] || fail "wall 3: only $refused files were tried"
	for file in proxy/shared/*.c proxy/reaper.c; do
		clang $flags -Wthread-safety -Werror -fsyntax-only "$file" 2>"$work/messages" ||
			fail "wall 3: $file: $(cat "$work/messages")"
	done
	echo "walls: 3: Clang builds the locked cores and control.c, and refuses $refused misuses"
}

# Links a program with all of proxy/shared and what that needs, built once.
build() { # PROGRAM MAIN
	if [ ! -d "$work/objects" ]; then
		mkdir "$work/objects"
		printf '%s\n' proxy/shared/*.c proxy/base/*.c policy/*.c |
			OBJECTS="$work/objects" FLAGS="$flags" xargs -P 2 -I FILE \
				sh -c 'gcc $FLAGS -c "FILE" -o "$OBJECTS/$(basename FILE .c).o"' ||
			fail "the locked cores do not build"
	fi
	gcc $flags "$2" "$work"/objects/*.o -o "$work/$1" -lpthread || fail "$2 does not build"
}

# Walls 4 and 5. A hang is what they are there against: so there is a time limit.
wall_4() {
	build misuse $walls/misuse.c
	timeout 10 "$work/misuse" none || fail "wall 4: the control does not end well"
	aborted=0
	"$work/misuse" >"$work/acts" || true
	while read -r act; do
		[ "$act" != none ] || continue
		status=0
		# The braces: the shell says "Aborted" by itself.
		{ (ulimit -c 0 && exec timeout 5 "$work/misuse" "$act") >"$work/messages" 2>&1 || status=$?; } 2>/dev/null
		[ "$status" -ne 124 ] || fail "wall 4: \"$act\" under a lock hangs"
		[ "$status" -eq 134 ] || fail "wall 4: \"$act\" under a lock does not abort (status $status)"
		grep -q 'assertion failed: ' "$work/messages" || fail "wall 4: \"$act\" aborts without a message"
		case $act in
		relock_uncounted) grep -q 'deadlock avoided' "$work/messages" || fail "wall 5: $(cat "$work/messages")" ;;
		esac
		aborted=$((aborted + 1))
	done <"$work/acts"
	[ "$aborted" -ge 12 ] || fail "wall 4: only $aborted misuses were tried"
	echo "walls: 4, 5: $aborted misuses under a lock abort with a message, none hangs"
}

q191822() {
	build deadlock $walls/deadlock.c
	status=0
	timeout 60 "$work/deadlock" >"$work/messages" 2>&1 || status=$?
	[ "$status" -eq 0 ] || fail "Q191822: status $status: $(cat "$work/messages")"
	echo "walls: Q191822: $(tr '\n' ' ' <"$work/messages")"
}

for wall in "$@"; do
	case $wall in
	1) wall_1 ;;
	3) wall_3 ;;
	4) wall_4 ;;
	q191822) q191822 ;;
	*) fail "no wall $wall" ;;
	esac
done

#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Runs every fuzz target of a build directory for a while: fuzz_NAME starts from
# a copy of corpus/NAME with the words of NAME.dict. One line a target; what a
# target says is shown only when it found something. Exits 1 on a finding, 2 on
# wrong use.
set -u

usage()
{
	echo "usage: smoke.sh BUILD_DIRECTORY SECONDS" >&2
	exit 2
}

[ $# -eq 2 ] || usage
build=$1
seconds=$2
case $seconds in
'' | *[!0-9]* | 0) usage ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
if [ -d "$build/tests/fuzz" ]; then
	build=$build/tests/fuzz
fi
build=$(cd "$build" && pwd) || usage

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

found=0
targets=0
for target in "$build"/fuzz_*; do
	if [ ! -f "$target" ] || [ ! -x "$target" ]; then
		continue
	fi
	targets=$((targets + 1))
	name=${target##*/fuzz_}
	corpus=$work/$name
	mkdir -p "$corpus" "$work/$name.findings"
	if [ -d "$here/corpus/$name" ]; then
		cp "$here/corpus/$name"/* "$corpus"/
	fi
	set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 \
		-print_final_stats=1 -artifact_prefix="$work/$name.findings/"
	if [ -f "$here/$name.dict" ]; then
		set -- "$@" -dict="$here/$name.dict"
	fi
	# The longest inputs of the corpus stay whole: they are there for the limits.
	if "$target" -runs=0 -max_len=1048576 -artifact_prefix="$work/$name.findings/" \
		"$corpus" >"$work/log" 2>&1 && "$target" "$@" "$corpus" >"$work/log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
		echo "ok    fuzz_$name: $runs runs, $(ls "$corpus" | wc -l) inputs"
	else
		found=1
		echo "FOUND fuzz_$name"
		tail -n 60 "$work/log"
		for input in "$work/$name.findings"/*; do
			[ -f "$input" ] || continue
			kept=$PWD/${input##*/}
			cp "$input" "$kept"
			echo "the input is in $kept"
		done
	fi
done
if [ "$targets" -eq 0 ]; then
	echo "no fuzz target in $build: build them with the fuzz preset" >&2
	exit 2
fi
exit $found

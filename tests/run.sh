#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Everything that proves Sallyport, with one command, on a bare Debian 12:
#
#	sh tests/run.sh [STAGE...]
#
# Stages, in this order when none is named:
#	packages	installs what is missing (apt-get; root or sudo), fetches FTP servers into the cache
#	unit		gcc, AddressSanitizer and UBSan: unit and structure tests
#	clang		clang, -Wthread-safety -Werror
#	tsan		clang, ThreadSanitizer: unit tests, and a real crowd of timeouts, kicks and logons
#	fuzz		the libFuzzer targets, some seconds each on their corpora
#	release		the build that users get
#	integration	real clients and servers, and rude ones, before the sanitizers' build
#
# A stage that fails does not keep the others from running. A few failed integration tests run once more, alone, unless
# a sanitizer complained. The end of the output is ctest's summary and pytest's. Exits 1 when anything failed.
#
# SALLYPORT_BUILD		folder of the builds (build in the source tree)
# SALLYPORT_TEST_CACHE	folder of fetched servers (${XDG_CACHE_HOME:-~/.cache}/sallyport-tests)
# SALLYPORT_TEST_JOBS	pytest processes (4)
# SALLYPORT_FUZZ_SECONDS	for each fuzz target (5)
# SALLYPORT_PYTEST_ARGS	more arguments for pytest, such as "-k clocks"
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
build=${SALLYPORT_BUILD:-$root/build}
cache=${SALLYPORT_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sallyport-tests}
jobs=$(nproc 2>/dev/null || echo 2)
python=/usr/bin/python3 # Debian's own, which sees Debian's modules
export CCACHE_DISABLE=1 PYTHONDONTWRITEBYTECODE=1 SALLYPORT_TEST_CACHE="$cache"

. "$root/tests/lib/apt.sh"

# What builds it, the test tools (llvm gives names to what sanitizers report), the clients. The servers' libraries come
# with fetch_servers.sh.
packages="gcc libc6-dev clang libclang-rt-14-dev llvm cmake make pkg-config binutils check
	libevent-dev libc-ares-dev libssl-dev libconfuse-dev libjansson-dev
	python3 python3-pytest python3-pytest-xdist python3-pyftpdlib python3-openssl
	curl lftp ncftp tnftp procps iproute2 strace openssl util-linux mount libpam-modules"

failed=
ctest_summary=
pytest_summary=

configure_and_build()
{
	# shellcheck disable=SC2086
	cmake -S "$root" --preset "$1" -B "$build/$1" >"$build/$1.configure.log" 2>&1 || {
		cat "$build/$1.configure.log"
		return 1
	}
	cmake --build "$build/$1" -j "$jobs"
}

# run_ctest PRESET CTEST-ARGUMENTS...
run_ctest()
{
	(cd "$build/$1" && shift && ctest --output-on-failure -j "$jobs" "$@") >"$build/$1.ctest.log" 2>&1
	status=$?
	cat "$build/$1.ctest.log"
	ctest_summary="$ctest_summary
$1: $(grep -E '^[0-9]+% tests passed|^No tests were found' "$build/$1.ctest.log")"
	return $status
}

# run_pytest PRESET PYTEST-ARGUMENTS...: against that build
run_pytest()
{
	SALLYPORT_BIN=$build/$1/sallyport
	SALLYPORT_CTL=$build/$1/sallyportctl
	SALLYPORT_RELEASE_BIN=$build/release/sallyport
	[ -x "$SALLYPORT_RELEASE_BIN" ] || SALLYPORT_RELEASE_BIN=$SALLYPORT_BIN
	[ "$(id -u)" -ne 0 ] || SALLYPORT_TEST_STRICT=1 # root can run every server
	export SALLYPORT_BIN SALLYPORT_CTL SALLYPORT_RELEASE_BIN SALLYPORT_TEST_STRICT
	log=$build/$1.pytest.log
	shift
	# shellcheck disable=SC2086
	pytest_to "$log" -rfEs --durations=10 -n "${SALLYPORT_TEST_JOBS:-4}" "$@" ${SALLYPORT_PYTEST_ARGS:-}
	status=$?
	pytest_summary="$pytest_summary
$(tail -n 1 "$log")"
	if [ $status -eq 1 ] && may_run_again "$log"; then
		run_again "$log"
		status=$?
	fi
	return $status
}

# pytest_to LOG PYTEST-ARGUMENTS...
pytest_to()
{
	pytest_log=$1
	shift
	(cd "$root/tests/integration" && "$python" -m pytest -p no:cacheprovider -q "$@"
		echo "$?" >"$pytest_log.status") 2>&1 | tee "$pytest_log"
	return "$(cat "$pytest_log.status")"
}

# Never after a sanitizer's report, and not after more failures than a busy machine explains.
may_run_again()
{
	! grep -qE 'Sanitizer|runtime error:' "$1" && [ "$(grep -cE '^(FAILED|ERROR) ' "$1")" -le 5 ]
}

# Some minutes of a machine that does many things at once can make a test fail that waits for real time. What failed runs
# once more, alone; it is named at the end, whether it passes then or not.
run_again()
{
	again=$(sed -nE 's/^(FAILED|ERROR) //; t cut; d; :cut; s/ - .*//; p' "$1" | sort -u)
	set --
	while IFS= read -r test; do
		set -- "$@" "$test"
	done <<-EOF
		$again
	EOF
	pytest_to "$log.again" -rfEs "$@"
	status=$?
	pytest_summary="$pytest_summary
ran again, alone: $(echo "$again" | tr '\n' ' ')
$(tail -n 1 "$log.again")"
	return $status
}

stage_packages()
{
	# shellcheck disable=SC2086
	apt_need $packages && sh "$root/tests/lib/fetch_servers.sh" "$cache/servers"
}

stage_unit()
{
	configure_and_build debug && run_ctest debug
}

stage_clang()
{
	configure_and_build clang
}

stage_tsan()
{
	configure_and_build tsan || return 1
	run_ctest tsan -E '^structure_'
	unit=$?
	[ -x "$build/tsan/sallyport" ] || return $unit
	run_pytest tsan test_balance.py test_operations.py \
		test_load.py::test_thousands_time_out_in_one_second_while_others_work && return $unit
}

stage_fuzz()
{
	configure_and_build fuzz && sh "$root/tests/fuzz/smoke.sh" "$build/fuzz" "${SALLYPORT_FUZZ_SECONDS:-5}"
}

stage_release()
{
	configure_and_build release
}

stage_integration()
{
	for preset in release debug; do
		configure_and_build $preset || return 1
	done
	run_pytest debug
}

[ $# -gt 0 ] || set -- packages unit clang tsan fuzz release integration
for stage in "$@"; do
	case $stage in
	packages | unit | clang | tsan | fuzz | release | integration) ;;
	*)
		sed -n '/^#	/s/^#	//p' "$0" >&2
		exit 2
		;;
	esac
done

mkdir -p "$build" || exit 1
ulimit -n "$(ulimit -H -n)" 2>/dev/null
for stage in "$@"; do
	started=$(date +%s)
	echo "=== $stage"
	if "stage_$stage"; then
		result=passed
	else
		result=FAILED
		failed="$failed $stage"
	fi
	echo "=== $stage $result after $(($(date +%s) - started)) s"
done

echo
if [ -n "$failed" ]; then
	echo "Failed stages:$failed"
else
	echo "All stages passed: $*"
fi
[ -z "$ctest_summary" ] || echo "$ctest_summary" | sed '/^$/d; s/^/ctest /'
[ -z "$pytest_summary" ] || echo "$pytest_summary" | sed '/^$/d'
[ -z "$failed" ]

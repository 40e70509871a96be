#!/bin/sh
# SPDX-License-Identifier: ISC
# Wall 2: what the locked cores call, read from their object code as the release
# build makes it. Nothing but libc's functions of memory and threads, and the
# few of the house that are named here. No call through a pointer either.
# Usage: symbols.sh SOURCE [NAME…], names of files of proxy/shared without ".c"
set -eu

source=${1:?usage: symbols.sh SOURCE [NAME...]}
shift
only=$*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$source"

# The compiler's own, memory, and the end of the process.
common="_GLOBAL_OFFSET_TABLE_ __stack_chk_fail __tls_get_addr memcpy memset memcmp memmove
__memcpy_chk __memset_chk __memmove_chk sp_assert_failed"
memory="malloc calloc aligned_alloc free"
lock="core_lock_init core_lock_fini core_lock_take core_lock_drop core_lock_stats sp_locks_held sp_any_shard"

# What each file of proxy/shared may call beside these. A new one must be named here.
allowed_for() { # NAME
	case $1 in
	core_lock) echo "pthread_mutex_init pthread_mutex_destroy pthread_mutex_trylock pthread_mutex_lock
		pthread_mutex_unlock pthread_mutexattr_init pthread_mutexattr_settype pthread_mutexattr_destroy
		pthread_cond_init pthread_cond_timedwait pthread_condattr_init pthread_condattr_setclock
		pthread_condattr_destroy clock_gettime clock_getres sp_now_us" ;;
	wheel | wait_queue | ledger | counters) ;;
	fd_registry) echo "calloc free" ;;
	session_table) echo "$memory $lock __errno_location wheel_init wheel_add wheel_remove wheel_take_due" ;;
	feature_memory) echo "$memory $lock" ;;
	pool_ledger) echo "feature_memory_new feature_memory_free feature_memory_settle $memory $lock wait_queue_init wait_queue_join wait_queue_leave wait_queue_leave_first
		wait_queue_has_turn wait_queue_tell wait_queue_came_in_vain balance_choose balance_hash health_begin
		health_may_try health_share sp_copy sp_now_ms strlen strncmp" ;;
	pool_health) echo "$lock strlen strncmp pool_ledger_offer_locked health_begin health_logon_failed
		health_logon_served health_check_failed health_check_passed health_check_skipped
		health_check_is_due sp_copy sp_now_ms" ;;
	pool_follow) echo "pool_ledger_settle_server feature_memory_settle $lock addresses_follow addresses_hash sp_copy sp_now_ms" ;;
	block_pool) echo "mmap munmap madvise $lock" ;;
	memo) echo "calloc free explicit_bzero __explicit_bzero_chk $lock" ;;
	port_ledger) echo "calloc free $lock" ;;
	port_choice) ;;
	port_registry) echo "calloc free $lock port_choice_survey port_choice_make" ;;
	ticket_ring) echo "calloc free explicit_bzero __explicit_bzero_chk $lock" ;;
	mailbox) echo "$memory $lock eventfd read write close __read_chk __errno_location fd_registry_note
		fd_registry_forget" ;;
	event_queue) echo "$memory $lock core_lock_cond_init core_lock_wait pthread_cond_signal
		pthread_cond_destroy sp_now_ms sp_wall_ms strnlen vsnprintf __vsnprintf_chk nanosleep" ;;
	*) echo unknown ;;
	esac
}

flags="-std=c11 -D_GNU_SOURCE -Iinclude -g -fPIC -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
	-fno-strict-aliasing -fno-omit-frame-pointer"
status=0
checked=0
for file in proxy/shared/*.c; do
	name=$(basename "$file" .c)
	case " $only " in
	"  " | *" $name "*) ;;
	*) continue ;;
	esac
	allowed=$(allowed_for "$name")
	if [ "$allowed" = unknown ]; then
		echo "symbols: $file: name it in symbols.sh, with what it may call" >&2
		status=1
		continue
	fi
	# shellcheck disable=SC2086
	gcc $flags -O2 -c "$file" -o "$work/$name.o"
	printf '%s\n' $common $allowed | sort -u >"$work/allowed"
	nm -u "$work/$name.o" | awk '{ print $2 }' | sort -u >"$work/wanted"
	comm -13 "$work/allowed" "$work/wanted" >"$work/wrong"
	if [ -s "$work/wrong" ]; then
		sed "s|^|symbols: $file may not call |" "$work/wrong" >&2
		status=1
	fi
	# Calls through pointers, written so that a tail call is one and a switch is not.
	if [ "$(uname -m)" = x86_64 ]; then
		# shellcheck disable=SC2086
		gcc $flags -O1 -fno-optimize-sibling-calls -ftls-model=initial-exec -c "$file" -o "$work/$name.calls.o"
		if objdump -d --no-show-raw-insn "$work/$name.calls.o" | grep -E 'call[a-z]* +\*' >"$work/wrong"; then
			sed "s|^|symbols: $file calls through a pointer: |" "$work/wrong" >&2
			status=1
		fi
	fi
	checked=$((checked + 1))
done
[ "$status" = 0 ] || exit 1
if [ "$checked" -eq 0 ] || { [ -z "$only" ] && [ "$checked" -lt 10 ]; }; then
	echo "symbols: only $checked files of proxy/shared" >&2
	exit 1
fi
echo "symbols: $checked objects of proxy/shared call what they may and nothing else, and nothing through a pointer"

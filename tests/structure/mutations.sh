#!/bin/sh
# SPDX-License-Identifier: ISC
# A wall that was never seen to fall is a hope: each mutation here breaks one rule
# in a copy of the tree, and the check that is there for it must fail, and say so.
# A mutation that no longer changes its file fails as well. Usage: mutations.sh SOURCE
set -eu

source=$(cd "${1:?usage: mutations.sh SOURCE}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tree=$work/tree
count=0
# Programs built in the copy are linked with other objects than the real ones.
flags="-std=c11 -D_GNU_SOURCE -Iinclude -fno-strict-aliasing"

fail() {
	echo "mutations: $*" >&2
	exit 1
}

fresh() {
	rm -rf "$tree"
	mkdir -p "$tree/tests/unit"
	cp -r "$source/include" "$source/proxy" "$source/policy" "$tree/"
	cp -r "$source/tests/structure" "$tree/tests/"
	cp "$source"/tests/unit/alloc_fail.? "$source"/tests/unit/check_session_table*.c "$tree/tests/unit/"
	cd "$tree"
}

# A fresh copy and its first change.
mutate() { # NAME FILE SED-SCRIPT
	name=$1
	fresh
	also "$2" "$3"
}

# One change more.
also() { # FILE SED-SCRIPT
	sed "$2" "$1" >"$work/changed"
	! cmp -s "$1" "$work/changed" || fail "$name: does not change $1 any more"
	cp "$work/changed" "$1"
}

must_fail() { # TEXT COMMAND...
	text=$1
	shift
	status=0
	"$@" >"$work/output" 2>&1 || status=$?
	[ "$status" -ne 0 ] || fail "$name: not noticed by: $*"
	grep -qF -- "$text" "$work/output" || fail "$name: $* fails, and not with \"$text\": $(cat "$work/output")"
	count=$((count + 1))
	echo "mutations: $name: noticed ($text)"
}

layers() { sh tests/structure/layers.sh "$tree"; }
symbols() { sh tests/structure/symbols.sh "$tree" "$@"; }
walls() { sh tests/structure/walls.sh "$tree" "$@"; }
thread_safety() { clang $flags -fsyntax-only -Wthread-safety -Werror "$1"; }

table=proxy/shared/session_table.c
told='		record->told_ms = deadline_ms;'

# --- a call under the lock ------------------------------------------------------------

mutate "expire posts its notice under the lock" $table "/^#include \"sallyport\/wheel.h\"/i\\
#include \"sallyport/mailbox.h\"\\
extern struct mailbox *owner;
/^$told/a\\
		if (!mailbox_post(owner, (struct message){ .id = record->id }))\\
			break;"
must_fail "session_table.c may not call mailbox_post" symbols session_table
must_fail "cannot call function 'mailbox_post' while shard lock 'sp_any_shard' is held" thread_safety $table

mutate "the table writes a log line" $table "/^#include \"sallyport\/wheel.h\"/i\\
#include \"sallyport/event.h\"\\
extern struct event_queue *queue;
/^$told/a\\
		log_write(queue, LEVEL_INFO, \"expired\");"
must_fail "session_table.c may not call log_write" symbols session_table
must_fail "cannot call function 'log_write'" thread_safety $table

# What Clang cannot see: a helper without annotations in between.
mutate "a helper hides the call from the analysis" $table "/^#include \"sallyport\/wheel.h\"/i\\
#include \"sallyport/mailbox.h\"\\
extern struct mailbox *owner;\\
bool tell_owner(struct session_id id);\\
bool tell_owner(struct session_id id)\\
{\\
	return mailbox_post(owner, (struct message){ .id = id });\\
}
/^$told/a\\
		if (!tell_owner(record->id))\\
			break;"
must_fail "session_table.c may not call mailbox_post" symbols session_table

mutate "expire calls through a pointer" $table "/^#include \"sallyport\/wheel.h\"/i\\
static void (*on_expired)(struct session_id id);\\
void session_table_tell(void (*tell)(struct session_id id));\\
void session_table_tell(void (*tell)(struct session_id id))\\
{\\
	on_expired = tell;\\
}
/^$told/a\\
		on_expired(record->id);"
must_fail "calls through a pointer" symbols session_table

mutate "the ledger wakes the waiter itself" proxy/shared/pool_ledger.c '/^#include "sallyport\/clock.h"/a\
#include "sallyport/mailbox.h"\
extern struct mailbox *owner;
s/^	struct session_id next = pool_ledger_offer_locked(ledger, now_ms);/&\
	if (!mailbox_post(owner, (struct message){ .kind = MESSAGE_SLOT, .id = next }))\
		next.v = 0;/'
must_fail "pool_ledger.c may not call mailbox_post" symbols pool_ledger
must_fail "cannot call function 'mailbox_post'" thread_safety proxy/shared/pool_ledger.c

mutate "the registry hands the connection over itself" proxy/shared/port_registry.c '/^#include "sallyport\/port_registry.h"/a\
#include "sallyport/mailbox.h"\
extern struct mailbox *owner;
s/^		take(crowd.waiting, out);/		if (mailbox_post(owner, (struct message){ .kind = MESSAGE_DATA, .id = crowd.waiting->owner }))\
	&/'
must_fail "port_registry.c may not call mailbox_post" symbols port_registry
must_fail "cannot call function 'mailbox_post'" thread_safety proxy/shared/port_registry.c

mutate "opening a place holds two locks" proxy/shared/port_registry.c '/^static void open_at/,/^}/ {
/core_lock_take/a\
	core_lock_take(\&registry->shard[0].lock, __func__);
/core_lock_drop/a\
	core_lock_drop(\&registry->shard[0].lock);
}'
must_fail "acquiring mutex 'sp_any_shard' that is already held" thread_safety proxy/shared/port_registry.c

mutate "a new file among the locked cores" proxy/shared/ledger.c 's/^/ /'
cp "$source/proxy/shared/ledger.c" proxy/shared/unheard_of.c
must_fail "name it in symbols.sh" symbols unheard_of

# --- the lock itself --------------------------------------------------------------------

mutate "get takes two shards" $table '/^bool session_table_get/,/^}/ {
/core_lock_take/a\
	core_lock_take(\&table->shard[0].lock, __func__);
/core_lock_drop/a\
	core_lock_drop(\&table->shard[0].lock);
}'
must_fail "acquiring mutex 'sp_any_shard' that is already held" thread_safety $table

mutate "get returns early with the lock held" $table '/^bool session_table_get/,/^}/ {
s/^	if (record != NULL)$/	if (record == NULL)\
		return false;/
}'
must_fail "is not held on every path through here" thread_safety $table

mutate "expire forgets to lock" $table '/^bool session_table_expire/,/^}/ {
/core_lock_take/d
/core_lock_drop/d
}'
must_fail "requires holding mutex" thread_safety $table

mutate "the table shows a callback" include/sallyport/session_table.h '/^size_t session_table_count/i\
void session_table_each(struct session_table *table, void (*tell)(struct session_id id));'
must_fail "function pointer" walls 1

mutate "the table shows a callback by another name" include/sallyport/session_table.h '/^size_t session_table_count/i\
typedef void tell_fn(struct session_id id);\
void session_table_each(struct session_table *table, tell_fn *tell);'
must_fail "function pointer" walls 1

mutate "posting is no longer excluded under a lock" include/sallyport/mailbox.h \
	'/mailbox_post/,/;/s/SP_EXCLUDES(sp_any_shard)//'
must_fail "wall 3: tests/structure/walls/post_" walls 3

mutate "a core's lock no longer acquires the role" include/sallyport/thread_safety.h \
	's/SP_ACQUIRE(lock, sp_any_shard)/SP_ACQUIRE(lock)/
s/SP_RELEASE(lock, sp_any_shard)/SP_RELEASE(lock)/'
must_fail "wall 3" walls 3

mutate "locks that are held are no longer counted" proxy/shared/core_lock.c \
	'/sp_locks_held++/d; /sp_locks_held--/d; /SP_ASSERT(sp_locks_held == 1)/d'
must_fail "does not abort" walls 4

mutate "posting does not look at the count" proxy/shared/mailbox.c '/SP_ASSERT_UNLOCKED/d'
also proxy/shared/core_lock.c '/if (sp_locks_held != 0)/,+1d; /SP_ASSERT(sp_locks_held == 1)/d'
must_fail "does not abort" walls 4

mutate "the mutex is an ordinary one" proxy/shared/core_lock.c 's/PTHREAD_MUTEX_ERRORCHECK/PTHREAD_MUTEX_NORMAL/'
must_fail "hangs" walls 4

# --- the house ----------------------------------------------------------------------------

mutate "shared knows the workers" proxy/shared/wheel.c '$a\
#include "sallyport/worker.h"'
must_fail "wheel.c (shared) may not include include/sallyport/worker.h (worker)" layers

mutate "the reaper knows sessions" proxy/reaper.c '$a\
#include "sallyport/session.h"'
must_fail "reaper.c (reaper) may not include include/sallyport/session.h (session)" layers

mutate "policy knows the mailbox" policy/verb.c '$a\
#include "sallyport/mailbox.h"'
must_fail "verb.c (policy) may not include include/sallyport/mailbox.h (shared)" layers

mutate "the protocol knows the operator" proxy/ftp/line.c '$a\
#include "sallyport/admin.h"'
must_fail "line.c (ftp) may not include include/sallyport/admin.h (ops)" layers

mutate "a header takes the forbidden way" include/sallyport/reply.h '$a\
#include "sallyport/session.h"'
must_fail "reply.h (ftp) may not include include/sallyport/session.h (session)" layers

mutate "policy uses the event loop" policy/glob.c '$a\
#include <event2/event.h>'
must_fail "glob.c (policy) may not use event2" layers

mutate "a mutex outside of proxy/shared" proxy/net/stream.c '$a\
static pthread_mutex_t m; static void f(void) { pthread_mutex_lock(\&m); }'
must_fail "a lock outside of proxy/shared" layers

mutate "the table of edges has a circle" tests/structure/layers.sh 's/^net:      base/net:      base session/'
must_fail "has a circle" layers

# --- the tests of the table ------------------------------------------------------------------

check_table() { # CHECK
	gcc $flags "tests/unit/$1.c" tests/unit/alloc_fail.c proxy/shared/*.c proxy/reaper.c proxy/base/*.c \
		policy/addresses.c policy/balance.c policy/health.c policy/netaddr.c -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
		-Wl,-z,muldefs -o "$work/check" $(pkg-config --libs check) -lpthread || return 0
	CK_DEFAULT_TIMEOUT=30 timeout 60 "$work/check"
}

mutate "a notice takes its record out of the wheel for good" $table \
	's/^	if (turn != CLOCK_NEVER)$/	if (turn != CLOCK_NEVER \&\& !due)/'
must_fail "due_record_is_told_once_and_again" check_table check_session_table

mutate "the sweep does not look again at the deadline" $table \
	's/^		int64_t again = atomic_load(&record->live.deadline_ms);/		int64_t again = deadline;/'
must_fail "no_wake_up_is_lost" check_table check_session_table_race

# --- Q191822 itself ----------------------------------------------------------------------------

# The server that started it all: expiry calls its sink under the lock. The harness must notice,
# with the walls (an abort) and with all of them taken away (a hang).
deadlock() { # SECONDS
	gcc $flags $sink tests/structure/walls/deadlock.c proxy/shared/*.c proxy/base/*.c policy/addresses.c policy/balance.c policy/health.c \
		policy/netaddr.c -o "$work/deadlock" -lpthread || return 0
	status=0
	{ (ulimit -c 0 && exec timeout "$1" "$work/deadlock") || status=$?; } 2>&1
	[ "$status" -ne 124 ] || echo "it hangs"
	return $status
}

fresh
name="Q191822, control"
sink=
before=$(date +%s)
deadlock 60 >"$work/output" || fail "$name: $(cat "$work/output")"
# A hang is what takes five times as long as the real one, and some seconds at least.
patience=$((4 + 5 * ($(date +%s) - before)))

under_lock="/^#include \"sallyport\/wheel.h\"/i\\
void deadlock_sink(const struct notice *notice);
/^$told/a\\
		deadlock_sink(\&out->v[out->n - 1]);"
mutate "Q191822: the sink is called under the lock" $table "$under_lock"
sink=-DSINK_UNDER_LOCK
must_fail "assertion failed: sp_locks_held == 0" deadlock $patience

mutate "Q191822, and no walls at all" $table "$under_lock"
also proxy/shared/core_lock.c 's/PTHREAD_MUTEX_ERRORCHECK/PTHREAD_MUTEX_NORMAL/
/sp_locks_held++/d; /sp_locks_held--/d; /SP_ASSERT(sp_locks_held == 1)/d
/if (sp_locks_held != 0)/,+1d'
also include/sallyport/thread_safety.h 's/^#define SP_ASSERT_UNLOCKED() .*/#define SP_ASSERT_UNLOCKED() ((void)0)/'
must_fail "it hangs" deadlock $patience

[ "$count" -ge 25 ] || fail "only $count were tried"
echo "mutations: $count checks fell when they were pushed"

// SPDX-License-Identifier: ISC
/*
 * Annotations for Clang's -Wthread-safety; empty for other compilers. And the
 * rule they serve: a lock of a locked core (session table, pool ledger,
 * mailbox, event queue) is a leaf. Nothing is posted, emitted, logged or ended
 * and no second such lock is taken while one is held.
 *
 * Three mechanisms: every locked core's lock also acquires the role
 * sp_any_shard, and what must not run under a lock is SP_EXCLUDES(sp_any_shard)
 * (compile time, Clang); each lock/unlock moves a per-thread counter, and
 * SP_ASSERT_UNLOCKED() aborts when it is not zero (run time, every build); the
 * mutexes are error-checking, so relocking is a message and not a hang.
 */
#ifndef SALLYPORT_THREAD_SAFETY_H
#define SALLYPORT_THREAD_SAFETY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "sallyport/base.h"

#ifdef __clang__
#define SP_TSA(x) __attribute__((x))
#else
#define SP_TSA(x)
#endif

#define SP_CAPABILITY(name)  SP_TSA(capability(name))
#define SP_ACQUIRE(...)	     SP_TSA(acquire_capability(__VA_ARGS__))
#define SP_RELEASE(...)	     SP_TSA(release_capability(__VA_ARGS__))
#define SP_REQUIRES(...)     SP_TSA(requires_capability(__VA_ARGS__))
#define SP_EXCLUDES(...)     SP_TSA(locks_excluded(__VA_ARGS__))
#define SP_NO_THREAD_SAFETY  SP_TSA(no_thread_safety_analysis)

/* The role that any lock of a locked core acquires beside itself. */
struct SP_CAPABILITY("shard lock") sp_shard_role {
	char unused;
};
extern struct sp_shard_role sp_any_shard;

/* Locks of locked cores that this thread holds; 0 or 1. */
extern _Thread_local unsigned sp_locks_held;

#define SP_ASSERT_UNLOCKED() SP_ASSERT(sp_locks_held == 0)

/*
 * What an operator may know of one lock (`show locks`). Times in microseconds.
 *
 * What is measured: every hold by the kernel's tick clock (CLOCK_MONOTONIC_COARSE,
 * a plain memory read), so that none that lasts longer than two ticks is missed;
 * such a one is known to within one tick (1 to 10 ms). One hold in
 * CORE_LOCK_SAMPLE is timed exactly, so that the longest hold of a healthy lock
 * is the longest of these samples. Measuring costs about a quarter of what
 * reading the exact clock twice a hold would.
 */
struct lock_stats {
	uint64_t taken;		 /* times locked */
	uint64_t waited;	 /* of these, times another thread held it */
	int64_t longest_hold_us; /* longest hold so far, as said above */
	const char *longest_by;	 /* function that held longest (static string), NULL if none */
	const char *held_by;	 /* function that holds it now, NULL if none */
};

/* A prime: a regular pattern of callers cannot hide behind it. */
#define CORE_LOCK_SAMPLE 13

/*
 * The one mutex type of the locked cores: error-checking, counted, timed.
 * Lives in proxy/shared/core_lock.c; used by the files of proxy/shared only.
 */
struct SP_CAPABILITY("mutex") core_lock {
	pthread_mutex_t mutex;
	/* Written by the holder, read by anybody without the lock. */
	_Atomic uint64_t taken;
	_Atomic uint64_t waited;
	_Atomic int64_t longest_hold_us;
	const char *_Atomic longest_by;
	const char *_Atomic held_by;
	/* The holder's own. */
	int64_t since_us;
	unsigned until_sample;
	bool exact; /* since_us is of the exact clock */
};

void core_lock_init(struct core_lock *lock);
/* Nobody holds it. */
void core_lock_fini(struct core_lock *lock);

/* `by`: __func__ of the caller. Aborts when this thread holds any core lock already. */
void core_lock_take(struct core_lock *lock, const char *by) SP_ACQUIRE(lock, sp_any_shard);
void core_lock_drop(struct core_lock *lock) SP_RELEASE(lock, sp_any_shard);

/*
 * Drops the lock, sleeps until `cond` is signalled or until_ms (of sp_now_ms())
 * has come, and takes it again. False: the time has come. May wake for nothing.
 */
bool core_lock_wait(struct core_lock *lock, pthread_cond_t *cond, int64_t until_ms, const char *by)
    SP_REQUIRES(lock, sp_any_shard);
/* A condition variable on the clock of sp_now_ms(). */
void core_lock_cond_init(pthread_cond_t *cond);

/* Takes no lock: it answers when the lock is stuck, too. Any thread. */
void core_lock_stats(const struct core_lock *lock, struct lock_stats *out);

#endif

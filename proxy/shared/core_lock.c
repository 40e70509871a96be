// SPDX-License-Identifier: ISC
/*
 * The mutex of the locked cores: error-checking, counted and timed.
 *
 * Knows nothing of what it protects. Its statistics are written by the holder
 * alone and read without the lock, so that a lock that is stuck can be shown.
 */
#include "sallyport/thread_safety.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "sallyport/clock.h"

struct sp_shard_role sp_any_shard;
_Thread_local unsigned sp_locks_held;

/* The tick clock's resolution; the same value whoever asks first. */
static _Atomic int64_t tick_us;

static int64_t tick_clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void tick_clock_init(void)
{
	struct timespec t;

	clock_getres(CLOCK_MONOTONIC_COARSE, &t);
	atomic_store_explicit(&tick_us, (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000,
	                      memory_order_relaxed);
}

void core_lock_init(struct core_lock *lock)
{
	pthread_mutexattr_t attr;

	tick_clock_init();
	*lock = (struct core_lock){ .until_sample = 1 };
	SP_ASSERT(pthread_mutexattr_init(&attr) == 0);
	SP_ASSERT(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK) == 0);
	SP_ASSERT(pthread_mutex_init(&lock->mutex, &attr) == 0);
	pthread_mutexattr_destroy(&attr);
}

void core_lock_fini(struct core_lock *lock)
{
	SP_ASSERT(pthread_mutex_destroy(&lock->mutex) == 0);
}

void core_lock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	SP_ASSERT(pthread_condattr_init(&attr) == 0);
	SP_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	SP_ASSERT(pthread_cond_init(cond, &attr) == 0);
	pthread_condattr_destroy(&attr);
}

/* A hold begins. The holder is the only writer: load and store, no locked instruction. */
static void hold_begins(struct core_lock *lock, const char *by)
{
	uint64_t taken = atomic_load_explicit(&lock->taken, memory_order_relaxed);

	sp_locks_held++;
	atomic_store_explicit(&lock->taken, taken + 1, memory_order_relaxed);
	atomic_store_explicit(&lock->held_by, by, memory_order_relaxed);
	lock->exact = --lock->until_sample == 0;
	if (lock->exact) {
		lock->until_sample = CORE_LOCK_SAMPLE;
		lock->since_us = sp_now_us();
	} else {
		lock->since_us = tick_clock_us();
	}
}

/* How long the hold has lasted, as far as it was measured. */
static int64_t hold_length_us(const struct core_lock *lock)
{
	if (lock->exact)
		return sp_now_us() - lock->since_us;

	int64_t ticked_us = tick_clock_us() - lock->since_us;
	int64_t one_us = atomic_load_explicit(&tick_us, memory_order_relaxed);

	/* It began up to a tick after since_us: two ticks mean one tick's length at least. */
	return ticked_us > one_us ? sp_now_us() - lock->since_us - one_us : 0;
}

static void hold_ends(struct core_lock *lock)
{
	int64_t length_us = hold_length_us(lock);
	const char *by = atomic_load_explicit(&lock->held_by, memory_order_relaxed);

	if (length_us > atomic_load_explicit(&lock->longest_hold_us, memory_order_relaxed)) {
		atomic_store_explicit(&lock->longest_hold_us, length_us, memory_order_relaxed);
		atomic_store_explicit(&lock->longest_by, by, memory_order_relaxed);
	}
	atomic_store_explicit(&lock->held_by, NULL, memory_order_relaxed);
	sp_locks_held--;
}

/* A message that names the caller, and an end: better than a server that hangs. */
__attribute__((noreturn)) static void misused(const char *what, const char *by)
{
	sp_assert_failed(what, by, 0);
}

void core_lock_take(struct core_lock *lock, const char *by) SP_NO_THREAD_SAFETY
{
	if (sp_locks_held != 0)
		misused("a core lock is taken while this thread holds one", by);

	int rc = pthread_mutex_trylock(&lock->mutex);

	if (rc == EBUSY) {
		rc = pthread_mutex_lock(&lock->mutex);
		if (rc == EDEADLK)
			misused("resource deadlock avoided: this thread holds this very lock", by);
		uint64_t waited = atomic_load_explicit(&lock->waited, memory_order_relaxed);

		atomic_store_explicit(&lock->waited, waited + 1, memory_order_relaxed);
	}
	SP_ASSERT(rc == 0);
	hold_begins(lock, by);
}

void core_lock_drop(struct core_lock *lock) SP_NO_THREAD_SAFETY
{
	SP_ASSERT(sp_locks_held == 1);
	hold_ends(lock);
	SP_ASSERT(pthread_mutex_unlock(&lock->mutex) == 0);
}

bool core_lock_wait(struct core_lock *lock, pthread_cond_t *cond, int64_t until_ms, const char *by)
{
	struct timespec until = { .tv_sec = (time_t)(until_ms / 1000),
		                  .tv_nsec = (long)(until_ms % 1000) * 1000000 };

	SP_ASSERT(sp_locks_held == 1);
	hold_ends(lock);

	int rc = pthread_cond_timedwait(cond, &lock->mutex, &until);

	SP_ASSERT(rc == 0 || rc == ETIMEDOUT);
	hold_begins(lock, by);
	return rc == 0;
}

void core_lock_stats(const struct core_lock *lock, struct lock_stats *out)
{
	*out = (struct lock_stats){
		.taken = atomic_load_explicit(&lock->taken, memory_order_relaxed),
		.waited = atomic_load_explicit(&lock->waited, memory_order_relaxed),
		.longest_hold_us =
		    atomic_load_explicit(&lock->longest_hold_us, memory_order_relaxed),
		.longest_by = atomic_load_explicit(&lock->longest_by, memory_order_relaxed),
		.held_by = atomic_load_explicit(&lock->held_by, memory_order_relaxed),
	};
}

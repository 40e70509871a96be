// SPDX-License-Identifier: ISC
/*
 * The reaper: each tick, take what is due by value, then tell the owners.
 *
 * It is the only caller of session_table_expire(), and the order of its two
 * steps is the point of the whole design: no lock is held while it posts. A
 * notice that a full mailbox refuses is not lost: the table gives it again.
 */
#include "sallyport/reaper.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct reaper {
	struct session_table *table;
	struct mailbox *const *mailboxes; /* borrowed */
	size_t mailboxes_n;
	pthread_t thread;
	sem_t stop;
	/* Written by the thread alone, read by anybody. */
	_Atomic uint64_t ticks;
	_Atomic uint64_t notices;
	_Atomic uint64_t repeated;
	_Atomic uint64_t refused;
	_Atomic int64_t longest_tick_us;
};

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

static void tell_owner(struct reaper *reaper, const struct notice *notice)
{
	uint32_t worker = session_id_worker(notice->id);
	struct message message = {
		.kind = MESSAGE_NOTICE,
		.id = notice->id,
		.number = notice->deadline_ms,
	};

	SP_ASSERT(worker < reaper->mailboxes_n);
	add(&reaper->notices, 1);
	if (notice->repeated)
		add(&reaper->repeated, 1);
	if (!mailbox_post(reaper->mailboxes[worker], message))
		add(&reaper->refused, 1);
}

static void reaper_tick(struct reaper *reaper, struct notice_batch *batch)
{
	int64_t started_us = sp_now_us();
	int64_t now_ms = sp_now_ms();
	bool more;

	do {
		more = session_table_expire(reaper->table, now_ms,
		                            batch); /* locks and unlocks inside */
		for (size_t i = 0; i < batch->n; i++)
			tell_owner(reaper, &batch->v[i]);
	} while (more);

	int64_t took_us = sp_now_us() - started_us;

	add(&reaper->ticks, 1);
	if (took_us > atomic_load_explicit(&reaper->longest_tick_us, memory_order_relaxed))
		atomic_store_explicit(&reaper->longest_tick_us, took_us, memory_order_relaxed);
}

/* Sleeps until at_ms. False: it was told to stop. */
static bool sleep_until(struct reaper *reaper, int64_t at_ms)
{
	struct timespec at = { .tv_sec = (time_t)(at_ms / 1000),
		               .tv_nsec = (long)(at_ms % 1000) * 1000000 };

	while (sp_now_ms() < at_ms) {
		if (sem_clockwait(&reaper->stop, CLOCK_MONOTONIC, &at) == 0)
			return false;
		/* ETIMEDOUT: the clock says so above; EINTR: once more. */
	}
	return sem_trywait(&reaper->stop) == -1;
}

static void *reaper_run(void *arg)
{
	struct reaper *reaper = arg;
	struct notice_batch batch = { 0 };
	int64_t next_ms = sp_now_ms() + REAPER_TICK_MS;

	while (sleep_until(reaper, next_ms)) {
		reaper_tick(reaper, &batch);
		/* Ticks that a long one has swallowed are not made up for. */
		next_ms = sp_max64(next_ms + REAPER_TICK_MS, sp_now_ms());
	}
	return NULL;
}

/* Signals are main's: the thread starts with all of them blocked. */
static int start_thread(struct reaper *reaper)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);

	int rc = pthread_create(&reaper->thread, NULL, reaper_run, reaper);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

struct reaper *reaper_start(struct session_table *table, struct mailbox *const mailboxes[],
                            size_t n)
{
	struct reaper *reaper = calloc(1, sizeof(*reaper));

	if (reaper == NULL)
		return NULL;
	reaper->table = table;
	reaper->mailboxes = mailboxes;
	reaper->mailboxes_n = n;
	SP_ASSERT(sem_init(&reaper->stop, 0, 0) == 0);
	if (start_thread(reaper) != 0) {
		sem_destroy(&reaper->stop);
		free(reaper);
		return NULL;
	}
	return reaper;
}

void reaper_stop(struct reaper **reaper)
{
	struct reaper *r = *reaper;

	*reaper = NULL;
	if (r == NULL)
		return;
	SP_ASSERT(sem_post(&r->stop) == 0);
	SP_ASSERT(pthread_join(r->thread, NULL) == 0);
	sem_destroy(&r->stop);
	free(r);
}

void reaper_stats(const struct reaper *reaper, struct reaper_stats *out)
{
	*out = (struct reaper_stats){
		.ticks = atomic_load_explicit(&reaper->ticks, memory_order_relaxed),
		.notices = atomic_load_explicit(&reaper->notices, memory_order_relaxed),
		.repeated = atomic_load_explicit(&reaper->repeated, memory_order_relaxed),
		.refused = atomic_load_explicit(&reaper->refused, memory_order_relaxed),
		.longest_tick_us =
		    atomic_load_explicit(&reaper->longest_tick_us, memory_order_relaxed),
	};
}

// SPDX-License-Identifier: ISC
/*
 * The deadlock of Q191822, acted out: thousands of sessions time out, and who is
 * told of it (the sink) blocks until others have got on, re-enters the table
 * (lists, counts, looks up) and ends the session.
 *
 * Built as it is, the sweep tells the sink behind session_table_expire(), when
 * no lock is held: everything goes on. Built with SINK_UNDER_LOCK against a
 * table whose expiry calls deadlock_sink() itself, under the lock, it must not
 * come to its end: either a wall aborts it or, with the walls taken away, it
 * hangs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sallyport/session_table.h"

#define SESSIONS 5000
#define GETS_ON 2000 /* logons that go through while the sink blocks */
#define BLOCKS 4     /* times it blocks */

void deadlock_sink(const struct notice *notice);

static struct session_table *table;
static _Atomic uint64_t logons, listings, told;
static _Atomic bool done;

static struct session_info info_of(uint32_t worker, uint64_t sequence)
{
	return (struct session_info){ .id = session_id_make(worker, sequence),
		                      .user = "anonymous" };
}

static void list_all(void)
{
	struct table_cursor cursor = { 0 };
	struct session_info page[64];

	while (session_table_page(table, &cursor, page, SP_ARRAY_LEN(page)) > 0)
		;
	listings++;
}

/* A sink as bad as they come. */
void deadlock_sink(const struct notice *notice)
{
	uint64_t n = ++told;
	struct session_info info;

	SP_ASSERT(session_table_get(table, notice->id, &info));
	if (n % (SESSIONS / BLOCKS) == 1) {
		uint64_t logons_before = logons, listings_before = listings;

		while (logons < logons_before + GETS_ON || listings == listings_before)
			usleep(1000);
	}
	if (n % 500 == 0)
		list_all();
	SP_ASSERT(session_table_count(table) > 0);
	SP_ASSERT(session_table_remove(table, notice->id, NULL));
}

static void *log_on(void *arg SP_UNUSED)
{
	for (uint64_t i = 1; !done; i++) {
		struct session_info info = info_of(1, i);
		struct session_live *live =
		    session_table_insert(table, &info, sp_now_ms() + 300000);

		SP_ASSERT(live != NULL);
		if (!session_touch(live, sp_now_ms() + 120000))
			session_table_rearm(table, info.id, sp_now_ms() + 120000);
		session_table_update(table, &info);
		SP_ASSERT(session_table_remove(table, info.id, NULL));
		logons++;
	}
	return NULL;
}

static void *list_often(void *arg SP_UNUSED)
{
	while (!done)
		list_all();
	return NULL;
}

static void sweep(void)
{
	static struct notice_batch batch;
	bool more;

	do {
		more = session_table_expire(table, sp_now_ms(), &batch);
#ifndef SINK_UNDER_LOCK
		for (size_t i = 0; i < batch.n; i++)
			deadlock_sink(&batch.v[i]);
#endif
	} while (more);
}

int main(void)
{
	pthread_t threads[2];

	table = session_table_new(8);
	for (uint64_t i = 1; i <= SESSIONS; i++) {
		struct session_info info = info_of(0, i);

		SP_ASSERT(session_table_insert(table, &info, sp_now_ms()) != NULL);
	}
	SP_ASSERT(pthread_create(&threads[0], NULL, log_on, NULL) == 0);
	SP_ASSERT(pthread_create(&threads[1], NULL, list_often, NULL) == 0);
	while (told < SESSIONS) {
		sweep();
		usleep(1000);
	}
	done = true;
	for (size_t i = 0; i < 2; i++)
		SP_ASSERT(pthread_join(threads[i], NULL) == 0);
	SP_ASSERT(session_table_count(table) == 0);
	printf(
	    "%d sessions told and ended by a sink that blocked %d times and re-entered the table;\n"
	    "meanwhile %llu logons and %llu listings\n",
	    SESSIONS, BLOCKS, (unsigned long long)logons, (unsigned long long)listings);
	session_table_free(&table);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * Micro-benchmark of the session table: what an operation costs under 1 to 8
 * threads, with 10^3 to 10^6 records, with few and many shards, and what a
 * sweep costs that finds little or much due.
 *
 * Costs are CPU nanoseconds of the calling threads, so that more threads than
 * CPUs make no difference by themselves; `waits` is how many in a thousand
 * takings of a lock found it taken. Each run checks what it got (counts of
 * records and of notices), so a table that loses records does not look fast.
 */
#include "bench_util.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/session_table.h"

#define THREADS_MAX 8U
#define PAGE_RECORDS 64U
#define START_MS INT64_C(1000000)
#define HOUR_MS INT64_C(3600000)

enum operation { OP_INSERT, OP_TOUCH, OP_REARM, OP_GET, OP_CHURN, OP_PAGE, OP_REMOVE, OP_KINDS };

static const char *const operation_names[OP_KINDS] = { "insert", "touch", "rearm", "get",
	                                               "churn",  "page",  "remove" };

/* One thread's part: it owns the records that it inserts, as a worker does. */
struct part {
	pthread_t thread;
	struct run *run;
	struct session_live **live;
	unsigned int index;
	size_t count;
	uint64_t next_id; /* churn: beyond what is there */
	uint64_t done[OP_KINDS];
	int64_t cpu_ns[OP_KINDS];
};

struct run {
	struct session_table *table;
	pthread_barrier_t barrier;
	size_t records;
	size_t shards;
	unsigned int threads;
	size_t operations;
	struct part parts[THREADS_MAX];
};

static int64_t thread_cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* xorshift64*: cheap against what is measured. */
static uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12U;
	*state ^= *state << 25U;
	*state ^= *state >> 27U;
	return *state * UINT64_C(2685821657736338717);
}

static struct session_info make_info(unsigned int worker, uint64_t sequence)
{
	struct session_info info = { .id = session_id_make(worker, sequence + 1),
		                     .started_ms = START_MS };

	info.client.in.sin_family = AF_INET;
	(void)snprintf(info.listener, sizeof(info.listener), "public");
	(void)snprintf(info.user, sizeof(info.user), "user-%llu", (unsigned long long)sequence);
	return info;
}

/* --- operations ------------------------------------------------------------------------ */

static void must(bool holds, const char *what)
{
	if (!holds)
		bench_fail(0, "%s", what);
}

static void do_insert(struct part *part)
{
	struct session_info info = make_info(part->index, 0);
	size_t i;

	for (i = 0; i < part->count; i++) {
		info.id = session_id_make(part->index, i + 1);
		part->live[i] = session_table_insert(part->run->table, &info,
		                                     START_MS + HOUR_MS + (int64_t)(i % 300000));
		if (part->live[i] == NULL)
			bench_fail(ENOMEM, "insert");
	}
	part->done[OP_INSERT] = part->count;
}

static void do_touch(struct part *part)
{
	uint64_t state = part->index + 1U;
	size_t i;

	for (i = 0; i < part->run->operations; i++) {
		struct session_live *live = part->live[random_next(&state) % part->count];

		must(session_touch(live, START_MS + 2 * HOUR_MS), "a later deadline needs a lock");
	}
	part->done[OP_TOUCH] = part->run->operations;
}

static void do_rearm(struct part *part)
{
	uint64_t state = part->index + 1U;
	size_t i;

	for (i = 0; i < part->run->operations / 4; i++)
		session_table_rearm(
		    part->run->table,
		    session_id_make(part->index, random_next(&state) % part->count + 1),
		    START_MS + HOUR_MS + (int64_t)(i % 300000));
	part->done[OP_REARM] = part->run->operations / 4;
}

static void do_get(struct part *part)
{
	uint64_t state = part->index + 1U;
	struct session_info info;
	size_t i;

	for (i = 0; i < part->run->operations / 4; i++) {
		uint64_t random = random_next(&state);
		unsigned int worker = (unsigned int)(random >> 40U) % part->run->threads;
		size_t sequence = (random & 0xffffffffU) % part->run->parts[worker].count;

		must(session_table_get(part->run->table, session_id_make(worker, sequence + 1),
		                       &info),
		     "a record is lost");
	}
	part->done[OP_GET] = part->run->operations / 4;
}

/* What a logon costs the table: one record comes, one goes. */
static void do_churn(struct part *part)
{
	struct session_info info = make_info(part->index, part->next_id);
	size_t i;

	for (i = 0; i < part->run->operations / 4; i++) {
		info.id = session_id_make(part->index, ++part->next_id);
		if (session_table_insert(part->run->table, &info, START_MS + HOUR_MS) == NULL)
			bench_fail(ENOMEM, "insert");
		must(session_table_remove(part->run->table, info.id, NULL), "a record is lost");
	}
	part->done[OP_CHURN] = part->run->operations / 4;
}

static void do_page(struct part *part)
{
	struct session_info *page = calloc(PAGE_RECORDS, sizeof(*page));
	struct table_cursor cursor = { 0 };
	size_t seen = 0;
	size_t got;

	if (page == NULL)
		bench_fail(ENOMEM, "page");
	while ((got = session_table_page(part->run->table, &cursor, page, PAGE_RECORDS)) > 0)
		seen += got;
	free(page);
	must(seen == part->run->records, "a listing is not whole");
	part->done[OP_PAGE] = seen;
}

static void do_remove(struct part *part)
{
	size_t i;

	for (i = 0; i < part->count; i++)
		must(session_table_remove(part->run->table, session_id_make(part->index, i + 1),
		                          NULL),
		     "a record is lost");
	part->done[OP_REMOVE] = part->count;
}

static void *part_main(void *argument)
{
	static void (*const operations[OP_KINDS])(struct part * part) = {
		do_insert, do_touch, do_rearm, do_get, do_churn, do_page, do_remove
	};
	struct part *part = argument;
	int operation;

	for (operation = 0; operation < OP_KINDS; operation++) {
		int64_t began;

		(void)pthread_barrier_wait(&part->run->barrier);
		began = thread_cpu_ns();
		operations[operation](part);
		part->cpu_ns[operation] = thread_cpu_ns() - began;
	}
	return NULL;
}

/* --- a run ----------------------------------------------------------------------------- */

static void lock_waits(struct session_table *table, uint64_t *taken, uint64_t *waited)
{
	size_t i;

	*taken = 0;
	*waited = 0;
	for (i = 0; i < session_table_shards(table); i++) {
		struct lock_stats stats;

		session_table_lock_stats(table, i, &stats);
		*taken += stats.taken;
		*waited += stats.waited;
	}
}

static void run_print(const struct run *run)
{
	uint64_t taken;
	uint64_t waited;
	int operation;
	unsigned int i;

	(void)printf("| %zu | %u | %zu |", run->records, run->threads, run->shards);
	for (operation = 0; operation < OP_KINDS; operation++) {
		uint64_t done = 0;
		int64_t cpu_ns = 0;

		for (i = 0; i < run->threads; i++) {
			done += run->parts[i].done[operation];
			cpu_ns += run->parts[i].cpu_ns[operation];
		}
		(void)printf(" %.1f |", (double)cpu_ns / (double)done);
	}
	lock_waits(run->table, &taken, &waited);
	(void)printf(" %.2f |\n", 1000.0 * (double)waited / (double)(taken > 0 ? taken : 1));
	(void)fflush(stdout);
}

static void run_table(size_t records, unsigned int threads, size_t shards, size_t operations)
{
	struct run *run = calloc(1, sizeof(*run));
	unsigned int i;

	if (run == NULL || (run->table = session_table_new(shards)) == NULL)
		bench_fail(ENOMEM, "no table");
	run->records = records;
	run->shards = session_table_shards(run->table);
	run->threads = threads;
	run->operations = operations / threads;
	if (pthread_barrier_init(&run->barrier, NULL, threads) != 0)
		bench_fail(0, "no barrier");
	for (i = 0; i < threads; i++) {
		struct part *part = &run->parts[i];

		part->run = run;
		part->index = i;
		part->count = records / threads + (i < records % threads ? 1U : 0U);
		part->next_id = part->count;
		part->live = calloc(part->count, sizeof(part->live[0]));
		if (part->live == NULL)
			bench_fail(ENOMEM, "no memory");
	}
	for (i = 0; i < threads; i++) {
		if (pthread_create(&run->parts[i].thread, NULL, part_main, &run->parts[i]) != 0)
			bench_fail(0, "no thread");
	}
	for (i = 0; i < threads; i++) {
		(void)pthread_join(run->parts[i].thread, NULL);
		free(run->parts[i].live);
	}
	must(session_table_count(run->table) == 0, "records are left over");
	run_print(run);
	session_table_free(&run->table);
	(void)pthread_barrier_destroy(&run->barrier);
	free(run);
}

/* --- sweeps ---------------------------------------------------------------------------- */

/* Calls expire until the sweep is done; returns how many were told. */
static size_t sweep(struct session_table *table, int64_t now_ms)
{
	struct notice_batch batch = { 0 };
	size_t told = 0;
	bool more;

	do {
		more = session_table_expire(table, now_ms, &batch);
		told += batch.n;
	} while (more);
	return told;
}

/*
 * `due` of `records` are due at once; the others in an hour. Also the cost of
 * the ticks (100 ms each) in which nothing is due, and of one after the records
 * have been touched: the reaper meets them at their old turn and files them again.
 */
static void run_sweep(size_t records, size_t due, size_t shards)
{
	enum { QUIET_TICKS = 100 };
	struct session_table *table = session_table_new(shards);
	struct session_info info = make_info(0, 0);
	struct session_live **live = calloc(records, sizeof(*live));
	int64_t now_ms = START_MS;
	int64_t began;
	int64_t quiet_ns;
	int64_t due_ns;
	int64_t moved_ns;
	size_t i;

	if (table == NULL || live == NULL)
		bench_fail(ENOMEM, "no table");
	(void)sweep(table, now_ms);
	for (i = 0; i < records; i++) {
		info.id = session_id_make(0, i + 1);
		live[i] = session_table_insert(table, &info,
		                               i < due ? START_MS + 20000 : START_MS + HOUR_MS);
		if (live[i] == NULL)
			bench_fail(ENOMEM, "insert");
	}
	began = thread_cpu_ns();
	for (i = 0; i < QUIET_TICKS; i++) {
		now_ms += 100;
		must(sweep(table, now_ms) == 0, "something is due too early");
	}
	quiet_ns = (thread_cpu_ns() - began) / QUIET_TICKS;
	began = thread_cpu_ns();
	must(sweep(table, START_MS + 20100) == due, "what is due was not told");
	due_ns = thread_cpu_ns() - began;
	for (i = 0; i < due; i++)
		must(session_touch(live[i], START_MS + 2 * HOUR_MS), "touch");
	began = thread_cpu_ns();
	must(sweep(table, START_MS + 20200 + NOTICE_REPEAT_MS) == 0, "what has moved was told");
	moved_ns = thread_cpu_ns() - began;
	(void)printf("| %zu | %zu | %.2f | %.2f | %.1f | %.1f |\n", records, due,
	             (double)quiet_ns / 1e3, (double)due_ns / 1e3,
	             due > 0 ? (double)due_ns / (double)due : 0.0,
	             due > 0 ? (double)moved_ns / (double)due : 0.0);
	(void)fflush(stdout);
	for (i = 0; i < records; i++)
		must(session_table_remove(table, session_id_make(0, i + 1), NULL), "remove");
	session_table_free(&table);
	free(live);
}

/* --- the program ----------------------------------------------------------------------- */

static void heading(const char *title)
{
	int operation;

	(void)printf("\n%s\n\n| records | threads | shards |", title);
	for (operation = 0; operation < OP_KINDS; operation++)
		(void)printf(" %s |", operation_names[operation]);
	(void)printf(" waits |\n| --: | --: | --: |");
	for (operation = 0; operation <= OP_KINDS; operation++)
		(void)printf(" --: |");
	(void)putchar('\n');
}

static void usage(void)
{
	(void)fputs(
	    "usage: bench_table [--records MAX] [--operations N] [--shards N]\n"
	    "  --records     the largest table (1000000)\n"
	    "  --operations  of each kind, in all threads together (1000000)\n"
	    "  --shards      for all but the sweep over shards (the default of the table)\n",
	    stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "records", required_argument, NULL, 'r' },
		{ "operations", required_argument, NULL, 'o' },
		{ "shards", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	size_t largest = 1000000;
	size_t operations = 1000000;
	size_t shards = SESSION_SHARDS_DEFAULT;
	size_t middle;
	size_t n;
	unsigned int threads;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			largest = (size_t)bench_parse_number("records", optarg, 100000000);
		else if (option == 'o')
			operations = (size_t)bench_parse_number("operations", optarg, 1000000000);
		else if (option == 's')
			shards = (size_t)bench_parse_number("shards", optarg, SESSION_SHARDS_MAX);
		else
			usage();
	}
	if (optind != argc || largest < 1000 || operations < 1000 || shards == 0)
		usage();
	middle = largest < 10000 ? largest : 10000;
	heading("CPU ns an operation (page: a record); waits: of 1,000 takings of a lock");
	for (n = 1000; n <= largest; n *= 10)
		run_table(n, 1, shards, operations);
	for (threads = 2; threads <= THREADS_MAX; threads *= 2)
		run_table(middle, threads, shards, operations);
	heading("The same with 8 threads, by the number of shards");
	for (n = 1; n <= 1024; n *= 4)
		run_table(middle, THREADS_MAX, n, operations);
	(void)puts("\nSweeps: by how much is due\n\n| records | due | quiet tick µs | sweep µs "
	           "| ns a notice | ns a record touched since |\n"
	           "| --: | --: | --: | --: | --: | --: |");
	for (n = 1000; n <= largest; n *= 10)
		run_sweep(n, 100, shards);
	for (n = 1; n <= middle; n *= 10)
		run_sweep(largest, n, shards);
	return 0;
}

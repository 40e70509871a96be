// SPDX-License-Identifier: ISC
/*
 * The handshake of session_touch() and the sweep: a deadline that moves while
 * the sweep looks at its record is never missed.
 *
 * The moments that count are a few instructions long, so two threads would
 * seldom meet in them. Here the table is compiled with its atomic accesses
 * slowed down at random, and the two meet all the time.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Thread_local unsigned long perturb_seed = 88172645463325252u;

/* Mostly nothing; now and then a pause of a microsecond or so, or a turn for another thread. */
static void perturb(void)
{
	perturb_seed ^= perturb_seed << 13;
	perturb_seed ^= perturb_seed >> 7;
	perturb_seed ^= perturb_seed << 17;
	if (perturb_seed % 256 == 0)
		sched_yield();
	if (perturb_seed % 4 != 0)
		return;
	for (volatile unsigned spin = (unsigned)(perturb_seed >> 32) % 400; spin > 0;
	     spin = spin - 1)
		;
}

#undef atomic_load
#undef atomic_store
#define atomic_load(p) (perturb(), atomic_load_explicit(p, memory_order_seq_cst))
#define atomic_store(p, v) (perturb(), atomic_store_explicit(p, v, memory_order_seq_cst))

#include "../../proxy/shared/session_table.c"

/*
 * Time is ours here: the sweeping thread makes it pass as fast as it can sweep.
 * The owner puts a deadline far off, waits for about the record's turn, so that
 * the sweep is about to file it far off, and pulls the deadline near just then,
 * without the lock if it may. The notice must come when the near one passes.
 */
#define STEP_MS 30
#define FAR_MS 100000
#define RACES_MIN 200
#define RUN_MS 500
#define RUN_MAX_MS 10000

struct race {
	struct session_table *table;
	_Atomic int64_t now_ms;
	_Atomic int64_t told_deadline_ms; /* of the last notice that was news */
	_Atomic int64_t told_at_ms;
	_Atomic bool stop;
};

static int64_t any_below(uint64_t *seed, int64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (int64_t)((*seed >> 33) % (uint64_t)n);
}

static void *sweep(void *arg)
{
	struct race *race = arg;
	struct notice_batch batch = { 0 };
	uint64_t seed = 1;

	perturb_seed = 42;
	while (!atomic_load(&race->stop)) {
		int64_t now_ms = atomic_load(&race->now_ms) + 1 + any_below(&seed, STEP_MS);

		atomic_store(&race->now_ms, now_ms);
		SP_ASSERT(!session_table_expire(race->table, now_ms, &batch));
		for (size_t i = 0; i < batch.n; i++) {
			if (batch.v[i].repeated)
				continue; /* the owner is slower than our time, that is all */
			atomic_store(&race->told_at_ms, now_ms);
			atomic_store(&race->told_deadline_ms, batch.v[i].deadline_ms);
		}
	}
	return NULL;
}

/* True: without the lock. */
static bool set_deadline(struct race *race, struct session_live *live, struct session_id id,
                         int64_t at_ms)
{
	if (session_touch(live, at_ms))
		return true;
	session_table_rearm(race->table, id, at_ms);
	return false;
}

/* One round; true when the near deadline was set without the lock. */
static bool race_once(struct race *race, struct session_live *live, struct session_id id,
                      uint64_t *seed)
{
	int64_t turn_ms = atomic_load(&race->now_ms) + 50;

	session_table_rearm(race->table, id, turn_ms);
	set_deadline(race, live, id, turn_ms + FAR_MS);

	/* The turn comes up to 16 ms behind its time, in steps of up to 30. */
	int64_t about_ms = turn_ms - STEP_MS + any_below(seed, 2 * STEP_MS);

	while (atomic_load(&race->now_ms) < about_ms)
		;

	int64_t near_ms = atomic_load(&race->now_ms) + STEP_MS + any_below(seed, 50);
	bool unlocked = set_deadline(race, live, id, near_ms);
	int64_t latest_ms = sp_max64(near_ms, atomic_load(&race->now_ms)) + 16 + 2 * STEP_MS;

	while (atomic_load(&race->told_deadline_ms) != near_ms)
		; /* a lost one comes when the far turn does */
	SP_ASSERT(atomic_load(&race->told_at_ms) <= latest_ms);
	return unlocked;
}

START_TEST(no_wake_up_is_lost)
{
	struct race race = { .table = session_table_new(1), .now_ms = 1000 };
	struct session_info info = { .id = session_id_make(0, 1) };
	struct session_live *live = session_table_insert(race.table, &info, CLOCK_NEVER);
	int64_t started_ms = sp_now_ms();
	unsigned long rounds = 0, unlocked = 0;
	uint64_t seed = 2;
	pthread_t thread;

	ck_assert_ptr_nonnull(live);
	ck_assert_int_eq(pthread_create(&thread, NULL, sweep, &race), 0);
	/* On a busy machine the two of them seldom meet: then it takes longer. */
	while (sp_now_ms() < started_ms + RUN_MS ||
	       (unlocked < RACES_MIN && sp_now_ms() < started_ms + RUN_MAX_MS)) {
		unlocked += race_once(&race, live, info.id, &seed);
		rounds++;
	}
	atomic_store(&race.stop, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	/* Both ways have been taken, or this has tested nothing. */
	ck_assert_uint_gt(unlocked, 0);
	ck_assert_uint_lt(unlocked, rounds);
	session_table_remove(race.table, info.id, NULL);
	session_table_free(&race.table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_table_race");
	TCase *tcase = tcase_create("session_table_race");

	tcase_add_test(tcase, no_wake_up_is_lost);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * The timing wheel against a plain array: what comes out, when, and at what cost.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/wheel.h"

#define NO_LIMIT ((size_t)1 << 40)

/* libcheck reports each assertion that holds, too: too slow inside loops. */
#define MUST(cond) ((cond) ? (void)0 : ck_abort_msg("%s", #cond))

static uint64_t seed = 1;

static uint64_t any(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return seed >> 33;
}

static int64_t any_below(int64_t n)
{
	return (int64_t)(any() % (uint64_t)n);
}

static struct wheel wheel;

static bool wheel_is_empty(void)
{
	uint64_t used = 0;

	for (size_t i = 0; i < WHEEL_LEVELS; i++)
		used |= wheel.used[i];
	return used == 0;
}

static struct wheel_node *take(int64_t now_ms)
{
	size_t budget = NO_LIMIT;

	return wheel_take_due(&wheel, now_ms, &budget);
}

START_TEST(node_comes_out_at_its_time_and_not_before)
{
	static const int64_t times[] = {
		0,         1,           15,          16,          17,
		1023,      1024,        1025,        65535,       65536,
		300000,    4194303,     4194304,     86400000,    268435456,
		999999999, 17179869184, 17179869185, 31536000000, (int64_t)30 * 365 * 86400 * 1000,
	};
	static const int64_t starts[] = { 0, 5, 1000, 1023, 123456789, 17179869180 };

	for (size_t s = 0; s < SP_ARRAY_LEN(starts); s++) {
		for (size_t i = 0; i < SP_ARRAY_LEN(times); i++) {
			struct wheel_node node = { 0 };
			int64_t at = starts[s] + times[i];

			wheel_init(&wheel, starts[s]);
			wheel_add(&wheel, &node, at);
			ck_assert(wheel_node_is_filed(&node));
			ck_assert_ptr_null(take(starts[s]));
			ck_assert_ptr_null(take(at - 1 < starts[s] ? starts[s] : at - 1));
			ck_assert_ptr_null(take(at));
			ck_assert_ptr_eq(take(at + WHEEL_TICK_MS), &node);
			ck_assert(!wheel_node_is_filed(&node));
			ck_assert(wheel_is_empty());
		}
	}
}
END_TEST

START_TEST(time_that_has_passed_is_due_at_the_next_tick)
{
	struct wheel_node node = { 0 };

	wheel_init(&wheel, 100000);
	ck_assert_ptr_null(take(200000));
	wheel_add(&wheel, &node, 5);
	ck_assert_ptr_eq(take(200000 + WHEEL_TICK_MS), &node);
}
END_TEST

START_TEST(time_beyond_all_levels_waits_and_is_not_lost)
{
	struct wheel_node node = { 0 };

	wheel_init(&wheel, 0);
	wheel_add(&wheel, &node, INT64_MAX);
	ck_assert_ptr_null(take((int64_t)20 * 365 * 86400 * 1000));
	ck_assert(wheel_node_is_filed(&node));
	wheel_remove(&wheel, &node);
	ck_assert(wheel_is_empty());
}
END_TEST

START_TEST(removing_twice_and_removing_neighbours_is_fine)
{
	struct wheel_node nodes[5] = { 0 };

	wheel_init(&wheel, 0);
	for (size_t i = 0; i < 5; i++)
		wheel_add(&wheel, &nodes[i], 777);
	wheel_remove(&wheel, &nodes[2]);
	wheel_remove(&wheel, &nodes[2]);
	wheel_remove(&wheel, &nodes[4]);
	wheel_remove(&wheel, &nodes[0]);
	ck_assert_ptr_nonnull(take(1000));
	ck_assert_ptr_nonnull(take(1000));
	ck_assert_ptr_null(take(1000));
	ck_assert(wheel_is_empty());
}
END_TEST

#define NODES 3000

/* The model: each node's time, -1 when it is not filed. */
static struct wheel_node nodes[NODES];
static int64_t model[NODES];

static int64_t any_time_from(int64_t now_ms)
{
	switch (any() % 6) {
	case 0:
		return sp_max64(now_ms - any_below(1000), 0);
	case 1:
		return now_ms + any_below(64);
	case 2:
		return now_ms + any_below(5000);
	case 3:
		return now_ms + any_below(300000);
	case 4:
		return now_ms + any_below(50000000);
	default:
		return now_ms + any_below(1) + 65536 -
		       now_ms % 65536; /* the border of a slot of level 2 */
	}
}

/* Takes with small budgets, checks each node, and then that nobody was left behind. */
static void take_all_and_compare(int64_t now_ms)
{
	size_t budget;

	do {
		struct wheel_node *node;

		budget = 1 + any() % 50;
		while ((node = wheel_take_due(&wheel, now_ms, &budget)) != NULL) {
			size_t i = (size_t)(node - nodes);

			MUST(model[i] >= 0 && model[i] <= now_ms);
			model[i] = -1;
		}
		/* Between two holds of the lock, others file and take out. */
		size_t i = any() % NODES;

		if (model[i] == -1) {
			model[i] = now_ms + 100 + any_below(100000);
			wheel_add(&wheel, &nodes[i], model[i]);
		}
	} while (budget == 0);
	for (size_t i = 0; i < NODES; i++)
		MUST(model[i] == -1 || model[i] > now_ms - WHEEL_TICK_MS);
}

START_TEST(wheel_agrees_with_a_plain_array)
{
	int64_t now_ms = 1000000;

	seed = (uint64_t)_i + 1;
	memset(nodes, 0, sizeof(nodes));
	memset(model, 0xff, sizeof(model));
	wheel_init(&wheel, 0);
	for (int round = 0; round < 400; round++) {
		for (int k = 0; k < 200; k++) {
			size_t i = any() % NODES;

			if (model[i] != -1 && any() % 4 != 0)
				continue;
			wheel_remove(&wheel, &nodes[i]);
			model[i] = any() % 8 == 0 ? -1 : any_time_from(now_ms);
			if (model[i] != -1) {
				/* What has passed counts as "now". */
				model[i] = sp_max64(model[i], now_ms);
				wheel_add(&wheel, &nodes[i], model[i]);
			}
		}
		now_ms += any() % 10 == 0 ? any_below(2000000) : any_below(200);
		take_all_and_compare(now_ms);
	}
}
END_TEST

START_TEST(cost_is_what_is_due_and_not_what_is_filed)
{
	static struct wheel_node many[100000];
	size_t due = 0;
	size_t budget = NO_LIMIT;

	wheel_init(&wheel, 0);
	for (size_t i = 0; i < SP_ARRAY_LEN(many); i++)
		wheel_add(&wheel, &many[i], 4000000 + (int64_t)i * 100);
	for (size_t i = 0; i < 10; i++) {
		wheel_remove(&wheel, &many[i]);
		wheel_add(&wheel, &many[i], 1000 + (int64_t)i);
	}
	while (wheel_take_due(&wheel, 2000, &budget) != NULL)
		due++;
	ck_assert_uint_eq(due, 10);
	/* Each of the ten moves down at most once a level, and is taken out once. */
	ck_assert_uint_le(NO_LIMIT - budget, due * WHEEL_LEVELS + WHEEL_LEVELS);
}
END_TEST

START_TEST(long_silence_costs_no_steps)
{
	size_t budget = NO_LIMIT;

	wheel_init(&wheel, 0);
	ck_assert_ptr_null(wheel_take_due(&wheel, (int64_t)1 << 39, &budget));
	ck_assert_uint_eq(budget, NO_LIMIT);
}
END_TEST

START_TEST(budget_bounds_the_steps_and_loses_nothing)
{
	static struct wheel_node many[10000];
	size_t got = 0, calls = 0;
	size_t budget;

	wheel_init(&wheel, 0);
	for (size_t i = 0; i < SP_ARRAY_LEN(many); i++)
		wheel_add(&wheel, &many[i], 300000);
	do {
		budget = 64;
		calls++;
		while (wheel_take_due(&wheel, 400000, &budget) != NULL)
			got++;
	} while (budget == 0);
	ck_assert_uint_eq(got, SP_ARRAY_LEN(many));
	/* Down at most three levels and out: a call makes 64 steps of these. */
	ck_assert_uint_ge(calls, SP_ARRAY_LEN(many) / 64);
	ck_assert_uint_le(calls, 4 * SP_ARRAY_LEN(many) / 64 + 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wheel");
	TCase *tcase = tcase_create("wheel");

	tcase_add_test(tcase, node_comes_out_at_its_time_and_not_before);
	tcase_add_test(tcase, time_that_has_passed_is_due_at_the_next_tick);
	tcase_add_test(tcase, time_beyond_all_levels_waits_and_is_not_lost);
	tcase_add_test(tcase, removing_twice_and_removing_neighbours_is_fine);
	tcase_add_loop_test(tcase, wheel_agrees_with_a_plain_array, 0, 4);
	tcase_add_test(tcase, cost_is_what_is_due_and_not_what_is_filed);
	tcase_add_test(tcase, long_silence_costs_no_steps);
	tcase_add_test(tcase, budget_bounds_the_steps_and_loses_nothing);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

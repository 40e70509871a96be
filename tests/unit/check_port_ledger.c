// SPDX-License-Identifier: ISC
/* port_ledger: each port once, long rested ones first, not to be foretold; from many threads too. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/port_ledger.h"

#define FIRST 50000
#define THREADS 4
#define ROUNDS 20000

START_TEST(every_port_is_given_once_and_then_none)
{
	struct port_ledger *ledger = port_ledger_new(FIRST, FIRST + 99, 7);
	struct port_ledger_stats stats;
	bool seen[100] = { false };

	for (uint64_t i = 0; i < 100; i++) {
		uint16_t port = port_ledger_take(ledger, i * 0x9e3779b97f4a7c15u);

		ck_assert(port >= FIRST && port < FIRST + 100);
		ck_assert(!seen[port - FIRST]);
		seen[port - FIRST] = true;
	}
	ck_assert_uint_eq(port_ledger_take(ledger, 1), 0);
	port_ledger_give(ledger, FIRST + 42);
	ck_assert_uint_eq(port_ledger_take(ledger, 1), FIRST + 42);
	port_ledger_give(ledger, FIRST + 1);
	port_ledger_stats(ledger, &stats);
	ck_assert_uint_eq(stats.size, 100);
	ck_assert_uint_eq(stats.in_use, 99);
	ck_assert_uint_eq(stats.peak, 100);
	port_ledger_free(&ledger);
	ck_assert_ptr_null(ledger);
}
END_TEST

/* However the draw falls, half of the range is used before a port comes again. */
START_TEST(port_rests_for_half_a_round_at_least)
{
	struct port_ledger *ledger = port_ledger_new(FIRST, FIRST + 99, 7);
	int last[100];

	for (size_t i = 0; i < 100; i++)
		last[i] = -1000;
	for (int i = 0; i < 10000; i++) {
		uint16_t port = port_ledger_take(ledger, (uint64_t)i * 0x9e3779b97f4a7c15u >> 7);
		int rested = i - last[port - FIRST];

		ck_assert_int_ge(rested, 50);
		last[port - FIRST] = i;
		port_ledger_give(ledger, port);
	}
	port_ledger_free(&ledger);
}
END_TEST

START_TEST(order_depends_on_the_seed_and_on_every_draw)
{
	struct port_ledger *a = port_ledger_new(FIRST, FIRST + 999, 1);
	struct port_ledger *b = port_ledger_new(FIRST, FIRST + 999, 2);
	struct port_ledger *c = port_ledger_new(FIRST, FIRST + 999, 1);
	unsigned same_seed = 0;
	unsigned same_draw = 0;

	for (uint64_t i = 0; i < 200; i++) {
		uint16_t from_a = port_ledger_take(a, i);

		same_draw += from_a == port_ledger_take(b, i);
		same_seed += from_a == port_ledger_take(c, i * 77 + 13);
	}
	ck_assert_uint_lt(same_draw, 20);
	ck_assert_uint_lt(same_seed, 20);
	port_ledger_free(&a);
	port_ledger_free(&b);
	port_ledger_free(&c);
}
END_TEST

START_TEST(range_of_one_and_the_last_port_there_is)
{
	struct port_ledger *ledger = port_ledger_new(UINT16_MAX, UINT16_MAX, 7);

	for (uint64_t i = 0; i < 5; i++) {
		ck_assert_uint_eq(port_ledger_take(ledger, UINT64_MAX - i), UINT16_MAX);
		ck_assert_uint_eq(port_ledger_take(ledger, i), 0);
		port_ledger_give(ledger, UINT16_MAX);
	}
	port_ledger_free(&ledger);
}
END_TEST

static struct port_ledger *shared;
static atomic_bool taken[8];

static void *take_and_give(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint16_t port = port_ledger_take(shared, random = random * 6364136223846793005u + 1);

		if (port == 0)
			continue;
		if (atomic_exchange(&taken[port - FIRST], true))
			abort(); /* two have the same one */
		atomic_store(&taken[port - FIRST], false);
		port_ledger_give(shared, port);
	}
	return NULL;
}

START_TEST(no_two_threads_get_the_same_port)
{
	pthread_t threads[THREADS];
	struct port_ledger_stats stats;

	shared = port_ledger_new(FIRST, FIRST + 2, 7);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	port_ledger_stats(shared, &stats);
	ck_assert_uint_eq(stats.in_use, 0);
	ck_assert_uint_le(stats.peak, 3);
	port_ledger_free(&shared);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("port_ledger");
	TCase *tcase = tcase_create("port_ledger");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, every_port_is_given_once_and_then_none);
	tcase_add_test(tcase, port_rests_for_half_a_round_at_least);
	tcase_add_test(tcase, order_depends_on_the_seed_and_on_every_draw);
	tcase_add_test(tcase, range_of_one_and_the_last_port_there_is);
	tcase_add_test(tcase, no_two_threads_get_the_same_port);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * When memory is given back: behind a burst of handshakes, not during it, and
 * not for a few. malloc_trim() is ours here and counts.
 */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/runtime_memory.h"

#define BURST	  64
#define TURNS_MAX 60

static unsigned trims;

int malloc_trim(size_t pad)
{
	ck_assert_uint_eq(pad, 0);
	trims++;
	return 1;
}

static struct counters one, two;
static struct counters *const both[] = { &one, &two };
static struct runtime_memory memory;

/* A second with so many handshakes in each worker: how often memory was given back in it. */
static unsigned turn(uint64_t in_one, uint64_t in_two)
{
	unsigned before = trims;

	counter_add(&one, COUNT_TLS_HANDSHAKES, in_one);
	counter_add(&two, COUNT_TLS_HANDSHAKES, in_two);
	runtime_memory_turn(&memory, both, SP_ARRAY_LEN(both));
	return trims - before;
}

static void begin(void)
{
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	memset(&memory, 0, sizeof(memory));
}

START_TEST(nothing_is_given_back_for_a_few)
{
	begin();
	ck_assert_uint_eq(turn(0, 0), 0);
	ck_assert_uint_eq(turn(BURST / 2, BURST / 2 - 1), 0);
	for (int i = 0; i < 3 * TURNS_MAX; i++)
		ck_assert_uint_eq(turn(0, 0), 0);
	/* but they add up */
	ck_assert_uint_eq(turn(1, 0), 1);
	ck_assert_uint_eq(turn(0, 0), 0);
}
END_TEST

START_TEST(a_burst_is_followed_by_one_return)
{
	begin();
	/* whichever worker has them */
	ck_assert_uint_eq(turn(BURST / 2, BURST / 2), 0);
	ck_assert_uint_eq(turn(10 * BURST, 0), 0);
	ck_assert_uint_eq(turn(0, BURST), 0);
	ck_assert_uint_eq(turn(0, 1), 1);
	for (int i = 0; i < TURNS_MAX; i++)
		ck_assert_uint_eq(turn(0, 0), 0);
	ck_assert_uint_eq(turn(0, BURST), 0);
	ck_assert_uint_eq(turn(0, 0), 1);
}
END_TEST

START_TEST(a_burst_without_end_is_not_waited_for_for_ever)
{
	begin();
	for (int round = 0; round < 3; round++) {
		for (int i = 1; i < TURNS_MAX; i++)
			ck_assert_uint_eq(turn(BURST, BURST), 0);
		ck_assert_uint_eq(turn(BURST, BURST), 1);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runtime_memory");
	TCase *tc = tcase_create("runtime_memory");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, nothing_is_given_back_for_a_few);
	tcase_add_test(tc, a_burst_is_followed_by_one_return);
	tcase_add_test(tc, a_burst_without_end_is_not_waited_for_for_ever);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// SPDX-License-Identifier: ISC
/*
 * Counters, end reasons and ledgers: every row of their tables, and their sums.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/counters.h"
#include "sallyport/ledger.h"

static bool is_name(const char *s)
{
	return strlen(s) > 2 && strspn(s, "abcdefghijklmnopqrstuvwxyz_0123456789") == strlen(s);
}

START_TEST(every_counter_has_a_name_of_its_own_and_a_help_text)
{
	for (int i = 0; i < COUNTER_COUNT; i++) {
		ck_assert(is_name(counter_name((enum counter)i)));
		ck_assert_uint_gt(strlen(counter_help((enum counter)i)), 5);
		for (int k = 0; k < i; k++)
			ck_assert_str_ne(counter_name((enum counter)i),
			                 counter_name((enum counter)k));
	}
	ck_assert_str_eq(counter_name(COUNT_BYTES_SPLICED), "bytes_spliced");
}
END_TEST

START_TEST(every_end_reason_has_its_row)
{
	for (int i = 0; i < END_REASON_COUNT; i++) {
		const struct end_reason_row *row = end_reason_row((enum end_reason)i);

		ck_assert(is_name(row->name));
		ck_assert_uint_gt(strlen(row->text), 5);
		/* Last words fit the code that announces the end of the connection. */
		ck_assert(row->code == 0 || row->code == 421);
	}
	ck_assert_str_eq(end_reason_row(END_IDLE_TIMEOUT)->name, "idle_timeout");
	ck_assert(!end_reason_row(END_IDLE_TIMEOUT)->is_error);
	ck_assert(end_reason_row(END_DESYNC)->is_error);
}
END_TEST

START_TEST(sums_are_of_all_sets)
{
	struct counters a = { 0 }, b = { 0 };
	struct counters *sets[] = { &a, &b };
	struct counter_sums sums;

	counter_add(&a, COUNT_LOGONS, 5);
	counter_add(&a, COUNT_LOGONS, 2);
	counter_add(&b, COUNT_LOGONS, 10);
	counter_add(&b, COUNT_BYTES_UP, UINT64_C(1) << 40);
	counter_ended(&a, END_CLIENT_QUIT);
	counter_ended(&b, END_CLIENT_QUIT);
	counter_ended(&b, END_SESSIONS_FULL);
	counter_expired(&a, CLOCK_IDLE);
	counter_expired(&a, CLOCK_CLOSE);
	counters_sum(sets, 2, &sums);
	ck_assert_uint_eq(sums.value[COUNT_LOGONS], 17);
	ck_assert_uint_eq(sums.value[COUNT_BYTES_UP], UINT64_C(1) << 40);
	ck_assert_uint_eq(sums.value[COUNT_TRANSFERS_OK], 0);
	ck_assert_uint_eq(sums.ended[END_CLIENT_QUIT], 2);
	ck_assert_uint_eq(sums.ended[END_SESSIONS_FULL], 1);
	ck_assert_uint_eq(sums.expired[CLOCK_IDLE], 1);
	ck_assert_uint_eq(sums.expired[CLOCK_CLOSE], 1);
	counters_sum(sets, 0, &sums);
	ck_assert_uint_eq(sums.value[COUNT_LOGONS], 0);
}
END_TEST

#define ADDS 200000

static void *add_many(void *arg)
{
	for (int i = 0; i < ADDS; i++)
		counter_add(arg, COUNT_COMMANDS, 3);
	return NULL;
}

START_TEST(sums_may_be_read_while_workers_count)
{
	static struct counters sets[2];
	struct counters *pointers[] = { &sets[0], &sets[1] };
	struct counter_sums sums = { .value = { 0 } };
	uint64_t before = 0;
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, &sets[i]), 0);
	while (sums.value[COUNT_COMMANDS] < UINT64_C(2) * 3 * ADDS) {
		counters_sum(pointers, 2, &sums);
		if (sums.value[COUNT_COMMANDS] < before)
			ck_abort_msg("a counter went back");
		before = sums.value[COUNT_COMMANDS];
	}
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(sums.value[COUNT_COMMANDS], UINT64_C(2) * 3 * ADDS);
}
END_TEST

START_TEST(ledger_counts_by_kind)
{
	struct ledger ledger = { 0 };

	ledger_assert_empty(&ledger);
	ledger_add(&ledger, LEDGER_PIPE_FD);
	ledger_add(&ledger, LEDGER_PIPE_FD);
	ledger_add(&ledger, LEDGER_SLOT);
	ck_assert_uint_eq(ledger_get(&ledger, LEDGER_PIPE_FD), 2);
	ck_assert_uint_eq(ledger_get(&ledger, LEDGER_SLOT), 1);
	ck_assert_uint_eq(ledger_get(&ledger, LEDGER_TLS), 0);
	ledger_sub(&ledger, LEDGER_PIPE_FD);
	ledger_sub(&ledger, LEDGER_PIPE_FD);
	ledger_sub(&ledger, LEDGER_SLOT);
	ledger_assert_empty(&ledger);
	for (int kind = 0; kind <= LEDGER_KINDS; kind++)
		ck_assert_uint_gt(strlen(ledger_kind_name((enum ledger_kind)kind)), 2);
	ck_assert(ledger_kind_is_fd(LEDGER_DATA_FD));
	ck_assert(!ledger_kind_is_fd(LEDGER_SLOT));
}
END_TEST

START_TEST(ledger_that_is_not_empty_aborts)
{
	struct ledger ledger = { 0 };

	ledger_add(&ledger, LEDGER_BUFFER);
	ledger_assert_empty(&ledger);
}
END_TEST

START_TEST(giving_back_what_was_not_taken_aborts)
{
	struct ledger ledger = { 0 };

	ledger_sub(&ledger, LEDGER_SLOT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("counters");
	TCase *tcase = tcase_create("counters");

	tcase_add_test(tcase, every_counter_has_a_name_of_its_own_and_a_help_text);
	tcase_add_test(tcase, every_end_reason_has_its_row);
	tcase_add_test(tcase, sums_are_of_all_sets);
	tcase_add_test(tcase, sums_may_be_read_while_workers_count);
	tcase_add_test(tcase, ledger_counts_by_kind);
	tcase_add_test_raise_signal(tcase, ledger_that_is_not_empty_aborts, SIGABRT);
	tcase_add_test_raise_signal(tcase, giving_back_what_was_not_taken_aborts, SIGABRT);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

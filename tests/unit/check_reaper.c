// SPDX-License-Identifier: ISC
/*
 * The reaper: it tells in time, tells again what was lost, holds up nobody, and
 * stops when told.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "sallyport/reaper.h"

static void insert(struct session_table *table, uint32_t worker, uint64_t sequence,
                   int64_t deadline_ms)
{
	struct session_info info = { .id = session_id_make(worker, sequence) };

	ck_assert_ptr_nonnull(session_table_insert(table, &info, deadline_ms));
}

static bool wait_readable(struct mailbox *mailbox, int ms)
{
	struct pollfd p = { .fd = mailbox_fd(mailbox), .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

START_TEST(notice_goes_to_the_owner_in_time)
{
	struct session_table *table = session_table_new(4);
	struct mailbox *mailboxes[] = { mailbox_new(10), mailbox_new(10) };
	struct reaper *reaper = reaper_start(table, mailboxes, 2);
	int64_t deadline_ms = sp_now_ms() + 250;
	struct message message;
	struct reaper_stats stats;

	ck_assert_ptr_nonnull(reaper);
	insert(table, 1, 5, deadline_ms);
	ck_assert(wait_readable(mailboxes[1], 20000));
	ck_assert_int_ge(sp_now_ms(), deadline_ms);
	/* A tick of the reaper and one of the wheel; a busy machine gets two seconds. */
	ck_assert_int_le(sp_now_ms(), deadline_ms + REAPER_TICK_MS + 16 + 2000);
	ck_assert_uint_eq(mailbox_take(mailboxes[1], &message, 1), 1);
	ck_assert_int_eq(message.kind, MESSAGE_NOTICE);
	ck_assert(session_id_eq(message.id, session_id_make(1, 5)));
	ck_assert_int_eq(message.number, deadline_ms);
	ck_assert_uint_eq(mailbox_length(mailboxes[0]), 0);
	reaper_stats(reaper, &stats);
	ck_assert_uint_eq(stats.notices, 1);
	ck_assert_uint_eq(stats.repeated, 0);
	ck_assert_uint_eq(stats.refused, 0);
	ck_assert_uint_gt(stats.ticks, 0);
	ck_assert_int_ge(stats.longest_tick_us, 0);

	int64_t before = sp_now_ms();

	reaper_stop(&reaper);
	ck_assert_ptr_null(reaper);
	ck_assert_int_lt(sp_now_ms() - before, 2000);
	session_table_remove(table, session_id_make(1, 5), NULL);
	session_table_free(&table);
	mailbox_free(&mailboxes[0]);
	mailbox_free(&mailboxes[1]);
}
END_TEST

START_TEST(notice_that_a_full_mailbox_refused_comes_again)
{
	struct session_table *table = session_table_new(1);
	struct mailbox *mailboxes[] = { mailbox_new(1) };
	struct reaper *reaper = reaper_start(table, mailboxes, 1);
	struct message first, message;
	struct reaper_stats stats;

	insert(table, 0, 1, sp_now_ms());
	insert(table, 0, 2, sp_now_ms());
	ck_assert(wait_readable(mailboxes[0], 20000));
	do {
		poll(NULL, 0, 10);
		reaper_stats(reaper, &stats);
	} while (stats.notices < 2);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_eq(mailbox_take(mailboxes[0], &first, 1), 1);
	/* The first is dealt with; the other one was lost and comes again. */
	ck_assert(session_table_remove(table, first.id, NULL));
	ck_assert(wait_readable(mailboxes[0], NOTICE_REPEAT_MS + 20000));
	ck_assert_uint_eq(mailbox_take(mailboxes[0], &message, 1), 1);
	ck_assert_uint_eq(message.id.v + first.id.v, 1 + 2);
	reaper_stats(reaper, &stats);
	ck_assert_uint_eq(stats.repeated, 1);
	reaper_stop(&reaper);
	session_table_remove(table, message.id, NULL);
	session_table_free(&table);
	mailbox_free(&mailboxes[0]);
}
END_TEST

/* Nine thousand at once, taken by a slow owner in small helpings: all told within two seconds. */
START_TEST(nine_thousand_due_at_once_are_told_within_two_seconds)
{
	enum { RECORDS = 9000 };
	static unsigned told[RECORDS + 1];
	struct session_table *table = session_table_new(SESSION_SHARDS_DEFAULT);
	struct mailbox *mailboxes[] = { mailbox_new(16384) };
	int64_t deadline_ms = sp_now_ms() + 300;
	size_t all = 0;

	for (uint64_t i = 1; i <= RECORDS; i++)
		insert(table, 0, i, deadline_ms);

	struct reaper *reaper = reaper_start(table, mailboxes, 1);

	while (all < RECORDS) {
		struct message messages[64];

		ck_assert(wait_readable(mailboxes[0], 20000));
		size_t n = mailbox_take(mailboxes[0], messages, SP_ARRAY_LEN(messages));

		for (size_t i = 0; i < n; i++)
			told[messages[i].id.v]++;
		all += n;
	}
	ck_assert_int_le(sp_now_ms(), deadline_ms + 2000);
	for (size_t i = 1; i <= RECORDS; i++) {
		if (told[i] != 1)
			ck_abort_msg("record %zu was told %u times", i, told[i]);
	}
	reaper_stop(&reaper);
	for (uint64_t i = 1; i <= RECORDS; i++)
		session_table_remove(table, session_id_make(0, i), NULL);
	session_table_free(&table);
	mailbox_free(&mailboxes[0]);
}
END_TEST

START_TEST(signals_are_left_to_others)
{
	struct session_table *table = session_table_new(1);
	struct mailbox *mailboxes[] = { mailbox_new(1) };
	sigset_t before, after, term;
	struct timespec none = { 0 };

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	struct reaper *reaper = reaper_start(table, mailboxes, 1);

	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 32; sig++)
		ck_assert_int_eq(sigismember(&after, sig), sigismember(&before, sig));

	/* With us blocking it, too, the signal has nobody to go to, and stays pending. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	poll(NULL, 0, 250);
	ck_assert_int_eq(sigtimedwait(&term, NULL, &none), SIGTERM);
	reaper_stop(&reaper);
	mailbox_free(&mailboxes[0]);
	session_table_free(&table);
}
END_TEST

START_TEST(starting_without_memory_is_null_and_stopping_nothing_is_fine)
{
	struct session_table *table = session_table_new(1);
	struct mailbox *mailboxes[] = { mailbox_new(1) };

	alloc_fail_at(1);
	struct reaper *reaper = reaper_start(table, mailboxes, 1);

	alloc_fail_at(0);
	ck_assert_ptr_null(reaper);
	reaper_stop(&reaper);
	mailbox_free(&mailboxes[0]);
	session_table_free(&table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reaper");
	TCase *tcase = tcase_create("reaper");

	tcase_add_test(tcase, notice_goes_to_the_owner_in_time);
	tcase_add_test(tcase, notice_that_a_full_mailbox_refused_comes_again);
	tcase_add_test(tcase, nine_thousand_due_at_once_are_told_within_two_seconds);
	tcase_add_test(tcase, signals_are_left_to_others);
	tcase_add_test(tcase, starting_without_memory_is_null_and_stopping_nothing_is_fine);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

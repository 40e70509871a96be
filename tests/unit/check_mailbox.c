// SPDX-License-Identifier: ISC
/*
 * The mailbox: bounded, with room kept for what must arrive, in order, and no
 * wake-up gets lost.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"
#include "sallyport/fd_registry.h"
#include "sallyport/mailbox.h"

#define MUST(cond) SP_ASSERT(cond)

static struct message notice(uint64_t n)
{
	return (struct message){ .kind = MESSAGE_NOTICE, .id = { n }, .number = (int64_t)n };
}

static bool is_readable(struct mailbox *mailbox)
{
	struct pollfd p = { .fd = mailbox_fd(mailbox), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(messages_come_out_by_value_and_in_order)
{
	struct mailbox *mailbox = mailbox_new(10);
	struct message out[20];
	int thing;

	for (uint64_t i = 1; i <= 5; i++)
		ck_assert(mailbox_post(mailbox, notice(i)));
	ck_assert(
	    mailbox_post(mailbox, (struct message){ .kind = MESSAGE_CONFIG, .pointer = &thing }));
	ck_assert(mailbox_post(mailbox, notice(6)));
	ck_assert_uint_eq(mailbox_length(mailbox), 7);
	ck_assert_uint_eq(mailbox_take(mailbox, out, 20), 7);
	for (uint64_t i = 1; i <= 5; i++) {
		ck_assert_int_eq(out[i - 1].kind, MESSAGE_NOTICE);
		ck_assert_uint_eq(out[i - 1].id.v, i);
		ck_assert_int_eq(out[i - 1].number, (int64_t)i);
	}
	ck_assert_int_eq(out[5].kind, MESSAGE_CONFIG);
	ck_assert_ptr_eq(out[5].pointer, &thing);
	ck_assert_uint_eq(out[6].id.v, 6);
	ck_assert_uint_eq(mailbox_length(mailbox), 0);
	mailbox_free(&mailbox);
	ck_assert_ptr_null(mailbox);
}
END_TEST

START_TEST(full_mailbox_refuses_and_still_has_room_for_what_must_arrive)
{
	static const enum message_kind ordinary[] = { MESSAGE_NOTICE, MESSAGE_KICK, MESSAGE_SLOT };
	static const enum message_kind reserved[] = { MESSAGE_CONFIG, MESSAGE_DRAIN, MESSAGE_STOP };
	struct mailbox *mailbox = mailbox_new(4);
	struct message out[64];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			ck_assert(mailbox_post(mailbox, notice(1)));
		for (size_t i = 0; i < SP_ARRAY_LEN(ordinary); i++)
			ck_assert(!mailbox_post(mailbox, (struct message){ .kind = ordinary[i] }));
		for (size_t i = 0; i < MAILBOX_RESERVED; i++)
			ck_assert(
			    mailbox_post(mailbox, (struct message){ .kind = reserved[i % 3] }));
		ck_assert(!mailbox_post(mailbox, (struct message){ .kind = MESSAGE_STOP }));
		ck_assert_uint_eq(mailbox_take(mailbox, out, 3), 3);
		ck_assert(mailbox_post(mailbox, notice(2)));
		ck_assert_uint_eq(mailbox_take(mailbox, out, 64), 4 + MAILBOX_RESERVED + 1 - 3);
	}
	/* Reserved messages take no room from the others either. */
	ck_assert(mailbox_post(mailbox, (struct message){ .kind = MESSAGE_DRAIN }));
	for (int i = 0; i < 4; i++)
		ck_assert(mailbox_post(mailbox, notice(1)));
	mailbox_free(&mailbox);
}
END_TEST

START_TEST(eventfd_is_readable_exactly_while_there_are_messages)
{
	struct mailbox *mailbox = mailbox_new(10);
	struct message out[10];

	ck_assert(!is_readable(mailbox));
	ck_assert_uint_eq(mailbox_take(mailbox, out, 10), 0);
	for (uint64_t i = 1; i <= 6; i++)
		ck_assert(mailbox_post(mailbox, notice(i)));
	ck_assert(is_readable(mailbox));
	ck_assert_uint_eq(mailbox_take(mailbox, out, 4), 4);
	ck_assert(is_readable(mailbox));
	ck_assert_uint_eq(mailbox_take(mailbox, out, 2), 2);
	ck_assert(!is_readable(mailbox));
	ck_assert(mailbox_post(mailbox, notice(7)));
	ck_assert(is_readable(mailbox));
	ck_assert_uint_eq(mailbox_take(mailbox, out, 1), 1);
	ck_assert(!is_readable(mailbox));
	mailbox_free(&mailbox);
}
END_TEST

#define POSTERS 3
#define EACH 50000

struct poster {
	struct mailbox *mailbox;
	uint64_t number;
};

static void *post_many(void *arg)
{
	struct poster *poster = arg;

	for (uint64_t i = 1; i <= EACH; i++) {
		while (!mailbox_post(poster->mailbox, notice(poster->number << 32 | i)))
			poll(NULL, 0, 1);
	}
	return NULL;
}

/* The owner sleeps in poll() whenever the eventfd says so: a lost wake-up would be for good. */
START_TEST(owner_is_woken_for_every_message)
{
	struct mailbox *mailbox = mailbox_new(64);
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS];
	uint64_t last[POSTERS] = { 0 };
	size_t all = 0;

	for (size_t i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ mailbox, i };
		MUST(pthread_create(&threads[i], NULL, post_many, &posters[i]) == 0);
	}
	while (all < (size_t)POSTERS * EACH) {
		struct pollfd p = { .fd = mailbox_fd(mailbox), .events = POLLIN };
		struct message out[7];

		MUST(poll(&p, 1, 20000) == 1);
		size_t n = mailbox_take(mailbox, out, SP_ARRAY_LEN(out));

		for (size_t i = 0; i < n; i++) {
			uint64_t poster = out[i].id.v >> 32;

			MUST((out[i].id.v & 0xffffffff) == ++last[poster]);
		}
		all += n;
	}
	for (size_t i = 0; i < POSTERS; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
	ck_assert_uint_eq(mailbox_length(mailbox), 0);

	struct message rest;

	ck_assert_uint_eq(mailbox_take(mailbox, &rest, 1), 0);
	ck_assert(!is_readable(mailbox));
	mailbox_free(&mailbox);
}
END_TEST

START_TEST(eventfd_is_noted_as_the_process_own)
{
	struct fd_note note;

	ck_assert_int_eq(fd_registry_init(1024), 0);
	struct mailbox *mailbox = mailbox_new(1);
	int fd = mailbox_fd(mailbox);

	ck_assert(fd_registry_get(fd, &note));
	ck_assert_uint_eq(note.owner.v, 0);
	ck_assert_ptr_nonnull(strstr(note.where, "mailbox.c:"));
	mailbox_free(&mailbox);
	ck_assert(!fd_registry_get(fd, &note));
	fd_registry_fini();
}
END_TEST

START_TEST(new_mailbox_without_memory_is_null)
{
	alloc_fail_at(1);
	struct mailbox *mailbox = mailbox_new(10);

	alloc_fail_at(0);
	ck_assert_ptr_null(mailbox);
	ck_assert(alloc_has_failed());
	mailbox_free(&mailbox);
}
END_TEST

START_TEST(posting_under_a_lock_aborts)
{
	struct mailbox *mailbox = mailbox_new(1);

	sp_locks_held = 1; /* as core_lock_take() leaves it */
	ck_assert(mailbox_post(mailbox, notice(1)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mailbox");
	TCase *tcase = tcase_create("mailbox");

	tcase_add_test(tcase, messages_come_out_by_value_and_in_order);
	tcase_add_test(tcase, full_mailbox_refuses_and_still_has_room_for_what_must_arrive);
	tcase_add_test(tcase, eventfd_is_readable_exactly_while_there_are_messages);
	tcase_add_test(tcase, owner_is_woken_for_every_message);
	tcase_add_test(tcase, eventfd_is_noted_as_the_process_own);
	tcase_add_test(tcase, new_mailbox_without_memory_is_null);
	tcase_add_test_raise_signal(tcase, posting_under_a_lock_aborts, SIGABRT);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

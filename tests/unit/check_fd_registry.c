// SPDX-License-Identifier: ISC
/*
 * The descriptor registry: notes come and go, and a reader never sees the half
 * of two of them.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"
#include "sallyport/fd_registry.h"

START_TEST(note_is_there_until_it_is_forgotten)
{
	struct fd_note note;

	ck_assert_int_eq(fd_registry_init(16), 0);
	ck_assert(!fd_registry_get(3, &note));
	fd_registry_note(3, session_id_make(2, 7), LEDGER_DATA_FD, SP_HERE);
	ck_assert(fd_registry_get(3, &note));
	ck_assert(session_id_eq(note.owner, session_id_make(2, 7)));
	ck_assert_int_eq(note.kind, LEDGER_DATA_FD);
	ck_assert_ptr_nonnull(strstr(note.where, "check_fd_registry.c:"));
	fd_registry_note(3, SESSION_ID_NONE, LEDGER_KINDS, "elsewhere");
	ck_assert(fd_registry_get(3, &note));
	ck_assert_uint_eq(note.owner.v, 0);
	ck_assert_int_eq(note.kind, LEDGER_KINDS);
	ck_assert_str_eq(note.where, "elsewhere");
	fd_registry_forget(3);
	ck_assert(!fd_registry_get(3, &note));
	fd_registry_fini();
}
END_TEST

START_TEST(numbers_out_of_range_are_nobodys)
{
	static const int numbers[] = { -1, -100, 16, 1000000 };
	struct fd_note note;

	ck_assert_int_eq(fd_registry_init(16), 0);
	for (size_t i = 0; i < SP_ARRAY_LEN(numbers); i++) {
		fd_registry_note(numbers[i], session_id_make(0, 1), LEDGER_DATA_FD, "x");
		ck_assert(!fd_registry_get(numbers[i], &note));
		fd_registry_forget(numbers[i]);
	}
	fd_registry_note(15, session_id_make(0, 1), LEDGER_DATA_FD, "x");
	ck_assert(fd_registry_get(15, &note));
	fd_registry_fini();
	/* And without a registry, nothing is noted and nothing breaks. */
	fd_registry_note(3, session_id_make(0, 1), LEDGER_DATA_FD, "x");
	ck_assert(!fd_registry_get(3, &note));
}
END_TEST

START_TEST(init_without_memory_says_so)
{
	alloc_fail_at(1);
	int rc = fd_registry_init(16);

	alloc_fail_at(0);
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_int_eq(fd_registry_init(16), 0);
	fd_registry_fini();
}
END_TEST

/* Owner, kind and place of a note belong together. */
static const struct {
	uint64_t owner;
	enum ledger_kind kind;
	const char *where;
} truths[] = {
	{ 11, LEDGER_CONTROL_FD, "a" },
	{ 22, LEDGER_DATA_FD, "b" },
	{ 33, LEDGER_PIPE_FD, "c" },
};

static _Atomic bool stop;

static void *write_notes(void *arg SP_UNUSED)
{
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		fd_registry_note(5, (struct session_id){ truths[i % 3].owner }, truths[i % 3].kind,
		                 truths[i % 3].where);
		if (i % 4 == 0)
			fd_registry_forget(5);
	}
	return NULL;
}

START_TEST(reader_sees_whole_notes_only)
{
	pthread_t thread;
	unsigned seen = 0;

	ck_assert_int_eq(fd_registry_init(16), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_notes, NULL), 0);
	while (seen < 100000) {
		struct fd_note note;

		if (!fd_registry_get(5, &note))
			continue;
		seen++;

		size_t i = (size_t)(note.where[0] - 'a');

		if (note.owner.v != truths[i].owner || note.kind != truths[i].kind)
			ck_abort_msg("a note of two halves");
	}
	atomic_store(&stop, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	fd_registry_fini();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fd_registry");
	TCase *tcase = tcase_create("fd_registry");

	tcase_add_test(tcase, note_is_there_until_it_is_forgotten);
	tcase_add_test(tcase, numbers_out_of_range_are_nobodys);
	tcase_add_test(tcase, init_without_memory_says_so);
	tcase_add_test(tcase, reader_sees_whole_notes_only);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

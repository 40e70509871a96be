// SPDX-License-Identifier: ISC
/* feature_memory: what servers said, by place and identity, and who is to ask. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/feature_memory.h"

#define THREADS 4
#define ROUNDS	2000

static struct features of(const char *lines)
{
	struct features f = { .n = strlen(lines) };

	memcpy(f.text, lines, f.n);
	return f;
}

static bool recalls(struct feature_memory *m, uint16_t place, const char *lines)
{
	struct features f;

	return feature_memory_recall(m, place, &f) && f.n == strlen(lines) && memcmp(f.text, lines, f.n) == 0;
}

static bool knows_nothing(struct feature_memory *m, uint16_t place)
{
	struct features f = { .n = 7 };

	return !feature_memory_recall(m, place, &f) && f.n == 0;
}

START_TEST(what_a_server_said_is_remembered_by_its_place)
{
	struct feature_memory *m = feature_memory_new(3);
	struct features size = of("SIZE\n");
	struct features none = of("");

	feature_memory_settle(m, 0, 10);
	feature_memory_settle(m, 1, 11);
	ck_assert(knows_nothing(m, 0));
	feature_memory_note(m, 0, 10, &size);
	ck_assert(recalls(m, 0, "SIZE\n"));
	ck_assert(knows_nothing(m, 1));
	/* That it has no FEAT is something that is known, too. */
	feature_memory_note(m, 1, 11, &none);
	ck_assert(recalls(m, 1, ""));
	feature_memory_note(m, 0, 10, &none);
	ck_assert(recalls(m, 0, ""));
	feature_memory_free(&m);
	ck_assert_ptr_null(m);
}
END_TEST

START_TEST(one_session_is_to_ask_and_again_after_a_reload)
{
	struct feature_memory *m = feature_memory_new(2);

	feature_memory_settle(m, 0, 10);
	ck_assert(!feature_memory_claim(m, 0, 9)); /* of an older configuration */
	ck_assert(feature_memory_claim(m, 0, 10));
	ck_assert(!feature_memory_claim(m, 0, 10));
	feature_memory_want(m, 0);
	ck_assert(feature_memory_claim(m, 0, 10));
	ck_assert(!feature_memory_claim(m, 0, 10));
	feature_memory_settle(m, 0, 10);
	ck_assert(feature_memory_claim(m, 0, 10));
	feature_memory_free(&m);
}
END_TEST

START_TEST(another_server_at_the_place_has_nothing_of_the_old_one)
{
	struct feature_memory *m = feature_memory_new(1);
	struct features size = of("SIZE\n");

	feature_memory_settle(m, 0, 10);
	feature_memory_note(m, 0, 10, &size);
	feature_memory_settle(m, 0, 10);
	ck_assert(recalls(m, 0, "SIZE\n")); /* a reload alone takes nothing away */
	feature_memory_settle(m, 0, 20);
	ck_assert(knows_nothing(m, 0));
	feature_memory_note(m, 0, 10, &size); /* a session that still has the old one */
	ck_assert(knows_nothing(m, 0));
	feature_memory_note(m, 0, 20, &size);
	ck_assert(recalls(m, 0, "SIZE\n"));
	feature_memory_free(&m);
}
END_TEST

static struct feature_memory *shared;
static atomic_uint claims;

static void *worker(void *arg)
{
	struct features mine = of(arg);

	for (int i = 0; i < ROUNDS; i++) {
		struct features f;

		if (feature_memory_claim(shared, 0, 1))
			atomic_fetch_add(&claims, 1);
		feature_memory_note(shared, 0, 1, &mine);
		ck_assert(feature_memory_recall(shared, 0, &f));
		/* Always whole: what one of them wrote. */
		ck_assert(f.n > 2 && f.text[0] == f.text[f.n - 2] && f.text[f.n - 1] == '\n');
	}
	return NULL;
}

START_TEST(threads_see_whole_answers_and_one_of_them_asks)
{
	static char lines[THREADS][32] = { "aa\n", "bbbbbbbbbb\n", "cccccccccccccccccccccccc\n", "dddd\n" };
	pthread_t threads[THREADS];

	shared = feature_memory_new(1);
	feature_memory_settle(shared, 0, 1);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, lines[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&claims), 1);
	feature_memory_free(&shared);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("feature_memory");
	TCase *tcase = tcase_create("feature_memory");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, what_a_server_said_is_remembered_by_its_place);
	tcase_add_test(tcase, one_session_is_to_ask_and_again_after_a_reload);
	tcase_add_test(tcase, another_server_at_the_place_has_nothing_of_the_old_one);
	tcase_add_test(tcase, threads_see_whole_answers_and_one_of_them_asks);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * The memo: what is remembered, until when, and what goes when it is full; and
 * the digests that stand for passwords in it.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/digest.h"
#include "sallyport/memo.h"

#define NOW 1000000

static const unsigned char seed[MEMO_SEED] = "an unpredictable seed of 32 byte";

static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct memo_key key_of(uint64_t i)
{
	return (struct memo_key){ mixed(i + 1), mixed(i + 77777777) };
}

START_TEST(what_is_put_is_there_until_its_time_is_over)
{
	struct memo *memo = memo_new(seed);
	uint64_t value = 0;

	ck_assert_ptr_nonnull(memo);
	ck_assert_mem_eq(memo_seed(memo), seed, MEMO_SEED);
	ck_assert(!memo_get(memo, key_of(1), NOW, &value));
	memo_put(memo, key_of(1), 11, NOW, NOW + 10);
	memo_put(memo, key_of(2), 22, NOW, NOW + 20);
	ck_assert(memo_get(memo, key_of(1), NOW + 9, &value));
	ck_assert_uint_eq(value, 11);
	ck_assert(!memo_get(memo, key_of(1), NOW + 10, &value));
	ck_assert(memo_get(memo, key_of(2), NOW + 10, &value));
	ck_assert_uint_eq(value, 22);
	memo_put(memo, key_of(2), 23, NOW + 10, NOW + 100);
	ck_assert(memo_get(memo, key_of(2), NOW + 50, &value));
	ck_assert_uint_eq(value, 23);
	memo_forget(memo, key_of(2));
	memo_forget(memo, key_of(3));
	ck_assert(!memo_get(memo, key_of(2), NOW + 50, &value));
	memo_put(memo, key_of(4), 44, NOW, NOW); /* over before it begins */
	ck_assert(!memo_get(memo, key_of(4), NOW - 1, &value));
	memo_free(&memo);
	ck_assert_ptr_null(memo);
	memo_free(&memo);
}
END_TEST

START_TEST(a_key_is_both_of_its_halves)
{
	struct memo *memo = memo_new(seed);
	uint64_t value;

	memo_put(memo, (struct memo_key){ 8, 1 }, 1, NOW, NOW + 10);
	ck_assert(!memo_get(memo, (struct memo_key){ 8, 2 }, NOW, &value));
	ck_assert(!memo_get(memo, (struct memo_key){ 8 + MEMO_ENTRIES, 1 }, NOW, &value));
	ck_assert(memo_get(memo, (struct memo_key){ 8, 1 }, NOW, &value));
	memo_free(&memo);
}
END_TEST

/* Four times as many as there is room for: the memory stays, and the newest of a set are there. */
START_TEST(a_full_memo_forgets_what_expires_first)
{
	struct memo *memo = memo_new(seed);
	size_t there = 0;
	uint64_t value;

	for (uint64_t i = 0; i < 4 * MEMO_ENTRIES; i++)
		memo_put(memo, key_of(i), i, NOW, NOW + 1000 + (int64_t)i);
	for (uint64_t i = 0; i < 4 * MEMO_ENTRIES; i++) {
		if (!memo_get(memo, key_of(i), NOW, &value))
			continue;
		ck_assert_uint_eq(value, i);
		there++;
	}
	ck_assert_uint_le(there, MEMO_ENTRIES);
	ck_assert_uint_ge(there, MEMO_ENTRIES - MEMO_ENTRIES / 100);
	for (uint64_t i = 4 * MEMO_ENTRIES - 1000; i < 4 * MEMO_ENTRIES; i++)
		ck_assert(memo_get(memo, key_of(i), NOW, &value));
	memo_free(&memo);
}
END_TEST

static void *hammer(void *arg)
{
	struct memo *memo = arg;

	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t value;

		memo_put(memo, key_of(i % 512), i % 512 * 3, NOW, NOW + 10);
		if (memo_get(memo, key_of(i * 7 % 512), NOW, &value) && value != i * 7 % 512 * 3)
			return arg;
	}
	return NULL;
}

START_TEST(threads_see_whole_entries)
{
	struct memo *memo = memo_new(seed);
	pthread_t threads[4];

	for (size_t i = 0; i < SP_ARRAY_LEN(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, memo), 0);
	for (size_t i = 0; i < SP_ARRAY_LEN(threads); i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	memo_free(&memo);
}
END_TEST

static void digest(const char *key, const char *a, const char *b, uint64_t out[2])
{
	const struct span parts[] = { span_of(a), span_of(b) };

	ck_assert(digest_of((const unsigned char *)key, strlen(key), parts, 2, out));
}

START_TEST(digests_tell_parts_and_keys_apart)
{
	static const unsigned char short_key[] = "k";
	uint64_t first[2], other[2];

	digest("k", "ab", "c", first);
	digest("k", "ab", "c", other);
	ck_assert_mem_eq(first, other, sizeof(first));
	digest("k", "a", "bc", other);
	ck_assert_mem_ne(first, other, sizeof(first));
	digest("l", "ab", "c", other);
	ck_assert_mem_ne(first, other, sizeof(first));
	digest("k", "", "", other);
	ck_assert_mem_ne(first, other, sizeof(first));
	ck_assert(digest_of(short_key, 1, NULL, 0, other));
	ck_assert_mem_ne(first, other, sizeof(first));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memo");
	TCase *tc = tcase_create("memo");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, what_is_put_is_there_until_its_time_is_over);
	tcase_add_test(tc, a_key_is_both_of_its_halves);
	tcase_add_test(tc, a_full_memo_forgets_what_expires_first);
	tcase_add_test(tc, threads_see_whole_entries);
	tcase_add_test(tc, digests_tell_parts_and_keys_apart);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

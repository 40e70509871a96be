// SPDX-License-Identifier: ISC
/* The pool of blocks: each is somebody's alone, and the pages of free ones go back. */
#include "sallyport/block_pool.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SIZE   8192
#define BLOCKS 200 /* more than one batch of a tidying */

static struct block_pool *pool;
static unsigned char *blocks[BLOCKS];

static void set_up(void)
{
	pool = block_pool_new(SIZE);
	ck_assert_ptr_nonnull(pool);
}

static void tear_down(void)
{
	block_pool_free(&pool);
	ck_assert_ptr_null(pool);
}

static bool is_all(const unsigned char *block, unsigned char byte)
{
	for (size_t i = 0; i < SIZE; i++) {
		if (block[i] != byte)
			return false;
	}
	return true;
}

static void take_all(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = block_pool_take(pool);
		ck_assert_ptr_nonnull(blocks[i]);
	}
}

static void fill_all(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		memset(blocks[i], (int)i + 1, SIZE);
}

static void give_all(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		block_pool_give(pool, blocks[i]);
}

/* How many still have what was written into them; the others are new pages. */
static size_t count_kept(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < BLOCKS; i++) {
		bool is_new = is_all(blocks[i], 0);

		ck_assert(is_new || is_all(blocks[i], blocks[i][0]));
		kept += !is_new;
	}
	return kept;
}

START_TEST(each_block_is_of_its_size_and_somebody_s_alone)
{
	int local;

	take_all();
	fill_all();
	for (size_t i = 0; i < BLOCKS; i++) {
		ck_assert(is_all(blocks[i], (unsigned char)(i + 1)));
		ck_assert(block_pool_has(pool, blocks[i]));
		ck_assert(block_pool_has(pool, blocks[i] + SIZE - 1));
	}
	ck_assert(!block_pool_has(pool, &local));
	ck_assert(!block_pool_has(pool, NULL));
	give_all();
}
END_TEST

START_TEST(what_was_given_last_is_taken_first)
{
	void *first = block_pool_take(pool);
	void *second = block_pool_take(pool);

	block_pool_give(pool, first);
	block_pool_give(pool, second);
	ck_assert_ptr_eq(block_pool_take(pool), second);
	ck_assert_ptr_eq(block_pool_take(pool), first);
}
END_TEST

START_TEST(when_all_are_taken_there_is_none_until_one_is_given)
{
	void **all = calloc(BLOCK_POOL_MAX, sizeof(void *));

	ck_assert_ptr_nonnull(all);
	for (size_t i = 0; i < BLOCK_POOL_MAX; i++) {
		all[i] = block_pool_take(pool);
		ck_assert_ptr_nonnull(all[i]);
	}
	ck_assert(block_pool_has(pool, (char *)all[BLOCK_POOL_MAX - 1] + SIZE - 1));
	ck_assert(!block_pool_has(pool, (char *)all[BLOCK_POOL_MAX - 1] + SIZE));
	ck_assert_ptr_null(block_pool_take(pool));
	block_pool_give(pool, all[7]);
	ck_assert_ptr_eq(block_pool_take(pool), all[7]);
	ck_assert_ptr_null(block_pool_take(pool));
	for (size_t i = 0; i < BLOCK_POOL_MAX; i++)
		block_pool_give(pool, all[i]);
	free(all);
}
END_TEST

/* About as many free blocks as are taken keep their pages. */
START_TEST(pages_that_few_will_need_go_back_at_once)
{
	take_all();
	fill_all();
	give_all();
	take_all();
	ck_assert_uint_gt(count_kept(), 0);
	ck_assert_uint_lt(count_kept(), BLOCKS * 3 / 4);
	give_all();
}
END_TEST

START_TEST(all_pages_go_back_where_nothing_is_taken_for_a_while)
{
	take_all();
	fill_all();
	give_all();
	block_pool_tidy(pool); /* some were taken since the last one */
	block_pool_tidy(pool);
	take_all();
	ck_assert_uint_eq(count_kept(), 0);
	give_all();
}
END_TEST

START_TEST(tidying_leaves_what_is_taken)
{
	take_all();
	fill_all();
	block_pool_tidy(pool);
	block_pool_tidy(pool);
	for (size_t i = 0; i < BLOCKS; i++)
		ck_assert(is_all(blocks[i], (unsigned char)(i + 1)));
	give_all();
}
END_TEST

START_TEST(giving_twice_aborts)
{
	void *block = block_pool_take(pool);

	block_pool_give(pool, block);
	block_pool_give(pool, block);
}
END_TEST

START_TEST(giving_a_part_aborts)
{
	char *block = block_pool_take(pool);

	block_pool_give(pool, block + 16);
}
END_TEST

#define TURNS 3000
#define HELD  16

/* Takes and gives in an order that looks random; every block must be as it was left. */
static void *worker(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	unsigned char mark = (unsigned char)seed;
	unsigned char *held[HELD] = { NULL };

	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned at;

		seed = seed * 1103515245u + 12345u;
		at = seed >> 16 & (HELD - 1);
		if (held[at] != NULL) {
			ck_assert(held[at][0] == mark && held[at][SIZE - 1] == mark);
			block_pool_give(pool, held[at]);
			held[at] = NULL;
		} else {
			held[at] = block_pool_take(pool);
			ck_assert_ptr_nonnull(held[at]);
			held[at][0] = mark;
			held[at][SIZE - 1] = mark;
		}
		if (turn % 64 == 0)
			block_pool_tidy(pool);
	}
	for (size_t i = 0; i < HELD; i++) {
		if (held[i] != NULL)
			block_pool_give(pool, held[i]);
	}
	return NULL;
}

START_TEST(threads_do_not_share_blocks)
{
	unsigned seeds[] = { 1, 2, 3, 4 };
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, &seeds[i]), 0);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("block_pool");
	TCase *tcase = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, each_block_is_of_its_size_and_somebody_s_alone);
	tcase_add_test(tcase, what_was_given_last_is_taken_first);
	tcase_add_test(tcase, when_all_are_taken_there_is_none_until_one_is_given);
	tcase_add_test(tcase, pages_that_few_will_need_go_back_at_once);
	tcase_add_test(tcase, all_pages_go_back_where_nothing_is_taken_for_a_while);
	tcase_add_test(tcase, tidying_leaves_what_is_taken);
	tcase_add_test_raise_signal(tcase, giving_twice_aborts, SIGABRT);
	tcase_add_test_raise_signal(tcase, giving_a_part_aborts, SIGABRT);
	tcase_add_test(tcase, threads_do_not_share_blocks);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

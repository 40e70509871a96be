// SPDX-License-Identifier: ISC
/*
 * The lock of the locked cores: what it counts is so, and its misuse aborts
 * with a message instead of hanging.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/thread_safety.h"

#define MUST(cond) SP_ASSERT(cond)

/* Misuse on purpose is what this file is about. */
#define MISUSE SP_NO_THREAD_SAFETY

static struct core_lock lock, other;

static void stay_busy_ms(int64_t ms)
{
	for (int64_t end_ms = sp_now_ms() + ms; sp_now_ms() < end_ms;)
		;
}

START_TEST(holds_are_counted_and_the_holder_is_named)
{
	struct lock_stats stats;

	core_lock_init(&lock);
	core_lock_stats(&lock, &stats);
	ck_assert_uint_eq(stats.taken, 0);
	ck_assert_ptr_null(stats.longest_by);
	core_lock_take(&lock, "somebody");
	ck_assert_uint_eq(sp_locks_held, 1);
	core_lock_stats(&lock, &stats); /* takes no lock: works while it is held */
	core_lock_drop(&lock);
	ck_assert_uint_eq(sp_locks_held, 0);
	ck_assert_str_eq(stats.held_by, "somebody");
	ck_assert_uint_eq(stats.taken, 1);
	for (int i = 0; i < 99; i++) {
		core_lock_take(&lock, "another");
		core_lock_drop(&lock);
	}
	core_lock_stats(&lock, &stats);
	ck_assert_uint_eq(stats.taken, 100);
	ck_assert_uint_eq(stats.waited, 0);
	ck_assert_ptr_null(stats.held_by);
	core_lock_fini(&lock);
}
END_TEST

/* Whichever clock times it, the exact or the tick one: a long hold is found. */
START_TEST(longest_hold_is_found_and_not_exaggerated)
{
	struct lock_stats stats;

	for (int before = 0; before < CORE_LOCK_SAMPLE; before += 4) {
		core_lock_init(&lock);
		for (int i = 0; i < before; i++) {
			core_lock_take(&lock, "short");
			core_lock_drop(&lock);
		}

		int64_t began_us = sp_now_us();

		core_lock_take(&lock, "long");
		stay_busy_ms(60);
		core_lock_drop(&lock);

		int64_t took_us = sp_now_us() - began_us;

		for (int i = 0; i < 100; i++) {
			core_lock_take(&lock, "short");
			core_lock_drop(&lock);
		}
		core_lock_stats(&lock, &stats);
		core_lock_fini(&lock);
		if (strcmp(stats.longest_by, "short") == 0 && stats.longest_hold_us > took_us)
			continue; /* a busy machine has put one of those to sleep in its hold */
		ck_assert_str_eq(stats.longest_by, "long");
		ck_assert_int_ge(stats.longest_hold_us, 60000 - 2 * 10000);
		ck_assert_int_le(stats.longest_hold_us, took_us + 10000);
	}
}
END_TEST

static _Atomic int holding;

static void *hold_a_while(void *arg SP_UNUSED)
{
	core_lock_take(&lock, __func__);
	atomic_store(&holding, 1);
	while (atomic_load(&holding) == 1)
		;
	core_lock_drop(&lock);
	return NULL;
}

static void *wait_for_it(void *arg SP_UNUSED)
{
	core_lock_take(&lock, __func__);
	core_lock_drop(&lock);
	return NULL;
}

START_TEST(waits_are_counted)
{
	pthread_t holder, waiter;
	struct lock_stats stats;

	core_lock_init(&lock);
	MUST(pthread_create(&holder, NULL, hold_a_while, NULL) == 0);
	while (atomic_load(&holding) == 0)
		;
	MUST(pthread_create(&waiter, NULL, wait_for_it, NULL) == 0);
	poll(NULL, 0, 200);
	core_lock_stats(&lock, &stats);
	ck_assert_str_eq(stats.held_by, "hold_a_while");
	ck_assert_uint_eq(stats.taken, 1);
	atomic_store(&holding, 2);
	MUST(pthread_join(holder, NULL) == 0);
	MUST(pthread_join(waiter, NULL) == 0);
	core_lock_stats(&lock, &stats);
	ck_assert_uint_eq(stats.taken, 2);
	ck_assert_uint_eq(stats.waited, 1);
	core_lock_fini(&lock);
}
END_TEST

static uint64_t shared_sum; /* under `lock` */

static void *add_under_the_lock(void *arg SP_UNUSED)
{
	for (int i = 0; i < 100000; i++) {
		core_lock_take(&lock, __func__);
		shared_sum++;
		core_lock_drop(&lock);
	}
	return NULL;
}

START_TEST(lock_excludes)
{
	pthread_t threads[3];
	struct lock_stats stats;

	core_lock_init(&lock);
	for (size_t i = 0; i < 3; i++)
		MUST(pthread_create(&threads[i], NULL, add_under_the_lock, NULL) == 0);
	for (size_t i = 0; i < 3; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
	core_lock_stats(&lock, &stats);
	ck_assert_uint_eq(shared_sum, 300000);
	ck_assert_uint_eq(stats.taken, 300000);
	core_lock_fini(&lock);
}
END_TEST

static pthread_cond_t cond;
static bool ready;

static void *make_ready(void *arg SP_UNUSED)
{
	core_lock_take(&lock, __func__);
	ready = true;
	core_lock_drop(&lock);
	pthread_cond_signal(&cond);
	return NULL;
}

START_TEST(waiting_drops_the_lock_and_ends_in_time)
{
	int64_t began_ms = sp_now_ms();
	pthread_t thread;

	core_lock_init(&lock);
	core_lock_cond_init(&cond);
	core_lock_take(&lock, __func__);
	while (core_lock_wait(&lock, &cond, began_ms + 100, __func__))
		;
	ck_assert_uint_eq(sp_locks_held, 1);
	core_lock_drop(&lock);
	ck_assert_int_ge(sp_now_ms(), began_ms + 100);

	core_lock_take(&lock, __func__);
	MUST(pthread_create(&thread, NULL, make_ready, NULL) == 0);
	while (!ready)
		ck_assert(core_lock_wait(&lock, &cond, began_ms + 20000, __func__));
	core_lock_drop(&lock);
	MUST(pthread_join(thread, NULL) == 0);
	pthread_cond_destroy(&cond);
	core_lock_fini(&lock);
}
END_TEST

MISUSE static void take_twice(void)
{
	core_lock_take(&lock, __func__);
	core_lock_take(&lock, __func__);
}

START_TEST(taking_a_lock_twice_aborts)
{
	core_lock_init(&lock);
	take_twice();
}
END_TEST

/* Without the counter's help: the mutex itself knows. */
MISUSE static void take_twice_uncounted(void)
{
	core_lock_take(&lock, __func__);
	sp_locks_held = 0;
	core_lock_take(&lock, __func__);
}

START_TEST(taking_a_lock_twice_aborts_even_when_nobody_counts)
{
	core_lock_init(&lock);
	take_twice_uncounted();
}
END_TEST

MISUSE static void take_two(void)
{
	core_lock_take(&lock, __func__);
	core_lock_take(&other, __func__);
}

START_TEST(taking_two_locks_aborts)
{
	core_lock_init(&lock);
	core_lock_init(&other);
	take_two();
}
END_TEST

MISUSE static void drop_unheld(void)
{
	core_lock_drop(&lock);
}

START_TEST(dropping_what_is_not_held_aborts)
{
	core_lock_init(&lock);
	drop_unheld();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_lock");
	TCase *tcase = tcase_create("core_lock");

	tcase_add_test(tcase, holds_are_counted_and_the_holder_is_named);
	tcase_add_test(tcase, longest_hold_is_found_and_not_exaggerated);
	tcase_add_test(tcase, waits_are_counted);
	tcase_add_test(tcase, lock_excludes);
	tcase_add_test(tcase, waiting_drops_the_lock_and_ends_in_time);
	tcase_add_test_raise_signal(tcase, taking_a_lock_twice_aborts, SIGABRT);
	tcase_add_test_raise_signal(tcase, taking_a_lock_twice_aborts_even_when_nobody_counts,
	                            SIGABRT);
	tcase_add_test_raise_signal(tcase, taking_two_locks_aborts, SIGABRT);
	tcase_add_test_raise_signal(tcase, dropping_what_is_not_held_aborts, SIGABRT);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * The event queue: order, bounds, drops that are counted, and a hub that is
 * woken and naps.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"
#include "sallyport/clock.h"
#include "sallyport/event.h"

#define MUST(cond) SP_ASSERT(cond)

START_TEST(every_kind_and_level_has_a_name)
{
	for (int kind = 0; kind < EVENT_KIND_COUNT; kind++) {
		const char *name = event_name((enum event_kind)kind);

		ck_assert_uint_gt(strlen(name), 2);
		ck_assert_uint_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		ck_assert_ptr_nonnull(event_level_name(event_default_level((enum event_kind)kind)));
	}
	ck_assert_str_eq(event_name(EVENT_SESSION_END), "session_end");
	ck_assert_str_eq(event_name(EVENT_LOG), "log");
	ck_assert_int_eq(event_default_level(EVENT_TRANSFER), LEVEL_INFO);
	ck_assert_int_eq(event_default_level(EVENT_SERVER_DOWN), LEVEL_ERROR);
	ck_assert_str_eq(event_level_name(LEVEL_DEBUG), "debug");
	ck_assert_str_eq(event_level_name(LEVEL_WARNING), "warning");
}
END_TEST

START_TEST(event_begins_with_nothing_in_it)
{
	struct sp_event event;
	int64_t before = sp_wall_ms();

	memset(&event, 0x55, sizeof(event));
	event_init(&event, EVENT_TIMEOUT);
	ck_assert_int_eq(event.kind, EVENT_TIMEOUT);
	ck_assert_int_eq(event.level, LEVEL_NOTICE);
	ck_assert_int_ge(event.wall_ms, before);
	ck_assert_int_le(event.wall_ms, sp_wall_ms());
	ck_assert_int_eq(event.clock, CLOCK_NONE);
	ck_assert_int_eq(event.verb, VERB_UNKNOWN);
	ck_assert_int_eq(event.duration_ms, -1);
	ck_assert_uint_eq(event.session.v, 0);
	ck_assert_str_eq(event.user, "");
	ck_assert_str_eq(event.text, "");
}
END_TEST

START_TEST(events_come_out_as_they_went_in)
{
	struct event_queue *queue = event_queue_new(4);
	struct sp_event event, out[4];

	event_init(&event, EVENT_LOGON);
	event.session = session_id_make(3, 9);
	event.bytes_down = 77;
	snprintf(event.server_name, sizeof(event.server_name), "old1");
	snprintf(event.text, sizeof(event.text), "short");
	event_emit(queue, &event);
	memset(event.text, 'x', sizeof(event.text)); /* no NUL: must be cut */
	event_emit(queue, &event);
	event_init(&event, EVENT_STOPPED);
	event_emit(queue, &event);
	ck_assert_uint_eq(event_queue_take(queue, out, 4, 0), 3);
	ck_assert_int_eq(out[0].kind, EVENT_LOGON);
	ck_assert(session_id_eq(out[0].session, session_id_make(3, 9)));
	ck_assert_uint_eq(out[0].bytes_down, 77);
	ck_assert_str_eq(out[0].server_name, "old1");
	ck_assert_str_eq(out[0].text, "short");
	ck_assert_uint_eq(strlen(out[1].text), sizeof(out[1].text) - 1);
	ck_assert_int_eq(out[2].kind, EVENT_STOPPED);
	ck_assert_str_eq(out[2].text, "");
	event_queue_free(&queue);
	ck_assert_ptr_null(queue);
}
END_TEST

START_TEST(log_line_is_formatted_and_cut)
{
	struct event_queue *queue = event_queue_new(4);
	struct sp_event out[4];
	char big[1000];

	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_write(queue, LEVEL_WARNING, "%s has %d", "worker", 3);
	log_write(queue, LEVEL_DEBUG, "%s", big);
	ck_assert_uint_eq(event_queue_take(queue, out, 4, 0), 2);
	ck_assert_int_eq(out[0].kind, EVENT_LOG);
	ck_assert_int_eq(out[0].level, LEVEL_WARNING);
	ck_assert_str_eq(out[0].text, "worker has 3");
	ck_assert_int_eq(out[1].level, LEVEL_DEBUG);
	ck_assert_uint_eq(strlen(out[1].text), sizeof(out[1].text) - 1);
	event_queue_free(&queue);
}
END_TEST

START_TEST(full_ring_drops_and_counts_and_keeps_what_it_has)
{
	struct event_queue *queue = event_queue_new(8);
	struct sp_event event, out[8];
	struct event_queue_stats stats;

	for (uint64_t round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 20; i++) {
			event_init(&event, EVENT_LOG);
			event.bytes_up = i;
			event_emit(queue, &event);
		}
		event_queue_stats(queue, &stats);
		ck_assert_uint_eq(stats.capacity, 8);
		ck_assert_uint_eq(stats.length, 8);
		ck_assert_uint_eq(stats.emitted, 8 * (round + 1));
		ck_assert_uint_eq(stats.dropped, 12 * (round + 1));
		ck_assert_uint_eq(event_queue_take(queue, out, 3, 0), 3);
		ck_assert_uint_eq(event_queue_take(queue, out + 3, 8, 0), 5);
		for (uint64_t i = 0; i < 8; i++)
			ck_assert_uint_eq(out[i].bytes_up, i);
	}
	ck_assert_uint_eq(event_queue_take(queue, out, 8, 0), 0);
	event_queue_free(&queue);
}
END_TEST

START_TEST(ring_goes_round)
{
	struct event_queue *queue = event_queue_new(5);
	struct sp_event event, out[5];
	uint64_t in = 0, next = 0;

	event_init(&event, EVENT_LOG);
	for (int i = 0; i < 200; i++) {
		for (int k = 0; k < 3; k++) {
			event.bytes_up = in++;
			event_emit(queue, &event);
		}
		/* Never quite empty, so that it does not start over. */
		size_t n = event_queue_take(queue, out, i == 0 ? 1 : 3, 0);

		for (size_t k = 0; k < n; k++)
			ck_assert_uint_eq(out[k].bytes_up, next++);
	}
	event_queue_free(&queue);
}
END_TEST

START_TEST(taking_from_an_empty_ring_waits_as_told)
{
	struct event_queue *queue = event_queue_new(5);
	struct sp_event out[5];
	int64_t before = sp_now_ms();

	ck_assert_uint_eq(event_queue_take(queue, out, 5, 120), 0);
	ck_assert_int_ge(sp_now_ms() - before, 120);
	event_queue_free(&queue);
}
END_TEST

/* --- threads -------------------------------------------------------------------- */

#define EMITTERS 3

struct emitter {
	struct event_queue *queue;
	uint64_t number;
	uint64_t events;
	int pause_us;
};

static void *emit_many(void *arg)
{
	struct emitter *emitter = arg;
	struct sp_event event;

	event_init(&event, EVENT_LOG);
	event.session.v = emitter->number;
	for (uint64_t i = 1; i <= emitter->events; i++) {
		event.bytes_up = i;
		event_emit(emitter->queue, &event);
		if (emitter->pause_us > 0) {
			struct timespec t = { .tv_nsec = emitter->pause_us * 1000L };

			nanosleep(&t, NULL);
		}
	}
	return NULL;
}

static void start_emitters(pthread_t threads[], struct emitter emitters[],
                           struct event_queue *queue, uint64_t events, int pause_us)
{
	for (size_t i = 0; i < EMITTERS; i++) {
		emitters[i] = (struct emitter){ queue, i, events, pause_us };
		MUST(pthread_create(&threads[i], NULL, emit_many, &emitters[i]) == 0);
	}
}

static void join_emitters(const pthread_t threads[])
{
	for (size_t i = 0; i < EMITTERS; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
}

START_TEST(hub_gets_everything_in_each_emitters_order_and_naps)
{
	struct event_queue *queue = event_queue_new(100000);
	struct emitter emitters[EMITTERS];
	pthread_t threads[EMITTERS];
	static struct sp_event out[1000];
	uint64_t last[EMITTERS] = { 0 };
	size_t all = 0, takes = 0;
	const size_t events = 2000;

	start_emitters(threads, emitters, queue, events, 50);

	int64_t before = sp_now_ms();

	while (all < EMITTERS * events) {
		size_t n = event_queue_take(queue, out, SP_ARRAY_LEN(out), 20000);

		MUST(n > 0);
		for (size_t i = 0; i < n; i++)
			MUST(out[i].bytes_up == ++last[out[i].session.v]);
		all += n;
		takes++;
	}

	int64_t took_ms = sp_now_ms() - before;

	join_emitters(threads);
	/* Each take that had to wait has napped; each that had not, found a ring that was left. */
	ck_assert_int_le((int64_t)takes,
	                 2 * (took_ms / EVENT_NAP_MS) + 2 * (int64_t)(all / SP_ARRAY_LEN(out)) + 4);
	event_queue_free(&queue);
}
END_TEST

START_TEST(blocked_hub_costs_events_and_never_an_emitter)
{
	struct event_queue *queue = event_queue_new(64);
	struct emitter emitters[EMITTERS];
	pthread_t threads[EMITTERS];
	struct event_queue_stats stats;

	/* Nobody takes. The emitters come to their end all the same. */
	start_emitters(threads, emitters, queue, 20000, 0);
	join_emitters(threads);
	event_queue_stats(queue, &stats);
	ck_assert_uint_eq(stats.emitted, 64);
	ck_assert_uint_eq(stats.dropped, EMITTERS * 20000 - 64);

	/* The hub is back. */
	static struct sp_event out[100];

	ck_assert_uint_eq(event_queue_take(queue, out, 100, 0), 64);
	log_write(queue, LEVEL_INFO, "again");
	ck_assert_uint_eq(event_queue_take(queue, out, 100, 1000), 1);
	ck_assert_str_eq(out[0].text, "again");
	event_queue_free(&queue);
}
END_TEST

START_TEST(new_queue_without_memory_is_null)
{
	alloc_fail_at(1);
	struct event_queue *queue = event_queue_new(10);

	alloc_fail_at(0);
	ck_assert_ptr_null(queue);
	event_queue_free(&queue);
}
END_TEST

START_TEST(emitting_under_a_lock_aborts)
{
	struct event_queue *queue = event_queue_new(10);
	struct sp_event event;

	event_init(&event, EVENT_LOG);
	sp_locks_held = 1; /* as core_lock_take() leaves it */
	event_emit(queue, &event);
}
END_TEST

START_TEST(logging_under_a_lock_aborts)
{
	struct event_queue *queue = event_queue_new(10);

	sp_locks_held = 1;
	log_write(queue, LEVEL_ERROR, "never seen");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("event_queue");
	TCase *tcase = tcase_create("event_queue");

	tcase_add_test(tcase, every_kind_and_level_has_a_name);
	tcase_add_test(tcase, event_begins_with_nothing_in_it);
	tcase_add_test(tcase, events_come_out_as_they_went_in);
	tcase_add_test(tcase, log_line_is_formatted_and_cut);
	tcase_add_test(tcase, full_ring_drops_and_counts_and_keeps_what_it_has);
	tcase_add_test(tcase, ring_goes_round);
	tcase_add_test(tcase, taking_from_an_empty_ring_waits_as_told);
	tcase_add_test(tcase, hub_gets_everything_in_each_emitters_order_and_naps);
	tcase_add_test(tcase, blocked_hub_costs_events_and_never_an_emitter);
	tcase_add_test(tcase, new_queue_without_memory_is_null);
	tcase_add_test_raise_signal(tcase, emitting_under_a_lock_aborts, SIGABRT);
	tcase_add_test_raise_signal(tcase, logging_under_a_lock_aborts, SIGABRT);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

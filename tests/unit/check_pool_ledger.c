// SPDX-License-Identifier: ISC
/*
 * The pool ledger: never over the limit, first come first served, nothing lost,
 * and servers that fail come back by themselves.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"
#include "sallyport/clock.h"
#include "sallyport/pool_ledger.h"

#define MUST(cond) SP_ASSERT(cond)
#define NOW 1000000

static uint16_t places[POOL_SERVERS_MAX];
static size_t places_n;

static struct pool_server_terms terms_of(const char *name, uint32_t weight, uint32_t max)
{
	struct pool_server_terms terms = { .weight = weight, .max_sessions = max };

	snprintf(terms.name, sizeof(terms.name), "%s", name);
	return terms;
}

/* A pool of n servers "s0"… of the same terms. */
static void configure(struct pool_ledger *ledger, size_t n, uint32_t max)
{
	struct pool_server_terms terms[POOL_SERVERS_MAX];

	for (size_t i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "s%zu", i);
		terms[i] = terms_of(name, 1, max);
	}
	MUST(pool_ledger_configure(ledger, BALANCE_LEAST_SESSIONS, terms, n, places));
	places_n = n;
}

static struct pool_ledger *pool_of(size_t n, uint32_t max)
{
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_LEAST_SESSIONS);

	MUST(ledger != NULL);
	configure(ledger, n, max);
	return ledger;
}

static struct session_id id_of(uint64_t n)
{
	return session_id_make(0, n);
}

static enum pool_answer acquire_at(struct pool_ledger *ledger, uint64_t id, struct slot *slot,
                                   int64_t now_ms, uint64_t tried)
{
	struct pool_ask ask = { .id = id_of(id),
		                .places = places,
		                .places_n = places_n,
		                .now_ms = now_ms,
		                .tried = tried };

	return pool_ledger_acquire(ledger, &ask, slot);
}

static enum pool_answer acquire(struct pool_ledger *ledger, uint64_t id, struct slot *slot)
{
	return acquire_at(ledger, id, slot, NOW, 0);
}

/* Waits for the servers that are not in `tried`. */
static bool wait_for(struct pool_ledger *ledger, uint64_t id, uint64_t tried, unsigned priority)
{
	const struct pool_ask ask = {
		.id = id_of(id), .places = places, .places_n = places_n, .tried = tried
	};

	return pool_ledger_wait_before(ledger, &ask, priority);
}

static bool wait_before(struct pool_ledger *ledger, uint64_t id, unsigned priority)
{
	return wait_for(ledger, id, 0, priority);
}

static uint64_t release(struct pool_ledger *ledger, struct slot *slot)
{
	return pool_ledger_release(ledger, slot).v;
}

static struct pool_server_status status_of(struct pool_ledger *ledger, size_t i)
{
	struct pool_server_status status[POOL_SERVERS_MAX];

	MUST(pool_ledger_status(ledger, status, POOL_SERVERS_MAX) > i);
	return status[i];
}

START_TEST(slots_are_given_up_to_the_limit_and_spread)
{
	struct pool_ledger *ledger = pool_of(3, 4);
	struct slot slots[13] = { { 0 } };

	for (size_t i = 0; i < 12; i++) {
		ck_assert_int_eq(acquire(ledger, i + 1, &slots[i]), POOL_GRANTED);
		ck_assert(slots[i].held);
	}
	ck_assert_int_eq(acquire(ledger, 13, &slots[12]), POOL_FULL);
	ck_assert(!slots[12].held);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(status_of(ledger, i).sessions, 4);
	ck_assert_uint_eq(release(ledger, &slots[5]), 0);
	ck_assert(!slots[5].held);
	ck_assert_uint_eq(release(ledger, &slots[5]), 0); /* given back once, whatever happens */
	ck_assert_int_eq(acquire(ledger, 13, &slots[12]), POOL_GRANTED);
	ck_assert_uint_eq(slots[12].server, slots[5].server);
	for (size_t i = 0; i < 13; i++)
		release(ledger, &slots[i]);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(status_of(ledger, i).sessions, 0);
	ck_assert_uint_eq(status_of(ledger, 0).logons + status_of(ledger, 1).logons +
	                      status_of(ledger, 2).logons,
	                  13);
	pool_ledger_free(&ledger);
	ck_assert_ptr_null(ledger);
}
END_TEST

START_TEST(tried_servers_are_not_chosen_again)
{
	struct pool_ledger *ledger = pool_of(3, 0);
	struct slot slot = { 0 };

	ck_assert_int_eq(acquire_at(ledger, 1, &slot, NOW, 5), POOL_GRANTED);
	ck_assert_uint_eq(slot.server, 1);
	release(ledger, &slot);
	ck_assert_int_eq(acquire_at(ledger, 1, &slot, NOW, 7), POOL_NONE);
	ck_assert(!slot.held);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(round_robin_takes_turns_by_weight)
{
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_ROUND_ROBIN);
	struct pool_server_terms terms[] = { terms_of("a", 3, 0), terms_of("b", 1, 0) };
	unsigned got[2] = { 0 };

	ck_assert(pool_ledger_configure(ledger, BALANCE_ROUND_ROBIN, terms, 2, places));
	places_n = 2;
	for (int i = 0; i < 400; i++) {
		struct slot slot = { 0 };

		ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
		got[slot.server]++;
		release(ledger, &slot);
	}
	ck_assert_uint_eq(got[0], 300);
	ck_assert_uint_eq(got[1], 100);
	pool_ledger_free(&ledger);
}
END_TEST

/* --- waiting ---------------------------------------------------------------------- */

START_TEST(who_waits_goes_first_and_in_order)
{
	struct pool_ledger *ledger = pool_of(1, 1);
	struct slot held = { 0 }, slot = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &held), POOL_GRANTED);
	for (uint64_t id = 2; id <= 4; id++) {
		ck_assert_int_eq(acquire(ledger, id, &slot), POOL_FULL);
		ck_assert(pool_ledger_wait(ledger, id_of(id)));
	}
	ck_assert(pool_ledger_wait(ledger, id_of(2))); /* twice: keeps its first place */
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 3);
	ck_assert_uint_eq(release(ledger, &held), id_of(2).v);
	/* There is room, but not for those who came later. */
	ck_assert_int_eq(acquire(ledger, 5, &slot), POOL_FULL);
	ck_assert_int_eq(acquire(ledger, 3, &slot), POOL_FULL);
	ck_assert_int_eq(acquire(ledger, 2, &held), POOL_GRANTED);
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 2);
	/* The next leaves before its turn. */
	pool_ledger_leave(ledger, id_of(3));
	pool_ledger_leave(ledger, id_of(3));
	pool_ledger_leave(ledger, id_of(99));
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 1);
	ck_assert_uint_eq(release(ledger, &held), id_of(4).v);
	ck_assert_int_eq(acquire(ledger, 4, &held), POOL_GRANTED);
	ck_assert_uint_eq(release(ledger, &held), 0);
	ck_assert_int_eq(acquire(ledger, 5, &held), POOL_GRANTED);
	release(ledger, &held);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(who_has_priority_goes_before_those_that_came_earlier)
{
	static const struct {
		uint64_t id;
		unsigned priority;
	} waiters[] = { { 11, 0 }, { 12, 5 }, { 13, 9 }, { 14, 5 }, { 15, 0 }, { 16, 9 }, { 17, 3 } };
	static const uint64_t order[] = { 13, 16, 14, 17, 18, 11 }; /* 12 and 15 leave, 18 joins */
	struct pool_ledger *ledger = pool_of(1, 1);
	struct slot held = { 0 }, slot = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &held), POOL_GRANTED);
	for (size_t i = 0; i < SP_ARRAY_LEN(waiters); i++)
		ck_assert(wait_before(ledger, waiters[i].id, waiters[i].priority));
	pool_ledger_leave(ledger, id_of(12));
	pool_ledger_leave(ledger, id_of(15));
	ck_assert(wait_before(ledger, 18, 3));
	ck_assert(wait_before(ledger, 11, 9)); /* twice: keeps its place */
	for (size_t i = 0; i < SP_ARRAY_LEN(order); i++) {
		ck_assert_uint_eq(release(ledger, &held), id_of(order[i]).v);
		ck_assert_int_eq(acquire(ledger, order[SP_ARRAY_LEN(order) - 1 - i] + 100, &slot), POOL_FULL);
		ck_assert_int_eq(acquire(ledger, order[i], &held), POOL_GRANTED);
	}
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 0);
	ck_assert_uint_eq(release(ledger, &held), 0);
	pool_ledger_free(&ledger);
}
END_TEST

/* Joining and leaving in any order leaves a queue in order. */
START_TEST(priorities_survive_any_coming_and_going)
{
	struct pool_ledger *ledger = pool_of(1, 1);
	struct slot held = { 0 };
	unsigned priority[64] = { 0 };
	uint64_t since[64] = { 0 };
	uint64_t random = 88172645463325252u;
	size_t waiting = 0;

	ck_assert_int_eq(acquire(ledger, 1000, &held), POOL_GRANTED);
	for (uint64_t turn = 1; turn < 3000; turn++) {
		size_t i;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		i = random % 64;
		if (since[i] != 0) {
			pool_ledger_leave(ledger, id_of(1 + i));
			since[i] = 0;
			waiting--;
		} else {
			priority[i] = (unsigned)(random >> 20) % 10;
			since[i] = turn;
			waiting++;
			ck_assert(wait_before(ledger, 1 + i, priority[i]));
		}
		ck_assert_uint_eq(pool_ledger_waiting(ledger), waiting);
	}
	while (waiting-- > 0) {
		size_t best = 64;

		for (size_t i = 0; i < 64; i++) {
			if (since[i] != 0 && (best == 64 || priority[i] > priority[best] ||
			                      (priority[i] == priority[best] && since[i] < since[best])))
				best = i;
		}
		since[best] = 0;
		ck_assert_uint_eq(release(ledger, &held), id_of(1 + best).v);
		ck_assert_int_eq(acquire(ledger, 1 + best, &held), POOL_GRANTED);
	}
	release(ledger, &held);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(as_many_are_told_as_there_is_room_for)
{
	struct pool_ledger *ledger = pool_of(1, 3);
	struct slot slots[3] = { { 0 } };

	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(acquire(ledger, 1 + i, &slots[i]), POOL_GRANTED);
	for (uint64_t id = 11; id <= 15; id++)
		ck_assert(pool_ledger_wait(ledger, id_of(id)));
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert_uint_eq(release(ledger, &slots[0]), id_of(11).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert_uint_eq(release(ledger, &slots[1]), id_of(12).v);
	ck_assert_int_eq(acquire(ledger, 12, &slots[1]),
	                 POOL_GRANTED); /* before 11, who has not come yet */
	ck_assert_int_eq(acquire(ledger, 13, &slots[0]), POOL_FULL); /* that room is 11's */
	ck_assert_int_eq(acquire(ledger, 11, &slots[0]), POOL_GRANTED);
	/* A reload raises the limit: room without a release. */
	configure(ledger, 1, 5);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, id_of(13).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, id_of(14).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	for (size_t i = 0; i < 3; i++)
		release(ledger, &slots[i]);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(lost_message_costs_time_and_not_a_place)
{
	struct pool_ledger *ledger = pool_of(1, 1);
	struct slot slot = { 0 };
	int64_t now_ms = sp_now_ms();

	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	ck_assert(pool_ledger_wait(ledger, id_of(2)));
	ck_assert(pool_ledger_wait(ledger, id_of(3)));
	ck_assert_uint_eq(release(ledger, &slot), id_of(2).v); /* and this message is lost */
	ck_assert_uint_eq(pool_ledger_offer(ledger, now_ms + WAITER_REPEAT_MS / 2).v, 0);

	int64_t later_ms = sp_now_ms() + WAITER_REPEAT_MS;

	ck_assert_uint_eq(pool_ledger_offer(ledger, later_ms).v, id_of(2).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, later_ms).v, id_of(3).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, later_ms).v, 0);
	/* The one behind it comes first now, and it still waits at its place. */
	ck_assert_int_eq(acquire(ledger, 3, &slot), POOL_GRANTED);
	ck_assert_int_eq(acquire(ledger, 2, &(struct slot){ 0 }), POOL_FULL);
	ck_assert(pool_ledger_wait(ledger, id_of(4)));
	release(ledger, &slot);
	ck_assert_int_eq(acquire(ledger, 2, &slot), POOL_GRANTED);
	release(ledger, &slot);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(waiter_that_cannot_use_the_room_holds_up_nobody)
{
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot slots[2] = { { 0 } };

	ck_assert_int_eq(acquire(ledger, 1, &slots[0]), POOL_GRANTED);
	ck_assert_int_eq(acquire(ledger, 2, &slots[1]), POOL_GRANTED);
	ck_assert(pool_ledger_wait(ledger, id_of(3))); /* has tried the first one's server */
	ck_assert(pool_ledger_wait(ledger, id_of(4)));

	uint64_t tried = (uint64_t)1 << slots[0].server;

	ck_assert_uint_eq(release(ledger, &slots[0]), id_of(3).v);
	ck_assert_int_eq(acquire_at(ledger, 3, &slots[0], NOW, tried), POOL_FULL);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, id_of(4).v);
	ck_assert_int_eq(acquire(ledger, 4, &slots[0]), POOL_GRANTED);
	release(ledger, &slots[0]);
	release(ledger, &slots[1]);
	pool_ledger_free(&ledger);
}
END_TEST

/* One slot of each server, in the order of the servers. */
static void fill(struct pool_ledger *ledger, struct slot slots[])
{
	for (size_t i = 0; i < places_n; i++)
		ck_assert_int_eq(acquire_at(ledger, 1 + i, &slots[i], NOW, ~(UINT64_C(1) << i)), POOL_GRANTED);
}

#define ONLY(server) (~(UINT64_C(1) << (server)))

START_TEST(room_is_for_those_who_can_use_it)
{
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot slots[2] = { { 0 } };

	fill(ledger, slots);
	ck_assert(wait_for(ledger, 11, ONLY(1), 0));
	ck_assert(wait_for(ledger, 12, 0, 0));
	ck_assert(wait_for(ledger, 13, 0, 0));
	/* Busy days of the other server: the first in the queue is not asked, and not passed over either. */
	ck_assert_uint_eq(release(ledger, &slots[0]), id_of(12).v);
	ck_assert_int_eq(acquire(ledger, 12, &slots[0]), POOL_GRANTED);
	ck_assert_uint_eq(release(ledger, &slots[0]), id_of(13).v);
	ck_assert_int_eq(acquire(ledger, 20, &slots[0]), POOL_FULL); /* it is 13's */
	ck_assert_uint_eq(release(ledger, &slots[1]), id_of(11).v);
	ck_assert_int_eq(acquire_at(ledger, 21, &slots[1], NOW, ONLY(1)), POOL_FULL);
	ck_assert_int_eq(acquire_at(ledger, 11, &slots[1], NOW, ONLY(1)), POOL_GRANTED);
	ck_assert_int_eq(acquire(ledger, 13, &slots[0]), POOL_GRANTED);
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 0);
	release(ledger, &slots[0]);
	release(ledger, &slots[1]);
	pool_ledger_free(&ledger);
}
END_TEST

/* Both have room: who has a choice does not take that of those before him who have none. */
START_TEST(who_has_a_choice_leaves_room_to_those_who_have_none)
{
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot slots[2] = { { 0 } };

	for (size_t only = 0; only < 2; only++) {
		fill(ledger, slots);
		ck_assert(wait_for(ledger, 11, ONLY(only), 0));
		ck_assert(wait_for(ledger, 12, 0, 0));
		ck_assert_uint_eq(release(ledger, &slots[1 - only]), id_of(12).v);
		ck_assert_uint_eq(release(ledger, &slots[only]), id_of(11).v);
		ck_assert_int_eq(acquire(ledger, 13, &slots[0]), POOL_FULL);
		ck_assert_int_eq(acquire_at(ledger, 14, &slots[0], NOW, ONLY(only)), POOL_FULL);
		ck_assert_int_eq(acquire(ledger, 12, &slots[1 - only]), POOL_GRANTED);
		ck_assert_uint_eq(slots[1 - only].server, 1 - only);
		ck_assert_int_eq(acquire_at(ledger, 11, &slots[only], NOW, ONLY(only)), POOL_GRANTED);
		release(ledger, &slots[0]);
		release(ledger, &slots[1]);
	}
	pool_ledger_free(&ledger);
}
END_TEST

/* A route to one server leads to a backup, too, while the others are well. */
START_TEST(who_may_only_go_to_a_backup_is_told_of_its_room)
{
	struct pool_server_terms terms[] = { terms_of("proper", 1, 1), terms_of("backup", 1, 1) };
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot slots[2] = { { 0 } };

	terms[1].backup = true;
	ck_assert(pool_ledger_configure(ledger, BALANCE_LEAST_SESSIONS, terms, 2, places));
	fill(ledger, slots);
	ck_assert(wait_for(ledger, 11, 0, 0));
	ck_assert(wait_for(ledger, 12, ONLY(1), 0));
	ck_assert_uint_eq(release(ledger, &slots[1]), id_of(12).v);
	ck_assert_int_eq(acquire(ledger, 20, &slots[1]), POOL_FULL);
	ck_assert_int_eq(acquire_at(ledger, 21, &slots[1], NOW, ONLY(1)), POOL_FULL);
	ck_assert_int_eq(acquire_at(ledger, 12, &slots[1], NOW, ONLY(1)), POOL_GRANTED);
	ck_assert_uint_eq(release(ledger, &slots[0]), id_of(11).v);
	ck_assert_int_eq(acquire(ledger, 11, &slots[0]), POOL_GRANTED);
	/* With nobody ahead who could use it, the backup's room is free for whoever may only go there. */
	ck_assert(wait_for(ledger, 13, 0, 0));
	release(ledger, &slots[1]);
	ck_assert_int_eq(acquire_at(ledger, 22, &slots[1], NOW, ONLY(1)), POOL_GRANTED);
	release(ledger, &slots[0]);
	release(ledger, &slots[1]);
	pool_ledger_free(&ledger);
}
END_TEST

/* A reload has taken away all servers that it may go to: it is told at once, and finds none. */
START_TEST(who_waits_for_servers_that_are_gone_is_told_so)
{
	struct pool_server_terms terms[] = { terms_of("s1", 1, 1) };
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot slots[2] = { { 0 } };
	uint16_t after[1];

	fill(ledger, slots);
	ck_assert(wait_for(ledger, 11, ONLY(1), 0));
	ck_assert(wait_for(ledger, 12, ONLY(0), 0));
	ck_assert(wait_for(ledger, 13, 0, 0));
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert(pool_ledger_configure(ledger, BALANCE_LEAST_SESSIONS, terms, 1, after));
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, id_of(12).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert_int_eq(acquire_at(ledger, 12, &(struct slot){ 0 }, NOW, ONLY(0)), POOL_NONE);
	pool_ledger_leave(ledger, id_of(12));
	ck_assert_uint_eq(release(ledger, &slots[0]), 0); /* it is gone, too */
	ck_assert_uint_eq(release(ledger, &slots[1]), id_of(11).v);
	pool_ledger_free(&ledger);
}
END_TEST

/* It comes when told, and finds that somebody was faster: the next room is its own again, at once. */
START_TEST(who_came_in_vain_is_told_of_the_next_room_before_those_behind_it)
{
	struct pool_ledger *ledger = pool_of(1, 1);
	struct slot slot = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	ck_assert(wait_before(ledger, 11, 0));
	ck_assert(wait_before(ledger, 12, 0));
	ck_assert_uint_eq(release(ledger, &slot), id_of(11).v);
	ck_assert(pool_ledger_set_state(ledger, "s0", SERVER_DRAIN, "by order"));
	ck_assert_int_ne(acquire(ledger, 11, &slot), POOL_GRANTED);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert(pool_ledger_set_state(ledger, "s0", SERVER_UP, "by order"));
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, id_of(11).v);
	ck_assert_uint_eq(pool_ledger_offer(ledger, sp_now_ms()).v, 0);
	ck_assert_int_eq(acquire(ledger, 12, &slot), POOL_FULL);
	ck_assert_int_eq(acquire(ledger, 11, &slot), POOL_GRANTED);
	ck_assert_uint_eq(release(ledger, &slot), id_of(12).v);
	pool_ledger_free(&ledger);
}
END_TEST

/* --- states ------------------------------------------------------------------------ */

static void fail_once(struct pool_ledger *ledger, int64_t now_ms, bool changes)
{
	struct slot slot = { 0 };

	ck_assert_int_eq(acquire_at(ledger, 1, &slot, now_ms, 0), POOL_GRANTED);
	ck_assert(pool_ledger_failed(ledger, &slot, now_ms, "connection refused") == changes);
	release(ledger, &slot);
}

START_TEST(failing_server_is_out_for_a_growing_while)
{
	static const int64_t whiles[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct pool_ledger *ledger = pool_of(1, 0);
	struct slot slot = { 0 }, trial = { 0 };
	int64_t now_ms = NOW;

	for (int i = 1; i < HEALTH_FALL; i++)
		fail_once(ledger, now_ms, false);
	fail_once(ledger, now_ms, true);
	for (size_t i = 0; i < SP_ARRAY_LEN(whiles); i++) {
		ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DOWN);
		ck_assert_str_eq(status_of(ledger, 0).reason, "connection refused");
		ck_assert_int_eq(status_of(ledger, 0).down_until_ms, now_ms + whiles[i]);
		ck_assert_int_eq(acquire_at(ledger, 1, &slot, now_ms + whiles[i] - 1, 0),
		                 POOL_NONE);
		now_ms += whiles[i];
		/* One logon may try it, and only one at a time. */
		ck_assert_int_eq(acquire_at(ledger, 1, &trial, now_ms, 0), POOL_GRANTED);
		ck_assert(trial.trial);
		ck_assert_int_eq(acquire_at(ledger, 2, &slot, now_ms, 0), POOL_NONE);
		if (i == 2) {
			/* It went away without a verdict: another one tries. */
			release(ledger, &trial);
			ck_assert_int_eq(acquire_at(ledger, 2, &trial, now_ms, 0), POOL_GRANTED);
		}
		ck_assert(!pool_ledger_failed(ledger, &trial, now_ms, "connection refused"));
		release(ledger, &trial);
	}
	now_ms += 30000;
	ck_assert_int_eq(acquire_at(ledger, 1, &trial, now_ms, 0), POOL_GRANTED);
	ck_assert(pool_ledger_served(ledger, &trial, 0));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	ck_assert_int_eq(acquire_at(ledger, 2, &slot, now_ms, 0), POOL_GRANTED);
	ck_assert(!pool_ledger_served(ledger, &slot, 0));
	ck_assert_uint_eq(status_of(ledger, 0).failures, HEALTH_FALL + SP_ARRAY_LEN(whiles));
	ck_assert_uint_eq(status_of(ledger, 0).failures_in_row, 0);
	release(ledger, &slot);
	release(ledger, &trial);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(many_logons_that_fail_at_once_count_as_one_fall)
{
	struct pool_ledger *ledger = pool_of(1, 0);
	struct slot slots[50] = { { 0 } };
	unsigned changes = 0;

	for (size_t i = 0; i < 50; i++)
		ck_assert_int_eq(acquire(ledger, i + 1, &slots[i]), POOL_GRANTED);
	for (size_t i = 0; i < 50; i++) {
		changes += pool_ledger_failed(ledger, &slots[i], NOW, "reset");
		release(ledger, &slots[i]);
	}
	ck_assert_uint_eq(changes, 1);
	ck_assert_int_eq(status_of(ledger, 0).down_until_ms, NOW + HEALTH_OUT_FIRST_MS);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(served_logon_ends_a_row_of_failures)
{
	struct pool_ledger *ledger = pool_of(1, 0);
	struct slot slot = { 0 };

	for (int round = 0; round < 5; round++) {
		for (int i = 1; i < HEALTH_FALL; i++)
			fail_once(ledger, NOW, false);
		ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
		ck_assert(!pool_ledger_served(ledger, &slot, 800));
		release(ledger, &slot);
	}
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	ck_assert_int_eq(status_of(ledger, 0).response_us, 800);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(states_by_order_stay_until_the_next_order)
{
	static const enum server_state out[] = { SERVER_DOWN, SERVER_DRAIN, SERVER_MAINTENANCE };
	struct pool_ledger *ledger = pool_of(1, 0);
	struct slot old = { 0 }, slot = { 0 };

	for (size_t i = 0; i < SP_ARRAY_LEN(out); i++) {
		ck_assert_int_eq(acquire(ledger, 1, &old), POOL_GRANTED);
		ck_assert(pool_ledger_set_state(ledger, "s0", out[i], "by order"));
		ck_assert(!pool_ledger_set_state(ledger, "s0", out[i], "by order"));
		ck_assert_str_eq(status_of(ledger, 0).reason, "by order");
		ck_assert_int_eq(acquire_at(ledger, 2, &slot, NOW + 1000000, 0), POOL_NONE);
		/* Sessions that are there stay, and what they do does not undo the order. */
		ck_assert(!pool_ledger_failed(ledger, &old, NOW, "x"));
		ck_assert(!pool_ledger_served(ledger, &old, 0));
		ck_assert_int_eq(status_of(ledger, 0).state, out[i]);
		release(ledger, &old);
		ck_assert(pool_ledger_set_state(ledger, "s0", SERVER_UP, "by order"));
	}
	ck_assert(!pool_ledger_set_state(ledger, "nobody", SERVER_UP, "x"));
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(lessons_stay_with_the_server)
{
	struct pool_ledger *ledger = pool_of(2, 1);
	struct slot a = { 0 }, b = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &a), POOL_GRANTED);
	ck_assert_int_eq(acquire(ledger, 2, &b), POOL_GRANTED);
	pool_ledger_learn(ledger, &a, LESSON_NO_EPSV);
	pool_ledger_learn(ledger, &a, LESSON_NO_EPRT);
	ck_assert_uint_eq(pool_ledger_lessons(ledger, &a), LESSON_NO_EPSV | LESSON_NO_EPRT);
	ck_assert_uint_eq(pool_ledger_lessons(ledger, &b), 0);
	configure(ledger, 2, 5);
	ck_assert_uint_eq(pool_ledger_lessons(ledger, &a), LESSON_NO_EPSV | LESSON_NO_EPRT);
	pool_ledger_learn(ledger, &b, LESSON_NO_EPSV);
	pool_ledger_unlearn(ledger, &a);
	ck_assert_uint_eq(pool_ledger_lessons(ledger, &a), 0);
	ck_assert_uint_eq(pool_ledger_lessons(ledger, &b), LESSON_NO_EPSV);
	release(ledger, &a);
	release(ledger, &b);
	pool_ledger_free(&ledger);
}
END_TEST

/* --- reloads ----------------------------------------------------------------------- */

START_TEST(reload_keeps_counts_by_name_and_old_sessions_their_indices)
{
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_FIRST);
	struct pool_server_terms before[] = { terms_of("a", 1, 2), terms_of("b", 1, 2) };
	struct pool_server_terms after[] = { terms_of("c", 1, 2), terms_of("b", 1, 3) };
	uint16_t old_places[2], new_places[2];
	struct slot a = { 0 }, b = { 0 }, b2 = { 0 }, c = { 0 };
	struct pool_server_status status[4];
	struct pool_ask ask = {
		.id = id_of(1), .places = old_places, .places_n = 2, .now_ms = NOW
	};

	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, before, 2, old_places));
	ck_assert_int_eq(pool_ledger_acquire(ledger, &ask, &a), POOL_GRANTED);
	ask.tried = 1;
	ck_assert_int_eq(pool_ledger_acquire(ledger, &ask, &b), POOL_GRANTED);
	ck_assert_uint_eq(b.server, 1);

	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, after, 2, new_places));
	ck_assert_uint_eq(new_places[1], old_places[1]);
	ck_assert_uint_ne(new_places[0], old_places[0]);
	ck_assert_uint_eq(pool_ledger_status(ledger, status, 4), 3);
	ck_assert_str_eq(status[0].terms.name, "c");
	ck_assert_uint_eq(status[0].sessions, 0);
	ck_assert_str_eq(status[1].terms.name, "b");
	ck_assert_uint_eq(status[1].sessions, 1);
	ck_assert_uint_eq(status[1].terms.max_sessions, 3);
	ck_assert_str_eq(status[2].terms.name, "a");
	ck_assert(!status[2].configured);
	ck_assert_uint_eq(status[2].sessions, 1);
	ck_assert_uint_eq(pool_ledger_status(ledger, status, 1), 3);

	/* A session of the old configuration gets what both have, in the old one's terms. */
	ask.tried = 0;
	ck_assert_int_eq(pool_ledger_acquire(ledger, &ask, &b2), POOL_GRANTED);
	ck_assert_uint_eq(b2.server, 1);
	ask.places = new_places;
	ck_assert_int_eq(pool_ledger_acquire(ledger, &ask, &c), POOL_GRANTED);
	ck_assert_uint_eq(c.server, 0);
	ck_assert_uint_eq(c.place, new_places[0]);

	/* Sessions of servers that are gone are given back as usual. */
	release(ledger, &a);
	ck_assert_uint_eq(pool_ledger_status(ledger, status, 4), 2);
	release(ledger, &b);
	release(ledger, &b2);
	release(ledger, &c);
	pool_ledger_free(&ledger);
}
END_TEST

/* The same name at another address: what the old server has shown is not held against the new one. */
START_TEST(server_that_moves_is_another_server)
{
	struct pool_server_terms terms = terms_of("a", 1, 0);
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_FIRST);
	struct slot slot = { 0 };

	terms.health.fall = 1;
	terms.identity = 1;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	places_n = 1;
	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	(void)pool_ledger_served(ledger, &slot, 5000);
	ck_assert(pool_ledger_failed(ledger, &slot, sp_now_ms(), "connection refused"));
	release(ledger, &slot);
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DOWN); /* a reload alone heals nobody */
	terms.identity = 2;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	ck_assert_str_eq(status_of(ledger, 0).reason, "another address");
	ck_assert_int_eq(status_of(ledger, 0).response_us, 0);
	ck_assert_uint_eq(status_of(ledger, 0).logons, 1);
	/* The operator's order is for the name. */
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_DRAIN, "by order"));
	terms.identity = 3;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DRAIN);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(names_may_come_and_go_for_ever)
{
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_FIRST);
	struct slot kept = { 0 }, slot = { 0 };
	struct pool_server_status status[POOL_SERVERS_MAX];

	configure(ledger, 1, 0);
	ck_assert_int_eq(acquire(ledger, 1, &kept), POOL_GRANTED);
	for (int i = 0; i < 3 * POOL_PLACES_MAX; i++) {
		char name[32];
		struct pool_server_terms terms;

		snprintf(name, sizeof(name), "address-%d", i);
		terms = terms_of(name, 1, 0);
		ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
		ck_assert_int_eq(acquire(ledger, 2, &slot), POOL_GRANTED);
		ck_assert_uint_ne(slot.place, kept.place);
		release(ledger, &slot);
	}
	ck_assert_uint_eq(pool_ledger_status(ledger, status, POOL_SERVERS_MAX), 2);
	ck_assert_str_eq(status[1].terms.name, "s0");
	release(ledger, &kept);
	pool_ledger_free(&ledger);
}
END_TEST

/* --- threads and memory -------------------------------------------------------------- */

#define CROWD 4
#define ROUNDS 4000
#define SERVERS 2
#define LIMIT 1

struct crowd {
	struct pool_ledger *ledger;
	uint16_t places[SERVERS];
	_Atomic int at_server[SERVERS];
	_Atomic uint64_t turn[CROWD]; /* told: may come */
};

struct member {
	struct crowd *crowd;
	uint64_t number;
};

static void tell(struct crowd *crowd, struct session_id id)
{
	if (id.v != 0)
		atomic_store(&crowd->turn[id.v - 1], 1);
}

/* A logon as a worker does it: ask, wait its turn, work, give back and tell the next. Some may go to one server only. */
static void *log_on_often(void *arg)
{
	struct member *member = arg;
	struct crowd *crowd = member->crowd;
	struct session_id id = id_of(member->number + 1);

	for (int i = 0; i < ROUNDS; i++) {
		struct pool_ask ask = {
			.id = id, .places = crowd->places, .places_n = SERVERS, .now_ms = NOW
		};
		struct slot slot = { 0 };

		ask.tried = member->number < SERVERS ? ONLY(member->number) : 0;

		while (pool_ledger_acquire(crowd->ledger, &ask, &slot) == POOL_FULL) {
			MUST(pool_ledger_wait_before(crowd->ledger, &ask, (unsigned)i % 3));
			while (atomic_exchange(&crowd->turn[member->number], 0) == 0) {
				sched_yield();
				tell(crowd, pool_ledger_offer(crowd->ledger, sp_now_ms()));
			}
		}
		MUST(slot.held);
		MUST(atomic_fetch_add(&crowd->at_server[slot.server], 1) < LIMIT);
		if (i % 7 == 0)
			sched_yield();
		atomic_fetch_sub(&crowd->at_server[slot.server], 1);
		pool_ledger_served(crowd->ledger, &slot, 100 + i);
		tell(crowd, pool_ledger_release(crowd->ledger, &slot));
	}
	return NULL;
}

START_TEST(limit_is_never_passed_and_everybody_gets_a_turn)
{
	static struct crowd crowd;
	struct pool_server_terms terms[] = { terms_of("a", 1, LIMIT), terms_of("b", 1, LIMIT) };
	struct member members[CROWD];
	pthread_t threads[CROWD];

	crowd.ledger = pool_ledger_new(BALANCE_LEAST_SESSIONS);
	ck_assert(pool_ledger_configure(crowd.ledger, BALANCE_LEAST_SESSIONS, terms, SERVERS,
	                                crowd.places));
	for (uint64_t i = 0; i < CROWD; i++) {
		members[i] = (struct member){ &crowd, i };
		MUST(pthread_create(&threads[i], NULL, log_on_often, &members[i]) == 0);
	}
	for (size_t i = 0; i < CROWD; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
	ck_assert_uint_eq(status_of(crowd.ledger, 0).logons + status_of(crowd.ledger, 1).logons,
	                  CROWD * ROUNDS);
	ck_assert_uint_eq(pool_ledger_waiting(crowd.ledger), 0);
	pool_ledger_free(&crowd.ledger);
}
END_TEST

START_TEST(no_memory_changes_nothing)
{
	struct pool_server_terms terms[] = { terms_of("x", 1, 0), terms_of("y", 1, 0) };
	struct pool_server_status status[4];
	bool ok = false;
	unsigned n = 0;

	alloc_fail_at(1);
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_FIRST);

	alloc_fail_at(0);
	ck_assert_ptr_null(ledger);
	pool_ledger_free(&ledger);
	ledger = pool_of(1, 0);
	while (!ok) {
		alloc_fail_at(++n);
		ok = pool_ledger_configure(ledger, BALANCE_FIRST, terms, 2, places);
		alloc_fail_at(0);
		ck_assert(ok == !alloc_has_failed());
		ck_assert_uint_eq(pool_ledger_status(ledger, status, 4), ok ? 2 : 1);
	}
	ck_assert_uint_eq(n, 3);
	alloc_fail_at(1);
	ok = pool_ledger_wait(ledger, id_of(1));
	alloc_fail_at(0);
	ck_assert(!ok);
	ck_assert_uint_eq(pool_ledger_waiting(ledger), 0);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(freeing_a_ledger_with_sessions_aborts)
{
	struct pool_ledger *ledger = pool_of(1, 0);
	struct slot slot = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	pool_ledger_free(&ledger);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_ledger");
	TCase *tcase = tcase_create("pool_ledger");

	tcase_add_test(tcase, slots_are_given_up_to_the_limit_and_spread);
	tcase_add_test(tcase, tried_servers_are_not_chosen_again);
	tcase_add_test(tcase, round_robin_takes_turns_by_weight);
	tcase_add_test(tcase, who_waits_goes_first_and_in_order);
	tcase_add_test(tcase, who_has_priority_goes_before_those_that_came_earlier);
	tcase_add_test(tcase, priorities_survive_any_coming_and_going);
	tcase_add_test(tcase, as_many_are_told_as_there_is_room_for);
	tcase_add_test(tcase, room_is_for_those_who_can_use_it);
	tcase_add_test(tcase, who_has_a_choice_leaves_room_to_those_who_have_none);
	tcase_add_test(tcase, who_may_only_go_to_a_backup_is_told_of_its_room);
	tcase_add_test(tcase, who_came_in_vain_is_told_of_the_next_room_before_those_behind_it);
	tcase_add_test(tcase, who_waits_for_servers_that_are_gone_is_told_so);
	tcase_add_test(tcase, server_that_moves_is_another_server);
	tcase_add_test(tcase, lost_message_costs_time_and_not_a_place);
	tcase_add_test(tcase, waiter_that_cannot_use_the_room_holds_up_nobody);
	tcase_add_test(tcase, failing_server_is_out_for_a_growing_while);
	tcase_add_test(tcase, many_logons_that_fail_at_once_count_as_one_fall);
	tcase_add_test(tcase, served_logon_ends_a_row_of_failures);
	tcase_add_test(tcase, states_by_order_stay_until_the_next_order);
	tcase_add_test(tcase, lessons_stay_with_the_server);
	tcase_add_test(tcase, reload_keeps_counts_by_name_and_old_sessions_their_indices);
	tcase_add_test(tcase, names_may_come_and_go_for_ever);
	tcase_add_test(tcase, limit_is_never_passed_and_everybody_gets_a_turn);
	tcase_add_test(tcase, no_memory_changes_nothing);
	tcase_add_test_raise_signal(tcase, freeing_a_ledger_with_sessions_aborts, SIGABRT);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

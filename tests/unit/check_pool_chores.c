// SPDX-License-Identifier: ISC
/*
 * The pool ledger: what is reserved beside the sessions never goes over the
 * limit and never costs a logon its place; verdicts, orders, backups, shares.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/pool_ledger.h"

#define MUST(cond) SP_ASSERT(cond)
#define FD 1000 /* never a descriptor: the ledger does not touch them */

static uint16_t places[POOL_SERVERS_MAX];
static size_t places_n;
static int64_t now;

static struct pool_server_terms terms_of(const char *name, uint32_t max)
{
	struct pool_server_terms terms = {
		.weight = 1,
		.max_sessions = max,
		.health = { .checked = true, .fall = 1, .rise = 1, .every_ms = 5000 },
		.warm_age_ms = 60000,
	};

	snprintf(terms.name, sizeof(terms.name), "%s", name);
	return terms;
}

static struct pool_ledger *pool_of(const struct pool_server_terms terms[], size_t n)
{
	struct pool_ledger *ledger = pool_ledger_new(BALANCE_FIRST);

	now = sp_now_ms();
	MUST(ledger != NULL);
	MUST(pool_ledger_configure(ledger, BALANCE_FIRST, terms, n, places));
	places_n = n;
	return ledger;
}

static enum pool_answer acquire(struct pool_ledger *ledger, uint64_t id, struct slot *slot)
{
	struct pool_ask ask = {
		.id = session_id_make(0, id), .places = places, .places_n = places_n, .now_ms = now
	};

	return pool_ledger_acquire(ledger, &ask, slot);
}

static void release(struct pool_ledger *ledger, struct slot *slot)
{
	(void)!pool_ledger_release(ledger, slot).v;
}

static struct pool_server_status status_of(struct pool_ledger *ledger, size_t i)
{
	struct pool_server_status status[POOL_SERVERS_MAX];

	MUST(pool_ledger_status(ledger, status, POOL_SERVERS_MAX) > i);
	return status[i];
}

static size_t chores(struct pool_ledger *ledger, struct pool_chore out[])
{
	return pool_ledger_chores(ledger, now, out, 8);
}

static bool verdict(struct pool_ledger *ledger, const struct pool_chore *chore, enum check_verdict what)
{
	enum server_state state;
	bool changed = pool_ledger_checked(ledger, chore, what, now, "text", &state);

	(void)!pool_ledger_chore_done(ledger, chore, now).v;
	return changed;
}

START_TEST(check_is_one_at_a_time_and_in_its_time)
{
	const struct pool_server_terms terms[] = { terms_of("a", 0), terms_of("b", 0) };
	struct pool_ledger *ledger = pool_of(terms, 2);
	struct pool_chore chore[8];

	ck_assert_uint_eq(chores(ledger, chore), 2);
	ck_assert_int_eq(chore[0].kind, CHORE_CHECK);
	ck_assert_str_eq(chore[0].name, "a");
	ck_assert_str_eq(chore[1].name, "b");
	now += 60000;
	ck_assert_uint_eq(chores(ledger, &chore[2]), 0); /* they are under way */
	ck_assert(!verdict(ledger, &chore[0], VERDICT_PASSED));
	ck_assert(verdict(ledger, &chore[1], VERDICT_FAILED));
	ck_assert_int_eq(status_of(ledger, 1).state, SERVER_DOWN);
	ck_assert_str_eq(status_of(ledger, 1).reason, "text");
	ck_assert_int_eq(status_of(ledger, 1).changed_ms, now);
	ck_assert_uint_eq(status_of(ledger, 1).checks_failed, 1);
	ck_assert_uint_eq(chores(ledger, chore), 0);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 2);
	ck_assert(!verdict(ledger, &chore[0], VERDICT_VOID));
	ck_assert(verdict(ledger, &chore[1], VERDICT_PASSED));
	ck_assert_int_eq(status_of(ledger, 1).state, SERVER_UP);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(check_leaves_a_place_for_a_logon)
{
	const struct pool_server_terms terms[] = { terms_of("a", 3) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];
	struct slot slots[3] = { { 0 } };

	ck_assert_int_eq(acquire(ledger, 1, &slots[0]), POOL_GRANTED);
	ck_assert_uint_eq(chores(ledger, chore), 1); /* 1 + 1 of 3 */
	ck_assert_int_eq(acquire(ledger, 2, &slots[1]), POOL_GRANTED);
	ck_assert_int_eq(acquire(ledger, 3, &slots[2]), POOL_FULL); /* or there would be 4 */
	ck_assert(pool_ledger_wait(ledger, session_id_make(0, 3)));
	/* The check is over: who waited is told. */
	enum server_state state;

	ck_assert(!pool_ledger_checked(ledger, chore, VERDICT_PASSED, now, "", &state));
	ck_assert_uint_eq(pool_ledger_chore_done(ledger, chore, now).v, session_id_make(0, 3).v);
	ck_assert_int_eq(acquire(ledger, 3, &slots[2]), POOL_GRANTED);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 0); /* full: left out */
	ck_assert_str_eq(status_of(ledger, 0).check_text, "skipped: no place to spare");
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	release(ledger, &slots[0]);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 0); /* its last place is not for checks */
	release(ledger, &slots[1]);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 1);
	(void)verdict(ledger, chore, VERDICT_PASSED);
	release(ledger, &slots[2]);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(single_place_is_checked_while_it_is_free)
{
	const struct pool_server_terms terms[] = { terms_of("a", 1) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];
	struct slot slot = { 0 };

	ck_assert_uint_eq(chores(ledger, chore), 1);
	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_FULL);
	ck_assert(pool_ledger_wait(ledger, session_id_make(0, 1)));
	(void)verdict(ledger, chore, VERDICT_PASSED);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 0); /* somebody waits for it */
	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	release(ledger, &slot);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(full_is_no_fault_while_some_are_ours)
{
	const struct pool_server_terms terms[] = { terms_of("a", 0) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];
	struct slot slot = { 0 };

	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	ck_assert_uint_eq(chores(ledger, chore), 1);
	ck_assert(!verdict(ledger, chore, VERDICT_FULL));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	release(ledger, &slot);
	now += 5000;
	ck_assert_uint_eq(chores(ledger, chore), 1);
	ck_assert(verdict(ledger, chore, VERDICT_FULL));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DOWN);
	pool_ledger_free(&ledger);
}
END_TEST

static struct pool_server_terms warm_terms(uint32_t max, uint32_t warm)
{
	struct pool_server_terms terms = terms_of("a", max);

	terms.health.checked = false;
	terms.warm = warm;
	return terms;
}

static void put(struct pool_ledger *ledger, const struct pool_chore *chore, int fd, bool wanted)
{
	const struct warm warm = { fd, now, chore->identity };
	bool taken;

	(void)!pool_ledger_warm_put(ledger, chore, &warm, now, &taken).v;
	ck_assert(taken == wanted);
}

START_TEST(warm_connections_go_to_logons_and_take_no_place_from_them)
{
	const struct pool_server_terms terms[] = { warm_terms(4, 3) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];
	struct slot slots[5] = { { 0 } };

	ck_assert_uint_eq(chores(ledger, chore), 3);
	for (int i = 0; i < 3; i++)
		put(ledger, &chore[i], FD + i, true);
	ck_assert_uint_eq(chores(ledger, chore), 0);
	ck_assert_uint_eq(status_of(ledger, 0).warm, 3);
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_int_eq(acquire(ledger, i + 1, &slots[i]), POOL_GRANTED);
		ck_assert(slots[i].warm == (i < 3));
		if (slots[i].warm)
			ck_assert_int_eq(slots[i].warm_fd, FD + 2 - (int)i); /* the newest first */
		slots[i].warm = false;
		ck_assert_uint_le(status_of(ledger, 0).sessions + status_of(ledger, 0).reserved, 4);
	}
	ck_assert_int_eq(acquire(ledger, 5, &slots[4]), POOL_FULL);
	ck_assert_uint_eq(chores(ledger, chore), 0); /* there is no place for them */
	release(ledger, &slots[0]);
	ck_assert_uint_eq(chores(ledger, chore), 0); /* the last is a logon's */
	release(ledger, &slots[1]);
	ck_assert_uint_eq(chores(ledger, chore), 1);
	chore[0].failed = true;
	(void)!pool_ledger_chore_done(ledger, &chore[0], now).v;
	ck_assert_uint_eq(chores(ledger, chore), 0); /* not again at once */
	now += POOL_WARM_RETRY_MS;
	ck_assert_uint_eq(chores(ledger, chore), 1);
	(void)!pool_ledger_chore_done(ledger, &chore[0], now).v;
	release(ledger, &slots[2]);
	release(ledger, &slots[3]);
	pool_ledger_free(&ledger);
}
END_TEST

/* What is over a limit that a reload has set goes: first what serves nobody. */
START_TEST(warm_connections_make_room_for_a_lower_limit)
{
	struct pool_server_terms terms = warm_terms(10, 4);
	struct pool_ledger *ledger = pool_of(&terms, 1);
	struct pool_chore chore[8];
	struct warm warm[POOL_WARM_MAX];
	struct slot slots[4] = { { 0 } };
	int64_t age_ms;
	size_t n, kept = 0;

	for (uint64_t i = 0; i < 4; i++)
		ck_assert_int_eq(acquire(ledger, 1 + i, &slots[i]), POOL_GRANTED);
	ck_assert_uint_eq(chores(ledger, chore), 4);
	for (int i = 0; i < 4; i++)
		put(ledger, &chore[i], FD + i, true);
	terms.max_sessions = 6;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	n = pool_ledger_warm_take(ledger, 0, chore, warm, &age_ms);
	ck_assert_uint_eq(n, 4);
	for (size_t i = 0; i < n; i++) {
		bool taken;

		(void)!pool_ledger_warm_put(ledger, chore, &warm[i], now, &taken).v;
		if (!taken)
			(void)!pool_ledger_chore_done(ledger, chore, now).v;
		kept += taken;
	}
	ck_assert_uint_eq(kept, 2);
	ck_assert_uint_eq(status_of(ledger, 0).sessions + status_of(ledger, 0).reserved, 6);
	n = pool_ledger_warm_take(ledger, 0, chore, warm, &age_ms);
	while (n-- > 0)
		(void)!pool_ledger_chore_done(ledger, chore, now).v;
	for (size_t i = 0; i < 4; i++)
		release(ledger, &slots[i]);
	pool_ledger_free(&ledger);
}
END_TEST

/* A connection to the old address is nobody's, and it holds its place at the limit until it is closed. */
START_TEST(warm_connections_do_not_move_with_the_server)
{
	struct pool_server_terms terms = warm_terms(4, 2);
	struct pool_ledger *ledger = pool_of(&terms, 1);
	struct pool_chore old[8], chore[8], check = { 0 };
	struct warm warm[POOL_WARM_MAX];
	struct slot slots[4] = { { 0 } };
	enum server_state state;
	int64_t age_ms;

	ck_assert_uint_eq(chores(ledger, old), 2);
	put(ledger, &old[0], FD, true);
	terms.identity = 2;
	terms.health.checked = true;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, &terms, 1, places));
	put(ledger, &old[1], FD + 1, false);
	ck_assert_uint_eq(status_of(ledger, 0).warm, 0);
	for (uint64_t i = 0; i < 2; i++) {
		ck_assert_int_eq(acquire(ledger, 1 + i, &slots[i]), POOL_GRANTED);
		ck_assert(!slots[i].warm);
	}
	ck_assert_int_eq(acquire(ledger, 3, &slots[2]), POOL_FULL);
	(void)!pool_ledger_chore_done(ledger, &old[1], now).v;
	ck_assert_uint_eq(pool_ledger_warm_take(ledger, 0, &chore[0], warm, &age_ms), 1);
	ck_assert_int_eq(warm[0].fd, FD);
	bool taken = true;
	(void)!pool_ledger_warm_put(ledger, &chore[0], &warm[0], now, &taken).v;
	ck_assert(!taken);
	(void)!pool_ledger_chore_done(ledger, &chore[0], now).v;
	/* Nor does the verdict of a check that went to the old one. */
	check = old[0];
	check.kind = CHORE_CHECK;
	for (int i = 0; i < 9; i++)
		ck_assert(!pool_ledger_checked(ledger, &check, VERDICT_FAILED, now, "dead", &state));
	ck_assert_int_eq(state, SERVER_UP);
	ck_assert_str_eq(status_of(ledger, 0).check_text, "");
	release(ledger, &slots[0]);
	release(ledger, &slots[1]);
	ck_assert_uint_eq(status_of(ledger, 0).reserved, 0);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(warm_connections_are_looked_at_and_not_wanted_for_ever)
{
	struct pool_server_terms terms[] = { warm_terms(0, 2) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];
	struct pool_chore look;
	struct warm warm[POOL_WARM_MAX];
	struct slot slot = { 0 };
	int64_t age_ms;

	ck_assert_uint_eq(chores(ledger, chore), 2);
	put(ledger, &chore[0], FD, true);
	put(ledger, &chore[1], FD + 1, true);
	ck_assert_uint_eq(pool_ledger_places(ledger), 1);
	ck_assert_uint_eq(pool_ledger_warm_take(ledger, 0, &look, warm, &age_ms), 2);
	ck_assert_int_eq(age_ms, 60000);
	ck_assert_int_eq(warm[0].fd, FD);
	ck_assert_uint_eq(chores(ledger, chore), 0); /* they count while they are looked at */
	ck_assert_int_eq(acquire(ledger, 1, &slot), POOL_GRANTED);
	ck_assert(!slot.warm);
	put(ledger, &look, FD, true);
	terms[0].warm = 1;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, terms, 1, places));
	put(ledger, &look, FD + 1, false);
	(void)!pool_ledger_chore_done(ledger, &look, now).v;
	ck_assert_uint_eq(pool_ledger_warm_take(ledger, 0, &look, warm, &age_ms), 1);
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_DRAIN, "x"));
	put(ledger, &look, FD, false);
	(void)!pool_ledger_chore_done(ledger, &look, now).v;
	ck_assert_uint_eq(chores(ledger, chore), 0);
	release(ledger, &slot);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(backup_is_for_when_nobody_else_is_there_and_not_for_when_they_are_full)
{
	struct pool_server_terms terms[] = { terms_of("backup", 0), terms_of("proper", 1) };
	struct slot slots[3] = { { 0 } };

	terms[0].backup = true;
	struct pool_ledger *ledger = pool_of(terms, 2);

	ck_assert_int_eq(acquire(ledger, 1, &slots[0]), POOL_GRANTED);
	ck_assert_uint_eq(slots[0].server, 1);
	ck_assert_int_eq(acquire(ledger, 2, &slots[1]), POOL_FULL);
	ck_assert(pool_ledger_wait(ledger, session_id_make(0, 2)));
	ck_assert_uint_eq(pool_ledger_offer(ledger, now).v, 0); /* the backup's room is no room */
	ck_assert(pool_ledger_set_state(ledger, "proper", SERVER_MAINTENANCE, "x"));
	ck_assert_uint_eq(pool_ledger_offer(ledger, now).v, session_id_make(0, 2).v);
	ck_assert_int_eq(acquire(ledger, 2, &slots[1]), POOL_GRANTED);
	ck_assert_uint_eq(slots[1].server, 0);
	release(ledger, &slots[0]);
	release(ledger, &slots[1]);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(orders_go_through_a_reload_and_changed_words_are_orders)
{
	struct pool_server_terms terms[] = { terms_of("a", 0) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct pool_chore chore[8];

	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_MAINTENANCE, "by hand"));
	ck_assert_uint_eq(chores(ledger, chore), 0); /* left alone */
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_MAINTENANCE);
	ck_assert_str_eq(status_of(ledger, 0).reason, "by hand");
	terms[0].state = SERVER_DRAIN;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DRAIN);
	ck_assert_str_eq(status_of(ledger, 0).reason, "configured");
	ck_assert_uint_eq(chores(ledger, chore), 1); /* drained servers are checked */
	(void)verdict(ledger, chore, VERDICT_FAILED);
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_DRAIN);
	terms[0].state = SERVER_UP;
	ck_assert(pool_ledger_configure(ledger, BALANCE_FIRST, terms, 1, places));
	ck_assert_int_eq(status_of(ledger, 0).state, SERVER_UP);
	pool_ledger_free(&ledger);
}
END_TEST

START_TEST(slow_start_is_for_servers_that_were_away)
{
	struct pool_server_terms terms[] = { terms_of("a", 0) };

	terms[0].health.slow_start_ms = 3600000;
	struct pool_ledger *ledger = pool_of(terms, 1);

	ck_assert_uint_eq(status_of(ledger, 0).share, 100);
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_DRAIN, "x"));
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_UP, "x"));
	ck_assert_uint_eq(status_of(ledger, 0).share, 100);
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_MAINTENANCE, "x"));
	ck_assert(pool_ledger_set_state(ledger, "a", SERVER_UP, "x"));
	ck_assert_uint_eq(status_of(ledger, 0).share, 1);
	pool_ledger_free(&ledger);
}
END_TEST

/* Anybody does anything: sessions and what is reserved never exceed the limit, and all comes back. */
START_TEST(limit_holds_whatever_happens)
{
	enum { LIMIT = 5, SLOTS = 8 };
	const struct pool_server_terms terms[] = { warm_terms(LIMIT, 3) };
	struct pool_ledger *ledger = pool_of(terms, 1);
	struct slot slots[SLOTS] = { { 0 } };
	struct pool_chore open[8];
	size_t open_n = 0;

	srand(2);
	for (int i = 0; i < 100000; i++) {
		struct slot *slot = &slots[rand() % SLOTS];
		struct pool_server_status status;

		now += 300;
		if (slot->held)
			release(ledger, slot);
		else
			(void)acquire(ledger, (uint64_t)(slot - slots) + 1, slot);
		slot->warm = false;
		if (open_n < 4)
			open_n += pool_ledger_chores(ledger, now, &open[open_n], 4);
		if (open_n > 0 && rand() % 2 == 0) {
			const struct warm warm = { FD, now, 0 };
			bool taken = false;

			open_n--;
			if (rand() % 2 == 0)
				(void)!pool_ledger_warm_put(ledger, &open[open_n], &warm, now, &taken).v;
			if (!taken)
				(void)!pool_ledger_chore_done(ledger, &open[open_n], now).v;
		}
		status = status_of(ledger, 0);
		ck_assert_uint_le(status.sessions + status.reserved, LIMIT);
		ck_assert_uint_le(status.warm + open_n, status.reserved);
	}
	for (size_t i = 0; i < SLOTS; i++)
		release(ledger, &slots[i]);
	while (open_n > 0)
		(void)!pool_ledger_chore_done(ledger, &open[--open_n], now).v;

	struct warm warm[POOL_WARM_MAX];
	int64_t age_ms;

	for (size_t n = pool_ledger_warm_take(ledger, 0, open, warm, &age_ms); n > 0; n--)
		(void)!pool_ledger_chore_done(ledger, open, now).v;
	ck_assert_uint_eq(status_of(ledger, 0).reserved, 0);
	ck_assert_uint_eq(status_of(ledger, 0).sessions, 0);
	pool_ledger_free(&ledger);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_chores");
	TCase *tc = tcase_create("chores");
	SRunner *runner = srunner_create(suite);

	tcase_add_test(tc, check_is_one_at_a_time_and_in_its_time);
	tcase_add_test(tc, check_leaves_a_place_for_a_logon);
	tcase_add_test(tc, single_place_is_checked_while_it_is_free);
	tcase_add_test(tc, full_is_no_fault_while_some_are_ours);
	tcase_add_test(tc, warm_connections_go_to_logons_and_take_no_place_from_them);
	tcase_add_test(tc, warm_connections_are_looked_at_and_not_wanted_for_ever);
	tcase_add_test(tc, warm_connections_make_room_for_a_lower_limit);
	tcase_add_test(tc, warm_connections_do_not_move_with_the_server);
	tcase_add_test(tc, backup_is_for_when_nobody_else_is_there_and_not_for_when_they_are_full);
	tcase_add_test(tc, orders_go_through_a_reload_and_changed_words_are_orders);
	tcase_add_test(tc, slow_start_is_for_servers_that_were_away);
	tcase_add_test(tc, limit_holds_whatever_happens);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: ISC
/*
 * The pool ledger: places that follow a name. What is vacant or leaves gets no
 * logons, what is busy keeps its place, and a reload forgets nothing.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/pool_ledger.h"

#define PLACES 3

static struct pool_ledger *ledger;
static uint16_t places[POOL_SERVERS_MAX];
static struct slot slots[8];
static size_t slots_n;

static bool configure_as(uint64_t identity, bool service)
{
	struct pool_server_terms terms[PLACES];

	memset(terms, 0, sizeof(terms));
	for (size_t i = 0; i < PLACES; i++) {
		snprintf(terms[i].name, sizeof(terms[i].name), i == 0 ? "farm" : "farm/%zu", i + 1);
		terms[i].weight = 1;
		terms[i].follows = true;
		terms[i].leads = i == 0;
		terms[i].service = service;
		terms[i].identity = identity;
		terms[i].health = (struct health_terms){ .checked = true, .fall = 1, .rise = 1, .every_ms = 5000 };
	}
	return pool_ledger_configure(ledger, BALANCE_LEAST_SESSIONS, terms, PLACES, places);
}

static bool configure(uint64_t identity)
{
	return configure_as(identity, false);
}

static struct netaddr address(uint8_t last)
{
	struct netaddr out;

	memset(&out, 0, sizeof(out));
	out.in.sin_family = AF_INET;
	out.in.sin_addr.s_addr = htonl(0xc0000200u | last);
	netaddr_set_port(&out, 21);
	return out;
}

/* Up to two addresses; 0: none. */
static struct addresses_change follow(uint8_t first, uint8_t second)
{
	struct named_address now[2] = { { .address = address(first) }, { .address = address(second) } };

	return pool_ledger_follow(ledger, places, PLACES, now, second == 0 ? 1 : 2);
}

static struct slot *log_on(void)
{
	struct pool_ask ask = {
		.id = session_id_make(0, slots_n + 1), .places = places, .places_n = PLACES, .now_ms = sp_now_ms()
	};
	struct slot *slot = &slots[slots_n++];

	ck_assert_uint_lt(slots_n, 8);
	return pool_ledger_acquire(ledger, &ask, slot) == POOL_GRANTED ? slot : NULL;
}

static uint8_t host_of(const struct slot *slot)
{
	ck_assert_ptr_nonnull(slot);
	return (uint8_t)(ntohl(slot->address.in.sin_addr.s_addr) & 0xff);
}

static void release(struct slot *slot)
{
	(void)!pool_ledger_release(ledger, slot).v;
}

static struct pool_server_status status_of(size_t i)
{
	struct pool_server_status status[PLACES];

	ck_assert_uint_ge(pool_ledger_status(ledger, status, PLACES), PLACES);
	return status[i];
}

static void setup(void)
{
	memset(slots, 0, sizeof(slots));
	slots_n = 0;
	ledger = pool_ledger_new(BALANCE_LEAST_SESSIONS);
	ck_assert_ptr_nonnull(ledger);
	ck_assert(configure(1));
}

static void teardown(void)
{
	for (size_t i = 0; i < slots_n; i++)
		release(&slots[i]);
	pool_ledger_free(&ledger);
}

START_TEST(before_the_first_answer_the_name_itself_is_the_server)
{
	struct slot *slot = log_on();

	ck_assert_ptr_nonnull(slot);
	ck_assert_int_eq(slot->address.family, AF_UNSPEC);
	ck_assert_uint_eq(slot->place, places[0]);
	ck_assert(pool_ledger_is_there(ledger, places[0]));
	ck_assert(!pool_ledger_is_there(ledger, places[1]));
}
END_TEST

START_TEST(each_address_has_its_logons)
{
	ck_assert_uint_eq(follow(1, 2).came, 2);
	ck_assert_uint_eq(host_of(log_on()), 1);
	ck_assert_uint_eq(host_of(log_on()), 2);
	ck_assert(status_of(2).vacant);
}
END_TEST

START_TEST(one_that_is_gone_gets_nobody_and_keeps_who_is_there)
{
	struct slot *first;

	(void)follow(1, 2);
	first = log_on();
	ck_assert_uint_eq(host_of(first), 1);
	ck_assert_uint_eq(follow(2, 0).left, 1);
	ck_assert_uint_eq(host_of(log_on()), 2);
	ck_assert_uint_eq(host_of(log_on()), 2);
	ck_assert(status_of(0).leaving && !status_of(0).vacant);
	ck_assert_uint_eq(status_of(0).sessions, 1);
	release(first);
	ck_assert_uint_eq(follow(2, 3).came, 1);
	ck_assert(!status_of(0).leaving);
	ck_assert_uint_eq(host_of(log_on()), 3);
}
END_TEST

START_TEST(a_vacant_lead_is_no_server_once_there_were_answers)
{
	(void)follow(1, 2);
	(void)follow(2, 0);
	ck_assert(!pool_ledger_is_there(ledger, places[0]));
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(host_of(log_on()), 2);
}
END_TEST

START_TEST(of_a_new_address_nothing_is_known)
{
	struct slot *slot;

	(void)follow(1, 0);
	slot = log_on();
	pool_ledger_learn(ledger, slot, LESSON_NO_EPSV);
	ck_assert(pool_ledger_failed(ledger, slot, sp_now_ms(), "broken"));
	release(slot);
	ck_assert_int_eq(status_of(0).state, SERVER_DOWN);
	ck_assert_ptr_null(log_on());
	(void)follow(2, 0);
	ck_assert_int_eq(status_of(0).state, SERVER_UP);
	ck_assert_uint_eq(status_of(0).lessons, 0);
	ck_assert_uint_eq(host_of(log_on()), 2);
}
END_TEST

START_TEST(a_reload_keeps_the_addresses_unless_the_name_is_another)
{
	(void)follow(1, 2);
	ck_assert(configure(1));
	ck_assert_uint_eq(host_of(log_on()), 1);
	ck_assert_uint_eq(follow(1, 2).came, 0);
	ck_assert(configure(2));
	ck_assert_int_eq(log_on()->address.family, AF_UNSPEC);
}
END_TEST

START_TEST(orders_are_for_all_or_for_one)
{
	(void)follow(1, 2);
	ck_assert(pool_ledger_set_state(ledger, "farm", SERVER_DRAIN, "test"));
	ck_assert_ptr_null(log_on());
	ck_assert(pool_ledger_set_state(ledger, "farm/2", SERVER_UP, "test"));
	ck_assert_uint_eq(host_of(log_on()), 2);
	ck_assert(!pool_ledger_set_state(ledger, "far", SERVER_UP, "test"));
}
END_TEST

START_TEST(what_is_not_there_is_not_checked)
{
	struct pool_chore chores[PLACES];
	size_t n;

	(void)follow(1, 2);
	n = pool_ledger_chores(ledger, sp_now_ms(), chores, PLACES);
	ck_assert_uint_eq(n, 2);
	for (size_t i = 0; i < n; i++) {
		struct netaddr expected = address((uint8_t)(i + 1));

		ck_assert(netaddr_same_host(&chores[i].address, &expected));
		(void)!pool_ledger_chore_done(ledger, &chores[i], sp_now_ms()).v;
	}
}
END_TEST

static enum pool_answer ask_for_a_slot(struct slot *slot)
{
	struct pool_ask ask = {
		.id = session_id_make(0, 99), .places = places, .places_n = PLACES, .now_ms = sp_now_ms()
	};

	return pool_ledger_acquire(ledger, &ask, slot);
}

START_TEST(before_the_first_answer_for_a_service_logons_wait)
{
	struct slot slot = { 0 };

	ck_assert(configure_as(2, true));
	ck_assert(!pool_ledger_is_there(ledger, places[0]));
	ck_assert_int_eq(ask_for_a_slot(&slot), POOL_FULL);
	(void)pool_ledger_follow_failed(ledger, places[0]);
	ck_assert_int_eq(ask_for_a_slot(&slot), POOL_NONE);
	(void)follow(1, 0);
	ck_assert_uint_eq(host_of(log_on()), 1);
}
END_TEST

START_TEST(a_service_that_is_not_offered_has_no_server)
{
	struct slot slot = { 0 };

	ck_assert(configure_as(2, true));
	(void)follow(1, 0);
	ck_assert_uint_eq(pool_ledger_follow(ledger, places, PLACES, NULL, 0).left, 1);
	ck_assert_int_eq(ask_for_a_slot(&slot), POOL_NONE);
}
END_TEST

START_TEST(weight_and_backup_are_those_of_the_address)
{
	struct named_address now[2] = { { address(1), 1000, false }, { address(2), 3, true } };

	(void)pool_ledger_follow(ledger, places, PLACES, now, 2);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(host_of(log_on()), 1);
	ck_assert_uint_eq(status_of(0).terms.weight, 1000);
	ck_assert(status_of(1).terms.weight == 3 && status_of(1).terms.backup);
	ck_assert(pool_ledger_set_state(ledger, "farm", SERVER_DRAIN, "test"));
	ck_assert(pool_ledger_set_state(ledger, "farm/2", SERVER_UP, "test"));
	ck_assert_uint_eq(host_of(log_on()), 2);
	(void)follow(1, 2);
	ck_assert(status_of(1).terms.weight == 1 && !status_of(1).terms.backup);
}
END_TEST

START_TEST(failures_are_counted_until_an_answer)
{
	ck_assert_uint_eq(pool_ledger_follow_failed(ledger, places[0]), 1);
	ck_assert_uint_eq(pool_ledger_follow_failed(ledger, places[0]), 2);
	(void)follow(1, 0);
	ck_assert_uint_eq(pool_ledger_follow_failed(ledger, places[0]), 1);
	ck_assert_uint_eq(status_of(0).lookups_failed, 3);
	ck_assert_uint_eq(host_of(log_on()), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_follow");
	TCase *tests = tcase_create("pool_follow");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, before_the_first_answer_the_name_itself_is_the_server);
	tcase_add_test(tests, each_address_has_its_logons);
	tcase_add_test(tests, one_that_is_gone_gets_nobody_and_keeps_who_is_there);
	tcase_add_test(tests, a_vacant_lead_is_no_server_once_there_were_answers);
	tcase_add_test(tests, of_a_new_address_nothing_is_known);
	tcase_add_test(tests, a_reload_keeps_the_addresses_unless_the_name_is_another);
	tcase_add_test(tests, orders_are_for_all_or_for_one);
	tcase_add_test(tests, what_is_not_there_is_not_checked);
	tcase_add_test(tests, before_the_first_answer_for_a_service_logons_wait);
	tcase_add_test(tests, a_service_that_is_not_offered_has_no_server);
	tcase_add_test(tests, weight_and_backup_are_those_of_the_address);
	tcase_add_test(tests, failures_are_counted_until_an_answer);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

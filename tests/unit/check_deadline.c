// SPDX-License-Identifier: ISC
/*
 * The clocks: each of them runs when it should, stops when it should, and is
 * the one named when it is first.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/deadline.h"

#define T0 1000000 /* accepted */
#define T1 1005000 /* 230 */
#define T2 1100000 /* later */

/* Apart from one another, so that a wrong clock gives a wrong time. */
static const struct timeouts all_on = {
	.login_timeout = 60001,
	.command_timeout = 30002,
	.tls_timeout = 15003,
	.idle_timeout = 300004,
	.no_transfer_timeout = 900005,
	.data_accept_timeout = 60006,
	.data_connect_timeout = 15007,
	.stall_timeout = 120008,
	.final_reply_timeout = 120009,
	.reply_timeout = 110010,
	.connect_timeout = 5011,
	.session_timeout = 7200012,
	.close_timeout = 13,
};

// clang-format off
static const struct {
	const char *what;
	struct clock_facts facts;
	enum clock_id clock;
	int64_t at_ms;
} cases[] = {
	{ "nothing but a connection: login",
	  { .accepted_ms = T0, .last_activity_ms = T2 },
	  CLOCK_LOGIN, T0 + 60001 },
	{ "idle does not run before logon, and activity does not move login",
	  { .accepted_ms = T0, .last_activity_ms = T0 },
	  CLOCK_LOGIN, T0 + 60001 },
	{ "no_transfer and session do not run before logon",
	  { .accepted_ms = T0, .last_activity_ms = T0, .last_transfer_ms = T0 },
	  CLOCK_LOGIN, T0 + 60001 },
	{ "a command line drips in",
	  { .accepted_ms = T0, .last_activity_ms = T0, .line_started_ms = T0 + 10 },
	  CLOCK_COMMAND, T0 + 10 + 30002 },
	{ "a command line that would end after login",
	  { .accepted_ms = T0, .last_activity_ms = T0, .line_started_ms = T0 + 40000 },
	  CLOCK_LOGIN, T0 + 60001 },
	{ "a handshake",
	  { .accepted_ms = T0, .last_activity_ms = T0, .tls_started_ms = T0 + 5 },
	  CLOCK_TLS, T0 + 5 + 15003 },
	{ "a handshake on a data connection, which does not end the clock of the transfer's dial",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2,
	    .data_securing_ms = T2, .data_dialled_ms = T2 + 20000, .transfer_running = true },
	  CLOCK_TLS, T2 + 15003 },
	{ "a server is dialled",
	  { .accepted_ms = T0, .last_activity_ms = T0, .connecting_ms = T0 + 7,
	    .command_running = true },
	  CLOCK_CONNECT, T0 + 7 + 5011 },
	{ "queued for a server: only login runs",
	  { .accepted_ms = T0, .last_activity_ms = T0, .queued_ms = T0 + 7, .line_started_ms = T0,
	    .tls_started_ms = T0, .connecting_ms = T0, .command_sent_ms = T0,
	    .command_running = true },
	  CLOCK_LOGIN, T0 + 60001 },
	{ "logged on: idle from the last activity",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2 },
	  CLOCK_IDLE, T2 + 300004 },
	{ "a command runs: idle does not, no_transfer does",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .command_running = true },
	  CLOCK_NO_TRANSFER, T1 + 900005 },
	{ "a server owes a reply",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2,
	    .command_sent_ms = T2, .command_running = true },
	  CLOCK_REPLY, T2 + 110010 },
	{ "a server owes a slow reply",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2,
	    .slow_command_ms = T2, .command_running = true },
	  CLOCK_FINAL_REPLY, T2 + 120009 },
	{ "a passive listener waits, no command yet",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2,
	    .data_offered_ms = T2 },
	  CLOCK_DATA_ACCEPT, T2 + 60006 },
	{ "a data connection is dialled",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T2,
	    .data_offered_ms = T2, .data_dialled_ms = T2, .transfer_running = true,
	    .command_running = true },
	  CLOCK_DATA_CONNECT, T2 + 15007 },
	{ "a relay runs: neither idle nor no_transfer nor session",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .last_byte_ms = T2 + 9000000, .transfer_running = true, .command_running = true },
	  CLOCK_STALL, T2 + 9000000 + 120008 },
	{ "the data are done",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .data_done_ms = T2, .transfer_running = true, .command_running = true },
	  CLOCK_FINAL_REPLY, T2 + 120009 },
	{ "of two final replies the earlier one counts",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .data_done_ms = T2 + 50, .slow_command_ms = T2, .transfer_running = true },
	  CLOCK_FINAL_REPLY, T2 + 120009 },
	{ "a transfer during which nothing is measured",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .transfer_running = true, .command_running = true },
	  CLOCK_NONE, CLOCK_NEVER },
	{ "no_transfer counts from 230 when no transfer is set",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_activity_ms = T1 + 5000000 },
	  CLOCK_NO_TRANSFER, T1 + 900005 },
	{ "no_transfer counts from the last transfer",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T2,
	    .last_activity_ms = T1 + 5000000 },
	  CLOCK_NO_TRANSFER, T2 + 900005 },
	{ "session is absolute",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1 + 7100000,
	    .last_activity_ms = T1 + 7200000 },
	  CLOCK_SESSION, T1 + 7200012 },
	{ "session runs while a command does",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1 + 7100000,
	    .last_activity_ms = T1 + 7200000, .command_running = true },
	  CLOCK_SESSION, T1 + 7200012 },
	{ "a session_timeout that passed in a transfer is due at its end",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1 + 9999999,
	    .last_activity_ms = T1 + 9999999 },
	  CLOCK_SESSION, T1 + 7200012 },
	{ "a passive listener while a session is idle: whichever is first",
	  { .accepted_ms = T0, .logged_on_ms = T1, .last_transfer_ms = T1, .last_activity_ms = T1,
	    .data_offered_ms = T1 + 299999 },
	  CLOCK_IDLE, T1 + 300004 },
};
// clang-format on

START_TEST(the_first_clock_is_found)
{
	struct deadline d = deadline_next(&cases[_i].facts, &all_on);

	ck_assert_msg(d.clock == cases[_i].clock, "%s: %s", cases[_i].what, clock_name(d.clock));
	ck_assert_msg(d.at_ms == cases[_i].at_ms, "%s: off by %lld", cases[_i].what,
	              (long long)(d.at_ms - cases[_i].at_ms));
}
END_TEST

/* The facts that make each clock run, with every other one later or off. */
static struct clock_facts facts_for(enum clock_id clock)
{
	struct clock_facts f = { .accepted_ms = T0, .last_activity_ms = T0 };

	if (clock == CLOCK_LOGIN)
		return f;
	f.logged_on_ms = f.last_transfer_ms = T0;
	f.line_started_ms = clock == CLOCK_COMMAND ? T0 : 0;
	f.tls_started_ms = clock == CLOCK_TLS ? T0 : 0;
	f.data_offered_ms = clock == CLOCK_DATA_ACCEPT ? T0 : 0;
	f.data_dialled_ms = clock == CLOCK_DATA_CONNECT ? T0 : 0;
	f.last_byte_ms = clock == CLOCK_STALL ? T0 : 0;
	f.data_done_ms = clock == CLOCK_FINAL_REPLY ? T0 : 0;
	f.command_sent_ms = clock == CLOCK_REPLY ? T0 : 0;
	f.connecting_ms = clock == CLOCK_CONNECT ? T0 : 0;
	return f;
}

static int64_t *timeout_of(struct timeouts *t, enum clock_id clock)
{
	int64_t *const keys[] = {
#define CLOCK(id, key, default_ms, may_be_off, text) [CLOCK_##id] = &t->key,
#include "sallyport/tbl/clocks.def"
#undef CLOCK
	};

	return keys[clock];
}

START_TEST(each_clock_expires_alone_and_not_when_off)
{
	enum clock_id clock = (enum clock_id)_i;
	struct clock_facts facts = facts_for(clock);
	struct timeouts t = { 0 };
	struct deadline d;

	*timeout_of(&t, clock) = 4711;
	d = deadline_next(&facts, &t);
	if (clock == CLOCK_CLOSE) {
		ck_assert_int_eq(d.clock, CLOCK_NONE); /* belongs to farewells */
		return;
	}
	ck_assert_msg(d.clock == clock, "%s, not %s", clock_name(d.clock), clock_name(clock));
	ck_assert_int_eq(d.at_ms, T0 + 4711);

	*timeout_of(&t, clock) = 0;
	d = deadline_next(&facts, &t);
	ck_assert_int_eq(d.clock, CLOCK_NONE);
	ck_assert(d.at_ms == CLOCK_NEVER);

	*timeout_of(&t, clock) = INT64_MAX; /* does not wrap into the past */
	d = deadline_next(&facts, &t);
	ck_assert_int_eq(d.clock, CLOCK_NONE);
	ck_assert(d.at_ms == CLOCK_NEVER);
}
END_TEST

/* Every clock at once, all with the same due time: as the first stops, the next is named. */
START_TEST(ties_go_to_the_first_row)
{
	struct clock_facts f = {
		.accepted_ms = T0,
		.logged_on_ms = T0,
		.last_activity_ms = T0,
		.last_transfer_ms = T0,
		.line_started_ms = T0,
		.tls_started_ms = T0,
		.connecting_ms = T0,
		.command_sent_ms = T0,
		.data_offered_ms = T0,
		.data_dialled_ms = T0,
		.last_byte_ms = T0,
		.data_done_ms = T0,
	};
	struct timeouts t;

	for (int c = 0; c < CLOCK_COUNT; c++)
		*timeout_of(&t, (enum clock_id)c) = 1000;
	for (int c = CLOCK_COMMAND; c < CLOCK_CLOSE; c++) {
		struct deadline d = deadline_next(&f, &t);

		ck_assert_msg((int)d.clock == c, "%s", clock_name(d.clock));
		ck_assert_int_eq(d.at_ms, T0 + 1000);
		*timeout_of(&t, (enum clock_id)c) = 0;
	}
	f.logged_on_ms = 0;
	for (int c = 0; c < CLOCK_COUNT; c++)
		*timeout_of(&t, (enum clock_id)c) = 1000;
	ck_assert_int_eq(deadline_next(&f, &t).clock, CLOCK_LOGIN);
}
END_TEST

/* Whatever the facts: the answer is one of the clocks that may run, and no other is earlier. */
START_TEST(no_clock_is_missed)
{
	uint64_t seed = 88172645463325252ULL;

	for (int round = 0; round < 200000; round++) {
		int64_t v[14];
		struct clock_facts f;
		struct deadline d;
		int64_t first = CLOCK_NEVER;

		for (size_t i = 0; i < SP_ARRAY_LEN(v); i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			v[i] = (seed & 3) != 0 ? 0 : T0 + (int64_t)(seed >> 40) % 1000000;
		}
		f = (struct clock_facts){
			.accepted_ms = T0,
			.logged_on_ms = v[0],
			.last_activity_ms = T0 + v[1] / 9,
			.last_transfer_ms = v[0] != 0 ? v[0] + 77 : 0,
			.line_started_ms = v[2],
			.tls_started_ms = v[3],
			.connecting_ms = v[4],
			.command_sent_ms = v[5],
			.slow_command_ms = v[6],
			.queued_ms = v[0] != 0 ? 0 : v[7],
			.data_offered_ms = v[8],
			.data_dialled_ms = v[9],
			.last_byte_ms = v[10],
			.data_done_ms = v[11],
			.transfer_running = v[12] != 0,
			.command_running = v[12] != 0 || v[13] != 0,
		};
		d = deadline_next(&f, &all_on);
#define SEEN(runs, start, key)                                                                     \
	if ((runs) && (start) != 0 && (start) + all_on.key < first)                                \
	first = (start) + all_on.key
		SEEN(f.logged_on_ms == 0, f.accepted_ms, login_timeout);
		if (f.queued_ms == 0) {
			bool rest = f.logged_on_ms != 0 && !f.transfer_running;

			SEEN(true, f.line_started_ms, command_timeout);
			SEEN(true, f.tls_started_ms, tls_timeout);
			SEEN(rest && !f.command_running, f.last_activity_ms, idle_timeout);
			SEEN(rest, f.last_transfer_ms, no_transfer_timeout);
			SEEN(true, f.data_offered_ms, data_accept_timeout);
			SEEN(true, f.data_dialled_ms, data_connect_timeout);
			SEEN(true, f.last_byte_ms, stall_timeout);
			SEEN(true, f.data_done_ms, final_reply_timeout);
			SEEN(true, f.slow_command_ms, final_reply_timeout);
			SEEN(true, f.command_sent_ms, reply_timeout);
			SEEN(true, f.connecting_ms, connect_timeout);
			SEEN(rest, f.logged_on_ms, session_timeout);
		}
#undef SEEN
		if (d.at_ms != first)
			ck_abort_msg("round %d: %s", round, clock_name(d.clock));
		if ((d.clock == CLOCK_NONE) != (first == CLOCK_NEVER))
			ck_abort_msg("round %d: no clock", round);
	}
}
END_TEST

START_TEST(defaults_are_those_of_the_table)
{
	struct timeouts t = timeouts_default();

	ck_assert_int_eq(t.login_timeout, 60000);
	ck_assert_int_eq(t.command_timeout, 30000);
	ck_assert_int_eq(t.tls_timeout, 15000);
	ck_assert_int_eq(t.idle_timeout, 300000);
	ck_assert_int_eq(t.no_transfer_timeout, 0);
	ck_assert_int_eq(t.data_accept_timeout, 60000);
	ck_assert_int_eq(t.data_connect_timeout, 15000);
	ck_assert_int_eq(t.stall_timeout, 120000);
	ck_assert_int_eq(t.final_reply_timeout, 120000);
	ck_assert_int_eq(t.reply_timeout, 120000);
	ck_assert_int_eq(t.connect_timeout, 5000);
	ck_assert_int_eq(t.session_timeout, 0);
	ck_assert_int_eq(t.close_timeout, 2000);
}
END_TEST

START_TEST(clocks_are_named_as_their_keys)
{
	ck_assert_str_eq(clock_name(CLOCK_LOGIN), "login_timeout");
	ck_assert_str_eq(clock_name(CLOCK_IDLE), "idle_timeout");
	ck_assert_str_eq(clock_name(CLOCK_CLOSE), "close_timeout");
	ck_assert_str_eq(clock_name(CLOCK_NONE), "none");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("deadline");
	TCase *tc = tcase_create("deadline");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, the_first_clock_is_found, 0, SP_ARRAY_LEN(cases));
	tcase_add_loop_test(tc, each_clock_expires_alone_and_not_when_off, 0, CLOCK_COUNT);
	tcase_add_test(tc, ties_go_to_the_first_row);
	tcase_add_test(tc, no_clock_is_missed);
	tcase_add_test(tc, defaults_are_those_of_the_table);
	tcase_add_test(tc, clocks_are_named_as_their_keys);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// SPDX-License-Identifier: ISC
/*
 * Balancing: exact sequences where they are defined, simulated populations
 * where they are not. All random numbers come from fixed seeds.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/balance.h"

#define LOGONS 3000

/* For hot loops: ck_assert() costs a write to a file even when it holds. */
#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("%s", #condition);                                            \
	} while (0)

static uint64_t seed;

/* Before each test, so that none depends on those before it. */
static void reseed(void)
{
	seed = 88172645463325252ULL;
}

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}

/* Servers "s0", "s1", … with these weights, all well and empty. */
static size_t make_rows(struct balance_row rows[], const uint32_t weights[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char name[24];

		snprintf(name, sizeof(name), "s%zu", i);
		rows[i] = (struct balance_row){ .weight = weights[i],
			                        .eligible = true,
			                        .name_hash = balance_hash(span_of(name)) };
	}
	return n;
}

static struct balance_ask ask_of_user(unsigned user)
{
	char name[24];

	snprintf(name, sizeof(name), "user-%u", user);
	return (struct balance_ask){
		.hash_user = balance_hash(span_of(name)),
		.hash_source = balance_hash(span_from(name + 2, strlen(name) - 2)),
		.random = next_random(),
	};
}

/* Within 2 % of all logons of the share that the weight promises. */
static void assert_shares(const unsigned got[], const uint32_t weights[], size_t n, unsigned logons)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += weights[i];
	for (size_t i = 0; i < n; i++) {
		double share = (double)weights[i] / (double)total;
		double is = (double)got[i] / logons;

		ck_assert_msg(is > share - 0.02 && is < share + 0.02, "server %zu: %.4f for %.4f",
		              i, is, share);
	}
}

// clang-format off
static const struct {
	uint32_t weights[6];
	size_t n;
} pools[] = {
	{ { 1 }, 1 },
	{ { 1, 1, 1 }, 3 },
	{ { 2, 1 }, 2 },
	{ { 5, 1, 1 }, 3 },
	{ { 100, 50, 25, 25 }, 4 },
	{ { 1000000, 500000, 250000 }, 3 },
	{ { 7, 3, 2, 2, 1, 1 }, 6 },
};
// clang-format on

/* --- round robin ------------------------------------------------------------- */

START_TEST(round_robin_spreads_a_heavy_server)
{
	static const uint32_t weights[] = { 5, 1, 1 };
	struct balance_row rows[3];
	struct balance_ask ask = { 0 };
	char order[15] = "";

	make_rows(rows, weights, 3);
	for (size_t i = 0; i < 14; i++)
		order[i] = (char)('a' + balance_choose(BALANCE_ROUND_ROBIN, rows, 3, &ask));
	ck_assert_str_eq(order, "aabacaaaabacaa");
}
END_TEST

/* Not only in the end: at no moment is a server more than one logon per other server off its share.
 */
START_TEST(round_robin_is_exact_all_the_way)
{
	struct balance_row rows[6];
	struct balance_ask ask = { 0 };
	unsigned got[6] = { 0 };
	size_t n = make_rows(rows, pools[_i].weights, pools[_i].n);
	double total = 0;

	for (size_t i = 0; i < n; i++)
		total += pools[_i].weights[i];
	for (unsigned k = 1; k <= LOGONS; k++) {
		int chosen = balance_choose(BALANCE_ROUND_ROBIN, rows, n, &ask);

		REQUIRE(chosen >= 0);
		got[chosen]++;
		for (size_t i = 0; i < n; i++) {
			double off = got[i] - k * pools[_i].weights[i] / total;

			ck_assert_msg(off < 2 && off > -2, "server %zu is %f off after %u", i, off,
			              k);
		}
	}
	assert_shares(got, pools[_i].weights, n, LOGONS);
}
END_TEST

START_TEST(round_robin_passes_over_who_is_away)
{
	static const uint32_t weights[] = { 1, 1, 1 };
	struct balance_row rows[3];
	struct balance_ask ask = { 0 };
	unsigned got[3] = { 0 };

	make_rows(rows, weights, 3);
	rows[1].eligible = false;
	for (int i = 0; i < 100; i++)
		got[balance_choose(BALANCE_ROUND_ROBIN, rows, 3, &ask)]++;
	ck_assert_uint_eq(got[0], 50);
	ck_assert_uint_eq(got[1], 0);
	ck_assert_uint_eq(got[2], 50);
	/* back again: no burst to make up for what it missed */
	rows[1].eligible = true;
	memset(got, 0, sizeof(got));
	for (int i = 0; i < 9; i++)
		got[balance_choose(BALANCE_ROUND_ROBIN, rows, 3, &ask)]++;
	ck_assert_uint_eq(got[0], 3);
	ck_assert_uint_eq(got[1], 3);
	ck_assert_uint_eq(got[2], 3);
}
END_TEST

/* --- every algorithm that follows weights ---------------------------------------- */

/*
 * One logon after the other, each ended before the next (a quiet day): shares
 * must follow the weights although all servers look alike.
 */
START_TEST(quiet_days_follow_the_weights)
{
	static const struct {
		enum balance_algorithm algorithm;
		unsigned logons; /* those that go by chance need more for the same certainty */
	} algorithms[] = {
		{ BALANCE_ROUND_ROBIN, LOGONS },      { BALANCE_LEAST_SESSIONS, LOGONS },
		{ BALANCE_RANDOM, 10 * LOGONS },      { BALANCE_HASH_USER, 10 * LOGONS },
		{ BALANCE_HASH_SOURCE, 10 * LOGONS },
	};

	for (size_t a = 0; a < SP_ARRAY_LEN(algorithms); a++) {
		struct balance_row rows[6];
		unsigned got[6] = { 0 };
		size_t n = make_rows(rows, pools[_i].weights, pools[_i].n);

		for (unsigned user = 0; user < algorithms[a].logons; user++) {
			struct balance_ask ask = ask_of_user(user);
			int chosen = balance_choose(algorithms[a].algorithm, rows, n, &ask);

			REQUIRE(chosen >= 0);
			got[chosen]++;
		}
		assert_shares(got, pools[_i].weights, n, algorithms[a].logons);
	}
}
END_TEST

enum { ALIVE = 300 };

/*
 * A population of 300 sessions, each logon ending an older one: that which is
 * there longest, or any. Counts the logons of each server into got[].
 */
static void live(enum balance_algorithm algorithm, struct balance_row rows[], size_t n,
                 bool end_any, unsigned got[])
{
	int alive[ALIVE];

	for (unsigned k = 0; k < LOGONS; k++) {
		struct balance_ask ask = ask_of_user(k);
		size_t place = k < ALIVE || !end_any ? k % ALIVE : next_random() % ALIVE;
		int chosen;

		if (k >= ALIVE)
			rows[alive[place]].sessions--;
		chosen = balance_choose(algorithm, rows, n, &ask);
		REQUIRE(chosen >= 0);
		alive[place] = chosen;
		rows[chosen].sessions++;
		got[chosen]++;
	}
}

static void assert_populations(const struct balance_row rows[], size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += rows[i].weight;
	for (size_t i = 0; i < n; i++) {
		double due = (double)ALIVE * (double)rows[i].weight / (double)total;

		ck_assert_msg(rows[i].sessions > due - 3 && rows[i].sessions < due + 3,
		              "server %zu: %u sessions for %.1f", i, rows[i].sessions, due);
	}
}

static const enum balance_algorithm steady[] = {
	BALANCE_LEAST_SESSIONS,
	BALANCE_LEAST_RESPONSE_TIME,
	BALANCE_ROUND_ROBIN,
};

/* Where sessions are of one length, logons are shared by weight, and so is the population. */
START_TEST(busy_days_follow_the_weights)
{
	for (size_t a = 0; a < SP_ARRAY_LEN(steady); a++) {
		struct balance_row rows[6];
		unsigned got[6] = { 0 };
		size_t n = make_rows(rows, pools[_i].weights, pools[_i].n);

		for (size_t i = 0; i < n; i++)
			rows[i].response_us = 1500;
		live(steady[a], rows, n, false, got);
		assert_shares(got, pools[_i].weights, n, LOGONS);
		assert_populations(rows, n);
	}
}
END_TEST

/* Where they are of any length, the algorithms that look at it keep the population by weight. */
START_TEST(uneven_sessions_leave_an_even_population)
{
	for (size_t a = 0; a < SP_ARRAY_LEN(steady) - 1; a++) {
		struct balance_row rows[6];
		unsigned got[6] = { 0 };
		size_t n = make_rows(rows, pools[_i].weights, pools[_i].n);

		for (size_t i = 0; i < n; i++)
			rows[i].response_us = 1500;
		live(steady[a], rows, n, true, got);
		assert_populations(rows, n);
	}
}
END_TEST

/* --- least sessions ----------------------------------------------------------------- */

// clang-format off
static const struct {
	struct {
		uint32_t weight;
		uint32_t sessions;
	} servers[3];
	int chosen;
} least[] = {
	{ { { 1, 3 }, { 1, 2 }, { 1, 4 } }, 1 },
	{ { { 1, 3 }, { 10, 20 }, { 1, 4 } }, 1 },
	{ { { 2, 4 }, { 1, 2 }, { 3, 5 } }, 2 },
	{ { { 1, 0 }, { 1000000, 1 }, { 1, 1 } }, 0 },
	{ { { 1000000, UINT32_MAX }, { 999999, UINT32_MAX }, { 1, UINT32_MAX } }, 0 },
	/* weights end at the maximum */
	{ { { 2000000000, 1000001 }, { 1000000, 1000000 }, { 1, 2 } }, 1 },
};
// clang-format on

START_TEST(least_sessions_weighs)
{
	struct balance_row rows[3];
	struct balance_ask ask = { 0 };

	for (size_t i = 0; i < 3; i++)
		rows[i] = (struct balance_row){ .weight = least[_i].servers[i].weight,
			                        .sessions = least[_i].servers[i].sessions,
			                        .eligible = true };
	ck_assert_int_eq(balance_choose(BALANCE_LEAST_SESSIONS, rows, 3, &ask), least[_i].chosen);
}
END_TEST

/* --- random ---------------------------------------------------------------------------- */

/* Of 20 servers the fullest has hardly more than the mean; one choice would be off by dozens. */
START_TEST(two_choices_are_nearly_even)
{
	uint32_t weights[20];
	struct balance_row rows[20];
	uint32_t most = 0, fewest = UINT32_MAX;

	for (size_t i = 0; i < 20; i++)
		weights[i] = 3;
	make_rows(rows, weights, 20);
	for (unsigned k = 0; k < 20 * 500; k++) {
		struct balance_ask ask = ask_of_user(k);

		rows[balance_choose(BALANCE_RANDOM, rows, 20, &ask)].sessions++;
	}
	for (size_t i = 0; i < 20; i++) {
		most = rows[i].sessions > most ? rows[i].sessions : most;
		fewest = rows[i].sessions < fewest ? rows[i].sessions : fewest;
	}
	ck_assert_uint_le(most, 505);
	ck_assert_uint_ge(fewest, 490);
}
END_TEST

/* The two are never the same one: of two servers the less loaded is always found. */
START_TEST(two_choices_are_two_servers)
{
	static const uint32_t weights[] = { 1000000, 1 };
	struct balance_row rows[2];

	make_rows(rows, weights, 2);
	rows[0].sessions = 2000000;
	rows[1].sessions = 1;
	for (unsigned k = 0; k < 1000; k++) {
		struct balance_ask ask = ask_of_user(k);

		REQUIRE(balance_choose(BALANCE_RANDOM, rows, 2, &ask) == 1);
	}
}
END_TEST

START_TEST(random_takes_any_number)
{
	static const uint32_t weights[] = { 1000000, 1, 1000000 };
	static const uint64_t numbers[] = { 0,
		                            1,
		                            UINT32_MAX,
		                            (uint64_t)UINT32_MAX << 32,
		                            UINT64_MAX,
		                            UINT64_C(1) << 63,
		                            UINT64_C(0x80000000ffffffff) };
	struct balance_row rows[3];

	make_rows(rows, weights, 3);
	for (size_t i = 0; i < SP_ARRAY_LEN(numbers); i++) {
		for (unsigned down = 0; down < 7; down++) {
			struct balance_ask ask = { .random = numbers[i], .tried = down };
			int chosen = balance_choose(BALANCE_RANDOM, rows, 3, &ask);

			REQUIRE(chosen >= 0);
			ck_assert_int_lt(chosen, 3);
			ck_assert((down >> chosen & 1) == 0);
		}
	}
}
END_TEST

/* --- first ------------------------------------------------------------------------------- */

START_TEST(first_fills_up)
{
	static const uint32_t weights[] = { 1, 9, 1 };
	struct balance_row rows[3];
	struct balance_ask ask = { 0 };

	make_rows(rows, weights, 3);
	rows[0].max_sessions = 2;
	rows[1].max_sessions = 1;
	for (size_t i = 0; i < 5; i++) {
		static const int order[] = { 0, 0, 1, 2, 2 };
		int chosen = balance_choose(BALANCE_FIRST, rows, 3, &ask);

		ck_assert_int_eq(chosen, order[i]);
		rows[chosen].sessions++;
	}
	rows[0].sessions--;
	ck_assert_int_eq(balance_choose(BALANCE_FIRST, rows, 3, &ask), 0);
}
END_TEST

/* --- hashes -------------------------------------------------------------------------------- */

static int hashed(struct balance_row rows[], size_t n, unsigned user)
{
	struct balance_ask ask = ask_of_user(user);

	return balance_choose(BALANCE_HASH_USER, rows, n, &ask);
}

START_TEST(a_hash_is_faithful)
{
	static const uint32_t weights[] = { 3, 2, 1, 1 };
	struct balance_row rows[4], shuffled[4];

	make_rows(rows, weights, 4);
	for (size_t i = 0; i < 4; i++)
		shuffled[i] = rows[3 - i];
	for (unsigned user = 0; user < LOGONS; user++) {
		int chosen = hashed(rows, 4, user);

		rows[user % 4].sessions = user;
		rows[user % 4].current = user;
		REQUIRE(hashed(rows, 4, user) == chosen);
		/* by name, not by place in the configuration */
		REQUIRE(hashed(shuffled, 4, user) == 3 - chosen);
	}
}
END_TEST

START_TEST(user_and_source_are_hashed_apart)
{
	static const uint32_t weights[] = { 1, 1 };
	struct balance_row rows[2];
	unsigned differ = 0;

	make_rows(rows, weights, 2);
	for (unsigned i = 0; i < 1000; i++) {
		struct balance_ask ask = ask_of_user(i);
		int by_user = balance_choose(BALANCE_HASH_USER, rows, 2, &ask);
		int by_source;

		ask.hash_user = next_random();
		by_source = balance_choose(BALANCE_HASH_SOURCE, rows, 2, &ask);
		ask.hash_source = ask.hash_user;
		ask.hash_user = next_random();
		differ += by_user != by_source;
		ck_assert_int_ge(by_source, 0);
	}
	ck_assert_uint_gt(differ, 400);
	ck_assert_uint_lt(differ, 600);
}
END_TEST

/* A server goes: its users move, spread over the rest by weight; nobody else moves. It comes back:
 * as before. */
START_TEST(a_server_that_goes_moves_only_its_own_users)
{
	static const uint32_t weights[] = { 2, 1, 1, 3, 1 };
	struct balance_row rows[5];
	static int before[10000];
	unsigned heirs[5] = { 0 };
	unsigned moved = 0;

	make_rows(rows, weights, 5);
	for (unsigned user = 0; user < 10000; user++)
		before[user] = hashed(rows, 5, user);
	rows[0].eligible = false;
	for (unsigned user = 0; user < 10000; user++) {
		int now = hashed(rows, 5, user);

		REQUIRE(now != 0);
		if (before[user] != 0) {
			REQUIRE(now == before[user]);
			continue;
		}
		moved++;
		heirs[now]++;
	}
	ck_assert_uint_gt(moved, 2300); /* 2/8 of them */
	ck_assert_uint_lt(moved, 2700);
	for (size_t i = 1; i < 5; i++) {
		double due = moved * weights[i] / 6.0;

		ck_assert_msg(heirs[i] > due * 0.85 && heirs[i] < due * 1.15, "%u for %.0f",
		              heirs[i], due);
	}
	rows[0].eligible = true;
	for (unsigned user = 0; user < 10000; user++)
		REQUIRE(hashed(rows, 5, user) == before[user]);
}
END_TEST

/* A server comes, and a weight grows: who moves, moves to that server, and no more than its share.
 */
START_TEST(a_server_that_gains_takes_only_its_share)
{
	static const uint32_t weights[] = { 2, 1, 1, 2 };
	struct balance_row rows[4];
	static int before[10000];
	unsigned moved = 0;

	make_rows(rows, weights, 4);
	for (unsigned user = 0; user < 10000; user++)
		before[user] = hashed(rows, 3, user);
	for (unsigned user = 0; user < 10000; user++) {
		int now = hashed(rows, 4, user);

		if (now == before[user])
			continue;
		REQUIRE(now == 3);
		moved++;
		before[user] = now;
	}
	ck_assert_uint_gt(moved, 3133); /* 2/6 */
	ck_assert_uint_lt(moved, 3533);

	moved = 0;
	rows[1].weight = 2;
	for (unsigned user = 0; user < 10000; user++) {
		int now = hashed(rows, 4, user);

		if (now == before[user])
			continue;
		REQUIRE(now == 1);
		moved++;
	}
	ck_assert_uint_gt(moved, 1000); /* from 1/6 to 2/7: 11.9 % */
	ck_assert_uint_lt(moved, 1400);
}
END_TEST

START_TEST(a_full_server_lends_its_users_to_the_next)
{
	static const uint32_t weights[] = { 1, 1, 1 };
	struct balance_row rows[3];

	make_rows(rows, weights, 3);
	for (unsigned user = 0; user < 200; user++) {
		int home = hashed(rows, 3, user);
		int next;

		rows[home].max_sessions = rows[home].sessions = 5;
		next = hashed(rows, 3, user);
		ck_assert_int_ge(next, 0);
		ck_assert_int_ne(next, home);
		rows[home].sessions = 4;
		ck_assert_int_eq(hashed(rows, 3, user), home);
		rows[home].max_sessions = rows[home].sessions = 0;
		/* the same next one as when it is down */
		rows[home].eligible = false;
		ck_assert_int_eq(hashed(rows, 3, user), next);
		rows[home].eligible = true;
	}
}
END_TEST

/* Known values: another build, machine or version must not send users elsewhere. */
START_TEST(hashes_never_change)
{
	static const uint32_t weights[] = { 1, 2, 3 };
	struct balance_row rows[3];
	char order[33] = "";

	ck_assert(balance_hash(span_of("")) == UINT64_C(0xf52a15e9a9b5e89b));
	ck_assert(balance_hash(span_of("anonymous")) == UINT64_C(0x730735840277ea9a));
	make_rows(rows, weights, 3);
	for (unsigned user = 0; user < 32; user++)
		order[user] = (char)('a' + hashed(rows, 3, user));
	ck_assert_str_eq(order, "abbaccababbaccbcacbcbabccbcbaaac");
}
END_TEST

static uint64_t source_hash(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(&a, span_of(text), 1));
	return balance_hash_source(&a);
}

START_TEST(sources_are_hosts_or_v6_networks)
{
	struct netaddr none;

	memset(&none, 0, sizeof(none));
	ck_assert(source_hash("192.0.2.1:1") == source_hash("192.0.2.1:2"));
	ck_assert(source_hash("192.0.2.1") == source_hash("::ffff:192.0.2.1"));
	ck_assert(source_hash("192.0.2.1") != source_hash("192.0.2.2"));
	ck_assert(source_hash("2001:db8::1") == source_hash("[2001:db8:0:0:ffff::2]:9"));
	ck_assert(source_hash("2001:db8::1") != source_hash("2001:db8:0:1::1"));
	ck_assert(source_hash("2001:db8::1") != source_hash("192.0.2.1"));
	ck_assert(balance_hash_source(&none) == balance_hash_source(&none));
}
END_TEST

/* --- response time ---------------------------------------------------------------------------- */

// clang-format off
static const struct {
	struct {
		uint32_t weight;
		uint32_t sessions;
		int64_t response_us;
	} servers[3];
	int chosen;
} responses[] = {
	{ { { 1, 0, 3000 }, { 1, 0, 1000 }, { 1, 0, 2000 } }, 1 },
	{ { { 1, 0, 3000 }, { 1, 9, 1000 }, { 1, 0, 2000 } }, 2 },
	{ { { 9, 0, 3000 }, { 1, 0, 1000 }, { 1, 0, 2000 } }, 0 },
	{ { { 1, 0, 0 }, { 1, 0, 1000 }, { 1, 0, 2000 } }, 0 },	     /* not known: as the best, first */
	{ { { 1, 1, 0 }, { 1, 0, 1000 }, { 1, 0, 2000 } }, 1 },	     /* but not flooded */
	{ { { 1, 1, 0 }, { 1, 0, 0 }, { 1, 2, 0 } }, 1 },	     /* nothing known at all */
	{ { { 1, 0, INT64_MAX }, { 1, 0, 59000000 }, { 1, 9, -5 } }, 1 },
	{ { { 1000000, UINT32_MAX, INT64_MAX }, { 999999, UINT32_MAX, INT64_MAX },
	    { 999998, UINT32_MAX, INT64_MAX } }, 0 },
};
// clang-format on

START_TEST(least_response_time_weighs)
{
	struct balance_row rows[3];
	struct balance_ask ask = { 0 };

	for (size_t i = 0; i < 3; i++)
		rows[i] = (struct balance_row){ .weight = responses[_i].servers[i].weight,
			                        .sessions = responses[_i].servers[i].sessions,
			                        .response_us = responses[_i].servers[i].response_us,
			                        .eligible = true };
	ck_assert_int_eq(balance_choose(BALANCE_LEAST_RESPONSE_TIME, rows, 3, &ask),
	                 responses[_i].chosen);
}
END_TEST

/* --- who may be chosen
 * ---------------------------------------------------------------------------- */

enum { UP = 1, FULL = 2, BACKUP = 4, TRIED = 8, WEIGHTLESS = 16 };

// clang-format off
static const struct {
	unsigned servers[4];
	size_t n;
	int answer;	  /* BALANCE_NONE, BALANCE_FULL, or 0 */
	unsigned allowed; /* bits */
} candidates[] = {
	{ { 0 }, 0, BALANCE_NONE, 0 },
	{ { 0 }, 1, BALANCE_NONE, 0 },
	{ { 0, 0, 0 }, 3, BALANCE_NONE, 0 },
	{ { UP }, 1, 0, 1 },
	{ { UP | FULL }, 1, BALANCE_FULL, 0 },
	{ { UP | TRIED }, 1, BALANCE_NONE, 0 },
	{ { UP | WEIGHTLESS }, 1, BALANCE_NONE, 0 },
	{ { FULL }, 1, BALANCE_NONE, 0 },
	{ { UP | FULL | TRIED }, 1, BALANCE_NONE, 0 },
	{ { 0, UP | FULL, UP }, 3, 0, 4 },
	{ { 0, UP | FULL, UP | TRIED }, 3, BALANCE_FULL, 0 },
	{ { UP, UP | FULL, UP, UP | TRIED }, 4, 0, 5 },
	{ { UP, UP, UP | WEIGHTLESS }, 3, 0, 3 },
	/* backups: when nobody else is eligible; not because the others are full */
	{ { UP, UP | BACKUP }, 2, 0, 1 },
	{ { 0, UP | BACKUP }, 2, 0, 2 },
	{ { UP | TRIED, UP | BACKUP }, 2, 0, 2 },
	{ { UP | FULL, UP | BACKUP }, 2, BALANCE_FULL, 0 },
	{ { UP | WEIGHTLESS, UP | BACKUP }, 2, 0, 2 },
	{ { 0, UP | BACKUP | FULL }, 2, BALANCE_FULL, 0 },
	{ { 0, UP | BACKUP | FULL, UP | BACKUP }, 3, 0, 4 },
	{ { 0, BACKUP }, 2, BALANCE_NONE, 0 },
};
// clang-format on

START_TEST(only_those_are_chosen_who_may_be)
{
	for (int a = 0; a < BALANCE_ALGORITHM_COUNT; a++) {
		struct balance_row rows[4];
		unsigned seen = 0;
		size_t n = candidates[_i].n;

		for (size_t i = 0; i < n; i++) {
			unsigned is = candidates[_i].servers[i];

			rows[i] = (struct balance_row){
				.weight = (is & WEIGHTLESS) != 0 ? 0 : 1,
				.sessions = 7,
				.max_sessions = (is & FULL) != 0 ? 7 - i % 2 : 8,
				.eligible = (is & UP) != 0,
				.backup = (is & BACKUP) != 0,
				.name_hash = i * 977,
			};
		}
		for (unsigned user = 0; user < 64; user++) {
			struct balance_ask ask = ask_of_user(user);
			int chosen;

			for (size_t i = 0; i < n; i++)
				ask.tried |=
				    (candidates[_i].servers[i] & TRIED) != 0 ? 1ULL << i : 0;
			chosen = balance_choose((enum balance_algorithm)a, rows, n, &ask);
			if (candidates[_i].answer < 0) {
				ck_assert_int_eq(chosen, candidates[_i].answer);
				continue;
			}
			REQUIRE(chosen >= 0);
			seen |= 1U << chosen;
		}
		ck_assert_uint_eq(seen & ~candidates[_i].allowed, 0);
		if (a != BALANCE_FIRST)
			ck_assert_uint_eq(seen, candidates[_i].allowed);
	}
}
END_TEST

/* Trying one after the other reaches each once, then nobody: how a logon fails over. */
START_TEST(failover_tries_each_server_once)
{
	uint32_t weights[BALANCE_ROWS_MAX];

	for (size_t i = 0; i < BALANCE_ROWS_MAX; i++)
		weights[i] = (uint32_t)(1 + i % 5);
	for (int a = 0; a < BALANCE_ALGORITHM_COUNT; a++) {
		struct balance_row rows[BALANCE_ROWS_MAX];
		struct balance_ask ask = ask_of_user(5);
		size_t n = make_rows(rows, weights, BALANCE_ROWS_MAX);

		for (size_t k = 0; k < n; k++) {
			int chosen = balance_choose((enum balance_algorithm)a, rows, n, &ask);

			REQUIRE(chosen >= 0);
			ck_assert((ask.tried >> chosen & 1) == 0);
			ask.tried |= UINT64_C(1) << chosen;
			ask.random = next_random();
		}
		ck_assert_int_eq(balance_choose((enum balance_algorithm)a, rows, n, &ask),
		                 BALANCE_NONE);
	}
}
END_TEST

/* Logons and ends at random, servers going and coming: never over a limit, FULL only when all are.
 */
START_TEST(limits_hold_under_any_load)
{
	for (int a = 0; a < BALANCE_ALGORITHM_COUNT; a++) {
		static const uint32_t weights[] = { 4, 1, 2 };
		struct balance_row rows[3];

		make_rows(rows, weights, 3);
		rows[0].max_sessions = 10;
		rows[1].max_sessions = 3;
		rows[2].max_sessions = 50;
		for (unsigned k = 0; k < 6000; k++) {
			struct balance_ask ask = ask_of_user(k);
			size_t i = next_random() % 3;
			int chosen;

			if (k % 97 == 0)
				rows[i].eligible = !rows[i].eligible;
			if (next_random() % 2 == 0 && rows[i].sessions > 0)
				rows[i].sessions--;
			chosen = balance_choose((enum balance_algorithm)a, rows, 3, &ask);
			if (chosen >= 0) {
				REQUIRE(rows[chosen].eligible);
				rows[chosen].sessions++;
				REQUIRE(rows[chosen].sessions <= rows[chosen].max_sessions);
				continue;
			}
			for (size_t j = 0; j < 3; j++)
				REQUIRE(!rows[j].eligible ||
				        rows[j].sessions == rows[j].max_sessions);
			REQUIRE((chosen == BALANCE_NONE) ==
			        (!rows[0].eligible && !rows[1].eligible && !rows[2].eligible));
			REQUIRE(chosen == BALANCE_NONE || chosen == BALANCE_FULL);
		}
		/* whose turn it is never runs away */
		for (size_t j = 0; j < 3; j++)
			REQUIRE(rows[j].current > -1000 && rows[j].current < 1000);
	}
}
END_TEST

START_TEST(algorithms_are_named)
{
	enum balance_algorithm found = BALANCE_FIRST;

	for (int a = 0; a < BALANCE_ALGORITHM_COUNT; a++) {
		ck_assert(balance_algorithm_find(
		    span_of(balance_algorithm_name((enum balance_algorithm)a)), &found));
		ck_assert_int_eq(found, a);
	}
	ck_assert(balance_algorithm_find(span_of("least_sessions"), &found));
	ck_assert_int_eq(found, BALANCE_LEAST_SESSIONS);
	ck_assert(!balance_algorithm_find(span_of("least"), &found));
	ck_assert(!balance_algorithm_find(span_of(""), &found));
	ck_assert(!balance_algorithm_find(span_of("FIRST"), &found));
	ck_assert_int_eq(found, BALANCE_LEAST_SESSIONS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balance");
	TCase *tc = tcase_create("balance");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, reseed, NULL);
	tcase_add_test(tc, round_robin_spreads_a_heavy_server);
	tcase_add_loop_test(tc, round_robin_is_exact_all_the_way, 0, SP_ARRAY_LEN(pools));
	tcase_add_test(tc, round_robin_passes_over_who_is_away);
	tcase_add_loop_test(tc, quiet_days_follow_the_weights, 0, SP_ARRAY_LEN(pools));
	tcase_add_loop_test(tc, busy_days_follow_the_weights, 0, SP_ARRAY_LEN(pools));
	tcase_add_loop_test(tc, least_sessions_weighs, 0, SP_ARRAY_LEN(least));
	tcase_add_loop_test(tc, uneven_sessions_leave_an_even_population, 0, SP_ARRAY_LEN(pools));
	tcase_add_test(tc, two_choices_are_nearly_even);
	tcase_add_test(tc, two_choices_are_two_servers);
	tcase_add_test(tc, random_takes_any_number);
	tcase_add_test(tc, first_fills_up);
	tcase_add_test(tc, a_hash_is_faithful);
	tcase_add_test(tc, user_and_source_are_hashed_apart);
	tcase_add_test(tc, a_server_that_goes_moves_only_its_own_users);
	tcase_add_test(tc, a_server_that_gains_takes_only_its_share);
	tcase_add_test(tc, a_full_server_lends_its_users_to_the_next);
	tcase_add_test(tc, hashes_never_change);
	tcase_add_test(tc, sources_are_hosts_or_v6_networks);
	tcase_add_loop_test(tc, least_response_time_weighs, 0, SP_ARRAY_LEN(responses));
	tcase_add_loop_test(tc, only_those_are_chosen_who_may_be, 0, SP_ARRAY_LEN(candidates));
	tcase_add_test(tc, failover_tries_each_server_once);
	tcase_add_test(tc, limits_hold_under_any_load);
	tcase_add_test(tc, algorithms_are_named);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

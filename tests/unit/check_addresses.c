// SPDX-License-Identifier: ISC
/*
 * Addresses of a name: order and families, places that follow, and what must
 * hold whatever comes and goes: an address has one place, a busy place is never
 * given away, and who can be placed is placed.
 */
#include "sallyport/addresses.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 4

static struct netaddr address(const char *text)
{
	struct netaddr out;

	memset(&out, 0, sizeof(out));
	if (inet_pton(AF_INET, text, &out.in.sin_addr) == 1)
		out.family = AF_INET;
	else if (inet_pton(AF_INET6, text, &out.in6.sin6_addr) == 1)
		out.family = AF_INET6;
	else
		ck_abort_msg("%s", text);
	netaddr_set_port(&out, 21);
	return out;
}

/* --- families ---------------------------------------------------------------------- */

static const struct {
	enum address_family family;
	const char *expected[4];
} preferences[] = {
	{ ADDRESS_FAMILY_ANY, { "192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2" } },
	{ ADDRESS_FAMILY_IPV4_FIRST, { "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2" } },
	{ ADDRESS_FAMILY_IPV6_FIRST, { "2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2" } },
	{ ADDRESS_FAMILY_IPV4, { "192.0.2.1", "192.0.2.2" } },
	{ ADDRESS_FAMILY_IPV6, { "2001:db8::1", "2001:db8::2" } },
};

START_TEST(a_family_is_preferred_or_the_only_one)
{
	struct netaddr all[4];
	size_t expected_n = 0;
	size_t n;

	for (size_t i = 0; i < 4; i++)
		all[i] = address(preferences[0].expected[i]);
	n = addresses_prefer(preferences[_i].family, all, 4);
	while (expected_n < 4 && preferences[_i].expected[expected_n] != NULL)
		expected_n++;
	ck_assert_uint_eq(n, expected_n);
	for (size_t i = 0; i < n; i++) {
		struct netaddr expected = address(preferences[_i].expected[i]);

		ck_assert(all[i].family == expected.family && netaddr_same_host(&all[i], &expected));
	}
	ck_assert_uint_eq(addresses_prefer(preferences[_i].family, all, 0), 0);
}
END_TEST

/* --- places ------------------------------------------------------------------------ */

static struct address_place places[PLACES];

static struct addresses_change follow(const char *first, const char *second, const char *third)
{
	const char *const texts[] = { first, second, third };
	struct named_address now[3] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < 3; i++) {
		if (texts[i] != NULL)
			now[n++].address = address(texts[i]);
	}
	return addresses_follow(places, PLACES - 2, now, n); /* two places */
}

static void assert_change(struct addresses_change change, unsigned came, unsigned left, unsigned unplaced)
{
	ck_assert_uint_eq(change.came, came);
	ck_assert_uint_eq(change.left, left);
	ck_assert_uint_eq(change.unplaced, unplaced);
}

static void assert_place(size_t i, const char *text, bool leaving, bool fresh)
{
	if (text == NULL) {
		ck_assert_int_eq(places[i].address.family, AF_UNSPEC);
	} else {
		struct netaddr expected = address(text);

		ck_assert(netaddr_same_host(&places[i].address, &expected));
	}
	ck_assert_int_eq(places[i].leaving, leaving);
	ck_assert_int_eq(places[i].fresh, fresh);
}

static void clean(void)
{
	memset(places, 0, sizeof(places));
}

START_TEST(addresses_keep_their_places)
{
	assert_change(follow("192.0.2.1", "192.0.2.2", NULL), 2, 0, 0);
	assert_place(0, "192.0.2.1", false, true);
	assert_place(1, "192.0.2.2", false, true);
	assert_change(follow("192.0.2.2", "192.0.2.1", NULL), 0, 0, 0);
	assert_place(0, "192.0.2.1", false, false);
	assert_place(1, "192.0.2.2", false, false);
}
END_TEST

START_TEST(the_place_of_one_that_is_gone_is_given_away)
{
	(void)follow("192.0.2.1", "192.0.2.2", NULL);
	assert_change(follow("192.0.2.2", "192.0.2.3", NULL), 1, 1, 0);
	assert_place(0, "192.0.2.3", false, true);
	assert_change(follow("192.0.2.3", NULL, NULL), 0, 1, 0);
	assert_place(1, NULL, false, false);
}
END_TEST

START_TEST(a_busy_place_is_kept_until_it_is_not)
{
	(void)follow("192.0.2.1", "192.0.2.2", NULL);
	places[0].busy = true;
	assert_change(follow("192.0.2.2", "192.0.2.3", NULL), 0, 1, 1);
	assert_place(0, "192.0.2.1", true, false);
	assert_change(follow("192.0.2.2", "192.0.2.3", NULL), 0, 0, 1);
	places[0].busy = false;
	assert_change(follow("192.0.2.2", "192.0.2.3", NULL), 1, 0, 0);
	assert_place(0, "192.0.2.3", false, true);
}
END_TEST

START_TEST(one_that_comes_back_is_at_its_place_as_before)
{
	(void)follow("192.0.2.1", "192.0.2.2", NULL);
	places[1].busy = true;
	assert_change(follow("192.0.2.1", NULL, NULL), 0, 1, 0);
	assert_change(follow("192.0.2.1", "192.0.2.2", NULL), 1, 0, 0);
	assert_place(1, "192.0.2.2", false, false);
}
END_TEST

START_TEST(another_port_is_another_address)
{
	struct named_address now = { .address = address("192.0.2.1") };

	(void)addresses_follow(places, 1, &now, 1);
	netaddr_set_port(&now.address, 2121);
	assert_change(addresses_follow(places, 1, &now, 1), 1, 1, 0);
	ck_assert_uint_eq(netaddr_port(&places[0].address), 2121);
}
END_TEST

START_TEST(weight_and_backup_are_those_of_the_latest_answer)
{
	struct named_address now[] = { { address("192.0.2.1"), 1000, false }, { address("192.0.2.2"), 3, true } };

	(void)addresses_follow(places, 2, now, 2);
	ck_assert(places[0].weight == 1000 && !places[0].backup);
	ck_assert(places[1].weight == 3 && places[1].backup);
	now[0].backup = true;
	now[1].weight = 0;
	now[1].backup = false;
	assert_change(addresses_follow(places, 2, now, 2), 0, 0, 0);
	ck_assert(places[0].weight == 1000 && places[0].backup);
	ck_assert(places[1].weight == 0 && !places[1].backup);
}
END_TEST

START_TEST(without_addresses_all_leave)
{
	(void)follow("192.0.2.1", "192.0.2.2", NULL);
	places[1].busy = true;
	assert_change(follow(NULL, NULL, NULL), 0, 2, 0);
	assert_place(0, NULL, false, false);
	assert_place(1, "192.0.2.2", true, false);
}
END_TEST

START_TEST(named_twice_is_one_address)
{
	assert_change(follow("192.0.2.1", "192.0.2.1", "2001:db8::1"), 2, 0, 0);
	assert_place(1, "2001:db8::1", false, true);
}
END_TEST

static size_t places_of(const struct netaddr *wanted)
{
	size_t n = 0;

	for (size_t i = 0; i < PLACES; i++)
		n += places[i].address.family != AF_UNSPEC && netaddr_same_host(&places[i].address, wanted);
	return n;
}

static void check_step(const struct address_place before[], const struct named_address now[], size_t now_n,
		       struct addresses_change change)
{
	size_t unplaced = 0;
	size_t vacant = 0;

	for (size_t i = 0; i < PLACES; i++) {
		vacant += places[i].address.family == AF_UNSPEC;
		if (before[i].busy && before[i].address.family != AF_UNSPEC)
			ck_assert(netaddr_same_host(&before[i].address, &places[i].address));
		if (places[i].leaving)
			ck_assert(places[i].busy && places[i].address.family != AF_UNSPEC);
	}
	for (size_t i = 0; i < now_n; i++) {
		ck_assert_uint_le(places_of(&now[i].address), 1);
		unplaced += places_of(&now[i].address) == 0;
	}
	ck_assert_uint_eq(unplaced, change.unplaced);
	ck_assert(unplaced == 0 || vacant == 0);
}

START_TEST(whatever_comes_and_goes)
{
	uint32_t random = 1;

	for (int step = 0; step < 20000; step++) {
		struct address_place before[PLACES];
		struct named_address now[6] = { 0 };
		size_t n = 0;

		random = random * 1664525 + 1013904223;
		for (unsigned i = 0; i < 6; i++) {
			if ((random >> (i + 8) & 1) != 0) {
				now[n].address = address("192.0.2.0");
				now[n++].address.in.sin_addr.s_addr |= htonl(i);
			}
		}
		for (unsigned i = 0; i < PLACES; i++)
			places[i].busy = (random >> (i + 16) & 1) != 0;
		memcpy(before, places, sizeof(before));
		check_step(before, now, n, addresses_follow(places, PLACES, now, n));
	}
}
END_TEST

START_TEST(a_hash_is_of_host_and_port)
{
	struct netaddr a = address("192.0.2.1");
	struct netaddr b = address("2001:db8::1");
	struct netaddr c = address("2001:db8::2");
	struct netaddr d = a;

	ck_assert_uint_eq(addresses_hash(&a), addresses_hash(&d));
	netaddr_set_port(&d, 22);
	ck_assert_uint_ne(addresses_hash(&a), addresses_hash(&d));
	ck_assert_uint_ne(addresses_hash(&b), addresses_hash(&c));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("addresses");
	TCase *tests = tcase_create("addresses");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, clean, NULL);
	tcase_add_loop_test(tests, a_family_is_preferred_or_the_only_one, 0,
			    (int)(sizeof(preferences) / sizeof(preferences[0])));
	tcase_add_test(tests, addresses_keep_their_places);
	tcase_add_test(tests, the_place_of_one_that_is_gone_is_given_away);
	tcase_add_test(tests, a_busy_place_is_kept_until_it_is_not);
	tcase_add_test(tests, one_that_comes_back_is_at_its_place_as_before);
	tcase_add_test(tests, another_port_is_another_address);
	tcase_add_test(tests, weight_and_backup_are_those_of_the_latest_answer);
	tcase_add_test(tests, without_addresses_all_leave);
	tcase_add_test(tests, named_twice_is_one_address);
	tcase_add_test(tests, whatever_comes_and_goes);
	tcase_add_test(tests, a_hash_is_of_host_and_port);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

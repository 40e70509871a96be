// SPDX-License-Identifier: ISC
/*
 * SRV records: what is read from a name server's message, what is refused, and
 * the shares and order of the addresses that come of it.
 */
#include "sallyport/services.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

/* --- messages ---------------------------------------------------------------------- */

static char message[4096];
static size_t message_n;

static void put(const void *bytes, size_t n)
{
	ck_assert_uint_le(message_n + n, sizeof(message));
	memcpy(message + message_n, bytes, n);
	message_n += n;
}

static void put_16(unsigned value)
{
	put((const char[]){ (char)(value >> 8), (char)value }, 2);
}

static void put_name(const char *name)
{
	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		put((const char[]){ (char)n }, 1);
		put(name, n);
		name += n + (name[n] == '.');
	}
	put("", 1);
}

/* A header and the question, which begins at 12. */
static void begin(unsigned answers)
{
	message_n = 0;
	put("\x12\x34\x85\x80\x00\x01", 6);
	put_16(answers);
	put("\0\0\0\0", 4);
	put_name("_ftp._tcp.example.net");
	put_16(33);
	put_16(1);
}

static size_t begin_record(unsigned type, unsigned ttl_s)
{
	put("\xc0\x0c", 2);
	put_16(type);
	put_16(1);
	put_16(ttl_s >> 16);
	put_16(ttl_s & 0xffff);
	put_16(0);
	return message_n;
}

static void end_record(size_t data)
{
	size_t n = message_n - data;

	message[data - 2] = (char)(n >> 8);
	message[data - 1] = (char)n;
}

static void put_target(unsigned priority, unsigned weight, unsigned port, const char *host, unsigned ttl_s)
{
	size_t data = begin_record(33, ttl_s);

	put_16(priority);
	put_16(weight);
	put_16(port);
	put_name(host);
	end_record(data);
}

static struct service_answer answer;

static bool parse(void)
{
	return service_answer_parse(span_from(message, message_n), &answer);
}

static void assert_target(size_t i, unsigned priority, unsigned weight, unsigned port, const char *host)
{
	ck_assert_uint_lt(i, answer.n);
	ck_assert_uint_eq(answer.targets[i].priority, priority);
	ck_assert_uint_eq(answer.targets[i].weight, weight);
	ck_assert_uint_eq(answer.targets[i].port, port);
	ck_assert_str_eq(answer.targets[i].host, host);
}

START_TEST(targets_come_by_priority_and_weight)
{
	begin(4);
	put_target(20, 60000, 21, "far.example.org", 300);
	put_target(10, 1, 2121, "light.example.net", 60);
	put_target(10, 65535, 65535, "heavy.example.net", 300);
	put_target(10, 1, 21, "light2.example.net", 300);
	ck_assert(parse());
	ck_assert_uint_eq(answer.n, 4);
	assert_target(0, 10, 65535, 65535, "heavy.example.net");
	assert_target(1, 10, 1, 2121, "light.example.net");
	assert_target(2, 10, 1, 21, "light2.example.net");
	assert_target(3, 20, 60000, 21, "far.example.org");
	ck_assert_uint_eq(answer.ttl_s, 60);
	ck_assert(!answer.not_offered && answer.more == 0);
}
END_TEST

START_TEST(a_compressed_target_is_read)
{
	size_t data;

	begin(1);
	data = begin_record(33, 1);
	put_16(1);
	put_16(2);
	put_16(3);
	put("\x04host\xc0\x16", 7); /* where "example.net" of the question is */
	end_record(data);
	ck_assert(parse());
	assert_target(0, 1, 2, 3, "host.example.net");
}
END_TEST

START_TEST(other_records_count_for_the_ttl_only)
{
	size_t data;

	begin(2);
	data = begin_record(5, 7);
	put_name("_ftp._tcp.elsewhere.example");
	end_record(data);
	put_target(1, 1, 21, "a.example.net", 300);
	ck_assert(parse());
	ck_assert_uint_eq(answer.n, 1);
	ck_assert_uint_eq(answer.ttl_s, 7);
	begin(1);
	put_target(1, 1, 21, "a.example.net", 0x80000000u);
	ck_assert(parse());
	ck_assert_uint_eq(answer.ttl_s, 0);
}
END_TEST

START_TEST(a_dot_alone_is_no_service)
{
	begin(1);
	put_target(0, 0, 0, "", 60);
	ck_assert(parse());
	ck_assert(answer.not_offered && answer.n == 0);
	begin(2);
	put_target(0, 0, 0, "", 60);
	put_target(1, 0, 21, "a.example.net", 60);
	ck_assert(parse());
	ck_assert(!answer.not_offered && answer.n == 1);
}
END_TEST

static const char *const useless[] = { "192.0.2.1", "a b.example", "a\n.example", "1", "a.\x07" };

START_TEST(what_no_host_can_have_is_left_out)
{
	begin(2);
	put_target(0, 0, 21, useless[_i], 60);
	put_target(1, 0, 0, "port.zero.example", 60);
	ck_assert(parse());
	ck_assert(answer.n == 0 && !answer.not_offered);
}
END_TEST

START_TEST(the_best_sixteen_are_kept)
{
	begin(20);
	for (unsigned i = 0; i < 20; i++)
		put_target(20 - i, 0, 100 + i, "a.example.net", 60);
	ck_assert(parse());
	ck_assert_uint_eq(answer.n, SERVICE_TARGETS_MAX);
	ck_assert_uint_eq(answer.more, 4);
	for (unsigned i = 0; i < SERVICE_TARGETS_MAX; i++)
		assert_target(i, i + 1, 0, 119 - i, "a.example.net");
}
END_TEST

START_TEST(a_message_that_is_cut_is_refused)
{
	size_t whole;

	begin(2);
	put_target(1, 1, 21, "a.example.net", 60);
	put_target(2, 1, 21, "b.example.net", 60);
	whole = message_n;
	ck_assert(parse());
	memset(&answer, 0xa5, sizeof(answer));
	for (message_n = 0; message_n < whole; message_n++) {
		ck_assert(!parse());
		ck_assert_uint_eq(answer.ttl_s, 0xa5a5a5a5);
	}
}
END_TEST

static const struct {
	const char *bytes;
	size_t n;
} broken_names[] = {
	{ "\xc0\x39", 2 },	  /* to itself */
	{ "\x01" "a\xc0\x39", 4 }, /* to its own beginning */
	{ "\xff\xff", 2 },	  /* behind the end */
	{ "\x40" "a", 2 },	  /* no such kind of label */
	{ "\x80", 1 },
	{ "\x01" "a", 2 },	  /* no end */
	{ "\x00" "x", 2 },	  /* more data than a name */
};

START_TEST(a_broken_name_is_refused)
{
	size_t data;

	begin(1);
	data = begin_record(33, 60);
	put_16(1);
	put_16(1);
	put_16(21);
	ck_assert_uint_eq(message_n, 0x39);
	put(broken_names[_i].bytes, broken_names[_i].n);
	end_record(data);
	ck_assert(!parse());
}
END_TEST

START_TEST(a_name_that_is_too_long_is_refused)
{
	size_t data;

	for (unsigned labels = 4; labels <= 5; labels++) {
		begin(1);
		data = begin_record(33, 60);
		put_16(1);
		put_16(1);
		put_16(21);
		for (unsigned i = 0; i < labels; i++)
			put("\x32" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 51);
		put("", 1);
		end_record(data);
		ck_assert(parse() == (labels == 4));
	}
}
END_TEST

/* --- shares ------------------------------------------------------------------------ */

static struct service_host hosts[SERVICE_TARGETS_MAX];
static struct named_address spread[8];

static void target(unsigned priority, unsigned weight, const char *first, const char *second)
{
	const char *const texts[] = { first, second };
	struct service_host *host = &hosts[answer.n];

	answer.targets[answer.n++] = (struct service_target){ .host = "a.example.net",
							      .port = 21,
							      .priority = (uint16_t)priority,
							      .weight = (uint16_t)weight };
	host->n = 0;
	for (size_t i = 0; i < 2; i++) {
		struct netaddr *address = &host->addresses[host->n];

		memset(address, 0, sizeof(*address));
		address->family = AF_INET;
		if (texts[i] != NULL && inet_pton(AF_INET, texts[i], &address->in.sin_addr) == 1)
			host->n++;
	}
}

static void assert_spread(size_t i, const char *host, uint32_t weight, bool backup)
{
	char text[NETADDR_TEXT_MAX];

	ck_assert_str_eq(netaddr_format_host(&spread[i].address, text), host);
	ck_assert_uint_eq(spread[i].weight, weight);
	ck_assert_int_eq(spread[i].backup, backup);
}

static void clean(void)
{
	memset(&answer, 0, sizeof(answer));
	memset(hosts, 0, sizeof(hosts));
}

START_TEST(weights_are_shares_and_zero_is_the_smallest)
{
	target(10, 65535, "192.0.2.1", NULL);
	target(10, 6554, "192.0.2.2", NULL);
	target(10, 0, "192.0.2.3", NULL);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 3);
	assert_spread(0, "192.0.2.1", 1000, false);
	assert_spread(1, "192.0.2.2", 100, false);
	assert_spread(2, "192.0.2.3", 1, false);
}
END_TEST

START_TEST(all_zero_is_all_the_same)
{
	target(10, 0, "192.0.2.1", NULL);
	target(10, 0, "192.0.2.2", NULL);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 2);
	assert_spread(0, "192.0.2.1", 1000, false);
	assert_spread(1, "192.0.2.2", 1000, false);
}
END_TEST

START_TEST(all_but_the_lowest_priority_are_backups)
{
	target(10, 5, "192.0.2.1", NULL);
	target(20, 100, "192.0.2.2", NULL);
	target(30, 50, "192.0.2.3", NULL);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 3);
	assert_spread(0, "192.0.2.1", 1000, false);
	assert_spread(1, "192.0.2.2", 1000, true);
	assert_spread(2, "192.0.2.3", 500, true);
}
END_TEST

START_TEST(addresses_of_a_target_divide_its_weight)
{
	target(10, 3, "192.0.2.1", "192.0.2.2");
	target(10, 3, "192.0.2.3", NULL);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 3);
	assert_spread(0, "192.0.2.1", 500, false);
	assert_spread(1, "192.0.2.3", 1000, false);
	assert_spread(2, "192.0.2.2", 500, false);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 2), 2);
	assert_spread(1, "192.0.2.3", 1000, false);
}
END_TEST

START_TEST(an_address_of_two_targets_is_one_server)
{
	target(10, 4, "192.0.2.1", NULL);
	target(10, 2, "192.0.2.1", "192.0.2.2");
	target(20, 2, "192.0.2.1", "192.0.2.3");
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 3);
	assert_spread(0, "192.0.2.1", 1250, false);
	assert_spread(1, "192.0.2.2", 250, false);
	assert_spread(2, "192.0.2.3", 500, true);
}
END_TEST

START_TEST(a_backup_that_is_a_server_as_well_is_no_backup)
{
	target(10, 4, "192.0.2.1", "192.0.2.2");
	target(20, 2, "192.0.2.2", NULL);
	ck_assert_uint_eq(services_spread(&answer, hosts, spread, 8), 2);
	assert_spread(0, "192.0.2.1", 500, false);
	assert_spread(1, "192.0.2.2", 500, false);
}
END_TEST

static void add_messages(TCase *tests)
{
	tcase_add_test(tests, targets_come_by_priority_and_weight);
	tcase_add_test(tests, a_compressed_target_is_read);
	tcase_add_test(tests, other_records_count_for_the_ttl_only);
	tcase_add_test(tests, a_dot_alone_is_no_service);
	tcase_add_loop_test(tests, what_no_host_can_have_is_left_out, 0, (int)SP_ARRAY_LEN(useless));
	tcase_add_test(tests, the_best_sixteen_are_kept);
	tcase_add_test(tests, a_message_that_is_cut_is_refused);
	tcase_add_loop_test(tests, a_broken_name_is_refused, 0, (int)SP_ARRAY_LEN(broken_names));
	tcase_add_test(tests, a_name_that_is_too_long_is_refused);
}

int main(void)
{
	Suite *suite = suite_create("services");
	TCase *tests = tcase_create("services");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, clean, NULL);
	add_messages(tests);
	tcase_add_test(tests, weights_are_shares_and_zero_is_the_smallest);
	tcase_add_test(tests, all_zero_is_all_the_same);
	tcase_add_test(tests, all_but_the_lowest_priority_are_backups);
	tcase_add_test(tests, addresses_of_a_target_divide_its_weight);
	tcase_add_test(tests, an_address_of_two_targets_is_one_server);
	tcase_add_test(tests, a_backup_that_is_a_server_as_well_is_no_backup);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

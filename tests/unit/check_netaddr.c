// SPDX-License-Identifier: ISC
/*
 * Addresses: text in and out, what is equal, what is private, networks.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/netaddr.h"

// clang-format off
static const struct {
	const char *text;
	const char *formatted; /* NULL: not an address */
	const char *host;
} addresses[] = {
	{ "192.0.2.1", "192.0.2.1:2121", "192.0.2.1" },
	{ "192.0.2.1:21", "192.0.2.1:21", "192.0.2.1" },
	{ "192.0.2.1:0", "192.0.2.1:0", "192.0.2.1" },
	{ "0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0" },
	{ "255.255.255.255:00021", "255.255.255.255:21", "255.255.255.255" },
	{ "2001:db8::1", "[2001:db8::1]:2121", "2001:db8::1" },
	{ "[2001:DB8::1]", "[2001:db8::1]:2121", "2001:db8::1" },
	{ "[2001:db8::1]:21", "[2001:db8::1]:21", "2001:db8::1" },
	{ "[::]:21", "[::]:21", "::" },
	{ "::", "[::]:2121", "::" },
	{ "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:2121", "::ffff:192.0.2.1" },
	{ "fe80::1%2", "[fe80::1%2]:2121", "fe80::1%2" },
	{ "[fe80::1%4294967295]:21", "[fe80::1%4294967295]:21", "fe80::1%4294967295" },
	{ "", NULL, NULL },
	{ "*:21", NULL, NULL },
	{ ":21", NULL, NULL },
	{ "localhost", NULL, NULL },
	{ "ftp.example.net:21", NULL, NULL },
	{ "192.0.2.1:", NULL, NULL },
	{ "192.0.2.1:65536", NULL, NULL },
	{ "192.0.2.1:000021", NULL, NULL },
	{ "192.0.2.1:-1", NULL, NULL },
	{ "192.0.2.1:+21", NULL, NULL },
	{ "192.0.2.1: 21", NULL, NULL },
	{ "192.0.2.1:21 ", NULL, NULL },
	{ " 192.0.2.1", NULL, NULL },
	{ "192.0.2.256", NULL, NULL },
	{ "192.0.2", NULL, NULL },
	{ "0300.0.2.1", NULL, NULL },
	{ "0xc0.0.2.1", NULL, NULL },
	{ "192.0.2.1.", NULL, NULL },
	{ "[192.0.2.1]:21", NULL, NULL },
	{ "[2001:db8::1", NULL, NULL },
	{ "[]:21", NULL, NULL },
	{ "[", NULL, NULL },
	{ "2001:db8::1]:21", NULL, NULL },
	{ "[2001:db8::1]21", NULL, NULL },
	{ "[2001:db8::1]:", NULL, NULL },
	{ "[2001:db8::1]:x", NULL, NULL },
	{ "2001:db8:::1", NULL, NULL },
	{ "1:2:3:4:5:6:7:8:9", NULL, NULL },
	{ "::1%", NULL, NULL },
	{ "fe80::1%eth0", NULL, NULL },
	{ "fe80::1%4294967296", NULL, NULL },
	{ "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", NULL, NULL },
	{ "111111111111111111111111111111111111111111111111111111.1.1.1", NULL, NULL },
};
// clang-format on

START_TEST(addresses_are_read_and_written)
{
	struct netaddr a, untouched;
	char buf[NETADDR_TEXT_MAX];
	const char *text = addresses[_i].text;
	bool ok;

	memset(&a, 0x5a, sizeof(a));
	untouched = a;
	ok = netaddr_parse(&a, span_of(text), 2121);
	ck_assert_msg(ok == (addresses[_i].formatted != NULL), "\"%s\"", text);
	if (!ok) {
		ck_assert_mem_eq(&a, &untouched, sizeof(a));
		return;
	}
	ck_assert_str_eq(netaddr_format(&a, buf), addresses[_i].formatted);
	ck_assert_str_eq(netaddr_format_host(&a, buf), addresses[_i].host);
}
END_TEST

START_TEST(what_is_written_can_be_read_again)
{
	struct netaddr a, b;
	char buf[NETADDR_TEXT_MAX];

	if (addresses[_i].formatted == NULL)
		return;
	ck_assert(netaddr_parse(&a, span_of(addresses[_i].text), 2121));
	ck_assert(netaddr_parse(&b, span_of(netaddr_format(&a, buf)), 1));
	ck_assert_mem_eq(&a, &b, sizeof(a));
}
END_TEST

START_TEST(a_text_is_as_long_as_its_span)
{
	struct netaddr a;
	char buf[NETADDR_TEXT_MAX];
	static const char with_nul[] = "192.0.2.1\0.example";

	ck_assert(netaddr_parse(&a, span_from("192.0.2.19999", 10), 21));
	ck_assert_str_eq(netaddr_format_host(&a, buf), "192.0.2.19");
	ck_assert(!netaddr_parse(&a, span_from(with_nul, sizeof(with_nul) - 1), 21));
	ck_assert(!netaddr_parse(&a, span_from("::1\0", 4), 21));
	ck_assert(!netaddr_parse(&a, span_from(NULL, 0), 21));
}
END_TEST

START_TEST(the_longest_text_fits)
{
	struct netaddr a;
	char buf[NETADDR_TEXT_MAX];

	memset(&a, 0, sizeof(a));
	a.in6.sin6_family = AF_INET6;
	memset(&a.in6.sin6_addr, 0xff, sizeof(a.in6.sin6_addr));
	a.in6.sin6_scope_id = UINT32_MAX;
	a.in6.sin6_port = htons(UINT16_MAX);
	netaddr_format(&a, buf);
	ck_assert_str_eq(buf, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}
END_TEST

START_TEST(no_address_is_a_dash)
{
	struct netaddr none;
	char buf[NETADDR_TEXT_MAX];

	memset(&none, 0, sizeof(none));
	ck_assert_str_eq(netaddr_format(&none, buf), "-");
	ck_assert_str_eq(netaddr_format_host(&none, buf), "-");
	ck_assert_uint_eq(netaddr_len(&none), 0);
	ck_assert_uint_eq(netaddr_port(&none), 0);
	netaddr_set_port(&none, 21);
	ck_assert_uint_eq(netaddr_port(&none), 0);
	ck_assert(!netaddr_same_host(&none, &none));
	ck_assert(!netaddr_is_any(&none));
	ck_assert(!netaddr_is_loopback(&none));
	ck_assert(!netaddr_is_private(&none));
}
END_TEST

static struct netaddr address(const char *text)
{
	struct netaddr a;

	ck_assert_msg(netaddr_parse(&a, span_of(text), 21), "\"%s\"", text);
	return a;
}

START_TEST(ports_and_lengths)
{
	struct netaddr v4 = address("192.0.2.1:50000");
	struct netaddr v6 = address("[2001:db8::1]:50000");

	ck_assert_uint_eq(sizeof(struct netaddr), 28);
	ck_assert_uint_eq(netaddr_len(&v4), sizeof(struct sockaddr_in));
	ck_assert_uint_eq(netaddr_len(&v6), sizeof(struct sockaddr_in6));
	ck_assert_uint_eq(netaddr_port(&v4), 50000);
	ck_assert_uint_eq(ntohs(v4.in.sin_port), 50000);
	netaddr_set_port(&v6, 990);
	ck_assert_uint_eq(netaddr_port(&v6), 990);
}
END_TEST

START_TEST(unmap_changes_mapped_addresses_only)
{
	struct netaddr mapped = address("[::ffff:192.0.2.1]:50000");
	struct netaddr plain = address("192.0.2.1:50000");
	struct netaddr v6 = address("[2001:db8::1]:50000");
	struct netaddr compatible = address("[::192.0.2.1]:50000");
	struct netaddr before;

	netaddr_unmap(&mapped);
	ck_assert_mem_eq(&mapped, &plain, sizeof(plain));
	netaddr_unmap(&plain);
	ck_assert_mem_eq(&mapped, &plain, sizeof(plain));
	before = v6;
	netaddr_unmap(&v6);
	ck_assert_mem_eq(&before, &v6, sizeof(v6));
	before = compatible;
	netaddr_unmap(&compatible);
	ck_assert_mem_eq(&before, &compatible, sizeof(v6));
}
END_TEST

// clang-format off
static const struct {
	const char *a;
	const char *b;
	bool same;
} hosts[] = {
	{ "192.0.2.1:1", "192.0.2.1:2", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "192.0.2.1", "::ffff:192.0.2.1", true },
	{ "192.0.2.1", "::192.0.2.1", false },
	{ "2001:db8::1", "[2001:db8:0:0::1]:9", true },
	{ "2001:db8::1", "2001:db8::2", false },
	{ "2001:db8::1", "192.0.2.1", false },
	{ "fe80::1%2", "fe80::1%3", false },
	{ "fe80::1%2", "fe80::1", true },
};
// clang-format on

START_TEST(same_host_ignores_ports_and_mapping)
{
	struct netaddr a = address(hosts[_i].a);
	struct netaddr b = address(hosts[_i].b);

	ck_assert_msg(netaddr_same_host(&a, &b) == hosts[_i].same, "%s %s", hosts[_i].a,
	              hosts[_i].b);
	ck_assert(netaddr_same_host(&b, &a) == hosts[_i].same);
	ck_assert(netaddr_same_host(&a, &a));
}
END_TEST

enum { ANY = 1, LOOP = 2, PRIVATE = 4 };

// clang-format off
static const struct {
	const char *text;
	unsigned kinds;
} kinds[] = {
	{ "0.0.0.0", ANY },
	{ "::", ANY },
	{ "::ffff:0.0.0.0", ANY },
	{ "0.0.0.1", 0 },
	{ "127.0.0.1", LOOP | PRIVATE },
	{ "127.255.255.255", LOOP | PRIVATE },
	{ "126.255.255.255", 0 },
	{ "128.0.0.0", 0 },
	{ "::1", LOOP | PRIVATE },
	{ "::2", 0 },
	{ "::ffff:127.0.0.2", LOOP | PRIVATE },
	{ "9.255.255.255", 0 },
	{ "10.0.0.0", PRIVATE },
	{ "10.255.255.255", PRIVATE },
	{ "11.0.0.0", 0 },
	{ "172.15.255.255", 0 },
	{ "172.16.0.0", PRIVATE },
	{ "172.31.255.255", PRIVATE },
	{ "172.32.0.0", 0 },
	{ "192.167.255.255", 0 },
	{ "192.168.0.0", PRIVATE },
	{ "192.168.255.255", PRIVATE },
	{ "192.169.0.0", 0 },
	{ "100.63.255.255", 0 },
	{ "100.64.0.0", PRIVATE },
	{ "100.127.255.255", PRIVATE },
	{ "100.128.0.0", 0 },
	{ "169.253.255.255", 0 },
	{ "169.254.0.0", PRIVATE },
	{ "169.255.0.0", 0 },
	{ "203.0.113.10", 0 },
	{ "::ffff:10.1.2.3", PRIVATE },
	{ "fbff::1", 0 },
	{ "fc00::1", PRIVATE },
	{ "fdff::1", PRIVATE },
	{ "fe00::1", 0 },
	{ "fe80::1", PRIVATE },
	{ "febf::1", PRIVATE },
	{ "fec0::1", 0 },
	{ "2001:db8::1", 0 },
};
// clang-format on

START_TEST(kinds_of_addresses_end_where_the_rfcs_say)
{
	struct netaddr a = address(kinds[_i].text);
	unsigned is = (netaddr_is_any(&a) ? ANY : 0) | (netaddr_is_loopback(&a) ? LOOP : 0) |
	              (netaddr_is_private(&a) ? PRIVATE : 0);

	ck_assert_msg(is == kinds[_i].kinds, "%s is %u", kinds[_i].text, is);
}
END_TEST

// clang-format off
static const struct {
	const char *text;
	bool ok;
	unsigned bits;
} blocks[] = {
	{ "192.0.2.0/24", true, 24 },
	{ "192.0.2.1", true, 32 },
	{ "192.0.2.1/32", true, 32 },
	{ "0.0.0.0/0", true, 0 },
	{ "128.0.0.0/1", true, 1 },
	{ "192.0.2.128/25", true, 25 },
	{ "2001:db8::/32", true, 32 },
	{ "2001:db8::1", true, 128 },
	{ "2001:db8::1/128", true, 128 },
	{ "::/0", true, 0 },
	{ "::ffff:192.0.2.0/120", true, 24 },
	{ "::ffff:0:0/96", true, 0 },
	{ "192.0.2.1/24", false, 0 },
	{ "192.0.2.128/24", false, 0 },
	{ "1.0.0.0/0", false, 0 },
	{ "2001:db8::1/32", false, 0 },
	{ "2001:db8:8000::/32", false, 0 },
	{ "192.0.2.0/33", false, 0 },
	{ "2001:db8::/129", false, 0 },
	{ "192.0.2.0/", false, 0 },
	{ "192.0.2.0/24/", false, 0 },
	{ "192.0.2.0/-1", false, 0 },
	{ "192.0.2.0/ 24", false, 0 },
	{ "192.0.2.0/0024", false, 0 },
	{ "192.0.2.0/255.255.255.0", false, 0 },
	{ "/24", false, 0 },
	{ "", false, 0 },
	{ "192.0.2.1:21", false, 0 },
	{ "[2001:db8::1]", false, 0 },
	{ "fe80::1%2", false, 0 },
	{ "fe80::%2/10", false, 0 },
	{ "example.net/24", false, 0 },
	{ "*", false, 0 },
};
// clang-format on

START_TEST(networks_are_read)
{
	struct netblock net, untouched;
	bool ok;

	memset(&net, 0x5a, sizeof(net));
	untouched = net;
	ok = netblock_parse(&net, span_of(blocks[_i].text));
	ck_assert_msg(ok == blocks[_i].ok, "\"%s\"", blocks[_i].text);
	if (ok)
		ck_assert_uint_eq(net.bits, blocks[_i].bits);
	else
		ck_assert_mem_eq(&net, &untouched, sizeof(net));
}
END_TEST

// clang-format off
static const struct {
	const char *net;
	const char *address;
	bool inside;
} members[] = {
	{ "192.0.2.0/24", "192.0.2.0", true },
	{ "192.0.2.0/24", "192.0.2.255", true },
	{ "192.0.2.0/24", "192.0.3.0", false },
	{ "192.0.2.0/24", "192.0.1.255", false },
	{ "192.0.2.0/24", "::ffff:192.0.2.7", true },
	{ "192.0.2.0/24", "2001:db8::1", false },
	{ "192.0.2.128/25", "192.0.2.127", false },
	{ "192.0.2.128/25", "192.0.2.128", true },
	{ "192.0.2.4/30", "192.0.2.7", true },
	{ "192.0.2.4/30", "192.0.2.8", false },
	{ "192.0.2.1", "192.0.2.1:999", true },
	{ "192.0.2.1", "192.0.2.0", false },
	{ "0.0.0.0/0", "255.255.255.255", true },
	{ "0.0.0.0/0", "::1", false },
	{ "::/0", "2001:db8::1", true },
	{ "::/0", "192.0.2.1", false },
	{ "::/0", "::ffff:192.0.2.1", false },
	{ "::ffff:192.0.2.0/120", "192.0.2.9", true },
	{ "::ffff:192.0.2.0/120", "192.0.3.9", false },
	{ "::ffff:0:0/96", "192.0.2.9", true },
	{ "2001:db8::/32", "2001:db8:ffff::", true },
	{ "2001:db8::/32", "2001:db9::", false },
	{ "2001:db8::/33", "2001:db8:7fff::", true },
	{ "2001:db8::/33", "2001:db8:8000::", false },
	{ "fe80::/10", "fe80::1%3", true },
	{ "2001:db8::1", "2001:db8::1", true },
	{ "2001:db8::1", "2001:db8::3", false },
};
// clang-format on

START_TEST(networks_contain_their_hosts)
{
	struct netblock net;
	struct netaddr a = address(members[_i].address);

	ck_assert(netblock_parse(&net, span_of(members[_i].net)));
	ck_assert_msg(netblock_contains(&net, &a) == members[_i].inside, "%s in %s",
	              members[_i].address, members[_i].net);
}
END_TEST

START_TEST(a_list_contains_what_one_of_its_networks_does)
{
	struct netblock nets[2];
	struct netaddr first = address("192.0.2.9");
	struct netaddr second = address("2001:db8::9");
	struct netaddr other = address("198.51.100.1");
	struct netaddr none;

	memset(&none, 0, sizeof(none));
	ck_assert(netblock_parse(&nets[0], span_of("192.0.2.0/24")));
	ck_assert(netblock_parse(&nets[1], span_of("2001:db8::/32")));
	ck_assert(netblock_list_contains(nets, 2, &first));
	ck_assert(netblock_list_contains(nets, 2, &second));
	ck_assert(!netblock_list_contains(nets, 1, &second));
	ck_assert(!netblock_list_contains(nets, 2, &other));
	ck_assert(!netblock_list_contains(nets, 2, &none));
	ck_assert(!netblock_list_contains(NULL, 0, &first));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("netaddr");
	TCase *tc = tcase_create("netaddr");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, addresses_are_read_and_written, 0, SP_ARRAY_LEN(addresses));
	tcase_add_loop_test(tc, what_is_written_can_be_read_again, 0, SP_ARRAY_LEN(addresses));
	tcase_add_test(tc, a_text_is_as_long_as_its_span);
	tcase_add_test(tc, the_longest_text_fits);
	tcase_add_test(tc, no_address_is_a_dash);
	tcase_add_test(tc, ports_and_lengths);
	tcase_add_test(tc, unmap_changes_mapped_addresses_only);
	tcase_add_loop_test(tc, same_host_ignores_ports_and_mapping, 0, SP_ARRAY_LEN(hosts));
	tcase_add_loop_test(tc, kinds_of_addresses_end_where_the_rfcs_say, 0, SP_ARRAY_LEN(kinds));
	tcase_add_loop_test(tc, networks_are_read, 0, SP_ARRAY_LEN(blocks));
	tcase_add_loop_test(tc, networks_contain_their_hosts, 0, SP_ARRAY_LEN(members));
	tcase_add_test(tc, a_list_contains_what_one_of_its_networks_does);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

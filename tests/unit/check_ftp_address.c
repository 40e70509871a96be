// SPDX-License-Identifier: ISC
/*
 * Addresses in FTP's notations: what is read, what is refused, and that what is
 * written is read as the same. Each text lies in memory that ends where it does.
 */
#include "sallyport/ftp_address.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
#define S(literal) { literal, sizeof(literal) - 1 }
// clang-format on

struct bytes {
	const char *p;
	size_t n;
};

/* A copy without a byte behind it. */
static struct span exact(struct bytes b)
{
	char *p = malloc(b.n);

	if (b.n > 0)
		memcpy(p, b.p, b.n);
	return span_from(p, b.n);
}

static void exact_free(struct span s)
{
	free((char *)(uintptr_t)s.p);
}

/* "192.0.2.1 50000"; "" of no address. */
static const char *show(const struct netaddr *a, char buf[64])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (a->family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(buf, 64, "%s %u", host, (unsigned)ntohs(a->in.sin_port));
	} else if (a->family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		snprintf(buf, 64, "%s %u", host, (unsigned)ntohs(a->in6.sin6_port));
	} else {
		buf[0] = '\0';
	}
	return buf;
}

static bool untouched(const struct netaddr *a)
{
	const unsigned char *p = (const unsigned char *)a;

	for (size_t i = 0; i < sizeof(*a); i++) {
		if (p[i] != 0xa5)
			return false;
	}
	return true;
}

struct address_case {
	struct bytes in;
	const char *want; /* NULL: refused */
};

// clang-format off
static const struct address_case of_227[] = {
	{ S("Entering Passive Mode (192,0,2,1,195,80)."), "192.0.2.1 50000" },
	{ S("Entering Passive Mode (192,0,2,1,195,80)"), "192.0.2.1 50000" },
	{ S("192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("Entering Passive Mode 192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("Entering Passive Mode 192,0,2,1,195,80."), "192.0.2.1 50000" },
	{ S("Passive mode OK (=192,0,2,1,195,80 )"), "192.0.2.1 50000" },
	{ S("=192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("Entering Passive Mode (192, 0, 2, 1, 195, 80)"), "192.0.2.1 50000" },
	{ S("( 192 ,0  ,2 , 1,195, 80 )"), "192.0.2.1 50000" },
	{ S("Entering Passive Mode (192,000,002,001,195,080)"), "192.0.2.1 50000" },
	{ S("(0000000000192,0,2,1,195,80)"), "192.0.2.1 50000" },
	{ S("Entering Passive Mode (::ffff:192,0,2,1,195,80)"), "192.0.2.1 50000" },
	{ S("Mode 2 of 3, 4: (192,0,2,1,195,80)"), "192.0.2.1 50000" },
	{ S("on 10.0.0.1 (192,0,2,1,195,80)"), "192.0.2.1 50000" },
	{ S("Ok, 192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("Ok - 192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("1,2,3 192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("(192,0,2,1,195,80) (198,51,100,1,1,1)"), "192.0.2.1 50000" },
	{ S("(192,0,2,1,195,80)\xe4\0x"), "192.0.2.1 50000" },
	{ S("(0,0,0,0,0,1)"), "0.0.0.0 1" },
	{ S("(255,255,255,255,255,255)"), "255.255.255.255 65535" },
	{ S("(192,0,2,1,195,80,)"), "192.0.2.1 50000" },
	{ S(""), NULL },
	{ S("Entering Passive Mode"), NULL },
	{ S("(192,0,2,1,195)"), NULL },
	{ S("(192,0,2,1,195,)"), NULL },
	{ S("(,192,0,2,1,195)"), NULL },
	{ S("(192,0,2,1,195,80,1)"), NULL },
	{ S("(192,0,2,1,0,0)"), NULL },
	{ S("(256,0,2,1,195,80)"), NULL },
	{ S("(192,0,2,1,195,256)"), NULL },
	{ S("(192,0,2,1,195,4294967376)"), NULL },
	{ S("(192,0,2,1,195,18446744073709551696)"), NULL },
	{ S("(256,0,2,1,195,80) (192,0,2,1,195,80)"), NULL },
	{ S("(-192,0,2,1,195,80)"), NULL },
	{ S("(192,-0,2,1,195,80)"), NULL },
	{ S("(10.192,0,2,1,195,80)"), NULL },
	{ S("(192,0,2,1,195,80.5)"), NULL },
	{ S("(192,0,2,1,195,0x50)"), NULL },
	{ S("(192,0,2,1,195\0,80)"), NULL },
	{ S("(192.0.2.1,195,80)"), NULL },
	{ S("(192\t,0,2,1,195,80)"), NULL },
	{ S("(192,,0,2,1,195,80)"), NULL },
	{ S("(|||50000|)"), NULL },
};
// clang-format on

// clang-format off
static const struct address_case of_port[] = {
	{ S("192,0,2,1,195,80"), "192.0.2.1 50000" },
	{ S("192,000,002,001,195,080"), "192.0.2.1 50000" },
	{ S("0,0,0,0,0,1"), "0.0.0.0 1" },
	{ S("255,255,255,255,255,255"), "255.255.255.255 65535" },
	{ S(""), NULL },
	{ S("192,0,2,1,195"), NULL },
	{ S("192,0,2,1,195,"), NULL },
	{ S("192,0,2,1,195,80,"), NULL },
	{ S("192,0,2,1,195,80,1"), NULL },
	{ S("192,0,2,1,195,80 "), NULL },
	{ S(" 192,0,2,1,195,80"), NULL },
	{ S("192, 0,2,1,195,80"), NULL },
	{ S("(192,0,2,1,195,80)"), NULL },
	{ S("192,0,2,1,0,0"), NULL },
	{ S("256,0,2,1,195,80"), NULL },
	{ S("192,0,2,1,195,256"), NULL },
	{ S("192,0,2,1,195,0080"), NULL },
	{ S("192,0,2,1,195,4294967376"), NULL },
	{ S("192,,2,1,195,80"), NULL },
	{ S("192,+0,2,1,195,80"), NULL },
	{ S("192,0,2,1,195,80\r\0"), NULL },
	{ S("192.0.2.1.195.80"), NULL },
};
// clang-format on

static void check_address(const struct address_case *c,
                          bool (*parse)(struct span text, struct netaddr *out))
{
	struct span in = exact(c->in);
	struct netaddr a;
	char buf[64];

	memset(&a, 0xa5, sizeof(a));
	if (c->want == NULL) {
		ck_assert_msg(!parse(in, &a), "%.*s", (int)c->in.n, c->in.p);
		ck_assert(untouched(&a));
	} else {
		ck_assert_msg(parse(in, &a), "%.*s", (int)c->in.n, c->in.p);
		ck_assert_str_eq(show(&a, buf), c->want);
	}
	exact_free(in);
}

START_TEST(parse_227)
{
	check_address(&of_227[_i], ftp_address_parse_227);
}
END_TEST

START_TEST(parse_port)
{
	check_address(&of_port[_i], ftp_address_parse_port);
}
END_TEST

struct port_case {
	struct bytes in;
	unsigned want; /* 0: refused */
};

// clang-format off
static const struct port_case of_229[] = {
	{ S("Entering Extended Passive Mode (|||50000|)"), 50000 },
	{ S("Entering Extended Passive Mode (|||50000|)."), 50000 },
	{ S("(!!!50000!)"), 50000 },
	{ S("(~~~50000~)"), 50000 },
	{ S("(|||1|)"), 1 },
	{ S("(|||65535|)"), 65535 },
	{ S("(|||00021|)"), 21 },
	{ S("(1112131)"), 213 },
	{ S("(1111111)"), 111 },
	{ S("(111111111)"), 11111 },
	{ S("(((((50000()"), 50000 },
	{ S("()))50000))"), 50000 },
	{ S("(ok) (|||50000|)"), 50000 },
	{ S("(|||0|) (|||50000|)"), 50000 },
	{ S("(|||50000|) (|||50001|)"), 50000 },
	{ S(""), 0 },
	{ S("("), 0 },
	{ S("(|"), 0 },
	{ S("(|||"), 0 },
	{ S("(|||5"), 0 },
	{ S("(|||50000"), 0 },
	{ S("(|||50000|"), 0 },
	{ S("(|||50000)"), 0 },
	{ S("|||50000|"), 0 },
	{ S("(||50000|)"), 0 },
	{ S("(|!|50000|)"), 0 },
	{ S("(||!50000|)"), 0 },
	{ S("(|||50000!)"), 0 },
	{ S("(||||)"), 0 },
	{ S("(|||0|)"), 0 },
	{ S("(|||65536|)"), 0 },
	{ S("(|||050000|)"), 0 },
	{ S("(|||4294967297|)"), 0 },
	{ S("(|||-5|)"), 0 },
	{ S("(||| 50000|)"), 0 },
	{ S("(   50000 )"), 0 },
	{ S("(\x7f\x7f\x7f" "50000\x7f)"), 0 },
	{ S("(\xe4\xe4\xe4" "50000\xe4)"), 0 },
	{ S("(\0\0\0" "50000\0)"), 0 },
	{ S("(|2|2001:db8::1|50000|)"), 0 },
};
// clang-format on

START_TEST(parse_229)
{
	const struct port_case *c = &of_229[_i];
	struct span in = exact(c->in);
	uint16_t port = 7;
	bool ok = ftp_address_parse_229(in, &port);

	ck_assert_msg(ok == (c->want != 0), "%.*s", (int)c->in.n, c->in.p);
	ck_assert_uint_eq(port, ok ? c->want : 7);
	exact_free(in);
}
END_TEST

START_TEST(every_delimiter)
{
	for (int d = 0; d < 256; d++) {
		bool good = d >= 33 && d <= 126;
		char *text = malloc(11);
		struct netaddr a;
		uint16_t port = 0;
		char buf[64];
		char eprt[32];

		memset(text, d, 11);
		text[0] = '(';
		memcpy(text + 4, "54321", 5);
		text[10] = ')';
		ck_assert(ftp_address_parse_229(span_from(text, 11), &port) == good);
		if (good)
			ck_assert_uint_eq(port, 54321);
		free(text);

		/* a delimiter that occurs in the fields cannot work */
		snprintf(eprt, sizeof(eprt), "%c1%c192.0.2.7%c54321%c", d, d, d, d);
		if (d == 0 || memchr("1923.0754", d, 9) != NULL)
			continue;
		ck_assert((ftp_address_parse_eprt(span_of(eprt), &a) == EPRT_OK) == good);
		if (good)
			ck_assert_str_eq(show(&a, buf), "192.0.2.7 54321");
	}
}
END_TEST

struct eprt_case {
	struct bytes in;
	enum eprt_result result;
	const char *want;
};

// clang-format off
static const struct eprt_case of_eprt[] = {
	{ S("|1|192.0.2.1|50000|"), EPRT_OK, "192.0.2.1 50000" },
	{ S("|2|2001:db8::1|50000|"), EPRT_OK, "2001:db8::1 50000" },
	{ S("|2|::|1|"), EPRT_OK, ":: 1" },
	{ S("|2|::ffff:192.0.2.1|65535|"), EPRT_OK, "::ffff:192.0.2.1 65535" },
	{ S("|2|2001:0db8:0000:0000:0000:0000:255.255.255.255|00021|"), EPRT_OK,
	  "2001:db8::ffff:ffff 21" },
	{ S("!1!192.0.2.1!50000!"), EPRT_OK, "192.0.2.1 50000" },
	{ S("|3|192.0.2.1|50000|"), EPRT_FAMILY, NULL },
	{ S("|0|"), EPRT_FAMILY, NULL },
	{ S("|01|192.0.2.1|50000|"), EPRT_FAMILY, NULL },
	{ S("|11|192.0.2.1|50000|"), EPRT_FAMILY, NULL },
	{ S("|4294967297|192.0.2.1|50000|"), EPRT_FAMILY, NULL },
	{ S(""), EPRT_SYNTAX, NULL },
	{ S("|"), EPRT_SYNTAX, NULL },
	{ S("||"), EPRT_SYNTAX, NULL },
	{ S("|1"), EPRT_SYNTAX, NULL },
	{ S("|1|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|50000"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|50000| "), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|50000||"), EPRT_SYNTAX, NULL },
	{ S(" |1|192.0.2.1|50000|"), EPRT_SYNTAX, NULL },
	{ S("||192.0.2.1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|x|192.0.2.1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|-1|192.0.2.1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1||50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1||"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|0|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|65536|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|4294967297|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|050000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|+50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|50 00|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1|5000x|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.256|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1 |50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|192.0.2.1\0|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|0xc0000201|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|localhost|50000|"), EPRT_SYNTAX, NULL },
	{ S("|1|2001:db8::1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|2|192.0.2.1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|2|fe80::1%lo|50000|"), EPRT_SYNTAX, NULL },
	{ S("|2|fe80::1%1|50000|"), EPRT_SYNTAX, NULL },
	{ S("|2|[2001:db8::1]|50000|"), EPRT_SYNTAX, NULL },
	{ S("|2|2001:0db8:0000:0000:0000:0000:255.255.255.2550|50000|"), EPRT_SYNTAX, NULL },
	{ S("\0" "1\0" "192.0.2.1\0" "50000\0"), EPRT_SYNTAX, NULL },
};
// clang-format on

START_TEST(parse_eprt)
{
	const struct eprt_case *c = &of_eprt[_i];
	struct span in = exact(c->in);
	struct netaddr a;
	char buf[64];

	memset(&a, 0xa5, sizeof(a));
	ck_assert_int_eq(ftp_address_parse_eprt(in, &a), c->result);
	if (c->result == EPRT_OK)
		ck_assert_str_eq(show(&a, buf), c->want);
	else
		ck_assert(untouched(&a));
	exact_free(in);
}
END_TEST

START_TEST(written_is_read_again)
{
	static const uint32_t hosts[] = { 0, 1, 0x7f000001, 0xc0000201, 0xffffffff };

	for (size_t i = 0; i < SP_ARRAY_LEN(hosts); i++) {
		for (unsigned port = 1; port <= UINT16_MAX; port += 257) {
			char text[FTP_ADDRESS_TEXT_MAX];
			struct netaddr a, b;
			size_t n;

			memset(&a, 0, sizeof(a));
			a.in.sin_family = AF_INET;
			a.in.sin_addr.s_addr = htonl(hosts[i]);
			a.in.sin_port = htons((uint16_t)port);
			n = ftp_address_write_port(text, &a);
			ck_assert_uint_eq(n, strlen(text));
			ck_assert(ftp_address_parse_port(span_from(text, n), &b));
			ck_assert_mem_eq(&a, &b, sizeof(a));
			ck_assert(ftp_address_parse_227(span_from(text, n), &b));
			ck_assert_mem_eq(&a, &b, sizeof(a));
			n = ftp_address_write_eprt(text, &a);
			ck_assert_uint_eq(n, strlen(text));
			ck_assert_int_eq(ftp_address_parse_eprt(span_from(text, n), &b), EPRT_OK);
			ck_assert_mem_eq(&a, &b, sizeof(a));
		}
	}
}
END_TEST

START_TEST(writers)
{
	char text[FTP_ADDRESS_TEXT_MAX];
	struct netaddr a, b;

	memset(&a, 0, sizeof(a));
	ck_assert_uint_eq(ftp_address_write_port(text, &a), 0);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(ftp_address_write_eprt(text, &a), 0);
	ck_assert_str_eq(text, "");

	a.in.sin_family = AF_INET;
	a.in.sin_addr.s_addr = htonl(0xc0000201);
	a.in.sin_port = htons(50000);
	ck_assert_uint_eq(ftp_address_write_port(text, &a), 16);
	ck_assert_str_eq(text, "192,0,2,1,195,80");
	ck_assert_uint_eq(ftp_address_write_eprt(text, &a), 19);
	ck_assert_str_eq(text, "|1|192.0.2.1|50000|");

	memset(&a, 0, sizeof(a));
	a.in6.sin6_family = AF_INET6;
	ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8::1", &a.in6.sin6_addr), 1);
	a.in6.sin6_port = htons(50000);
	ck_assert_uint_eq(ftp_address_write_port(text, &a), 0);
	ck_assert_uint_eq(ftp_address_write_eprt(text, &a), 21);
	ck_assert_str_eq(text, "|2|2001:db8::1|50000|");
	ck_assert_int_eq(ftp_address_parse_eprt(span_of(text), &b), EPRT_OK);
	ck_assert_mem_eq(&a, &b, sizeof(a));

	/* the longest there is */
	ck_assert_int_eq(
	    inet_pton(AF_INET6, "abcd:abcd:abcd:abcd:abcd:abcd:abcd:abcd", &a.in6.sin6_addr), 1);
	a.in6.sin6_port = htons(65535);
	ck_assert_uint_eq(ftp_address_write_eprt(text, &a), 49);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ftp_address");
	TCase *tests = tcase_create("ftp_address");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, parse_227, 0, (int)SP_ARRAY_LEN(of_227));
	tcase_add_loop_test(tests, parse_port, 0, (int)SP_ARRAY_LEN(of_port));
	tcase_add_loop_test(tests, parse_229, 0, (int)SP_ARRAY_LEN(of_229));
	tcase_add_loop_test(tests, parse_eprt, 0, (int)SP_ARRAY_LEN(of_eprt));
	tcase_add_test(tests, every_delimiter);
	tcase_add_test(tests, written_is_read_again);
	tcase_add_test(tests, writers);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * The PROXY protocol: headers as the specification prints them and as rude
 * peers send them, cut anywhere; and what is written is read back.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text)                                                                                \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

// clang-format off
/* The addresses of "192.0.2.1:40000 -> 198.51.100.2:21", version 2. */
#define IPV4_BLOCK "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x00\x15"
#define IPV6_BLOCK                                                             \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                           \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x00\x15"
#define MAPPED_BLOCK                                                           \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"                         \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02\x9c\x40\x00\x15"

static const struct {
	struct span in;
	enum proxy_protocol_kind kind;
	const char *source, *destination; /* "-": none */
	size_t tlvs;
} goods[] = {
	{ BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 21\r\n"), PROXY_PROTOCOL_PROXIED,
	  "192.0.2.1:40000", "198.51.100.2:21", 0 },
	{ BYTES("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), PROXY_PROTOCOL_PROXIED,
	  "0.0.0.0:0", "255.255.255.255:65535", 0 },
	{ BYTES("PROXY TCP6 2001:DB8::1 2001:db8:0:0:0:0:0:2 1 2\r\n"), PROXY_PROTOCOL_PROXIED,
	  "[2001:db8::1]:1", "[2001:db8::2]:2", 0 },
	{ BYTES("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"), PROXY_PROTOCOL_PROXIED,
	  "192.0.2.1:1", "[2001:db8::2]:2", 0 },
	{ BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	  PROXY_PROTOCOL_PROXIED, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 0 },
	{ BYTES("PROXY UNKNOWN\r\n"), PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },
	{ BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	  PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },
	{ BYTES("PROXY UNKNOWN any\nthing \r at all\r\n"), PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },

	{ BYTES(SIGNATURE "\x21\x11\x00\x0c" IPV4_BLOCK), PROXY_PROTOCOL_PROXIED, "192.0.2.1:40000",
	  "198.51.100.2:21", 0 },
	{ BYTES(SIGNATURE "\x21\x21\x00\x24" IPV6_BLOCK), PROXY_PROTOCOL_PROXIED,
	  "[2001:db8::1]:40000", "[2001:db8::2]:21", 0 },
	{ BYTES(SIGNATURE "\x21\x21\x00\x24" MAPPED_BLOCK), PROXY_PROTOCOL_PROXIED,
	  "192.0.2.1:40000", "198.51.100.2:21", 0 },
	{ BYTES(SIGNATURE "\x21\x11\x00\x15" IPV4_BLOCK "\x04\x00\x00\x02\x00\x03" "abc"),
	  PROXY_PROTOCOL_PROXIED, "192.0.2.1:40000", "198.51.100.2:21", 9 },
	{ BYTES(SIGNATURE "\x20\x00\x00\x00"), PROXY_PROTOCOL_LOCAL, "-", "-", 0 },
	/* LOCAL: whatever else it says is to be ignored */
	{ BYTES(SIGNATURE "\x20\x11\x00\x0c" IPV4_BLOCK), PROXY_PROTOCOL_LOCAL, "-", "-", 0 },
	{ BYTES(SIGNATURE "\x20\xff\x00\x01x"), PROXY_PROTOCOL_LOCAL, "-", "-", 0 },
	{ BYTES(SIGNATURE "\x21\x00\x00\x00"), PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },
	{ BYTES(SIGNATURE "\x21\x00\x00\x06\x02\x00\x03" "abc"), PROXY_PROTOCOL_UNKNOWN, "-", "-",
	  6 },
	/* a datagram's addresses are no TCP client's */
	{ BYTES(SIGNATURE "\x21\x12\x00\x0c" IPV4_BLOCK), PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },
	{ BYTES(SIGNATURE "\x21\x22\x00\x24" IPV6_BLOCK), PROXY_PROTOCOL_UNKNOWN, "-", "-", 0 },
};

static const struct span bads[] = {
	BYTES("USER anonymous\r\n"),
	BYTES("proxy TCP4 192.0.2.1 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY\r\n"),
	BYTES("PROXY \r\n"),
	BYTES("PROXY TCP4\r\n"),
	BYTES("PROXY TCP5 192.0.2.1 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY  TCP4 192.0.2.1 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4  192.0.2.1 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 21 \r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 21 22\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 65536\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 -1 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 +1 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 040 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 000021 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 4a 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.01 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.256 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4 192.0.2 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 40000 21\r\n"),
	BYTES("PROXY TCP6 192.0.2.1 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP6 fe80::1%eth0 2001:db8::2 40000 21\r\n"),
	BYTES("PROXY TCP6 [2001:db8::1] 2001:db8::2 40000 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1\0 198.51.100.2 40000 21\r\n"),
	BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 21\n\r\n"),
	BYTES("PROXY UNKNOWNX\r\n"),
	BYTES("PROXY unknown\r\n"),
	/* 108 bytes */
	BYTES("PROXY UNKNOWN fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535xx\r\n"),
	/* no end within the limit */
	BYTES("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	      "xxxxxxxxxxxxxxxxxxxxxxxxx"),

	BYTES("\r\n\r\n\0\r\nQUIT\r\x21\x11\x00\x0c" IPV4_BLOCK),
	BYTES(SIGNATURE "\x11\x11\x00\x0c" IPV4_BLOCK), /* version 1 in version 2's clothes */
	BYTES(SIGNATURE "\x31\x11\x00\x0c" IPV4_BLOCK),
	BYTES(SIGNATURE "\x22\x11\x00\x0c" IPV4_BLOCK), /* no such command */
	BYTES(SIGNATURE "\x21\x41\x00\x0c" IPV4_BLOCK), /* no such family */
	BYTES(SIGNATURE "\x21\x13\x00\x0c" IPV4_BLOCK), /* no such transport */
	BYTES(SIGNATURE "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x00"),
	BYTES(SIGNATURE "\x21\x21\x00\x0c" IPV4_BLOCK), /* too short for its family */
	BYTES(SIGNATURE "\x21\x31\x00\x01x"),
	BYTES(SIGNATURE "\x21\x11\x0f\xf1"), /* one byte over our limit */
	BYTES(SIGNATURE "\x20\x00\xff\xff"),
	BYTES("\x16\x03\x01\x02"), /* TLS */
	BYTES("\xff\xf4\xff\xf2" "ABOR\r\n"),
	BYTES("\0"),
};
// clang-format on

static void expect_address(const struct netaddr *a, const char *text)
{
	char buffer[NETADDR_TEXT_MAX];

	ck_assert_str_eq(netaddr_format(a, buffer), text);
}

/* Parses a copy of exactly these bytes, so that a sanitizer sees a read beyond. */
static enum proxy_protocol_result parse_exactly(struct span in, size_t *length,
                                                struct proxy_protocol_header *out)
{
	char *copy = malloc(in.n > 0 ? in.n : 1);

	ck_assert_ptr_nonnull(copy);
	if (in.n > 0)
		memcpy(copy, in.p, in.n);

	enum proxy_protocol_result result =
	    proxy_protocol_parse(span_from(copy, in.n), length, out);

	free(copy);
	return result;
}

START_TEST(good_headers)
{
	struct span in = goods[_i].in;
	struct proxy_protocol_header header;
	char longer[256];
	size_t length = 0;

	ck_assert_int_eq(proxy_protocol_parse(in, &length, &header), PROXY_PROTOCOL_OK);
	ck_assert_uint_eq(length, in.n);
	ck_assert_int_eq(header.kind, goods[_i].kind);
	ck_assert_int_eq(header.version, in.p[0] == 'P' ? 1 : 2);
	expect_address(&header.source, goods[_i].source);
	expect_address(&header.destination, goods[_i].destination);
	ck_assert_uint_eq(header.tlvs.n, goods[_i].tlvs);

	/* What follows is not the header's. */
	memcpy(longer, in.p, in.n);
	memcpy(longer + in.n, "USER a\r\n", 8);
	ck_assert_int_eq(proxy_protocol_parse(span_from(longer, in.n + 8), &length, &header),
	                 PROXY_PROTOCOL_OK);
	ck_assert_uint_eq(length, in.n);

	/* Cut anywhere: more is wanted, and never a byte too much. */
	for (size_t n = 0; n < in.n; n++) {
		ck_assert_int_eq(parse_exactly(span_from(in.p, n), &length, &header),
		                 PROXY_PROTOCOL_MORE);
		ck_assert_uint_gt(length, n);
		ck_assert_uint_le(length, in.n);
	}
}
END_TEST

START_TEST(reading_up_to_the_wanted_length_ends_at_the_end)
{
	struct span in = goods[_i].in;
	struct proxy_protocol_header header;
	size_t have = 0, length = 0;
	int reads = 0;

	while (parse_exactly(span_from(in.p, have), &length, &header) == PROXY_PROTOCOL_MORE) {
		have = length;
		reads++;
		ck_assert_uint_le(have, in.n);
	}
	ck_assert_uint_eq(have, in.n);
	ck_assert_int_le(reads, 60);
}
END_TEST

START_TEST(bad_headers)
{
	struct span in = bads[_i];
	struct proxy_protocol_header header;
	size_t length = 1;
	bool bad = false;

	memset(&header, 0x5a, sizeof(header));
	ck_assert_int_eq(parse_exactly(in, &length, &header), PROXY_PROTOCOL_BAD);
	ck_assert_uint_eq(length, 0);
	ck_assert_int_eq(header.version, 0x5a5a5a5a); /* untouched */
	/* Cut anywhere: never good, and never better again once it is bad. */
	for (size_t n = 0; n < in.n; n++) {
		enum proxy_protocol_result result =
		    parse_exactly(span_from(in.p, n), &length, &header);

		ck_assert_int_ne(result, PROXY_PROTOCOL_OK);
		ck_assert(!bad || result == PROXY_PROTOCOL_BAD);
		bad = result == PROXY_PROTOCOL_BAD;
	}
}
END_TEST

START_TEST(other_talk_is_refused_at_its_first_byte)
{
	struct proxy_protocol_header header;
	size_t length;

	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		enum proxy_protocol_result result =
		    proxy_protocol_parse(span_from(&byte, 1), &length, &header);

		ck_assert_int_eq(result,
		                 c == 'P' || c == '\r' ? PROXY_PROTOCOL_MORE : PROXY_PROTOCOL_BAD);
	}
}
END_TEST

START_TEST(the_longest_header_is_taken)
{
	static char in[PROXY_PROTOCOL_MAX] = SIGNATURE "\x21\x11\x0f\xf0" IPV4_BLOCK;
	struct proxy_protocol_header header;
	size_t length;

	ck_assert_int_eq(proxy_protocol_parse(span_from(in, 16), &length, &header),
	                 PROXY_PROTOCOL_MORE);
	ck_assert_uint_eq(length, PROXY_PROTOCOL_MAX);
	ck_assert_int_eq(proxy_protocol_parse(span_from(in, sizeof(in)), &length, &header),
	                 PROXY_PROTOCOL_OK);
	ck_assert_uint_eq(header.tlvs.n, PROXY_PROTOCOL_MAX - 16 - 12);
}
END_TEST

START_TEST(tlvs_are_walked_to_what_is_none)
{
	struct span tlvs = BYTES("\x04\x00\x00\x02\x00\x03"
	                         "abc\x05\x00\x02x");
	struct span value;

	ck_assert_int_eq(proxy_protocol_next_tlv(&tlvs, &value), 4);
	ck_assert_uint_eq(value.n, 0);
	ck_assert_int_eq(proxy_protocol_next_tlv(&tlvs, &value), PROXY_PROTOCOL_TYPE_AUTHORITY);
	ck_assert(span_eq(value, span_of("abc")));
	ck_assert_int_eq(proxy_protocol_next_tlv(&tlvs, &value), -1);
	tlvs = span_from("\x05\x00", 2);
	ck_assert_int_eq(proxy_protocol_next_tlv(&tlvs, &value), -1);
	tlvs = span_from(NULL, 0);
	ck_assert_int_eq(proxy_protocol_next_tlv(&tlvs, &value), -1);
}
END_TEST

/* --- writing --------------------------------------------------------------------- */

static struct netaddr numeric(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(&a, span_of(text), 0));
	return a;
}

// clang-format off
static const struct {
	const char *source, *destination; /* NULL: our own connection */
	struct span v1, v2;
} written[] = {
	{ "192.0.2.1:40000", "198.51.100.2:21",
	  BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 21\r\n"),
	  BYTES(SIGNATURE "\x21\x11\x00\x0c" IPV4_BLOCK) },
	{ "[2001:db8::1]:40000", "[2001:db8::2]:21",
	  BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 40000 21\r\n"),
	  BYTES(SIGNATURE "\x21\x21\x00\x24" IPV6_BLOCK) },
	{ "192.0.2.1:1", "[2001:db8::2]:65535",
	  BYTES("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 65535\r\n"),
	  BYTES(SIGNATURE "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
			  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01\xff\xff") },
	{ NULL, NULL, BYTES("PROXY UNKNOWN\r\n"), BYTES(SIGNATURE "\x20\x00\x00\x00") },
};
// clang-format on

START_TEST(headers_are_written_as_specified)
{
	struct netaddr source, destination;
	const struct netaddr *from = NULL, *to = NULL;
	struct proxy_protocol_header header;
	char buffer[256];
	size_t length;

	if (written[_i].source != NULL) {
		source = numeric(written[_i].source);
		destination = numeric(written[_i].destination);
		from = &source;
		to = &destination;
	}
	for (int version = 1; version <= 2; version++) {
		struct span want = version == 1 ? written[_i].v1 : written[_i].v2;

		/* It fits exactly, or not at all. */
		for (size_t size = 0; size <= want.n; size++) {
			size_t n = version == 1
			               ? proxy_protocol_write_v1(buffer, size, from, to)
			               : proxy_protocol_write_v2(buffer, size, from, to, NULL);

			ck_assert_uint_eq(n, size == want.n ? want.n : 0);
		}
		ck_assert_mem_eq(buffer, want.p, want.n);
		ck_assert_int_eq(proxy_protocol_parse(want, &length, &header), PROXY_PROTOCOL_OK);
		if (from == NULL) {
			ck_assert_int_ne(header.kind, PROXY_PROTOCOL_PROXIED);
			continue;
		}
		expect_address(&header.source, written[_i].source);
		expect_address(&header.destination, written[_i].destination);
	}
}
END_TEST

START_TEST(a_scope_is_not_written)
{
	struct netaddr a = numeric("[fe80::1]:1");
	char buffer[256];
	size_t n;

	a.in6.sin6_scope_id = 2;
	n = proxy_protocol_write_v1(buffer, sizeof(buffer), &a, &a);
	ck_assert(span_eq(span_from(buffer, n), span_of("PROXY TCP6 fe80::1 fe80::1 1 1\r\n")));
}
END_TEST

START_TEST(no_address_is_not_written)
{
	struct netaddr a = numeric("192.0.2.1:1"), none;
	char buffer[256];

	memset(&none, 0, sizeof(none));
	ck_assert_uint_eq(proxy_protocol_write_v1(buffer, sizeof(buffer), &a, &none), 0);
	ck_assert_uint_eq(proxy_protocol_write_v1(buffer, sizeof(buffer), &none, &a), 0);
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &none, NULL), 0);
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &none, &a, NULL), 0);
}
END_TEST

static void expect_tlv(struct span *tlvs, int type, const char *text)
{
	struct span value;

	ck_assert_int_eq(proxy_protocol_next_tlv(tlvs, &value), type);
	ck_assert(span_eq(value, span_of(text)));
}

START_TEST(facts_are_written_behind_the_addresses)
{
	struct netaddr a = numeric("192.0.2.1:1");
	struct proxy_protocol_facts facts = {
		.alpn = span_of("ftp"),
		.authority = span_of("ftp.example.net"),
		.unique_id = span_of("0100000000000007"),
		.tls = true,
		.tls_version = span_of("TLSv1.3"),
		.tls_cipher = span_of("TLS_AES_256_GCM_SHA384"),
		.tls_cn = _i == 0 ? span_of("alice") : span_of(NULL),
		.tls_verified = _i == 0,
	};
	struct proxy_protocol_header header;
	char buffer[512];
	size_t length;
	size_t n = proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts);
	struct span value;

	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(proxy_protocol_parse(span_from(buffer, n), &length, &header),
	                 PROXY_PROTOCOL_OK);
	ck_assert_uint_eq(length, n);
	expect_tlv(&header.tlvs, PROXY_PROTOCOL_TYPE_ALPN, "ftp");
	expect_tlv(&header.tlvs, PROXY_PROTOCOL_TYPE_AUTHORITY, "ftp.example.net");
	expect_tlv(&header.tlvs, PROXY_PROTOCOL_TYPE_UNIQUE_ID, "0100000000000007");
	ck_assert_int_eq(proxy_protocol_next_tlv(&header.tlvs, &value), PROXY_PROTOCOL_TYPE_SSL);
	ck_assert_int_eq(proxy_protocol_next_tlv(&header.tlvs, &(struct span){ 0 }), -1);
	ck_assert_mem_eq(value.p, _i == 0 ? "\x03\0\0\0\0" : "\x01\0\0\0\x01",
	                 PROXY_PROTOCOL_SSL_HEAD);
	value = span_from(value.p + PROXY_PROTOCOL_SSL_HEAD, value.n - PROXY_PROTOCOL_SSL_HEAD);
	expect_tlv(&value, PROXY_PROTOCOL_TYPE_SSL_VERSION, "TLSv1.3");
	if (_i == 0)
		expect_tlv(&value, PROXY_PROTOCOL_TYPE_SSL_CN, "alice");
	expect_tlv(&value, PROXY_PROTOCOL_TYPE_SSL_CIPHER, "TLS_AES_256_GCM_SHA384");
	ck_assert_uint_eq(value.n, 0);
	for (size_t size = 0; size < n; size++)
		ck_assert_uint_eq(proxy_protocol_write_v2(buffer, size, &a, &a, &facts), 0);
}
END_TEST

START_TEST(facts_that_are_too_long_are_refused)
{
	static char text[70000], buffer[80000];
	struct netaddr a = numeric("192.0.2.1:1");
	struct proxy_protocol_facts facts = { .unique_id = { text, PROXY_PROTOCOL_UNIQUE_ID_MAX } };

	ck_assert_uint_gt(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts), 0);
	facts.unique_id.n++;
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts), 0);
	facts.unique_id.n = 0;
	facts.authority = span_from(text, 65536);
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts), 0);
	facts.authority.n = 40000;
	facts.alpn = facts.authority;
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts), 0);
	facts.alpn.n = 0;
	facts.tls = true;
	facts.tls_cn = span_from(text, 65530);
	ck_assert_uint_eq(proxy_protocol_write_v2(buffer, sizeof(buffer), &a, &a, &facts), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proxy_protocol");
	TCase *tests = tcase_create("proxy_protocol");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, good_headers, 0, (int)SP_ARRAY_LEN(goods));
	tcase_add_loop_test(tests, reading_up_to_the_wanted_length_ends_at_the_end, 0,
	                    (int)SP_ARRAY_LEN(goods));
	tcase_add_loop_test(tests, bad_headers, 0, (int)SP_ARRAY_LEN(bads));
	tcase_add_test(tests, other_talk_is_refused_at_its_first_byte);
	tcase_add_test(tests, the_longest_header_is_taken);
	tcase_add_test(tests, tlvs_are_walked_to_what_is_none);
	tcase_add_loop_test(tests, headers_are_written_as_specified, 0, (int)SP_ARRAY_LEN(written));
	tcase_add_test(tests, a_scope_is_not_written);
	tcase_add_test(tests, no_address_is_not_written);
	tcase_add_loop_test(tests, facts_are_written_behind_the_addresses, 0, 2);
	tcase_add_test(tests, facts_that_are_too_long_are_refused);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

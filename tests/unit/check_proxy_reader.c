// SPDX-License-Identifier: ISC
/*
 * Taking a PROXY header off a socket: in whatever pieces it comes, and nothing
 * of what follows it.
 */
#include "net_test.h"

#include "sallyport/proxy_reader.h"

#define FOLLOWS "\x16\x03\x01 what follows"

static struct stream ours;
static int theirs;
static struct proxy_reader reader;
static struct proxy_protocol_header header;

/* Version 2, IPv4: 192.0.2.1:1 to 192.0.2.2:2. */
static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02";
static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";

static const struct span headers[] = {
	{ v1, sizeof(v1) - 1 },
	{ v2, sizeof(v2) - 1 },
};

static void not_called(void *owner, unsigned ready)
{
	(void)owner;
	ck_abort_msg("called with %u", ready);
}

static void pair_setup(void)
{
	int fd;

	tcp_pair(&fd, &theirs);
	stream_open(&ours, test_base, fd, &test_ledger, LEDGER_CONTROL_FD, test_id, SP_HERE, not_called, NULL);
}

static void pair_teardown(void)
{
	proxy_reader_fini(&reader);
	ck_assert_ptr_null(reader.bytes);
	stream_close(&ours);
	close(theirs);
}

/* Sends and waits until all of it can be read. */
static void say(const char *bytes, size_t n)
{
	struct pollfd p = { .fd = ours.fd, .events = POLLIN };

	ck_assert_int_eq(send(theirs, bytes, n, 0), (ssize_t)n);
	ck_assert_int_eq(poll(&p, 1, NET_TEST_PATIENCE_MS), 1);
}

static void assert_header(void)
{
	char text[NETADDR_TEXT_MAX];

	ck_assert_int_eq(header.kind, PROXY_PROTOCOL_PROXIED);
	ck_assert_str_eq(netaddr_format(&header.source, text), "192.0.2.1:1");
	ck_assert_str_eq(netaddr_format(&header.destination, text), "192.0.2.2:2");
}

/* What comes in the same segment is all still there. */
START_TEST(what_follows_is_left_in_the_socket)
{
	struct span h = headers[_i];
	char both[256];
	char rest[64] = "";

	memcpy(both, h.p, h.n);
	memcpy(both + h.n, FOLLOWS, sizeof(FOLLOWS));
	say(both, h.n + sizeof(FOLLOWS));
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), 0);
	assert_header();
	ck_assert_int_eq(stream_peek(&ours, rest, sizeof(rest)), sizeof(FOLLOWS));
	ck_assert_int_eq(stream_read(&ours, rest, sizeof(rest)), sizeof(FOLLOWS));
	ck_assert_mem_eq(rest, FOLLOWS, sizeof(FOLLOWS));
}
END_TEST

START_TEST(a_header_may_come_byte_by_byte)
{
	struct span h = headers[_i];
	char byte;

	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -EAGAIN);
	for (size_t i = 0; i < h.n; i++) {
		say(h.p + i, 1);
		ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), i + 1 < h.n ? -EAGAIN : 0);
		/* What belongs to the header is not left there to be reported again. */
		ck_assert_int_eq(stream_peek(&ours, &byte, 1), -EAGAIN);
	}
	assert_header();
}
END_TEST

START_TEST(what_is_no_header_is_told)
{
	say("USER x\r\n", 8);
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -EPROTO);
}
END_TEST

/* However long it is: never more than the limit is kept. */
START_TEST(a_header_beyond_the_limit_is_refused)
{
	char big[PROXY_PROTOCOL_MAX + 100];

	memset(big, 'x', sizeof(big));
	memcpy(big, v2, 16);
	big[14] = 0x0f;
	big[15] = (char)0xf1; /* with its head one byte more than the limit */
	say(big, sizeof(big));
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -EPROTO);
}
END_TEST

START_TEST(the_end_within_a_header_is_told)
{
	struct span h = headers[_i];

	say(h.p, h.n - 1);
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -EAGAIN);
	ck_assert_int_eq(shutdown(theirs, SHUT_WR), 0);
	struct pollfd p = { .fd = ours.fd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, NET_TEST_PATIENCE_MS), 1);
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -ENODATA);
}
END_TEST

START_TEST(a_broken_connection_is_told)
{
	struct linger now = { 1, 0 };

	ck_assert_int_eq(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	ck_assert_int_eq(close(theirs), 0);
	theirs = socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd p = { .fd = ours.fd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, NET_TEST_PATIENCE_MS), 1);
	ck_assert_int_eq(proxy_reader_take(&reader, &ours, &header), -ECONNRESET);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_checked_fixture(tests, pair_setup, pair_teardown);
	tcase_add_loop_test(tests, what_follows_is_left_in_the_socket, 0, (int)SP_ARRAY_LEN(headers));
	tcase_add_loop_test(tests, a_header_may_come_byte_by_byte, 0, (int)SP_ARRAY_LEN(headers));
	tcase_add_test(tests, what_is_no_header_is_told);
	tcase_add_test(tests, a_header_beyond_the_limit_is_refused);
	tcase_add_loop_test(tests, the_end_within_a_header_is_told, 0, (int)SP_ARRAY_LEN(headers));
	tcase_add_test(tests, a_broken_connection_is_told);
}

int main(void)
{
	return net_test_run("proxy_reader", add);
}

// SPDX-License-Identifier: ISC
/*
 * The anteroom: who is held leaves once, with his bytes, in whatever pieces they
 * came; there is no room for many, and none of one address for all.
 */
#include "net_test.h"

#include <openssl/ssl.h>

#include "alloc_fail.h"
#include "sallyport/anteroom.h"

static struct ticket_ring *ring;
static struct tls_hello_reader *reader;
static struct anteroom *room;
static unsigned left;
static unsigned named;
static struct knock left_knock;
static struct port_name left_name;
static int left_fd;

static void on_leave(void *owner, const struct knock *knock, const struct port_name *name, int fd)
{
	ck_assert_ptr_eq(owner, &left);
	left++;
	left_knock = *knock;
	if (name != NULL) {
		named++;
		left_name = *name;
	}
	if (left_fd >= 0)
		close(left_fd);
	left_fd = fd;
}

static void setup(void)
{
	ring = ticket_ring_new(1);
	reader = tls_hello_reader_new(ring);
	ck_assert_ptr_nonnull(reader);
	room = anteroom_new(test_base, reader, on_leave, &left);
	ck_assert_ptr_nonnull(room);
	left = named = 0;
	left_fd = -1;
}

static void teardown(void)
{
	anteroom_free(&room);
	ck_assert_ptr_null(room);
	if (left_fd >= 0)
		close(left_fd);
	tls_hello_reader_free(&reader);
	ticket_ring_free(&ring);
}

static struct knock knock_from(const char *host)
{
	struct knock knock = { .port = 50000, .epoch = 9 };

	ck_assert(netaddr_parse(&knock.from, span_of(host), 40000));
	return knock;
}

/* A client that offers the session of that number, which is its name without a ticket: its hello, allocated. */
static char *say_hello(size_t *n)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem());
	char *bytes;
	char *copy;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	ck_assert_int_eq(SSL_connect(ssl), -1); /* of TLS 1.3: with some number */
	*n = (size_t)BIO_get_mem_data(out, &bytes);
	copy = malloc(*n);
	memcpy(copy, bytes, *n);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return copy;
}

START_TEST(who_says_a_name_leaves_with_all_that_he_has_said)
{
	const struct knock knock = knock_from("192.0.2.1");
	size_t n;
	char *hello = say_hello(&n);
	const size_t cuts[] = { 0, 1, 5, 6, 100, n - 1 };

	for (size_t i = 0; i < SP_ARRAY_LEN(cuts); i++) {
		char got[TLS_HELLO_MAX];
		int ours;
		int theirs;

		tcp_pair(&ours, &theirs);
		ck_assert(anteroom_hold(room, &knock, ours));
		ck_assert_uint_eq(anteroom_count(room), 1);
		ck_assert_int_eq(send(theirs, hello, cuts[i], 0), (ssize_t)cuts[i]);
		loop_settle();
		ck_assert_uint_eq(left, i);
		ck_assert_int_eq(send(theirs, hello + cuts[i], n - cuts[i], 0), (ssize_t)(n - cuts[i]));
		RUN_UNTIL(left == i + 1);
		ck_assert_uint_eq(named, i + 1);
		ck_assert_uint_eq(left_name.kind, PORT_NAME_NUMBER);
		ck_assert_mem_eq(&left_name.high, hello + 5 + 4 + 2 + 32 + 1, 16); /* behind the random bytes */
		ck_assert_int_eq(left_fd, ours);
		ck_assert_mem_eq(&left_knock, &knock, sizeof(knock));
		ck_assert_uint_eq(anteroom_count(room), 0);
		/* Nothing has been taken, and a byte alone is reported again. */
		ck_assert_int_eq(recv(ours, got, sizeof(got), 0), (ssize_t)n);
		ck_assert_mem_eq(got, hello, n);
		ck_assert_int_eq(send(theirs, "x", 1, 0), 1);
		ck_assert_int_eq(poll(&(struct pollfd){ .fd = ours, .events = POLLIN }, 1, NET_TEST_PATIENCE_MS), 1);
		close(theirs);
	}
	free(hello);
}
END_TEST

START_TEST(who_says_nonsense_or_has_gone_leaves_without_a_name)
{
	const struct knock knock = knock_from("192.0.2.1");
	size_t n;
	char *hello = say_hello(&n);
	const struct span says[] = { span_of("GET /"), span_from(hello, 0), span_from(hello, 3), span_from(hello, n) };

	for (unsigned i = 0; i < SP_ARRAY_LEN(says); i++) {
		int ours;
		int theirs;

		tcp_pair(&ours, &theirs);
		ck_assert_int_eq(send(theirs, says[i].p, says[i].n, 0), (ssize_t)says[i].n);
		/* The first stays; whoever else has gone before he was looked at does not come back. */
		if (i > 0) {
			close(theirs);
			ck_assert_int_eq(poll(&(struct pollfd){ .fd = ours, .events = POLLRDHUP }, 1,
					      NET_TEST_PATIENCE_MS), 1);
		}
		ck_assert(anteroom_hold(room, &knock, ours));
		RUN_UNTIL(left == i + 1);
		ck_assert_uint_eq(named, 0);
		if (i == 0)
			close(theirs);
	}
	free(hello);
}
END_TEST

START_TEST(there_is_room_for_some_of_each_address)
{
	const struct knock one = knock_from("192.0.2.1");
	const struct knock other = knock_from("2001:db8::1");
	int fds[2 * (ANTEROOM_OF_HOST + 1)];
	size_t n = 0;

	for (unsigned i = 0; i <= ANTEROOM_OF_HOST; i++, n += 2) {
		tcp_pair(&fds[n], &fds[n + 1]);
		ck_assert_int_eq(anteroom_hold(room, &one, fds[n]), i < ANTEROOM_OF_HOST);
	}
	ck_assert(anteroom_hold(room, &other, fds[n - 2]));
	ck_assert_uint_eq(anteroom_count(room), ANTEROOM_OF_HOST + 1);
	loop_settle();
	ck_assert_uint_eq(left, 0);
	/* Who goes makes room. */
	close(fds[1]);
	RUN_UNTIL(left == 1);
	tcp_pair(&fds[0], &fds[1]);
	ck_assert(anteroom_hold(room, &one, fds[0]));
	anteroom_free(&room);
	ck_assert_uint_eq(left, ANTEROOM_OF_HOST + 2);
	ck_assert_uint_eq(named, 0);
	room = anteroom_new(test_base, reader, on_leave, &left);
	for (size_t i = 1; i < n; i += 2)
		close(fds[i]);
}
END_TEST

START_TEST(without_memory_nobody_is_held)
{
	const struct knock knock = knock_from("192.0.2.1");
	int ours;
	int theirs;
	bool held;
	struct anteroom *none;

	tcp_pair(&ours, &theirs);
	alloc_fail_at(1);
	held = anteroom_hold(room, &knock, ours);
	alloc_fail_at(0);
	ck_assert(!held);
	ck_assert_uint_eq(anteroom_count(room), 0);
	alloc_fail_at(1);
	none = anteroom_new(test_base, reader, on_leave, &left);
	alloc_fail_at(0);
	ck_assert_ptr_null(none);
	close(ours);
	close(theirs);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, who_says_a_name_leaves_with_all_that_he_has_said);
	tcase_add_test(tests, who_says_nonsense_or_has_gone_leaves_without_a_name);
	tcase_add_test(tests, there_is_room_for_some_of_each_address);
	tcase_add_test(tests, without_memory_nobody_is_held);
}

int main(void)
{
	return net_test_run("anteroom", add);
}

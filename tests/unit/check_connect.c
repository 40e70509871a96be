// SPDX-License-Identifier: ISC
/*
 * Dialling: order of addresses, promises of the callback, what is held
 * meanwhile. connect.c is included, so that connect(2) can succeed at once and
 * the loop can run out of room.
 */
#include "net_test.h"

#include <sys/resource.h>

static bool at_once; /* connect(2) blocks, so that it never gives EINPROGRESS */
static bool refuse_adds;
static int sockets_asked;

static int watched_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	if (at_once)
		ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);

	int rc = connect(fd, to, len);

	if (at_once)
		set_nonblocking(fd);
	return rc;
}

static int counted_socket(int family, int type, int protocol)
{
	sockets_asked++;
	return socket(family, type, protocol);
}

static int refusable_event_add(struct event *ev, const struct timeval *tv)
{
	return refuse_adds ? -1 : event_add(ev, tv);
}

#define connect(fd, to, len) watched_connect(fd, to, len)
#define socket(family, type, protocol) counted_socket(family, type, protocol)
#define event_add refusable_event_add
#include "../../proxy/net/connect.c"
#undef connect
#undef socket
#undef event_add

struct outcome {
	int calls;
	int fd;
	int error;
	struct netaddr address;
};

static struct connect dial;
static struct outcome got;
static const struct connect_options plain;

static void on_done(void *owner, int fd, const struct netaddr *address, int error)
{
	struct outcome *o = owner;

	o->calls++;
	o->fd = fd;
	o->error = error;
	o->address = *address;
	/* Nothing is held for it any more. */
	ledger_assert_empty(&test_ledger);
}

static struct netaddr address_of(const struct sockaddr_in *in)
{
	struct netaddr a;

	memset(&a, 0, sizeof(a));
	a.in = *in;
	return a;
}

static struct netaddr numeric(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(&a, span_of(text), 0));
	return a;
}

/* An address of this host where nobody listens (the port stays bound, so nobody else will). */
static struct netaddr dead_address(void)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&at, 0, sizeof(at));
	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	return address_of(&at);
}

static void start(const struct netaddr addresses[], size_t n, const struct connect_options *options)
{
	connect_start(&dial, test_base, addresses, n, options, &test_ledger, LEDGER_CONTROL_FD,
	              test_id, on_done, &got);
	ck_assert_int_eq(got.calls, 0);
	ck_assert(dial.active);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONNECT), 1);
}

static void accept_and_check(int listener, int fd)
{
	int peer = accept(listener, NULL, NULL);
	char c = 0;

	ck_assert_int_ge(peer, 0);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	ck_assert_int_eq(recv(peer, &c, 1, 0), 1);
	ck_assert_int_eq(c, 'x');
	close(peer);
}

START_TEST(an_address_that_listens_is_connected)
{
	struct sockaddr_in at;
	struct fd_note note;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);

	at_once = _i == 1;
	start(&address, 1, &plain);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 1);
	ck_assert(fd_registry_get(dial.fd, &note));
	ck_assert(session_id_eq(note.owner, test_id));
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.error, 0);
	ck_assert(netaddr_same_host(&got.address, &address));
	ck_assert_uint_eq(netaddr_port(&got.address), netaddr_port(&address));
	ck_assert(!dial.active);
	ck_assert(!fd_registry_get(got.fd, &note));
	ck_assert_int_ne(fcntl(got.fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(got.fd, F_GETFD) & FD_CLOEXEC, 0);
	accept_and_check(listener, got.fd);
	loop_settle();
	ck_assert_int_eq(got.calls, 1);
	close(got.fd);
	close(listener);
}
END_TEST

START_TEST(dead_addresses_are_passed_over)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr addresses[] = { dead_address(), dead_address(), address_of(&at) };

	start(addresses, 3, &plain);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.error, 0);
	ck_assert_uint_eq(netaddr_port(&got.address), ntohs(at.sin_port));
	accept_and_check(listener, got.fd);
	close(got.fd);
	close(listener);
}
END_TEST

START_TEST(the_last_failure_is_told)
{
	struct netaddr addresses[] = { dead_address(), dead_address() };

	start(addresses, 2, &plain);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_eq(got.error, ECONNREFUSED);
	ck_assert_uint_eq(netaddr_port(&got.address), netaddr_port(&addresses[1]));
	loop_settle();
	ck_assert_int_eq(got.calls, 1);
}
END_TEST

START_TEST(a_failure_known_at_once_is_put_off)
{
	struct netaddr nowhere = numeric("255.255.255.255:21");

	start(&nowhere, _i == 0 ? 0 : 1, &plain);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 0);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_ne(got.error, 0);
	if (_i == 0)
		ck_assert_int_eq(got.error, EDESTADDRREQ);
}
END_TEST

START_TEST(nothing_comes_after_cancel)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr addresses[] = { address_of(&at), numeric("255.255.255.255:21") };
	size_t before = open_descriptors();

	at_once = _i == 2;
	if (_i == 1)
		start(&addresses[1], 1, &plain);
	else
		start(addresses, 2, &plain);
	connect_cancel(&dial);
	ledger_assert_empty(&test_ledger);
	connect_cancel(&dial);
	loop_settle();
	ck_assert_int_eq(got.calls, 0);
	ck_assert_uint_eq(open_descriptors(), before);
	close(listener);
}
END_TEST

START_TEST(never_started_is_cancelled_all_the_same)
{
	struct connect c;

	connect_init(&c);
	connect_cancel(&c);
	ck_assert(!c.active);
}
END_TEST

static struct netaddr source_seen_by(int listener)
{
	struct netaddr seen;
	socklen_t len = sizeof(seen);

	memset(&seen, 0, sizeof(seen));

	int peer = accept(listener, &seen.sa, &len);

	ck_assert_int_ge(peer, 0);
	/* Ends here first, so that the dialler's port is free and the TIME_WAIT is ours. */
	close(got.fd);
	ck_assert_int_eq(peer_read_to_end(peer, NULL, 0).error, 0);
	close(peer);
	return seen;
}

START_TEST(the_source_address_is_taken)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);
	struct connect_options options = { .source = numeric("127.0.0.2") };

	start(&address, 1, &options);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.error, 0);

	struct netaddr seen = source_seen_by(listener);

	ck_assert(netaddr_same_host(&seen, &options.source));
	ck_assert_uint_ne(netaddr_port(&seen), 0);
	close(listener);
}
END_TEST

/* An address of no host here: the socket may have it, or the kernel says that we may not. */
START_TEST(a_transparent_source_is_not_an_address_of_this_host)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);
	struct connect_options options = { .source = numeric("192.0.2.99") };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	start(&address, 1, &options);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.error, EADDRNOTAVAIL);

	got.calls = 0;
	options.transparent = true;
	start(&address, 1, &options);
	if (connect_set_transparent(fd, AF_INET6) == 0) {
		/* Bound, and on its way to where no answer comes back from. */
		loop_settle();
		ck_assert(got.calls == 0 || got.error != EADDRNOTAVAIL);
		if (got.calls == 0)
			connect_cancel(&dial);
		else if (got.fd >= 0)
			close(got.fd);
	} else {
		RUN_UNTIL(got.calls > 0);
		ck_assert_int_eq(got.error, EPERM);
	}
	close(fd);
	close(listener);
}
END_TEST

/* As an active data connection from port 20: the same source port, twice in a row. */
START_TEST(a_source_port_can_be_used_again_at_once)
{
	struct netaddr free_port = dead_address();
	struct connect_options options = { .source = numeric("127.0.0.3") };

	netaddr_set_port(&options.source, netaddr_port(&free_port));
	for (int turn = 0; turn < 2; turn++) {
		struct sockaddr_in at;
		int listener = tcp_listen(&at);
		struct netaddr address = address_of(&at);

		got.calls = 0;
		start(&address, 1, &options);
		RUN_UNTIL(got.calls > 0);
		ck_assert_int_eq(got.error, 0);

		struct netaddr seen = source_seen_by(listener);

		ck_assert_uint_eq(netaddr_port(&seen), netaddr_port(&options.source));
		close(listener);
	}
}
END_TEST

START_TEST(a_source_of_the_other_family_skips_an_address)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr addresses[] = { numeric("[::1]:9"), address_of(&at) };
	struct connect_options options = { .source = numeric("127.0.0.1") };

	start(addresses, _i == 0 ? 2 : 1, &options);
	RUN_UNTIL(got.calls > 0);
	if (_i == 0) {
		ck_assert_int_eq(got.error, 0);
		close(got.fd);
	} else {
		ck_assert_int_eq(got.fd, -1);
		ck_assert_int_eq(got.error, EADDRNOTAVAIL);
	}
	close(listener);
}
END_TEST

START_TEST(a_socket_that_met_itself_is_no_server)
{
	struct netaddr self = dead_address();
	struct connect_options options = { .source = numeric("127.0.0.4") };

	netaddr_set_port(&options.source, netaddr_port(&self));
	self = options.source;
	start(&self, 1, &options);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_eq(got.error, ECONNREFUSED);
}
END_TEST

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

START_TEST(socket_options_are_set_when_asked)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);
	struct connect_options options = { .nodelay = _i == 1 };

	start(&address, 1, &options);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(option_of(got.fd, IPPROTO_TCP, TCP_NODELAY) != 0, _i == 1);
	close(got.fd);
	close(listener);
}
END_TEST

START_TEST(an_accepted_socket_inherits_the_terms_of_keepalive)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);

	ck_assert_int_eq(connect_set_keepalive_terms(listener), 0);
	start(&address, 1, &plain);
	RUN_UNTIL(got.calls > 0);

	int peer = accept(listener, NULL, NULL);

	ck_assert_int_eq(option_of(peer, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(connect_set_keepalive(peer), 0);
	ck_assert_int_eq(option_of(peer, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(option_of(peer, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	ck_assert_int_eq(option_of(peer, IPPROTO_TCP, TCP_KEEPINTVL), 15);
	ck_assert_int_eq(option_of(peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
	close(peer);
	close(got.fd);
	close(listener);
	ck_assert_int_eq(connect_set_keepalive_terms(-1), -EBADF);
	ck_assert_int_eq(connect_set_keepalive(-1), -EBADF);
}
END_TEST

struct heap_owner {
	struct connect dial;
	int *calls;
};

static void on_done_free(void *owner, int fd, const struct netaddr *address SP_UNUSED,
                         int error SP_UNUSED)
{
	struct heap_owner *o = owner;

	(*o->calls)++;
	if (fd != -1)
		close(fd);
	free(o);
}

START_TEST(the_callback_may_free_the_memory)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = _i == 0 ? address_of(&at) : dead_address();
	struct heap_owner *o = calloc(1, sizeof(*o));
	int calls = 0;

	ck_assert_ptr_nonnull(o);
	o->calls = &calls;
	connect_init(&o->dial);
	connect_start(&o->dial, test_base, &address, 1, &plain, &test_ledger, LEDGER_DATA_FD,
	              test_id, on_done_free, o);
	RUN_UNTIL(calls > 0);
	loop_settle();
	ck_assert_int_eq(calls, 1);
	close(listener);
}
END_TEST

static struct netaddr next_address;

static void on_done_restart(void *owner SP_UNUSED, int fd SP_UNUSED,
                            const struct netaddr *address SP_UNUSED, int error)
{
	ck_assert_int_eq(error, ECONNREFUSED);
	connect_start(&dial, test_base, &next_address, 1, &plain, &test_ledger, LEDGER_DATA_FD,
	              test_id, on_done, &got);
}

START_TEST(the_callback_may_start_again)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr dead = dead_address();

	next_address = address_of(&at);
	connect_start(&dial, test_base, &dead, 1, &plain, &test_ledger, LEDGER_DATA_FD, test_id,
	              on_done_restart, NULL);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.error, 0);
	close(got.fd);
	close(listener);
}
END_TEST

START_TEST(no_more_addresses_than_fit_are_tried)
{
	struct netaddr addresses[CONNECT_ADDRESSES_MAX + 4];

	for (size_t i = 0; i < SP_ARRAY_LEN(addresses); i++)
		addresses[i] = dead_address();
	sockets_asked = 0;
	start(addresses, SP_ARRAY_LEN(addresses), &plain);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(sockets_asked, CONNECT_ADDRESSES_MAX);
	ck_assert_int_eq(got.error, ECONNREFUSED);
}
END_TEST

START_TEST(without_descriptors_no_other_address_is_tried)
{
	struct netaddr addresses[] = { dead_address(), dead_address() };
	struct rlimit limit, none;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	sockets_asked = 0;
	start(addresses, 2, &plain);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(sockets_asked, 1);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_eq(got.error, EMFILE);
}
END_TEST

START_TEST(a_loop_without_room_is_an_error)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);
	struct netaddr address = address_of(&at);
	size_t before = open_descriptors();

	refuse_adds = true;
	start(&address, 1, &plain);
	RUN_UNTIL(got.calls > 0);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_eq(got.error, ENOMEM);
	ck_assert_uint_eq(open_descriptors(), before);
	close(listener);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, an_address_that_listens_is_connected, 0, 2);
	tcase_add_test(tests, dead_addresses_are_passed_over);
	tcase_add_test(tests, the_last_failure_is_told);
	tcase_add_loop_test(tests, a_failure_known_at_once_is_put_off, 0, 2);
	tcase_add_loop_test(tests, nothing_comes_after_cancel, 0, 3);
	tcase_add_test(tests, never_started_is_cancelled_all_the_same);
	tcase_add_test(tests, the_source_address_is_taken);
	tcase_add_test(tests, a_transparent_source_is_not_an_address_of_this_host);
	tcase_add_test(tests, a_source_port_can_be_used_again_at_once);
	tcase_add_loop_test(tests, a_source_of_the_other_family_skips_an_address, 0, 2);
	tcase_add_test(tests, a_socket_that_met_itself_is_no_server);
	tcase_add_loop_test(tests, socket_options_are_set_when_asked, 0, 2);
	tcase_add_test(tests, an_accepted_socket_inherits_the_terms_of_keepalive);
	tcase_add_loop_test(tests, the_callback_may_free_the_memory, 0, 2);
	tcase_add_test(tests, the_callback_may_start_again);
	tcase_add_test(tests, no_more_addresses_than_fit_are_tried);
	tcase_add_test(tests, without_descriptors_no_other_address_is_tried);
	tcase_add_test(tests, a_loop_without_room_is_an_error);
}

int main(void)
{
	return net_test_run("connect", add_tests);
}

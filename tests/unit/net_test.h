// SPDX-License-Identifier: ISC
/*
 * What the tests of the network floor share: a loop that is run until something
 * is true, connected pairs of loopback sockets, and what their far end sees.
 * For inclusion by one test program each; all on its main thread.
 */
#ifndef SALLYPORT_TESTS_NET_TEST_H
#define SALLYPORT_TESTS_NET_TEST_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/base.h"
#include "sallyport/clock.h"
#include "sallyport/fd_registry.h"
#include "sallyport/ledger.h"
#include "sallyport/session_id.h"

#define NET_TEST_PATIENCE_MS 10000

static struct event_base *test_base;
static struct ledger test_ledger;
static const struct session_id test_id = { 0x0100000000000007 };

static void net_setup(void)
{
	test_base = event_base_new();
	ck_assert_ptr_nonnull(test_base);
	ck_assert_int_eq(fd_registry_init(1024), 0);
}

static void net_teardown(void)
{
	ledger_assert_empty(&test_ledger);
	event_base_free(test_base);
	fd_registry_fini();
}

/* Lets the loop work for at most `ms`, or until something has happened. */
static void SP_UNUSED loop_turn(int ms)
{
	struct timeval wait = { .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 };

	ck_assert_int_eq(event_base_loopexit(test_base, &wait), 0);
	event_base_loop(test_base, EVLOOP_ONCE);
}

#define RUN_UNTIL(cond)                                                                            \
	do {                                                                                       \
		int64_t run_deadline = sp_now_ms() + NET_TEST_PATIENCE_MS;                         \
		while (!(cond)) {                                                                  \
			ck_assert_msg(sp_now_ms() < run_deadline, "never: %s", #cond);             \
			loop_turn(20);                                                             \
		}                                                                                  \
	} while (0)

/* Everything that is ready now is handled; for "it does not happen". */
static void SP_UNUSED loop_settle(void)
{
	for (int i = 0; i < 5; i++) {
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		usleep(2000);
	}
}

static void set_nonblocking(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* A listening socket on 127.0.0.1 and a port that is free. */
static int SP_UNUSED tcp_listen(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memset(at, 0, sizeof(*at));
	at->sin_family = AF_INET;
	at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

/* A TCP connection: `ours` non-blocking, `theirs` blocking. */
static void SP_UNUSED tcp_pair(int *ours, int *theirs)
{
	struct sockaddr_in at;
	int listener = tcp_listen(&at);

	*theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(*theirs, 0);
	ck_assert_int_eq(connect(*theirs, (struct sockaddr *)&at, sizeof(at)), 0);
	*ours = accept(listener, NULL, NULL);
	ck_assert_int_ge(*ours, 0);
	set_nonblocking(*ours);
	close(listener);
}

static bool SP_UNUSED peer_is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

struct peer_saw {
	size_t n;  /* bytes */
	int error; /* 0: orderly end; else errno; -1: no end in time */
};

/* What a peer that reads to the end gets; `text` (may be NULL) takes the first bytes. */
static struct peer_saw SP_UNUSED peer_read_to_end(int fd, char *text, size_t size)
{
	struct peer_saw saw = { 0, -1 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buffer[4096];

	while (poll(&p, 1, 2000) == 1) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (got <= 0) {
			saw.error = got == 0 ? 0 : errno;
			break;
		}
		for (ssize_t i = 0; i < got && text != NULL && saw.n + (size_t)i + 1 < size; i++)
			text[saw.n + (size_t)i] = buffer[i];
		saw.n += (size_t)got;
	}
	if (text != NULL)
		text[saw.n < size ? saw.n : size - 1] = '\0';
	return saw;
}

static size_t SP_UNUSED open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Runs the cases, each in a process of its own; the number of failures. */
static int net_test_run(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tests = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, net_setup, net_teardown);
	add(tests);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

#endif

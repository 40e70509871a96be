// SPDX-License-Identifier: ISC
/*
 * Logons in bulk, and the server for them: what Python is too slow for.
 *
 *	logons server HOST		prints its port; on SIGTERM: connections logons quits open
 *	logons client HOST PORT COUNT AT_ONCE	prints: seconds good bad
 *
 * A logon is: connect, 220, USER, 331, PASS, 230, QUIT, 221, end of connection. Anything else is bad.
 * One thread, one epoll, both ways. Built by the tests with the compiler of the house.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX  256
#define LINE_MAX_IN 512
#define SOURCES	    32 /* client addresses in turn, so that ports in TIME_WAIT do not run out */

struct peer {
	int fd;
	unsigned step;
	size_t n;
	char line[LINE_MAX_IN];
};

static volatile sig_atomic_t stop;

static void on_term(int number)
{
	(void)number;
	stop = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(const char *host, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "logons: %s is not an IPv4 address\n", host);
		exit(2);
	}
	return a;
}

static void watch(int epoll, struct peer *peer, int op, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = peer };

	if (epoll_ctl(epoll, op, peer->fd, &event) == -1)
		die("epoll_ctl");
}

static bool say(struct peer *peer, const char *text)
{
	size_t n = strlen(text);

	return send(peer->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Reads what is there: 1 something, 0 the end, -1 nothing now, -2 an error. */
static int take(struct peer *peer)
{
	ssize_t n;

	if (peer->n == sizeof(peer->line))
		return -2;
	n = recv(peer->fd, peer->line + peer->n, sizeof(peer->line) - peer->n, 0);
	if (n > 0) {
		peer->n += (size_t)n;
		return 1;
	}
	if (n == 0)
		return 0;
	return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

/* Takes one line out of what was read; false: none is whole. `first` gets its first four bytes. */
static bool next_line(struct peer *peer, char first[5])
{
	char *end = memchr(peer->line, '\n', peer->n);
	size_t used;

	if (end == NULL)
		return false;
	used = (size_t)(end - peer->line) + 1;
	memset(first, 0, 5);
	memcpy(first, peer->line, used < 4 ? used : 4);
	memmove(peer->line, end + 1, peer->n - used);
	peer->n -= used;
	return true;
}

/* ---- server ------------------------------------------------------------------------------------ */

struct totals {
	unsigned long connections, logons, quits, open;
};

static void drop(struct peer *peer, struct totals *totals)
{
	close(peer->fd);
	free(peer);
	totals->open--;
}

static void accept_all(int epoll, int listener, struct totals *totals)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		struct peer *peer = calloc(1, sizeof(*peer));
		int on = 1;

		if (peer == NULL)
			die("calloc");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		peer->fd = fd;
		totals->connections++;
		totals->open++;
		watch(epoll, peer, EPOLL_CTL_ADD, EPOLLIN);
		say(peer, "220 ready\r\n");
	}
}

static void serve(struct peer *peer, struct totals *totals)
{
	char verb[5];
	int got = take(peer);

	if (got == 0 || got == -2) {
		drop(peer, totals);
		return;
	}
	while (next_line(peer, verb)) {
		if (strcmp(verb, "USER") == 0) {
			say(peer, "331 password\r\n");
		} else if (strcmp(verb, "PASS") == 0) {
			totals->logons++;
			say(peer, "230 in\r\n");
		} else if (strcmp(verb, "QUIT") == 0) {
			totals->quits++;
			say(peer, "221 bye\r\n");
			drop(peer, totals);
			return;
		} else {
			say(peer, "200 fine\r\n");
		}
	}
}

static int run_server(const char *host)
{
	struct sockaddr_in a = address_of(host, 0);
	socklen_t length = sizeof(a);
	struct epoll_event events[EVENTS_MAX];
	struct totals totals = { 0 };
	struct peer listener = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (listener.fd == -1 || epoll == -1 || bind(listener.fd, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(listener.fd, 4096) == -1 || getsockname(listener.fd, (struct sockaddr *)&a, &length) == -1)
		die("server");
	watch(epoll, &listener, EPOLL_CTL_ADD, EPOLLIN);
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	while (!stop) {
		int n = epoll_wait(epoll, events, EVENTS_MAX, 100);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &listener)
				accept_all(epoll, listener.fd, &totals);
			else
				serve(events[i].data.ptr, &totals);
		}
	}
	printf("%lu %lu %lu %lu\n", totals.connections, totals.logons, totals.quits, totals.open);
	return 0;
}

/* ---- client ------------------------------------------------------------------------------------ */

static const struct {
	const char *code;
	const char *answer;
} dialogue[] = {
	{ "220 ", "USER anonymous\r\n" },
	{ "331 ", "PASS guest@example.com\r\n" },
	{ "230 ", "QUIT\r\n" },
	{ "221 ", NULL },
};
#define STEPS (sizeof(dialogue) / sizeof(dialogue[0]))

struct load {
	int epoll;
	struct sockaddr_in to;
	unsigned long left, started, good, bad;
	unsigned at_once;
};

static void begin(struct load *load, struct peer *peer)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int on = 1;

	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(load->started++ % SOURCES));
	*peer = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	if (peer->fd == -1)
		die("socket");
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(peer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(peer->fd, (struct sockaddr *)&from, sizeof(from)) == -1)
		die("bind");
	if (connect(peer->fd, (struct sockaddr *)&load->to, sizeof(load->to)) == -1 && errno != EINPROGRESS)
		die("connect");
	watch(load->epoll, peer, EPOLL_CTL_ADD, EPOLLIN);
	load->left--;
}

static void end(struct load *load, struct peer *peer, bool good)
{
	close(peer->fd);
	peer->fd = -1;
	if (good)
		load->good++;
	else
		load->bad++;
	if (load->left > 0)
		begin(load, peer);
}

static void go_on(struct load *load, struct peer *peer)
{
	char code[5];
	int got = take(peer);

	if (got == 0 || got == -2) {
		end(load, peer, got == 0 && peer->step == STEPS && peer->n == 0);
		return;
	}
	while (next_line(peer, code)) {
		if (peer->step == STEPS || strcmp(code, dialogue[peer->step].code) != 0) {
			fprintf(stderr, "logons: step %u: %s\n", peer->step, code);
			end(load, peer, false);
			return;
		}
		if (dialogue[peer->step].answer != NULL && !say(peer, dialogue[peer->step].answer)) {
			end(load, peer, false);
			return;
		}
		peer->step++;
	}
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_client(const char *host, const char *port, const char *count, const char *at_once)
{
	struct load load = { .epoll = epoll_create1(EPOLL_CLOEXEC),
			     .to = address_of(host, (uint16_t)strtoul(port, NULL, 10)),
			     .left = strtoul(count, NULL, 10),
			     .at_once = (unsigned)strtoul(at_once, NULL, 10) };
	unsigned long total = load.left;
	struct peer *peers = calloc(load.at_once, sizeof(*peers));
	struct epoll_event events[EVENTS_MAX];
	double started = seconds_now();

	if (peers == NULL || load.epoll == -1)
		die("client");
	for (unsigned i = 0; i < load.at_once && load.left > 0; i++)
		begin(&load, &peers[i]);
	while (!stop && load.good + load.bad < total) {
		int n = epoll_wait(load.epoll, events, EVENTS_MAX, 30000);

		if (n == 0) {
			fprintf(stderr, "logons: nothing happened for 30 s\n");
			break;
		}
		for (int i = 0; i < n; i++)
			go_on(&load, events[i].data.ptr);
	}
	printf("%.3f %lu %lu\n", seconds_now() - started, load.good, total - load.good);
	free(peers);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_term };

	sigaction(SIGTERM, &action, NULL);
	if (argc == 3 && strcmp(argv[1], "server") == 0)
		return run_server(argv[2]);
	if (argc == 6 && strcmp(argv[1], "client") == 0)
		return run_client(argv[2], argv[3], argv[4], argv[5]);
	fprintf(stderr, "usage: logons server HOST | logons client HOST PORT COUNT AT_ONCE\n");
	return 2;
}

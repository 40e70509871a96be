// SPDX-License-Identifier: ISC
/*
 * Bare relay: what the kernel asks for moving FTP's bytes, and nothing more. A
 * control port and a range of passive ports are relayed port by port to the
 * same ports of the origin; no byte is looked at, nothing is logged or timed.
 * It is the yardstick of the benchmark, not a proxy that anyone could use.
 *
 * Bytes move by splice(2) through a pool of pipes, or with --copy by
 * recv/send through one buffer a thread (what a TLS proxy must do at least).
 * Edge-triggered epoll: each socket is registered once and never changed.
 */
#include "bench_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_BYTES (1024 * 1024)
#define PAGE_BYTES 4096U
#define EVENTS_PER_TURN 256

struct pipe_pair {
	int ends[2];
	size_t slots; /* pages that fit, each with one byte at least */
	struct pipe_pair *next;
};

struct pair;

/* One socket of a pair. What it holds (pipe or copied bytes) was read from it and goes to the
 * other. */
struct side {
	struct pair *pair;
	struct pipe_pair *pipe;
	char *copied; /* --copy: bytes that the other side would not take yet */
	size_t held;
	int fd;
	bool readable;
	bool writable;
	bool hung_up; /* an end or error has been announced: read on to it */
	bool ended;   /* read to its end, which has been passed on */
};

struct pair {
	struct side sides[2];
	struct pair *next_dead;
	bool dead;
};

/* A listener is told from a side by its tag's lowest bit. */
struct listener {
	int fd;
	uint16_t port;
};

struct thread {
	pthread_t id;
	int epoll_fd;
	struct listener *listeners;
	struct pipe_pair *pipes;
	struct pair *dead;
	char *scratch;
};

static struct {
	struct sockaddr_in address;
	struct sockaddr_in target;
	struct port_range ports;
	unsigned int threads;
	bool copy;
} relay = { .ports = { 10000, 10511 } };

static struct side *side_other(struct side *side)
{
	return side == &side->pair->sides[0] ? &side->pair->sides[1] : &side->pair->sides[0];
}

/* --- pipes ----------------------------------------------------------------------------- */

static struct pipe_pair *pipe_take(struct thread *thread)
{
	struct pipe_pair *pipe = thread->pipes;
	int size;

	if (pipe != NULL) {
		thread->pipes = pipe->next;
		return pipe;
	}
	pipe = calloc(1, sizeof(*pipe));
	if (pipe == NULL)
		return NULL;
	if (pipe2(pipe->ends, O_NONBLOCK | O_CLOEXEC) == -1) {
		free(pipe);
		return NULL;
	}
	(void)fcntl(pipe->ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	size = fcntl(pipe->ends[1], F_GETPIPE_SZ);
	pipe->slots = size > 0 ? (size_t)size / PAGE_BYTES : 1;
	return pipe;
}

/* Only empty pipes go back to the pool. */
static void pipe_release(struct thread *thread, struct side *side)
{
	struct pipe_pair *pipe = side->pipe;

	side->pipe = NULL;
	if (pipe == NULL)
		return;
	if (side->held == 0) {
		pipe->next = thread->pipes;
		thread->pipes = pipe;
		return;
	}
	(void)close(pipe->ends[0]);
	(void)close(pipe->ends[1]);
	free(pipe);
}

/* --- pairs ----------------------------------------------------------------------------- */

static void pair_end(struct thread *thread, struct pair *pair)
{
	int i;

	if (pair->dead)
		return;
	pair->dead = true;
	for (i = 0; i < 2; i++) {
		pipe_release(thread, &pair->sides[i]);
		free(pair->sides[i].copied);
		(void)close(pair->sides[i].fd);
	}
	pair->next_dead = thread->dead;
	thread->dead = pair;
}

static void pair_new(struct thread *thread, int fd, uint16_t port)
{
	static const int on = 1;
	const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	struct sockaddr_in target = relay.target;
	struct pair *pair = calloc(1, sizeof(*pair));
	int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (port != ntohs(relay.address.sin_port))
		target.sin_port = htons(port);
	if (pair == NULL || out == -1 ||
	    setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1 ||
	    (connect(out, (struct sockaddr *)&target, sizeof(target)) == -1 &&
	     errno != EINPROGRESS)) {
		if (out != -1)
			(void)close(out);
		(void)close(fd);
		free(pair);
		return;
	}
	pair->sides[0] = (struct side){ .pair = pair, .fd = fd };
	pair->sides[1] = (struct side){ .pair = pair, .fd = out };
	bench_epoll_add(thread->epoll_fd, fd, events, &pair->sides[0]);
	bench_epoll_add(thread->epoll_fd, out, events, &pair->sides[1]);
}

/* --- moving bytes ---------------------------------------------------------------------- */

enum moved { MOVED_ALL, MOVED_STUCK, MOVED_FAILED };

static enum moved flush_pipe(struct thread *thread, struct side *from, struct side *to)
{
	while (from->held > 0) {
		ssize_t sent = splice(from->pipe->ends[0], NULL, to->fd, NULL, from->held,
		                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (sent == -1 && errno == EAGAIN) {
			to->writable = false;
			return MOVED_STUCK;
		}
		if (sent <= 0)
			return MOVED_FAILED;
		from->held -= (size_t)sent;
	}
	pipe_release(thread, from);
	return MOVED_ALL;
}

static enum moved pump_splice(struct thread *thread, struct side *from, struct side *to)
{
	for (;;) {
		enum moved outcome;
		ssize_t got;

		if (!to->writable)
			return MOVED_STUCK;
		if (from->held > 0) {
			outcome = flush_pipe(thread, from, to);
			if (outcome != MOVED_ALL)
				return outcome;
		}
		if (!from->readable || from->ended)
			return MOVED_ALL;
		if (from->pipe == NULL && (from->pipe = pipe_take(thread)) == NULL)
			return MOVED_FAILED;
		got = splice(from->fd, NULL, from->pipe->ends[1], NULL, PIPE_BYTES,
		             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (got <= 0) {
			pipe_release(thread, from);
			from->readable = false;
			if (got == -1)
				return errno == EAGAIN ? MOVED_ALL : MOVED_FAILED;
			from->ended = true;
			return shutdown(to->fd, SHUT_WR) == 0 ? MOVED_ALL : MOVED_FAILED;
		}
		from->held = (size_t)got;
		/* The pipe cannot have been full, so the socket is empty: its next byte is an
		 * event. */
		if (from->held < from->pipe->slots && !from->hung_up)
			from->readable = false;
	}
}

static enum moved pump_copy(struct thread *thread, struct side *from, struct side *to)
{
	for (;;) {
		char *bytes = from->copied != NULL ? from->copied : thread->scratch;
		ssize_t got;

		if (!to->writable)
			return MOVED_STUCK;
		if (from->held == 0) {
			if (!from->readable || from->ended)
				return MOVED_ALL;
			got = recv(from->fd, bytes, BENCH_CHUNK, 0);
			if (got == -1) {
				from->readable = false;
				return errno == EAGAIN ? MOVED_ALL : MOVED_FAILED;
			}
			if (got == 0) {
				from->ended = true;
				return shutdown(to->fd, SHUT_WR) == 0 ? MOVED_ALL : MOVED_FAILED;
			}
			from->held = (size_t)got;
			from->readable = from->hung_up || from->held == BENCH_CHUNK;
		}
		got = send(to->fd, bytes, from->held, MSG_NOSIGNAL);
		if (got == -1 && errno != EAGAIN)
			return MOVED_FAILED;
		if (got == -1)
			got = 0;
		from->held -= (size_t)got;
		if (from->held == 0) {
			free(from->copied);
			from->copied = NULL;
			continue;
		}
		to->writable = false;
		if (from->copied == NULL) {
			from->copied = malloc(BENCH_CHUNK);
			if (from->copied == NULL)
				return MOVED_FAILED;
			(void)memcpy(from->copied, bytes + got, from->held);
		} else {
			(void)memmove(from->copied, bytes + got, from->held);
		}
	}
}

static enum moved pump(struct thread *thread, struct side *from)
{
	struct side *to = side_other(from);

	return relay.copy ? pump_copy(thread, from, to) : pump_splice(thread, from, to);
}

static void side_ready(struct thread *thread, struct side *side, uint32_t events)
{
	struct pair *pair = side->pair;
	struct side *other = side_other(side);

	if (pair->dead)
		return;
	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		side->readable = true;
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		side->hung_up = true;
	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
		side->writable = true;
	if (pump(thread, side) == MOVED_FAILED ||
	    ((other->held > 0 || other->readable) && pump(thread, other) == MOVED_FAILED) ||
	    (side->ended && other->ended))
		pair_end(thread, pair);
}

static void listener_ready(struct thread *thread, const struct listener *listener)
{
	int turn;

	for (turn = 0; turn < EVENTS_PER_TURN; turn++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1)
			return;
		pair_new(thread, fd, listener->port);
	}
}

/* --- threads --------------------------------------------------------------------------- */

static void *thread_main(void *argument)
{
	struct thread *thread = argument;
	struct epoll_event events[EVENTS_PER_TURN];
	int count;
	int i;

	for (;;) {
		count = epoll_wait(thread->epoll_fd, events, EVENTS_PER_TURN, -1);
		if (count == -1 && errno != EINTR)
			bench_fail(errno, "epoll_wait");
		for (i = 0; i < count; i++) {
			uintptr_t tag = (uintptr_t)events[i].data.ptr;

			if ((tag & 1U) != 0)
				listener_ready(thread, (struct listener *)(tag - 1U));
			else
				side_ready(thread, events[i].data.ptr, events[i].events);
		}
		while (thread->dead != NULL) {
			struct pair *pair = thread->dead;

			thread->dead = pair->next_dead;
			free(pair);
		}
	}
	return NULL;
}

static void thread_init(struct thread *thread)
{
	unsigned int ports = (unsigned int)relay.ports.last - relay.ports.first + 1U;
	unsigned int i;

	thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	thread->listeners = calloc(ports + 1U, sizeof(thread->listeners[0]));
	if (thread->epoll_fd == -1 || thread->listeners == NULL)
		bench_fail(errno, "cannot start");
	if (relay.copy && (thread->scratch = malloc(BENCH_CHUNK)) == NULL)
		bench_fail(errno, "cannot start");
	for (i = 0; i <= ports; i++) {
		struct listener *listener = &thread->listeners[i];
		struct sockaddr_in address = relay.address;

		if (i < ports)
			address.sin_port = htons((uint16_t)(relay.ports.first + i));
		listener->port = ntohs(address.sin_port);
		listener->fd = bench_listen(&address);
		/* Threads share nothing: SO_REUSEPORT spreads the connections. */
		bench_epoll_add(thread->epoll_fd, listener->fd, EPOLLIN,
		                (void *)((uintptr_t)listener | 1U));
	}
}

static void usage(void)
{
	(void)fputs(
	    "usage: bench_relay --listen ADDRESS:PORT --target ADDRESS:PORT [--ports FIRST-LAST]\n"
	    "                   [--threads N] [--copy]\n",
	    stderr);
	exit(2);
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "target", required_argument, NULL, 'o' },
		{ "ports", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "copy", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	relay.threads = bench_cpus();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'l')
			relay.address = bench_parse_address("listen", optarg);
		else if (option == 'o')
			relay.target = bench_parse_address("target", optarg);
		else if (option == 'p')
			relay.ports = bench_parse_ports("ports", optarg);
		else if (option == 't')
			relay.threads = (unsigned int)bench_parse_number("threads", optarg, 256);
		else if (option == 'c')
			relay.copy = true;
		else
			usage();
	}
	if (optind != argc || relay.address.sin_port == 0 || relay.target.sin_port == 0 ||
	    relay.threads == 0)
		usage();
}

int main(int argc, char **argv)
{
	struct thread *threads;
	unsigned int i;

	options_read(argc, argv);
	(void)bench_prepare_process();
	bench_claim(&relay.address);
	threads = calloc(relay.threads, sizeof(*threads));
	if (threads == NULL)
		bench_fail(errno, "cannot start");
	for (i = 0; i < relay.threads; i++)
		thread_init(&threads[i]);
	for (i = 1; i < relay.threads; i++) {
		if (pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) != 0)
			bench_fail(0, "no thread");
	}
	(void)puts("ready");
	(void)fflush(stdout);
	(void)thread_main(&threads[0]);
	return 0;
}

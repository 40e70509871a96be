// SPDX-License-Identifier: ISC
/*
 * Origin: an FTP server in memory, as cheap as it can be made, so that what is
 * measured beside it is the proxy. It accepts every user, sends files that are
 * called by their size ("b1024" has 1,024 bytes) from one buffer and discards
 * what it is given. Its passive ports listen all the time, so a relay that
 * understands nothing can stand in front of them.
 *
 * Not a server for anything else: no file system, no security, no timeouts.
 */
#include "origin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#define EVENTS_PER_TURN 256

struct origin origin = { .ports = { 10000, 10511 }, .threads = 1 };

/* --- plain or TLS ---------------------------------------------------------------------- */

ssize_t tls_outcome(SSL *tls, int result, uint32_t *events)
{
	int why;

	if (result > 0)
		return result;
	why = SSL_get_error(tls, result);
	ERR_clear_error();
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
		return -1;
	*events = why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
	return 0;
}

void session_reply(struct session *s, const char *text)
{
	size_t length = strlen(text);
	ssize_t sent;

	if (s->dead)
		return;
	if (s->control_tls != NULL)
		sent = SSL_write(s->control_tls, text, (int)length);
	else
		sent = send(s->control.fd, text, length, MSG_NOSIGNAL);
	if (sent != (ssize_t)length) /* a peer that does not read its replies is none of ours */
		session_end(s);
}

/* --- sessions -------------------------------------------------------------------------- */

void session_end(struct session *s)
{
	if (s->dead)
		return;
	s->dead = true;
	s->transfer = TRANSFER_NONE;
	data_close(s);
	port_release(s);
	if (s->control_tls != NULL) {
		(void)SSL_shutdown(s->control_tls);
		ERR_clear_error();
		SSL_free(s->control_tls);
		s->control_tls = NULL;
	}
	(void)close(s->control.fd);
	s->next_dead = s->thread->dead;
	s->thread->dead = s;
}

static void session_lines(struct session *s)
{
	char *from = s->in;
	char *end = s->in + s->used;
	char *newline;

	while (!s->dead && (newline = memchr(from, '\n', (size_t)(end - from))) != NULL) {
		*newline = '\0';
		if (newline > from && newline[-1] == '\r')
			newline[-1] = '\0';
		session_command(s, from);
		if (s->used == 0) /* AUTH: what follows in the clear is not for us */
			return;
		from = newline + 1;
	}
	s->used = (size_t)(end - from);
	memmove(s->in, from, s->used);
}

/* False: nothing more can be read at the moment, or the session has ended. */
static bool session_read(struct session *s)
{
	size_t room = sizeof(s->in) - s->used;
	uint32_t events = 0;
	ssize_t got;

	if (s->control_tls != NULL) {
		got = tls_outcome(s->control_tls,
		                  SSL_read(s->control_tls, s->in + s->used, (int)room), &events);
		if (got == 0)
			return false;
	} else {
		got = recv(s->control.fd, s->in + s->used, room, 0);
		if (got == -1 && errno == EAGAIN)
			return false;
	}
	if (got <= 0) {
		session_end(s);
		return false;
	}
	s->used += (size_t)got;
	session_lines(s);
	if (s->used == sizeof(s->in)) /* a line that does not fit */
		session_end(s);
	return !s->dead && s->control_tls != NULL && SSL_pending(s->control_tls) > 0;
}

static void session_readable(struct session *s)
{
	while (session_read(s))
		continue;
}

static void session_new(struct thread *thread, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		(void)close(fd);
		return;
	}
	s->control = (struct handle){ HANDLE_CONTROL, fd };
	s->data = (struct handle){ HANDLE_DATA, -1 };
	s->thread = thread;
	session_reply(s, "220 Origin ready.\r\n");
	if (!s->dead)
		bench_epoll_add(thread->epoll_fd, fd, EPOLLIN, &s->control);
}

/* --- the loop -------------------------------------------------------------------------- */

static void listener_ready(struct thread *thread)
{
	int turn;

	for (turn = 0; turn < EVENTS_PER_TURN; turn++) {
		int fd = accept4(thread->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1)
			return;
		session_new(thread, fd);
	}
}

static void port_ready(struct passive_port *port)
{
	int fd = accept4(port->handle.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct session *s = port->owner;

	if (fd == -1)
		return;
	if (s == NULL || s->data.fd != -1) {
		(void)close(fd);
		return;
	}
	port_release(s);
	s->data.fd = fd;
	transfer_run(s);
}

static void dispatch(struct thread *thread, void *tag)
{
	struct handle *handle = tag;
	struct session *s;

	switch (handle->kind) {
	case HANDLE_LISTENER:
		listener_ready(thread);
		return;
	case HANDLE_PORT:
		port_ready((struct passive_port *)tag);
		return;
	case HANDLE_CONTROL:
		s = tag;
		if (!s->dead)
			session_readable(s);
		return;
	case HANDLE_DATA:
		s = (struct session *)(void *)((char *)tag - offsetof(struct session, data));
		if (!s->dead)
			transfer_run(s);
		return;
	}
}

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
		for (i = 0; i < count; i++)
			dispatch(thread, events[i].data.ptr);
		while (thread->dead != NULL) {
			struct session *s = thread->dead;

			thread->dead = s->next_dead;
			free(s);
		}
	}
	return NULL;
}

/* The passive ports are dealt out: each belongs to one thread, as its sessions do. */
static void thread_init(struct thread *thread, unsigned int index)
{
	struct sockaddr_in address = origin.address;
	unsigned int port;
	size_t count = 0;

	thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	thread->ports =
	    calloc((size_t)(origin.ports.last - origin.ports.first) + 1, sizeof(thread->ports[0]));
	if (thread->epoll_fd == -1 || thread->ports == NULL)
		bench_fail(errno, "cannot start");
	thread->listener = (struct handle){ HANDLE_LISTENER, bench_listen(&address) };
	bench_epoll_add(thread->epoll_fd, thread->listener.fd, EPOLLIN, &thread->listener);
	for (port = origin.ports.first + index; port <= origin.ports.last; port += origin.threads) {
		struct passive_port *passive = &thread->ports[count++];

		address.sin_port = htons((uint16_t)port);
		passive->handle = (struct handle){ HANDLE_PORT, bench_listen(&address) };
		passive->port = (uint16_t)port;
		passive->next_free = thread->free_ports;
		thread->free_ports = passive;
		bench_epoll_add(thread->epoll_fd, passive->handle.fd, EPOLLIN, passive);
	}
}

static void usage(void)
{
	(void)fputs("usage: bench_origin --listen ADDRESS:PORT [--ports FIRST-LAST] [--threads N]\n"
	            "                    [--certificate FILE --key FILE]\n",
	            stderr);
	exit(2);
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "ports", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "certificate", required_argument, NULL, 'c' },
		{ "key", required_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	const char *certificate = NULL;
	const char *key = NULL;
	int option;
	char *dot;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'l')
			origin.address = bench_parse_address("listen", optarg);
		else if (option == 'p')
			origin.ports = bench_parse_ports("ports", optarg);
		else if (option == 't')
			origin.threads = (unsigned int)bench_parse_number("threads", optarg, 256);
		else if (option == 'c')
			certificate = optarg;
		else if (option == 'k')
			key = optarg;
		else
			usage();
	}
	if (optind != argc || origin.address.sin_port == 0 || origin.threads == 0)
		usage();
	if (certificate != NULL && key != NULL)
		origin.tls = bench_tls_server(certificate, key);
	(void)inet_ntop(AF_INET, &origin.address.sin_addr, origin.pasv_host,
	                sizeof(origin.pasv_host));
	while ((dot = strchr(origin.pasv_host, '.')) != NULL)
		*dot = ',';
}

int main(int argc, char **argv)
{
	struct thread *threads;
	unsigned int i;

	options_read(argc, argv);
	(void)bench_prepare_process();
	bench_claim(&origin.address);
	origin.buffer = malloc(BENCH_CHUNK);
	threads = calloc(origin.threads, sizeof(*threads));
	if (origin.buffer == NULL || threads == NULL)
		bench_fail(errno, "cannot start");
	memset(origin.buffer, 'o', BENCH_CHUNK);
	for (i = 0; i < origin.threads; i++)
		thread_init(&threads[i], i);
	for (i = 1; i < origin.threads; i++) {
		if (pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) != 0)
			bench_fail(0, "no thread");
	}
	(void)puts("ready");
	(void)fflush(stdout);
	(void)thread_main(&threads[0]);
	return 0;
}

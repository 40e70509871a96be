// SPDX-License-Identifier: ISC
/*
 * The origin's data channel: passive ports that listen all the time and are
 * lent to sessions, and the transfers, which cost as little as they can.
 */
#include "origin.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#define CHUNKS_PER_TURN 8
#define DISCARD_MAX ((size_t)1 << 24)

void port_release(struct session *s)
{
	struct passive_port *port = s->port;

	if (port == NULL)
		return;
	port->owner = NULL;
	port->next_free = s->thread->free_ports;
	s->thread->free_ports = port;
	s->port = NULL;
}

struct passive_port *port_take(struct session *s)
{
	struct passive_port *port = s->port;

	if (port != NULL)
		return port;
	port = s->thread->free_ports;
	if (port == NULL)
		return NULL;
	s->thread->free_ports = port->next_free;
	port->owner = s;
	s->port = port;
	return port;
}

void data_close(struct session *s)
{
	if (s->data_tls != NULL) {
		(void)SSL_shutdown(s->data_tls);
		ERR_clear_error();
		SSL_free(s->data_tls);
		s->data_tls = NULL;
	}
	if (s->data.fd != -1)
		(void)close(s->data.fd);
	s->data.fd = -1;
	s->data_events = 0;
	s->active.sin_port = 0;
}

static void data_wait(struct session *s, uint32_t events)
{
	if (s->data_events == events)
		return;
	if (s->data_events == 0)
		bench_epoll_add(s->thread->epoll_fd, s->data.fd, events, &s->data);
	else
		bench_epoll_modify(s->thread->epoll_fd, s->data.fd, events, &s->data);
	s->data_events = events;
}

void transfer_done(struct session *s, bool whole)
{
	s->transfer = TRANSFER_NONE;
	data_close(s);
	session_reply(s, whole ? "226 Transfer complete.\r\n" : "426 Data connection lost.\r\n");
}

static ssize_t data_send(struct session *s, uint32_t *events)
{
	const char *from = s->source != NULL ? s->source : origin.buffer;
	size_t size = s->left < BENCH_CHUNK ? (size_t)s->left : BENCH_CHUNK;
	ssize_t sent;

	if (s->data_tls != NULL)
		return tls_outcome(s->data_tls, SSL_write(s->data_tls, from, (int)size), events);
	sent = send(s->data.fd, from, size, MSG_NOSIGNAL);
	if (sent == -1 && errno == EAGAIN) {
		*events = EPOLLOUT;
		return 0;
	}
	return sent;
}

static void transfer_send(struct session *s)
{
	uint32_t events = EPOLLOUT;
	ssize_t sent;
	int turn;

	for (turn = 0; turn < CHUNKS_PER_TURN && s->left > 0; turn++) {
		sent = data_send(s, &events);
		if (sent == -1) {
			transfer_done(s, false);
			return;
		}
		if (sent == 0)
			break;
		s->left -= (uint64_t)sent;
		if (s->source != NULL)
			s->source += sent;
	}
	if (s->left == 0)
		transfer_done(s, true);
	else
		data_wait(s, events);
}

static void transfer_receive(struct session *s)
{
	static _Thread_local char scratch[BENCH_CHUNK];
	uint32_t events = EPOLLIN;
	ssize_t got = 0;
	int turn;

	for (turn = 0; turn < CHUNKS_PER_TURN; turn++) {
		if (s->data_tls != NULL) {
			int result = SSL_read(s->data_tls, scratch, (int)sizeof(scratch));

			if (result <= 0 &&
			    SSL_get_error(s->data_tls, result) == SSL_ERROR_ZERO_RETURN) {
				transfer_done(s, true);
				return;
			}
			got = tls_outcome(s->data_tls, result, &events);
		} else {
			/* With MSG_TRUNC, TCP drops the bytes without copying them. */
			got = recv(s->data.fd, NULL, DISCARD_MAX, MSG_TRUNC);
			if (got == 0) {
				transfer_done(s, true);
				return;
			}
			if (got == -1 && errno == EAGAIN)
				got = 0;
		}
		if (got <= 0)
			break;
	}
	if (got == -1)
		transfer_done(s, false);
	else
		data_wait(s, events);
}

void transfer_run(struct session *s)
{
	if (s->transfer == TRANSFER_NONE || s->data.fd == -1)
		return;
	if (s->private_data && s->data_tls == NULL) {
		s->data_tls = SSL_new(origin.tls);
		if (s->data_tls == NULL || SSL_set_fd(s->data_tls, s->data.fd) != 1) {
			transfer_done(s, false);
			return;
		}
		SSL_set_accept_state(s->data_tls);
	}
	if (s->transfer == TRANSFER_SEND)
		transfer_send(s);
	else
		transfer_receive(s);
}

static bool data_dial(struct session *s)
{
	static const int on = 1;
	struct sockaddr_in from = origin.address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return false;
	from.sin_port = 0;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == -1 ||
	    (connect(fd, (struct sockaddr *)&s->active, sizeof(s->active)) == -1 &&
	     errno != EINPROGRESS)) {
		(void)close(fd);
		return false;
	}
	s->data.fd = fd;
	data_wait(s, EPOLLOUT);
	return true;
}

void transfer_begin(struct session *s, enum transfer transfer, const char *source, uint64_t size)
{
	bool dialled = false;

	if (s->data.fd == -1 && s->active.sin_port != 0) {
		dialled = data_dial(s);
		if (!dialled) {
			session_reply(s, "425 Cannot connect.\r\n");
			return;
		}
	}
	if (s->data.fd == -1 && s->port == NULL) {
		session_reply(s, "425 Use PASV or PORT first.\r\n");
		return;
	}
	s->transfer = transfer;
	s->source = source;
	s->left = size;
	session_reply(s, "150 Here it comes.\r\n");
	if (!s->dead && !dialled)
		transfer_run(s);
}

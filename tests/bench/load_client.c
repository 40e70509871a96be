// SPDX-License-Identifier: ISC
/*
 * One FTP client: logs on, does an operation when it is told to, knows nothing
 * of how often. Passive mode; the host in a 227 is ignored (as curl can be told
 * to), since a relay that understands nothing passes on its origin's.
 *
 * What happened is decided by what read and write return, not by epoll's
 * flags, so an event that is out of date does no harm.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#define CHUNKS_PER_TURN 8
#define DISCARD_MAX ((size_t)1 << 24)

static void data_run(struct client *c);

const char *client_step_name(enum step step)
{
	static const char *const names[] = { "closed",   "greeting", "AUTH",     "handshake",
		                             "USER",     "PASS",     "PBSZ",     "PROT",
		                             "TYPE",     "ready",    "NOOP",     "PASV",
		                             "transfer", "final",    "data end", "QUIT",
		                             "closing" };

	return names[step];
}

static void step_to(struct client *c, enum step step)
{
	c->step = step;
	c->step_began = c->worker->now;
}

/* --- channels -------------------------------------------------------------------------- */

static void channel_wait(struct channel *channel, uint32_t events)
{
	int epoll_fd = channel->client->worker->epoll_fd;

	if (channel->events == events)
		return;
	if (channel->events == 0)
		bench_epoll_add(epoll_fd, channel->fd, events, channel);
	else
		bench_epoll_modify(epoll_fd, channel->fd, events, channel);
	channel->events = events;
}

static void channel_close(struct channel *channel)
{
	if (channel->tls != NULL) {
		SSL_free(channel->tls);
		channel->tls = NULL;
	}
	if (channel->fd != -1)
		(void)close(channel->fd);
	channel->fd = -1;
	channel->events = 0;
}

static bool channel_start_tls(struct channel *channel, SSL *session_of)
{
	SSL_SESSION *session;

	channel->tls = SSL_new(load_tls_context);
	if (channel->tls == NULL || SSL_set_fd(channel->tls, channel->fd) != 1)
		return false;
	SSL_set_connect_state(channel->tls);
	session = session_of != NULL ? SSL_get1_session(session_of) : NULL;
	if (session != NULL) {
		(void)SSL_set_session(channel->tls, session);
		SSL_SESSION_free(session);
	}
	return true;
}

/* > 0 bytes, 0 end, -1 lost, -2 later (and epoll has been told when). */
static ssize_t channel_outcome(struct channel *channel, int result)
{
	int why;

	if (result > 0)
		return result;
	why = SSL_get_error(channel->tls, result);
	ERR_clear_error();
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
		return -1;
	channel_wait(channel, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
	return -2;
}

static ssize_t channel_read(struct channel *channel, void *to, size_t size)
{
	ssize_t got;

	if (channel->tls != NULL)
		return channel_outcome(channel, SSL_read(channel->tls, to, (int)size));
	got = recv(channel->fd, to, size, 0);
	if (got == -1 && errno == EAGAIN) {
		channel_wait(channel, EPOLLIN);
		return -2;
	}
	return got;
}

/* Opens a socket to the proxy from a source address of ours. */
static int dial(struct in_addr source, uint16_t port)
{
	static const int on = 1;
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = source };
	struct sockaddr_in to = load.target;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (port != 0)
		to.sin_port = htons(port);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (load.sources > 0) {
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == -1) {
			(void)close(fd);
			return -1;
		}
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1 && errno != EINPROGRESS) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static struct in_addr source_address(unsigned int index)
{
	struct in_addr address = load.source;

	if (load.sources > 0)
		address.s_addr = htonl(ntohl(address.s_addr) + index % load.sources);
	return address;
}

/* --- failing and ending ------------------------------------------------------------------ */

void client_close(struct client *c)
{
	channel_close(&c->data);
	channel_close(&c->control);
	c->used = 0;
	step_to(c, STEP_CLOSED);
}

static void fail(struct client *c, enum load_error error, const char *text)
{
	client_close(c);
	worker_client_failed(c, error, text);
}

static void lost(struct client *c)
{
	char text[64];

	if (c->step == STEP_CLOSING) {
		client_close(c);
		worker_client_closed(c);
		return;
	}
	if (c->step == STEP_READY && worker_client_expired(c)) {
		client_close(c);
		return;
	}
	(void)snprintf(text, sizeof(text), "connection ended at %s", client_step_name(c->step));
	fail(c, c->step == STEP_GREETING ? ERROR_CONNECT : ERROR_LOST, text);
}

/* --- commands -------------------------------------------------------------------------- */

static void command(struct client *c, enum step step, const char *verb, const char *argument)
{
	char line[512];
	int length = snprintf(line, sizeof(line), "%s%s%s\r\n", verb, *argument != '\0' ? " " : "",
	                      argument);
	ssize_t sent;

	if (length < 0 || (size_t)length >= sizeof(line)) {
		fail(c, ERROR_LOST, "a command does not fit");
		return;
	}
	step_to(c, step);
	if (c->control.tls != NULL)
		sent = SSL_write(c->control.tls, line, length);
	else
		sent = send(c->control.fd, line, (size_t)length, MSG_NOSIGNAL);
	if (sent != length)
		lost(c);
}

void client_connect(struct client *c)
{
	/* Logons change their source, so that ports in TIME_WAIT do not run out. */
	unsigned int pick = load.mode == MODE_LOGON ? c->worker->connections++ : c->index;

	c->told = false;
	c->data_ended = false;
	step_to(c, STEP_GREETING);
	c->control.fd = dial(source_address(pick), 0);
	if (c->control.fd == -1) {
		fail(c, ERROR_CONNECT, strerror(errno));
		return;
	}
	channel_wait(&c->control, EPOLLIN);
	if (load.tls == LOAD_TLS_IMPLICIT) {
		step_to(c, STEP_HANDSHAKE);
		if (!channel_start_tls(&c->control, NULL))
			fail(c, ERROR_CONNECT, "no TLS connection");
		else
			channel_wait(&c->control, EPOLLOUT);
	}
}

void client_noop(struct client *c)
{
	command(c, STEP_NOOP, "NOOP", "");
}

void client_quit(struct client *c)
{
	command(c, STEP_QUIT, "QUIT", "");
}

void client_operate(struct client *c)
{
	switch (c->worker->mode) {
	case MODE_LOGON:
		client_connect(c);
		return;
	case MODE_NOOP:
	case MODE_IDLE:
	case MODE_EXPIRE:
		client_noop(c);
		return;
	case MODE_RETR:
	case MODE_STOR:
		c->data_ended = false;
		c->moved = 0;
		command(c, STEP_PASV, load.epsv ? "EPSV" : "PASV", "");
		return;
	}
}

/* --- data channel ---------------------------------------------------------------------- */

static void transfer_done(struct client *c)
{
	if (load.mode == MODE_RETR && c->moved != load.size) {
		char text[96];

		(void)snprintf(text, sizeof(text), "%llu bytes of %llu arrived",
		               (unsigned long long)c->moved, (unsigned long long)load.size);
		fail(c, ERROR_TRUNCATED, text);
		return;
	}
	c->worker->tally.bytes += c->worker->counting ? c->moved : 0;
	step_to(c, STEP_READY);
	worker_client_ready(c);
}

static void data_end(struct client *c)
{
	if (c->data.tls != NULL) {
		(void)SSL_shutdown(c->data.tls);
		ERR_clear_error();
	}
	channel_close(&c->data);
	c->data_ended = true;
	if (c->step == STEP_REST)
		transfer_done(c);
}

static void data_read(struct client *c)
{
	static _Thread_local char scratch[BENCH_CHUNK];
	ssize_t got = 0;
	int turn;

	for (turn = 0; turn < CHUNKS_PER_TURN; turn++) {
		if (c->data.tls != NULL) {
			got = channel_read(&c->data, scratch, sizeof(scratch));
		} else {
			/* With MSG_TRUNC, TCP drops the bytes without copying them. */
			got = recv(c->data.fd, NULL, DISCARD_MAX, MSG_TRUNC);
			if (got == -1 && errno == EAGAIN)
				got = -2;
		}
		if (got <= 0)
			break;
		c->moved += (uint64_t)got;
	}
	if (got == 0 || got == -1) /* an early end shows in the count of bytes */
		data_end(c);
	else if (got > 0)
		channel_wait(&c->data, EPOLLIN);
}

/* TLS: what the server sends late (tickets) is read, since closing over it would reset the file. */
static void data_drain(struct client *c)
{
	char scratch[4096];
	ssize_t got;

	do {
		got = recv(c->data.fd, scratch, sizeof(scratch), 0);
	} while (got > 0);
	if (got == 0 || errno != EAGAIN)
		data_end(c);
	else
		channel_wait(&c->data, EPOLLIN);
}

static void data_write(struct client *c)
{
	static char chunk[BENCH_CHUNK];
	ssize_t sent;
	int turn;

	for (turn = 0; turn < CHUNKS_PER_TURN && c->moved < load.size; turn++) {
		uint64_t left = load.size - c->moved;
		size_t size = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);

		if (c->data.tls != NULL) {
			sent = channel_outcome(&c->data, SSL_write(c->data.tls, chunk, (int)size));
		} else {
			sent = send(c->data.fd, chunk, size, MSG_NOSIGNAL);
			if (sent == -1 && errno == EAGAIN) {
				channel_wait(&c->data, EPOLLOUT);
				sent = -2;
			}
		}
		if (sent == -2)
			return;
		if (sent <= 0) {
			fail(c, ERROR_LOST, "data connection lost while sending");
			return;
		}
		c->moved += (uint64_t)sent;
	}
	if (c->moved < load.size) {
		channel_wait(&c->data, EPOLLOUT);
		return;
	}
	if (c->data.tls == NULL) {
		data_end(c);
		return;
	}
	(void)SSL_shutdown(c->data.tls);
	ERR_clear_error();
	(void)shutdown(c->data.fd, SHUT_WR);
	data_drain(c);
}

static void data_run(struct client *c)
{
	if (c->data.fd == -1)
		return;
	if (load.mode == MODE_RETR)
		data_read(c);
	else if (c->moved == load.size)
		data_drain(c);
	else if (c->step == STEP_FINAL || c->step == STEP_REST)
		data_write(c);
	/* else: the 150 starts it */
}

static bool passive_port(const char *text, uint16_t *port)
{
	const char *at = strrchr(text, load.epsv ? '(' : ',');
	const char *before = at;
	char *end = NULL;
	unsigned long value;

	if (at == NULL)
		return false;
	if (load.epsv) {
		value = strtoul(at + 4, &end, 10);
		*port = (uint16_t)value;
		return strlen(at) > 4 && *end == '|' && value > 0 && value <= UINT16_MAX;
	}
	while (before > text && before[-1] != ',')
		before--;
	value = strtoul(before, NULL, 10) * 256U + strtoul(at + 1, &end, 10);
	*port = (uint16_t)value;
	return end != at + 1 && value > 0 && value <= UINT16_MAX;
}

static void transfer_begin(struct client *c, const char *text)
{
	char name[32];
	uint16_t port;

	if (!passive_port(text, &port)) {
		fail(c, ERROR_REFUSED, text);
		return;
	}
	c->data.fd = dial(source_address(c->index), port);
	if (c->data.fd == -1) {
		fail(c, ERROR_CONNECT, strerror(errno));
		return;
	}
	(void)snprintf(name, sizeof(name), "b%llu", (unsigned long long)load.size);
	command(c, STEP_BEGIN, load.mode == MODE_RETR ? "RETR" : "STOR", name);
	if (c->data.fd == -1)
		return;
	if (load.tls != LOAD_TLS_NONE && !channel_start_tls(&c->data, c->control.tls)) {
		fail(c, ERROR_CONNECT, "no TLS connection");
		return;
	}
	if (load.mode == MODE_RETR)
		channel_wait(&c->data, c->data.tls != NULL ? EPOLLOUT : EPOLLIN);
}

/* --- replies --------------------------------------------------------------------------- */

static void logged_on(struct client *c)
{
	if (c->worker->counting && load.mode == MODE_LOGON)
		histogram_add(&c->worker->tally.logons, bench_now_ns() - c->began);
	if (load.mode == MODE_LOGON) {
		client_quit(c);
		return;
	}
	if (load.mode != MODE_RETR && load.mode != MODE_STOR) {
		step_to(c, STEP_READY);
		worker_client_ready(c);
	} else if (load.tls != LOAD_TLS_NONE && !load.no_prot) {
		command(c, STEP_PBSZ, "PBSZ", "0");
	} else {
		command(c, STEP_TYPE, "TYPE", "I");
	}
}

static void handshake(struct client *c)
{
	ssize_t result = channel_outcome(&c->control, SSL_do_handshake(c->control.tls));

	if (result == -2)
		return;
	if (result <= 0) {
		fail(c, ERROR_CONNECT, "TLS handshake failed");
		return;
	}
	channel_wait(&c->control, EPOLLIN);
	if (load.tls == LOAD_TLS_IMPLICIT)
		step_to(c, STEP_GREETING);
	else
		command(c, STEP_USER, "USER", load.user);
}

static void transfer_reply(struct client *c, int code, const char *text)
{
	if (code < 200) {
		step_to(c, STEP_FINAL);
		if (load.mode == MODE_STOR)
			data_run(c);
		return;
	}
	if (code >= 400) {
		channel_close(&c->data);
		step_to(c, STEP_READY);
		worker_client_refused(c, text);
		return;
	}
	step_to(c, STEP_REST);
	if (c->data_ended)
		transfer_done(c);
}

/* What a good reply leads to. */
static void reply_good(struct client *c, int code, const char *text)
{
	switch (c->step) {
	case STEP_GREETING:
		if (code < 200) /* 120: the 220 follows */
			return;
		if (load.tls == LOAD_TLS_EXPLICIT)
			command(c, STEP_AUTH, "AUTH", "TLS");
		else
			command(c, STEP_USER, "USER", load.user);
		return;
	case STEP_AUTH:
		step_to(c, STEP_HANDSHAKE);
		if (!channel_start_tls(&c->control, NULL))
			fail(c, ERROR_CONNECT, "no TLS connection");
		else
			handshake(c);
		return;
	case STEP_USER:
		if (code == 331)
			command(c, STEP_PASS, "PASS", load.password);
		else
			logged_on(c);
		return;
	case STEP_PASS:
		logged_on(c);
		return;
	case STEP_PBSZ:
		command(c, STEP_PROT, "PROT", "P");
		return;
	case STEP_PROT:
		command(c, STEP_TYPE, "TYPE", "I");
		return;
	case STEP_TYPE:
	case STEP_NOOP:
		step_to(c, STEP_READY);
		worker_client_ready(c);
		return;
	case STEP_PASV:
		transfer_begin(c, text);
		return;
	case STEP_BEGIN:
	case STEP_FINAL:
		transfer_reply(c, code, text);
		return;
	case STEP_QUIT:
		step_to(c, STEP_CLOSING);
		worker_client_ready(c);
		return;
	case STEP_CLOSED:
	case STEP_HANDSHAKE:
	case STEP_READY:
	case STEP_REST:
	case STEP_CLOSING:
		fail(c, ERROR_LOST, "a reply came unasked");
		return;
	}
}

static void reply_line(struct client *c, const char *line, size_t length)
{
	int code;

	if (length < 4 || line[3] != ' ' || line[0] < '1' || line[0] > '5' || line[1] < '0' ||
	    line[1] > '9' || line[2] < '0' || line[2] > '9')
		return; /* a line inside a reply of several */
	code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
	if (code == 421 && c->step == STEP_READY) {
		c->told = true;
		return; /* the end of the connection follows */
	}
	if (code < 400)
		reply_good(c, code, line);
	else if (c->step == STEP_BEGIN || c->step == STEP_FINAL)
		transfer_reply(c, code, line);
	else if (c->step == STEP_NOOP)
		reply_good(c, code, line); /* answered is what is measured */
	else
		fail(c, ERROR_REFUSED, line);
}

/* False: nothing more at the moment. */
static bool control_read(struct client *c)
{
	char *from = c->in;
	char *end;
	char *newline;
	ssize_t got = channel_read(&c->control, c->in + c->used, sizeof(c->in) - c->used);

	if (got == -2)
		return false;
	if (got <= 0) {
		lost(c);
		return false;
	}
	c->used += (size_t)got;
	end = c->in + c->used;
	while (c->step != STEP_CLOSED &&
	       (newline = memchr(from, '\n', (size_t)(end - from))) != NULL) {
		size_t length = (size_t)(newline - from);

		if (length > 0 && from[length - 1] == '\r')
			length--;
		from[length] = '\0';
		reply_line(c, from, length);
		from = newline + 1;
	}
	if (c->control.fd == -1)
		return false;
	c->used = (size_t)(end - from);
	memmove(c->in, from, c->used);
	if (c->used == sizeof(c->in)) /* the tail of an endless line tells nothing */
		c->used = 0;
	return c->control.tls != NULL ? SSL_pending(c->control.tls) > 0 : false;
}

void client_event(struct channel *channel)
{
	struct client *c = channel->client;

	if (channel->fd == -1)
		return;
	if (channel == &c->data) {
		data_run(c);
		return;
	}
	if (c->step == STEP_HANDSHAKE) {
		handshake(c);
		return;
	}
	while (control_read(c))
		continue;
}

// SPDX-License-Identifier: ISC
/*
 * TLS connections: the handshake on a stream, and the operations of a stream
 * under TLS. Each call clears OpenSSL's error queue first and turns its answer
 * into -EAGAIN (with `swap` saying what it really waits for) or -errno.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "sallyport/span.h"
#include "tls_private.h"

#define RECORD_BYTES  ((size_t)SSL3_RT_MAX_PLAIN_LENGTH)
#define NOTHING_LATER 1

static _Thread_local char last_error[TLS_ERROR_MAX];

const char *tls_error(void)
{
	return last_error;
}

/*
 * A data connection hands on what it came with and nothing else: who has taken
 * somebody's data port and is refused must not leave with that session's tag.
 */
struct tls_tag tls_conn_ticket_tag(const SSL *ssl)
{
	const struct tls_conn *conn = tls_wire_conn();

	(void)ssl;
	return conn->is_data ? conn->resumed_tag : conn->tag;
}

/* Asked while the ticket is opened: later the session holds the tag of the next ticket. */
bool tls_conn_take_tag(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *conn = tls_wire_conn();
	void *data = NULL;
	size_t n = 0;

	(void)ssl;
	memset(&conn->resumed_tag, 0, sizeof(conn->resumed_tag));
	if (session != NULL && SSL_SESSION_get0_ticket_appdata(session, &data, &n) == 1 &&
	    n == sizeof(conn->resumed_tag))
		memcpy(&conn->resumed_tag, data, n);
	return !conn->is_data;
}

struct tls_context *tls_conn_context(const SSL *ssl)
{
	const struct tls_conn *conn = tls_wire_conn();

	(void)ssl;
	return conn->context;
}

int tls_conn_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *conn = tls_wire_conn();

	(void)ssl;
	SSL_SESSION_free(conn->session);
	conn->session = session;
	return 1; /* the reference is ours */
}

/* --- operations ---------------------------------------------------------------------- */

static void note_error(const struct tls_conn *conn, int saved_errno)
{
	long verified = SSL_get_verify_result(conn->ssl);
	unsigned long code = ERR_peek_last_error();
	const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (verified != X509_V_OK && SSL_get_verify_mode(conn->ssl) != SSL_VERIFY_NONE)
		why = X509_verify_cert_error_string(verified);
	if (why == NULL)
		why = saved_errno != 0 ? strerror(saved_errno) : "the peer closed the connection";
	sp_copy(last_error, sizeof(last_error), why);
}

/* What a call that did not succeed means. */
static ssize_t failure(struct stream *s, int result, unsigned char swap)
{
	struct tls_conn *conn = tls_conn_of(s);
	int saved_errno = errno;

	switch (SSL_get_error(conn->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		s->swap = (unsigned char)(swap == STREAM_WRITE_NEEDS_READ ? s->swap | swap
									  : s->swap & ~swap);
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		s->swap = (unsigned char)(swap == STREAM_READ_NEEDS_WRITE ? s->swap | swap
									  : s->swap & ~swap);
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		conn->broken = true;
		note_error(conn, saved_errno);
		return saved_errno != 0 ? -saved_errno : -ECONNRESET;
	default:
		break;
	}
	conn->broken = true;
	note_error(conn, 0);
	if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return conn->context->lenient_close ? 0 : -ECONNABORTED;
	return -EPROTO;
}

static int clamp(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

void tls_conn_keep_buffers(SSL *ssl, bool keep)
{
	if (keep)
		(void)SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	else
		(void)SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
}

static ssize_t read_record(struct stream *s, char *to, size_t n)
{
	struct tls_conn *conn = tls_conn_of(s);
	int got;

	ERR_clear_error();
	errno = 0;
	got = SSL_read(conn->ssl, to, clamp(n));
	conn->dry = got <= 0;
	if (got <= 0)
		return failure(s, got, STREAM_READ_NEEDS_WRITE);
	s->swap &= (unsigned char)~STREAM_READ_NEEDS_WRITE;
	return got;
}

/*
 * As many records as there are and as there is room for. What stops them is told
 * by the next read: a socket reports its error only once, and behind that comes
 * an end that looks like any other.
 */
static ssize_t read_records(struct stream *s, char *to, size_t n)
{
	struct tls_conn *conn = tls_conn_of(s);
	size_t at = 0;
	ssize_t got;

	do {
		tls_conn_keep_buffers(conn->ssl, n - at >= 2 * RECORD_BYTES);
		got = read_record(s, to + at, n - at);
		if (got <= 0)
			break;
		at += (size_t)got;
	} while (n - at >= RECORD_BYTES);
	tls_conn_keep_buffers(conn->ssl, false);
	if (at == 0)
		return got;
	if (got <= 0)
		conn->later = (int)got;
	return (ssize_t)at;
}

static ssize_t tls_read(struct stream *s, void *to, size_t n)
{
	struct tls_conn *conn = tls_conn_of(s);

	if (conn->later != NOTHING_LATER) {
		int later = conn->later;

		conn->later = NOTHING_LATER;
		return later;
	}
	tls_wire_enter(conn, s->fd);
	return n > RECORD_BYTES ? read_records(s, to, n) : read_record(s, to, n);
}

/* What a large write that did not succeed means. */
static ssize_t failure_of_large(struct stream *s, int refused)
{
	struct tls_conn *conn = tls_conn_of(s);
	int error = errno;

	if (refused != 1)
		return failure(s, refused, STREAM_WRITE_NEEDS_READ);
	if (error == EAGAIN) {
		s->swap &= (unsigned char)~STREAM_WRITE_NEEDS_READ;
		return -EAGAIN;
	}
	conn->broken = true;
	note_error(conn, error);
	return -error;
}

static ssize_t tls_write(struct stream *s, const void *from, size_t n)
{
	struct tls_conn *conn = tls_conn_of(s);
	ssize_t result;
	ssize_t put;
	int refused = 1;

	if (conn->broken)
		return -EPIPE;
	tls_wire_enter(conn, s->fd);
	ERR_clear_error();
	errno = 0;
	if (tls_wire_is_large(conn, n))
		put = tls_wire_write(conn, from, n, &refused);
	else
		put = refused = SSL_write(conn->ssl, from, clamp(n));
	if (put > 0) {
		s->swap &= (unsigned char)~STREAM_WRITE_NEEDS_READ;
		return put;
	}
	result = failure_of_large(s, refused);
	return result == 0 ? -EPIPE : result;
}

static bool tls_pending(const struct stream *s)
{
	const struct tls_conn *conn = tls_conn_of(s);

	if (conn->later != NOTHING_LATER)
		return conn->later != -EAGAIN;
	return !conn->dry && SSL_has_pending(conn->ssl) != 0;
}

static int tls_finish(struct stream *s)
{
	struct tls_conn *conn = tls_conn_of(s);
	int result;

	/* OpenSSL counts it as sent (SSL_SENT_SHUTDOWN) while it still waits for room in the socket. */
	if (conn->broken || conn->notified || SSL_in_init(conn->ssl))
		return 0;
	/* Bytes that their owner gave up half way: no close_notify may make the rest look whole. */
	if (conn->owed > 0) {
		conn->broken = true;
		return -EPROTO;
	}
	tls_wire_enter(conn, s->fd);
	ERR_clear_error();
	errno = 0;
	result = SSL_shutdown(conn->ssl);
	if (result >= 0) {
		conn->notified = true;
		return 0;
	}
	return (int)failure(s, result, STREAM_WRITE_NEEDS_READ);
}

static void handshake_free(struct tls_conn *conn)
{
	if (conn->handshake == NULL)
		return;
	event_del(&conn->handshake->start);
	free(conn->handshake);
	conn->handshake = NULL;
}

static void tls_free(struct stream *s)
{
	struct tls_conn *conn = tls_conn_of(s);

	handshake_free(conn);
	SSL_SESSION_free(conn->session);
	/* A connection that ends without close_notify may be resumed all the same: FTP needs it. */
	tls_wire_enter(conn, s->fd);
	SSL_set_quiet_shutdown(conn->ssl, 1);
	SSL_shutdown(conn->ssl);
	SSL_free(conn->ssl);
	tls_wire_forget(conn);
	free(conn);
}

static const struct stream_ops tls_ops = {
	.read = tls_read,
	.write = tls_write,
	.pending = tls_pending,
	.finish = tls_finish,
	.free = tls_free,
};

/* --- handshake -------------------------------------------------------------------------- */

static bool pin_matches(const struct tls_conn *conn)
{
	unsigned char digest[TLS_DIGEST_BYTES];

	return tls_conn_certificate(conn, digest) && memcmp(digest, conn->context->pin, sizeof(digest)) == 0;
}

/* Gives the stream back to its owner and tells how it went. The last thing its caller does. */
static void conclude(struct tls_conn *conn, int result)
{
	struct stream *s = conn->handshake->stream;
	tls_done_fn *done = conn->handshake->done;
	void *done_owner = conn->handshake->done_owner;

	stream_watch(s, 0);
	s->ready = conn->handshake->ready;
	s->owner = conn->handshake->owner;
	s->swap = 0;
	handshake_free(conn);
	done(done_owner, result);
}

static void step(struct tls_conn *conn)
{
	struct stream *s = conn->handshake->stream;
	int result;

	tls_wire_enter(conn, s->fd);
	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(conn->ssl);
	if (result == 1) {
		if (conn->context->pinned && !pin_matches(conn)) {
			sp_copy(last_error, sizeof(last_error), "the certificate is not the pinned one");
			conn->broken = true;
			conclude(conn, -EPROTO);
			return;
		}
		conclude(conn, 0);
		return;
	}
	switch (SSL_get_error(conn->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		stream_watch(s, STREAM_READ);
		return;
	case SSL_ERROR_WANT_WRITE:
		stream_watch(s, STREAM_WRITE);
		return;
	default:
		break;
	}
	conn->broken = true;
	note_error(conn, errno);
	conclude(conn, -EPROTO);
}

static void on_ready(void *owner, unsigned ready)
{
	(void)ready;
	step(owner);
}

static void on_start(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	step(arg);
}

/* For one whose stream has not got it yet. */
static void conn_free(struct tls_conn *conn)
{
	SSL_free(conn->ssl);
	free(conn->handshake);
	free(conn);
}

static struct tls_conn *conn_new(struct stream *s, struct tls_context *context, tls_done_fn *done,
				 void *owner)
{
	struct tls_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->ssl = SSL_new(context->ctx[0]);
	conn->handshake = calloc(1, sizeof(*conn->handshake));
	if (conn->ssl == NULL || conn->handshake == NULL || !tls_wire_attach(conn->ssl)) {
		conn_free(conn);
		return NULL;
	}
	conn->context = context;
	conn->later = NOTHING_LATER;
	conn->handshake->stream = s;
	conn->handshake->ready = s->ready;
	conn->handshake->owner = s->owner;
	conn->handshake->done = done;
	conn->handshake->done_owner = owner;
	return conn;
}

/*
 * A record with its header by one call, not by two, and what comes of the next
 * one with it. Not on control connections, which may be in clear again behind a
 * record (CCC).
 */
static void read_ahead(struct tls_conn *conn)
{
	SSL_set_read_ahead(conn->ssl, 1);
}

/* The first step comes from the loop, so that `done` never runs before the starting call returns. */
static void start(struct stream *s, struct tls_conn *conn)
{
	struct event *first = &conn->handshake->start;

	stream_watch(s, 0);
	s->ready = on_ready;
	s->owner = conn;
	stream_set_tls(s, &tls_ops, conn);
	event_assign(first, stream_base(s), -1, 0, on_start, conn);
	event_active(first, EV_TIMEOUT, 0);
}

int tls_accept(struct stream *s, struct tls_context *context, const char *host, uint64_t tag, enum tls_use use,
	       tls_done_fn *done, void *owner)
{
	static const size_t tickets[] = {
		[TLS_FOR_CONTROL] = 2,
		[TLS_FOR_DOWNLOAD] = 1, /* some clients use each ticket once: this replaces theirs */
		[TLS_FOR_UPLOAD] = 0,
	};
	struct tls_conn *conn = conn_new(s, context, done, owner);

	if (conn == NULL)
		return -ENOMEM;
	conn->tag = (struct tls_tag){ context->tickets != NULL ? ticket_ring_instance(context->tickets) : 0, tag };
	conn->is_data = use != TLS_FOR_CONTROL;
	/* Passwords come here: OpenSSL keeps no copy of what it has handed on. */
	if (use == TLS_FOR_CONTROL)
		SSL_set_options(conn->ssl, SSL_OP_CLEANSE_PLAINTEXT);
	if (host != NULL)
		tls_context_choose(context, conn->ssl, host);
	if (use == TLS_FOR_UPLOAD)
		read_ahead(conn);
	SSL_set_accept_state(conn->ssl);
	(void)SSL_set_num_tickets(conn->ssl, tickets[use]);
	start(s, conn);
	return 0;
}

/* SNI is for names only (RFC 6066 section 3); verification knows both. */
static bool set_name(struct tls_conn *conn, const char *name)
{
	unsigned char address[sizeof(struct in6_addr)];
	bool numeric = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
	char sni[TLSEXT_MAXLEN_host_name + 1];

	/* OpenSSL's macro casts `const` away: it gets a copy. */
	sp_copy(sni, sizeof(sni), name);
	if (!numeric && SSL_set_tlsext_host_name(conn->ssl, sni) != 1)
		return false;
	if (!conn->context->verify)
		return true;
	if (numeric)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(conn->ssl), name) == 1;
	return SSL_set1_host(conn->ssl, name) == 1;
}

/* A copy is offered: a connection that fails spoils its session for all others. */
static void offer_session(struct tls_conn *conn, const SSL_SESSION *session)
{
	SSL_SESSION *copy = session != NULL ? SSL_SESSION_dup(session) : NULL;

	if (copy != NULL)
		(void)SSL_set_session(conn->ssl, copy);
	SSL_SESSION_free(copy);
}

int tls_connect(struct stream *s, struct tls_context *context, const char *name, const struct stream *resume,
		tls_done_fn *done, void *owner)
{
	struct tls_conn *conn = conn_new(s, context, done, owner);

	if (conn == NULL)
		return -ENOMEM;
	if (!set_name(conn, name)) {
		conn_free(conn);
		return -ENOMEM;
	}
	SSL_set_connect_state(conn->ssl);
	if (resume != NULL) /* a data connection */
		read_ahead(conn);
	if (resume != NULL && stream_is_tls(resume))
		offer_session(conn, tls_conn_of(resume)->session);
	start(s, conn);
	return 0;
}

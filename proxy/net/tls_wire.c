// SPDX-License-Identifier: ISC
/*
 * Between OpenSSL and the socket. All connections of a thread share one BIO,
 * which serves the one that the thread is at just now: a BIO for each would
 * cost each idle connection memory. On the way out the records of a large
 * write are gathered, to be sent by one call.
 *
 * Knows nothing of handshakes, nor of what an error means.
 */
#include "tls_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>

#include "sallyport/socket_calls.h"

#define RECORDS_MAX  8
#define RECORD_BYTES (SSL3_RT_MAX_PLAIN_LENGTH + SSL3_RT_MAX_ENCRYPTED_OVERHEAD + SSL3_RT_HEADER_LENGTH)
#define GATHER_BYTES ((size_t)RECORDS_MAX * RECORD_BYTES)

/* A thread's; freed when it ends. */
struct wire {
	BIO *bio;
	struct tls_conn *conn; /* the one that it is at */
	int fd;		       /* of it */
	bool eof;	       /* the last read found the end */
	bool gathering;
	size_t n;	       /* bytes gathered */
	unsigned char *gathered; /* GATHER_BYTES; NULL before a large write: a connection may have it for what is unsent */
};

/* What of a large write lies in the gathered bytes. */
struct records {
	size_t n;
	size_t wire_end[RECORDS_MAX]; /* where the record ends */
	size_t plain_end[RECORDS_MAX]; /* and the owner's bytes in it */
};

static _Thread_local struct wire *wire;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static BIO_METHOD *method;

static ssize_t send_some(int fd, const void *from, size_t n)
{
	ssize_t put;

	do {
		put = sp_send(fd, from, n, MSG_NOSIGNAL);
	} while (put == -1 && errno == EINTR);
	return put;
}

static bool is_blocked(ssize_t result)
{
	return result == -1 && errno == EAGAIN;
}

/* --- what the socket did not take --------------------------------------------------------- */

/* The thread's next large write may use its memory. */
static void drop_unsent(struct tls_conn *conn)
{
	if (wire != NULL && wire->gathered == NULL)
		wire->gathered = conn->unsent;
	else
		free(conn->unsent);
	conn->unsent = NULL;
	conn->unsent_n = 0;
	conn->unsent_at = 0;
}

void tls_wire_forget(struct tls_conn *conn)
{
	if (conn->unsent != NULL)
		drop_unsent(conn);
	conn->owed = 0;
}

/* 1: all is sent; otherwise -1 with errno. */
static int send_unsent(struct tls_conn *conn, int fd)
{
	while (conn->unsent_at < conn->unsent_n) {
		ssize_t put = send_some(fd, conn->unsent + conn->unsent_at, conn->unsent_n - conn->unsent_at);

		if (put < 0)
			return -1;
		conn->unsent_at += (size_t)put;
	}
	drop_unsent(conn);
	return 1;
}

/* All that is gathered, but for the first `sent` bytes. */
static void keep_unsent(struct tls_conn *conn, size_t sent)
{
	SP_ASSERT(conn->unsent == NULL);
	conn->unsent = wire->gathered;
	conn->unsent_n = wire->n;
	conn->unsent_at = sent;
	wire->gathered = NULL;
	wire->n = 0;
}

/* --- the BIO ---------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *from, int n)
{
	ssize_t put;

	BIO_clear_retry_flags(bio);
	if (wire->gathering && (size_t)n <= GATHER_BYTES - wire->n) {
		memcpy(wire->gathered + wire->n, from, (size_t)n);
		wire->n += (size_t)n;
		return n;
	}
	put = wire->conn->unsent != NULL && send_unsent(wire->conn, wire->fd) < 0
		      ? -1
		      : send_some(wire->fd, from, (size_t)n);
	if (is_blocked(put))
		BIO_set_retry_write(bio);
	return (int)put;
}

static int bio_read(BIO *bio, char *to, int n)
{
	ssize_t got;

	BIO_clear_retry_flags(bio);
	do {
		got = sp_recv(wire->fd, to, (size_t)n, 0);
	} while (got == -1 && errno == EINTR);
	if (is_blocked(got))
		BIO_set_retry_read(bio);
	wire->eof = got == 0;
	return (int)got;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_EOF:
		return wire->eof;
	case BIO_CTRL_FLUSH:
		return 1; /* what is gathered goes when the write is over */
	default:
		return 0;
	}
}

static void wire_free(void *arg)
{
	struct wire *old = arg;

	wire = NULL;
	BIO_free(old->bio);
	free(old->gathered);
	free(old);
}

static void prepare(void)
{
	BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sallyport");

	if (made == NULL || pthread_key_create(&key, wire_free) != 0 || BIO_meth_set_write(made, bio_write) != 1 ||
	    BIO_meth_set_read(made, bio_read) != 1 || BIO_meth_set_ctrl(made, bio_ctrl) != 1) {
		BIO_meth_free(made);
		return;
	}
	method = made;
}

/* The thread's, made when it first needs one; NULL: no memory. */
static struct wire *wire_get(void)
{
	struct wire *made;

	if (wire != NULL)
		return wire;
	if (pthread_once(&once, prepare) != 0 || method == NULL)
		return NULL;
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->bio = BIO_new(method);
	if (made->bio == NULL || pthread_setspecific(key, made) != 0) {
		BIO_free(made->bio);
		free(made);
		return NULL;
	}
	BIO_set_init(made->bio, 1);
	wire = made;
	return wire;
}

bool tls_wire_attach(SSL *ssl)
{
	if (wire_get() == NULL || BIO_up_ref(wire->bio) != 1)
		return false;
	SSL_set_bio(ssl, wire->bio, wire->bio); /* one reference for both */
	return true;
}

void tls_wire_enter(struct tls_conn *conn, int fd)
{
	wire->conn = conn;
	wire->fd = fd;
}

struct tls_conn *tls_wire_conn(void)
{
	return wire->conn;
}

/* --- large writes ------------------------------------------------------------------------------ */

/* Fills `records`; what SSL_write() said last. */
static int encrypt(struct tls_conn *conn, const unsigned char *from, size_t n, struct records *records)
{
	size_t at = 0;
	int put = 0;

	records->n = 0;
	wire->n = 0;
	wire->gathering = true;
	while (at < n && records->n < RECORDS_MAX) {
		size_t part = n - at < SSL3_RT_MAX_PLAIN_LENGTH ? n - at : SSL3_RT_MAX_PLAIN_LENGTH;

		tls_conn_keep_buffers(conn->ssl, at + part < n && records->n + 1 < RECORDS_MAX);
		put = SSL_write(conn->ssl, from + at, (int)part);
		if (put <= 0)
			break;
		at += (size_t)put;
		records->wire_end[records->n] = wire->n;
		records->plain_end[records->n] = at;
		records->n++;
	}
	tls_conn_keep_buffers(conn->ssl, false);
	wire->gathering = false;
	return put;
}

/* Sends what is gathered. How many of the owner's bytes have gone; -1 with errno. */
static ssize_t send_records(struct tls_conn *conn, const struct records *records)
{
	ssize_t put = send_some(wire->fd, wire->gathered, wire->n);
	size_t gone = 0;

	if (put < 0 && !is_blocked(put))
		return -1;
	if (put < 0)
		put = 0;
	for (size_t i = 0; i < records->n && records->wire_end[i] <= (size_t)put; i++)
		gone = records->plain_end[i];
	if ((size_t)put < wire->n) {
		keep_unsent(conn, (size_t)put);
		conn->owed = records->plain_end[records->n - 1] - gone;
	}
	if (gone > 0)
		return (ssize_t)gone;
	errno = EAGAIN;
	return -1;
}

/* Without memory a large write is one of its first record. */
static bool can_gather(void)
{
	if (wire->gathered == NULL)
		wire->gathered = malloc(GATHER_BYTES);
	return wire->gathered != NULL;
}

bool tls_wire_is_large(const struct tls_conn *conn, size_t n)
{
	return conn->unsent != NULL || conn->owed > 0 || (n > SSL3_RT_MAX_PLAIN_LENGTH && can_gather());
}

ssize_t tls_wire_write(struct tls_conn *conn, const void *from, size_t n, int *refused)
{
	struct records records;
	size_t gone = conn->owed < n ? conn->owed : n;

	*refused = 1;
	if (conn->unsent != NULL && send_unsent(conn, wire->fd) < 0)
		return -1;
	if (gone > 0) {
		conn->owed -= gone;
		return (ssize_t)gone;
	}
	if (!can_gather()) {
		errno = ENOMEM;
		return -1;
	}
	*refused = encrypt(conn, from, n, &records);
	if (records.n > 0) {
		*refused = 1;
		return send_records(conn, &records);
	}
	if (wire->n > 0) /* an alert */
		(void)send_some(wire->fd, wire->gathered, wire->n);
	return -1;
}

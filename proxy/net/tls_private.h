// SPDX-License-Identifier: ISC
/*
 * What tls.c (contexts), tls_stream.c (connections) and tls_wire.c (their way to
 * the socket) share.
 */
#ifndef SALLYPORT_TLS_PRIVATE_H
#define SALLYPORT_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "sallyport/ticket_ring.h"
#include "sallyport/tls.h"

#define TLS_SCOPE_BYTES 32 /* at most SSL_MAX_SID_CTX_LENGTH */

/* Immutable once made; its connections borrow it (the configuration outlives them). */
struct tls_context {
	size_t n;
	SSL_CTX **ctx;	  /* [n]; the first is the default */
	char ***hosts;	  /* [n] NULL-terminated globs for SNI */
	bool lenient_close;
	struct ticket_ring *tickets;	/* NULL: OpenSSL's own keys, never changed; not owned */
	EVP_CIPHER *ticket_cipher;
	bool verify;	  /* server side: chain and name */
	bool pinned;
	unsigned char pin[TLS_DIGEST_BYTES];
};

/* A connection under TLS; a stream's `tls`. */
struct tls_conn {
	SSL *ssl;
	struct tls_context *context;
	struct tls_tag tag;
	struct tls_tag resumed_tag; /* of the ticket that it came with */
	bool is_data;
	SSL_SESSION *session;	 /* client's side: the newest, to be resumed */
	bool notified;		 /* close_notify is on its way */
	bool broken;		 /* a fatal error: no close_notify any more */
	struct tls_handshake *handshake; /* NULL: it is over */
	/* Of a large write: records that the socket did not take, and how many bytes that the owner gave us are in them. */
	unsigned char *unsent;
	size_t unsent_n;
	size_t unsent_at;
	size_t owed;		 /* to be reported as written once the records are sent */
	bool dry;		 /* no whole record is left of what was read */
	int later;		 /* what a read behind bytes came to: 0 or -errno; 1: nothing */
};

/* While it runs: whose the stream is otherwise. */
struct tls_handshake {
	stream_ready_fn *ready;
	void *owner;
	tls_done_fn *done;
	void *done_owner;
	struct stream *stream;
	struct event start;
};

static inline struct tls_conn *tls_conn_of(const struct stream *s)
{
	return s->tls;
}

struct tls_context *tls_conn_context(const SSL *ssl);

/* Has the connection show the certificate for this host, the default one if it has none. */
void tls_context_choose(const struct tls_context *context, SSL *ssl, const char *host);

/* SHA-256 of the peer's certificate. False: there is none. */
SP_MUSTCHECK bool tls_conn_certificate(const struct tls_conn *conn, unsigned char digest[TLS_DIGEST_BYTES]);

/* What sessions may be resumed under these settings, as a number. */
bool tls_session_scope(const struct tls_listener_settings *settings, unsigned char out[TLS_SCOPE_BYTES]);

/*
 * Prepares to open a ticket with the key of that name. 1: it can be opened; 2: and is to be renewed; 0: it
 * cannot, the handshake is a full one.
 */
int tls_ticket_open(struct ticket_ring *ring, const EVP_CIPHER *aes, const unsigned char *name,
		    const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac);

/* The tag for a ticket that `ssl` gives out. */
struct tls_tag tls_conn_ticket_tag(const SSL *ssl);
/* Notes the tag of the ticket that `ssl` was opened with. True: the connection is to have a ticket of its own. */
bool tls_conn_take_tag(SSL *ssl, SSL_SESSION *session);
/* OpenSSL's new-session callback on the client's side: keeps the newest. */
int tls_conn_new_session(SSL *ssl, SSL_SESSION *session);

/*
 * A burst is many records: their buffer is made and freed once for it, not once
 * for each. To be taken back before the last of them: idle connections have none.
 */
void tls_conn_keep_buffers(SSL *ssl, bool keep);

/* --- tls_wire.c ------------------------------------------------------------------------ */

/* Gives a new connection its way to the socket. False: no memory. */
SP_MUSTCHECK bool tls_wire_attach(SSL *ssl);
/* To be called before anything that reads, writes or calls back: which connection it is, and its socket. */
void tls_wire_enter(struct tls_conn *conn, int fd);
/* In OpenSSL's callbacks: whose they are. */
struct tls_conn *tls_wire_conn(void);
/* Whether a write of n bytes is for tls_wire_write(). */
bool tls_wire_is_large(const struct tls_conn *conn, size_t n);
/*
 * Writes several records by one call. Bytes that have gone to the socket, whole
 * records only; what is not reported is to be written again, as with
 * SSL_write(). -1: errno says why, or *refused (not 1) is what SSL_write() said.
 */
SP_MUSTCHECK ssize_t tls_wire_write(struct tls_conn *conn, const void *from, size_t n, int *refused);
/* Frees what is unsent. */
void tls_wire_forget(struct tls_conn *conn);

#endif

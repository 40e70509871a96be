// SPDX-License-Identifier: ISC
/*
 * What tls.c (contexts) and tls_stream.c (connections) share.
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
	/* While the handshake runs: whose stream it is otherwise. */
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

/* SHA-256 of the peer's certificate. False: there is none. */
SP_MUSTCHECK bool tls_conn_certificate(const struct tls_conn *conn, unsigned char digest[TLS_DIGEST_BYTES]);

/* What sessions may be resumed under these settings, as a number. */
bool tls_session_scope(const struct tls_listener_settings *settings, unsigned char out[TLS_SCOPE_BYTES]);

/* The tag for a ticket that `ssl` gives out. */
struct tls_tag tls_conn_ticket_tag(const SSL *ssl);
/* Notes the tag of the ticket that `ssl` was opened with. */
void tls_conn_take_tag(SSL *ssl, SSL_SESSION *session);
/* OpenSSL's new-session callback on the client's side: keeps the newest. */
int tls_conn_new_session(SSL *ssl, SSL_SESSION *session);

#endif

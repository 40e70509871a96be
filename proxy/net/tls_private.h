// SPDX-License-Identifier: ISC
/*
 * What tls.c (contexts) and tls_stream.c (connections) share.
 */
#ifndef SALLYPORT_TLS_PRIVATE_H
#define SALLYPORT_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "sallyport/tls.h"

#define TLS_PIN_BYTES 32 /* SHA-256 */

/* Immutable once made; its connections borrow it (the configuration outlives them). */
struct tls_context {
	size_t n;
	SSL_CTX **ctx;	  /* [n]; the first is the default */
	char ***hosts;	  /* [n] NULL-terminated globs for SNI */
	bool lenient_close;
	bool verify;	  /* server side: chain and name */
	bool pinned;
	unsigned char pin[TLS_PIN_BYTES];
};

/* The tag for a ticket that `ssl` gives out. */
uint64_t tls_conn_ticket_tag(const SSL *ssl);
/* Notes the tag of the ticket that `ssl` was opened with. */
void tls_conn_take_tag(SSL *ssl, SSL_SESSION *session);
/* OpenSSL's new-session callback on the client's side: keeps the newest. */
int tls_conn_new_session(SSL *ssl, SSL_SESSION *session);

#endif

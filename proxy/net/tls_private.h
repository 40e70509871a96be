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

/* The tag of the connection that `ssl` belongs to. */
uint64_t tls_conn_tag(const SSL *ssl);
/* OpenSSL's new-session callback on the client's side: keeps the newest. */
int tls_conn_new_session(SSL *ssl, SSL_SESSION *session);

#endif

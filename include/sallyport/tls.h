// SPDX-License-Identifier: ISC
/*
 * TLS on streams (OpenSSL 3): contexts made once with the configuration, and
 * handshakes that turn an open stream into a protected one. RFC 4217 roles: we
 * are TLS server to the client and TLS client to the server on every
 * connection, whoever dialled (section 7).
 */
#ifndef SALLYPORT_TLS_H
#define SALLYPORT_TLS_H

#include "sallyport/base.h"
#include "sallyport/span.h"
#include "sallyport/stream.h"
#include "sallyport/ticket_ring.h"

#define TLS_ERROR_MAX	  256
#define TLS_SESSION_BYTES 32
#define TLS_DIGEST_BYTES  32 /* SHA-256 */

/*
 * Whose session a ticket is of. Numbers of sessions are unique within a process
 * only, and its keys may be known to others.
 */
struct tls_tag {
	uint64_t instance; /* of the ring */
	uint64_t session;  /* 0: nobody's */
};

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum tls_client_certificates { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

/* One certificate with its key; `hosts` (globs, NULL-terminated) chooses it by SNI. */
struct tls_identity {
	const char *certificate; /* PEM file: the certificate and its chain */
	const char *private_key; /* PEM file */
	char *const *hosts;	 /* NULL: the default one */
};

/* What a listener asks for. Borrowed for the call. */
struct tls_listener_settings {
	const char *name;	  /* of the listener: sessions resume under the same name only; NULL: "" */
	const struct tls_identity *identities; /* the first is the default */
	size_t identities_n;
	enum tls_version min_version;
	const char *ciphers;	  /* TLS 1.2; NULL: Mozilla's intermediate list */
	const char *ciphersuites; /* TLS 1.3; NULL: Mozilla's intermediate list */
	const char *groups;	  /* NULL: X25519:P-256:P-384 */
	enum tls_client_certificates client_certificates;
	const char *client_ca;	  /* PEM file; for OPTIONAL and REQUIRED */
	const char *client_crl;	  /* PEM file; NULL: none */
	bool lenient_close;	  /* an end without close_notify is an end */
};

/* What a server asks for. */
struct tls_server_settings {
	bool verify;		  /* chain and name; without it only the pin, if there is one */
	const char *ca;		  /* PEM file; NULL: the system's */
	const char *fingerprint;  /* SHA-256 of the certificate, hex with or without colons; NULL: none */
	const char *certificate;  /* ours, for the server; NULL: none */
	const char *private_key;
	enum tls_version min_version;
	bool lenient_close;	  /* an end without close_notify is an end */
};

/*
 * What a connection that we accept is for; decides on its tickets. On an upload
 * the client reads nothing: tickets in its socket would turn its close() into a
 * RST, which destroys the file's tail.
 */
enum tls_use { TLS_FOR_CONTROL, TLS_FOR_DOWNLOAD, TLS_FOR_UPLOAD };

struct tls_context;

/* NULL: `error` says which file or value and why. Any thread; reads files. */
SP_MUSTCHECK struct tls_context *tls_context_for_clients(const struct tls_listener_settings *settings,
							 char error[TLS_ERROR_MAX]);
SP_MUSTCHECK struct tls_context *tls_context_for_servers(const struct tls_server_settings *settings,
							 char error[TLS_ERROR_MAX]);
/*
 * Its tickets are made and opened with the keys of `ring` (borrowed, to outlive
 * it). Once, before the first connection is made with it. False: no memory.
 */
SP_MUSTCHECK bool tls_context_set_tickets(struct tls_context *context, struct ticket_ring *ring);
/* Connections that were made with it keep what they need. */
void tls_context_free(struct tls_context **context);

/*
 * The handshake is over: 0, or -EPROTO (tls_error() says why) or another
 * -errno. Never before the starting call returns, nor after the stream was
 * closed; once otherwise.
 */
typedef void tls_done_fn(void *owner, int result);

/*
 * Starts the handshake on an open stream that holds no unread bytes. `tag`: the
 * number of the session; it goes into the tickets, so that data connections can
 * be told from those of other sessions. `host`: what the client said with HOST,
 * which chooses the certificate where it sends no SNI; may be NULL. Until it is
 * done the stream belongs to the handshake; afterwards its ready function is the
 * one from before and nothing is watched. 0 or -ENOMEM.
 */
SP_MUSTCHECK int tls_accept(struct stream *s, struct tls_context *context, const char *host, uint64_t tag,
			    enum tls_use use, tls_done_fn *done, void *owner);

/*
 * The same as TLS client. `name`: for SNI and verification (a name or a numeric
 * address). `resume`: for a data connection, the control connection, whose
 * session is offered; NULL: for a control connection.
 */
SP_MUSTCHECK int tls_connect(struct stream *s, struct tls_context *context, const char *name,
			     const struct stream *resume, tls_done_fn *done, void *owner);

/* What logs and counters say of a protected stream. */
struct tls_facts {
	const char *version; /* "TLSv1.3"; static */
	const char *cipher;  /* static */
	bool is_1_3;
	bool resumed;
	char sni[256];	     /* name that the client asked for, or we; "" */
	char subject[256];   /* of the peer's verified certificate, RFC 2253; "" */
};
void tls_facts(const struct stream *s, struct tls_facts *out);

/* After a read gave 0: whether the peer ended without close_notify. */
bool tls_was_cut(const struct stream *s);

/*
 * Behind our close_notify: what comes next, without taking it? 1: not a record of
 * TLS, so it is in clear; 0: a record, or a part of one; -EAGAIN: nothing yet;
 * otherwise -errno, -ECONNRESET for the end of the connection.
 */
SP_MUSTCHECK int tls_next_is_clear(const struct stream *s);

/* Why the last handshake on this thread failed, in words. */
const char *tls_error(void);

/*
 * The names in the client's verified certificate: its subject (RFC 2253), then
 * its alternative names as "dns:", "email:" and "uri:". They lie in `buffer`;
 * what does not fit is left out. How many.
 */
size_t tls_certificate_names(const struct stream *s, char *buffer, size_t size, struct span names[], size_t names_max);

/* What data connections are compared with; it outlives the protection of the control connection (CCC). */
struct tls_memory {
	struct tls_tag tag;	    /* of its tickets */
	struct tls_tag resumed_tag; /* of the ticket that it came with */
	unsigned char session[TLS_SESSION_BYTES]; /* its number, TLS 1.2 */
	unsigned session_n;
	bool has_certificate;
	unsigned char certificate[TLS_DIGEST_BYTES]; /* SHA-256 of it */
};
void tls_remember(const struct stream *control, struct tls_memory *out);

/* Whether the data connection resumes a session of that control connection (`require_tls_reuse`). */
bool tls_is_resumption_of(const struct stream *data, const struct tls_memory *control);

/* The same client certificate on both (RFC 4217 section 10.2), none on both included. */
bool tls_same_certificate(const struct stream *data, const struct tls_memory *control);

#endif

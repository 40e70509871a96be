// SPDX-License-Identifier: ISC
/*
 * What is known of a TLS connection: for logs, for routes, and for telling
 * whether a data connection belongs to a control connection.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/x509v3.h>

#include "tls_private.h"

bool tls_conn_certificate(const struct tls_conn *conn, unsigned char digest[TLS_DIGEST_BYTES])
{
	X509 *certificate = SSL_get1_peer_certificate(conn->ssl);
	unsigned n = 0;
	bool ok = certificate != NULL && X509_digest(certificate, EVP_sha256(), digest, &n) == 1 &&
		  n == TLS_DIGEST_BYTES;

	X509_free(certificate);
	return ok;
}

/* The subject in the form of RFC 2253, cut to `size`; its length. */
static size_t write_subject(X509 *certificate, char *to, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n = 0;

	to[0] = '\0';
	if (bio != NULL && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
		n = BIO_get_mem_data(bio, &text);
		(void)span_copy(to, size, span_from(text, (size_t)n));
	}
	BIO_free(bio);
	return (size_t)n < size ? (size_t)n : size - 1;
}

/* NULL: none, or none that was verified. */
static X509 *verified_certificate(const struct tls_conn *conn)
{
	X509 *certificate = SSL_get1_peer_certificate(conn->ssl);

	if (certificate != NULL && SSL_get_verify_result(conn->ssl) != X509_V_OK) {
		X509_free(certificate);
		certificate = NULL;
	}
	return certificate;
}

void tls_facts(const struct stream *s, struct tls_facts *out)
{
	const struct tls_conn *conn = tls_conn_of(s);
	const char *name = SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name);
	X509 *certificate = verified_certificate(conn);

	memset(out, 0, sizeof(*out));
	out->version = SSL_get_version(conn->ssl);
	out->is_1_3 = SSL_version(conn->ssl) >= TLS1_3_VERSION;
	out->cipher = SSL_get_cipher_name(conn->ssl);
	out->resumed = SSL_session_reused(conn->ssl) != 0;
	sp_copy(out->sni, sizeof(out->sni), name);
	if (certificate != NULL)
		(void)write_subject(certificate, out->subject, sizeof(out->subject));
	X509_free(certificate);
}

int tls_next_is_clear(const struct stream *s)
{
	unsigned char byte;
	ssize_t n;

	if (SSL_has_pending(tls_conn_of(s)->ssl))
		return 0;
	do {
		n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 ? -ECONNRESET : -errno;
	return byte < SSL3_RT_CHANGE_CIPHER_SPEC || byte > SSL3_RT_APPLICATION_DATA;
}

bool tls_was_cut(const struct stream *s)
{
	return (SSL_get_shutdown(tls_conn_of(s)->ssl) & SSL_RECEIVED_SHUTDOWN) == 0;
}

/* --- names ----------------------------------------------------------------------------- */

static const char *kind_of(const GENERAL_NAME *name)
{
	switch (name->type) {
	case GEN_DNS:
		return "dns:";
	case GEN_EMAIL:
		return "email:";
	case GEN_URI:
		return "uri:";
	default:
		return NULL;
	}
}

/* The name behind its kind; 0: no such kind, no room, or a NUL in it (which is there to deceive). */
static size_t write_name(const GENERAL_NAME *name, char *to, size_t size)
{
	const char *kind = kind_of(name);
	struct span text;
	size_t at;

	if (kind == NULL)
		return 0;
	text = span_from((const char *)ASN1_STRING_get0_data(name->d.ia5), (size_t)ASN1_STRING_length(name->d.ia5));
	at = strlen(kind);
	if (at + text.n >= size || memchr(text.p, '\0', text.n) != NULL)
		return 0;
	memcpy(to, kind, at);
	memcpy(to + at, text.p, text.n);
	return at + text.n;
}

size_t tls_certificate_names(const struct stream *s, char *buffer, size_t size, struct span names[], size_t names_max)
{
	X509 *certificate = verified_certificate(tls_conn_of(s));
	GENERAL_NAMES *others;
	size_t used;
	size_t n = 0;

	if (certificate == NULL || names_max == 0)
		return 0;
	used = write_subject(certificate, buffer, size);
	if (used + 1 < size) /* a subject that was cut stands for nobody */
		names[n++] = span_from(buffer, used);
	others = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(others) && n < names_max; i++) {
		size_t wrote = write_name(sk_GENERAL_NAME_value(others, i), buffer + used, size - used);

		if (wrote > 0)
			names[n++] = span_from(buffer + used, wrote);
		used += wrote;
	}
	GENERAL_NAMES_free(others);
	X509_free(certificate);
	return n;
}

/* --- data connections -------------------------------------------------------------------- */

static unsigned session_number(const struct tls_conn *conn, unsigned char to[TLS_SESSION_BYTES])
{
	unsigned n = 0;
	const unsigned char *number = SSL_SESSION_get_id(SSL_get0_session(conn->ssl), &n);

	if (n > TLS_SESSION_BYTES)
		n = 0;
	if (n > 0)
		memcpy(to, number, n);
	return n;
}

void tls_remember(const struct stream *control, struct tls_memory *out)
{
	const struct tls_conn *conn = tls_conn_of(control);

	memset(out, 0, sizeof(*out));
	out->tag = conn->tag;
	out->resumed_tag = conn->resumed_tag;
	out->session_n = session_number(conn, out->session);
	out->has_certificate = tls_conn_certificate(conn, out->certificate);
}

static bool same_tag(struct tls_tag a, struct tls_tag b)
{
	return a.session != 0 && a.session == b.session && a.instance == b.instance;
}

bool tls_is_resumption_of(const struct stream *data, const struct tls_memory *control)
{
	const struct tls_conn *conn = tls_conn_of(data);
	unsigned char number[TLS_SESSION_BYTES];
	unsigned n;

	if (!SSL_session_reused(conn->ssl))
		return false;
	if (same_tag(conn->resumed_tag, control->tag) || same_tag(conn->resumed_tag, control->resumed_tag))
		return true;
	/* TLS 1.2 without tickets: the session's number. */
	n = session_number(conn, number);
	return conn->resumed_tag.session == 0 && n > 0 && n == control->session_n &&
	       memcmp(number, control->session, n) == 0;
}

bool tls_same_certificate(const struct stream *data, const struct tls_memory *control)
{
	unsigned char digest[TLS_DIGEST_BYTES];

	if (!tls_conn_certificate(tls_conn_of(data), digest))
		return !control->has_certificate;
	return control->has_certificate && memcmp(digest, control->certificate, sizeof(digest)) == 0;
}

// SPDX-License-Identifier: ISC
/*
 * OpenSSL reads the ClientHello from memory and opens its ticket; before it
 * would choose anything, or compute an answer, it is stopped. There is no
 * certificate here, and no session can be resumed: only its name is wanted.
 */
#include "sallyport/tls_hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "tls_private.h"

/* A ClientHello may come in several records; in more than these nobody means it. */
#define RECORDS_MAX 4

struct tls_hello_reader {
	SSL_CTX *ctx;
	EVP_CIPHER *cipher;
	struct ticket_ring *ring;
};

/* What is learnt of one. */
struct hello {
	const struct tls_hello_reader *reader;
	bool whole;
	struct tls_tag tag;
	unsigned char number[TLS_SESSION_BYTES];
	size_t number_n;
};

/* It has come as a whole. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
	struct hello *hello = SSL_get_app_data(ssl);
	const unsigned char *number;
	size_t n = SSL_client_hello_get0_session_id(ssl, &number);

	(void)alert;
	(void)arg;
	hello->whole = true;
	if (n > 0 && n <= sizeof(hello->number)) {
		memcpy(hello->number, number, n);
		hello->number_n = n;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		     int encrypt)
{
	const struct hello *hello = SSL_get_app_data(ssl);

	if (encrypt)
		return 0;
	return tls_ticket_open(hello->reader->ring, hello->reader->cipher, name, iv, cipher, mac);
}

/* TLS 1.3 may offer several: the first that can be opened is the one that would be resumed. */
static SSL_TICKET_RETURN on_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_n,
				   SSL_TICKET_STATUS status, void *arg)
{
	struct hello *hello = SSL_get_app_data(ssl);
	void *data = NULL;
	size_t n = 0;

	(void)name;
	(void)name_n;
	(void)status;
	(void)arg;
	if (session != NULL && hello->tag.session == 0 && SSL_SESSION_get0_ticket_appdata(session, &data, &n) == 1 &&
	    n == sizeof(hello->tag))
		memcpy(&hello->tag, data, n);
	return SSL_TICKET_RETURN_IGNORE;
}

/* A ticket is made: never here. */
static int on_made(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return 0;
}

/* The extensions have been read; a certificate would be chosen now. */
static int stop(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return -1;
}

struct tls_hello_reader *tls_hello_reader_new(struct ticket_ring *ring)
{
	struct tls_hello_reader *reader = calloc(1, sizeof(*reader));

	if (reader == NULL)
		return NULL;
	reader->ring = ring;
	reader->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	reader->ctx = SSL_CTX_new(TLS_server_method());
	if (reader->cipher == NULL || reader->ctx == NULL ||
	    SSL_CTX_set_min_proto_version(reader->ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(reader->ctx, on_ticket) != 1 ||
	    SSL_CTX_set_session_ticket_cb(reader->ctx, on_made, on_opened, NULL) != 1) {
		tls_hello_reader_free(&reader);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(reader->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_client_hello_cb(reader->ctx, on_hello, NULL);
	SSL_CTX_set_cert_cb(reader->ctx, stop, NULL);
	return reader;
}

void tls_hello_reader_free(struct tls_hello_reader **readerptr)
{
	struct tls_hello_reader *reader = *readerptr;

	*readerptr = NULL;
	if (reader == NULL)
		return;
	SSL_CTX_free(reader->ctx);
	EVP_CIPHER_free(reader->cipher);
	free(reader);
}

/* --- names -------------------------------------------------------------------------------- */

static struct port_name name_of_tag(const struct tls_tag *tag)
{
	return (struct port_name){ PORT_NAME_TAG, tag->instance, tag->session };
}

/* We have drawn it at random: a part of it is enough to find whose it may be. */
static struct port_name name_of_number(const unsigned char *number)
{
	struct port_name name = { .kind = PORT_NAME_NUMBER };

	memcpy(&name.high, number, sizeof(name.high));
	memcpy(&name.low, number + sizeof(name.high), sizeof(name.low));
	return name;
}

static bool is_name(size_t number_n)
{
	return number_n >= sizeof(uint64_t) * 2;
}

/* A ticket goes before the number: beside one a client makes up any number. */
static struct port_name name_of(const struct tls_tag *tag, const unsigned char *number, size_t number_n)
{
	if (tag->session != 0)
		return name_of_tag(tag);
	if (is_name(number_n))
		return name_of_number(number);
	return (struct port_name){ PORT_NAME_NONE, 0, 0 };
}

struct port_name tls_hello_said(const struct stream *data)
{
	const struct tls_conn *conn = tls_conn_of(data);
	const struct tls_tag nobody = { 0, 0 };
	const unsigned char *number;
	unsigned n = 0;

	if (!SSL_session_reused(conn->ssl))
		return name_of(&nobody, NULL, 0);
	number = SSL_SESSION_get_id(SSL_get0_session(conn->ssl), &n);
	return name_of(&conn->resumed_tag, number, n);
}

size_t tls_hello_names(const struct tls_memory *control, struct port_name out[PORT_NAMES_MAX])
{
	size_t n = 0;

	if (control->tag.session != 0)
		out[n++] = name_of_tag(&control->tag);
	if (control->resumed_tag.session != 0)
		out[n++] = name_of_tag(&control->resumed_tag);
	if (is_name(control->session_n))
		out[n++] = name_of_number(control->session);
	return n;
}

/* --- reading ------------------------------------------------------------------------------- */

/* These are whole records: 0, -EAGAIN when they do not suffice, or what tls_hello_read() says. */
static int look(const struct tls_hello_reader *reader, const unsigned char *bytes, size_t n, struct port_name *out)
{
	struct hello hello = { .reader = reader };
	SSL *ssl = SSL_new(reader->ctx);
	BIO *in = BIO_new_mem_buf(bytes, (int)n);
	BIO *nowhere = BIO_new(BIO_s_null());
	int result;

	if (ssl == NULL || in == NULL || nowhere == NULL) {
		SSL_free(ssl);
		BIO_free(in);
		BIO_free(nowhere);
		ERR_clear_error();
		return -ENOMEM;
	}
	BIO_set_mem_eof_return(in, -1);
	SSL_set_bio(ssl, in, nowhere);
	SSL_set_app_data(ssl, &hello);
	ERR_clear_error();
	result = SSL_accept(ssl);
	if (hello.whole) {
		*out = name_of(&hello.tag, hello.number, hello.number_n);
		result = 0;
	} else {
		result = SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ ? -EAGAIN : -EPROTO;
	}
	SSL_free(ssl);
	ERR_clear_error();
	return result;
}

int tls_hello_read(const struct tls_hello_reader *reader, const void *from, size_t n, struct port_name *out)
{
	const unsigned char *bytes = from;
	size_t at = 0;

	for (unsigned i = 0; i < RECORDS_MAX; i++) {
		size_t body = at + SSL3_RT_HEADER_LENGTH;
		int result;

		if (body > TLS_HELLO_MAX)
			return -EPROTO;
		if (n > at && bytes[at] != SSL3_RT_HANDSHAKE)
			return -EPROTO;
		if (n < body)
			return (int)body;
		at = body + ((size_t)bytes[body - 2] << 8 | bytes[body - 1]);
		if (at == body || at > TLS_HELLO_MAX)
			return -EPROTO;
		if (n < at)
			return (int)at;
		result = look(reader, bytes, at, out);
		if (result != -EAGAIN)
			return result;
	}
	return -EPROTO;
}

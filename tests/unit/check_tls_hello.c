// SPDX-License-Identifier: ISC
/*
 * tls_hello: OpenSSL's client says hello with a ticket or a number, and without;
 * it is read as a whole, in parts, over several records, and with foreign keys.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "alloc_fail.h"
#include "sallyport/tls_hello.h"

static struct ticket_ring *ring;
static struct tls_hello_reader *reader;
static struct ticket_key key;
static struct tls_tag tag;
static EVP_CIPHER *cipher;
static SSL_CTX *server;
static SSL_CTX *client;

/* --- a server that gives tickets with our key --------------------------------------------- */

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *aes, EVP_MAC_CTX *mac,
		     int encrypt)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac, sizeof(key.hmac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	(void)ssl;
	if (!encrypt)
		return 0;
	memset(iv, 7, 16);
	memcpy(name, key.name, sizeof(key.name));
	return EVP_EncryptInit_ex2(aes, cipher, key.aes, iv, NULL) == 1 && EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int put_tag(SSL *ssl, void *arg)
{
	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &tag, sizeof(tag));
}

static SSL_TICKET_RETURN take_tag(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n,
				  SSL_TICKET_STATUS status, void *arg)
{
	(void)ssl;
	(void)session;
	(void)name;
	(void)n;
	(void)status;
	(void)arg;
	return SSL_TICKET_RETURN_IGNORE_RENEW;
}

static void use_identity(SSL_CTX *ctx)
{
	EVP_PKEY *own = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	ck_assert_int_eq(X509_set_version(certificate, 2), 1);
	ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1), 1);
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
	ck_assert_int_eq(X509_set_pubkey(certificate, own), 1);
	ck_assert_int_gt(X509_sign(certificate, own, EVP_sha256()), 0);
	ck_assert_int_eq(SSL_CTX_use_certificate(ctx, certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, own), 1);
	X509_free(certificate);
	EVP_PKEY_free(own);
}

static void setup(void)
{
	struct ticket_keys keys = { .n = 1 };

	memset(&key, 3, sizeof(key));
	memcpy(key.name, "our ticket's key", sizeof(key.name));
	keys.keys[0] = key;
	tag = (struct tls_tag){ 0x1122334455667788, 42 };
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	ring = ticket_ring_new(tag.instance);
	ticket_ring_set(ring, &keys);
	reader = tls_hello_reader_new(ring);
	ck_assert_ptr_nonnull(reader);
	server = SSL_CTX_new(TLS_server_method());
	client = SSL_CTX_new(TLS_client_method());
	use_identity(server);
	ck_assert_int_eq(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, on_ticket), 1);
	ck_assert_int_eq(SSL_CTX_set_session_ticket_cb(server, put_tag, take_tag, NULL), 1);
	ck_assert_int_eq(SSL_CTX_set_session_id_context(server, (const unsigned char *)"x", 1), 1);
}

static void teardown(void)
{
	SSL_CTX_free(client);
	SSL_CTX_free(server);
	tls_hello_reader_free(&reader);
	ck_assert_ptr_null(reader);
	ticket_ring_free(&ring);
	EVP_CIPHER_free(cipher);
}

/* The session that a handshake of these versions leaves the client with. */
static SSL_SESSION *shake_hands(int version)
{
	SSL *there = SSL_new(server);
	SSL *here = SSL_new(client);
	SSL_SESSION *session;
	BIO *left;
	BIO *right;
	char byte;

	ck_assert_int_eq(BIO_new_bio_pair(&left, 65536, &right, 65536), 1);
	SSL_set_bio(here, left, left);
	SSL_set_bio(there, right, right);
	ck_assert_int_eq(SSL_set_max_proto_version(here, version), 1);
	SSL_set_connect_state(here);
	SSL_set_accept_state(there);
	for (int i = 0; i < 10 && !(SSL_is_init_finished(here) && SSL_is_init_finished(there)); i++) {
		(void)SSL_do_handshake(here);
		(void)SSL_do_handshake(there);
	}
	ck_assert_int_eq(SSL_write(there, "x", 1), 1);
	ck_assert_int_eq(SSL_read(here, &byte, 1), 1); /* and the tickets in front of it */
	session = SSL_get1_session(here);
	SSL_set_quiet_shutdown(here, 1);
	SSL_set_quiet_shutdown(there, 1);
	SSL_shutdown(here);
	SSL_shutdown(there);
	SSL_free(here);
	SSL_free(there);
	return session;
}

/* What a client says that resumes it, with its version (NULL: nothing, any); allocated. */
static unsigned char *say_hello(SSL_SESSION *session, size_t *n)
{
	SSL *ssl = SSL_new(client);
	BIO *out = BIO_new(BIO_s_mem());
	unsigned char *copy;
	char *bytes;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	if (session != NULL) {
		ck_assert_int_eq(SSL_set_session(ssl, session), 1);
		ck_assert_int_eq(SSL_set_max_proto_version(ssl, SSL_SESSION_get_protocol_version(session)), 1);
	}
	ck_assert_int_eq(SSL_connect(ssl), -1);
	*n = (size_t)BIO_get_mem_data(out, &bytes);
	copy = malloc(*n);
	memcpy(copy, bytes, *n);
	SSL_free(ssl);
	return copy;
}

/* Feeds it as it is asked for, in memory of exactly that size. */
static int read_in_parts(const unsigned char *bytes, size_t n, struct port_name *name)
{
	size_t have = 0;

	for (;;) {
		unsigned char *part = malloc(have > 0 ? have : 1);
		int result;

		memcpy(part, bytes, have);
		result = tls_hello_read(reader, part, have, name);
		free(part);
		if (result <= 0)
			return result;
		ck_assert_uint_gt((size_t)result, have);
		ck_assert_uint_le((size_t)result, n);
		have = (size_t)result;
	}
}

static void check_tag(int version)
{
	SSL_SESSION *session = shake_hands(version);
	struct port_name name;
	unsigned char *bytes;
	size_t n;

	bytes = say_hello(session, &n);
	ck_assert_int_eq(tls_hello_read(reader, bytes, n, &name), 0);
	ck_assert_uint_eq(name.kind, PORT_NAME_TAG);
	ck_assert_uint_eq(name.high, tag.instance);
	ck_assert_uint_eq(name.low, tag.session);
	memset(&name, 0, sizeof(name));
	ck_assert_int_eq(read_in_parts(bytes, n, &name), 0);
	ck_assert_uint_eq(name.low, tag.session);
	/* Wherever it is cut, the rest is asked for. */
	for (size_t cut = 0; cut < n; cut++)
		ck_assert_int_gt(tls_hello_read(reader, bytes, cut, &name), (int)cut);
	free(bytes);
	SSL_SESSION_free(session);
}

START_TEST(ticket_says_the_tag)
{
	check_tag(TLS1_2_VERSION);
	check_tag(TLS1_3_VERSION);
}
END_TEST

START_TEST(without_tickets_it_is_the_number)
{
	SSL_SESSION *session;
	struct port_name name;
	struct port_name names[PORT_NAMES_MAX];
	struct tls_memory memory = { .tag = tag };
	const unsigned char *number;
	unsigned char *bytes;
	size_t n;

	SSL_CTX_set_options(client, SSL_OP_NO_TICKET);
	session = shake_hands(TLS1_2_VERSION);
	bytes = say_hello(session, &n);
	number = SSL_SESSION_get_id(session, &memory.session_n);
	ck_assert_uint_eq(memory.session_n, TLS_SESSION_BYTES);
	memcpy(memory.session, number, memory.session_n);
	ck_assert_int_eq(read_in_parts(bytes, n, &name), 0);
	ck_assert_uint_eq(name.kind, PORT_NAME_NUMBER);
	/* The same as the control connection's. */
	ck_assert_uint_eq(tls_hello_names(&memory, names), 2);
	ck_assert_mem_eq(&names[1], &name, sizeof(name));
	ck_assert_uint_eq(names[0].kind, PORT_NAME_TAG);
	memory.resumed_tag = (struct tls_tag){ 1, 2 };
	ck_assert_uint_eq(tls_hello_names(&memory, names), 3);
	memset(&memory, 0, sizeof(memory));
	ck_assert_uint_eq(tls_hello_names(&memory, names), 0);
	free(bytes);
	SSL_SESSION_free(session);
}
END_TEST

START_TEST(who_resumes_nothing_or_with_a_foreign_key_says_no_tag)
{
	const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct port_name name;
	unsigned char *bytes;
	size_t n;

	bytes = say_hello(NULL, &n);
	ck_assert_int_eq(read_in_parts(bytes, n, &name), 0);
	ck_assert_uint_ne(name.kind, PORT_NAME_TAG);
	free(bytes);
	key.hmac[0] ^= 1; /* of the server that gives the tickets; ours stays */
	for (size_t i = 0; i < SP_ARRAY_LEN(versions); i++) {
		SSL_SESSION *session = shake_hands(versions[i]);

		bytes = say_hello(session, &n);
		ck_assert_int_eq(read_in_parts(bytes, n, &name), 0);
		ck_assert_uint_ne(name.kind, PORT_NAME_TAG);
		free(bytes);
		SSL_SESSION_free(session);
	}
}
END_TEST

/* The same message in records of `size` bytes: allocated. */
static unsigned char *split(const unsigned char *bytes, size_t *n, size_t size)
{
	size_t left = *n - 5;
	unsigned char *out = malloc(left * 6 + 5);
	size_t at = 0;

	for (const unsigned char *p = bytes + 5; left > 0;) {
		size_t part = left < size ? left : size;

		memcpy(out + at, bytes, 3);
		out[at + 3] = (unsigned char)(part >> 8);
		out[at + 4] = (unsigned char)part;
		memcpy(out + at + 5, p, part);
		at += 5 + part;
		p += part;
		left -= part;
	}
	*n = at;
	return out;
}

START_TEST(several_records_are_one_hello_but_not_many)
{
	SSL_SESSION *session = shake_hands(TLS1_3_VERSION);
	struct port_name name;
	size_t n;
	unsigned char *bytes = say_hello(session, &n);
	const size_t sizes[] = { 1, n / 2, n / 3 };

	for (size_t i = 0; i < SP_ARRAY_LEN(sizes); i++) {
		size_t m = n;
		unsigned char *parts = split(bytes, &m, sizes[i]);
		int result = read_in_parts(parts, m, &name);

		ck_assert_int_eq(result, sizes[i] == 1 ? -EPROTO : 0);
		ck_assert(result != 0 || (name.kind == PORT_NAME_TAG && name.low == tag.session));
		free(parts);
	}
	free(bytes);
	SSL_SESSION_free(session);
}
END_TEST

START_TEST(what_is_no_hello_is_refused_at_once)
{
	static const struct {
		const char *bytes;
		size_t n;
	} wrong[] = {
		{ "GET / HTTP/1.1\r\n", 16 },
		{ "U", 1 },
		{ "\x15\x03\x01\x00\x02\x01\x00", 7 },
		{ "\x16\x03\x01\x00\x00", 5 },
		{ "\x16\x03\x01\xff\xff", 5 },
		{ "\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9 }, /* ServerHello */
		{ "\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9 }, /* an empty one */
		{ "\x16\x02\x01\x00\x04\x01\x00\x00\x00", 9 },
	};
	struct port_name name;

	for (size_t i = 0; i < SP_ARRAY_LEN(wrong); i++)
		ck_assert_int_eq(tls_hello_read(reader, wrong[i].bytes, wrong[i].n, &name), -EPROTO);
	/* One that says how long it will be, and that it is too long. */
	ck_assert_int_gt(tls_hello_read(reader, "\x16\x03\x01\x3f\xfb", 5, &name), 0);
	ck_assert_int_eq(tls_hello_read(reader, "\x16\x03\x01\x3f\xfc", 5, &name), -EPROTO);
}
END_TEST

START_TEST(without_memory_there_is_no_reader)
{
	struct tls_hello_reader *none;

	alloc_fail_at(1);
	none = tls_hello_reader_new(ring);
	alloc_fail_at(0);
	ck_assert_ptr_null(none);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_hello");
	TCase *tcase = tcase_create("tls_hello");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, ticket_says_the_tag);
	tcase_add_test(tcase, without_tickets_it_is_the_number);
	tcase_add_test(tcase, who_resumes_nothing_or_with_a_foreign_key_says_no_tag);
	tcase_add_test(tcase, several_records_are_one_hello_but_not_many);
	tcase_add_test(tcase, what_is_no_hello_is_refused_at_once);
	tcase_add_test(tcase, without_memory_there_is_no_reader);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

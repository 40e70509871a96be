// SPDX-License-Identifier: ISC
/*
 * TLS contexts: files and settings become an SSL_CTX, or an error that names
 * the file. Knows nothing of streams; see tls_stream.c.
 */
#include "sallyport/tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "sallyport/glob.h"
#include "sallyport/secret_file.h"
#include "sallyport/span.h"
#include "tls_private.h"

/* Mozilla's intermediate lists, version 5.7. */
#define CIPHERS                                                                                    \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"   \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"     \
	"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS	     "X25519:P-256:P-384"
#define CACHE_MAX    20480
#define SESSION_SECS 86400 /* data connections resume sessions as old as their control connection */

static bool fail(char error[TLS_ERROR_MAX], const char *what, const char *which)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	snprintf(error, TLS_ERROR_MAX, "%s%s%s%s%s", what, which != NULL ? " " : "", which != NULL ? which : "",
		 reason != NULL ? ": " : "", reason != NULL ? reason : "");
	ERR_clear_error();
	return false;
}

static int version_of(enum tls_version version)
{
	return version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

/* What every connection of ours has in common. */
static SSL_CTX *make_ctx(const SSL_METHOD *method, enum tls_version min_version)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		return NULL;
	/* Idle connections give their buffers back; what a full socket leaves over lies elsewhere. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_timeout(ctx, SESSION_SECS);
	if (SSL_CTX_set_min_proto_version(ctx, version_of(min_version)) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* Keys with a passphrase are of no use to a server that starts alone: nobody is asked for it. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* A file of PEM in memory; NULL: `error` says why. */
static BIO *open_pem(const char *path, struct secret *text, const char *what, char error[TLS_ERROR_MAX])
{
	char why[SECRET_FILE_ERROR_MAX];
	BIO *bio;

	ERR_clear_error();
	if (!secret_file_read(path, SECRET_ANY_MODE, text, why)) {
		snprintf(error, TLS_ERROR_MAX, "%s %.120s: %.80s", what, path, why);
		return NULL;
	}
	bio = BIO_new_mem_buf(text->p, (int)text->n);
	if (bio == NULL) {
		secret_free(text);
		(void)fail(error, what, path);
	}
	return bio;
}

/* Behind the certificate: those of its authorities, for the peer. */
static bool use_chain(SSL_CTX *ctx, BIO *bio)
{
	X509 *more;

	while ((more = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ctx, more) != 1) {
			X509_free(more);
			return false;
		}
	}
	/* The end of the file is told as an error. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

static bool use_certificate(SSL_CTX *ctx, const char *path, char error[TLS_ERROR_MAX])
{
	struct secret text;
	BIO *bio = open_pem(path, &text, "cannot use certificate", error);
	X509 *certificate;
	bool ok;

	if (bio == NULL)
		return false;
	certificate = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	ok = certificate != NULL && SSL_CTX_use_certificate(ctx, certificate) == 1 && use_chain(ctx, bio);
	if (!ok)
		(void)fail(error, "cannot use certificate", path);
	X509_free(certificate);
	BIO_free(bio);
	secret_free(&text);
	return ok;
}

static bool use_key(SSL_CTX *ctx, const char *path, char error[TLS_ERROR_MAX])
{
	struct secret text;
	BIO *bio = open_pem(path, &text, "cannot use private key", error);
	EVP_PKEY *key;
	bool ok;

	if (bio == NULL)
		return false;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	ok = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
	if (!ok)
		(void)fail(error, "cannot use private key", path);
	EVP_PKEY_free(key);
	BIO_free(bio);
	secret_free(&text);
	return ok;
}

static bool use_identity(SSL_CTX *ctx, const char *certificate, const char *private_key,
			 char error[TLS_ERROR_MAX])
{
	if (!use_certificate(ctx, certificate, error) || !use_key(ctx, private_key, error))
		return false;
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fail(error, "the private key does not belong to certificate", certificate);
	return true;
}

/* --- for clients --------------------------------------------------------------------- */

/*
 * ALPN (RFC 7301): a client that offers protocols must offer "ftp" among them.
 * One that speaks another protocol has been led here by an attacker (ALPACA).
 */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
			   unsigned in_n, void *arg)
{
	(void)ssl;
	(void)arg;
	for (unsigned at = 0; at < in_n; at += 1u + in[at]) {
		if (in[at] == 3 && at + 4 <= in_n && memcmp(in + at + 1, "ftp", 3) == 0) {
			*out = in + at + 1;
			*out_n = 3;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool host_matches(char *const *hosts, const char *name)
{
	for (size_t i = 0; hosts != NULL && hosts[i] != NULL; i++) {
		if (glob_match_nocase(span_of(hosts[i]), span_of(name)))
			return true;
	}
	return false;
}

void tls_context_choose(const struct tls_context *context, SSL *ssl, const char *host)
{
	size_t i = 1;

	while (i < context->n && !host_matches(context->hosts[i], host))
		i++;
	SSL_set_SSL_CTX(ssl, context->ctx[i < context->n ? i : 0]);
}

/* What the client asks for in its handshake counts more than what it said with HOST. */
static int choose_identity(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	if (name == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	tls_context_choose(arg, ssl, name);
	return SSL_TLSEXT_ERR_OK;
}

static int put_tag(SSL *ssl, void *arg)
{
	struct tls_tag tag = tls_conn_ticket_tag(ssl);

	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &tag, sizeof(tag));
}

/*
 * A control connection gets a ticket with its own tag even where it resumes (TLS
 * 1.3 gives one in any case): those who resumed the same session have data
 * connections that nobody could tell apart otherwise.
 */
static SSL_TICKET_RETURN take_tag(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_n,
				  SSL_TICKET_STATUS status, void *arg)
{
	bool renew;

	(void)name;
	(void)name_n;
	(void)arg;
	renew = tls_conn_take_tag(ssl, session);
	switch (status) {
	case SSL_TICKET_SUCCESS:
		return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
	case SSL_TICKET_SUCCESS_RENEW:
		return SSL_TICKET_RETURN_USE_RENEW;
	default:
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
}

static bool use_client_certificates(SSL_CTX *ctx, const struct tls_listener_settings *settings,
				    char error[TLS_ERROR_MAX])
{
	int mode = SSL_VERIFY_PEER;
	STACK_OF(X509_NAME) *names;

	if (settings->client_certificates == TLS_CLIENT_NONE)
		return true;
	if (settings->client_certificates == TLS_CLIENT_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	names = SSL_load_client_CA_file(settings->client_ca);
	if (names == NULL)
		return fail(error, "cannot use client_ca", settings->client_ca);
	SSL_CTX_set_client_CA_list(ctx, names); /* is the context's now */
	if (SSL_CTX_load_verify_file(ctx, settings->client_ca) != 1)
		return fail(error, "cannot use client_ca", settings->client_ca);
	if (settings->client_crl != NULL) {
		X509_STORE *store = SSL_CTX_get_cert_store(ctx);
		X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

		if (lookup == NULL || X509_load_crl_file(lookup, settings->client_crl, X509_FILETYPE_PEM) < 1)
			return fail(error, "cannot use client_crl", settings->client_crl);
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	}
	SSL_CTX_set_verify(ctx, mode, NULL);
	return true;
}

/* OpenSSL's macro casts `const` away: it gets a copy. */
static bool use_groups(SSL_CTX *ctx, const char *groups)
{
	char *copy = strdup(groups);
	bool ok = copy != NULL && SSL_CTX_set1_groups_list(ctx, copy) == 1;

	free(copy);
	return ok;
}

static bool set_up_listener(SSL_CTX *ctx, struct tls_context *context, size_t i,
			    const struct tls_listener_settings *settings, char error[TLS_ERROR_MAX])
{
	const char *ciphers = settings->ciphers != NULL ? settings->ciphers : CIPHERS;
	const char *suites = settings->ciphersuites != NULL ? settings->ciphersuites : CIPHERSUITES;
	const char *groups = settings->groups != NULL ? settings->groups : GROUPS;
	unsigned char scope[TLS_SCOPE_BYTES];

	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_dh_auto(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
	SSL_CTX_sess_set_cache_size(ctx, CACHE_MAX);
	if (!tls_session_scope(settings, scope) || SSL_CTX_set_session_id_context(ctx, scope, sizeof(scope)) != 1)
		return fail(error, "cannot prepare sessions", NULL);
	SSL_CTX_set_session_ticket_cb(ctx, put_tag, take_tag, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (i == 0) {
		SSL_CTX_set_tlsext_servername_callback(ctx, choose_identity);
		SSL_CTX_set_tlsext_servername_arg(ctx, context);
	}
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
		return fail(error, "tls_ciphers: no cipher of the list is known:", ciphers);
	if (SSL_CTX_set_ciphersuites(ctx, suites) != 1)
		return fail(error, "tls_ciphersuites: not a list of TLS 1.3 cipher suites:", suites);
	if (!use_groups(ctx, groups))
		return fail(error, "tls_groups: not a list of groups:", groups);
	return use_identity(ctx, settings->identities[i].certificate, settings->identities[i].private_key,
			    error) &&
	       use_client_certificates(ctx, settings, error);
}

static void free_hosts(char **hosts)
{
	for (size_t i = 0; hosts != NULL && hosts[i] != NULL; i++)
		free(hosts[i]);
	free(hosts);
}

static char **copy_hosts(char *const *hosts)
{
	size_t n = 0;
	char **copy;

	while (hosts != NULL && hosts[n] != NULL)
		n++;
	copy = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; copy != NULL && i < n; i++) {
		copy[i] = strdup(hosts[i]);
		if (copy[i] == NULL) {
			free_hosts(copy);
			return NULL;
		}
	}
	return copy;
}

static struct tls_context *context_new(size_t n)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	if (context == NULL)
		return NULL;
	context->n = n;
	context->ctx = calloc(n, sizeof(SSL_CTX *));
	context->hosts = calloc(n, sizeof(char **));
	if (context->ctx == NULL || context->hosts == NULL)
		tls_context_free(&context);
	return context;
}

struct tls_context *tls_context_for_clients(const struct tls_listener_settings *settings,
					    char error[TLS_ERROR_MAX])
{
	struct tls_context *context = context_new(settings->identities_n);

	SP_ASSERT(settings->identities_n > 0);
	if (context == NULL) {
		snprintf(error, TLS_ERROR_MAX, "out of memory");
		return NULL;
	}
	context->lenient_close = settings->lenient_close;
	for (size_t i = 0; i < context->n; i++) {
		context->ctx[i] = make_ctx(TLS_server_method(), settings->min_version);
		context->hosts[i] = copy_hosts(settings->identities[i].hosts);
		if (context->ctx[i] == NULL || context->hosts[i] == NULL) {
			(void)fail(error, "cannot make a TLS context", NULL);
			tls_context_free(&context);
			return NULL;
		}
		if (!set_up_listener(context->ctx[i], context, i, settings, error)) {
			tls_context_free(&context);
			return NULL;
		}
	}
	return context;
}

/* --- for servers ----------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool parse_fingerprint(const char *text, unsigned char out[TLS_DIGEST_BYTES])
{
	size_t digits = 0;

	for (; *text != '\0'; text++) {
		int digit = hex_digit(*text);

		if (*text == ':')
			continue;
		if (digit < 0 || digits == (size_t)2 * TLS_DIGEST_BYTES)
			return false;
		if (digits % 2 == 0)
			out[digits / 2] = (unsigned char)(digit << 4);
		else
			out[digits / 2] = (unsigned char)(out[digits / 2] | digit);
		digits++;
	}
	return digits == (size_t)2 * TLS_DIGEST_BYTES;
}

static bool set_up_server(struct tls_context *context, const struct tls_server_settings *settings,
			  char error[TLS_ERROR_MAX])
{
	SSL_CTX *ctx = context->ctx[0];

	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, tls_conn_new_session);
	/* Old servers renegotiate never, and many close without close_notify: there the final reply decides. */
	SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	if (settings->lenient_close)
		SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	if (settings->verify) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
		if (settings->ca != NULL ? SSL_CTX_load_verify_file(ctx, settings->ca) != 1
					 : SSL_CTX_set_default_verify_paths(ctx) != 1)
			return fail(error, "cannot use tls_ca", settings->ca);
		context->verify = true;
	}
	if (settings->fingerprint != NULL) {
		if (!parse_fingerprint(settings->fingerprint, context->pin))
			return fail(error, "tls_fingerprint: not 64 hex digits (SHA-256):",
				    settings->fingerprint);
		context->pinned = true;
	}
	if (settings->certificate != NULL)
		return use_identity(ctx, settings->certificate, settings->private_key, error);
	return true;
}

struct tls_context *tls_context_for_servers(const struct tls_server_settings *settings,
					    char error[TLS_ERROR_MAX])
{
	struct tls_context *context = context_new(1);

	if (context == NULL) {
		snprintf(error, TLS_ERROR_MAX, "out of memory");
		return NULL;
	}
	ERR_clear_error();
	context->lenient_close = settings->lenient_close;
	context->ctx[0] = make_ctx(TLS_client_method(), settings->min_version);
	if (context->ctx[0] == NULL) {
		(void)fail(error, "cannot make a TLS context", NULL);
		tls_context_free(&context);
		return NULL;
	}
	if (!set_up_server(context, settings, error))
		tls_context_free(&context);
	return context;
}

void tls_context_free(struct tls_context **contextptr)
{
	struct tls_context *context = *contextptr;

	if (context == NULL)
		return;
	*contextptr = NULL;
	for (size_t i = 0; i < context->n; i++) {
		if (context->ctx != NULL)
			SSL_CTX_free(context->ctx[i]);
		if (context->hosts != NULL)
			free_hosts(context->hosts[i]);
	}
	EVP_CIPHER_free(context->ticket_cipher);
	free(context->ctx);
	free(context->hosts);
	free(context);
}

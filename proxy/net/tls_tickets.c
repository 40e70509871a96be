// SPDX-License-Identifier: ISC
/*
 * Session tickets (RFC 5077, RFC 8446 section 4.6.1): AES-256-CBC and
 * HMAC-SHA-256 with the keys of the ring, for TLS 1.2 and 1.3 alike.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "tls_private.h"

static bool use_hmac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->hmac, sizeof(key->hmac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 1: goes on; 0: no ticket is given. */
static int encrypt_with(struct tls_context *context, struct ticket_key *key, unsigned char *name,
			unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	if (!ticket_ring_first(context->tickets, key) || RAND_bytes(iv, EVP_CIPHER_get_iv_length(context->ticket_cipher)) != 1)
		return 0;
	memcpy(name, key->name, sizeof(key->name));
	return EVP_EncryptInit_ex2(cipher, context->ticket_cipher, key->aes, iv, NULL) == 1 &&
	       use_hmac(mac, key);
}

int tls_ticket_open(struct ticket_ring *ring, const EVP_CIPHER *aes, const unsigned char *name,
		    const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key key;
	enum ticket_found found = ticket_ring_find(ring, name, &key);
	int result = 0;

	if (found != TICKET_UNKNOWN && EVP_DecryptInit_ex2(cipher, aes, key.aes, iv, NULL) == 1 && use_hmac(mac, &key))
		result = found == TICKET_FIRST ? 1 : 2;
	OPENSSL_cleanse(&key, sizeof(key));
	return result;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		     int encrypt)
{
	struct tls_context *context = tls_conn_context(ssl);
	struct ticket_key key;
	int result;

	if (!encrypt)
		return tls_ticket_open(context->tickets, context->ticket_cipher, name, iv, cipher, mac);
	result = encrypt_with(context, &key, name, iv, cipher, mac);
	OPENSSL_cleanse(&key, sizeof(key));
	return result;
}

bool tls_context_set_tickets(struct tls_context *context, struct ticket_ring *ring)
{
	context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (context->ticket_cipher == NULL)
		return false;
	context->tickets = ring;
	for (size_t i = 0; i < context->n; i++) {
		if (SSL_CTX_set_tlsext_ticket_key_evp_cb(context->ctx[i], on_ticket) != 1)
			return false;
	}
	return true;
}

/*
 * The client certificates of a session are as they were when it was made, and a
 * ticket of it stands for them. So it is good only where the same authorities
 * and revocations apply, under a listener of the same name: here, on another
 * node, after a reload.
 */
bool tls_session_scope(const struct tls_listener_settings *settings, unsigned char out[TLS_SCOPE_BYTES])
{
	const char *const files[] = { settings->client_ca, settings->client_crl };
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	const char *name = settings->name != NULL ? settings->name : "";
	unsigned char mode = (unsigned char)settings->client_certificates;
	unsigned n = TLS_SCOPE_BYTES;
	bool ok = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
		  EVP_DigestUpdate(hash, name, strlen(name) + 1) == 1 && EVP_DigestUpdate(hash, &mode, 1) == 1;

	for (size_t i = 0; ok && i < SP_ARRAY_LEN(files); i++) {
		char chunk[4096];
		BIO *file = files[i] != NULL && mode != TLS_CLIENT_NONE ? BIO_new_file(files[i], "r") : NULL;
		int got;

		while (ok && file != NULL && (got = BIO_read(file, chunk, sizeof(chunk))) > 0)
			ok = EVP_DigestUpdate(hash, chunk, (size_t)got) == 1;
		BIO_free(file);
		ok = ok && EVP_DigestUpdate(hash, "", 1) == 1;
	}
	ok = ok && EVP_DigestFinal_ex(hash, out, &n) == 1;
	EVP_MD_CTX_free(hash);
	return ok;
}

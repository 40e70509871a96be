// SPDX-License-Identifier: ISC
/*
 * Keyed digests, by OpenSSL.
 */
#include "sallyport/digest.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/params.h>

static bool add_part(EVP_MAC_CTX *ctx, struct span part)
{
	uint64_t n = part.n;

	return EVP_MAC_update(ctx, (const unsigned char *)&n, sizeof(n)) == 1 &&
	       (part.n == 0 || EVP_MAC_update(ctx, (const unsigned char *)part.p, part.n) == 1);
}

bool digest_of(const unsigned char *key, size_t key_n, const struct span parts[], size_t n, uint64_t out[2])
{
	char name[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0), OSSL_PARAM_construct_end() };
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
	unsigned char result[32];
	size_t got = 0;
	bool ok = ctx != NULL && EVP_MAC_init(ctx, key, key_n, params) == 1;

	for (size_t i = 0; i < n && ok; i++)
		ok = add_part(ctx, parts[i]);
	ok = ok && EVP_MAC_final(ctx, result, &got, sizeof(result)) == 1 && got == sizeof(result);
	if (ok)
		memcpy(out, result, 2 * sizeof(out[0]));
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return ok;
}

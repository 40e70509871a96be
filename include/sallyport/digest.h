// SPDX-License-Identifier: ISC
/*
 * A digest under a key that only this process knows: of what must not be kept
 * itself, such as a password. Any thread.
 */
#ifndef SALLYPORT_DIGEST_H
#define SALLYPORT_DIGEST_H

#include "sallyport/base.h"
#include "sallyport/span.h"

/*
 * 128 bits of the HMAC-SHA-256 of the parts, each with its length, so that
 * ("a", "bc") is not ("ab", "c"). False: OpenSSL refused, or there is no memory.
 */
SP_MUSTCHECK bool digest_of(const unsigned char *key, size_t key_n, const struct span parts[], size_t n,
			    uint64_t out[2]);

#endif

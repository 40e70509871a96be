// SPDX-License-Identifier: ISC
/*
 * Features, as FEAT lists them (RFC 2389): reading what a server says, what
 * several servers have in common, what a policy lets a client use, and the
 * answer to a client. Pure; any thread.
 */
#ifndef SALLYPORT_FEATURES_H
#define SALLYPORT_FEATURES_H

#include "sallyport/base.h"
#include "sallyport/policy.h"
#include "sallyport/span.h"

#define FEATURES_BYTES_MAX 2048
/* An answer: each line gets two bytes more, and there is a head and a tail. */
#define FEAT_BYTES_MAX 4096

/* Lines, each ended by LF; no line is empty, begins with a space or has control characters. By value. */
struct features {
	size_t n;
	char text[FEATURES_BYTES_MAX];
};

/*
 * What a server's whole answer (REPLY.raw) lists, less what is not the server's
 * to promise behind us: protection, addresses, data that are not a plain stream.
 * Empty when the answer is not a 211. Lines that do not fit are left out.
 */
void features_read(struct features *features, struct span reply);

/* What we do ourselves, before whatever is there. `tls`: the listener offers AUTH TLS (RFC 4217 section 6). */
void features_add_ours(struct features *features, bool tls);

/*
 * Keeps what the other has too. Of a list ("MLST size*;modify*;", "HASH MD5;SHA-1*")
 * the items that both have stay, with an asterisk where both have one; a line
 * whose arguments differ in another way goes.
 */
void features_keep_common(struct features *features, const struct features *other);

/* Keeps what a client under this policy may use. */
void features_keep_permitted(struct features *features, const struct policy *policy);

/* The answer to FEAT, whole (RFC 2389 section 3.2); returns its length. */
size_t features_write(char to[FEAT_BYTES_MAX], const struct features *features);

#endif

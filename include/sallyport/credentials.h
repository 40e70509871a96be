// SPDX-License-Identifier: ISC
/*
 * Credentials that an operator has written into a file: who may use them (a
 * pattern), and the user, password and account to log on with. Made once, then
 * immutable; reading the file is config_credentials.h's. Pure; any thread.
 *
 *	# who                   user    password      account
 *	"CN=alice,O=Example"    alice   "two words"
 *	acme-*                  acme    s3cret        billing
 *
 * One entry a line, of three or four words. A word may stand in double quotes,
 * in which a backslash takes the special meaning from the byte behind it; "#"
 * at a word's beginning starts a comment. The first entry that fits is taken.
 */
#ifndef SALLYPORT_CREDENTIALS_H
#define SALLYPORT_CREDENTIALS_H

#include "sallyport/base.h"
#include "sallyport/span.h"

#define CREDENTIALS_WORD_MAX 1024 /* bytes of a user, a password, an account */

/* The spans point into `text` of the credentials. None holds a control byte. */
struct credentials_entry {
	struct span who; /* a glob */
	struct span user;
	struct span password;
	struct span account; /* n == 0: none */
	unsigned line;	     /* of the file, from 1 */
};

struct credentials {
	char *file;
	char *text; /* text_n bytes; wiped when it is freed */
	size_t text_n;
	struct credentials_entry *entries; /* in the file's order */
	size_t n;
};

/*
 * Takes one line (without its line end) apart; quotes and backslashes are
 * resolved in place, and the entry points into the line. True: an entry, or
 * with who.n == 0 an empty line. False: *why (static) says what is wrong; it
 * never shows bytes of the line.
 */
SP_MUSTCHECK bool credentials_parse_line(char *line, size_t n, struct credentials_entry *out, const char **why);

/* Whose pattern matches the user's name; NULL: nobody's. */
const struct credentials_entry *credentials_for_user(const struct credentials *credentials, struct span user);

/*
 * Whose pattern matches one of the certificate's names (without case), for
 * exactly this user; NULL: nobody's.
 */
const struct credentials_entry *credentials_for_certificate(const struct credentials *credentials,
							    const struct span names[], size_t names_n,
							    struct span user);

#endif

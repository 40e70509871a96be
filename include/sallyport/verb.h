// SPDX-License-Identifier: ISC
/*
 * The verb table: what each FTP command is. Pure; any thread.
 */
#ifndef SALLYPORT_VERB_H
#define SALLYPORT_VERB_H

#include "sallyport/base.h"
#include "sallyport/span.h"

enum verb {
#define VERB(id, when, argument, action, flags) VERB_##id,
#include "sallyport/tbl/verbs.def"
#undef VERB
	VERB_COUNT,
	VERB_UNKNOWN = VERB_COUNT, /* not in the table */
};

enum verb_when { VERB_WHEN_ANY, VERB_WHEN_PRE, VERB_WHEN_READY };
enum verb_argument { VERB_ARGUMENT_NONE, VERB_ARGUMENT_OPTIONAL, VERB_ARGUMENT_REQUIRED };

enum verb_action {
	VERB_ACTION_USER,
	VERB_ACTION_PASS,
	VERB_ACTION_ACCT,
	VERB_ACTION_HOST,
	VERB_ACTION_QUIT,
	VERB_ACTION_REIN,
	VERB_ACTION_ABOR,
	VERB_ACTION_FORWARD,
	VERB_ACTION_PORT,
	VERB_ACTION_DOWN,
	VERB_ACTION_UP,
	VERB_ACTION_REST,
	VERB_ACTION_SECURITY,
	VERB_ACTION_LOCAL,
	VERB_ACTION_OWN,
	VERB_ACTION_REFUSE,
};

enum verb_flags {
	VERB_FLAG_USEFUL = 1 << 0,
	VERB_FLAG_SECRET = 1 << 1,
	VERB_FLAG_SLOW = 1 << 2,
	VERB_FLAG_INFLIGHT = 1 << 3,
	VERB_FLAG_PATH = 1 << 4,
};

struct verb_row {
	const char *name; /* upper case */
	enum verb verb;
	enum verb_when when;
	enum verb_argument argument;
	enum verb_action action;
	unsigned flags; /* of enum verb_flags */
};

/*
 * The row of a verb; never NULL. VERB_UNKNOWN has one as well (name "?", FORWARD,
 * READY, OPTIONAL).
 */
const struct verb_row *verb_row(enum verb verb);

/* Looks a name up without regard to case (RFC 959 section 5.3); VERB_UNKNOWN when there is none. */
enum verb verb_find(struct span name);

/*
 * Splits a command line (no line end in it) into verb and argument: the name
 * ends at the first space; everything behind exactly that one space is the
 * argument, verbatim (RFC 2640 section 3.1: further and trailing spaces belong
 * to it). `has_argument` tells "LIST" from "LIST ".
 */
struct command {
	enum verb verb;
	bool has_argument;
	struct span name;
	struct span argument;
};
struct command command_parse(struct span line);

/*
 * May a reply with this code, first or later, answer this verb? Only the
 * answers that RFC 959 section 5.4 and its successors give to the verb,
 * generously read: this is the net that finds a server that is one reply behind
 * (a 226 to PWD, a 227 to RETR, a second final reply), not a check of style.
 * 4yz and 5yz always fit, except that a 426 needs a transfer or a verb that may
 * break one off or read a file (ABOR, QUIT, REIN, SITE, digests); so does a
 * 2yz or 3yz that no verb has, for it is nobody else's answer. 120 fits
 * nothing but REIN; 1yz only transfers; 6yz (RFC 2228) nothing, for no server is
 * ever spoken to in protected replies.
 */
bool verb_reply_fits(enum verb verb, int code);

#endif

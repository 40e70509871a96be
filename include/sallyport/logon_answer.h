// SPDX-License-Identifier: ISC
/*
 * What a server's "no" to a logon means: is it about the user, or about the
 * server? Servers say "too many users" in words only, each in its own. Pure.
 */
#ifndef SALLYPORT_LOGON_ANSWER_H
#define SALLYPORT_LOGON_ANSWER_H

#include "sallyport/base.h"
#include "sallyport/span.h"

enum logon_answer {
	LOGON_ANSWER_REFUSED, /* this user, or this password: no other server will think better of it */
	LOGON_ANSWER_BUSY,    /* this server is full: another one may take the logon */
	LOGON_ANSWER_FAILED,  /* this server will not do: another one may */
};

/*
 * A negative reply (4yz, 5yz) to USER, PASS or ACCT, or in place of a greeting; `text` is all of it. In
 * doubt it is REFUSED: a wrong password must never go from server to server.
 */
enum logon_answer logon_answer_of(int code, struct span text);

#endif

// SPDX-License-Identifier: ISC
/*
 * "Which route would this logon get, and why?" for the operator's shell:
 * `sallyport -t --route user=acme-1,source=198.51.100.7`. Asks the same
 * functions as a logon does. Main.
 */
#ifndef SALLYPORT_ROUTE_QUERY_H
#define SALLYPORT_ROUTE_QUERY_H

#include "sallyport/config.h"

enum route_answer {
	ROUTE_ANSWER_POOL,    /* a route leads to a pool */
	ROUTE_ANSWER_REFUSED, /* a route refuses it, or none matches */
	ROUTE_ANSWER_BAD,     /* `error` says what is wrong with the question */
	ROUTE_ANSWER_NO_MEMORY,
};

#define ROUTE_QUERY_ERROR_MAX 256

/*
 * `question`: NAME=VALUE parted by commas: listener, source, host, time
 * ("mon 09:30", "09:30"), user, certificate. A comma in a value has a backslash
 * before it; `certificate` comes last and takes the rest as it is. Without
 * listener it is the first one, without time it is now; what else is missing is
 * not known of the logon. Gives one line for what was understood, one for each
 * route that was asked, and what comes of it.
 */
SP_MUSTCHECK enum route_answer route_query(const struct config *config, const char *question,
					   void (*line)(void *ctx, const char *text), void *ctx,
					   char error[ROUTE_QUERY_ERROR_MAX]);

#endif

// SPDX-License-Identifier: ISC
/*
 * Health: whether a server is to be used, by what its logons and its checks
 * have shown. One machine for both. Pure: facts and the time come in, verdicts
 * come out; who keeps the struct holds whatever lock it needs.
 *
 *   up    `fall` logons in a row that failed, or `fall` checks in a row: down
 *   down  with checks: `rise` checks in a row that passed, and its time out is
 *	   over: up. Logons are no trials, so that no client pays for them.
 *	   Without checks: when its time out is over one logon may try it; it
 *	   passes: up, it fails: down for twice as long.
 *
 * The time out is for what logons have shown, since a check may not see it: 1 s,
 * 2 s, 4 s … 30 s, until a logon was served. A server that has come up gets its
 * share of logons gradually (slow start).
 */
#ifndef SALLYPORT_HEALTH_H
#define SALLYPORT_HEALTH_H

#include "sallyport/base.h"

#define HEALTH_OUT_FIRST_MS   1000
#define HEALTH_OUT_LONGEST_MS 30000
#define HEALTH_FALL	      3 /* when terms say 0 */
#define HEALTH_RISE	      2
/* When something is in doubt, checks come this fast, if `every` is not faster. */
#define HEALTH_SOON_MS 1000

/* How deep a check goes; each includes the ones before it. */
enum check_kind {
	CHECK_NONE,
	CHECK_CONNECT,	/* a connection is made */
	CHECK_GREETING, /* and greeted with 220 */
	CHECK_LOGON,	/* and protected as configured, and USER, PASS end in 230 */
	CHECK_TRANSFER, /* and a data connection, a listing or a file, and 226 */
	CHECK_AS_POOL,	/* of a server: what its pool says */
};

/* "none", "connect", "greeting", … */
const char *check_kind_name(enum check_kind kind);

struct health_terms {
	bool checked;	   /* there are checks */
	uint32_t fall;	   /* 0: HEALTH_FALL */
	uint32_t rise;	   /* 0: HEALTH_RISE */
	int64_t every_ms;
	int64_t slow_start_ms; /* 0: the full share at once */
};

/* Zero is a server that nobody has complained of yet, to be checked at once. */
struct health {
	bool down;
	uint32_t logons_failed; /* in a row */
	uint32_t checks_failed; /* in a row */
	uint32_t checks_passed; /* in a row, since it went down, or since a logon failed */
	int64_t out_ms;		/* its last time out; 0: none since a logon was served */
	int64_t out_until_ms;
	int64_t up_since_ms;	/* when it came up; 0: never was down */
	int64_t checked_ms;	/* the last check's end */
	int64_t check_at_ms;	/* the next one */
};

/* May one logon try it? Only without checks. */
bool health_may_try(const struct health *h, const struct health_terms *terms, int64_t now_ms);

/* Each returns whether the server has gone down, or come up, by it. */
SP_MUSTCHECK bool health_logon_failed(struct health *h, const struct health_terms *terms, int64_t now_ms,
				      bool was_trial);
SP_MUSTCHECK bool health_logon_served(struct health *h, const struct health_terms *terms, int64_t now_ms);
SP_MUSTCHECK bool health_check_failed(struct health *h, const struct health_terms *terms, int64_t now_ms);
SP_MUSTCHECK bool health_check_passed(struct health *h, const struct health_terms *terms, int64_t now_ms);

/* The check could not be made, or proved nothing: the next one in its time. */
void health_check_skipped(struct health *h, const struct health_terms *terms, int64_t now_ms);
bool health_check_is_due(const struct health *h, const struct health_terms *terms, int64_t now_ms);

/* The operator says that it is well: everything is forgotten, and it is checked at once. */
void health_begin(struct health *h, int64_t now_ms);

/* Its share of the logons in percent, 1..100. */
unsigned health_share(const struct health *h, const struct health_terms *terms, int64_t now_ms);

#endif

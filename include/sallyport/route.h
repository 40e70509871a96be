// SPDX-License-Identifier: ISC
/*
 * Routes: which pool and which policy a logon gets. Rules are tried in the
 * order of the configuration, the first that matches wins; where none does, the
 * logon is refused. Pure; any thread.
 */
#ifndef SALLYPORT_ROUTE_H
#define SALLYPORT_ROUTE_H

#include <time.h>

#include "sallyport/base.h"
#include "sallyport/credentials.h"
#include "sallyport/netaddr.h"
#include "sallyport/span.h"
#include "sallyport/user_map.h"

/*
 * A part of the week: on these days, from a minute of the day (inclusive) to
 * another (exclusive). Past midnight when from > to: "fri 22:00-06:00" ends on
 * Saturday. The whole day: from 0, to 1440.
 */
struct route_window {
	uint8_t days; /* bit 0: Monday … bit 6: Sunday */
	uint16_t from;
	uint16_t to;
};

/*
 * "mon-fri 08:00-18:00", "sat,sun", "22:00-06:00", "mon,wed-fri 9:30-24:00",
 * "sat-mon": days, one space, times; either may be missing. Case does not
 * matter. False (and *out untouched) when the text is not that.
 */
SP_MUSTCHECK bool route_window_parse(struct route_window *out, struct span text);

/* Enough for "mon,tue,wed,thu,fri,sat,sun 00:00-24:00" and its NUL. */
#define ROUTE_WINDOW_TEXT_MAX 40
const char *route_window_format(const struct route_window *window, char buf[ROUTE_WINDOW_TEXT_MAX]);

/* "mon 09:30", or "09:30" on `today` (0: Monday): a minute of the week. False, *out untouched: not that. */
SP_MUSTCHECK bool route_moment_parse(int *out, struct span text, int today);

/* The minute of the week (0: Monday 00:00, 10079: Sunday 23:59) of a local time. */
int route_minute_of_week(const struct tm *local);

#define ROUTE_NO_POOL SIZE_MAX

/*
 * One rule; every list that is there must match, a list that is not there (NULL
 * or of length 0) matches everything. Lists of texts end with NULL. Immutable;
 * the memory is the configuration's.
 */
struct route_rule {
	char **listeners;	   /* names */
	struct netblock *sources;  /* networks of clients */
	size_t sources_n;
	char **hosts;		   /* globs without case: the name of HOST or SNI */
	char **certificates;	   /* globs: the subject of the client's certificate */
	struct route_window *times; /* local time */
	size_t times_n;
	char **users;		   /* globs */
	struct user_map *map;	   /* users who are in it; an entry may say where they go */

	bool reject;		   /* 530, no server is touched; pool and policy mean nothing */
	size_t pool;		   /* indexes in the configuration's arrays; ROUTE_NO_POOL: the map says it */
	size_t policy;
	bool strip_domain;		 /* the server is told user, of user@domain */
	struct credentials *credentials; /* by which those in it are logged on; NULL: none */
};

/* What is known of a logon. Everything is borrowed for the call. */
struct route_facts {
	const char *listener;	 /* its name */
	struct netaddr source;	 /* the client's address */
	struct span host;	 /* of HOST, else SNI; p == NULL: neither; a final dot is nothing */
	struct span certificate; /* subject; p == NULL: no certificate, or not verified */
	struct span user;	 /* p == NULL: USER has not come yet */
	int minute_of_week;	 /* route_minute_of_week() of now; for rules with times */
};

/* What a rule may be about, in the order in which it is tested. */
enum route_field {
	ROUTE_FIELD_LISTENER,
	ROUTE_FIELD_SOURCE,
	ROUTE_FIELD_HOST,
	ROUTE_FIELD_CERTIFICATE,
	ROUTE_FIELD_TIME,
	ROUTE_FIELD_USER,
	ROUTE_FIELD_MAP,
	ROUTE_FIELD_NONE,
};

/* "listener", "source", "host", "certificate", "time", "user", "user_map"; "none". */
const char *route_field_name(enum route_field field);

/* The first field by which the rule does not match; ROUTE_FIELD_NONE: it matches. */
enum route_field route_mismatch(const struct route_rule *rule, const struct route_facts *facts);

enum route_result {
	ROUTE_FOUND,	  /* `rule` applies */
	ROUTE_REJECTED,	  /* `rule` applies and says reject */
	ROUTE_NO_MATCH,	  /* no rule applies: refused as well */
	ROUTE_NEEDS_USER, /* facts.user is not known, and `rule` would depend on it */
};

#define ROUTE_ANY_SERVER SIZE_MAX

struct route_choice {
	enum route_result result;
	size_t rule; /* index; n for ROUTE_NO_MATCH */
	/* ROUTE_FOUND: where it leads, as the rule's map has it for this user, or the rule itself. */
	size_t pool;
	size_t server; /* of the pool; ROUTE_ANY_SERVER */
	size_t policy;
};

/*
 * The index of the first rule that matches, when it is one to log on by
 * (ROUTE_FOUND); -1 otherwise. *choice (may be NULL) says which it is and why.
 * Before USER it answers ROUTE_NEEDS_USER unless every user would get the same
 * rule, so that a server can be connected to early.
 */
SP_MUSTCHECK int route_choose(const struct route_rule rules[], size_t n,
			      const struct route_facts *facts, struct route_choice *choice);

/*
 * May anybody log on under facts->host, as far as listener, source, certificate
 * and time go? HOST is answered 504 if not. The user does not count.
 */
bool route_knows_host(const struct route_rule rules[], size_t n, const struct route_facts *facts);

/* A text too long for its buffer (of 4 bytes at least) ends in "..."; this is enough for most. */
#define ROUTE_TEXT_MAX 512

/*
 * What the rule is about: "listener public, source 198.51.100.0/24 or
 * 2001:db8::/32, user acme-*", "everything". Returns buf.
 */
const char *route_describe(const struct route_rule *rule, char *buf, size_t size);

/*
 * Why the rule matches these facts or not: "matches: source 198.51.100.7 is in
 * 198.51.100.0/24, user acme-1 is acme-*", "does not match: user bob is not
 * acme-* or beta-*". Bytes that cannot be printed become "?". Returns buf.
 */
const char *route_explain(const struct route_rule *rule, const struct route_facts *facts, char *buf,
			  size_t size);

#endif

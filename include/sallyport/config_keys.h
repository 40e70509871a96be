// SPDX-License-Identifier: ISC
/*
 * The table of configuration keys: one row a key. Everything else follows from
 * it: what libconfuse is told, how a value is parsed and where it goes, what a
 * misspelt key is compared with, and what the tests expect of the reference
 * and of the example file. A new key is a row here and a field in a struct.
 */
#ifndef SALLYPORT_CONFIG_KEYS_H
#define SALLYPORT_CONFIG_KEYS_H

#include "sallyport/config.h"
#include "sallyport/config_value.h"

enum config_section_id {
	SECTION_ROOT, /* the file itself */
	SECTION_ADMIN,
	SECTION_LOG,
	SECTION_LISTENER,
	SECTION_CERTIFICATE,
	SECTION_POOL,
	SECTION_HEALTH,
	SECTION_SERVER,
	SECTION_POLICY,
	SECTION_ROUTE,
	SECTION_COUNT,
};

struct config_section {
	const char *name; /* "" for SECTION_ROOT */
	enum config_section_id parent;
	bool named; /* listener NAME { … } */
	bool many;  /* may be there more than once */
	const char *text;
};

/* A route as it stands in the file: pool and policy by name, other files by theirs. */
struct config_route {
	struct route_rule rule;
	char *pool; /* NULL: not given */
	char *policy;
	char *user_map; /* files */
	char *credentials;
};

struct config_key {
	enum config_section_id section;
	const char *name;
	enum config_kind kind;
	const char *fallback; /* the default, as it would stand in the file; NULL: see `required` */
	bool required;	      /* no default: must be given; otherwise without one it is empty */
	struct config_range range;
	size_t offset;	     /* of the field in the section's struct */
	size_t count_offset; /* of a list's length, unless it is one of strings */
	const char *option;  /* on the command line: "--listen"; NULL: none */
	const char *text;    /* one line for people */
};

#define CONFIG_KEYS_MAX 192

extern const struct config_key config_keys[];
extern const size_t config_keys_n; /* at most CONFIG_KEYS_MAX */

const struct config_section *config_section_row(enum config_section_id id);

/* NULL and SECTION_ROOT when there is none. */
const struct config_key *config_key_find(enum config_section_id section, const char *name);
enum config_section_id config_section_find(enum config_section_id parent, const char *name);

/* The closest of what has been offered; nothing when it is not close. */
struct config_nearest {
	const char *wanted;
	const char *best;
	unsigned distance;
};
struct config_nearest config_nearest_start(const char *wanted);
void config_nearest_offer(struct config_nearest *nearest, const char *candidate);

/* The key, or the section, of `section` whose name is closest to `name`; NULL: none is close. */
const char *config_nearest_key(enum config_section_id section, const char *name);
const char *config_nearest_section(enum config_section_id parent, const char *name);

#endif

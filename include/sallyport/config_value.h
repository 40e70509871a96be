// SPDX-License-Identifier: ISC
/*
 * The kinds of values that configuration keys have: what each accepts, what it
 * becomes, how it is shown. Pure but for allocation; any thread.
 */
#ifndef SALLYPORT_CONFIG_VALUE_H
#define SALLYPORT_CONFIG_VALUE_H

#include "sallyport/base.h"

/*
 * KIND(NAME, is_list, what the field is, what the reference calls it)
 */
#define CONFIG_KINDS(KIND)                                                                         \
	KIND(NUMBER, false, "unsigned", "number")                                                  \
	KIND(DURATION, false, "int64_t, milliseconds", "duration")                                 \
	KIND(SIZE, false, "int64_t, bytes", "size")                                                \
	KIND(BOOL, false, "bool", "yes | no")                                                      \
	KIND(WORD, false, "an enum; see config_key.words", "word")                                 \
	KIND(TEXT, false, "char *, one line", "text")                                              \
	KIND(PATH, false, "char *; \"none\" becomes \"\"", "path | none")                          \
	KIND(OUTPUT, false, "char *, a path or \"-\"; \"none\" becomes \"\"", "path | - | none")   \
	KIND(NAME, false, "char *, the name of a section", "name")                                 \
	KIND(PASSIVE, false, "struct listener_config: passive_address, passive_name, …_by_proxy",  \
	     "IPv4 address or name")                                                               \
	KIND(HOST, false, "struct netaddr without port", "address")                                \
	KIND(SERVER, false, "struct server_config: host, port, address", "address")                \
	KIND(PORTS, false, "struct port_range; \"any\" becomes 0", "port range")                   \
	KIND(SYSLOG, false, "struct log_config: syslog, syslog_facility", "no | yes | facility")   \
	KIND(LISTEN, true, "struct netaddr[]", "address list")                                     \
	KIND(NAME_SERVERS, true, "struct netaddr[]", "address list")                               \
	KIND(NETWORKS, true, "struct netblock[]", "network list")                                  \
	KIND(ADDRESSES_FOR, true, "struct address_for[]", "network=address list")                  \
	KIND(TIMES, true, "struct route_window[]", "time list")                                    \
	KIND(PATTERNS, true, "char *[], NULL-terminated", "pattern list")                          \
	KIND(NAMES, true, "char *[], NULL-terminated, names of sections", "name list")             \
	KIND(VERBS, true, "char *[], NULL-terminated, upper case", "command list")

enum config_kind {
#define KIND(name, is_list, field, text) CONFIG_KIND_##name,
	CONFIG_KINDS(KIND)
#undef KIND
	CONFIG_KIND_COUNT,
};

bool config_kind_is_list(enum config_kind kind);
/* A list of strings: it ends with NULL and has no count beside it. */
bool config_kind_is_strings(enum config_kind kind);
/* What the reference calls it: "duration". */
const char *config_kind_name(enum config_kind kind);

/* A word of a closed set and what it stands for; tables end with word == NULL. */
struct config_word {
	const char *word;
	int value;
};

/* The word for a value; "?" when the table has none. */
const char *config_word_of(const struct config_word *words, int value);

/* What a value is measured by. */
struct config_range {
	int64_t min;
	int64_t max;
	const struct config_word *words; /* WORD only */
};

enum config_parsed {
	CONFIG_PARSED,
	CONFIG_WRONG, /* `why` says what is accepted */
	CONFIG_NO_MEMORY,
};

/* Behind `"value" `: "is not a duration (like 30s, 5m, 2h)". */
struct config_why {
	char text[320];
};

/*
 * Parses `text` into *field, which is what the table above says of the kind.
 * Strings are the caller's to free; what was in *field is overwritten. For a
 * list, one element: *field is the array and *count its length; it is grown.
 */
SP_MUSTCHECK enum config_parsed config_value_parse(enum config_kind kind,
						   const struct config_range *range, const char *text,
						   void *field, size_t *count, struct config_why *why);

/* Parts of it, for themselves. False: it is not that. */
SP_MUSTCHECK bool config_duration_parse(const char *text, int64_t *ms);
SP_MUSTCHECK bool config_size_parse(const char *text, int64_t *bytes);
SP_MUSTCHECK bool config_number_parse(const char *text, int64_t *number);

/* The shortest exact form: "90s", "5m", "2h", "500ms", "0". */
struct config_shown {
	char text[32];
};
struct config_shown config_duration_show(int64_t ms);
struct config_shown config_size_show(int64_t bytes);

#endif

// SPDX-License-Identifier: ISC
/*
 * Values of the configuration: patterns, times, names, commands, syslog
 * facilities.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_text.h"
#include "sallyport/config_value_parts.h"
#include "sallyport/glob.h"

#define PATTERN_MAX 255

/* Moves `copy` (NULL: no memory) to the end of *v, with a NULL behind it. */
static enum config_parsed add_string(char *copy, char ***v, size_t *n)
{
	char **grown = copy != NULL ? realloc(*v, (*n + 2) * sizeof(*grown)) : NULL;

	if (grown == NULL) {
		free(copy);
		return CONFIG_NO_MEMORY;
	}
	grown[*n] = copy;
	grown[*n + 1] = NULL;
	*v = grown;
	(*n)++;
	return CONFIG_PARSED;
}

enum config_parsed config_patterns_add(const char *text, char ***v, size_t *n,
                                       struct config_why *why)
{
	if (text[0] == '\0')
		return config_wrong(why, "is empty, which matches nothing");
	if (strlen(text) > PATTERN_MAX)
		return config_wrong(why, "is too long (at most %d bytes)", PATTERN_MAX);
	for (const char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return config_wrong(why, "has control characters in it");
	}
	if (!glob_is_valid(span_of(text)))
		return config_wrong(why, "is not a pattern (like acme-*): look at its [ ] and \\");
	return add_string(config_copy(text), v, n);
}

enum config_parsed config_times_add(const char *text, struct route_window **v, size_t *n,
                                    struct config_why *why)
{
	struct route_window *grown;
	struct route_window window;

	if (!route_window_parse(&window, span_of(text)))
		return config_wrong(why, "is not a time (like mon-fri 08:00-18:00 or sat,sun)");
	grown = realloc(*v, (*n + 1) * sizeof(*grown));
	if (grown == NULL)
		return CONFIG_NO_MEMORY;
	grown[*n] = window;
	*v = grown;
	(*n)++;
	return CONFIG_PARSED;
}

enum config_parsed config_names_add(const char *text, char ***v, size_t *n, struct config_why *why)
{
	if (!config_name_is_valid(text))
		return config_wrong(why, CONFIG_NOT_A_NAME);
	return add_string(config_copy(text), v, n);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What may stand behind SITE. */
static bool is_site_command(struct span word)
{
	for (size_t i = 0; i < word.n; i++) {
		if (!is_letter(word.p[i]) && !is_digit(word.p[i]) && word.p[i] != '_' && word.p[i] != '-')
			return false;
	}
	return word.n > 0 && word.n <= 32;
}

static bool is_verb(struct span word)
{
	for (size_t i = 0; i < word.n; i++) {
		if (!is_letter(word.p[i]) && !(i > 0 && is_digit(word.p[i])))
			return false;
	}
	return word.n >= 3 && word.n <= 16;
}

/* Whether the verb is in the table is checked later: it depends on pass_unknown_commands. */
enum config_parsed config_verbs_add(const char *text, char ***v, size_t *n, struct config_why *why)
{
	struct span whole = span_of(text);
	char *copy;

	if (span_starts_nocase(whole, "SITE ") ? !is_site_command(span_from(whole.p + 5, whole.n - 5))
					       : !is_verb(whole))
		return config_wrong(why, "is not the name of an FTP command (like DELE or SITE CHMOD)");
	copy = config_copy(text);
	for (char *p = copy; p != NULL && *p != '\0'; p++) {
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	}
	return add_string(copy, v, n);
}

enum config_parsed config_syslog_parse(const char *text, struct log_config *log,
                                       struct config_why *why)
{
	static const char *const facilities[] = {
		"daemon", "ftp",    "auth",   "authpriv", "user",   "local0", "local1",
		"local2", "local3", "local4", "local5",   "local6", "local7",
	};
	const char *facility = NULL;

	log->syslog = strcmp(text, "no") != 0;
	if (!log->syslog || strcmp(text, "yes") == 0)
		facility = facilities[0];
	for (size_t i = 0; i < SP_ARRAY_LEN(facilities) && facility == NULL; i++) {
		if (strcmp(text, facilities[i]) == 0)
			facility = facilities[i];
	}
	if (facility == NULL)
		return config_wrong(why,
		                    "is not one of: no, yes, daemon, ftp, auth, authpriv, user, "
		                    "local0 to local7");
	log->syslog_facility = config_copy(facility);
	return log->syslog_facility != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
}

// SPDX-License-Identifier: ISC
/*
 * Values of the configuration: single ones. Each parser says what it would
 * have accepted. Lists are made of them in config_list.c; which key has which
 * kind is config_keys.c.
 */
#include "sallyport/config_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value_parts.h"

static const struct {
	bool is_list;
	const char *text;
} kinds[] = {
#define KIND(name, is_list, field, text) { is_list, text },
	CONFIG_KINDS(KIND)
#undef KIND
};

bool config_kind_is_list(enum config_kind kind)
{
	return kinds[kind].is_list;
}

bool config_kind_is_strings(enum config_kind kind)
{
	return kind == CONFIG_KIND_PATTERNS || kind == CONFIG_KIND_NAMES ||
	       kind == CONFIG_KIND_VERBS;
}

const char *config_kind_name(enum config_kind kind)
{
	return kinds[kind].text;
}

const char *config_word_of(const struct config_word *words, int value)
{
	for (; words->word != NULL; words++) {
		if (words->value == value)
			return words->word;
	}
	return "?";
}

enum config_parsed config_wrong(struct config_why *why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return CONFIG_WRONG;
}

/* Digits only; false beyond int64_t. *rest is what follows them. */
static bool take_number(const char *text, int64_t *number, const char **rest)
{
	int64_t n = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		int digit = *text - '0';

		if (n > (INT64_MAX - digit) / 10)
			return false;
		n = 10 * n + digit;
	}
	*number = n;
	*rest = text;
	return true;
}

bool config_number_parse(const char *text, int64_t *number)
{
	const char *rest;

	return take_number(text, number, &rest) && *rest == '\0';
}

struct unit {
	const char *name;
	int64_t factor;
};

/* From the largest: showing takes the first that divides. */
static const struct unit durations[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit sizes[] = {
	{ "T", INT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { "", 1 },
};

static bool parse_units(const char *text, const struct unit *units, size_t n, int64_t *value)
{
	const char *unit;
	int64_t number;

	if (!take_number(text, &number, &unit))
		return false;
	if (number == 0 && *unit == '\0') {
		*value = 0;
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (number > INT64_MAX / units[i].factor)
			return false;
		*value = number * units[i].factor;
		return true;
	}
	return false;
}

static struct config_shown show_units(int64_t value, const struct unit *units)
{
	struct config_shown shown;

	if (value == 0)
		return (struct config_shown){ "0" };
	while (value % units->factor != 0)
		units++;
	snprintf(shown.text, sizeof(shown.text), "%lld%s", (long long)(value / units->factor),
	         units->name);
	return shown;
}

bool config_duration_parse(const char *text, int64_t *ms)
{
	if (strcmp(text, "off") == 0) {
		*ms = 0;
		return true;
	}
	return parse_units(text, durations, SP_ARRAY_LEN(durations), ms);
}

bool config_size_parse(const char *text, int64_t *bytes)
{
	return parse_units(text, sizes, SP_ARRAY_LEN(sizes), bytes);
}

struct config_shown config_duration_show(int64_t ms)
{
	return show_units(ms, durations);
}

struct config_shown config_size_show(int64_t bytes)
{
	return show_units(bytes, sizes);
}

static enum config_parsed parse_count(const struct config_range *range, const char *text,
                                      unsigned *field, struct config_why *why)
{
	int64_t n;

	if (!config_number_parse(text, &n))
		return config_wrong(why, "is not a number (%lld to %lld)", (long long)range->min,
		                    (long long)range->max);
	if (n < range->min || n > range->max)
		return config_wrong(why, "is out of range (%lld to %lld)", (long long)range->min,
		                    (long long)range->max);
	*field = (unsigned)n;
	return CONFIG_PARSED;
}

static enum config_parsed parse_duration(const struct config_range *range, const char *text,
                                         int64_t *field, struct config_why *why)
{
	int64_t n;

	if (!config_duration_parse(text, &n))
		return config_wrong(why, "is not a duration (like 30s, 5m, 2h)");
	if (n < range->min || n > range->max)
		return config_wrong(why, "is out of range (%s to %s)",
		                    config_duration_show(range->min).text,
		                    config_duration_show(range->max).text);
	*field = n;
	return CONFIG_PARSED;
}

static enum config_parsed parse_size(const struct config_range *range, const char *text,
                                     int64_t *field, struct config_why *why)
{
	int64_t n;

	if (!config_size_parse(text, &n))
		return config_wrong(why, "is not a size (like 64K, 10M)");
	if (n < range->min || n > range->max)
		return config_wrong(why, "is out of range (%s to %s)",
		                    config_size_show(range->min).text,
		                    config_size_show(range->max).text);
	*field = n;
	return CONFIG_PARSED;
}

static enum config_parsed parse_bool(const char *text, bool *field, struct config_why *why)
{
	static const char *const yes[] = { "yes", "on", "true" };
	static const char *const no[] = { "no", "off", "false" };

	for (size_t i = 0; i < SP_ARRAY_LEN(yes); i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*field = strcmp(text, yes[i]) == 0;
			return CONFIG_PARSED;
		}
	}
	return config_wrong(why, "is neither yes nor no");
}

static enum config_parsed parse_word(const struct config_word *words, const char *text, void *field,
                                     struct config_why *why)
{
	struct config_why accepted = { "" };

	for (const struct config_word *w = words; w->word != NULL; w++) {
		size_t used = strlen(accepted.text);

		if (strcmp(text, w->word) == 0) {
			/* Every enum here is an int; which one only the table knows. */
			memcpy(field, &w->value, sizeof(w->value));
			return CONFIG_PARSED;
		}
		snprintf(accepted.text + used, sizeof(accepted.text) - used, "%s%s",
		         used > 0 ? ", " : "", w->word);
	}
	return config_wrong(why, "is not one of: %.280s", accepted.text);
}

/* One line of at least one character; bytes above 127 are nobody's business here. */
static enum config_parsed parse_text(const struct config_range *range, const char *text,
                                     char **field, struct config_why *why)
{
	if (text[0] == '\0')
		return config_wrong(why, "is empty");
	if (strlen(text) > (size_t)range->max)
		return config_wrong(why, "is too long (at most %lld bytes)", (long long)range->max);
	for (const char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return config_wrong(why, "has control characters in it");
	}
	*field = config_copy(text);
	return *field != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
}

static enum config_parsed parse_path(const struct config_range *range, const char *text,
                                     char **field, struct config_why *why)
{
	if (text[0] == '\0' || strcmp(text, "none") == 0) {
		*field = config_copy("");
		return *field != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
	}
	if (text[0] != '/')
		return config_wrong(why,
		                    "is neither an absolute path (like /run/sallyport/x) nor none");
	return parse_text(range, text, field, why);
}

static enum config_parsed parse_output(const struct config_range *range, const char *text,
                                       char **field, struct config_why *why)
{
	if (strcmp(text, "-") == 0)
		return parse_text(range, text, field, why);
	if (parse_path(range, text, field, why) != CONFIG_WRONG)
		return *field != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
	if (text[0] == '/')
		return CONFIG_WRONG;
	return config_wrong(why,
	                    "is neither an absolute path (like /var/log/sallyport/x), - nor none");
}

bool config_name_is_valid(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || n >= NAME_MAX_LEN || text[0] == '-' || text[0] == '.')
		return false;
	for (; *text != '\0'; text++) {
		if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
		      (*text >= '0' && *text <= '9') || *text == '_' || *text == '-' ||
		      *text == '.'))
			return false;
	}
	return true;
}

static enum config_parsed parse_name(const char *text, char **field, struct config_why *why)
{
	if (!config_name_is_valid(text))
		return config_wrong(why, CONFIG_NOT_A_NAME);
	*field = config_copy(text);
	return *field != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
}

enum config_parsed config_value_parse(enum config_kind kind, const struct config_range *range,
                                      const char *text, void *field, size_t *count,
                                      struct config_why *why)
{
	switch (kind) {
	case CONFIG_KIND_NUMBER:
		return parse_count(range, text, field, why);
	case CONFIG_KIND_DURATION:
		return parse_duration(range, text, field, why);
	case CONFIG_KIND_SIZE:
		return parse_size(range, text, field, why);
	case CONFIG_KIND_BOOL:
		return parse_bool(text, field, why);
	case CONFIG_KIND_WORD:
		return parse_word(range->words, text, field, why);
	case CONFIG_KIND_TEXT:
		return parse_text(range, text, field, why);
	case CONFIG_KIND_PATH:
		return parse_path(range, text, field, why);
	case CONFIG_KIND_OUTPUT:
		return parse_output(range, text, field, why);
	case CONFIG_KIND_NAME:
		return parse_name(text, field, why);
	case CONFIG_KIND_PASSIVE:
		return config_passive_parse(text, field, why);
	case CONFIG_KIND_HOST:
		return config_host_parse(text, field, why);
	case CONFIG_KIND_SERVER:
		return config_server_parse(text, field, why);
	case CONFIG_KIND_PORTS:
		return config_ports_parse(text, field, why);
	case CONFIG_KIND_SYSLOG:
		return config_syslog_parse(text, field, why);
	case CONFIG_KIND_LISTEN:
		return config_listen_add(text, field, count, why);
	case CONFIG_KIND_NAME_SERVERS:
		return config_name_servers_add(text, field, count, why);
	case CONFIG_KIND_NETWORKS:
		return config_networks_add(text, field, count, why);
	case CONFIG_KIND_ADDRESSES_FOR:
		return config_addresses_for_add(text, field, count, why);
	case CONFIG_KIND_TIMES:
		return config_times_add(text, field, count, why);
	case CONFIG_KIND_PATTERNS:
		return config_patterns_add(text, field, count, why);
	case CONFIG_KIND_NAMES:
		return config_names_add(text, field, count, why);
	case CONFIG_KIND_VERBS:
		return config_verbs_add(text, field, count, why);
	case CONFIG_KIND_COUNT:
		break;
	}
	SP_UNREACHABLE("enum config_kind");
}

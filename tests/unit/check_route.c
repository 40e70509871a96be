// SPDX-License-Identifier: ISC
/*
 * Routes: which rule wins, what each field matches, windows of time, and the
 * reasons given.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/route.h"

#define AT(day, hour, minute) ((day)*1440 + (hour)*60 + (minute))

enum { MON, TUE, WED, THU, FRI, SAT, SUN };

/* A rule out of texts; lists are parted by blanks, NULL: not there. */
struct rule_text {
	const char *listeners;
	const char *sources;
	const char *hosts;
	const char *certificates;
	const char *times; /* parted by ";" */
	const char *users;
	bool reject;
};

static size_t split(const char *text, char separator, char *out[8])
{
	size_t n = 0;

	while (text != NULL && n < 7) {
		const char *end = strchr(text, separator);
		size_t length = end != NULL ? (size_t)(end - text) : strlen(text);

		out[n] = strdup(text);
		out[n++][length] = '\0';
		text = end != NULL ? end + 1 : NULL;
	}
	out[n] = NULL;
	return n;
}

static char **list(const char *text)
{
	char **out;

	if (text == NULL)
		return NULL;
	out = calloc(8, sizeof(char *));
	split(text, ' ', out);
	return out;
}

static struct route_rule rule_of(const struct rule_text *text)
{
	struct route_rule rule = {
		.listeners = list(text->listeners),
		.hosts = list(text->hosts),
		.certificates = list(text->certificates),
		.users = list(text->users),
		.reject = text->reject,
	};
	char *parts[8];

	if (text->sources != NULL) {
		rule.sources = calloc(8, sizeof(*rule.sources));
		rule.sources_n = split(text->sources, ' ', parts);
		for (size_t i = 0; i < rule.sources_n; i++) {
			ck_assert(netblock_parse(&rule.sources[i], span_of(parts[i])));
			free(parts[i]);
		}
	}
	if (text->times != NULL) {
		rule.times = calloc(8, sizeof(*rule.times));
		rule.times_n = split(text->times, ';', parts);
		for (size_t i = 0; i < rule.times_n; i++) {
			ck_assert(route_window_parse(&rule.times[i], span_of(parts[i])));
			free(parts[i]);
		}
	}
	return rule;
}

static void free_list(char **texts)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		free(texts[i]);
	free(texts);
}

static void free_rule(struct route_rule *rule)
{
	free_list(rule->listeners);
	free_list(rule->hosts);
	free_list(rule->certificates);
	free_list(rule->users);
	free(rule->sources);
	free(rule->times);
}

struct fact_text {
	const char *listener;
	const char *source;
	const char *host;
	const char *certificate;
	const char *user;
	int minute;
};

static struct route_facts facts_of(const struct fact_text *text)
{
	struct route_facts facts = {
		.listener = text->listener != NULL ? text->listener : "public",
		.host = span_of(text->host),
		.certificate = span_of(text->certificate),
		.user = span_of(text->user),
		.minute_of_week = text->minute,
	};

	ck_assert(netaddr_parse(
	    &facts.source, span_of(text->source != NULL ? text->source : "198.51.100.7:40000"), 1));
	return facts;
}

// clang-format off
static const struct {
	struct rule_text rule;
	struct fact_text facts;
	enum route_field wrong;
	const char *explanation;
} cases[] = {
	{ { 0 }, { .user = "joe" }, ROUTE_FIELD_NONE, "matches: it is for everything" },
	{ { 0 }, { 0 }, ROUTE_FIELD_NONE, "matches: it is for everything" },

	{ { .listeners = "public" }, { .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: listener public is public" },
	{ { .listeners = "inside public" }, { .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: listener public is inside or public" },
	{ { .listeners = "inside" }, { .user = "joe" }, ROUTE_FIELD_LISTENER,
	  "does not match: listener public is not inside" },
	{ { .listeners = "pub*" }, { .user = "joe" }, ROUTE_FIELD_LISTENER, NULL },
	{ { .listeners = "PUBLIC" }, { .user = "joe" }, ROUTE_FIELD_LISTENER, NULL },

	{ { .sources = "198.51.100.0/24" }, { .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: source 198.51.100.7 is in 198.51.100.0/24" },
	{ { .sources = "198.51.100.0/24" }, { .source = "::ffff:198.51.100.7", .user = "joe" },
	  ROUTE_FIELD_NONE, NULL },
	{ { .sources = "10.0.0.0/8 198.51.100.7" }, { .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: source 198.51.100.7 is in 10.0.0.0/8 or 198.51.100.7" },
	{ { .sources = "10.0.0.0/8 2001:db8::/32" }, { .user = "joe" }, ROUTE_FIELD_SOURCE,
	  "does not match: source 198.51.100.7 is not in 10.0.0.0/8 or 2001:db8::/32" },
	{ { .sources = "2001:db8::/32" },
	  { .source = "2001:db8::9", .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: source 2001:db8::9 is in 2001:db8::/32" },

	{ { .hosts = "*.example.net" },
	  { .host = "ftp.example.net", .user = "joe" }, ROUTE_FIELD_NONE,
	  "matches: host ftp.example.net is *.example.net" },
	{ { .hosts = "*.example.net" },
	  { .host = "FTP.EXAMPLE.NET", .user = "joe" }, ROUTE_FIELD_NONE,
	  NULL },
	{ { .hosts = "*.example.net" }, { .host = "ftp.example.net.", .user = "joe" },
	  ROUTE_FIELD_NONE, NULL },
	{ { .hosts = "*.example.net" },
	  { .host = "ftp.example.org", .user = "joe" }, ROUTE_FIELD_HOST,
	  "does not match: host ftp.example.org is not *.example.net" },
	{ { .hosts = "*" }, { .user = "joe" }, ROUTE_FIELD_HOST,
	  "does not match: host (neither HOST nor SNI) is not *" },
	{ { .hosts = "a" }, { .host = ".", .user = "joe" }, ROUTE_FIELD_HOST, NULL },

	{ { .certificates = "CN=acme*,O=Acme" },
	  { .certificate = "CN=acme-1,O=Acme", .user = "joe" },
	  ROUTE_FIELD_NONE, "matches: certificate CN=acme-1,O=Acme is CN=acme*,O=Acme" },
	{ { .certificates = "CN=acme*" }, { .certificate = "cn=acme", .user = "joe" },
	  ROUTE_FIELD_CERTIFICATE, NULL },
	{ { .certificates = "*" }, { .user = "joe" }, ROUTE_FIELD_CERTIFICATE,
	  "does not match: certificate (none) is not *" },

	{ { .times = "mon-fri 08:00-18:00" }, { .user = "joe", .minute = AT(TUE, 12, 5) },
	  ROUTE_FIELD_NONE, "matches: time tue 12:05 is in mon-fri 08:00-18:00" },
	{ { .times = "mon-fri 08:00-18:00;sat" }, { .user = "joe", .minute = AT(SUN, 12, 5) },
	  ROUTE_FIELD_TIME, "does not match: time sun 12:05 is not in mon-fri 08:00-18:00 or sat" },
	{ { .times = "00:00-24:00" }, { .user = "joe", .minute = -1 }, ROUTE_FIELD_TIME,
	  "does not match: time unknown is not in 00:00-24:00" },
	{ { .times = "00:00-24:00" },
	  { .user = "joe", .minute = 7 * 1440 }, ROUTE_FIELD_TIME, NULL },
	{ { .times = "00:00-24:00" },
	  { .user = "joe", .minute = 7 * 1440 - 1 }, ROUTE_FIELD_NONE, NULL },

	{ { .users = "acme-* beta" }, { .user = "acme-1" }, ROUTE_FIELD_NONE,
	  "matches: user acme-1 is acme-* or beta" },
	{ { .users = "acme-* beta" }, { .user = "beta" }, ROUTE_FIELD_NONE, NULL },
	{ { .users = "acme-* beta" }, { .user = "bob" }, ROUTE_FIELD_USER,
	  "does not match: user bob is not acme-* or beta" },
	{ { .users = "acme-*" }, { .user = "ACME-1" }, ROUTE_FIELD_USER, NULL },
	{ { .users = "acme-*" }, { 0 }, ROUTE_FIELD_USER,
	  "does not match: user (not known yet) is not acme-*" },
	{ { .users = "a *" }, { 0 }, ROUTE_FIELD_NONE, NULL },
	{ { .users = "?*" }, { 0 }, ROUTE_FIELD_USER, NULL },
	{ { .users = "b?b" },
	  { .user = "b\x1b" "b" }, ROUTE_FIELD_NONE, "matches: user b?b is b?b" },

	/* all of the fields count; the first that is wrong is named */
	{ { .listeners = "public", .sources = "198.51.100.0/24", .hosts = "h", .certificates = "c",
	    .times = "mon", .users = "u" },
	  { .host = "h", .certificate = "c", .user = "u" }, ROUTE_FIELD_NONE,
	  "matches: listener public is public, source 198.51.100.7 is in 198.51.100.0/24, host h is h, "
	  "certificate c is c, time mon 00:00 is in mon, user u is u" },
	{ { .listeners = "x", .sources = "10.0.0.0/8", .users = "u" }, { .user = "v" },
	  ROUTE_FIELD_LISTENER, NULL },
	{ { .sources = "10.0.0.0/8", .hosts = "h", .users = "u" },
	  { .user = "v" }, ROUTE_FIELD_SOURCE,
	  NULL },
	{ { .hosts = "h", .certificates = "c", .times = "tue", .users = "u" }, { .user = "v" },
	  ROUTE_FIELD_HOST, NULL },
	{ { .certificates = "c", .times = "tue", .users = "u" }, { .user = "v" },
	  ROUTE_FIELD_CERTIFICATE, NULL },
	{ { .times = "tue", .users = "u" }, { .user = "v" }, ROUTE_FIELD_TIME, NULL },
};
// clang-format on

START_TEST(a_rule_matches_or_says_why_not)
{
	struct route_rule rule = rule_of(&cases[_i].rule);
	struct route_facts facts = facts_of(&cases[_i].facts);
	char text[ROUTE_TEXT_MAX];
	enum route_field wrong = route_mismatch(&rule, &facts);

	ck_assert_msg(wrong == cases[_i].wrong, "%s",
	              route_explain(&rule, &facts, text, sizeof(text)));
	if (cases[_i].explanation != NULL)
		ck_assert_str_eq(route_explain(&rule, &facts, text, sizeof(text)),
		                 cases[_i].explanation);
	free_rule(&rule);
}
END_TEST

// clang-format off
static const struct rule_text table[] = {
	{ .users = "root", .reject = true },
	{ .listeners = "inside" },
	{ .users = "acme-*", .sources = "198.51.100.0/24" },
	{ .hosts = "beta.example.net" },
	{ .sources = "203.0.113.0/24", .reject = true },
	{ .times = "mon-fri 08:00-18:00", .users = "*" },
	{ .users = "late" },
};
// clang-format on

// clang-format off
static const struct {
	struct fact_text facts;
	int rule;
	enum route_result result;
	size_t told;
} logons[] = {
	{ { .user = "acme-1" }, 2, ROUTE_FOUND, 2 },
	{ { .user = "root" }, -1, ROUTE_REJECTED, 0 },
	{ { .user = "root", .listener = "inside" }, -1, ROUTE_REJECTED, 0 },
	{ { .user = "acme-1", .listener = "inside" }, 1, ROUTE_FOUND, 1 },
	{ { .user = "acme-1", .source = "192.0.2.1", .minute = AT(WED, 9, 0) }, 5, ROUTE_FOUND, 5 },
	{ { .user = "bob", .host = "Beta.example.net" }, 3, ROUTE_FOUND, 3 },
	{ { .user = "bob", .source = "203.0.113.9", .minute = AT(WED, 9, 0) },
	  -1, ROUTE_REJECTED, 4 },
	{ { .user = "bob", .minute = AT(WED, 9, 0) }, 5, ROUTE_FOUND, 5 },
	{ { .user = "bob", .minute = AT(WED, 18, 0) }, -1, ROUTE_NO_MATCH, 7 },
	{ { .user = "late", .minute = AT(WED, 18, 0) }, 6, ROUTE_FOUND, 6 },
	/* before USER */
	{ { .listener = "inside" }, -1, ROUTE_NEEDS_USER, 0 },
};
// clang-format on

START_TEST(the_first_rule_that_matches_wins)
{
	struct route_rule rules[SP_ARRAY_LEN(table)];
	struct route_facts facts = facts_of(&logons[_i].facts);
	struct route_choice choice;
	int rule;

	for (size_t i = 0; i < SP_ARRAY_LEN(table); i++)
		rules[i] = rule_of(&table[i]);
	rule = route_choose(rules, SP_ARRAY_LEN(rules), &facts, &choice);
	ck_assert_int_eq(rule, logons[_i].rule);
	ck_assert_int_eq(choice.result, logons[_i].result);
	ck_assert_uint_eq(choice.rule, logons[_i].told);
	ck_assert_int_eq(route_choose(rules, SP_ARRAY_LEN(rules), &facts, NULL), rule);
	for (size_t i = 0; i < SP_ARRAY_LEN(table); i++)
		free_rule(&rules[i]);
}
END_TEST

START_TEST(no_rules_match_nobody)
{
	struct route_facts facts = facts_of(&(struct fact_text){ .user = "joe" });
	struct route_choice choice;

	ck_assert_int_eq(route_choose(NULL, 0, &facts, &choice), -1);
	ck_assert_int_eq(choice.result, ROUTE_NO_MATCH);
	ck_assert_uint_eq(choice.rule, 0);
	ck_assert(!route_knows_host(NULL, 0, &facts));
}
END_TEST

/* Whatever user then comes gets the rule that was chosen without knowing him. */
START_TEST(before_user_only_a_sure_rule_is_chosen)
{
	// clang-format off
	static const struct rule_text rules_text[] = {
		{ .sources = "203.0.113.0/24", .users = "x" },
		{ .listeners = "inside" },
		{ .users = "acme-*" },
		{ 0 },
	};
	// clang-format on
	struct route_rule rules[SP_ARRAY_LEN(rules_text)];
	struct route_facts facts = facts_of(&(struct fact_text){ .listener = "inside" });
	struct route_choice choice;

	for (size_t i = 0; i < SP_ARRAY_LEN(rules); i++)
		rules[i] = rule_of(&rules_text[i]);
	ck_assert_int_eq(route_choose(rules, 4, &facts, &choice), 1);
	ck_assert_int_eq(choice.result, ROUTE_FOUND);
	facts.listener = "public";
	ck_assert_int_eq(route_choose(rules, 4, &facts, &choice), -1);
	ck_assert_int_eq(choice.result, ROUTE_NEEDS_USER);
	ck_assert_uint_eq(choice.rule, 2);
	facts.user = span_of("acme-1");
	ck_assert_int_eq(route_choose(rules, 4, &facts, &choice), 2);
	facts.user = span_of("joe");
	ck_assert_int_eq(route_choose(rules, 4, &facts, &choice), 3);
	for (size_t i = 0; i < SP_ARRAY_LEN(rules); i++)
		free_rule(&rules[i]);
}
END_TEST

// clang-format off
static const struct {
	struct rule_text rules[3];
	size_t n;
	const char *host;
	const char *source;
	bool known;
} host_cases[] = {
	{ { { 0 } }, 1, "any.example.net", NULL, true },
	{ { { .hosts = "a.example.net" } }, 1, "a.example.net", NULL, true },
	{ { { .hosts = "a.example.net" } }, 1, "b.example.net", NULL, false },
	{ { { .hosts = "a.example.net", .users = "joe" } }, 1, "a.example.net", NULL, true },
	{ { { .hosts = "a", .sources = "10.0.0.0/8" } }, 1, "a", NULL, false },
	{ { { .hosts = "a", .sources = "10.0.0.0/8" } }, 1, "a", "10.1.1.1", true },
	{ { { .hosts = "a", .listeners = "inside" } }, 1, "a", NULL, false },
	{ { { .hosts = "a", .reject = true }, { 0 } }, 2, "a", NULL, false },
	{ { { .hosts = "a", .reject = true }, { 0 } }, 2, "b", NULL, true },
	{ { { .hosts = "a", .users = "joe", .reject = true },
	  { .hosts = "a" } }, 2, "a", NULL, true },
	{ { { .hosts = "a", .users = "joe", .reject = true } }, 1, "a", NULL, false },
	{ { { .hosts = "b" }, { .hosts = "c" }, { .hosts = "a*" } }, 3, "ab", NULL, true },
};
// clang-format on

START_TEST(a_host_is_known_when_somebody_may_log_on_there)
{
	struct route_rule rules[3];
	struct route_facts facts = facts_of(
	    &(struct fact_text){ .host = host_cases[_i].host, .source = host_cases[_i].source });

	for (size_t i = 0; i < host_cases[_i].n; i++)
		rules[i] = rule_of(&host_cases[_i].rules[i]);
	ck_assert(route_knows_host(rules, host_cases[_i].n, &facts) == host_cases[_i].known);
	for (size_t i = 0; i < host_cases[_i].n; i++)
		free_rule(&rules[i]);
}
END_TEST

// clang-format off
static const struct {
	const char *text;
	const char *formatted; /* NULL: not a window */
} windows[] = {
	{ "mon-fri 08:00-18:00", "mon-fri 08:00-18:00" },
	{ "MON-Fri 8:00-18:00", "mon-fri 08:00-18:00" },
	{ "sat,sun", "sat,sun" },
	{ "22:00-06:00", "22:00-06:00" },
	{ "00:00-24:00", "00:00-24:00" },
	{ "mon-sun", "00:00-24:00" },
	{ "mon,wed-fri 9:30-24:00", "mon,wed-fri 09:30-24:00" },
	{ "sat-mon", "mon,sat,sun" },
	{ "fri-wed", "mon-wed,fri-sun" },
	{ "tue-tue", "tue" },
	{ "mon,mon,tue", "mon,tue" },
	{ "tue,thu,sat 0:00-0:01", "tue,thu,sat 00:00-00:01" },
	{ "22:00-00:00", "22:00-00:00" },
	{ "mon 23:59-24:00", "mon 23:59-24:00" },
	{ "mon,tue,thu,fri,sun 22:00-06:00", "mon,tue,thu,fri,sun 22:00-06:00" },
	{ "", NULL },
	{ " ", NULL },
	{ "mon ", NULL },
	{ "mon,", NULL },
	{ "mon-", NULL },
	{ ",mon", NULL },
	{ "monday", NULL },
	{ "mo", NULL },
	{ "mon  08:00-18:00", NULL },
	{ "mon08:00-18:00", NULL },
	{ "08:00", NULL },
	{ "08:00-", NULL },
	{ "08:00-18", NULL },
	{ "8-18", NULL },
	{ "08:0-18:00", NULL },
	{ "08:00-18:000", NULL },
	{ "08:60-18:00", NULL },
	{ "08:00-24:01", NULL },
	{ "24:00-08:00", NULL },
	{ "25:00-26:00", NULL },
	{ "08:00-08:00", NULL },
	{ "008:00-18:00", NULL },
	{ "08:00 - 18:00", NULL },
	{ "08:00-18:00 mon", NULL },
	{ "08:00-18:00,20:00-22:00", NULL },
};
// clang-format on

START_TEST(windows_are_read_and_written)
{
	struct route_window window = { 0x55, 1, 2 }, again;
	char text[ROUTE_WINDOW_TEXT_MAX];
	bool ok = route_window_parse(&window, span_of(windows[_i].text));

	ck_assert_msg(ok == (windows[_i].formatted != NULL), "\"%s\"", windows[_i].text);
	if (!ok) {
		ck_assert(window.days == 0x55 && window.from == 1 && window.to == 2);
		return;
	}
	ck_assert_str_eq(route_window_format(&window, text), windows[_i].formatted);
	ck_assert(route_window_parse(&again, span_of(text)));
	ck_assert(again.days == window.days && again.from == window.from && again.to == window.to);
}
END_TEST

START_TEST(every_set_of_days_fits_its_text_and_comes_back)
{
	struct route_window again;
	char text[ROUTE_WINDOW_TEXT_MAX];

	for (unsigned days = 1; days < 128; days++) {
		struct route_window window = { (uint8_t)days, 60, 1439 };

		route_window_format(&window, text);
		ck_assert_msg(route_window_parse(&again, span_of(text)), "%s", text);
		ck_assert_uint_eq(again.days, days);
		ck_assert_uint_eq(again.from, 60);
		ck_assert_uint_eq(again.to, 1439);
	}
}
END_TEST

// clang-format off
static const struct {
	const char *window;
	int minute;
	bool inside;
} minutes[] = {
	{ "mon-fri 08:00-18:00", AT(MON, 8, 0), true },
	{ "mon-fri 08:00-18:00", AT(MON, 7, 59), false },
	{ "mon-fri 08:00-18:00", AT(FRI, 17, 59), true },
	{ "mon-fri 08:00-18:00", AT(FRI, 18, 0), false },
	{ "mon-fri 08:00-18:00", AT(SAT, 12, 0), false },
	{ "fri 22:00-06:00", AT(FRI, 21, 59), false },
	{ "fri 22:00-06:00", AT(FRI, 22, 0), true },
	{ "fri 22:00-06:00", AT(FRI, 5, 0), false },
	{ "fri 22:00-06:00", AT(SAT, 0, 0), true },
	{ "fri 22:00-06:00", AT(SAT, 5, 59), true },
	{ "fri 22:00-06:00", AT(SAT, 6, 0), false },
	{ "fri 22:00-06:00", AT(SAT, 22, 0), false },
	{ "sun 22:00-06:00", AT(MON, 3, 0), true },
	{ "sun 22:00-06:00", AT(SUN, 3, 0), false },
	{ "sun 22:00-00:00", AT(SUN, 23, 59), true },
	{ "sun 22:00-00:00", AT(MON, 0, 0), false },
	{ "sun", AT(SUN, 23, 59), true },
	{ "sun", AT(SUN, 0, 0), true },
	{ "sun", AT(MON, 0, 0), false },
	{ "22:00-06:00", AT(WED, 23, 0), true },
	{ "22:00-06:00", AT(WED, 1, 0), true },
	{ "22:00-06:00", AT(WED, 12, 0), false },
};
// clang-format on

START_TEST(windows_hold_their_minutes)
{
	struct route_window window;
	struct route_rule rule = { .times = &window, .times_n = 1 };
	struct route_facts facts = facts_of(&(struct fact_text){ .minute = minutes[_i].minute });

	ck_assert(route_window_parse(&window, span_of(minutes[_i].window)));
	ck_assert_msg((route_mismatch(&rule, &facts) == ROUTE_FIELD_NONE) == minutes[_i].inside,
	              "%s at %d", minutes[_i].window, minutes[_i].minute);
}
END_TEST

START_TEST(the_week_begins_on_monday)
{
	struct tm t = { .tm_wday = 1 };

	ck_assert_int_eq(route_minute_of_week(&t), 0);
	t = (struct tm){ .tm_wday = 0, .tm_hour = 23, .tm_min = 59, .tm_sec = 60 };
	ck_assert_int_eq(route_minute_of_week(&t), 7 * 1440 - 1);
	t = (struct tm){ .tm_wday = 5, .tm_hour = 12, .tm_min = 30 };
	ck_assert_int_eq(route_minute_of_week(&t), AT(FRI, 12, 30));
}
END_TEST

START_TEST(rules_are_described)
{
	struct rule_text text = { .listeners = "public inside",
		                  .sources = "10.0.0.0/8 ::1",
		                  .hosts = "*.example.net",
		                  .certificates = "CN=*",
		                  .times = "sat,sun;22:00-06:00",
		                  .users = "acme-* bob" };
	struct route_rule rule = rule_of(&text);
	struct route_rule empty = { 0 };
	char buf[ROUTE_TEXT_MAX];

	ck_assert_str_eq(route_describe(&rule, buf, sizeof(buf)),
	                 "listener public or inside, source 10.0.0.0/8 or ::1, host *.example.net, "
	                 "certificate CN=*, time sat,sun or 22:00-06:00, user acme-* or bob");
	ck_assert_str_eq(route_describe(&empty, buf, sizeof(buf)), "everything");
	ck_assert_str_eq(route_describe(&rule, buf, 20), "listener public ...");
	ck_assert_uint_eq(strlen(buf), 19);
	free_rule(&rule);
}
END_TEST

/* Every size of buffer is kept to (the sanitizer watches). */
START_TEST(texts_stay_in_their_buffers)
{
	struct rule_text text = { .users = "acme-*", .sources = "10.0.0.0/8", .times = "sat" };
	struct route_rule rule = rule_of(&text);
	struct route_facts facts = facts_of(
	    &(struct fact_text){ .user = "x", .source = "10.1.2.3", .minute = AT(SAT, 1, 1) });

	for (size_t size = 4; size < 120; size++) {
		char *buf = malloc(size);

		ck_assert_uint_lt(strlen(route_explain(&rule, &facts, buf, size)), size);
		ck_assert_uint_lt(strlen(route_describe(&rule, buf, size)), size);
		free(buf);
	}
	free_rule(&rule);
}
END_TEST

/* --- maps of users -------------------------------------------------------------- */

#define MAP_USERS 5000

/* user0 → pool 10, user1 → pool 11 server 1, user2 → where the route leads, user3 → pool 10 … */
static struct user_map *make_map(void)
{
	static struct user_map_entry entries[MAP_USERS];
	static uint32_t slots[16384];
	static char names[MAP_USERS][12];
	static char file[] = "users.map";
	static struct user_map map = { .file = file, .entries = entries, .slots = slots, .slots_n = 16384 };

	memset(slots, 0, sizeof(slots));
	for (size_t i = 0; i < MAP_USERS; i++) {
		snprintf(names[i], sizeof(names[i]), "user%zu", i);
		entries[i] = (struct user_map_entry){ .name = span_of(names[i]),
			                              .pool = i % 3 == 2 ? USER_MAP_NOWHERE : 10 + i % 3,
			                              .server = i % 3 == 1 ? 1 : USER_MAP_NOWHERE,
			                              .line = (unsigned)i + 1 };
		ck_assert_ptr_null(user_map_enter(&map, i));
	}
	map.n = MAP_USERS;
	return &map;
}

START_TEST(a_map_knows_its_users_and_nobody_else)
{
	struct user_map *map = make_map();
	struct user_map empty = { .n = 0 };
	char name[16];

	for (unsigned i = 0; i < MAP_USERS; i++) {
		snprintf(name, sizeof(name), "user%u", i);
		ck_assert_ptr_eq(user_map_find(map, span_of(name)), &map->entries[i]);
		snprintf(name, sizeof(name), "User%u", i);
		ck_assert_ptr_null(user_map_find(map, span_of(name)));
	}
	ck_assert_ptr_null(user_map_find(map, span_from("user1\0", 6)));
	ck_assert_ptr_null(user_map_find(map, span_of("")));
	ck_assert_ptr_null(user_map_find(&empty, span_of("user1")));
	map->entries[7].name = map->entries[3].name; /* twice */
	ck_assert_ptr_eq(user_map_enter(map, 7), &map->entries[3]);
}
END_TEST

START_TEST(a_map_says_where_its_users_go)
{
	struct route_rule rules[] = { { .map = make_map(), .pool = 1, .policy = 2 }, { .pool = 3, .policy = 4 } };
	struct route_facts facts = facts_of(&(struct fact_text){ .listener = "public" });
	struct route_choice choice;

	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), -1);
	ck_assert_int_eq(choice.result, ROUTE_NEEDS_USER);
	facts.user = span_of("user0");
	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), 0);
	ck_assert_uint_eq(choice.pool, 10);
	ck_assert_uint_eq(choice.server, ROUTE_ANY_SERVER);
	ck_assert_uint_eq(choice.policy, 2);
	facts.user = span_of("user1");
	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), 0);
	ck_assert_uint_eq(choice.pool, 11);
	ck_assert_uint_eq(choice.server, 1);
	facts.user = span_of("user2");
	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), 0);
	ck_assert_uint_eq(choice.pool, 1);
	facts.user = span_of("nobody");
	ck_assert_int_eq(route_mismatch(&rules[0], &facts), ROUTE_FIELD_MAP);
	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), 1);
	ck_assert_uint_eq(choice.pool, 3);
	rules[0].reject = true;
	facts.user = span_of("user0");
	ck_assert_int_eq(route_choose(rules, 2, &facts, &choice), -1);
	ck_assert_int_eq(choice.result, ROUTE_REJECTED);
}
END_TEST

START_TEST(a_map_is_put_into_words)
{
	struct route_rule rule = { .map = make_map() };
	struct route_facts facts = facts_of(&(struct fact_text){ .listener = "public" });
	char text[ROUTE_TEXT_MAX];

	ck_assert_str_eq(route_describe(&rule, text, sizeof(text)), "user in users.map");
	facts.user = span_of("user3");
	ck_assert_str_eq(route_explain(&rule, &facts, text, sizeof(text)), "matches: user user3 is in users.map");
	facts.user = span_of("bob");
	ck_assert_str_eq(route_explain(&rule, &facts, text, sizeof(text)),
	                 "does not match: user bob is not in users.map");
}
END_TEST

static const struct {
	const char *text;
	int minute; /* -1: is not one */
} moments[] = {
	{ "09:30", 2 * 1440 + 570 }, { "mon 00:00", 0 },  { "sun 23:59", 10079 }, { "FRI 9:05", 4 * 1440 + 545 },
	{ "24:00", -1 },	     { "mon", -1 },	  { "mon 9", -1 },	  { "mon  9:00", -1 },
	{ "mon,tue 9:00", -1 },	     { "9:00 ", -1 },	  { "", -1 },		  { "9:60", -1 },
};

START_TEST(moments_are_read)
{
	int minute = -1;
	bool is_one = route_moment_parse(&minute, span_of(moments[_i].text), 2);

	ck_assert_int_eq(is_one, moments[_i].minute >= 0);
	ck_assert_int_eq(minute, moments[_i].minute);
}
END_TEST

START_TEST(fields_are_named)
{
	ck_assert_str_eq(route_field_name(ROUTE_FIELD_LISTENER), "listener");
	ck_assert_str_eq(route_field_name(ROUTE_FIELD_USER), "user");
	ck_assert_str_eq(route_field_name(ROUTE_FIELD_NONE), "none");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route");
	TCase *tc = tcase_create("route");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, a_rule_matches_or_says_why_not, 0, SP_ARRAY_LEN(cases));
	tcase_add_loop_test(tc, the_first_rule_that_matches_wins, 0, SP_ARRAY_LEN(logons));
	tcase_add_test(tc, no_rules_match_nobody);
	tcase_add_test(tc, before_user_only_a_sure_rule_is_chosen);
	tcase_add_loop_test(tc, a_host_is_known_when_somebody_may_log_on_there, 0,
	                    SP_ARRAY_LEN(host_cases));
	tcase_add_loop_test(tc, windows_are_read_and_written, 0, SP_ARRAY_LEN(windows));
	tcase_add_test(tc, every_set_of_days_fits_its_text_and_comes_back);
	tcase_add_loop_test(tc, windows_hold_their_minutes, 0, SP_ARRAY_LEN(minutes));
	tcase_add_test(tc, the_week_begins_on_monday);
	tcase_add_test(tc, rules_are_described);
	tcase_add_test(tc, texts_stay_in_their_buffers);
	tcase_add_test(tc, a_map_knows_its_users_and_nobody_else);
	tcase_add_test(tc, a_map_says_where_its_users_go);
	tcase_add_test(tc, a_map_is_put_into_words);
	tcase_add_loop_test(tc, moments_are_read, 0, SP_ARRAY_LEN(moments));
	tcase_add_test(tc, fields_are_named);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

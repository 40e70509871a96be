// SPDX-License-Identifier: ISC
/*
 * Routes: which rule a logon matches. What is said of rules in words is in
 * route_text.c; here are the decisions.
 */
#include "sallyport/route.h"

#include "sallyport/glob.h"

#define DAYS 7
#define MINUTES_OF_DAY 1440
#define MINUTES_OF_WEEK (DAYS * MINUTES_OF_DAY)

typedef bool match_fn(struct span pattern, struct span text);

/* Does one of the list's entries match? */
static bool list_matches(char *const *list, struct span text, match_fn *match)
{
	for (; *list != NULL; list++) {
		if (match(span_of(*list), text))
			return true;
	}
	return false;
}

static bool listener_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	return rule->listeners == NULL ||
	       list_matches(rule->listeners, span_of(facts->listener), span_eq);
}

static bool source_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	return rule->sources_n == 0 ||
	       netblock_list_contains(rule->sources, rule->sources_n, &facts->source);
}

static bool host_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	struct span host = facts->host;

	if (rule->hosts == NULL)
		return true;
	if (host.p == NULL)
		return false;
	if (host.n > 1 && host.p[host.n - 1] == '.')
		host.n--; /* "ftp.example.net." is the same name, written to its root */
	return list_matches(rule->hosts, host, glob_match_nocase);
}

static bool certificate_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	return rule->certificates == NULL ||
	       (facts->certificate.p != NULL &&
	        list_matches(rule->certificates, facts->certificate, glob_match));
}

static bool user_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	if (rule->users == NULL)
		return true;
	if (facts->user.p == NULL) /* not known yet: only what takes everybody matches */
		return list_matches(rule->users, span_of("*"), span_eq);
	return list_matches(rule->users, facts->user, glob_match);
}

static bool map_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	return rule->map == NULL ||
	       (facts->user.p != NULL && user_map_find(rule->map, facts->user) != NULL);
}

static bool window_has(const struct route_window *window, int minute_of_week)
{
	unsigned today = (unsigned)(minute_of_week / MINUTES_OF_DAY);
	unsigned yesterday = (today + DAYS - 1) % DAYS;
	unsigned minute = (unsigned)(minute_of_week % MINUTES_OF_DAY);
	bool on_today = (window->days >> today & 1) != 0;
	bool on_yesterday = (window->days >> yesterday & 1) != 0;

	if (window->from < window->to)
		return on_today && minute >= window->from && minute < window->to;
	return (on_today && minute >= window->from) || (on_yesterday && minute < window->to);
}

static bool time_matches(const struct route_rule *rule, const struct route_facts *facts)
{
	if (rule->times_n == 0)
		return true;
	if (facts->minute_of_week < 0 || facts->minute_of_week >= MINUTES_OF_WEEK)
		return false;
	for (size_t i = 0; i < rule->times_n; i++) {
		if (window_has(&rule->times[i], facts->minute_of_week))
			return true;
	}
	return false;
}

enum route_field route_mismatch(const struct route_rule *rule, const struct route_facts *facts)
{
	if (!listener_matches(rule, facts))
		return ROUTE_FIELD_LISTENER;
	if (!source_matches(rule, facts))
		return ROUTE_FIELD_SOURCE;
	if (!host_matches(rule, facts))
		return ROUTE_FIELD_HOST;
	if (!certificate_matches(rule, facts))
		return ROUTE_FIELD_CERTIFICATE;
	if (!time_matches(rule, facts))
		return ROUTE_FIELD_TIME;
	/* Last, so that ROUTE_NEEDS_USER means: all else is right. */
	if (!user_matches(rule, facts))
		return ROUTE_FIELD_USER;
	return map_matches(rule, facts) ? ROUTE_FIELD_NONE : ROUTE_FIELD_MAP;
}

static bool is_about_user(enum route_field field)
{
	return field == ROUTE_FIELD_USER || field == ROUTE_FIELD_MAP;
}

/* What the rule gives, unless its map knows better. */
static struct route_choice lead(const struct route_rule *rule, size_t i, const struct route_facts *facts)
{
	struct route_choice choice = { .result = ROUTE_FOUND,
		                       .rule = i,
		                       .pool = rule->pool,
		                       .server = ROUTE_ANY_SERVER,
		                       .policy = rule->policy };
	const struct user_map_entry *entry = NULL;

	if (rule->map != NULL)
		entry = user_map_find(rule->map, facts->user);
	if (entry != NULL && entry->pool != USER_MAP_NOWHERE) {
		choice.pool = entry->pool;
		if (entry->server != USER_MAP_NOWHERE)
			choice.server = entry->server;
	}
	return choice;
}

static struct route_choice choose(const struct route_rule rules[], size_t n,
                                  const struct route_facts *facts)
{
	for (size_t i = 0; i < n; i++) {
		enum route_field field = route_mismatch(&rules[i], facts);

		if (field == ROUTE_FIELD_NONE && rules[i].reject)
			return (struct route_choice){ .result = ROUTE_REJECTED, .rule = i };
		if (field == ROUTE_FIELD_NONE)
			return lead(&rules[i], i, facts);
		if (is_about_user(field) && facts->user.p == NULL)
			return (struct route_choice){ .result = ROUTE_NEEDS_USER, .rule = i };
	}
	return (struct route_choice){ .result = ROUTE_NO_MATCH, .rule = n };
}

int route_choose(const struct route_rule rules[], size_t n, const struct route_facts *facts,
                 struct route_choice *choice)
{
	struct route_choice found = choose(rules, n, facts);

	if (choice != NULL)
		*choice = found;
	return found.result == ROUTE_FOUND ? (int)found.rule : -1;
}

bool route_knows_host(const struct route_rule rules[], size_t n, const struct route_facts *facts)
{
	struct route_facts any_user = *facts;

	any_user.user = span_from(NULL, 0);
	for (size_t i = 0; i < n; i++) {
		enum route_field field = route_mismatch(&rules[i], &any_user);

		if (field != ROUTE_FIELD_NONE && !is_about_user(field))
			continue;
		if (!rules[i].reject)
			return true;
		if (field == ROUTE_FIELD_NONE)
			return false; /* refuses everybody: no later rule is asked */
	}
	return false;
}

int route_minute_of_week(const struct tm *local)
{
	int day = (local->tm_wday + DAYS - 1) % DAYS; /* struct tm begins on Sunday */

	return day * MINUTES_OF_DAY + local->tm_hour * 60 + local->tm_min;
}

// SPDX-License-Identifier: ISC
/*
 * Routes, asked from the shell: reads the question, asks the routes one after
 * another, says why each of them matches or not.
 */
#include "sallyport/route_query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/config_text.h"
#include "sallyport/route.h"

struct query {
	const struct config *config;
	struct route_facts facts;
	char *text; /* the values, without their backslashes; facts point into it */
	void (*line)(void *ctx, const char *text);
	void *ctx;
	char *error;
	unsigned given; /* bit by enum route_field */
};

static bool wrong(struct query *q, const char *what, struct span value, const char *why)
{
	snprintf(q->error, ROUTE_QUERY_ERROR_MAX, "--route: %s%s\"%.*s\" %s", what, what[0] != '\0' ? " " : "", (int)sp_min64((int64_t)value.n, 80),
		 value.p, why);
	return false;
}

/* --- the question ------------------------------------------------------------------- */

static bool find_field(struct query *q, struct span name, enum route_field *field)
{
	static const enum route_field fields[] = { ROUTE_FIELD_LISTENER, ROUTE_FIELD_SOURCE,
						   ROUTE_FIELD_HOST,	 ROUTE_FIELD_CERTIFICATE,
						   ROUTE_FIELD_TIME,	 ROUTE_FIELD_USER };

	for (size_t i = 0; i < SP_ARRAY_LEN(fields); i++) {
		if (!span_eq(name, span_of(route_field_name(fields[i]))))
			continue;
		*field = fields[i];
		if ((q->given >> fields[i] & 1) != 0)
			return wrong(q, "", name, "is there twice");
		q->given |= 1u << fields[i];
		return true;
	}
	return wrong(q, "", name, "is not one of: listener, source, host, time, user, certificate");
}

static const struct listener_config *find_listener(const struct config *config, struct span name)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		if (span_eq(name, span_of(config->listeners[i].name)))
			return &config->listeners[i];
	}
	return NULL;
}

static bool set_fact(struct query *q, enum route_field field, struct span value)
{
	struct route_facts *facts = &q->facts;
	const struct listener_config *listener;

	switch (field) {
	case ROUTE_FIELD_LISTENER:
		listener = find_listener(q->config, value);
		if (listener == NULL)
			return wrong(q, "listener", value, "is not in the configuration");
		facts->listener = listener->name;
		return true;
	case ROUTE_FIELD_SOURCE:
		if (!netaddr_parse(&facts->source, value, 0))
			return wrong(q, "source", value, "is not an address (like 198.51.100.7 or 2001:db8::7)");
		return true;
	case ROUTE_FIELD_HOST:
		facts->host = value;
		return true;
	case ROUTE_FIELD_CERTIFICATE:
		facts->certificate = value;
		return true;
	case ROUTE_FIELD_TIME:
		if (!route_moment_parse(&facts->minute_of_week, value, facts->minute_of_week / 1440))
			return wrong(q, "time", value, "is not a moment (like 09:30 or mon 09:30)");
		return true;
	case ROUTE_FIELD_USER:
		facts->user = value;
		return true;
	case ROUTE_FIELD_MAP:
	case ROUTE_FIELD_NONE:
		break;
	}
	SP_UNREACHABLE("a field that is not asked for");
}

/* Reads one NAME=VALUE from *p on; its value goes to *to. */
static bool read_pair(struct query *q, const char **p, char **to)
{
	const char *equals = strpbrk(*p, "=,");
	enum route_field field;
	char *value = *to;

	if (equals == NULL || *equals == ',')
		return wrong(q, "", span_from(*p, strcspn(*p, ",")), "is not NAME=VALUE");
	if (!find_field(q, span_from(*p, (size_t)(equals - *p)), &field))
		return false;
	for (*p = equals + 1; **p != '\0'; (*p)++) {
		if (**p == ',' && field != ROUTE_FIELD_CERTIFICATE)
			break;
		if (**p == '\\' && (*p)[1] != '\0' && field != ROUTE_FIELD_CERTIFICATE)
			(*p)++;
		*(*to)++ = **p;
	}
	if (*to == value)
		return wrong(q, route_field_name(field), span_from("", 0), "is empty");
	return set_fact(q, field, span_from(value, (size_t)(*to - value)));
}

static bool read_question(struct query *q, const char *p)
{
	char *to = q->text;

	while (read_pair(q, &p, &to)) {
		if (*p == '\0')
			return true;
		p++; /* the comma */
	}
	return false;
}

/* --- the answer ----------------------------------------------------------------------- */

static void say(struct query *q, struct config_text *text)
{
	q->line(q->ctx, config_text_get(text));
	text->n = 0;
}

static void say_question(struct query *q, struct config_text *text)
{
	char host[NETADDR_TEXT_MAX];
	int minute = q->facts.minute_of_week;
	static const char *const days[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

	config_text_add(text, "logon: listener %s", q->facts.listener);
	if (q->facts.source.family != AF_UNSPEC)
		config_text_add(text, ", source %s", netaddr_format_host(&q->facts.source, host));
	if (q->facts.host.p != NULL)
		config_text_add(text, ", host %.*s", (int)q->facts.host.n, q->facts.host.p);
	if (q->facts.certificate.p != NULL)
		config_text_add(text, ", certificate %.*s", (int)q->facts.certificate.n, q->facts.certificate.p);
	config_text_add(text, ", time %s %02d:%02d", days[minute / 1440], minute % 1440 / 60, minute % 60);
	if (q->facts.user.p != NULL)
		config_text_add(text, ", user %.*s", (int)q->facts.user.n, q->facts.user.p);
	else
		config_text_add(text, ", before USER");
	say(q, text);
}

static void say_routes(struct query *q, struct config_text *text, const struct route_choice *choice)
{
	char why[ROUTE_TEXT_MAX];

	for (size_t i = 0; i < q->config->routes_n && i <= choice->rule; i++) {
		const struct route_rule *rule = &q->config->routes[i];

		config_text_add(text, "route %zu: %s", i + 1, route_explain(rule, &q->facts, why, sizeof(why)));
		say(q, text);
	}
}

/* As whom the server will see this user, if not as he calls himself. */
static void say_identity(struct query *q, struct config_text *text, const struct route_rule *rule)
{
	const struct credentials_entry *as = NULL;

	if (rule->credentials != NULL && q->facts.user.p != NULL)
		as = credentials_for_user(rule->credentials, q->facts.user);
	if (as != NULL)
		config_text_add(text, "logged on at the server as %.*s (%s:%u)", (int)as->user.n, as->user.p,
				rule->credentials->file, as->line);
	else if (rule->strip_domain)
		config_text_add(text, "logged on at the server without @domain");
	else
		return;
	say(q, text);
}

static void say_pool(struct query *q, struct config_text *text, const struct route_choice *choice)
{
	const struct config *config = q->config;
	const struct route_rule *rule = &config->routes[choice->rule];
	const struct pool_config *pool = &config->pools[choice->pool];
	const struct user_map_entry *entry = NULL;

	if (rule->map != NULL && q->facts.user.p != NULL)
		entry = user_map_find(rule->map, q->facts.user);
	config_text_add(text, "result: pool %s", pool->name);
	if (choice->server != ROUTE_ANY_SERVER)
		config_text_add(text, ", server %s", pool->servers[choice->server].name);
	config_text_add(text, ", policy %s (route %zu", config->policies[choice->policy].name, choice->rule + 1);
	if (entry != NULL)
		config_text_add(text, ", %s:%u", rule->map->file, entry->line);
	config_text_add(text, ")");
	say(q, text);
	say_identity(q, text, rule);
}

static enum route_answer answer(struct query *q, struct config_text *text)
{
	struct route_choice choice;
	int rule = route_choose(q->config->routes, q->config->routes_n, &q->facts, &choice);

	say_question(q, text);
	say_routes(q, text, &choice);
	if (rule >= 0) {
		say_pool(q, text, &choice);
		return ROUTE_ANSWER_POOL;
	}
	if (choice.result == ROUTE_REJECTED)
		config_text_add(text, "result: refused with 530 (route %zu says reject)", choice.rule + 1);
	else if (choice.result == ROUTE_NEEDS_USER)
		config_text_add(text, "result: not known before USER, say user=... (route %zu depends on it)",
				choice.rule + 1);
	else
		config_text_add(text, "result: refused with 530 (no route matches)");
	say(q, text);
	return ROUTE_ANSWER_REFUSED;
}

enum route_answer route_query(const struct config *config, const char *question,
			      void (*line)(void *ctx, const char *text), void *ctx,
			      char error[ROUTE_QUERY_ERROR_MAX])
{
	struct query q = { .config = config, .line = line, .ctx = ctx, .error = error };
	struct config_text text = { 0 };
	enum route_answer result = ROUTE_ANSWER_BAD;
	time_t now = time(NULL);
	struct tm local;

	if (localtime_r(&now, &local) != NULL)
		q.facts.minute_of_week = route_minute_of_week(&local);
	q.facts.listener = config->listeners[0].name;
	q.text = malloc(strlen(question) + 1);
	if (q.text == NULL)
		return ROUTE_ANSWER_NO_MEMORY;
	if (read_question(&q, question))
		result = answer(&q, &text);
	if (text.failed)
		result = ROUTE_ANSWER_NO_MEMORY;
	config_text_fini(&text);
	free(q.text);
	return result;
}

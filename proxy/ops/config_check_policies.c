// SPDX-License-Identifier: ISC
/*
 * Checks of a configuration: what policies say about commands and clocks.
 */
#include <string.h>

#include "sallyport/config_build.h"
#include "sallyport/verb.h"

static bool has_verb(char *const *list, const char *verb)
{
	for (; list != NULL && *list != NULL; list++) {
		if (strcmp(*list, verb) == 0)
			return true;
	}
	return false;
}

static void check_verbs(struct config_build *build, size_t i, char *const *list, const char *key)
{
	const struct policy *policy = &build->config->policies[i];

	for (size_t j = 0; list != NULL && list[j] != NULL; j++) {
		struct config_position at =
		    config_build_value_place(build, SECTION_POLICY, i, key, j);
		struct config_nearest nearest = config_nearest_start(list[j]);

		if (policy->pass_unknown_commands || command_parse(span_of(list[j])).verb != VERB_UNKNOWN)
			continue;
		for (int v = 0; v < VERB_COUNT; v++)
			config_nearest_offer(&nearest, verb_row((enum verb)v)->name);
		config_error(build->report, at, key, "\"%s\" is not a known FTP command%s%s%s",
		             list[j], nearest.best != NULL ? " (did you mean " : "",
		             nearest.best != NULL ? nearest.best : "",
		             nearest.best != NULL ? "?)" : "");
	}
}

static void check_denied(struct config_build *build, size_t i)
{
	const struct policy *policy = &build->config->policies[i];
	char *const *denied = policy->deny_commands;

	for (size_t j = 0; denied != NULL && denied[j] != NULL; j++) {
		struct config_position at =
		    config_build_value_place(build, SECTION_POLICY, i, "deny_commands", j);

		if (strcmp(denied[j], "QUIT") == 0)
			config_error(build->report, at, "deny_commands",
			             "\"QUIT\" cannot be denied: a client may always leave");
		else if (strcmp(denied[j], "USER") == 0 || strcmp(denied[j], "PASS") == 0)
			config_error(build->report, at, "deny_commands",
			             "\"%s\" is what a logon is made of: nobody could log on",
			             denied[j]);
		else if (has_verb(policy->allow_commands, denied[j]))
			config_warning(build->report, at, "deny_commands",
			               "\"%s\" is in allow_commands too: it is refused", denied[j]);
	}
}

/* Transfers without anything that makes a data connection. */
static void check_allowed(struct config_build *build, size_t i)
{
	static const char *const makers[] = { "EPSV", "PASV", "EPRT", "PORT" };
	const struct policy *policy = &build->config->policies[i];
	char *const *allowed = policy->allow_commands;

	for (size_t j = 0; j < SP_ARRAY_LEN(makers); j++) {
		if (has_verb(allowed, makers[j]))
			return;
	}
	for (size_t j = 0; allowed != NULL && allowed[j] != NULL; j++) {
		const struct verb_row *row = verb_row(verb_find(span_of(allowed[j])));

		if (row->action != VERB_ACTION_DOWN && row->action != VERB_ACTION_UP)
			continue;
		config_warning(
		    build->report,
		    config_build_value_place(build, SECTION_POLICY, i, "allow_commands", j),
		    "allow_commands",
		    "\"%s\" needs a data connection: allow EPSV and PASV (or EPRT and PORT)",
		    allowed[j]);
		return;
	}
}

/* A logon that waits or dials longer than login_timeout never gets what it waits for. */
static void check_logon_clocks(struct config_build *build, const struct route_rule *rule)
{
	const struct config *config = build->config;
	const struct pool_config *pool = &config->pools[rule->pool];
	const struct policy *policy = &config->policies[rule->policy];
	int64_t login_ms = policy->timeouts.login_timeout;

	if (pool->queue_timeout_ms >= login_ms && pool->queue_timeout_ms > 0)
		config_warning(
		    build->report,
		    config_build_value_place(build, SECTION_POOL, rule->pool, "queue_timeout", 0),
		    "queue_timeout",
		    "%s is not less than login_timeout of policy %s (%s), which comes first",
		    config_duration_show(pool->queue_timeout_ms).text, policy->name,
		    config_duration_show(login_ms).text);
}

static bool seen_before(const struct config *config, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (!config->routes[j].reject && config->routes[j].pool == config->routes[i].pool &&
		    config->routes[j].policy == config->routes[i].policy)
			return true;
	}
	return false;
}

static void check_connect(struct config_build *build, size_t i)
{
	const struct timeouts *t = &build->config->policies[i].timeouts;

	if (t->connect_timeout >= t->login_timeout)
		config_warning(
		    build->report,
		    config_build_value_place(build, SECTION_POLICY, i, "connect_timeout", 0),
		    "connect_timeout",
		    "%s is not less than login_timeout (%s): no second server is ever tried",
		    config_duration_show(t->connect_timeout).text,
		    config_duration_show(t->login_timeout).text);
}

void config_check_policies(struct config_build *build)
{
	const struct config *config = build->config;
	size_t configured = config_tree_sections_n(build->tree.root, SECTION_POLICY);

	/* The implied one is as it should be. */
	for (size_t i = 0; i < configured && i < config->policies_n; i++) {
		const struct policy *policy = &config->policies[i];

		check_verbs(build, i, policy->deny_commands, "deny_commands");
		check_verbs(build, i, policy->allow_commands, "allow_commands");
		check_denied(build, i);
		check_allowed(build, i);
		check_connect(build, i);
	}
	for (size_t i = 0; i < config->routes_n && config_report_is_clean(build->report); i++) {
		if (!config->routes[i].reject && config->routes[i].pool != ROUTE_NO_POOL &&
		    !seen_before(config, i))
			check_logon_clocks(build, &config->routes[i]);
	}
}

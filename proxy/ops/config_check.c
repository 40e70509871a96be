// SPDX-License-Identifier: ISC
/*
 * Checks of a configuration: does everything that is needed exist, does
 * everything that is named exist, is everything that exists of use? Routes come
 * out of here with the indexes of their pool and policy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sallyport/config_build.h"
#include "sallyport/config_credentials.h"
#include "sallyport/config_text.h"
#include "sallyport/pool_ledger.h"

static const struct config_position whole_file = { 0, 0 };

/* --- references -------------------------------------------------------------- */

/* Names of things of a kind: what there is, for look-ups and for suggestions. */
struct names {
	size_t n;
	const char *(*name)(const struct config *config, size_t i);
};

static const char *listener_name(const struct config *config, size_t i)
{
	return config->listeners[i].name;
}

static const char *pool_name(const struct config *config, size_t i)
{
	return config->pools[i].name;
}

static const char *policy_name(const struct config *config, size_t i)
{
	return config->policies[i].name;
}

static bool find_name(const struct config *config, const struct names *names, const char *name,
                      size_t *index)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->name(config, i), name) == 0) {
			*index = i;
			return true;
		}
	}
	return false;
}

/* Complains that there is no `what` of this name, and says which one there is. */
static void unknown_name(struct config_build *build, const struct names *names, const char *name,
                         struct config_position at, const char *key, const char *what)
{
	struct config_nearest nearest = config_nearest_start(name);
	struct config_text known = { 0 };

	for (size_t i = 0; i < names->n; i++) {
		const char *there = names->name(build->config, i);

		if (there[0] == '?')
			continue; /* a section whose name was not usable */
		config_nearest_offer(&nearest, there);
		config_text_add(&known, "%s%s", known.n > 0 ? ", " : "", there);
	}
	if (nearest.best != NULL)
		config_error(build->report, at, key,
		             "\"%s\" is not the name of a %s (did you mean %s?)", name, what,
		             nearest.best);
	else if (known.n > 0)
		config_error(build->report, at, key,
		             "\"%s\" is not the name of a %s (there are: %s)", name, what,
		             config_text_get(&known));
	else
		config_error(build->report, at, key,
		             "\"%s\" is not the name of a %s (there is none)", name, what);
	config_text_fini(&known);
}

static void resolve_listeners(struct config_build *build, size_t i)
{
	const struct config *config = build->config;
	const struct names names = { config->listeners_n, listener_name };
	char **listeners = config->routes[i].listeners;
	size_t index;

	for (size_t j = 0; listeners != NULL && listeners[j] != NULL; j++) {
		if (!find_name(config, &names, listeners[j], &index))
			unknown_name(
			    build, &names, listeners[j],
			    config_build_value_place(build, SECTION_ROUTE, i, "listeners", j),
			    "listeners", "listener");
	}
}

/* Did the file say this of the route, whether rightly or not? */
static bool route_says(const struct config_build *build, size_t i, const char *key)
{
	return config_build_has(build, SECTION_ROUTE, i, key);
}

static void resolve_pool(struct config_build *build, size_t i)
{
	const struct config *config = build->config;
	const struct names names = { config->pools_n, pool_name };
	const char *pool = build->routes[i].pool;
	struct config_position at = config_build_value_place(build, SECTION_ROUTE, i, "pool", 0);

	if (!route_says(build, i, "pool") && route_says(build, i, "user_map"))
		config->routes[i].pool = ROUTE_NO_POOL;
	else if (!route_says(build, i, "pool"))
		config_error(build->report, at, "route", "pool is missing (or reject = yes)");
	else if (pool != NULL && config->pools_n > 0 &&
	         !find_name(config, &names, pool, &config->routes[i].pool))
		unknown_name(build, &names, pool, at, "pool", "pool");
}

static void resolve_policy(struct config_build *build, size_t i)
{
	const struct config *config = build->config;
	const struct names names = { config->policies_n, policy_name };
	const char *policy = build->routes[i].policy;

	if (policy != NULL && !find_name(config, &names, policy, &config->routes[i].policy))
		unknown_name(build, &names, policy,
		             config_build_value_place(build, SECTION_ROUTE, i, "policy", 0),
		             "policy", "policy");
}

static void load_map(struct config_build *build, size_t i)
{
	struct route_rule *rule = &build->config->routes[i];
	const char *file = build->routes[i].user_map;
	struct config_position at = config_build_value_place(build, SECTION_ROUTE, i, "user_map", 0);

	if (file == NULL || file[0] == '\0')
		return;
	rule->map = config_user_map_load(build, at, file, !rule->reject && rule->pool == ROUTE_NO_POOL);
}

/* Is there something beside the name that a client must be or have? */
static bool rule_asks_more(const struct route_rule *rule)
{
	return rule->sources_n > 0 || rule->certificates != NULL;
}

static void load_credentials(struct config_build *build, size_t i)
{
	struct route_rule *rule = &build->config->routes[i];
	const char *file = build->routes[i].credentials;
	struct config_position at = config_build_value_place(build, SECTION_ROUTE, i, "credentials", 0);
	char error[CREDENTIALS_ERROR_MAX];

	if (file == NULL || file[0] == '\0')
		return;
	rule->credentials = credentials_load(file, error);
	if (rule->credentials == NULL)
		config_error(build->report, at, "credentials", "%s", error);
	else if (!rule_asks_more(rule))
		config_warning(build->report, at, "credentials",
			       "the client's own password is not checked, and anybody may come from anywhere: "
			       "say sources or certificates");
}

static void refuse_beside_reject(struct config_build *build, size_t i, const char *key)
{
	if (route_says(build, i, key))
		config_error(build->report,
		             config_build_value_place(build, SECTION_ROUTE, i, key, 0), key,
		             "means nothing beside reject = yes");
}

static void resolve_route(struct config_build *build, size_t i)
{
	resolve_listeners(build, i);
	if (build->config->routes[i].reject) {
		refuse_beside_reject(build, i, "pool");
		refuse_beside_reject(build, i, "policy");
		refuse_beside_reject(build, i, "strip_domain");
		refuse_beside_reject(build, i, "credentials");
	} else {
		resolve_pool(build, i);
		resolve_policy(build, i);
		load_credentials(build, i);
	}
	load_map(build, i);
}

/* --- what must be there -------------------------------------------------------- */

static void check_pools(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->pools_n; i++) {
		const struct pool_config *pool = &config->pools[i];
		struct config_position at = config_build_place(build, SECTION_POOL, i);

		if (pool->servers_n == 0)
			config_error(build->report, at,
			             config_section_label(SECTION_POOL, pool->name).text,
			             "there is no server: server NAME { address = \"...\" }");
		if (pool->servers_n > POOL_SERVERS_MAX)
			config_error(build->report, at,
			             config_section_label(SECTION_POOL, pool->name).text,
			             "there are %zu servers (at most %d)", pool->servers_n,
			             POOL_SERVERS_MAX);
	}
}

/* One pool and no route: everything goes to the pool. */
static void imply_route(struct config_build *build)
{
	struct config *config = build->config;
	const struct names names = { config->policies_n, policy_name };
	size_t policy;

	if (!find_name(config, &names, CONFIG_DEFAULT_POLICY, &policy))
		return; /* there was no memory for it */
	config->routes[0] = (struct route_rule){ .pool = 0, .policy = policy };
	build->routes[0] = (struct config_references){ NULL, NULL, NULL, NULL };
	config->routes_n = 1;
	config->route_implied = true;
}

/* Sections whose name was complained about, as a second of its name, are not alternatives. */
static size_t named_pools(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->pools_n; i++)
		n += config->pools[i].name[0] != '?';
	return n;
}

static void check_existence(struct config_build *build)
{
	const struct config *config = build->config;
	size_t pools = named_pools(config);

	if (config->listeners_n == 0)
		config_error(build->report, whole_file, "listener",
		             "there is none: listener NAME { bind = \"0.0.0.0:21\" }");
	if (config->pools_n == 0)
		config_error(build->report, whole_file, "pool",
		             "there is none: pool NAME { server NAME { address = \"...\" } }");
	check_pools(build);
	if (config->routes_n > 0 || config->pools_n == 0)
		return;
	if (pools <= 1)
		imply_route(build);
	else
		config_error(build->report, whole_file, "route",
		             "there is none, but there are %zu pools: route { pool = %s }", pools,
		             config->pools[0].name);
}

/* --- what is of no use ----------------------------------------------------------- */

static bool has_string(char *const *strings, const char *wanted)
{
	for (; *strings != NULL; strings++) {
		if (strcmp(*strings, wanted) == 0)
			return true;
	}
	return false;
}

/* Is what `later` asks of a text at least what `earlier` does? NULL asks nothing. */
static bool strings_cover(char *const *earlier, char *const *later)
{
	if (earlier == NULL)
		return true;
	if (later == NULL)
		return false;
	for (; *later != NULL; later++) {
		if (!has_string(earlier, *later))
			return false;
	}
	return true;
}

static bool users_cover(char *const *earlier, char *const *later)
{
	return strings_cover(earlier, later) || has_string(earlier, "*");
}

static bool network_is_within(const struct netblock *inner, const struct netblock *outer)
{
	return inner->bits >= outer->bits && netblock_contains(outer, &inner->base);
}

static bool sources_cover(const struct route_rule *earlier, const struct route_rule *later)
{
	for (size_t i = 0; i < later->sources_n; i++) {
		bool covered = false;

		for (size_t j = 0; j < earlier->sources_n && !covered; j++)
			covered = network_is_within(&later->sources[i], &earlier->sources[j]);
		if (!covered)
			return false;
	}
	return earlier->sources_n == 0 || later->sources_n > 0;
}

static bool same_window(const struct route_window *a, const struct route_window *b)
{
	return a->days == b->days && a->from == b->from && a->to == b->to;
}

/* As given; there are too few of them to be clever about. */
static bool times_cover(const struct route_rule *earlier, const struct route_rule *later)
{
	if (earlier->times_n == 0)
		return true;
	if (earlier->times_n != later->times_n)
		return false;
	for (size_t i = 0; i < later->times_n; i++) {
		if (!same_window(&earlier->times[i], &later->times[i]))
			return false;
	}
	return true;
}

static bool rule_covers(const struct route_rule *earlier, const struct route_rule *later)
{
	return strings_cover(earlier->listeners, later->listeners) &&
	       sources_cover(earlier, later) && strings_cover(earlier->hosts, later->hosts) &&
	       strings_cover(earlier->certificates, later->certificates) &&
	       times_cover(earlier, later) && users_cover(earlier->users, later->users) &&
	       (earlier->map == NULL || (later->map != NULL && strcmp(earlier->map->file, later->map->file) == 0));
}

static void check_reachable(struct config_build *build, size_t later)
{
	const struct config *config = build->config;
	struct config_position at = config_build_place(build, SECTION_ROUTE, later);

	for (size_t i = 0; i < later; i++) {
		if (!rule_covers(&config->routes[i], &config->routes[later]))
			continue;
		config_warning(
		    build->report, at, "route",
		    "never matches: all that it is about goes to the route in %s",
		    config_place(build->report, config_build_place(build, SECTION_ROUTE, i), at)
			.text);
		return;
	}
}

static bool listener_has_route(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->routes_n; i++) {
		if (config->routes[i].listeners == NULL ||
		    has_string(config->routes[i].listeners, name))
			return true;
	}
	return false;
}

static bool map_leads_to(const struct user_map *map, size_t pool)
{
	for (size_t i = 0; map != NULL && i < map->n; i++) {
		if (map->entries[i].pool == pool)
			return true;
	}
	return false;
}

static bool is_pool_used(const struct config *config, size_t pool)
{
	for (size_t i = 0; i < config->routes_n; i++) {
		if (config->routes[i].reject)
			continue;
		if (config->routes[i].pool == pool || map_leads_to(config->routes[i].map, pool))
			return true;
	}
	return false;
}

static bool is_policy_used(const struct config *config, size_t policy)
{
	for (size_t i = 0; i < config->routes_n; i++) {
		if (!config->routes[i].reject && config->routes[i].policy == policy)
			return true;
	}
	return strcmp(config->policies[policy].name, CONFIG_DEFAULT_POLICY) == 0;
}

static void warn_unused(struct config_build *build, enum config_section_id id, size_t i,
                        const char *name, const char *what)
{
	config_warning(build->report, config_build_place(build, id, i),
	               config_section_label(id, name).text, "%s", what);
}

/* early_connect was asked for and switched off again: see config_build_all(). */
static void check_early(struct config_build *build, size_t i)
{
	const struct config_key *key = config_key_find(SECTION_POOL, "early_connect");
	struct cfg_t *section = config_tree_section(build->tree.root, SECTION_POOL, i);
	const struct pool_config *pool = &build->config->pools[i];
	const struct server_config *server = NULL;
	const char *reason;
	struct config_why why;
	bool wanted = false;

	if (config_tree_values_n(section, key) == 0 || pool->early_connect ||
	    config_value_parse(key->kind, &key->range, config_tree_value(section, key, 0), &wanted,
	                       NULL, &why) != CONFIG_PARSED)
		return;
	reason = wanted ? config_why_not_early(pool, &server) : NULL;
	if (reason != NULL)
		config_warning(build->report,
		               config_build_value_place(build, SECTION_POOL, i, key->name, 0),
		               key->name, "has no effect: %s%s%s%s", server != NULL ? "server " : "",
		               server != NULL ? server->name : "", server != NULL ? " " : "", reason);
}

static void check_use(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->routes_n; i++)
		check_reachable(build, i);
	for (size_t i = 0; i < config->listeners_n; i++) {
		if (!listener_has_route(config, config->listeners[i].name))
			warn_unused(build, SECTION_LISTENER, i, config->listeners[i].name,
			            "no route is about it: all logons are refused");
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		check_early(build, i);
		if (!is_pool_used(config, i))
			warn_unused(build, SECTION_POOL, i, config->pools[i].name,
			            "no route leads to it");
	}
	for (size_t i = 0; i < config->policies_n; i++) {
		if (!is_policy_used(config, i))
			warn_unused(build, SECTION_POLICY, i, config->policies[i].name,
			            "no route uses it");
	}
}

/* --- the log ---------------------------------------------------------------------- */

static void check_log(struct config_build *build)
{
	const struct log_config *log = &build->config->log;
	struct config_position at = config_build_value_place(build, SECTION_LOG, 0, "file", 0);
	const char *slash = strrchr(log->file, '/');
	struct stat st;
	char *directory;

	if (log->file[0] == '\0' && !log->syslog)
		config_warning(build->report, at, "log",
		               "neither file nor syslog: events are lost");
	if (slash == NULL || slash == log->file)
		return;
	directory = config_copy_n(log->file, (size_t)(slash - log->file));
	if (directory == NULL)
		build->report->no_memory = true;
	else if (stat(directory, &st) != 0)
		config_warning(build->report, at, "file", "\"%s\": %s",
		               config_quote(directory).text, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		config_warning(build->report, at, "file", "\"%s\" is not a directory",
		               config_quote(directory).text);
	free(directory);
}

void config_check_all(struct config_build *build)
{
	check_existence(build);
	for (size_t i = 0; i < build->config->routes_n && !build->config->route_implied; i++)
		resolve_route(build, i);
	check_log(build);
	config_check_net(build);
	config_check_policies(build);
	config_check_proxy(build);
	config_check_health(build);
	config_check_names(build);
	config_check_tls(build);
	config_check_secrets(build);
	/* Of what use things are can be said only when they are right. */
	if (config_report_is_clean(build->report))
		check_use(build);
	if (config_report_is_clean(build->report))
		config_expand_names(build);
}

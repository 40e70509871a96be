// SPDX-License-Identifier: ISC
/*
 * From libconfuse's texts to the values of a snapshot, section by section,
 * through the table of keys.
 */
#include "sallyport/config_build.h"
#include "sallyport/config_credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool config_build_has(const struct config_build *build, enum config_section_id id, size_t i, const char *key)
{
	return config_tree_values_n(config_tree_section(build->tree.root, id, i), config_key_find(id, key)) > 0;
}

/* --- places and names for messages --------------------------------------------- */

struct config_position config_build_place(const struct config_build *build,
                                          enum config_section_id id, size_t i)
{
	struct cfg_t *section = config_tree_section(build->tree.root, id, i);

	return section != NULL ? config_tree_section_place(&build->tree, section)
	                       : (struct config_position){ 0, 0 };
}

struct config_position config_build_value_place(const struct config_build *build,
                                                enum config_section_id id, size_t i,
                                                const char *key, size_t value)
{
	struct cfg_t *section = config_tree_section(build->tree.root, id, i);

	return config_tree_value_place(&build->tree, section, config_key_find(id, key), value);
}

struct config_position config_build_server_place(const struct config_build *build, size_t pool,
                                                 size_t server, const char *key)
{
	struct cfg_t *section = config_tree_section(build->tree.root, SECTION_POOL, pool);

	section = config_tree_section(section, SECTION_SERVER, server);
	return config_tree_value_place(&build->tree, section, config_key_find(SECTION_SERVER, key),
	                               0);
}

const char *config_build_label(const struct config_build *build, enum config_section_id id,
                               const char *key)
{
	const struct config_key *row = config_key_find(id, key);

	return build->command_line && row->option != NULL ? row->option : row->name;
}

struct config_label config_section_label(enum config_section_id id, const char *name)
{
	struct config_label label;

	snprintf(label.text, sizeof(label.text), "%.20s %.40s", config_section_row(id)->name, name);
	return label;
}

/* --- values ---------------------------------------------------------------------- */

static size_t strings_n(char *const *strings)
{
	size_t n = 0;

	while (strings != NULL && strings[n] != NULL)
		n++;
	return n;
}

/* Parses one text into the key's field of `structure`. */
static enum config_parsed parse_into(const struct config_key *key, const char *text,
                                     void *structure, struct config_why *why)
{
	char *field = (char *)structure + key->offset;
	size_t n;

	if (config_kind_is_strings(key->kind)) {
		n = strings_n(*(char ***)(void *)field);
		return config_value_parse(key->kind, &key->range, text, field, &n, why);
	}
	if (config_kind_is_list(key->kind))
		return config_value_parse(key->kind, &key->range, text, field,
		                          (size_t *)(void *)((char *)structure + key->count_offset),
		                          why);
	return config_value_parse(key->kind, &key->range, text, field, NULL, why);
}

static void build_default(struct config_build *build, const struct config_key *key, void *structure)
{
	struct config_why why;
	enum config_parsed result;

	if (key->fallback == NULL)
		return;
	result = parse_into(key, key->fallback, structure, &why);
	SP_ASSERT(result != CONFIG_WRONG);
	if (result == CONFIG_NO_MEMORY)
		build->report->no_memory = true;
}

static void build_key(struct config_build *build, const struct config_key *key,
                      struct cfg_t *section, void *structure)
{
	size_t n = section != NULL ? config_tree_values_n(section, key) : 0;

	if (n == 0)
		build_default(build, key, structure);
	for (size_t i = 0; i < n; i++) {
		const char *text = config_tree_value(section, key, i);
		struct config_why why;

		switch (parse_into(key, text, structure, &why)) {
		case CONFIG_PARSED:
			break;
		case CONFIG_WRONG:
			config_error(
			    build->report, config_tree_value_place(&build->tree, section, key, i),
			    build->command_line && key->option != NULL ? key->option : key->name,
			    "\"%s\" %s", config_quote(text).text, why.text);
			build_default(build, key, structure);
			break;
		case CONFIG_NO_MEMORY:
			build->report->no_memory = true;
			break;
		}
	}
}

/* `section` may be NULL: everything at its default. */
static void build_section(struct config_build *build, enum config_section_id id,
                          struct cfg_t *section, void *structure)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		if (config_keys[i].section == id)
			build_key(build, &config_keys[i], section, structure);
	}
}

/* --- sections -------------------------------------------------------------------- */

/* An array for n structs of `size`; *n becomes 0 when there is no memory. */
static void *make_array(struct config_build *build, size_t *n, size_t size)
{
	void *array = calloc(*n > 0 ? *n : 1, size);

	if (array == NULL) {
		build->report->no_memory = true;
		*n = 0;
	}
	return array;
}

static void build_certificates(struct config_build *build, struct listener_tls *tls,
                               struct cfg_t *section)
{
	tls->more_n = config_tree_sections_n(section, SECTION_CERTIFICATE);
	tls->more = make_array(build, &tls->more_n, sizeof(*tls->more));
	for (size_t i = 0; i < tls->more_n; i++) {
		struct cfg_t *more = config_tree_section(section, SECTION_CERTIFICATE, i);

		sp_copy(tls->more[i].name, NAME_MAX_LEN, config_tree_name(more));
		build_section(build, SECTION_CERTIFICATE, more, &tls->more[i]);
	}
}

static void build_listeners(struct config_build *build)
{
	struct config *config = build->config;

	config->listeners_n = config_tree_sections_n(build->tree.root, SECTION_LISTENER);
	config->listeners = make_array(build, &config->listeners_n, sizeof(*config->listeners));
	for (size_t i = 0; i < config->listeners_n; i++) {
		struct cfg_t *section = config_tree_section(build->tree.root, SECTION_LISTENER, i);

		sp_copy(config->listeners[i].name, NAME_MAX_LEN, config_tree_name(section));
		build_section(build, SECTION_LISTENER, section, &config->listeners[i]);
		build_certificates(build, &config->listeners[i].tls, section);
	}
}

static void build_servers(struct config_build *build, struct pool_config *pool,
                          struct cfg_t *section)
{
	pool->servers_n = config_tree_sections_n(section, SECTION_SERVER);
	pool->servers = make_array(build, &pool->servers_n, sizeof(*pool->servers));
	pool->named_n = pool->servers_n;
	for (size_t i = 0; i < pool->servers_n; i++) {
		struct cfg_t *server = config_tree_section(section, SECTION_SERVER, i);

		sp_copy(pool->servers[i].name, NAME_MAX_LEN, config_tree_name(server));
		pool->servers[i].lead = i;
		build_section(build, SECTION_SERVER, server, &pool->servers[i]);
	}
}

static void build_pools(struct config_build *build)
{
	struct config *config = build->config;

	config->pools_n = config_tree_sections_n(build->tree.root, SECTION_POOL);
	config->pools = make_array(build, &config->pools_n, sizeof(*config->pools));
	for (size_t i = 0; i < config->pools_n; i++) {
		struct cfg_t *section = config_tree_section(build->tree.root, SECTION_POOL, i);

		sp_copy(config->pools[i].name, NAME_MAX_LEN, config_tree_name(section));
		build_section(build, SECTION_POOL, section, &config->pools[i]);
		build_section(build, SECTION_HEALTH, config_tree_section(section, SECTION_HEALTH, 0),
		              &config->pools[i]);
		build_servers(build, &config->pools[i], section);
	}
}

/* There always is a policy "default": behind the others when it is not configured. */
static void build_policies(struct config_build *build)
{
	struct config *config = build->config;
	size_t n = config_tree_sections_n(build->tree.root, SECTION_POLICY);
	size_t room = n + 1;
	bool has_default = false;

	config->policies = make_array(build, &room, sizeof(*config->policies));
	if (room == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct cfg_t *section = config_tree_section(build->tree.root, SECTION_POLICY, i);
		struct policy *policy = &config->policies[i];

		sp_copy(policy->name, NAME_MAX_LEN, config_tree_name(section));
		has_default = has_default || strcmp(policy->name, CONFIG_DEFAULT_POLICY) == 0;
		build_section(build, SECTION_POLICY, section, policy);
	}
	config->policies_n = n;
	if (has_default)
		return;
	config->policies_n++;
	sp_copy(config->policies[n].name, NAME_MAX_LEN, CONFIG_DEFAULT_POLICY);
	build_section(build, SECTION_POLICY, NULL, &config->policies[n]);
}

static void build_routes(struct config_build *build)
{
	struct config *config = build->config;
	size_t n = config_tree_sections_n(build->tree.root, SECTION_ROUTE);
	size_t room = n + 1; /* for the implied one */

	config->routes = make_array(build, &room, sizeof(*config->routes));
	build->routes = make_array(build, &room, sizeof(*build->routes));
	if (config->routes == NULL || build->routes == NULL)
		return;
	config->routes_n = n;
	for (size_t i = 0; i < n; i++) {
		struct cfg_t *section = config_tree_section(build->tree.root, SECTION_ROUTE, i);
		struct config_route route = { .pool = NULL };

		build_section(build, SECTION_ROUTE, section, &route);
		config->routes[i] = route.rule;
		build->routes[i] = (struct config_references){ route.pool, route.policy, route.user_map,
			                               route.credentials };
	}
}

/*
 * A client that has not said who it is must not take a place that others wait
 * for; and USER and AUTH must not find the wrong server, or the wrong way to it.
 */
const char *config_why_not_early(const struct pool_config *pool, const struct server_config **server)
{
	if (pool->balance == BALANCE_HASH_USER)
		return "the user decides which server it is";
	for (size_t i = 0; i < pool->servers_n; i++) {
		if (server != NULL)
			*server = &pool->servers[i];
		if (pool->servers[i].max_sessions != 0)
			return "has max_sessions";
		if (pool->servers[i].tls.mode == SERVER_TLS_CLIENT)
			return "is as the client comes, with TLS or without";
	}
	return NULL;
}

/* What follows from the rest: the policy before a route is known, and whether the time matters. */
static void derive(struct config *config)
{
	const struct policy *policy = NULL;

	for (size_t i = 0; i < config->policies_n; i++) {
		if (strcmp(config->policies[i].name, CONFIG_DEFAULT_POLICY) == 0)
			policy = &config->policies[i];
	}
	for (size_t i = 0; i < config->listeners_n; i++)
		config->listeners[i].policy = policy;
	for (size_t i = 0; i < config->pools_n; i++)
		config->pools[i].early_connect &= config_why_not_early(&config->pools[i], NULL) == NULL;
	for (size_t i = 0; i < config->routes_n; i++)
		config->routes_use_time |= config->routes[i].times_n > 0;
}

void config_build_all(struct config_build *build)
{
	struct config *config = build->config;
	struct cfg_t *root = build->tree.root;

	build_section(build, SECTION_ROOT, root, config);
	build_section(build, SECTION_ADMIN, config_tree_section(root, SECTION_ADMIN, 0),
	              &config->admin);
	build_section(build, SECTION_LOG, config_tree_section(root, SECTION_LOG, 0), &config->log);
	build_listeners(build);
	build_pools(build);
	build_policies(build);
	build_routes(build);
	derive(config);
}

void config_build_fini(struct config_build *build)
{
	size_t n = build->config != NULL ? build->config->routes_n : 0;

	for (size_t i = 0; i < n && build->routes != NULL; i++) {
		free(build->routes[i].pool);
		free(build->routes[i].policy);
		free(build->routes[i].user_map);
		free(build->routes[i].credentials);
	}
	free(build->routes);
	build->routes = NULL;
	config_tree_fini(&build->tree);
}

/* --- releasing -------------------------------------------------------------------- */

static void free_strings(char **strings)
{
	for (size_t i = 0; strings != NULL && strings[i] != NULL; i++)
		free(strings[i]);
	free(strings);
}

static void free_pools(struct config *config)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			if (config->pools[i].servers[j].nth > 0)
				continue; /* a copy owns nothing */
			free(config->pools[i].servers[j].host);
			config_tls_free_server(&config->pools[i].servers[j].tls);
		}
		free(config->pools[i].servers);
		config_health_free(&config->pools[i].health);
	}
	free(config->pools);
}

static void free_announced(struct listener_config *listener)
{
	for (size_t i = 0; i < listener->passive_address_for_n; i++)
		free(listener->passive_address_for[i].name.host);
	free(listener->passive_address_for);
	free(listener->passive_name.host);
}

void config_free(struct config **config_p)
{
	struct config *config = *config_p;

	*config_p = NULL;
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->listeners_n; i++) {
		free(config->listeners[i].doors);
		free(config->listeners[i].binds);
		free(config->listeners[i].greeting);
		free(config->listeners[i].proxy_trusted);
		free(config->listeners[i].proxy_data_trusted);
		free(config->listeners[i].passive_from);
		free_announced(&config->listeners[i]);
		config_tls_free_listener(&config->listeners[i].tls);
	}
	free(config->listeners);
	free_pools(config);
	for (size_t i = 0; i < config->policies_n; i++) {
		config_secrets_free_policy(&config->policies[i]);
		free_strings(config->policies[i].deny_commands);
		free_strings(config->policies[i].allow_commands);
	}
	free(config->policies);
	for (size_t i = 0; i < config->routes_n; i++) {
		free_strings(config->routes[i].listeners);
		free_strings(config->routes[i].hosts);
		free_strings(config->routes[i].certificates);
		free_strings(config->routes[i].users);
		free(config->routes[i].sources);
		free(config->routes[i].times);
		config_user_map_free(&config->routes[i].map);
		credentials_free(&config->routes[i].credentials);
	}
	free(config->routes);
	free(config->dns_servers);
	config_secrets_free(config);
	free(config->admin.socket);
	free(config->log.file);
	free(config->log.syslog_facility);
	free(config->file);
	free(config);
}

// SPDX-License-Identifier: ISC
/*
 * Servers that are all addresses of a name (`resolve = all` and `srv`): what is wrong
 * with them, and their copies, one for each address that the name may have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_build.h"
#include "sallyport/services.h"

#define NUMBER_LEN 3 /* of a copy: "/16" */
#define FTP_PORT   21

/* Servers that it stands for. */
static size_t width(const struct server_config *server)
{
	return server->resolve != RESOLVE_FIRST ? server->max_addresses : 1;
}

static size_t pool_width(const struct pool_config *pool)
{
	size_t n = 0;

	for (size_t j = 0; j < pool->named_n; j++)
		n += width(&pool->servers[j]);
	return n;
}

static void check_service(struct config_build *build, struct config_position at,
			  const struct server_config *server)
{
	if (server->port != FTP_PORT)
		config_error(build->report, at, "resolve",
			     "with srv the port is in the answer, and \"%s:%u\" has one of its own", server->host,
			     (unsigned)server->port);
	if (sizeof(SERVICE_PREFIX) + strlen(server->host) > SERVICE_HOST_MAX)
		config_error(build->report, at, "resolve", "the name is too long for " SERVICE_PREFIX " before it");
}

static void check_server(struct config_build *build, size_t i, size_t j)
{
	const struct server_config *server = &build->config->pools[i].servers[j];
	struct config_position at = config_build_server_place(build, i, j, "resolve");

	if (server->resolve == RESOLVE_FIRST || server->host == NULL)
		return;
	if (server->address.family != AF_UNSPEC)
		config_error(build->report, at, "resolve", "%s is for a name, and \"%s\" is an address",
			     server->resolve == RESOLVE_ALL ? "all" : "srv", server->host);
	else if (server->resolve == RESOLVE_SERVICE)
		check_service(build, at, server);
	if (strlen(server->name) + NUMBER_LEN >= sizeof(server->name))
		config_error(build->report, at, "resolve",
			     "the name of the server is too long for a number behind it (at most %zu characters)",
			     sizeof(server->name) - NUMBER_LEN - 1);
}

static void check_pool(struct config_build *build, size_t i)
{
	const struct pool_config *pool = &build->config->pools[i];
	size_t n = pool_width(pool);

	for (size_t j = 0; j < pool->named_n; j++)
		check_server(build, i, j);
	if (n > POOL_SERVERS_MAX && pool->named_n <= POOL_SERVERS_MAX)
		config_error(build->report, config_build_place(build, SECTION_POOL, i),
			     config_section_label(SECTION_POOL, pool->name).text,
			     "with all max_addresses there are %zu servers (at most %d)", n, POOL_SERVERS_MAX);
}

void config_check_names(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->pools_n; i++)
		check_pool(build, i);
	if (config->dns_ttl_min_ms > config->dns_ttl_max_ms)
		config_error(build->report,
			     config_tree_value_place(&build->tree, build->tree.root,
						     config_key_find(SECTION_ROOT, "dns_ttl_min"), 0),
			     "dns_ttl_min", "it is more than dns_ttl_max");
}

static void add_copies(struct pool_config *pool, size_t lead)
{
	const struct server_config *original = &pool->servers[lead];
	char name[NAME_MAX_LEN + 16];

	for (unsigned nth = 1; nth < width(original); nth++) {
		struct server_config *copy = &pool->servers[pool->servers_n++];

		*copy = *original;
		copy->nth = nth;
		snprintf(name, sizeof(name), "%s/%u", original->name, nth + 1);
		(void)sp_copy(copy->name, sizeof(copy->name), name);
	}
}

void config_expand_names(struct config_build *build)
{
	for (size_t i = 0; i < build->config->pools_n; i++) {
		struct pool_config *pool = &build->config->pools[i];
		size_t n = pool_width(pool);
		struct server_config *grown;

		if (n == pool->named_n)
			continue;
		grown = realloc(pool->servers, n * sizeof(*grown));
		if (grown == NULL) {
			build->report->no_memory = true;
			return;
		}
		pool->servers = grown;
		for (size_t j = 0; j < pool->named_n; j++)
			add_copies(pool, j);
	}
}

// SPDX-License-Identifier: ISC
/*
 * Looking up the names of a configuration that is only checked: all at the same
 * time, on a loop of its own that runs until the last one is answered.
 */
#include "sallyport/runtime_names.h"

#include <stdlib.h>
#include <string.h>

#include "sallyport/resolver.h"
#include "sallyport/service_lookup.h"

/* The error of a name that is still being asked for. */
static const char waiting[] = "there was no answer";

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct announced_name *name = owner;

	name->error = n > 0 || error == NULL ? "it has no IPv4 address" : error;
	for (size_t i = 0; i < n; i++) {
		if (addresses[i].family == AF_INET) {
			name->now = addresses[i];
			name->error = NULL;
			return;
		}
	}
}

static void on_server_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct server_config *server = owner;
	struct server_addresses *found = &server->addresses;
	struct netaddr usable[RESOLVER_ADDRESSES_MAX];

	memcpy(usable, addresses, n * sizeof(usable[0]));
	found->n = addresses_prefer(server->address_family, usable, n);
	for (size_t i = 0; i < found->n; i++)
		found->now[i] = (struct named_address){ .address = usable[i] };
	found->error = found->n > 0 ? NULL : error != NULL ? error : "it has no address that may be used";
}

static void on_service_found(void *owner, const struct service_found *service, const char *error)
{
	struct server_config *server = owner;
	struct server_addresses *found = &server->addresses;

	found->n = service->n < SP_ARRAY_LEN(found->now) ? service->n : SP_ARRAY_LEN(found->now);
	memcpy(found->now, service->addresses, found->n * sizeof(found->now[0]));
	found->not_offered = service->not_offered;
	found->error = error;
}

/* Its handle, to be freed; NULL: none was needed, or there was no memory. */
static struct service_lookup *ask_service(struct resolver *resolver, struct server_config *server)
{
	struct service_lookup *lookup = NULL;

	if (server->resolve != RESOLVE_SERVICE)
		return NULL;
	server->addresses.error = waiting;
	if (resolver != NULL)
		lookup = service_lookup_new(resolver, server->host, server->address_family, on_service_found, server);
	if (lookup == NULL)
		server->addresses.error = "out of memory";
	else
		service_lookup_ask(lookup);
	return lookup;
}

static void ask_server(struct resolver *resolver, struct server_config *server)
{
	if (server->address.family != AF_UNSPEC || server->resolve != RESOLVE_ALL)
		return;
	server->addresses.error = waiting;
	if (resolver == NULL ||
	    resolver_lookup(resolver, server->host, server->port, on_server_looked_up, server) == NULL)
		server->addresses.error = "out of memory";
}

static void ask(struct resolver *resolver, struct announced_name *name)
{
	if (name->host == NULL)
		return;
	name->error = waiting;
	if (resolver == NULL || resolver_lookup(resolver, name->host, 0, on_looked_up, name) == NULL)
		name->error = "out of memory";
}

static void for_each_name(struct resolver *resolver, struct config *config,
			  void (*act)(struct resolver *resolver, struct announced_name *name))
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		struct listener_config *listener = &config->listeners[i];

		act(resolver, &listener->passive_name);
		for (size_t k = 0; k < listener->passive_address_for_n; k++)
			act(resolver, &listener->passive_address_for[k].name);
	}
}

static size_t count_servers(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->pools_n; i++)
		n += config->pools[i].named_n;
	return n;
}

static bool is_waiting_for_servers(const struct config *config)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].named_n; j++) {
			if (config->pools[i].servers[j].addresses.error == waiting)
				return true;
		}
	}
	return false;
}

static bool is_waiting(const struct config *config)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		if (listener->passive_name.error == waiting)
			return true;
		for (size_t k = 0; k < listener->passive_address_for_n; k++) {
			if (listener->passive_address_for[k].name.error == waiting)
				return true;
		}
	}
	return is_waiting_for_servers(config);
}

void runtime_names_look_up(struct config *config)
{
	struct event_base *base = event_base_new();
	struct resolver *resolver = base != NULL ? resolver_new(base) : NULL;
	struct service_lookup **services = calloc(count_servers(config) + 1, sizeof(struct service_lookup *));
	size_t services_n = 0;

	if (resolver != NULL &&
	    resolver_use_servers(resolver, config->dns_servers, config->dns_servers_n) != 0)
		resolver_free(&resolver);
	if (services == NULL && resolver != NULL)
		resolver_free(&resolver);
	for_each_name(resolver, config, ask);
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].named_n; j++) {
			struct service_lookup *lookup = ask_service(resolver, &config->pools[i].servers[j]);

			ask_server(resolver, &config->pools[i].servers[j]);
			if (lookup != NULL)
				services[services_n++] = lookup;
		}
	}
	while (is_waiting(config) && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	while (services_n > 0)
		service_lookup_free(&services[--services_n]);
	free(services);
	if (resolver != NULL)
		resolver_free(&resolver);
	if (base != NULL)
		event_base_free(base);
}

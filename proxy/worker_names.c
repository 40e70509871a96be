// SPDX-License-Identifier: ISC
/*
 * The names that clients are told the addresses of: a look at each, for the log.
 */
#include "sallyport/worker_names.h"

#include <stdlib.h>

struct look {
	struct worker_names *names;
	const struct listener_config *listener;
	const char *host;
	struct resolver_query *query;
};

struct worker_names {
	struct loop *loop;
	struct config *config; /* a reference: listeners and hosts are its */
	size_t n;
	struct look looks[];
};

static size_t count(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->listeners_n; i++)
		n += 1 + config->listeners[i].passive_address_for_n;
	return n;
}

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct look *look = owner;
	size_t i = 0;

	resolver_forget(&look->query);
	while (i < n && addresses[i].family != AF_INET)
		i++;
	if (i == n)
		log_write(look->names->loop->events, LEVEL_WARNING,
			  "listener %s: %s cannot be looked up (%s): PASV is refused until it can be",
			  look->listener->name, look->host,
			  n > 0 || error == NULL ? "it has no IPv4 address" : error);
}

static void look_at(struct worker_names *names, const struct listener_config *listener,
		    const struct announced_name *name)
{
	struct look *look = &names->looks[names->n];

	if (name->host == NULL)
		return;
	*look = (struct look){ .names = names, .listener = listener, .host = name->host };
	look->query = resolver_lookup(names->loop->resolver, name->host, 0, on_looked_up, look);
	if (look->query != NULL)
		names->n++;
}

struct worker_names *worker_names_look(struct loop *loop)
{
	struct config *config = loop->config;
	struct worker_names *names =
		malloc(sizeof(*names) + count(config) * sizeof(names->looks[0]));

	if (names == NULL)
		return NULL;
	*names = (struct worker_names){ .loop = loop, .config = config_ref(config) };
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		look_at(names, listener, &listener->passive_name);
		for (size_t k = 0; k < listener->passive_address_for_n; k++)
			look_at(names, listener, &listener->passive_address_for[k].name);
	}
	if (names->n == 0)
		worker_names_forget(&names);
	return names;
}

void worker_names_forget(struct worker_names **names)
{
	struct worker_names *n = *names;

	*names = NULL;
	if (n == NULL)
		return;
	for (size_t i = 0; i < n->n; i++)
		resolver_forget(&n->looks[i].query);
	config_unref(&n->config);
	free(n);
}

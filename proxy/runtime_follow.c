// SPDX-License-Identifier: ISC
/*
 * Following names. The resolver remembers answers for their TTL, so it is asked
 * at each tick, and asks the name servers only when an answer has run out. No
 * answer, and an answer without addresses, change nothing: the last good one
 * stays. Only a domain that says that it has no such service loses its servers. Waiters are offered what has come by the look at waiters, each second.
 */
#include "sallyport/runtime_follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/resolver.h"
#include "sallyport/service_lookup.h"

struct look {
	struct follower *follower;
	size_t pool;
	size_t server; /* the original; its copies are found by it */
	struct resolver_query *query;
	struct service_lookup *service; /* instead, for RESOLVE_SERVICE */
	unsigned unplaced;    /* told of */
	bool not_offered;     /* told of */
	int64_t not_before_ms; /* after a failure: as long as the resolver remembers it */
};

struct follower {
	struct event_queue *events;
	struct config *config;
	struct resolver *resolver;
	struct event *on_tick;
	struct look *looks;
	size_t looks_n;
};

static void emit(const struct look *look, enum event_kind kind, const char *text)
{
	const struct pool_config *pool = &look->follower->config->pools[look->pool];
	struct sp_event event;

	event_init(&event, kind);
	sp_copy(event.pool, sizeof(event.pool), pool->name);
	sp_copy(event.server_name, sizeof(event.server_name), pool->servers[look->server].name);
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(look->follower->events, &event);
}

static void failed(struct look *look, const char *error)
{
	const struct pool_config *pool = &look->follower->config->pools[look->pool];
	const struct server_config *server = &pool->servers[look->server];
	char text[160];

	look->not_before_ms = sp_now_ms() + RESOLVER_NEGATIVE_MS;
	if (pool_ledger_follow_failed(pool->ledger, pool->places[look->server]) > 1)
		return;
	snprintf(text, sizeof(text), "%.80s: %s", server->host, error);
	emit(look, EVENT_NAME_FAILED, text);
}

static size_t places_of(const struct pool_config *pool, size_t server, uint16_t places[POOL_ADDRESSES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < pool->servers_n && n < POOL_ADDRESSES_MAX; i++) {
		if (pool->servers[i].lead == server)
			places[n++] = pool->places[i];
	}
	return n;
}

static void tell_change(struct look *look, const struct addresses_change *change, size_t now_n, bool not_offered)
{
	const struct server_config *server = &look->follower->config->pools[look->pool].servers[look->server];
	bool news = change->unplaced != look->unplaced || not_offered != look->not_offered;
	char text[200];

	look->unplaced = change->unplaced;
	look->not_offered = not_offered;
	if (change->came == 0 && change->left == 0 && !news)
		return;
	snprintf(text, sizeof(text), "%.80s has %zu addresses: %u came, %u left", server->host, now_n, change->came,
		 change->left);
	if (change->unplaced > 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %u have no place (max_addresses)",
			 change->unplaced);
	if (not_offered)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " (it says that it has no such service)");
	emit(look, EVENT_NAME_CHANGED, text);
}

static struct addresses_change follow(const struct look *look, const struct named_address now[], size_t n)
{
	const struct pool_config *pool = &look->follower->config->pools[look->pool];
	uint16_t places[POOL_ADDRESSES_MAX];

	return pool_ledger_follow(pool->ledger, places, places_of(pool, look->server, places), now, n);
}

static void on_service_found(void *owner, const struct service_found *found, const char *error)
{
	struct look *look = owner;
	struct addresses_change change;

	if (error != NULL) {
		failed(look, error);
		return;
	}
	change = follow(look, found->addresses, found->n);
	change.unplaced += found->more;
	tell_change(look, &change, found->n, found->not_offered);
}

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct look *look = owner;
	const struct pool_config *pool = &look->follower->config->pools[look->pool];
	struct netaddr usable[RESOLVER_ADDRESSES_MAX];
	struct named_address now[RESOLVER_ADDRESSES_MAX];
	struct addresses_change change;

	look->query = NULL;
	memcpy(usable, addresses, n * sizeof(usable[0]));
	n = addresses_prefer(pool->servers[look->server].address_family, usable, n);
	if (n == 0 || error != NULL) {
		failed(look, error != NULL ? error : "it has no address that may be used");
		return;
	}
	for (size_t i = 0; i < n; i++)
		now[i] = (struct named_address){ .address = usable[i] };
	change = follow(look, now, n);
	tell_change(look, &change, n, false);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct follower *f = arg;
	int64_t now_ms = sp_now_ms();

	(void)fd;
	(void)what;
	for (size_t i = 0; i < f->looks_n; i++) {
		struct look *look = &f->looks[i];
		const struct server_config *server = &f->config->pools[look->pool].servers[look->server];

		if (look->query != NULL || now_ms < look->not_before_ms)
			continue;
		/* Without memory: at the next tick. */
		if (look->service != NULL)
			service_lookup_ask(look->service);
		else
			look->query = resolver_lookup(f->resolver, server->host, server->port, on_looked_up, look);
	}
}

static size_t count(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].named_n; j++)
			n += config->pools[i].servers[j].resolve != RESOLVE_FIRST;
	}
	return n;
}

static void forget_look(struct look *look)
{
	resolver_forget(&look->query);
	service_lookup_free(&look->service);
}

static void forget_looks(struct follower *f)
{
	for (size_t i = 0; i < f->looks_n; i++)
		forget_look(&f->looks[i]);
	free(f->looks);
	f->looks = NULL;
	f->looks_n = 0;
	config_unref(&f->config);
}

static bool make_look(struct follower *f, size_t pool, size_t server)
{
	const struct server_config *config = &f->config->pools[pool].servers[server];
	struct look *look = &f->looks[f->looks_n];

	*look = (struct look){ .follower = f, .pool = pool, .server = server };
	if (config->resolve == RESOLVE_SERVICE) {
		look->service = service_lookup_new(f->resolver, config->host, config->address_family,
						   on_service_found, look);
		if (look->service == NULL)
			return false;
	}
	f->looks_n++;
	return true;
}

static bool make_looks(struct follower *f, struct config *config)
{
	size_t n = count(config);

	f->config = config_ref(config);
	f->looks = n > 0 ? calloc(n, sizeof(*f->looks)) : NULL;
	if (n > 0 && f->looks == NULL)
		return false;
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].named_n; j++) {
			if (config->pools[i].servers[j].resolve != RESOLVE_FIRST && !make_look(f, i, j))
				return false;
		}
	}
	on_tick(-1, 0, f);
	return true;
}

struct follower *follower_new(struct event_base *base, struct event_queue *events, struct config *config)
{
	const struct timeval tick = { 0, FOLLOW_TICK_MS * 1000 };
	struct follower *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->events = events;
	f->resolver = resolver_new(base);
	f->on_tick = event_new(base, -1, EV_PERSIST, on_tick, f);
	if (f->resolver == NULL || f->on_tick == NULL ||
	    resolver_use_servers(f->resolver, config->dns_servers, config->dns_servers_n) != 0 ||
	    event_add(f->on_tick, &tick) != 0) {
		follower_free(&f);
		return NULL;
	}
	resolver_use_ttl(f->resolver, config->dns_ttl_min_ms, config->dns_ttl_max_ms);
	if (!make_looks(f, config))
		follower_free(&f);
	return f;
}

void follower_configure(struct follower *follower, struct config *config)
{
	if (follower == NULL)
		return;
	forget_looks(follower);
	if (!make_looks(follower, config))
		log_write(follower->events, LEVEL_ERROR, "out of memory: names of servers are not followed");
}

void follower_free(struct follower **follower)
{
	struct follower *f = *follower;

	*follower = NULL;
	if (f == NULL)
		return;
	if (f->config != NULL)
		forget_looks(f);
	if (f->on_tick != NULL)
		event_free(f->on_tick);
	if (f->resolver != NULL)
		resolver_free(&f->resolver);
	free(f);
}

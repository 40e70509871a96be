// SPDX-License-Identifier: ISC
/*
 * The registry of pooled ports: a hash of places by client address, in shards.
 * All places of an address are in one bucket, so that choosing a port is one
 * walk under one lock. It opens no sockets and knows no sessions but by id.
 */
#include "sallyport/port_registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "port_places.h"

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct spot spot_of(struct port_registry *registry, const struct netaddr *a)
{
	struct spot spot = { .host = { .family = a->family } };
	uint64_t hash;

	if (a->family == AF_INET6) {
		memcpy(&spot.host.high, &a->in6.sin6_addr.s6_addr[0], 8);
		memcpy(&spot.host.low, &a->in6.sin6_addr.s6_addr[8], 8);
	} else {
		spot.host.low = a->in.sin_addr.s_addr;
	}
	hash = mix(spot.host.low ^ mix(spot.host.high ^ mix(spot.host.family ^ registry->seed)));
	spot.shard = &registry->shard[hash % SHARDS];
	spot.bucket = &spot.shard->bucket[(hash / SHARDS) % BUCKETS];
	return spot;
}

struct port_registry *port_registry_new(uint64_t seed)
{
	struct port_registry *registry = calloc(1, sizeof(*registry));

	if (registry == NULL)
		return NULL;
	registry->seed = seed;
	atomic_init(&registry->next_number, 1);
	for (size_t i = 0; i < SHARDS; i++)
		core_lock_init(&registry->shard[i].lock);
	return registry;
}

void port_registry_free(struct port_registry **registryptr)
{
	struct port_registry *registry = *registryptr;

	*registryptr = NULL;
	if (registry == NULL)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		for (size_t k = 0; k < BUCKETS; k++) {
			struct place *next;

			for (struct place *p = registry->shard[i].bucket[k]; p != NULL; p = next) {
				next = p->next;
				free(p);
			}
		}
		core_lock_fini(&registry->shard[i].lock);
	}
	free(registry);
}

/* --- places, under their shard's lock -------------------------------------------------- */

static void rest_begins(struct port_registry *registry, struct shard *shard, struct place *place, int64_t now_ms)
	SP_REQUIRES(shard->lock, sp_any_shard)
{
	place->state = PLACE_RESTING;
	place->since_ms = now_ms;
	place->newer = NULL;
	place->older = shard->newest;
	if (shard->newest != NULL)
		shard->newest->newer = place;
	else
		shard->oldest = place;
	shard->newest = place;
	shard->rests++;
	atomic_fetch_add_explicit(&registry->resting, 1, memory_order_relaxed);
}

static void rest_ends(struct port_registry *registry, struct shard *shard, struct place *place)
	SP_REQUIRES(shard->lock, sp_any_shard)
{
	if (place->older != NULL)
		place->older->newer = place->newer;
	else
		shard->oldest = place->newer;
	if (place->newer != NULL)
		place->newer->older = place->older;
	else
		shard->newest = place->older;
	shard->rests--;
	atomic_fetch_sub_explicit(&registry->resting, 1, memory_order_relaxed);
}

static void unchain(struct place **bucket, struct place *place)
{
	while (*bucket != place)
		bucket = &(*bucket)->next;
	*bucket = place->next;
}

/* Forgets places that have rested long enough, or are too many. */
static void forget_rested(struct port_registry *registry, struct shard *shard, int64_t now_ms)
	SP_REQUIRES(shard->lock, sp_any_shard)
{
	struct place *place;

	while ((place = shard->oldest) != NULL &&
	       (shard->rests > RESTS_MAX || now_ms - place->since_ms >= PORT_REST_MS)) {
		/* Its bucket is not known from here; the hash is cheap. */
		struct netaddr a = { .family = (sa_family_t)place->host.family };

		if (a.family == AF_INET6) {
			memcpy(&a.in6.sin6_addr.s6_addr[0], &place->host.high, 8);
			memcpy(&a.in6.sin6_addr.s6_addr[8], &place->host.low, 8);
		} else {
			a.in.sin_addr.s_addr = (in_addr_t)place->host.low;
		}
		rest_ends(registry, shard, place);
		unchain(spot_of(registry, &a).bucket, place);
		free(place);
	}
}

static bool is_at(const struct place *place, const struct spot *spot, uint16_t port)
{
	return place->port == port && same_host(&place->host, &spot->host);
}

static struct place *find_resting(const struct spot *spot, uint16_t port)
{
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->state == PLACE_RESTING && is_at(p, spot, port))
			return p;
	}
	return NULL;
}

static struct place *find_number(const struct spot *spot, uint64_t number)
{
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->number == number)
			return p;
	}
	return NULL;
}

/* --- reserving ------------------------------------------------------------------------ */

/* One walk over the ports of a range. */
struct attempt {
	uint64_t number;
	uint64_t excluded;
	bool share;
};

static void note_most(struct port_registry *registry, uint64_t taken)
{
	unsigned most = atomic_load_explicit(&registry->most, memory_order_relaxed);
	unsigned n = 0;

	for (; taken != 0; taken &= taken - 1)
		n++;
	while (n > most && !atomic_compare_exchange_weak_explicit(&registry->most, &most, n, memory_order_relaxed,
								   memory_order_relaxed))
		;
}

/* From now on they get connections that name them, and no others. True: somebody has the port. */
static bool join_others(const struct spot *spot, uint16_t port)
{
	bool any = false;

	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->state == PLACE_RESTING || !is_at(p, spot, port))
			continue;
		any = true;
		if (p->state != PLACE_CLAIMED)
			p->named = true;
	}
	return any;
}

/* A place of `port` becomes the wisher's: a rested one, or *spare, which is used up then. */
static struct place *settle_in(struct port_registry *registry, const struct spot *spot, const struct port_wish *wish,
			       uint16_t port, struct place **spare)
	SP_REQUIRES(spot->shard->lock, sp_any_shard)
{
	bool shared = join_others(spot, port);
	struct place *place = shared ? NULL : find_resting(spot, port);
	bool rested = place != NULL;

	if (rested) {
		rest_ends(registry, spot->shard, place);
	} else {
		place = *spare;
		*spare = NULL;
		place->host = spot->host;
		place->port = port;
		place->next = *spot->bucket;
		*spot->bucket = place;
	}
	place->owner = wish->owner;
	place->epoch = 0;
	place->state = rested ? PLACE_HELD : PLACE_RESERVED;
	place->named = shared;
	place->names_n = wish->names_n;
	memcpy(place->names, wish->names, sizeof(place->names));
	return place;
}

/* One place of a reservation, and what has become of it. */
struct settled {
	uint16_t port; /* 0: there is none */
	bool rested;
	bool shared;
};

/*
 * Reserves at one address: a port that is not `excluded`, or `wanted` and no
 * other (0: any); with others if `share`. 0 or -ENOMEM.
 */
static int reserve_at(struct port_registry *registry, const struct netaddr *address, const struct port_wish *wish,
		      const struct attempt *attempt, uint16_t wanted, struct settled *out)
{
	struct spot spot = spot_of(registry, address);
	struct place *spare = calloc(1, sizeof(*spare));
	struct port_survey survey;

	*out = (struct settled){ 0 };
	if (spare == NULL)
		return -ENOMEM;
	core_lock_take(&spot.shard->lock, __func__);
	forget_rested(registry, spot.shard, wish->now_ms);
	port_choice_survey(&spot, wish, wanted == 0 ? attempt->excluded : 0, &survey);
	if (wanted == 0)
		out->port = port_choice_make(wish, &survey, attempt->share);
	else if (((survey.taken & ~(attempt->share ? survey.open : 0)) >> (wanted - wish->first) & 1) == 0)
		out->port = wanted;
	if (out->port != 0) {
		struct place *place = settle_in(registry, &spot, wish, out->port, &spare);

		place->number = attempt->number;
		out->rested = place->state == PLACE_HELD;
		out->shared = place->named;
		if (wanted == 0)
			note_most(registry, (survey.taken & ~attempt->excluded) |
						    UINT64_C(1) << (out->port - wish->first));
	}
	core_lock_drop(&spot.shard->lock);
	free(spare);
	return 0;
}

/* --- giving back -------------------------------------------------------------------------- */

/* Ends the place that the number has at that address: it rests, or is gone. True: its connection came by name. */
static bool vacate(struct port_registry *registry, const struct netaddr *address, uint64_t number, bool rests,
		   int64_t now_ms)
{
	struct spot spot = spot_of(registry, address);
	struct place *gone;
	bool by_name;

	core_lock_take(&spot.shard->lock, __func__);
	forget_rested(registry, spot.shard, now_ms);
	gone = find_number(&spot, number);
	SP_ASSERT(gone != NULL);
	gone->number = 0;
	gone->owner = SESSION_ID_NONE;
	by_name = gone->named && gone->state == PLACE_CLAIMED;
	if (rests && gone->state != PLACE_CLAIMED) {
		struct place *place = gone;

		/* One of the port is enough: the later one. */
		gone = find_resting(&spot, place->port);
		if (gone != NULL)
			rest_ends(registry, spot.shard, gone);
		rest_begins(registry, spot.shard, place, now_ms);
	}
	if (gone != NULL)
		unchain(spot.bucket, gone);
	core_lock_drop(&spot.shard->lock);
	free(gone);
	return by_name;
}

static bool is_claimed(struct port_registry *registry, const struct netaddr *address, uint64_t number)
{
	struct spot spot = spot_of(registry, address);
	const struct place *place;
	bool claimed;

	core_lock_take(&spot.shard->lock, __func__);
	place = find_number(&spot, number);
	claimed = place != NULL && place->state == PLACE_CLAIMED;
	core_lock_drop(&spot.shard->lock);
	return claimed;
}

bool port_registry_release(struct port_registry *registry, struct port_ticket *ticket, int64_t now_ms)
{
	bool rests = true;
	bool by_name = false;

	if (ticket->number == 0)
		return false;
	if (ticket->via.family != AF_UNSPEC) {
		rests = !is_claimed(registry, &ticket->via, ticket->number) &&
			!is_claimed(registry, &ticket->client, ticket->number);
		by_name = vacate(registry, &ticket->via, ticket->number, rests, now_ms);
	}
	by_name |= vacate(registry, &ticket->client, ticket->number, rests, now_ms);
	atomic_fetch_sub_explicit(&registry->by_port[ticket->port], 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&registry->reserved, 1, memory_order_relaxed);
	*ticket = (struct port_ticket){ 0 };
	return by_name;
}

/* --- reserving and opening -------------------------------------------------------------- */

/* Both addresses or none; one lock at a time, and so one after the other. 0, -EADDRINUSE or -ENOMEM. */
static int try_ports(struct port_registry *registry, const struct port_wish *wish, struct attempt *attempt,
		     struct settled *out)
{
	for (;;) {
		struct settled also;
		int result = reserve_at(registry, &wish->client, wish, attempt, 0, out);

		if (result != 0 || out->port == 0)
			return result != 0 ? result : -EADDRINUSE;
		if (wish->via.family == AF_UNSPEC)
			return 0;
		result = reserve_at(registry, &wish->via, wish, attempt, out->port, &also);
		if (result == 0 && also.port != 0) {
			out->rested |= also.rested;
			out->shared |= also.shared;
			return 0;
		}
		(void)vacate(registry, &wish->client, attempt->number, out->rested, wish->now_ms);
		if (result != 0)
			return result;
		attempt->excluded |= UINT64_C(1) << (out->port - wish->first);
	}
}

int port_registry_reserve(struct port_registry *registry, const struct port_wish *wish, struct port_ticket *out)
{
	struct attempt attempt = {
		.number = atomic_fetch_add_explicit(&registry->next_number, 1, memory_order_relaxed),
	};
	struct settled settled;
	int result;

	SP_ASSERT(wish->first > 0 && wish->first <= wish->last);
	SP_ASSERT(wish->last - wish->first < POOLED_PORTS_MAX && wish->names_n <= PORT_NAMES_MAX);
	result = try_ports(registry, wish, &attempt, &settled);
	if (result == -EADDRINUSE && wish->names_n > 0) {
		attempt.share = true;
		attempt.excluded = 0;
		result = try_ports(registry, wish, &attempt, &settled);
	}
	if (result != 0)
		return result;
	*out = (struct port_ticket){
		.number = attempt.number,
		.port = settled.port,
		.rested = settled.rested,
		.shared = settled.shared,
		.client = wish->client,
		.via = wish->via,
	};
	atomic_fetch_add_explicit(&registry->by_port[settled.port], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&registry->reserved, 1, memory_order_relaxed);
	return 0;
}

static bool unshare_at(struct port_registry *registry, const struct netaddr *address, uint64_t number)
{
	struct spot spot = spot_of(registry, address);
	struct place *place;
	bool alone;

	core_lock_take(&spot.shard->lock, __func__);
	place = find_number(&spot, number);
	SP_ASSERT(place != NULL);
	alone = !place->named;
	place->names_n = 0;
	core_lock_drop(&spot.shard->lock);
	return alone;
}

bool port_registry_unshare(struct port_registry *registry, const struct port_ticket *ticket)
{
	bool alone = unshare_at(registry, &ticket->client, ticket->number);

	if (ticket->via.family != AF_UNSPEC)
		alone &= unshare_at(registry, &ticket->via, ticket->number);
	return alone;
}

static void open_at(struct port_registry *registry, const struct netaddr *address, uint64_t number)
{
	struct spot spot = spot_of(registry, address);
	struct place *place;

	core_lock_take(&spot.shard->lock, __func__);
	place = find_number(&spot, number);
	SP_ASSERT(place != NULL);
	if (place->state == PLACE_HELD) {
		place->state = PLACE_RESERVED;
		place->epoch = atomic_fetch_add(&registry->epoch, 1) + 1;
	}
	core_lock_drop(&spot.shard->lock);
}

void port_registry_open(struct port_registry *registry, const struct port_ticket *ticket)
{
	open_at(registry, &ticket->client, ticket->number);
	if (ticket->via.family != AF_UNSPEC)
		open_at(registry, &ticket->via, ticket->number);
}

/* --- a connection has come --------------------------------------------------------------- */

uint64_t port_registry_epoch(const struct port_registry *registry)
{
	return atomic_load(&registry->epoch);
}

/* Who has a port of an address. */
struct crowd {
	struct place *waiting; /* one whose connection is not here */
	bool named;	       /* and who gets it by name only */
	bool any;	       /* others, too, or at rest */
};

static struct crowd look_around(const struct spot *spot, uint16_t port)
{
	struct crowd crowd = { NULL, false, false };

	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (!is_at(p, spot, port))
			continue;
		crowd.any = true;
		if (p->state == PLACE_CLAIMED || p->state == PLACE_RESTING)
			continue;
		crowd.waiting = p;
		crowd.named |= p->named;
	}
	return crowd;
}

static bool is_open_since(const struct place *place, uint64_t epoch)
{
	return place->state == PLACE_RESERVED && place->epoch <= epoch;
}

static enum port_claim judge(const struct crowd *crowd, uint64_t epoch)
{
	if (crowd->named)
		return PORT_SHARED;
	if (crowd->waiting == NULL)
		return crowd->any ? PORT_AMBIGUOUS : PORT_UNEXPECTED;
	return is_open_since(crowd->waiting, epoch) ? PORT_CLAIMED : PORT_AMBIGUOUS;
}

static void take(struct place *place, struct port_owner *out)
{
	place->state = PLACE_CLAIMED;
	*out = (struct port_owner){ place->owner, place->number };
}

enum port_claim port_registry_claim(struct port_registry *registry, uint16_t port, const struct netaddr *from,
				    uint64_t epoch, struct port_owner *out)
{
	struct spot spot = spot_of(registry, from);
	enum port_claim claim;
	struct crowd crowd;

	core_lock_take(&spot.shard->lock, __func__);
	crowd = look_around(&spot, port);
	claim = judge(&crowd, epoch);
	if (claim == PORT_CLAIMED)
		take(crowd.waiting, out);
	core_lock_drop(&spot.shard->lock);
	return claim;
}

/* Names are one's own among those who share a port. */
static struct place *find_named(const struct spot *spot, uint16_t port, const struct port_name *name)
{
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->state != PLACE_RESTING && p->named && is_at(p, spot, port) && has_name(p, name))
			return p;
	}
	return NULL;
}

enum port_claim port_registry_claim_named(struct port_registry *registry, uint16_t port, const struct netaddr *from,
					  uint64_t epoch, const struct port_name *name, struct port_owner *out)
{
	struct spot spot = spot_of(registry, from);
	enum port_claim claim = PORT_UNEXPECTED;
	struct place *place;

	core_lock_take(&spot.shard->lock, __func__);
	place = find_named(&spot, port, name);
	if (place != NULL)
		claim = is_open_since(place, epoch) ? PORT_CLAIMED : PORT_AMBIGUOUS;
	if (claim == PORT_CLAIMED)
		take(place, out);
	core_lock_drop(&spot.shard->lock);
	return claim;
}

/* --- figures -------------------------------------------------------------------------------- */

void port_registry_stats(const struct port_registry *registry, struct port_registry_stats *out)
{
	out->reserved = atomic_load_explicit(&registry->reserved, memory_order_relaxed);
	out->resting = atomic_load_explicit(&registry->resting, memory_order_relaxed);
	out->most = atomic_load_explicit(&registry->most, memory_order_relaxed);
}

uint64_t port_registry_reserved(const struct port_registry *registry, uint16_t first, uint16_t last)
{
	uint64_t sum = 0;

	for (unsigned port = first; port <= last; port++)
		sum += atomic_load_explicit(&registry->by_port[port], memory_order_relaxed);
	return sum;
}

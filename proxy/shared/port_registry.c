// SPDX-License-Identifier: ISC
/*
 * The registry of pooled ports: a hash of places by client address, in shards.
 * All places of an address are in one bucket, so that choosing a port is one
 * walk under one lock. It opens no sockets and knows no sessions but by id.
 */
#include "sallyport/port_registry.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS		16
#define BUCKETS		256  /* of a shard */
#define RESTS_MAX	1024 /* of a shard; the oldest go first */
#define PORTS		65536

/* An address without its port, so that equal ones are equal bytes. */
struct host {
	uint64_t high;
	uint64_t low;
	uint64_t family;
};

enum place_state {
	PLACE_HELD,	/* given out, not open yet */
	PLACE_RESERVED,
	PLACE_CLAIMED,	/* its connection is here */
	PLACE_RESTING,	/* nobody's */
};

struct place {
	struct place *next; /* in its bucket */
	struct place *older; /* among those that rest in the shard */
	struct place *newer;
	struct host host;
	uint64_t number;
	struct session_id owner;
	int64_t since_ms; /* it rests */
	uint64_t epoch;	  /* since when connections may be its own; 0: always */
	uint16_t port;
	enum place_state state;
};

struct shard {
	struct core_lock lock;
	struct place *bucket[BUCKETS];
	struct place *oldest; /* that rests */
	struct place *newest;
	size_t rests;
};

struct port_registry {
	uint64_t seed;
	_Atomic uint64_t next_number;
	_Atomic uint64_t epoch; /* grows with every place that opens */
	_Atomic uint64_t reserved;
	_Atomic uint64_t resting;
	_Atomic unsigned most;
	struct shard shard[SHARDS];
	_Atomic uint32_t by_port[PORTS]; /* reservations */
};

/* Where an address belongs. */
struct spot {
	struct host host;
	struct shard *shard;
	struct place **bucket;
};

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

static bool same_host(const struct host *a, const struct host *b)
{
	return a->high == b->high && a->low == b->low && a->family == b->family;
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

static struct place *find_port(const struct spot *spot, uint16_t port)
{
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->port == port && same_host(&p->host, &spot->host))
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

/* --- choosing a port -------------------------------------------------------------------- */

/* What an address has of the ports of a range. */
struct survey {
	uint64_t taken;	  /* bit i: port first + i */
	uint64_t resting;
	struct place *oldest_own; /* resting; the longest rested one comes first */
	struct place *oldest;
};

static bool is_own(const struct port_wish *wish, uint16_t port)
{
	return port % wish->workers == wish->worker;
}

static void note_resting(const struct port_wish *wish, struct place *place, struct survey *out)
{
	bool own = is_own(wish, place->port);
	struct place **at = own ? &out->oldest_own : &out->oldest;

	out->resting |= UINT64_C(1) << (place->port - wish->first);
	if (*at == NULL || place->since_ms < (*at)->since_ms)
		*at = place;
}

static void take_survey(const struct spot *spot, const struct port_wish *wish, uint64_t excluded,
			struct survey *out)
{
	*out = (struct survey){ .taken = excluded };
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		uint64_t bit;

		if (p->port < wish->first || p->port > wish->last || !same_host(&p->host, &spot->host))
			continue;
		bit = UINT64_C(1) << (p->port - wish->first);
		if (p->state != PLACE_RESTING)
			out->taken |= bit;
		else if ((excluded & bit) == 0)
			note_resting(wish, p, out);
	}
}

/* One of those that are neither taken nor at rest, of the worker's own or not; 0: none. */
static uint16_t draw(const struct port_wish *wish, const struct survey *survey, bool own)
{
	uint16_t candidates[POOLED_PORTS_MAX];
	unsigned n = 0;

	for (unsigned port = wish->first; port <= wish->last; port++) {
		uint64_t bit = UINT64_C(1) << (port - wish->first);

		if (((survey->taken | survey->resting) & bit) == 0 && is_own(wish, (uint16_t)port) == own)
			candidates[n++] = (uint16_t)port;
	}
	return n > 0 ? candidates[wish->random % n] : 0;
}

/* Fresh ones first; among them and among the rested ones, those whose connections arrive at this worker. */
static uint16_t choose(const struct port_wish *wish, const struct survey *survey)
{
	uint16_t port = draw(wish, survey, true);

	if (port == 0)
		port = draw(wish, survey, false);
	if (port == 0 && survey->oldest_own != NULL)
		port = survey->oldest_own->port;
	if (port == 0 && survey->oldest != NULL)
		port = survey->oldest->port;
	return port;
}

static void note_most(struct port_registry *registry, uint64_t taken)
{
	unsigned most = atomic_load_explicit(&registry->most, memory_order_relaxed);
	unsigned n = 1;

	for (; taken != 0; taken &= taken - 1)
		n++;
	while (n > most && !atomic_compare_exchange_weak_explicit(&registry->most, &most, n, memory_order_relaxed,
								   memory_order_relaxed))
		;
}

/* The place of `port` becomes the wisher's: a rested one, or *spare, which is used up then. */
static void settle_in(struct port_registry *registry, const struct spot *spot, const struct port_wish *wish,
		      uint64_t number, uint16_t port, struct place **spare, bool *rested)
	SP_REQUIRES(spot->shard->lock, sp_any_shard)
{
	struct place *place = find_port(spot, port);

	*rested = place != NULL;
	if (place != NULL) {
		rest_ends(registry, spot->shard, place);
	} else {
		place = *spare;
		*spare = NULL;
		place->host = spot->host;
		place->port = port;
		place->next = *spot->bucket;
		*spot->bucket = place;
	}
	place->number = number;
	place->owner = wish->owner;
	place->epoch = 0;
	place->state = *rested ? PLACE_HELD : PLACE_RESERVED;
}

/*
 * Reserves at one address: a port that is not `excluded`, or `wanted` and no
 * other (0: any). The port, 0 when there is none, or -ENOMEM.
 */
static int reserve_at(struct port_registry *registry, const struct netaddr *address, const struct port_wish *wish,
		      uint64_t number, uint64_t excluded, uint16_t wanted, bool *rested)
{
	struct spot spot = spot_of(registry, address);
	struct place *spare = calloc(1, sizeof(*spare));
	struct survey survey;
	uint16_t port;

	if (spare == NULL)
		return -ENOMEM;
	core_lock_take(&spot.shard->lock, __func__);
	forget_rested(registry, spot.shard, wish->now_ms);
	take_survey(&spot, wish, excluded, &survey);
	if (wanted == 0)
		port = choose(wish, &survey);
	else
		port = (survey.taken >> (wanted - wish->first) & 1) == 0 ? wanted : 0;
	if (port != 0) {
		settle_in(registry, &spot, wish, number, port, &spare, rested);
		if (wanted == 0)
			note_most(registry, survey.taken & ~excluded);
	}
	core_lock_drop(&spot.shard->lock);
	free(spare);
	return port;
}

/* --- giving back -------------------------------------------------------------------------- */

/* Ends the place that the number has at that address: it rests, or is gone. */
static void vacate(struct port_registry *registry, const struct netaddr *address, uint64_t number, bool rests,
		   int64_t now_ms)
{
	struct spot spot = spot_of(registry, address);
	struct place *place;

	core_lock_take(&spot.shard->lock, __func__);
	forget_rested(registry, spot.shard, now_ms);
	place = find_number(&spot, number);
	SP_ASSERT(place != NULL);
	place->number = 0;
	place->owner = SESSION_ID_NONE;
	if (rests && place->state != PLACE_CLAIMED) {
		rest_begins(registry, spot.shard, place, now_ms);
		place = NULL;
	} else {
		unchain(spot.bucket, place);
	}
	core_lock_drop(&spot.shard->lock);
	free(place);
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

void port_registry_release(struct port_registry *registry, struct port_ticket *ticket, int64_t now_ms)
{
	bool rests = true;

	if (ticket->number == 0)
		return;
	if (ticket->via.family != AF_UNSPEC) {
		rests = !is_claimed(registry, &ticket->via, ticket->number) &&
			!is_claimed(registry, &ticket->client, ticket->number);
		vacate(registry, &ticket->via, ticket->number, rests, now_ms);
	}
	vacate(registry, &ticket->client, ticket->number, rests, now_ms);
	atomic_fetch_sub_explicit(&registry->by_port[ticket->port], 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&registry->reserved, 1, memory_order_relaxed);
	*ticket = (struct port_ticket){ 0 };
}

/* --- reserving and opening -------------------------------------------------------------- */

int port_registry_reserve(struct port_registry *registry, const struct port_wish *wish, struct port_ticket *out)
{
	uint64_t number = atomic_fetch_add_explicit(&registry->next_number, 1, memory_order_relaxed);
	uint64_t excluded = 0;
	bool rested = false;
	bool via_rested = false;
	int port;

	SP_ASSERT(wish->first > 0 && wish->first <= wish->last);
	SP_ASSERT(wish->last - wish->first < POOLED_PORTS_MAX);
	for (;;) {
		int also;

		port = reserve_at(registry, &wish->client, wish, number, excluded, 0, &rested);
		if (port <= 0 || wish->via.family == AF_UNSPEC)
			break;
		/* Both addresses or none; one lock at a time, and so one after the other. */
		also = reserve_at(registry, &wish->via, wish, number, 0, (uint16_t)port, &via_rested);
		if (also > 0)
			break;
		vacate(registry, &wish->client, number, rested, wish->now_ms);
		if (also < 0)
			return also;
		excluded |= UINT64_C(1) << (port - wish->first);
	}
	if (port <= 0)
		return port < 0 ? port : -EADDRINUSE;
	*out = (struct port_ticket){
		.number = number,
		.port = (uint16_t)port,
		.rested = rested || via_rested,
		.client = wish->client,
		.via = wish->via,
	};
	atomic_fetch_add_explicit(&registry->by_port[port], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&registry->reserved, 1, memory_order_relaxed);
	return 0;
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

static enum port_claim judge(const struct place *place, uint64_t epoch)
{
	if (place == NULL)
		return PORT_UNEXPECTED;
	return place->state == PLACE_RESERVED && place->epoch <= epoch ? PORT_CLAIMED : PORT_AMBIGUOUS;
}

enum port_claim port_registry_claim(struct port_registry *registry, uint16_t port, const struct netaddr *from,
				    uint64_t epoch, struct port_owner *out)
{
	struct spot spot = spot_of(registry, from);
	enum port_claim claim;
	struct place *place;

	core_lock_take(&spot.shard->lock, __func__);
	place = find_port(&spot, port);
	claim = judge(place, epoch);
	if (claim == PORT_CLAIMED) {
		place->state = PLACE_CLAIMED;
		*out = (struct port_owner){ place->owner, place->number };
	}
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

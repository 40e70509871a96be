// SPDX-License-Identifier: ISC
/*
 * Resolver: what is known about names, and who waits to know.
 *
 *   unknown ──lookup──► asking ──answer──► fresh ──TTL──► stale ──lookup──► asking
 *
 * Each family keeps its own last good answer, so that a name server that fails
 * for one takes nothing away from the other. Waiters are never called from
 * within c-ares nor from within a lookup, but from an event of their own; so
 * they may look up, forget, and end sessions. Thread: the worker's.
 */
#include "sallyport/resolver.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/dns.h"

#define BUCKETS 128 /* a power of two */

enum { IPV4, IPV6, FAMILIES };

static const int families[FAMILIES] = { [IPV4] = AF_INET, [IPV6] = AF_INET6 };

TAILQ_HEAD(waiters, resolver_query);

/* One waiter. */
struct resolver_query {
	TAILQ_ENTRY(resolver_query) link;
	struct waiters *list; /* where it is linked; NULL while it is called */
	struct name *name;
	uint64_t round; /* of delivery */
	uint16_t port;
	resolver_done_fn *done;
	void *owner;
};

/* What one family said. */
struct family {
	bool open;          /* a query is under way */
	bool failed;        /* the last query found nobody who could say */
	const char *error;  /* of the last query; NULL: it was good */
	int64_t expires_at; /* of what it said, good or bad */
	size_t n;           /* last good answer */
	struct netaddr addresses[DNS_ADDRESSES_MAX];
};

struct name {
	LIST_ENTRY(name) hash_link;
	TAILQ_ENTRY(name) use_link; /* least recently used first */
	struct resolver *resolver;
	struct waiters waiting; /* for an answer */
	size_t called;          /* waiters that have it and wait for their call */
	struct family family[FAMILIES];
	struct event patience; /* answer with what there is */
	bool known;            /* there was an answer, good or bad */
	int64_t fresh_until;
	int64_t refresh_at; /* in use after this: ask again before it is needed */
	const char *error;
	size_t n;
	struct netaddr addresses[RESOLVER_ADDRESSES_MAX];
	char host[];
};

struct resolver {
	struct dns *dns;
	struct event_base *base;
	int64_t ttl_floor_ms;
	int64_t ttl_ceil_ms;
	struct event deliver;
	uint64_t round;
	bool delivering;
	struct waiters due;
	size_t n;
	TAILQ_HEAD(uses, name) uses;
	LIST_HEAD(bucket, name) buckets[BUCKETS];
};

/* --- order of addresses ---------------------------------------------------------- */

/* The address that the kernel would send from; false when there is no route. */
static bool source_address(const struct netaddr *to, struct netaddr *out)
{
	struct netaddr target = *to;
	socklen_t len = sizeof(*out);
	int fd = socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool found = false;

	if (fd == -1)
		return false;
	memset(out, 0, sizeof(*out));
	netaddr_set_port(&target, 1);
	/* Sends nothing: connect() of a datagram socket only chooses a route. */
	if (connect(fd, &target.sa, netaddr_len(&target)) == 0)
		found = getsockname(fd, &out->sa, &len) == 0;
	close(fd);
	return found;
}

/* Not a tunnel's, not a site's own: RFC 6724 section 2.1, the rows that come before IPv4. */
static bool is_native(const struct netaddr *a)
{
	const unsigned char *b = a->in6.sin6_addr.s6_addr;

	if (a->family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr))
		return true;
	if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 */
		return false;
	if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0) /* Teredo */
		return false;
	return (b[0] & 0xe0) == 0x20;
}

/*
 * RFC 6724 section 6 between the two families: rule 1 (avoid what has no
 * route), rules 2, 5 and 6 (IPv6 only from an address of the same kind). Within
 * a family c-ares has sorted.
 */
static bool ipv6_comes_first(const struct netaddr *v6, const struct netaddr *v4)
{
	struct netaddr from;

	if (!source_address(v6, &from))
		return false;
	if (is_native(v6) && is_native(&from))
		return true;
	return !source_address(v4, &from);
}

static void name_merge(struct name *name)
{
	const struct family *first = &name->family[IPV4];
	const struct family *second = &name->family[IPV6];

	if (first->n > 0 && second->n > 0 &&
	    ipv6_comes_first(&second->addresses[0], &first->addresses[0])) {
		first = &name->family[IPV6];
		second = &name->family[IPV4];
	}
	name->n = 0;
	for (size_t i = 0; i < DNS_ADDRESSES_MAX; i++) {
		if (i < first->n && name->n < RESOLVER_ADDRESSES_MAX)
			name->addresses[name->n++] = first->addresses[i];
		if (i < second->n && name->n < RESOLVER_ADDRESSES_MAX)
			name->addresses[name->n++] = second->addresses[i];
	}
}

/* --- names ------------------------------------------------------------------------- */

static unsigned char lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

static size_t bucket_of(const char *host)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *host != '\0'; host++)
		h = (h ^ lower(*host)) * 16777619u;
	return (h ^ (h >> 16)) & (BUCKETS - 1);
}

static bool name_is_open(const struct name *name)
{
	return name->family[IPV4].open || name->family[IPV6].open;
}

static bool name_is_idle(const struct name *name)
{
	return TAILQ_EMPTY(&name->waiting) && name->called == 0 && !name_is_open(name);
}

static void name_free(struct name *name)
{
	struct resolver *r = name->resolver;

	event_del(&name->patience);
	LIST_REMOVE(name, hash_link);
	TAILQ_REMOVE(&r->uses, name, use_link);
	r->n--;
	free(name);
}

/* Forgets the names not used for longest, of those that nobody waits for. */
static void resolver_make_room(struct resolver *r)
{
	struct name *name = TAILQ_FIRST(&r->uses);

	while (r->n >= RESOLVER_NAMES_MAX && name != NULL) {
		struct name *next = TAILQ_NEXT(name, use_link);

		if (name_is_idle(name))
			name_free(name);
		name = next;
	}
}

static void on_patience(evutil_socket_t fd, short what, void *arg);

static struct name *name_new(struct resolver *r, const char *host)
{
	size_t size = strlen(host) + 1;
	struct name *name = calloc(1, sizeof(*name) + size);

	if (name == NULL)
		return NULL;
	memcpy(name->host, host, size);
	name->resolver = r;
	TAILQ_INIT(&name->waiting);
	event_assign(&name->patience, r->base, -1, 0, on_patience, name);
	LIST_INSERT_HEAD(&r->buckets[bucket_of(host)], name, hash_link);
	TAILQ_INSERT_TAIL(&r->uses, name, use_link);
	r->n++;
	return name;
}

static struct name *resolver_find(struct resolver *r, const char *host)
{
	struct name *name;

	LIST_FOREACH (name, &r->buckets[bucket_of(host)], hash_link) {
		if (span_eq_nocase(span_of(name->host), span_of(host))) {
			TAILQ_REMOVE(&r->uses, name, use_link);
			TAILQ_INSERT_TAIL(&r->uses, name, use_link);
			return name;
		}
	}
	resolver_make_room(r);
	return name_new(r, host);
}

/* --- delivery ------------------------------------------------------------------------ */

static void waiter_due(struct resolver *r, struct resolver_query *q)
{
	q->list = &r->due;
	q->round = r->round;
	q->name->called++;
	TAILQ_INSERT_TAIL(&r->due, q, link);
	if (!r->delivering)
		event_active(&r->deliver, EV_TIMEOUT, 0);
}

/* All that it has is from before: nobody could say the last time. */
static bool name_is_stale(const struct name *name)
{
	for (int i = 0; i < FAMILIES; i++) {
		if (name->family[i].n > 0 && !name->family[i].failed)
			return false;
	}
	return true;
}

static void waiter_call(struct resolver_query *q)
{
	struct netaddr addresses[RESOLVER_ADDRESSES_MAX];
	const struct name *name = q->name;
	size_t n = name->n;

	for (size_t i = 0; i < n; i++) {
		addresses[i] = name->addresses[i];
		netaddr_set_port(&addresses[i], q->port);
	}
	q->done(q->owner, addresses, n, n > 0 && !name_is_stale(name) ? NULL : name->error);
}

/*
 * Calls those who were due when it began. Who looks a known name up again from
 * within his call is called in the loop's next turn: sockets go first.
 */
static void on_deliver(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	static const struct timeval next_turn = { 0, 0 };
	struct resolver *r = arg;
	uint64_t round = r->round++;
	struct resolver_query *q;

	r->delivering = true;
	while ((q = TAILQ_FIRST(&r->due)) != NULL && q->round <= round) {
		TAILQ_REMOVE(&r->due, q, link);
		q->list = NULL;
		waiter_call(q);
		q->name->called--;
		free(q);
	}
	r->delivering = false;
	if (!TAILQ_EMPTY(&r->due) && event_add(&r->deliver, &next_turn) == -1)
		event_active(&r->deliver, EV_TIMEOUT, 0);
}

/* --- asking ----------------------------------------------------------------------------- */

static void name_patience(struct name *name, int wait_ms)
{
	struct timeval wait = { .tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000 };

	/* If there is no memory for it the waiters wait for the whole answer. */
	(void)event_add(&name->patience, &wait);
}

static void name_set_times(struct name *name)
{
	int64_t now = sp_now_ms();
	int64_t again = now + RESOLVER_NEGATIVE_MS;
	int64_t until = CLOCK_NEVER;

	for (int i = 0; i < FAMILIES; i++) {
		const struct family *f = &name->family[i];

		if (f->n > 0)
			until = sp_min64(until, f->expires_at > now ? f->expires_at : again);
	}
	name->fresh_until = until == CLOCK_NEVER ? again : until;
	name->refresh_at = name->fresh_until;
	if (name->n > 0)
		name->refresh_at -= (name->fresh_until - now) / 4;
}

/* Nobody could say for one family: then "there is none" of the other is not the reason. */
static const char *name_error(const struct name *name)
{
	const struct family *v4 = &name->family[IPV4];
	const struct family *v6 = &name->family[IPV6];

	return v6->failed && !v4->failed ? v6->error : v4->error;
}

/* The families have said what there is to be said for now: all waiters get it. */
static void name_conclude(struct name *name)
{
	struct resolver_query *q;

	event_del(&name->patience);
	name_merge(name);
	name_set_times(name);
	name->error = name_error(name);
	name->known = true;
	while ((q = TAILQ_FIRST(&name->waiting)) != NULL) {
		TAILQ_REMOVE(&name->waiting, q, link);
		waiter_due(name->resolver, q);
	}
}

static void on_patience(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct name *name = arg;

	if (name->family[IPV4].n + name->family[IPV6].n > 0)
		name_conclude(name);
}

static void family_set(const struct resolver *r, struct family *f, const struct dns_answer *answer)
{
	int64_t keep_ms = RESOLVER_NEGATIVE_MS;

	f->open = false;
	f->failed = answer->status == DNS_FAILED;
	f->error = answer->error;
	if (answer->status == DNS_OK)
		keep_ms = resolver_keep_ms(r, answer->ttl_ms);
	f->expires_at = sp_now_ms() + keep_ms;
	if (f->failed)
		return; /* what was known stays */
	f->n = answer->n;
	memcpy(f->addresses, answer->addresses, answer->n * sizeof(answer->addresses[0]));
}

static void on_answer(void *owner, int family, const struct dns_answer *answer)
{
	struct name *name = owner;

	family_set(name->resolver, &name->family[family == AF_INET ? IPV4 : IPV6], answer);
	if (!name_is_open(name))
		name_conclude(name);
	else if (answer->n > 0)
		name_patience(name, RESOLVER_FAMILY_WAIT_MS);
}

/* What /etc/hosts says of a name stands for both families. */
static bool name_ask_hosts(struct name *name)
{
	struct dns *dns = name->resolver->dns;
	struct dns_answer answer[FAMILIES];
	bool found = false;

	for (int i = 0; i < FAMILIES; i++)
		found |= dns_hosts(dns, name->host, families[i], &answer[i]);
	if (!found || name_is_open(name))
		return false;
	for (int i = 0; i < FAMILIES; i++)
		family_set(name->resolver, &name->family[i], &answer[i]);
	name_conclude(name);
	return true;
}

/*
 * Asks for each family that is not being asked for. An answer may come before
 * this returns, hence both are marked before the first question.
 */
static void name_ask(struct name *name)
{
	bool ask[FAMILIES];

	if (name_ask_hosts(name))
		return;
	if (name->family[IPV4].n + name->family[IPV6].n > 0)
		name_patience(name, RESOLVER_STALE_WAIT_MS);
	for (int i = 0; i < FAMILIES; i++) {
		ask[i] = !name->family[i].open;
		name->family[i].open = true;
	}
	for (int i = 0; i < FAMILIES; i++) {
		if (ask[i])
			dns_query(name->resolver->dns, name->host, families[i], on_answer, name);
	}
}

struct resolver_query *resolver_lookup(struct resolver *resolver, const char *host, uint16_t port,
                                       resolver_done_fn *done, void *owner)
{
	int64_t now = sp_now_ms();
	struct resolver_query *q = malloc(sizeof(*q));
	struct name *name = q != NULL ? resolver_find(resolver, host) : NULL;

	if (name == NULL) {
		free(q);
		return NULL;
	}
	*q = (struct resolver_query){ .name = name, .port = port, .done = done, .owner = owner };

	if (name->known && now < name->fresh_until) {
		waiter_due(resolver, q);
		if (now >= name->refresh_at && !name_is_open(name))
			name_ask(name);
		return q;
	}

	bool first = TAILQ_EMPTY(&name->waiting);

	q->list = &name->waiting;
	TAILQ_INSERT_TAIL(&name->waiting, q, link);
	if (first)
		name_ask(name);
	return q;
}

void resolver_forget(struct resolver_query **query)
{
	struct resolver_query *q = *query;

	*query = NULL;
	if (q == NULL || q->list == NULL)
		return;
	if (q->list == &q->name->resolver->due)
		q->name->called--;
	TAILQ_REMOVE(q->list, q, link);
	free(q);
}

/* --- the whole ------------------------------------------------------------------------------ */

struct resolver *resolver_new(struct event_base *base)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->base = base;
	r->ttl_floor_ms = RESOLVER_TTL_FLOOR_MS;
	r->ttl_ceil_ms = RESOLVER_TTL_CEIL_MS;
	r->dns = dns_new(base);
	if (r->dns == NULL) {
		free(r);
		return NULL;
	}
	event_assign(&r->deliver, base, -1, 0, on_deliver, r);
	TAILQ_INIT(&r->due);
	TAILQ_INIT(&r->uses);
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&r->buckets[i]);
	return r;
}

static void waiters_free(struct waiters *waiters)
{
	struct resolver_query *q;

	while ((q = TAILQ_FIRST(waiters)) != NULL) {
		TAILQ_REMOVE(waiters, q, link);
		free(q);
	}
}

void resolver_free(struct resolver **resolver)
{
	struct resolver *r = *resolver;
	struct name *name;

	*resolver = NULL;
	if (r == NULL)
		return;
	SP_ASSERT(!r->delivering);
	dns_free(&r->dns);
	event_del(&r->deliver);
	waiters_free(&r->due);
	while ((name = TAILQ_FIRST(&r->uses)) != NULL) {
		waiters_free(&name->waiting);
		name_free(name);
	}
	free(r);
}

int resolver_set_servers(struct resolver *resolver, const char *servers)
{
	return dns_set_servers(resolver->dns, servers);
}

int resolver_use_servers(struct resolver *resolver, const struct netaddr servers[], size_t n)
{
	size_t size = n * (NETADDR_TEXT_MAX + 1);
	char *list = n > 0 ? malloc(size) : NULL;
	size_t used = 0;
	int result;

	if (n == 0)
		return 0;
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		char text[NETADDR_TEXT_MAX];

		if (i > 0)
			list[used++] = ',';
		(void)sp_copy(list + used, size - used, netaddr_format(&servers[i], text));
		used += strlen(list + used);
	}
	result = resolver_set_servers(resolver, list);
	free(list);
	return result;
}

void resolver_use_ttl(struct resolver *resolver, int64_t floor_ms, int64_t ceil_ms)
{
	SP_ASSERT(floor_ms > 0 && floor_ms <= ceil_ms);
	resolver->ttl_floor_ms = floor_ms;
	resolver->ttl_ceil_ms = ceil_ms;
}

int64_t resolver_keep_ms(const struct resolver *resolver, int64_t ttl_ms)
{
	return sp_max64(resolver->ttl_floor_ms, sp_min64(ttl_ms, resolver->ttl_ceil_ms));
}

struct dns *resolver_dns(struct resolver *resolver)
{
	return resolver->dns;
}

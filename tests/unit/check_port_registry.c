// SPDX-License-Identifier: ISC
/* port_registry: a port for one session of an address only; late connections are nobody's; from many threads too. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"
#include "sallyport/port_registry.h"

#define FIRST 50000

static struct port_registry *registry;

static void setup(void)
{
	registry = port_registry_new(42);
	ck_assert_ptr_nonnull(registry);
}

static void teardown(void)
{
	port_registry_free(&registry);
	ck_assert_ptr_null(registry);
}

static struct netaddr address(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(&a, span_of(text), 40000));
	return a;
}

static struct port_wish wish(uint64_t id, const char *client, uint16_t ports)
{
	return (struct port_wish){
		.owner = { id },
		.client = address(client),
		.first = FIRST,
		.last = (uint16_t)(FIRST + ports - 1),
		.workers = 1,
		.now_ms = 1000,
	};
}

static struct port_ticket reserve(const struct port_wish *w)
{
	struct port_ticket ticket = { 0 };

	ck_assert_int_eq(port_registry_reserve(registry, w, &ticket), 0);
	ck_assert_uint_ne(ticket.number, 0);
	ck_assert(ticket.port >= w->first && ticket.port <= w->last);
	return ticket;
}

static enum port_claim claim(uint16_t port, const char *from, struct port_owner *owner)
{
	struct netaddr a = address(from);

	return port_registry_claim(registry, port, &a, port_registry_epoch(registry), owner);
}

static struct port_registry_stats stats(void)
{
	struct port_registry_stats out;

	port_registry_stats(registry, &out);
	return out;
}

START_TEST(connection_is_that_of_the_session_with_its_address_and_port)
{
	struct port_wish a = wish(1, "192.0.2.1", 1);
	struct port_wish b = wish(2, "192.0.2.2", 1);
	struct port_wish c = wish(3, "2001:db8::1", 1);
	struct port_ticket ta = reserve(&a);
	struct port_ticket tb = reserve(&b);
	struct port_ticket tc = reserve(&c);
	struct port_owner owner;

	ck_assert_uint_eq(port_registry_reserved(registry, FIRST, FIRST), 3);
	ck_assert_uint_eq(port_registry_reserved(registry, FIRST + 1, UINT16_MAX), 0);
	ck_assert_int_eq(claim(FIRST, "192.0.2.3", &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim(FIRST + 1, "192.0.2.1", &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim(FIRST, "192.0.2.2", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 2);
	ck_assert_uint_eq(owner.number, tb.number);
	ck_assert_int_eq(claim(FIRST, "2001:db8::1", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 3);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 1);
	/* A second one is nobody's, until the first has been given back and after it. */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	port_registry_release(registry, &ta, 1000);
	port_registry_release(registry, &ta, 1000); /* zero by now */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_UNEXPECTED);
	port_registry_release(registry, &tb, 1000);
	port_registry_release(registry, &tc, 1000);
	ck_assert_uint_eq(stats().reserved, 0);
	ck_assert_uint_eq(stats().resting, 0);
}
END_TEST

START_TEST(sessions_of_one_address_have_different_ports_and_then_none)
{
	struct port_ticket tickets[POOLED_PORTS_MAX];
	uint64_t seen = 0;
	struct port_wish more = wish(99, "192.0.2.1", POOLED_PORTS_MAX);
	struct port_ticket none = { 0 };

	for (unsigned i = 0; i < POOLED_PORTS_MAX; i++) {
		struct port_wish w = wish(i + 1, "192.0.2.1", POOLED_PORTS_MAX);

		w.random = i * 0x9e3779b97f4a7c15u;
		tickets[i] = reserve(&w);
		seen |= UINT64_C(1) << (tickets[i].port - FIRST);
	}
	ck_assert_uint_eq(seen, UINT64_MAX);
	ck_assert_uint_eq(stats().most, POOLED_PORTS_MAX);
	ck_assert_int_eq(port_registry_reserve(registry, &more, &none), -EADDRINUSE);
	ck_assert_uint_eq(none.number, 0);
	for (unsigned i = 0; i < POOLED_PORTS_MAX; i++) {
		struct port_owner owner;

		ck_assert_int_eq(claim(tickets[i].port, "192.0.2.1", &owner), PORT_CLAIMED);
		ck_assert_uint_eq(owner.id.v, i + 1);
		port_registry_release(registry, &tickets[i], 1000);
	}
	ck_assert_uint_eq(stats().reserved, 0);
}
END_TEST

START_TEST(ports_of_the_own_worker_come_first)
{
	for (uint32_t worker = 0; worker < 4; worker++) {
		struct port_wish w = wish(worker + 1, "192.0.2.1", 8);
		struct port_ticket tickets[3];

		w.workers = 4;
		w.worker = worker;
		for (unsigned i = 0; i < 3; i++) {
			w.random = i * 0x9e3779b97f4a7c15u;
			tickets[i] = reserve(&w);
			/* Two of its own, and then another's rather than none. */
			ck_assert_int_eq(tickets[i].port % 4 == worker, i < 2);
		}
		for (unsigned i = 0; i < 3; i++) {
			struct port_owner owner;

			ck_assert_int_eq(claim(tickets[i].port, "192.0.2.1", &owner), PORT_CLAIMED);
			port_registry_release(registry, &tickets[i], 1000);
		}
	}
}
END_TEST

START_TEST(port_whose_connection_never_came_rests)
{
	struct port_wish w = wish(1, "192.0.2.1", 2);
	struct port_ticket ticket = reserve(&w);
	uint16_t rested = ticket.port;
	struct port_owner owner;

	port_registry_release(registry, &ticket, w.now_ms);
	ck_assert_uint_eq(stats().resting, 1);
	/* The late one is refused, however often. */
	ck_assert_int_eq(claim(rested, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	ck_assert_int_eq(claim(rested, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	for (unsigned i = 0; i < 20; i++) {
		w.random = i;
		ticket = reserve(&w);
		ck_assert_uint_ne(ticket.port, rested);
		ck_assert(!ticket.rested);
		ck_assert_int_eq(claim(ticket.port, "192.0.2.1", &owner), PORT_CLAIMED);
		port_registry_release(registry, &ticket, w.now_ms);
	}
	/* Another address does not mind. */
	w.client = address("192.0.2.2");
	w.first = w.last = rested;
	ticket = reserve(&w);
	ck_assert(!ticket.rested);
	ck_assert_int_eq(claim(rested, "192.0.2.2", &owner), PORT_CLAIMED);
	port_registry_release(registry, &ticket, w.now_ms);
	/* And the rest has an end. */
	w.client = address("192.0.2.1");
	w.now_ms += PORT_REST_MS;
	ticket = reserve(&w);
	ck_assert(!ticket.rested);
	ck_assert_uint_eq(stats().resting, 0);
	port_registry_release(registry, &ticket, w.now_ms);
}
END_TEST

START_TEST(rested_port_lets_in_only_what_is_accepted_since_it_is_open)
{
	struct port_wish w = wish(1, "192.0.2.1", 1);
	struct netaddr from = address("192.0.2.1");
	struct port_ticket ticket = reserve(&w);
	struct port_owner owner = { 0 };
	uint64_t before;

	port_registry_release(registry, &ticket, 1000);
	w.owner.v = 2;
	ticket = reserve(&w);
	ck_assert(ticket.rested);
	/* Not open yet: nobody gets in. */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	before = port_registry_epoch(registry);
	port_registry_open(registry, &ticket);
	/* Whoever had begun to accept by then has one that had come by then. */
	ck_assert_int_eq(port_registry_claim(registry, FIRST, &from, before, &owner), PORT_AMBIGUOUS);
	ck_assert_uint_eq(owner.number, 0);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 2);
	port_registry_release(registry, &ticket, 2020);
	ck_assert_uint_eq(stats().resting, 0);
	/* A fresh one does not mind: no other connection can have been on its way. */
	ticket = reserve(&w);
	ck_assert_int_eq(port_registry_claim(registry, FIRST, &from, before, &owner), PORT_CLAIMED);
	port_registry_release(registry, &ticket, 2020);
}
END_TEST

START_TEST(of_rested_ports_the_longest_rested_comes_first)
{
	struct port_wish w = wish(1, "192.0.2.1", 4);
	struct port_ticket tickets[4];
	uint16_t ports[4];

	for (int i = 0; i < 4; i++) {
		w.random = (uint64_t)i;
		tickets[i] = reserve(&w);
		ports[i] = tickets[i].port;
	}
	for (int i = 0; i < 4; i++)
		port_registry_release(registry, &tickets[i], w.now_ms = 2000 + i * 10);
	for (int i = 0; i < 4; i++) {
		struct port_ticket ticket = reserve(&w);

		ck_assert(ticket.rested);
		ck_assert_uint_eq(ticket.port, ports[i]);
	}
	ck_assert_uint_eq(stats().reserved, 4);
}
END_TEST

START_TEST(balancer_may_stand_in_for_the_client)
{
	struct port_wish w = wish(1, "192.0.2.1", 2);
	struct port_wish other = wish(2, "192.0.2.2", 2);
	struct port_wish third = wish(3, "192.0.2.3", 2);
	struct port_ticket ticket;
	struct port_ticket second;
	struct port_owner owner;

	w.via = other.via = third.via = address("198.51.100.1");
	ticket = reserve(&w);
	second = reserve(&other);
	ck_assert_uint_ne(ticket.port, second.port);
	/* The balancer has both ports by now; nothing of the third's attempt stays. */
	ck_assert_int_eq(port_registry_reserve(registry, &third, &(struct port_ticket){ 0 }), -EADDRINUSE);
	ck_assert_uint_eq(stats().reserved, 2);
	ck_assert_int_eq(claim(FIRST, "192.0.2.3", &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim(FIRST + 1, "192.0.2.3", &owner), PORT_UNEXPECTED);

	ck_assert_int_eq(claim(ticket.port, "198.51.100.1", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 1);
	ck_assert_int_eq(claim(second.port, "192.0.2.2", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 2);
	/* Its connection came, one way or the other: neither place rests. */
	port_registry_release(registry, &ticket, 1000);
	port_registry_release(registry, &second, 1000);
	ck_assert_uint_eq(stats().resting, 0);
	/* It did not: both do. */
	ticket = reserve(&w);
	port_registry_release(registry, &ticket, 1000);
	ck_assert_uint_eq(stats().resting, 2);
	ck_assert_uint_eq(stats().reserved, 0);
}
END_TEST

/* A session that can be told from others by these names. */
static struct port_wish named_wish(uint64_t id, uint16_t ports, uint64_t name, uint64_t also)
{
	struct port_wish w = wish(id, "192.0.2.1", ports);

	w.names_n = also != 0 ? 2 : 1;
	w.names[0] = (struct port_name){ PORT_NAME_TAG, 7, name };
	w.names[1] = (struct port_name){ PORT_NAME_NUMBER, 7, also };
	return w;
}

static enum port_claim claim_as(uint64_t kind, uint64_t name, struct port_owner *owner)
{
	const struct port_name said = { kind, 7, name };
	struct netaddr a = address("192.0.2.1");

	return port_registry_claim_named(registry, FIRST, &a, port_registry_epoch(registry), &said, owner);
}

START_TEST(sessions_with_names_share_a_port_and_each_gets_its_own)
{
	struct port_wish a = named_wish(1, 1, 101, 0);
	struct port_wish b = named_wish(2, 1, 102, 1002);
	struct port_wish c = named_wish(3, 1, 103, 0);
	struct port_ticket ta = reserve(&a);
	struct port_ticket tb = reserve(&b);
	struct port_ticket tc = reserve(&c);
	struct port_owner owner = { 0 };

	ck_assert(!ta.shared && tb.shared && tc.shared);
	ck_assert_uint_eq(port_registry_reserved(registry, FIRST, FIRST), 3);
	ck_assert_uint_eq(stats().most, 1);
	/* By the addresses alone it is nobody's. */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_SHARED);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 104, &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim_as(PORT_NAME_NUMBER, 102, &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim_as(PORT_NAME_NUMBER, 1002, &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 2);
	ck_assert_uint_eq(owner.number, tb.number);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 102, &owner), PORT_AMBIGUOUS); /* a second one */
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 1);
	ck_assert(port_registry_release(registry, &ta, 1000));
	ck_assert(port_registry_release(registry, &tb, 1000));
	/* Who is left is still known by its name only. */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_SHARED);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 103, &owner), PORT_CLAIMED);
	ck_assert(port_registry_release(registry, &tc, 1000));
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_UNEXPECTED);
	/* Alone again: by its address. */
	ta = reserve(&a);
	ck_assert(!ta.shared);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_CLAIMED);
	ck_assert(!port_registry_release(registry, &ta, 1000));
	ck_assert_uint_eq(stats().reserved, 0);
	ck_assert_uint_eq(stats().resting, 0);
}
END_TEST

START_TEST(port_is_shared_only_where_everybody_can_be_told_apart)
{
	struct port_wish a = named_wish(1, 1, 101, 0);
	struct port_wish plain = wish(2, "192.0.2.1", 1);
	struct port_wish same = named_wish(3, 1, 103, 0);
	struct port_wish other = named_wish(4, 1, 104, 0);
	struct port_ticket none = { 0 };
	struct port_ticket ta = reserve(&a);
	struct port_ticket tb;

	ck_assert_int_eq(port_registry_reserve(registry, &plain, &none), -EADDRINUSE);
	same.names[same.names_n++] = a.names[0];
	ck_assert_int_eq(port_registry_reserve(registry, &same, &none), -EADDRINUSE);
	/* From now on it is for a connection in clear. */
	ck_assert(port_registry_unshare(registry, &ta));
	ck_assert_int_eq(port_registry_reserve(registry, &other, &none), -EADDRINUSE);
	(void)port_registry_release(registry, &ta, 1000);

	tb = reserve(&other);
	ta = reserve(&a);
	ck_assert(!port_registry_unshare(registry, &ta));
	ck_assert(!port_registry_unshare(registry, &tb));
	(void)port_registry_release(registry, &ta, 1000);
	(void)port_registry_release(registry, &tb, 1000);
	ck_assert_uint_eq(none.number, 0);
	/* Who has it in clear has it for himself. */
	plain.now_ms = a.now_ms = 1000 + PORT_REST_MS;
	tb = reserve(&plain);
	ck_assert_int_eq(port_registry_reserve(registry, &a, &none), -EADDRINUSE);
	(void)port_registry_release(registry, &tb, 1000);
}
END_TEST

START_TEST(sharing_comes_last_and_is_spread)
{
	struct port_ticket tickets[12];
	unsigned sharers[4] = { 0 };

	for (unsigned i = 0; i < 12; i++) {
		struct port_wish w = named_wish(i + 1, 4, 100 + i, 0);

		w.random = i * 0x9e3779b97f4a7c15u;
		tickets[i] = reserve(&w);
		ck_assert_int_eq(tickets[i].shared, i >= 4);
		ck_assert_uint_eq(sharers[tickets[i].port - FIRST]++, i / 4);
	}
	for (unsigned i = 0; i < 12; i++)
		(void)port_registry_release(registry, &tickets[i], 1000);
	ck_assert_uint_eq(stats().resting, 4); /* one a port, however many have left it */
}
END_TEST

START_TEST(port_has_a_limit_of_sharers)
{
	struct port_ticket tickets[PORT_SHARERS_MAX];
	struct port_wish more = named_wish(999, 1, 999, 0);

	for (unsigned i = 0; i < PORT_SHARERS_MAX; i++) {
		struct port_wish w = named_wish(i + 1, 1, i + 1, 0);

		tickets[i] = reserve(&w);
	}
	ck_assert_int_eq(port_registry_reserve(registry, &more, &(struct port_ticket){ 0 }), -EADDRINUSE);
	for (unsigned i = 0; i < PORT_SHARERS_MAX; i++)
		(void)port_registry_release(registry, &tickets[i], 1000);
	ck_assert_uint_eq(stats().reserved, 0);
}
END_TEST

START_TEST(late_connection_of_a_shared_port_is_nobodys)
{
	struct port_wish a = named_wish(1, 1, 101, 0);
	struct port_wish b = named_wish(2, 1, 102, 0);
	struct port_wish plain = wish(3, "192.0.2.1", 1);
	struct port_ticket ta = reserve(&a);
	struct port_ticket tb = reserve(&b);
	struct port_ticket tc;
	struct port_owner owner = { 0 };
	struct netaddr from = address("192.0.2.1");
	const struct port_name as_a = { PORT_NAME_TAG, 7, 101 };
	uint64_t before = port_registry_epoch(registry);

	(void)port_registry_release(registry, &ta, 1000); /* its connection has not come */
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_UNEXPECTED);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 102, &owner), PORT_CLAIMED);
	(void)port_registry_release(registry, &tb, 1000);
	ck_assert_uint_eq(stats().resting, 1);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	/* The next one has it as one that rested; a's late one is not its own, nor is it a's once more. */
	tc = reserve(&plain);
	ck_assert(tc.rested && !tc.shared);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_AMBIGUOUS);
	port_registry_open(registry, &tc);
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_CLAIMED);
	(void)port_registry_release(registry, &tc, 1000);
	/* Shared while it is held: what had come before it was open is still not its own. */
	ta = reserve(&a);
	(void)port_registry_release(registry, &ta, 1000);
	ta = reserve(&a);
	ck_assert(ta.rested);
	tb = reserve(&b);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_AMBIGUOUS);
	port_registry_open(registry, &ta);
	ck_assert_int_eq(port_registry_claim_named(registry, FIRST, &from, before, &as_a, &owner), PORT_AMBIGUOUS);
	ck_assert_int_eq(claim_as(PORT_NAME_TAG, 101, &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 1);
	(void)port_registry_release(registry, &ta, 1000);
	(void)port_registry_release(registry, &tb, 1000);
}
END_TEST

START_TEST(behind_a_balancer_its_address_is_shared_as_well)
{
	struct port_wish a = named_wish(1, 1, 101, 0);
	struct port_wish b = named_wish(2, 1, 102, 0);
	struct port_wish plain = wish(3, "192.0.2.3", 1);
	struct netaddr via = address("198.51.100.1");
	const struct port_name as_b = { PORT_NAME_TAG, 7, 102 };
	struct port_owner owner = { 0 };
	struct port_ticket ta;
	struct port_ticket tb;

	a.via = b.via = plain.via = via;
	b.client = address("192.0.2.2");
	ta = reserve(&a);
	tb = reserve(&b);
	ck_assert(!ta.shared && tb.shared);
	ck_assert_int_eq(port_registry_reserve(registry, &plain, &(struct port_ticket){ 0 }), -EADDRINUSE);
	ck_assert_int_eq(claim(FIRST, "198.51.100.1", &owner), PORT_SHARED);
	ck_assert_int_eq(port_registry_claim_named(registry, FIRST, &via, 0, &as_b, &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 2);
	/* From its own address the other one is alone. */
	ck_assert_int_eq(claim(FIRST, "192.0.2.1", &owner), PORT_CLAIMED);
	ck_assert_uint_eq(owner.id.v, 1);
	ck_assert(!port_registry_release(registry, &ta, 1000));
	ck_assert(port_registry_release(registry, &tb, 1000));
	ck_assert_uint_eq(stats().resting, 0);
	ck_assert_uint_eq(stats().reserved, 0);
}
END_TEST

START_TEST(resting_places_have_a_limit)
{
	struct port_wish w = wish(1, "2001:db8::1", 1);

	for (uint32_t i = 0; i < 40000; i++) {
		struct port_ticket ticket;
		uint32_t n = htonl(i);

		memcpy(&w.client.in6.sin6_addr.s6_addr[4], &n, sizeof(n));
		ticket = reserve(&w);
		port_registry_release(registry, &ticket, w.now_ms);
	}
	ck_assert_uint_le(stats().resting, 16 * 1025);
	ck_assert_uint_ge(stats().resting, 1024);
}
END_TEST

START_TEST(without_memory_nothing_is_reserved)
{
	struct port_wish w = wish(1, "192.0.2.1", 1);
	struct port_ticket ticket = { 0 };

	w.via = address("198.51.100.1");
	for (unsigned n = 1; n <= 2; n++) {
		int result;

		alloc_fail_at(n);
		result = port_registry_reserve(registry, &w, &ticket);
		alloc_fail_at(0);
		ck_assert_int_eq(result, -ENOMEM);
		ck_assert_uint_eq(ticket.number, 0);
		ck_assert_uint_eq(stats().reserved, 0);
	}
	ticket = reserve(&w);
	port_registry_release(registry, &ticket, 1000);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS 4
#define TURNS	20000
#define SHARED	3 /* ports, for four threads of one address */

static _Atomic uint64_t holder[SHARED]; /* the session that has the port */
static _Atomic unsigned exhausted;
static _Atomic unsigned stolen;

static void use(const struct port_wish *w, struct port_ticket *ticket, unsigned turn)
{
	unsigned at = ticket->port - FIRST;
	struct port_owner owner = { 0 };
	uint64_t nobody = 0;

	ck_assert(atomic_compare_exchange_strong(&holder[at], &nobody, w->owner.v));
	if (ticket->rested)
		port_registry_open(registry, ticket);
	if (turn % 3 != 0) {
		enum port_claim claimed =
			port_registry_claim(registry, ticket->port, &w->client, port_registry_epoch(registry), &owner);

		ck_assert_int_eq(claimed, PORT_CLAIMED);
		if (owner.id.v != w->owner.v || owner.number != ticket->number)
			atomic_fetch_add(&stolen, 1);
	}
	atomic_store(&holder[at], 0);
}

static void *reserve_and_release(void *arg)
{
	struct port_wish w = wish((uint64_t)(uintptr_t)arg, "192.0.2.1", SHARED);

	w.workers = THREADS;
	w.worker = (uint32_t)(uintptr_t)arg - 1;
	for (unsigned i = 0; i < TURNS; i++) {
		struct port_ticket ticket;

		w.random = i * 0x9e3779b97f4a7c15u;
		w.now_ms = 1000 + i;
		if (port_registry_reserve(registry, &w, &ticket) != 0) {
			atomic_fetch_add(&exhausted, 1);
			continue;
		}
		use(&w, &ticket, i);
		port_registry_release(registry, &ticket, w.now_ms);
	}
	return NULL;
}

START_TEST(no_two_threads_have_the_same_port)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reserve_and_release, (void *)(i + 1)), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(stolen, 0);
	ck_assert_uint_lt(exhausted, THREADS * TURNS);
	ck_assert_uint_eq(stats().reserved, 0);
	ck_assert_uint_le(stats().most, SHARED);
	ck_assert_uint_eq(port_registry_reserved(registry, 1, UINT16_MAX), 0);
}
END_TEST

/* --- threads that share --------------------------------------------------------------------- */

static void *share_and_release(void *arg)
{
	uint64_t id = (uint64_t)(uintptr_t)arg;
	struct port_wish w = named_wish(id, 1, 100 + id, 0);

	for (unsigned i = 0; i < TURNS; i++) {
		struct port_owner owner = { 0 };
		struct port_ticket ticket = reserve(&w);
		enum port_claim claimed;
		bool by_name;

		if (ticket.rested)
			port_registry_open(registry, &ticket);
		/* Its connection: by its address while it is alone, and otherwise by its name. */
		claimed = claim(FIRST, "192.0.2.1", &owner);
		by_name = claimed == PORT_SHARED;
		if (by_name)
			claimed = claim_as(PORT_NAME_TAG, 100 + id, &owner);
		ck_assert_int_eq(claimed, PORT_CLAIMED);
		if (owner.id.v != id || owner.number != ticket.number)
			atomic_fetch_add(&stolen, 1);
		ck_assert_int_eq(port_registry_release(registry, &ticket, w.now_ms), by_name);
	}
	return NULL;
}

START_TEST(threads_that_share_a_port_get_their_own)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, share_and_release, (void *)(i + 1)), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(stolen, 0);
	ck_assert_uint_eq(stats().reserved, 0);
	ck_assert_uint_eq(stats().resting, 0);
	ck_assert_uint_eq(stats().most, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("port_registry");
	TCase *tcase = tcase_create("port_registry");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, connection_is_that_of_the_session_with_its_address_and_port);
	tcase_add_test(tcase, sessions_of_one_address_have_different_ports_and_then_none);
	tcase_add_test(tcase, ports_of_the_own_worker_come_first);
	tcase_add_test(tcase, port_whose_connection_never_came_rests);
	tcase_add_test(tcase, rested_port_lets_in_only_what_is_accepted_since_it_is_open);
	tcase_add_test(tcase, of_rested_ports_the_longest_rested_comes_first);
	tcase_add_test(tcase, balancer_may_stand_in_for_the_client);
	tcase_add_test(tcase, sessions_with_names_share_a_port_and_each_gets_its_own);
	tcase_add_test(tcase, port_is_shared_only_where_everybody_can_be_told_apart);
	tcase_add_test(tcase, sharing_comes_last_and_is_spread);
	tcase_add_test(tcase, port_has_a_limit_of_sharers);
	tcase_add_test(tcase, late_connection_of_a_shared_port_is_nobodys);
	tcase_add_test(tcase, behind_a_balancer_its_address_is_shared_as_well);
	tcase_add_test(tcase, threads_that_share_a_port_get_their_own);
	tcase_add_test(tcase, resting_places_have_a_limit);
	tcase_add_test(tcase, without_memory_nothing_is_reserved);
	tcase_add_test(tcase, no_two_threads_have_the_same_port);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

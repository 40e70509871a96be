// SPDX-License-Identifier: ISC
/*
 * The addresses of a name, as lists: which are used, who comes, who goes.
 */
#include "sallyport/addresses.h"

#include <string.h>

#include "sallyport/balance.h"

static size_t take_family(int family, const struct netaddr from[], size_t n, struct netaddr to[], size_t at)
{
	for (size_t i = 0; i < n; i++) {
		if (from[i].family == family)
			to[at++] = from[i];
	}
	return at;
}

/* In place: those of `family` to the front, in their order; returns how many there are. */
static size_t to_front(int family, struct netaddr addresses[], size_t n)
{
	size_t front = 0;

	for (size_t i = 0; i < n; i++) {
		struct netaddr address = addresses[i];

		if (address.family != family)
			continue;
		memmove(&addresses[front + 1], &addresses[front], (i - front) * sizeof(addresses[0]));
		addresses[front++] = address;
	}
	return front;
}

size_t addresses_prefer(enum address_family family, struct netaddr addresses[], size_t n)
{
	switch (family) {
	case ADDRESS_FAMILY_ANY:
		break;
	case ADDRESS_FAMILY_IPV4_FIRST:
		(void)to_front(AF_INET, addresses, n);
		break;
	case ADDRESS_FAMILY_IPV6_FIRST:
		(void)to_front(AF_INET6, addresses, n);
		break;
	case ADDRESS_FAMILY_IPV4:
		return take_family(AF_INET, addresses, n, addresses, 0);
	case ADDRESS_FAMILY_IPV6:
		return take_family(AF_INET6, addresses, n, addresses, 0);
	}
	return n;
}

bool addresses_are_same(const struct netaddr *a, const struct netaddr *b)
{
	return a->family == b->family && netaddr_port(a) == netaddr_port(b) && netaddr_same_host(a, b);
}

static bool is_among(const struct netaddr *address, const struct named_address list[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (addresses_are_same(address, &list[i].address))
			return true;
	}
	return false;
}

static struct address_place *find_place(struct address_place places[], size_t n, const struct netaddr *address)
{
	for (size_t i = 0; i < n; i++) {
		if (places[i].address.family == AF_UNSPEC ? address == NULL
							  : address != NULL && addresses_are_same(&places[i].address, address))
			return &places[i];
	}
	return NULL;
}

static void leave(struct address_place *place, struct addresses_change *change)
{
	change->left += !place->leaving;
	place->leaving = place->busy;
	if (!place->busy)
		memset(&place->address, 0, sizeof(place->address));
}

static void come(struct address_place places[], size_t n, const struct named_address *named,
		 struct addresses_change *change)
{
	struct address_place *place = find_place(places, n, &named->address);

	if (place != NULL) {
		change->came += place->leaving;
		place->leaving = false;
		place->weight = named->weight;
		place->backup = named->backup;
		return;
	}
	place = find_place(places, n, NULL);
	if (place == NULL) {
		change->unplaced++;
		return;
	}
	place->address = named->address;
	place->weight = named->weight;
	place->backup = named->backup;
	place->leaving = false;
	place->fresh = true;
	change->came++;
}

struct addresses_change addresses_follow(struct address_place places[], size_t n, const struct named_address now[],
					 size_t now_n)
{
	struct addresses_change change = { 0 };

	for (size_t i = 0; i < n; i++) {
		places[i].fresh = false;
		if (places[i].address.family != AF_UNSPEC && !is_among(&places[i].address, now, now_n))
			leave(&places[i], &change);
	}
	for (size_t i = 0; i < now_n; i++)
		come(places, n, &now[i], &change);
	return change;
}

uint64_t addresses_hash(const struct netaddr *address)
{
	uint16_t port = netaddr_port(address);
	struct span host = address->family == AF_INET6
			       ? span_from((const char *)&address->in6.sin6_addr, sizeof(address->in6.sin6_addr))
			       : span_from((const char *)&address->in.sin_addr, sizeof(address->in.sin_addr));

	return balance_hash(host) * 31 + balance_hash(span_from((const char *)&port, sizeof(port)));
}

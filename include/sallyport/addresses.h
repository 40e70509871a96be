// SPDX-License-Identifier: ISC
/*
 * The addresses of a name: in which order they are used, and how a fixed number
 * of places follows them as they come and go. Pure: nothing is kept here.
 */
#ifndef SALLYPORT_ADDRESSES_H
#define SALLYPORT_ADDRESSES_H

#include "sallyport/base.h"
#include "sallyport/netaddr.h"

/* Which families are used, and which is tried first. ANY: as RFC 6724 has it. */
enum address_family {
	ADDRESS_FAMILY_ANY,
	ADDRESS_FAMILY_IPV4_FIRST,
	ADDRESS_FAMILY_IPV6_FIRST,
	ADDRESS_FAMILY_IPV4,
	ADDRESS_FAMILY_IPV6,
};

/* Sorts (stable) and drops; returns how many are left. */
SP_MUSTCHECK size_t addresses_prefer(enum address_family family, struct netaddr addresses[], size_t n);

/* One that a name stands for. */
struct named_address {
	struct netaddr address;
	uint32_t weight; /* its share of the logons; 0: as configured */
	bool backup;	 /* used when no other server can be */
};

/* One address of a name that is a server of its own. */
struct address_place {
	struct netaddr address; /* AF_UNSPEC: vacant */
	uint32_t weight;	/* 0: as configured */
	bool backup;
	bool leaving;		/* the name does not stand for it any more; it is busy still */
	bool busy;		/* somebody is there: may leave, not be given to another address */
	bool fresh;		/* out: has been given this address now */
};

struct addresses_change {
	unsigned came;
	unsigned left;
	unsigned unplaced; /* for which there was no place */
};

/*
 * What the name stands for now. An address keeps its place; one that is gone
 * leaves it, at once or when it is not busy any more; one that is new gets a
 * vacant place, if there is one.
 */
struct addresses_change addresses_follow(struct address_place places[], size_t n, const struct named_address now[],
					 size_t now_n);

/* Host and port. */
SP_MUSTCHECK bool addresses_are_same(const struct netaddr *a, const struct netaddr *b);

/* 64 well-mixed bits of host and port. */
uint64_t addresses_hash(const struct netaddr *address);

#endif

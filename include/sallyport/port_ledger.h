// SPDX-License-Identifier: ISC
/*
 * The port ledger: which ports of a range are given out for passive data
 * connections, shared by all workers. A locked core: its mutex is a leaf.
 *
 * The port that has rested longest comes first, so that a connection of the
 * last user in TIME_WAIT does not meet the next one; but only nearly: each time
 * one of the longer rested half is drawn, so that nobody who sees some ports
 * can tell the next one (RFC 2577 section 8).
 *
 * A port is given out for as long as we listen on it, and not for as long as
 * the connection lasts that was made there: that one has the client's end of it
 * to itself, and another listener on the port does not disturb it.
 */
#ifndef SALLYPORT_PORT_LEDGER_H
#define SALLYPORT_PORT_LEDGER_H

#include "sallyport/base.h"
#include "sallyport/thread_safety.h"

struct port_ledger;

struct port_ledger_stats {
	unsigned size;	 /* ports of the range */
	unsigned in_use; /* at the moment */
	unsigned peak;	 /* most of them at once, so far */
};

/* Ports first..last, first > 0; `seed` shuffles their first order. NULL: no memory. Main. */
SP_MUSTCHECK struct port_ledger *port_ledger_new(uint16_t first, uint16_t last, uint64_t seed);
/* Ports that are given out may be; nobody may use the ledger any more. */
void port_ledger_free(struct port_ledger **ledger);

/* A port; `random` is unpredictable. 0: all are in use. Any thread. */
uint16_t port_ledger_take(struct port_ledger *ledger, uint64_t random) SP_EXCLUDES(sp_any_shard);
/* Gives back what was taken. Any thread. */
void port_ledger_give(struct port_ledger *ledger, uint16_t port) SP_EXCLUDES(sp_any_shard);

/* Takes no lock. Any thread. */
void port_ledger_stats(const struct port_ledger *ledger, struct port_ledger_stats *out);
void port_ledger_lock_stats(struct port_ledger *ledger, struct lock_stats *out);

#endif

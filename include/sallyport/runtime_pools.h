// SPDX-License-Identifier: ISC
/*
 * The pools and their ledgers. A ledger outlives the snapshots of the
 * configuration, by the pool's name: who is logged on where before a reload
 * still counts after it. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_POOLS_H
#define SALLYPORT_RUNTIME_POOLS_H

#include "sallyport/config.h"
#include "sallyport/mailbox.h"

struct memo;
struct named_ledger;

/* Zero is a valid start. */
struct runtime_pools {
	struct named_ledger *v;
	size_t n;
	struct memo *memo; /* what pools remember; NULL while none does */
};

/*
 * Gives each pool of `config` its ledger, states its servers there, and gives
 * those that remember something the memo. False: no memory.
 */
SP_MUSTCHECK bool runtime_pools_attach(struct runtime_pools *pools, struct config *config);
/* One that was attached does not come into force: the servers are those of the old one again. */
void runtime_pools_restate(const struct config *old);
/*
 * Tells the first of those who wait for a slot, as many as there are free slots,
 * once more: a message may have been lost, or a server have come up.
 */
void runtime_pools_offer(const struct runtime_pools *pools, struct mailbox *const mailboxes[]);
/* No worker may run any more. */
void runtime_pools_fini(struct runtime_pools *pools);

#endif

// SPDX-License-Identifier: ISC
/*
 * The ranges of passive ports and their ledgers. A range's ledger outlives the
 * snapshots of the configuration, by the listener's name: what was given out
 * before a reload stays given out. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_PORTS_H
#define SALLYPORT_RUNTIME_PORTS_H

#include "sallyport/config.h"

struct named_ports;

/* Zero is a valid start. */
struct runtime_ports {
	struct named_ports *v;
	size_t n;
};

/* Gives each listener of `config` that has a range its ledger. False: no memory. */
SP_MUSTCHECK bool runtime_ports_attach(struct runtime_ports *ports, struct config *config);
/* As unpredictable as the machine can give it without waiting. */
uint64_t runtime_ports_seed(void);
/* No worker may run any more. */
void runtime_ports_fini(struct runtime_ports *ports);

#endif

// SPDX-License-Identifier: ISC
/*
 * Gives free memory back to the system when a burst of TLS handshakes is over.
 * Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_MEMORY_H
#define SALLYPORT_RUNTIME_MEMORY_H

#include "sallyport/counters.h"

struct runtime_memory {
	uint64_t seen;	  /* handshakes, at the last turn */
	uint64_t trimmed; /* and when memory was given back */
	unsigned turns;	  /* while a burst goes on */
};

/* Once a second. */
void runtime_memory_turn(struct runtime_memory *memory, struct counters *const counters[], size_t n);

#endif

// SPDX-License-Identifier: ISC
/*
 * When the keys of session tickets change: by the clock (`ticket_rotation`), or
 * with the file that several nodes share (`ticket_keys`). The ring outlives the
 * snapshots of the configuration. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_TICKETS_H
#define SALLYPORT_RUNTIME_TICKETS_H

#include "sallyport/config.h"
#include "sallyport/ticket_ring.h"
#include "sallyport/tls_hello.h"

/* Zero is a valid start. */
struct runtime_tickets {
	struct ticket_ring *ring;
	struct tls_hello_reader *hellos; /* of data connections; with the keys of the ring */
	int64_t rotated_ms; /* when the newest key was drawn; 0: the keys are those of a file */
};

/* Gives the listeners of `config`, which is not in force yet, the ring. False: no memory, or no random numbers. */
SP_MUSTCHECK bool runtime_tickets_attach(struct runtime_tickets *tickets, struct config *config);

/* `config` is in force now: its keys are. False: no random numbers; the keys stay as they were. */
SP_MUSTCHECK bool runtime_tickets_take(struct runtime_tickets *tickets, const struct config *config);

/* Changes the key when it is time to. True: it did. */
bool runtime_tickets_turn(struct runtime_tickets *tickets, const struct config *config, int64_t now_ms);

/* No worker may run any more. */
void runtime_tickets_fini(struct runtime_tickets *tickets);

#endif

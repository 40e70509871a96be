// SPDX-License-Identifier: ISC
/*
 * The caretaker looks after the servers of all pools, for all workers at once:
 * it checks them, keeps connections ready, and ends the sessions of servers that
 * were taken out of service where that is wanted. What it finds goes into the
 * pools' ledgers. Main's thread.
 */
#ifndef SALLYPORT_CARETAKER_H
#define SALLYPORT_CARETAKER_H

#include <event2/event.h>

#include "sallyport/config.h"
#include "sallyport/event.h"
#include "sallyport/mailbox.h"
#include "sallyport/session_table.h"

/* How often it looks what is due. */
#define CARETAKER_TICK_MS 100

struct caretaker;

struct caretaker_sources {
	struct event_base *base;
	struct session_table *table;
	struct event_queue *events;
	struct mailbox *const *mailboxes; /* by worker number */
};

/* NULL: no memory, or no resolver. The pools of `config` have their ledgers. */
SP_MUSTCHECK struct caretaker *caretaker_new(const struct caretaker_sources *sources, struct config *config);

/* A new configuration is in force. NULL is fine. */
void caretaker_configure(struct caretaker *caretaker, struct config *config);

/* Ends what it has begun and closes what it keeps; before the ledgers go. */
void caretaker_free(struct caretaker **caretaker);

#endif

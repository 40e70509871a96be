// SPDX-License-Identifier: ISC
/*
 * A worker: a thread with its own event loop, its own listening sockets and
 * its own sessions. Others talk to it through its mailbox only.
 */
#ifndef SALLYPORT_WORKER_H
#define SALLYPORT_WORKER_H

#include "sallyport/counters.h"
#include "sallyport/event.h"
#include "sallyport/ledger.h"
#include "sallyport/mailbox.h"
#include "sallyport/session_table.h"

#define MAILBOX_CAPACITY 16384

struct config;
struct tls_hello_reader;
struct worker;

/*
 * The pointer of a MESSAGE_CONFIG: a new configuration and the listening
 * sockets for it (-1: keep the one of that address). Made by main with malloc
 * for each worker; the worker frees it and takes over what it holds.
 */
struct worker_update {
	struct config *config;
	size_t n;
	int fds[];
};

/* What all workers share; outlives them. */
struct worker_shared {
	struct session_table *table;
	struct event_queue *events;
	struct mailbox *const *mailboxes; /* by worker number */
	size_t workers;
	struct port_registry *registry;
	const struct tls_hello_reader *hellos;
};

/*
 * Makes worker `number` with a reference to `config` and the listening sockets
 * fds[0..n) (see listeners_start), which are its own from then on. Nothing
 * runs yet. NULL: no memory or no descriptor. Main.
 */
SP_MUSTCHECK struct worker *worker_new(uint32_t number, const struct worker_shared *shared,
				       struct counters *counters, struct config *config, const int fds[],
				       size_t n);

/* Starts its thread: 0 or -errno. */
SP_MUSTCHECK int worker_start(struct worker *worker);

/* Waits for its thread, which ends by MESSAGE_STOP or at the end of a drain, and frees it. */
void worker_join(struct worker **worker);

/* Frees one that was never started. */
void worker_discard(struct worker **worker);

/* Frees what a message that nobody will read holds. */
void worker_drop_message(struct message *message);

/* Whether its thread has left its loop. Any thread. */
bool worker_is_done(const struct worker *worker);

/* The ledger of its farewells; lives as long as the worker. */
const struct ledger *worker_farewells(const struct worker *worker);

#endif

// SPDX-License-Identifier: ISC
/*
 * The running process: everything that main makes in order, and takes down in
 * the opposite one. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_H
#define SALLYPORT_RUNTIME_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/config.h"

#define RUNTIME_ERROR_MAX 512

struct runtime;

/*
 * Starts serving: locks, tables, event hub, listening sockets, workers, reaper,
 * auditor, admin socket. Takes over the reference to `config`. NULL: `error`
 * says what could not be had, and nothing is left running.
 */
SP_MUSTCHECK struct runtime *runtime_start(struct event_base *base, struct config *config,
					   char error[RUNTIME_ERROR_MAX]);

/*
 * SIGHUP: opens the log file again, loads the configuration file again and, when
 * it is right, puts it in force for new sessions; otherwise the old one stays
 * and an event says why. What needs a restart (workers, shards, admin, log) is
 * named in an event when it changed.
 */
void runtime_reload(struct runtime *rt);

/* Stops accepting and lets transfers end for drain_timeout; the loop is broken when all have gone. */
void runtime_drain(struct runtime *rt);

/* Ends every session now. */
void runtime_stop_now(struct runtime *rt);

/* Waits for the threads (their sessions have ended) and frees everything. */
void runtime_free(struct runtime **rt);

#endif

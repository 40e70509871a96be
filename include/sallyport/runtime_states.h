// SPDX-License-Identifier: ISC
/*
 * Tells what a reload has done to servers: their states, and those that have
 * moved. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_STATES_H
#define SALLYPORT_RUNTIME_STATES_H

#include "sallyport/config.h"
#include "sallyport/event.h"

/* An event for each server of `config` that was changed by being (re)stated since then. */
void runtime_states_tell(const struct config *config, struct event_queue *events, int64_t since_ms);

#endif

// SPDX-License-Identifier: ISC
/*
 * The event hub: a thread of its own that takes events from the event queue
 * and hands them in batches to the sinks (sink.h): a file or standard output,
 * and syslog. A sink that hangs costs events, counted for that sink, and never
 * a session: nobody but the hub's thread ever waits for one.
 */
#ifndef SALLYPORT_EVENTS_H
#define SALLYPORT_EVENTS_H

#include "sallyport/base.h"
#include "sallyport/event.h"
#include "sallyport/sink.h"

#define EVENT_HUB_TURN_MS   200 /* how often the hub looks at its flags when nothing comes */
#define EVENT_HUB_STOP_MS   2000
#define EVENT_HUB_ERROR_MAX 256

struct event_hub;
struct log_config;

/*
 * Opens the sinks that `log` asks for (copied; the queue is borrowed until
 * event_hub_stop()) and starts the thread. NULL: `error` says why in words for
 * the operator: a log file that cannot be opened, no memory, no thread. A FIFO
 * without a reader and a missing syslog are no errors: they are tried again
 * while the process runs. Main.
 */
SP_MUSTCHECK struct event_hub *event_hub_start(struct event_queue *queue,
					       const struct log_config *log,
					       char error[EVENT_HUB_ERROR_MAX]);

/*
 * The same with sinks that were made elsewhere; they belong to the hub from
 * then on, also when this fails (then they are freed). Events below `level`
 * are not written.
 */
SP_MUSTCHECK struct event_hub *event_hub_start_sinks(struct event_queue *queue,
						     struct sink *sinks[], size_t n,
						     enum event_level level);

/*
 * Writes what is queued, for at most EVENT_HUB_STOP_MS, ends the thread, closes
 * the sinks and clears the pointer. False: the thread hangs in a write that the
 * kernel does not give back (a dead disk); it was left alone, so the queue must
 * not be freed, and the process should simply exit. Main.
 */
bool event_hub_stop(struct event_hub **hub);

/*
 * Asks the hub's thread to open its file again (after the file was moved away:
 * SIGHUP). When that fails the old one stays in use and an event says so.
 * A flag only; any thread, but not a signal handler.
 */
void event_hub_reopen(struct event_hub *hub);

/* Copies the state of up to n sinks; returns how many there are. Any thread. */
size_t event_hub_sinks(struct event_hub *hub, struct sink_stats out[], size_t n);

#endif

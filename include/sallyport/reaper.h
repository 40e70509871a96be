// SPDX-License-Identifier: ISC
/*
 * The reaper: a thread that each REAPER_TICK_MS takes what is due from the
 * session table, by value and one shard at a time, and posts a notice to each
 * owner when no lock is held. It knows the table and the mailboxes and nothing
 * else, and it ends no session.
 */
#ifndef SALLYPORT_REAPER_H
#define SALLYPORT_REAPER_H

#include "sallyport/base.h"
#include "sallyport/mailbox.h"
#include "sallyport/session_table.h"

#define REAPER_TICK_MS 100

struct reaper;

/* `mailboxes[worker number]`; borrowed. Starts the thread. NULL: no memory or no thread. */
struct reaper *reaper_start(struct session_table *table, struct mailbox *const mailboxes[], size_t n);
/* Stops the thread and waits for it. */
void reaper_stop(struct reaper **reaper);

struct reaper_stats {
	uint64_t ticks;
	uint64_t notices;
	uint64_t repeated; /* an alarm: some worker does not get its work done */
	uint64_t refused;  /* mailbox was full; the notice comes again */
	int64_t longest_tick_us;
};
void reaper_stats(const struct reaper *reaper, struct reaper_stats *out);

#endif

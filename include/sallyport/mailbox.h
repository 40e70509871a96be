// SPDX-License-Identifier: ISC
/*
 * A worker's mailbox: a bounded queue of small values and an eventfd. Posting
 * never blocks and never allocates. A message for a session that is gone is
 * counted and dropped by the worker.
 */
#ifndef SALLYPORT_MAILBOX_H
#define SALLYPORT_MAILBOX_H

#include "sallyport/base.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"

enum message_kind {
	MESSAGE_NOTICE,	   /* id is past its deadline. Repeated by the reaper until it has its effect. */
	MESSAGE_KICK,	   /* end id; number: enum end_reason. Loss: the operator is told and asks again. */
	MESSAGE_SLOT,	   /* id may have the slot it waits for. Loss: the ledger offers it again (pool_ledger.h). */
	/*
	 * id's data connection, accepted by another worker: fd, which goes to the reader; number: of the ticket
	 * (port_registry.h). Loss: as if it had broken on its way; the session's clock ends the wait.
	 */
	MESSAGE_DATA,
	MESSAGE_DOORS,	   /* pointer: a struct door_plan (doors.h), which the worker takes over. */
	MESSAGE_CONFIG,	   /* pointer: a struct worker_update (worker.h), which the worker takes over. */
	MESSAGE_DRAIN,	   /* stop accepting; end sessions that have no transfer; number: ms until the rest goes */
	MESSAGE_STOP,	   /* end every session now and leave the loop */
};

/* By value. */
struct message {
	enum message_kind kind;
	int fd;
	struct session_id id;
	int64_t number;
	void *pointer;
};

struct mailbox;

/* `capacity` messages; the eventfd is noted as the process' own. NULL: no memory or no descriptor. */
struct mailbox *mailbox_new(size_t capacity);
/* Messages that are still in it are lost: the worker drains it first. */
void mailbox_free(struct mailbox **mailbox);

#define MAILBOX_RESERVED 16

/*
 * Puts a message in; false: it is full. Messages of kinds DOORS, CONFIG, DRAIN
 * and STOP have room of their own, MAILBOX_RESERVED of them at once, which others
 * cannot fill: they are refused only when so many wait already. Writes to the
 * eventfd only when the mailbox was empty. Any thread.
 */
SP_MUSTCHECK bool mailbox_post(struct mailbox *mailbox, struct message message) SP_EXCLUDES(sp_any_shard);

/*
 * Takes up to n messages in order of posting. The eventfd is cleared when the
 * mailbox is empty then, and stays readable otherwise. Owner.
 */
size_t mailbox_take(struct mailbox *mailbox, struct message out[], size_t n) SP_EXCLUDES(sp_any_shard);

/* Readable while there are messages. Stays the mailbox's. */
int mailbox_fd(const struct mailbox *mailbox);
/* Takes no lock. Any thread. */
size_t mailbox_length(struct mailbox *mailbox) SP_EXCLUDES(sp_any_shard);
void mailbox_lock_stats(struct mailbox *mailbox, struct lock_stats *out);

#endif

// SPDX-License-Identifier: ISC
/*
 * What the walls allow, and what the other files here are one step away from:
 * collect under the lock, drop it, then tell. Builds without a warning.
 */
#include "sallyport/event.h"
#include "sallyport/mailbox.h"
#include "sallyport/session_table.h"

struct core {
	struct core_lock lock;
	struct session_id due;
};

void core_tell(struct core *core, struct mailbox *mailbox, struct event_queue *queue);
size_t core_count(struct core *core, struct session_table *table);

static struct session_id take_due_locked(struct core *core) SP_REQUIRES(core->lock, sp_any_shard)
{
	struct session_id id = core->due;

	core->due = SESSION_ID_NONE;
	return id;
}

void core_tell(struct core *core, struct mailbox *mailbox, struct event_queue *queue)
{
	core_lock_take(&core->lock, __func__);
	struct message message = { .kind = MESSAGE_NOTICE, .id = take_due_locked(core) };
	core_lock_drop(&core->lock);

	if (message.id.v != 0 && !mailbox_post(mailbox, message))
		log_write(queue, LEVEL_WARNING, "mailbox is full");
}

size_t core_count(struct core *core, struct session_table *table)
{
	core_lock_take(&core->lock, __func__);
	core->due = SESSION_ID_NONE;
	core_lock_drop(&core->lock);
	return session_table_count(table);
}

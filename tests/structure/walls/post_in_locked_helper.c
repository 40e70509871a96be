// SPDX-License-Identifier: ISC
/*
 * The notice is posted by a helper that says it is called with the lock held.
 * Must not build. Clang says: cannot call function 'mailbox_post' while shard lock 'sp_any_shard'
 * is held
 */
#include "sallyport/mailbox.h"

struct core {
	struct core_lock lock;
	struct mailbox *mailbox;
};

bool tell_locked(struct core *core) SP_REQUIRES(core->lock, sp_any_shard);

bool tell_locked(struct core *core)
{
	return mailbox_post(core->mailbox, (struct message){ .kind = MESSAGE_KICK });
}

// SPDX-License-Identifier: ISC
/*
 * A notice is posted while a lock is held: the deadlock of Q191822.
 * Must not build. Clang says: cannot call function 'mailbox_post' while shard lock 'sp_any_shard'
 * is held
 */
#include "sallyport/mailbox.h"

bool tell(struct core_lock *lock, struct mailbox *mailbox, struct message message);

bool tell(struct core_lock *lock, struct mailbox *mailbox, struct message message)
{
	core_lock_take(lock, __func__);
	bool ok = mailbox_post(mailbox, message);
	core_lock_drop(lock);
	return ok;
}

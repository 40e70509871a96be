// SPDX-License-Identifier: ISC
/*
 * A session is ended while a lock is held.
 * Must not build. Clang says: cannot call function 'session_end' while shard lock 'sp_any_shard' is
 * held
 */
#include "sallyport/session.h"

void end(struct core_lock *lock, struct session *session);

void end(struct core_lock *lock, struct session *session)
{
	core_lock_take(lock, __func__);
	session_end(session, END_KICKED);
	core_lock_drop(lock);
}

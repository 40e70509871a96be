// SPDX-License-Identifier: ISC
/*
 * A line is logged while a lock is held.
 * Must not build. Clang says: cannot call function 'log_write' while shard lock 'sp_any_shard' is
 * held
 */
#include "sallyport/event.h"

void tell(struct core_lock *lock, struct event_queue *queue);

void tell(struct core_lock *lock, struct event_queue *queue)
{
	core_lock_take(lock, __func__);
	log_write(queue, LEVEL_INFO, "here");
	core_lock_drop(lock);
}

// SPDX-License-Identifier: ISC
/*
 * An event is emitted while a lock is held.
 * Must not build. Clang says: cannot call function 'event_emit' while shard lock 'sp_any_shard' is
 * held
 */
#include "sallyport/event.h"

void tell(struct core_lock *lock, struct event_queue *queue, const struct sp_event *event);

void tell(struct core_lock *lock, struct event_queue *queue, const struct sp_event *event)
{
	core_lock_take(lock, __func__);
	event_emit(queue, event);
	core_lock_drop(lock);
}

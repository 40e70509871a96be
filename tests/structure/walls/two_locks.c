// SPDX-License-Identifier: ISC
/*
 * Two locks are held at once, in whatever order.
 * Must not build. Clang says: acquiring mutex 'sp_any_shard' that is already held
 */
#include "sallyport/thread_safety.h"

void both(struct core_lock *one, struct core_lock *other);

void both(struct core_lock *one, struct core_lock *other)
{
	core_lock_take(one, __func__);
	core_lock_take(other, __func__);
	core_lock_drop(other);
	core_lock_drop(one);
}

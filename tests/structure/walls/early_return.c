// SPDX-License-Identifier: ISC
/*
 * A return in the middle leaves the lock held.
 * Must not build. Clang says: mutex 'lock' is not held on every path through here
 */
#include "sallyport/thread_safety.h"

bool look(struct core_lock *lock, const bool *found);

bool look(struct core_lock *lock, const bool *found)
{
	core_lock_take(lock, __func__);
	if (!*found)
		return false;
	core_lock_drop(lock);
	return true;
}

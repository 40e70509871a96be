// SPDX-License-Identifier: ISC
/*
 * A public function of the table is called while a lock is held.
 * Must not build. Clang says: cannot call function 'session_table_count' while shard lock
 * 'sp_any_shard' is held
 */
#include "sallyport/session_table.h"

size_t count(struct core_lock *lock, struct session_table *table);

size_t count(struct core_lock *lock, struct session_table *table)
{
	core_lock_take(lock, __func__);
	size_t n = session_table_count(table);
	core_lock_drop(lock);
	return n;
}

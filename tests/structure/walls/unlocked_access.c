// SPDX-License-Identifier: ISC
/*
 * A function that needs the lock is called without it.
 * Must not build. Clang says: requires holding mutex
 */
#include "sallyport/thread_safety.h"

struct core {
	struct core_lock lock;
	size_t n;
};

size_t core_n(struct core *core);

static size_t n_locked(struct core *core) SP_REQUIRES(core->lock, sp_any_shard)
{
	return core->n;
}

size_t core_n(struct core *core)
{
	return n_locked(core);
}

// SPDX-License-Identifier: ISC
/*
 * The memo: sets of MEMO_WAYS entries, found by the key's first half; a set
 * belongs to the shard of its number.
 */
#include "sallyport/memo.h"

#include <stdlib.h>
#include <string.h>

#define SETS (MEMO_ENTRIES / MEMO_WAYS)

_Static_assert((SETS & (SETS - 1)) == 0 && SETS % MEMO_SHARDS == 0, "a set has a shard");

struct entry {
	struct memo_key key;
	uint64_t value;
	int64_t until_ms; /* 0: free */
};

struct memo {
	unsigned char seed[MEMO_SEED];
	struct core_lock locks[MEMO_SHARDS];
	struct entry entries[SETS][MEMO_WAYS];
};

struct memo *memo_new(const unsigned char seed[MEMO_SEED])
{
	struct memo *memo = calloc(1, sizeof(*memo));

	if (memo == NULL)
		return NULL;
	memcpy(memo->seed, seed, MEMO_SEED);
	for (size_t i = 0; i < MEMO_SHARDS; i++)
		core_lock_init(&memo->locks[i]);
	return memo;
}

void memo_free(struct memo **memo)
{
	if (*memo == NULL)
		return;
	for (size_t i = 0; i < MEMO_SHARDS; i++)
		core_lock_fini(&(*memo)->locks[i]);
	explicit_bzero((*memo)->seed, MEMO_SEED);
	free(*memo);
	*memo = NULL;
}

const unsigned char *memo_seed(const struct memo *memo)
{
	return memo->seed;
}

static size_t set_of(struct memo_key key)
{
	return (size_t)(key.a ^ key.b >> 32) & (SETS - 1);
}

static struct entry *find(struct entry set[MEMO_WAYS], struct memo_key key)
{
	for (size_t i = 0; i < MEMO_WAYS; i++) {
		if (set[i].until_ms != 0 && set[i].key.a == key.a && set[i].key.b == key.b)
			return &set[i];
	}
	return NULL;
}

/* A free place, or the one that would be free first. */
static struct entry *make_room(struct entry set[MEMO_WAYS])
{
	struct entry *best = &set[0];

	for (size_t i = 1; i < MEMO_WAYS; i++) {
		if (set[i].until_ms < best->until_ms)
			best = &set[i];
	}
	return best;
}

void memo_put(struct memo *memo, struct memo_key key, uint64_t value, int64_t now_ms, int64_t until_ms)
{
	size_t set = set_of(key);
	struct core_lock *lock = &memo->locks[set % MEMO_SHARDS];

	SP_ASSERT_UNLOCKED();
	if (until_ms <= now_ms)
		return;
	core_lock_take(lock, __func__);

	struct entry *entry = find(memo->entries[set], key);

	if (entry == NULL)
		entry = make_room(memo->entries[set]);
	*entry = (struct entry){ key, value, until_ms };
	core_lock_drop(lock);
}

bool memo_get(struct memo *memo, struct memo_key key, int64_t now_ms, uint64_t *value)
{
	size_t set = set_of(key);
	struct core_lock *lock = &memo->locks[set % MEMO_SHARDS];
	bool found;

	SP_ASSERT_UNLOCKED();
	core_lock_take(lock, __func__);

	const struct entry *entry = find(memo->entries[set], key);

	found = entry != NULL && entry->until_ms > now_ms;
	if (found)
		*value = entry->value;
	core_lock_drop(lock);
	return found;
}

void memo_forget(struct memo *memo, struct memo_key key)
{
	size_t set = set_of(key);
	struct core_lock *lock = &memo->locks[set % MEMO_SHARDS];

	SP_ASSERT_UNLOCKED();
	core_lock_take(lock, __func__);

	struct entry *entry = find(memo->entries[set], key);

	if (entry != NULL)
		entry->until_ms = 0;
	core_lock_drop(lock);
}

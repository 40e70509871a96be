// SPDX-License-Identifier: ISC
/*
 * The feature memory. Under the lock only pointers change hands and bytes are
 * copied; what is allocated or freed is so outside of it.
 */
#include "sallyport/feature_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct known {
	size_t n;
	char text[];
};

struct entry {
	_Atomic uint64_t identity; /* written under the lock */
	atomic_bool wanted;
	struct known *known; /* NULL: nothing is */
};

struct feature_memory {
	struct core_lock lock;
	size_t n;
	struct entry entries[];
};

struct feature_memory *feature_memory_new(size_t places)
{
	struct feature_memory *memory = calloc(1, sizeof(*memory) + places * sizeof(memory->entries[0]));

	if (memory == NULL)
		return NULL;
	core_lock_init(&memory->lock);
	memory->n = places;
	for (size_t i = 0; i < places; i++)
		atomic_store_explicit(&memory->entries[i].wanted, true, memory_order_relaxed);
	return memory;
}

void feature_memory_free(struct feature_memory **memory)
{
	struct feature_memory *m = *memory;

	*memory = NULL;
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++)
		free(m->entries[i].known);
	core_lock_fini(&m->lock);
	free(m);
}

static struct entry *entry_at(struct feature_memory *memory, uint16_t place)
{
	SP_ASSERT(place < memory->n);
	return &memory->entries[place];
}

static bool is(struct entry *entry, uint64_t identity)
{
	return atomic_load_explicit(&entry->identity, memory_order_relaxed) == identity;
}

void feature_memory_settle(struct feature_memory *memory, uint16_t place, uint64_t identity)
{
	struct entry *entry = entry_at(memory, place);
	struct known *forgotten = NULL;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&memory->lock, __func__);
	if (!is(entry, identity)) {
		atomic_store_explicit(&entry->identity, identity, memory_order_relaxed);
		forgotten = entry->known;
		entry->known = NULL;
	}
	core_lock_drop(&memory->lock);
	free(forgotten);
	atomic_store_explicit(&entry->wanted, true, memory_order_relaxed);
}

void feature_memory_want(struct feature_memory *memory, uint16_t place)
{
	atomic_store_explicit(&entry_at(memory, place)->wanted, true, memory_order_relaxed);
}

bool feature_memory_claim(struct feature_memory *memory, uint16_t place, uint64_t identity)
{
	struct entry *entry = entry_at(memory, place);

	/* Nearly always false: a look first, so that workers do not fight for the line. */
	return atomic_load_explicit(&entry->wanted, memory_order_relaxed) && is(entry, identity) &&
	       atomic_exchange_explicit(&entry->wanted, false, memory_order_relaxed);
}

void feature_memory_note(struct feature_memory *memory, uint16_t place, uint64_t identity,
                         const struct features *features)
{
	struct entry *entry = entry_at(memory, place);
	struct known *known = malloc(sizeof(*known) + features->n);
	struct known *old;

	SP_ASSERT_UNLOCKED();
	if (known != NULL) {
		known->n = features->n;
		memcpy(known->text, features->text, features->n);
	}
	core_lock_take(&memory->lock, __func__);
	if (is(entry, identity)) {
		old = entry->known;
		entry->known = known;
	} else {
		old = known;
	}
	core_lock_drop(&memory->lock);
	free(old);
}

bool feature_memory_recall(struct feature_memory *memory, uint16_t place, struct features *features)
{
	struct entry *entry = entry_at(memory, place);

	SP_ASSERT_UNLOCKED();
	features->n = 0;
	core_lock_take(&memory->lock, __func__);

	bool found = entry->known != NULL;

	if (found) {
		features->n = entry->known->n;
		memcpy(features->text, entry->known->text, entry->known->n);
	}
	core_lock_drop(&memory->lock);
	return found;
}

// SPDX-License-Identifier: ISC
/*
 * The ring of ticket keys: a small array under a lock that is held for the
 * copying of one key. It knows no clock and no cipher.
 */
#include "sallyport/ticket_ring.h"

#include <stdlib.h>
#include <string.h>

struct ticket_ring {
	struct core_lock lock;
	uint64_t instance;
	struct ticket_keys keys;
};

struct ticket_ring *ticket_ring_new(uint64_t instance)
{
	struct ticket_ring *ring = calloc(1, sizeof(*ring));

	if (ring == NULL)
		return NULL;
	core_lock_init(&ring->lock);
	ring->instance = instance;
	return ring;
}

void ticket_ring_free(struct ticket_ring **ringptr)
{
	struct ticket_ring *ring = *ringptr;

	if (ring == NULL)
		return;
	*ringptr = NULL;
	core_lock_fini(&ring->lock);
	explicit_bzero(&ring->keys, sizeof(ring->keys));
	free(ring);
}

uint64_t ticket_ring_instance(const struct ticket_ring *ring)
{
	return ring->instance;
}

void ticket_ring_set(struct ticket_ring *ring, const struct ticket_keys *keys)
{
	SP_ASSERT(keys->n >= 1 && keys->n <= TICKET_KEYS_MAX);
	core_lock_take(&ring->lock, __func__);
	explicit_bzero(&ring->keys, sizeof(ring->keys));
	ring->keys.n = keys->n;
	memcpy(ring->keys.keys, keys->keys, keys->n * sizeof(keys->keys[0]));
	core_lock_drop(&ring->lock);
}

void ticket_ring_rotate(struct ticket_ring *ring, const struct ticket_key *key)
{
	struct ticket_key *keys = ring->keys.keys;

	core_lock_take(&ring->lock, __func__);
	if (ring->keys.n > 0)
		keys[1] = keys[0];
	keys[0] = *key;
	ring->keys.n = ring->keys.n > 0 ? 2 : 1;
	explicit_bzero(&keys[2], (TICKET_KEYS_MAX - 2) * sizeof(keys[0]));
	core_lock_drop(&ring->lock);
}

bool ticket_ring_first(struct ticket_ring *ring, struct ticket_key *out)
{
	bool found;

	core_lock_take(&ring->lock, __func__);
	found = ring->keys.n > 0;
	if (found)
		*out = ring->keys.keys[0];
	core_lock_drop(&ring->lock);
	return found;
}

enum ticket_found ticket_ring_find(struct ticket_ring *ring, const unsigned char name[TICKET_NAME_BYTES],
				   struct ticket_key *out)
{
	enum ticket_found found = TICKET_UNKNOWN;

	core_lock_take(&ring->lock, __func__);
	for (size_t i = 0; i < ring->keys.n && found == TICKET_UNKNOWN; i++) {
		if (memcmp(ring->keys.keys[i].name, name, TICKET_NAME_BYTES) != 0)
			continue;
		*out = ring->keys.keys[i];
		found = i == 0 ? TICKET_FIRST : TICKET_OLD;
	}
	core_lock_drop(&ring->lock);
	return found;
}

void ticket_ring_lock_stats(const struct ticket_ring *ring, struct lock_stats *out)
{
	core_lock_stats(&ring->lock, out);
}

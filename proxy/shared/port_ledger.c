// SPDX-License-Identifier: ISC
/*
 * The port ledger: a ring of the ports that are free, the longest rested one
 * first. It opens no sockets and does not know who has a port.
 */
#include "sallyport/port_ledger.h"

#include <stdatomic.h>
#include <stdlib.h>

struct port_ledger {
	struct core_lock lock;
	unsigned size;
	unsigned first;	      /* place of the longest rested one in the ring */
	_Atomic unsigned free_n; /* written under the lock */
	_Atomic unsigned peak;
	uint16_t ring[];
};

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void swap(uint16_t *a, uint16_t *b)
{
	uint16_t held = *a;

	*a = *b;
	*b = held;
}

struct port_ledger *port_ledger_new(uint16_t first, uint16_t last, uint64_t seed)
{
	unsigned size = (unsigned)last - first + 1u;
	struct port_ledger *ledger;

	SP_ASSERT(first > 0 && first <= last);
	ledger = calloc(1, sizeof(*ledger) + size * sizeof(ledger->ring[0]));
	if (ledger == NULL)
		return NULL;
	core_lock_init(&ledger->lock);
	ledger->size = size;
	atomic_store_explicit(&ledger->free_n, size, memory_order_relaxed);
	for (unsigned i = 0; i < size; i++)
		ledger->ring[i] = (uint16_t)(first + i);
	for (unsigned i = size - 1; i > 0; i--)
		swap(&ledger->ring[i], &ledger->ring[next_random(&seed) % (i + 1)]);
	return ledger;
}

void port_ledger_free(struct port_ledger **ledger)
{
	if (*ledger == NULL)
		return;
	core_lock_fini(&(*ledger)->lock);
	free(*ledger);
	*ledger = NULL;
}

uint16_t port_ledger_take(struct port_ledger *ledger, uint64_t random)
{
	uint16_t port = 0;
	unsigned free_n;

	core_lock_take(&ledger->lock, __func__);
	free_n = atomic_load_explicit(&ledger->free_n, memory_order_relaxed);
	if (free_n > 0) {
		unsigned drawn = (unsigned)(random % ((free_n + 1) / 2));
		uint16_t *head = &ledger->ring[ledger->first];
		unsigned in_use = ledger->size - free_n + 1;

		swap(head, &ledger->ring[(ledger->first + drawn) % ledger->size]);
		port = *head;
		ledger->first = (ledger->first + 1) % ledger->size;
		atomic_store_explicit(&ledger->free_n, free_n - 1, memory_order_relaxed);
		if (in_use > atomic_load_explicit(&ledger->peak, memory_order_relaxed))
			atomic_store_explicit(&ledger->peak, in_use, memory_order_relaxed);
	}
	core_lock_drop(&ledger->lock);
	return port;
}

void port_ledger_give(struct port_ledger *ledger, uint16_t port)
{
	unsigned free_n;

	core_lock_take(&ledger->lock, __func__);
	free_n = atomic_load_explicit(&ledger->free_n, memory_order_relaxed);
	SP_ASSERT(free_n < ledger->size);
	ledger->ring[(ledger->first + free_n) % ledger->size] = port;
	atomic_store_explicit(&ledger->free_n, free_n + 1, memory_order_relaxed);
	core_lock_drop(&ledger->lock);
}

void port_ledger_stats(const struct port_ledger *ledger, struct port_ledger_stats *out)
{
	out->size = ledger->size;
	out->in_use = ledger->size - atomic_load_explicit(&ledger->free_n, memory_order_relaxed);
	out->peak = atomic_load_explicit(&ledger->peak, memory_order_relaxed);
}

void port_ledger_lock_stats(struct port_ledger *ledger, struct lock_stats *out)
{
	core_lock_stats(&ledger->lock, out);
}

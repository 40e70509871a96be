// SPDX-License-Identifier: ISC
/*
 * The hierarchical timing wheel.
 *
 * A node's level is that of the highest group of six bits in which its tick
 * differs from the wheel's. So a level's slots lie all within one slot of the
 * level above, the slot of the wheel's own tick is empty on all levels but the
 * lowest, and the first used slot of the lowest used level is what comes next.
 * Bitmaps find it without walking over empty slots.
 */
#include "sallyport/wheel.h"

#include <string.h>

#define TICK_MAX (((int64_t)1 << (WHEEL_LEVELS * WHEEL_SLOTS_LOG2)) - 1)
#define SLOT_MASK (WHEEL_SLOTS - 1)

_Static_assert(WHEEL_SLOTS == 64, "a bitmap of a level is one uint64_t");

static int64_t tick_of(int64_t ms)
{
	int64_t tick = ms / WHEEL_TICK_MS;

	return tick < TICK_MAX ? tick : TICK_MAX;
}

static unsigned slot_of(int64_t tick, unsigned level)
{
	return (unsigned)(tick >> (level * WHEEL_SLOTS_LOG2)) & SLOT_MASK;
}

static unsigned lowest_bit(uint64_t bits)
{
	return (unsigned)__builtin_ctzll(bits);
}

void wheel_init(struct wheel *wheel, int64_t now_ms)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = tick_of(now_ms);
}

static void link_node(struct wheel *wheel, struct wheel_node *node, unsigned level, unsigned slot)
{
	struct wheel_node **head = &wheel->slot[level][slot];

	node->next = *head;
	node->prev = head;
	if (node->next != NULL)
		node->next->prev = &node->next;
	*head = node;
	wheel->used[level] |= (uint64_t)1 << slot;
}

static void file_node(struct wheel *wheel, struct wheel_node *node)
{
	int64_t tick = tick_of(node->at_ms);

	if (tick < wheel->tick)
		tick = wheel->tick;

	uint64_t differs = (uint64_t)(tick ^ wheel->tick) | SLOT_MASK;
	unsigned level = (63 - (unsigned)__builtin_clzll(differs)) / WHEEL_SLOTS_LOG2;

	link_node(wheel, node, level, slot_of(tick, level));
}

void wheel_add(struct wheel *wheel, struct wheel_node *node, int64_t at_ms)
{
	SP_ASSERT(!wheel_node_is_filed(node));
	SP_ASSERT(at_ms >= 0);
	node->at_ms = at_ms;
	file_node(wheel, node);
}

/* The slot became empty when the only node that pointed back at its head is gone. */
static void clear_used(struct wheel *wheel, struct wheel_node *const *head)
{
	uintptr_t first = (uintptr_t)&wheel->slot[0][0];
	size_t index = ((uintptr_t)head - first) / sizeof(*head);

	if ((uintptr_t)head < first || index >= (size_t)WHEEL_LEVELS * WHEEL_SLOTS)
		return; /* another node's `next`, not a head */
	wheel->used[index / WHEEL_SLOTS] &= ~((uint64_t)1 << (index % WHEEL_SLOTS));
}

void wheel_remove(struct wheel *wheel, struct wheel_node *node)
{
	if (!wheel_node_is_filed(node))
		return;
	*node->prev = node->next;
	if (node->next != NULL)
		node->next->prev = node->prev;
	else
		clear_used(wheel, node->prev);
	node->next = NULL;
	node->prev = NULL;
}

/*
 * The first tick, not before the wheel's, at which a slot begins that is used;
 * false: the wheel is empty. *level: the slot's.
 */
static bool next_used(const struct wheel *wheel, int64_t *tick, unsigned *level)
{
	for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
		uint64_t ahead = wheel->used[l] & (~(uint64_t)0 << slot_of(wheel->tick, l));

		if (ahead == 0)
			continue;

		unsigned shift = l * WHEEL_SLOTS_LOG2;
		int64_t above = wheel->tick >> shift & ~(int64_t)SLOT_MASK;

		*tick = (above | lowest_bit(ahead)) << shift;
		*level = l;
		return true;
	}
	return false;
}

/* Moves one node of the slot that has begun one level (or more) down. */
static void cascade_one(struct wheel *wheel)
{
	struct wheel_node *node =
	    wheel->slot[wheel->cascading][slot_of(wheel->tick, wheel->cascading)];

	if (node == NULL) {
		wheel->cascading = 0;
		return;
	}
	wheel_remove(wheel, node);
	file_node(wheel, node);
}

struct wheel_node *wheel_take_due(struct wheel *wheel, int64_t now_ms, size_t *budget)
{
	int64_t end = tick_of(now_ms); /* ticks before it have passed */

	while (*budget > 0) {
		int64_t tick;
		unsigned level;

		if (wheel->cascading != 0) {
			cascade_one(wheel);
			--*budget;
			continue;
		}
		/* A slot of the lowest level must have passed, one of another only have begun. */
		if (!next_used(wheel, &tick, &level) || tick > end || (tick == end && level == 0)) {
			wheel->tick = end > wheel->tick ? end : wheel->tick;
			return NULL;
		}
		wheel->tick = tick;
		if (level > 0) {
			wheel->cascading = level;
			continue;
		}

		struct wheel_node *node = wheel->slot[0][slot_of(tick, 0)];

		wheel_remove(wheel, node);
		--*budget;
		return node;
	}
	return NULL;
}

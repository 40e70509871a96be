// SPDX-License-Identifier: ISC
/*
 * A hierarchical timing wheel of intrusive nodes: filing, moving and taking out
 * cost O(1), looking for what is due costs what is due. Pure: no clock, no lock,
 * no memory of its own; the caller has the lock.
 *
 * Six levels of 64 slots; a slot of the lowest level is WHEEL_TICK_MS wide, one
 * of each other level as wide as the level below. A node waits in the lowest
 * level that can tell its time from now, and moves down when its slot begins.
 */
#ifndef SALLYPORT_WHEEL_H
#define SALLYPORT_WHEEL_H

#include "sallyport/base.h"

#define WHEEL_TICK_MS	16
#define WHEEL_LEVELS	6
#define WHEEL_SLOTS_LOG2 6
#define WHEEL_SLOTS	(1 << WHEEL_SLOTS_LOG2)

/* Zeroed: not filed. */
struct wheel_node {
	struct wheel_node *next;
	struct wheel_node **prev; /* what points here; NULL: not filed */
	int64_t at_ms;
};

struct wheel {
	int64_t tick;	    /* first tick that has not passed; earlier slots are empty */
	unsigned cascading; /* level whose slot at `tick` is being moved down; 0: none */
	uint64_t used[WHEEL_LEVELS]; /* bit s: slot s is not empty */
	struct wheel_node *slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

/* Times are milliseconds >= 0 of one clock; 2^40 ms (34 years) and later are one time. */
void wheel_init(struct wheel *wheel, int64_t now_ms);

static inline bool wheel_node_is_filed(const struct wheel_node *node)
{
	return node->prev != NULL;
}

/* Files a node that is not filed. A time that has passed is due at the next tick. */
void wheel_add(struct wheel *wheel, struct wheel_node *node, int64_t at_ms);

/* Takes a node out; nothing happens when it is not filed. */
void wheel_remove(struct wheel *wheel, struct wheel_node *node);

/*
 * Takes out a node that is due at now_ms: not before its time, and at most
 * WHEEL_TICK_MS behind it. NULL: none is due (*budget is left), or *budget,
 * which each node that is moved or taken out lessens by one, is used up
 * (*budget is 0) and there may be more. now_ms never goes back.
 */
struct wheel_node *wheel_take_due(struct wheel *wheel, int64_t now_ms, size_t *budget);

#endif

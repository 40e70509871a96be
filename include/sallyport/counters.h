// SPDX-License-Identifier: ISC
/*
 * Counters of tbl/counters.def, one set a worker: relaxed atomics on cache
 * lines of their own. Also how many sessions ended for which reason and which
 * clocks expired. Only ever added to; readers sum over the sets.
 */
#ifndef SALLYPORT_COUNTERS_H
#define SALLYPORT_COUNTERS_H

#include <stdatomic.h>

#include "sallyport/base.h"
#include "sallyport/deadline.h"
#include "sallyport/end_reason.h"

enum counter {
#define COUNTER(id, name, help) COUNT_##id,
#include "sallyport/tbl/counters.def"
#undef COUNTER
	COUNTER_COUNT,
};

struct counters {
	_Atomic uint64_t value[COUNTER_COUNT];
	_Atomic uint64_t ended[END_REASON_COUNT];
	_Atomic uint64_t expired[CLOCK_COUNT];
};

/* Single writer per set. */
static inline void counter_add(struct counters *set, enum counter counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&set->value[counter], memory_order_relaxed);

	atomic_store_explicit(&set->value[counter], old + n, memory_order_relaxed);
}

static inline void counter_ended(struct counters *set, enum end_reason reason)
{
	atomic_fetch_add_explicit(&set->ended[reason], 1, memory_order_relaxed);
}

static inline void counter_expired(struct counters *set, enum clock_id clock)
{
	atomic_fetch_add_explicit(&set->expired[clock], 1, memory_order_relaxed);
}

const char *counter_name(enum counter counter);
const char *counter_help(enum counter counter);

/* Plain sums over n sets. */
struct counter_sums {
	uint64_t value[COUNTER_COUNT];
	uint64_t ended[END_REASON_COUNT];
	uint64_t expired[CLOCK_COUNT];
};
void counters_sum(struct counters *const sets[], size_t n, struct counter_sums *out);

#endif

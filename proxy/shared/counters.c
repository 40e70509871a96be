// SPDX-License-Identifier: ISC
/*
 * The counters' names and sums, and the rows of the end reasons.
 */
#include "sallyport/counters.h"

#include <string.h>

struct counter_row {
	const char *name;
	const char *help;
};

static const struct counter_row counter_rows[] = {
#define COUNTER(id, name, help) [COUNT_##id] = { #name, help },
#include "sallyport/tbl/counters.def"
#undef COUNTER
};

static const struct end_reason_row reason_rows[] = {
#define END_REASON(id, name, is_error, code, text) [END_##id] = { #name, is_error, code, text },
#include "sallyport/tbl/end_reasons.def"
#undef END_REASON
};

const char *counter_name(enum counter counter)
{
	SP_ASSERT(counter < COUNTER_COUNT);
	return counter_rows[counter].name;
}

const char *counter_help(enum counter counter)
{
	SP_ASSERT(counter < COUNTER_COUNT);
	return counter_rows[counter].help;
}

const struct end_reason_row *end_reason_row(enum end_reason reason)
{
	SP_ASSERT(reason < END_REASON_COUNT);
	return &reason_rows[reason];
}

static void add_all(uint64_t sum[], const _Atomic uint64_t value[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += atomic_load_explicit(&value[i], memory_order_relaxed);
}

void counters_sum(struct counters *const sets[], size_t n, struct counter_sums *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		add_all(out->value, sets[i]->value, COUNTER_COUNT);
		add_all(out->ended, sets[i]->ended, END_REASON_COUNT);
		add_all(out->expired, sets[i]->expired, CLOCK_COUNT);
	}
}

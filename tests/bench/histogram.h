// SPDX-License-Identifier: ISC
/*
 * A histogram of durations: buckets whose width is under 1 % of their value,
 * so that percentiles of millions of samples cost no memory. Not thread-safe.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7U
#define HISTOGRAM_BUCKETS ((64U - HISTOGRAM_SUB_BITS + 1U) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, int64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that `fraction` (0 … 1) of the samples do not exceed; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *h, double fraction);
double histogram_mean(const struct histogram *h);

#endif

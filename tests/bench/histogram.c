// SPDX-License-Identifier: ISC
/*
 * A histogram of durations; see histogram.h.
 *
 * A value's bucket is its highest bit and the SUB_BITS that follow it; values
 * under 2^SUB_BITS have a bucket each.
 */
#include "histogram.h"

#define SUB_COUNT (1U << HISTOGRAM_SUB_BITS)

static unsigned int bucket_of(uint64_t value)
{
	unsigned int top;
	unsigned int shift;

	if (value < SUB_COUNT)
		return (unsigned int)value;
	top = 63U - (unsigned int)__builtin_clzll(value);
	shift = top - HISTOGRAM_SUB_BITS;
	return ((shift + 1U) << HISTOGRAM_SUB_BITS) +
	       (unsigned int)((value >> shift) & (SUB_COUNT - 1U));
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned int bucket)
{
	unsigned int shift;
	uint64_t low;

	if (bucket < SUB_COUNT)
		return bucket;
	shift = (bucket >> HISTOGRAM_SUB_BITS) - 1U;
	low = ((uint64_t)SUB_COUNT + (bucket & (SUB_COUNT - 1U))) << shift;
	return low + (((uint64_t)1 << shift) >> 1U);
}

void histogram_add(struct histogram *h, int64_t value)
{
	uint64_t sample = value > 0 ? (uint64_t)value : 0;

	h->count++;
	h->sum += sample;
	if (sample > h->max)
		h->max = sample;
	h->buckets[bucket_of(sample)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	unsigned int i;

	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *h, double fraction)
{
	uint64_t wanted = (uint64_t)(fraction * (double)h->count + 0.5);
	uint64_t seen = 0;
	unsigned int i;

	if (h->count == 0)
		return 0;
	if (wanted == 0)
		wanted = 1;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= wanted)
			return value_of(i) < h->max ? value_of(i) : h->max;
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->count > 0 ? (double)h->sum / (double)h->count : 0.0;
}

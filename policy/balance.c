// SPDX-License-Identifier: ISC
/*
 * The algorithms of balancing. All of them work on a set of candidates (a bit
 * mask): those that are eligible, not tried yet, and not full.
 */
#include "sallyport/balance.h"

#include <string.h>

_Static_assert(BALANCE_ROWS_MAX <= 64, "candidates are bits of a uint64_t");

static const char *const names[BALANCE_ALGORITHM_COUNT] = {
	[BALANCE_ROUND_ROBIN] = "round_robin",
	[BALANCE_LEAST_SESSIONS] = "least_sessions",
	[BALANCE_RANDOM] = "random",
	[BALANCE_FIRST] = "first",
	[BALANCE_HASH_USER] = "hash_user",
	[BALANCE_HASH_SOURCE] = "hash_source",
	[BALANCE_LEAST_RESPONSE_TIME] = "least_response_time",
};

const char *balance_algorithm_name(enum balance_algorithm algorithm)
{
	SP_ASSERT((size_t)algorithm < SP_ARRAY_LEN(names));
	return names[algorithm];
}

bool balance_algorithm_find(struct span name, enum balance_algorithm *out)
{
	for (size_t i = 0; i < SP_ARRAY_LEN(names); i++) {
		if (span_eq(span_of(names[i]), name)) {
			*out = (enum balance_algorithm)i;
			return true;
		}
	}
	return false;
}

/* Products of what follows stay below 2^64: 2^26 µs × 2^18 sessions × 2^20 of weight. */
#define RESPONSE_US_MAX 60000000
#define SESSIONS_MAX 262143

static uint64_t weight_of(const struct balance_row *row)
{
	return row->weight < BALANCE_WEIGHT_MAX ? row->weight : BALANCE_WEIGHT_MAX;
}

static uint64_t bit(size_t i)
{
	return UINT64_C(1) << i;
}

static bool has_room(const struct balance_row *row)
{
	return row->max_sessions == 0 || row->sessions < row->max_sessions;
}

/*
 * Smooth weighted round robin: each candidate gains its weight, the richest is
 * chosen and pays what all gained. Over any stretch each has had its share, and
 * a heavy server's turns are spread between those of the others.
 */
static int choose_in_turn(struct balance_row rows[], size_t n, uint64_t candidates)
{
	int best = BALANCE_NONE;
	int64_t total = 0;

	for (size_t i = 0; i < n; i++) {
		int64_t weight = (int64_t)weight_of(&rows[i]);

		if ((candidates & bit(i)) == 0)
			continue;
		rows[i].current += weight;
		total += weight;
		if (best < 0 || rows[i].current > rows[best].current)
			best = (int)i;
	}
	if (best >= 0)
		rows[best].current -= total;
	return best;
}

/* What a logon would find at a server, before its weight divides it. */
static uint64_t load_of(const struct balance_row *row, enum balance_algorithm algorithm,
                        int64_t best_response_us)
{
	int64_t us = row->response_us > 0 ? row->response_us : best_response_us;
	uint64_t sessions = row->sessions < SESSIONS_MAX ? row->sessions : SESSIONS_MAX;

	if (algorithm != BALANCE_LEAST_RESPONSE_TIME)
		return row->sessions;
	return (uint64_t)sp_min64(us, RESPONSE_US_MAX) * (sessions + 1);
}

/*
 * The least loaded for its weight. Several are often equal (all idle), and then
 * they take turns: always the first of them would make one server do all the
 * work of a quiet day.
 */
static int choose_least(struct balance_row rows[], size_t n, uint64_t candidates,
                        enum balance_algorithm algorithm)
{
	uint64_t equal = 0;
	uint64_t least = 0;
	uint64_t least_weight = 0;
	int64_t best_response_us = RESPONSE_US_MAX;

	for (size_t i = 0; i < n; i++) {
		if ((candidates & bit(i)) != 0 && rows[i].response_us > 0)
			best_response_us = sp_min64(best_response_us, rows[i].response_us);
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t value, weight;

		if ((candidates & bit(i)) == 0)
			continue;
		value = load_of(&rows[i], algorithm, best_response_us);
		weight = weight_of(&rows[i]);
		/* value / weight against least / least_weight, without the rounding */
		if (equal == 0 || value * least_weight < least * weight) {
			least = value;
			least_weight = weight;
			equal = bit(i);
		} else if (value * least_weight == least * weight) {
			equal |= bit(i);
		}
	}
	return choose_in_turn(rows, n, equal);
}

/* One candidate, each as likely as its weight; `random` is of 32 bits. */
static size_t draw(const struct balance_row rows[], size_t n, uint64_t candidates, uint64_t random)
{
	uint64_t total = 0;
	uint64_t point;
	size_t last = n;

	for (size_t i = 0; i < n; i++)
		total += (candidates & bit(i)) != 0 ? weight_of(&rows[i]) : 0;
	point = (random * total) >> 32;
	for (size_t i = 0; i < n; i++) {
		if ((candidates & bit(i)) == 0)
			continue;
		last = i;
		if (point < weight_of(&rows[i]))
			break;
		point -= weight_of(&rows[i]);
	}
	return last;
}

/*
 * Two choices: nearly as even as the true minimum, and several proxies that do
 * not know one another do not all run to the same server.
 */
static int choose_random(const struct balance_row rows[], size_t n, uint64_t candidates,
                         uint64_t random)
{
	size_t a = draw(rows, n, candidates, random >> 32);
	size_t b;

	candidates &= ~bit(a);
	if (candidates == 0)
		return (int)a;
	b = draw(rows, n, candidates, random & UINT32_MAX);
	return rows[b].sessions * weight_of(&rows[a]) < rows[a].sessions * weight_of(&rows[b])
	           ? (int)b
	           : (int)a;
}

static int choose_first(uint64_t candidates)
{
	return __builtin_ctzll(candidates);
}

/* The finisher of splitmix64. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

#define LOG_FRACTION_BITS 24

/* -log2(x / 2^64) in units of 2^-24, rounded up; x > 0. No floating point: all machines agree. */
static uint64_t minus_log2(uint64_t x)
{
	unsigned shift = (unsigned)__builtin_clzll(x);
	uint64_t y = x << shift >> 32; /* 1 <= y / 2^31 < 2 */
	uint64_t log = 63 - shift;

	for (int i = 0; i < LOG_FRACTION_BITS; i++) {
		y = y * y >> 31;
		log <<= 1;
		if (y >> 32 != 0) {
			log |= 1;
			y >>= 1;
		}
	}
	return (UINT64_C(64) << LOG_FRACTION_BITS) - log;
}

/*
 * Weighted rendezvous: every server draws an exponential waiting time from the
 * hash of (key, server), divided by its weight; the shortest wins. A server's
 * time depends on no other server, so only those keys move whose winner came or
 * went, and the shares are those of the weights.
 */
static int choose_by_hash(const struct balance_row rows[], size_t n, uint64_t candidates,
                          uint64_t key)
{
	int best = BALANCE_NONE;
	uint64_t best_time = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t time;

		if ((candidates & bit(i)) == 0)
			continue;
		time = minus_log2(mix(mix(key) ^ rows[i].name_hash) | 1);
		if (best < 0 || time * weight_of(&rows[best]) < best_time * weight_of(&rows[i])) {
			best = (int)i;
			best_time = time;
		}
	}
	return best;
}

/* The candidates, or none with the reason why in *why. */
static uint64_t find_candidates(const struct balance_row rows[], size_t n, uint64_t tried, int *why)
{
	uint64_t eligible = 0;
	uint64_t backups = 0;
	uint64_t roomy = 0;

	for (size_t i = 0; i < n; i++) {
		if (!rows[i].eligible || rows[i].weight == 0 || (tried & bit(i)) != 0)
			continue;
		if (rows[i].backup)
			backups |= bit(i);
		else
			eligible |= bit(i);
		if (has_room(&rows[i]))
			roomy |= bit(i);
	}
	if (eligible == 0)
		eligible = backups;
	*why = eligible == 0 ? BALANCE_NONE : BALANCE_FULL;
	return eligible & roomy;
}

int balance_choose(enum balance_algorithm algorithm, struct balance_row rows[], size_t n,
                   const struct balance_ask *ask)
{
	uint64_t candidates;
	int why;

	SP_ASSERT(n <= BALANCE_ROWS_MAX);
	candidates = find_candidates(rows, n, ask->tried, &why);
	if (candidates == 0)
		return why;
	switch (algorithm) {
	case BALANCE_ROUND_ROBIN:
		return choose_in_turn(rows, n, candidates);
	case BALANCE_LEAST_SESSIONS:
	case BALANCE_LEAST_RESPONSE_TIME:
		return choose_least(rows, n, candidates, algorithm);
	case BALANCE_RANDOM:
		return choose_random(rows, n, candidates, ask->random);
	case BALANCE_FIRST:
		return choose_first(candidates);
	case BALANCE_HASH_USER:
		return choose_by_hash(rows, n, candidates, ask->hash_user);
	case BALANCE_HASH_SOURCE:
		return choose_by_hash(rows, n, candidates, ask->hash_source);
	case BALANCE_ALGORITHM_COUNT:
		break;
	}
	SP_UNREACHABLE("enum balance_algorithm");
}

/* FNV-1a, then mixed: alone its high bits are poor for short names. */
uint64_t balance_hash(struct span bytes)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes.n; i++) {
		hash ^= (unsigned char)bytes.p[i];
		hash *= UINT64_C(0x100000001b3);
	}
	return mix(hash);
}

#define V6_NETWORK_BYTES 8

uint64_t balance_hash_source(const struct netaddr *source)
{
	struct netaddr a = *source;
	char bytes[V6_NETWORK_BYTES] = { 0 };

	netaddr_unmap(&a);
	if (a.family == AF_INET) {
		memcpy(bytes, &a.in.sin_addr, sizeof(a.in.sin_addr));
		return balance_hash(span_from(bytes, sizeof(a.in.sin_addr)));
	}
	if (a.family == AF_INET6)
		memcpy(bytes, a.in6.sin6_addr.s6_addr, sizeof(bytes));
	return balance_hash(span_from(bytes, sizeof(bytes)));
}

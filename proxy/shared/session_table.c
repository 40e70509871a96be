// SPDX-License-Identifier: ISC
/*
 * The session table: shards of {mutex, hash, timing wheel}.
 *
 * Under a shard's lock nothing runs but this file, the wheel and mem*: records
 * are allocated before it is taken and freed after it was dropped.
 *
 * A shard's hash has its records in the order of their hash values: bucket b of
 * 2^k holds those whose upper k bits are b, its chain ascending. Hash values
 * are distinct (the hash is a bijection of the id), so a listing goes on behind
 * a value, whatever became of the buckets meanwhile. Growing doubles the
 * buckets a few at a time: old bucket b becomes 2b and 2b+1 of the new array,
 * which keeps the order; no hold of the lock pays for all of it.
 */
#include "sallyport/session_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/wheel.h"

#define BUCKETS_LOG2_FIRST 4
#define SPLITS_PER_INSERT 4
#define PAGE_RECORDS_MAX 64   /* copied in one hold of the lock */
#define PAGE_BUCKETS_MAX 1024 /* looked at in one hold of the lock */
#define EXPIRE_STEPS_MAX 256  /* records moved in one hold of the lock */

struct record {
	struct session_live live; /* borrowed by the owner */
	struct record *next;      /* in the bucket, ascending hash */
	struct wheel_node node;   /* not filed: no deadline */
	int64_t told_ms;          /* deadline of the last notice, CLOCK_NEVER: none */
	struct session_id id;
	int64_t started_ms;
	struct netaddr client;
	struct netaddr server;
	char listener[sizeof(((struct session_info *)0)->listener)];
	char user[sizeof(((struct session_info *)0)->user)];
	char pool[sizeof(((struct session_info *)0)->pool)];
	char server_name[sizeof(((struct session_info *)0)->server_name)];
};

_Static_assert(sizeof(struct record) <= 400, "an idle session's record is small");

/* On cache lines of its own. */
struct shard {
	_Alignas(64) struct core_lock lock;
	_Atomic size_t count; /* written under the lock, read by anybody */
	unsigned log2;        /* buckets: 1 << log2 */
	size_t split;         /* while growing: old buckets that have moved */
	struct record **buckets;
	struct record **grown; /* NULL: not growing; else 2 << log2 buckets */
	struct wheel wheel;
};

struct session_table {
	size_t shards; /* a power of two */
	struct shard *shard;
	_Atomic size_t limit;
	/* Records that are there or are about to be: never above the limit, whoever asks at the same time. */
	_Alignas(64) _Atomic size_t admitted;
};

static bool admit(struct session_table *table)
{
	size_t limit = atomic_load_explicit(&table->limit, memory_order_relaxed);

	if (atomic_fetch_add_explicit(&table->admitted, 1, memory_order_relaxed) < limit)
		return true;
	atomic_fetch_sub_explicit(&table->admitted, 1, memory_order_relaxed);
	return false;
}

static void dismiss(struct session_table *table)
{
	atomic_fetch_sub_explicit(&table->admitted, 1, memory_order_relaxed);
}

/* The finalizer of splitmix64: a bijection whose bits all depend on all bits. */
static uint64_t hash_of(struct session_id id)
{
	uint64_t h = id.v;

	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
	h = (h ^ h >> 27) * 0x94d049bb133111ebu;
	return h ^ h >> 31;
}

/* Lower bits choose the shard, upper bits the bucket. */
static struct shard *shard_of(struct session_table *table, uint64_t hash)
{
	return &table->shard[hash & (table->shards - 1)];
}

static bool shard_init(struct shard *shard)
{
	struct record **buckets = calloc((size_t)1 << BUCKETS_LOG2_FIRST, sizeof(struct record *));

	if (buckets == NULL)
		return false;
	memset(shard, 0, sizeof(*shard));
	core_lock_init(&shard->lock);
	shard->log2 = BUCKETS_LOG2_FIRST;
	shard->buckets = buckets;
	wheel_init(&shard->wheel, 0);
	return true;
}

static void shard_fini(struct shard *shard)
{
	SP_ASSERT(atomic_load(&shard->count) == 0);
	free(shard->grown);
	free(shard->buckets);
	core_lock_fini(&shard->lock);
}

struct session_table *session_table_new(size_t shards)
{
	SP_ASSERT(shards >= 1 && shards <= SESSION_SHARDS_MAX);

	size_t rounded = 1;

	while (rounded < shards)
		rounded *= 2;

	struct session_table *table = aligned_alloc(_Alignof(struct session_table), sizeof(*table));

	if (table == NULL)
		return NULL;
	table->shards = 0;
	atomic_init(&table->limit, SIZE_MAX);
	atomic_init(&table->admitted, 0);
	table->shard = aligned_alloc(_Alignof(struct shard), rounded * sizeof(struct shard));
	while (table->shard != NULL && table->shards < rounded) {
		if (!shard_init(&table->shard[table->shards])) {
			session_table_free(&table);
			return NULL;
		}
		table->shards++;
	}
	if (table->shard == NULL)
		session_table_free(&table);
	return table;
}

void session_table_free(struct session_table **table)
{
	struct session_table *t = *table;

	*table = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->shards; i++)
		shard_fini(&t->shard[i]);
	free(t->shard);
	free(t);
}

/* --- the hash of one shard -------------------------------------------------------- */

/* Where the chain of a hash value is, and how many lower bits its bucket leaves open. */
static struct record **bucket_of(struct shard *shard, uint64_t hash, unsigned *open_bits)
    SP_REQUIRES(shard->lock, sp_any_shard)
{
	unsigned open = 64 - shard->log2;
	uint64_t bucket = hash >> open;

	if (shard->grown != NULL && bucket < shard->split) {
		*open_bits = open - 1;
		return &shard->grown[hash >> (open - 1)];
	}
	*open_bits = open;
	return &shard->buckets[bucket];
}

/* What points at the first record of the bucket that is not before `hash`. */
static struct record **find_place(struct shard *shard, uint64_t hash)
    SP_REQUIRES(shard->lock, sp_any_shard)
{
	unsigned open_bits;
	struct record **place = bucket_of(shard, hash, &open_bits);

	while (*place != NULL && hash_of((*place)->id) < hash)
		place = &(*place)->next;
	return place;
}

static struct record *find_record(struct shard *shard, uint64_t hash)
    SP_REQUIRES(shard->lock, sp_any_shard)
{
	struct record *record = *find_place(shard, hash);

	return record != NULL && hash_of(record->id) == hash ? record : NULL;
}

/* Moves some buckets to the grown array. Returns the old one once it is empty: free it unlocked. */
static struct record **split_some(struct shard *shard) SP_REQUIRES(shard->lock, sp_any_shard)
{
	size_t end = (size_t)1 << shard->log2;

	if (shard->grown == NULL)
		return NULL;
	for (int i = 0; i < SPLITS_PER_INSERT && shard->split < end; i++, shard->split++) {
		struct record **place = &shard->buckets[shard->split];
		uint64_t upper = (uint64_t)(2 * shard->split + 1) << (63 - shard->log2);

		shard->grown[2 * shard->split] = *place;
		place = &shard->grown[2 * shard->split];
		while (*place != NULL && hash_of((*place)->id) < upper)
			place = &(*place)->next;
		shard->grown[2 * shard->split + 1] = *place;
		*place = NULL;
	}
	if (shard->split < end)
		return NULL;

	struct record **dead = shard->buckets;

	shard->buckets = shard->grown;
	shard->grown = NULL;
	shard->split = 0;
	shard->log2++;
	return dead;
}

/* How many buckets the shard should grow to; 0: it is fine as it is. */
static size_t buckets_wanted(const struct shard *shard) SP_REQUIRES(shard->lock, sp_any_shard)
{
	size_t buckets = (size_t)1 << shard->log2;
	size_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);

	return shard->grown == NULL && count > buckets ? 2 * buckets : 0;
}

/* Without memory the chains get longer, and the next insert tries again. */
static void shard_grow(struct shard *shard, size_t buckets) SP_EXCLUDES(sp_any_shard)
{
	struct record **grown = calloc(buckets, sizeof(struct record *));

	if (grown == NULL)
		return;
	core_lock_take(&shard->lock, __func__);
	if (buckets_wanted(shard) == buckets) {
		shard->grown = grown;
		grown = NULL;
	}
	core_lock_drop(&shard->lock);
	free(grown); /* another worker was faster */
}

/* --- records ------------------------------------------------------------------------ */

static void set_count(struct shard *shard, size_t count)
{
	atomic_store_explicit(&shard->count, count, memory_order_relaxed);
}

static size_t get_count(const struct shard *shard)
{
	return atomic_load_explicit(&shard->count, memory_order_relaxed);
}

/* The strings of both have the same sizes. */
static void set_names(struct record *record, const struct session_info *info)
{
	memcpy(record->user, info->user, sizeof(record->user));
	memcpy(record->pool, info->pool, sizeof(record->pool));
	memcpy(record->server_name, info->server_name, sizeof(record->server_name));
	record->user[sizeof(record->user) - 1] = '\0';
	record->pool[sizeof(record->pool) - 1] = '\0';
	record->server_name[sizeof(record->server_name) - 1] = '\0';
	record->server = info->server;
	record->client = info->client;
}

static struct record *record_new(const struct session_info *info)
{
	struct record *record = malloc(sizeof(*record));

	if (record == NULL)
		return NULL;
	memset(record, 0, offsetof(struct record, listener));
	atomic_init(&record->live.deadline_ms, CLOCK_NEVER);
	atomic_init(&record->live.turn_ms, CLOCK_NEVER);
	atomic_init(&record->live.last_activity_ms, info->started_ms);
	record->told_ms = CLOCK_NEVER;
	record->id = info->id;
	record->started_ms = info->started_ms;
	memcpy(record->listener, info->listener, sizeof(record->listener));
	record->listener[sizeof(record->listener) - 1] = '\0';
	set_names(record, info);
	return record;
}

#define LIVE_GET(live, field) atomic_load_explicit(&(live)->field, memory_order_relaxed)

/* A copy by value. The caller has the lock, or has taken the record out. */
static void copy_record(const struct record *record, struct session_info *out)
{
	const struct session_live *live = &record->live;

	out->id = record->id;
	out->started_ms = record->started_ms;
	out->client = record->client;
	out->server = record->server;
	memcpy(out->listener, record->listener, sizeof(out->listener));
	memcpy(out->user, record->user, sizeof(out->user));
	memcpy(out->pool, record->pool, sizeof(out->pool));
	memcpy(out->server_name, record->server_name, sizeof(out->server_name));
	out->deadline_ms = LIVE_GET(live, deadline_ms);
	out->last_activity_ms = LIVE_GET(live, last_activity_ms);
	out->bytes_up = LIVE_GET(live, bytes_up);
	out->bytes_down = LIVE_GET(live, bytes_down);
	out->commands = LIVE_GET(live, commands);
	out->transfers = LIVE_GET(live, transfers);
	out->place = (enum session_place)LIVE_GET(live, place);
	out->clock = LIVE_GET(live, clock);
	out->verb = LIVE_GET(live, verb);
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		out->ledger[i] = LIVE_GET(live, ledger.count[i]);
}

/* --- deadlines ------------------------------------------------------------------------ */

static bool has_passed(int64_t deadline_ms, int64_t now_ms)
{
	return deadline_ms <= now_ms;
}

/*
 * Files a record that is not in the wheel: by its deadline or, when that has
 * passed at now_ms, for the repetition of its notice. Returns whether it has
 * passed; *deadline_ms is the deadline that was judged.
 *
 * The owner may move the deadline at any moment without the lock: it stores the
 * deadline and then reads the turn (session_touch). We store the turn and then
 * read the deadline. So one of us sees the other's move: either the owner finds
 * its deadline before our turn and calls rearm, or we find it here and judge
 * again. Both in sequentially consistent order, which is what that needs.
 */
static bool file_record(struct shard *shard, struct record *record, int64_t now_ms,
                        int64_t *deadline_ms) SP_REQUIRES(shard->lock, sp_any_shard)
{
	int64_t deadline = atomic_load(&record->live.deadline_ms);
	int64_t turn;
	bool due;

	for (;;) {
		due = has_passed(deadline, now_ms);
		turn = due ? now_ms + NOTICE_REPEAT_MS : deadline;
		atomic_store(&record->live.turn_ms, turn);

		int64_t again = atomic_load(&record->live.deadline_ms);
		bool holds = due ? has_passed(again, now_ms) : again >= turn;

		deadline = again;
		if (holds)
			break;
	}
	if (turn != CLOCK_NEVER)
		wheel_add(&shard->wheel, &record->node, turn);
	*deadline_ms = deadline;
	return due;
}

void session_table_limit(struct session_table *table, size_t records)
{
	atomic_store_explicit(&table->limit, records == 0 ? SIZE_MAX : records, memory_order_relaxed);
}

struct session_live *session_table_insert(struct session_table *table,
                                          const struct session_info *info, int64_t deadline_ms)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(info->id.v != 0 && deadline_ms >= 0);

	struct record *record;

	if (!admit(table)) {
		errno = EUSERS;
		return NULL;
	}
	record = record_new(info);
	if (record == NULL) {
		dismiss(table);
		errno = ENOMEM;
		return NULL;
	}

	uint64_t hash = hash_of(info->id);
	struct shard *shard = shard_of(table, hash);

	atomic_init(&record->live.deadline_ms, deadline_ms);
	core_lock_take(&shard->lock, __func__);

	struct record **place = find_place(shard, hash);

	SP_ASSERT(*place == NULL || hash_of((*place)->id) != hash);
	record->next = *place;
	*place = record;
	atomic_store(&record->live.turn_ms, deadline_ms);
	if (deadline_ms != CLOCK_NEVER)
		wheel_add(&shard->wheel, &record->node, deadline_ms);
	set_count(shard, get_count(shard) + 1);

	struct record **dead = split_some(shard);
	size_t wanted = buckets_wanted(shard);

	core_lock_drop(&shard->lock);
	free(dead);
	if (wanted != 0)
		shard_grow(shard, wanted);
	return &record->live;
}

bool session_table_remove(struct session_table *table, struct session_id id,
                          struct session_info *last)
{
	SP_ASSERT_UNLOCKED();

	uint64_t hash = hash_of(id);
	struct shard *shard = shard_of(table, hash);

	core_lock_take(&shard->lock, __func__);

	struct record **place = find_place(shard, hash);
	struct record *record = *place;

	if (record == NULL || hash_of(record->id) != hash) {
		core_lock_drop(&shard->lock);
		return false;
	}
	*place = record->next;
	wheel_remove(&shard->wheel, &record->node);
	set_count(shard, get_count(shard) - 1);
	core_lock_drop(&shard->lock);

	/* Nobody else can reach it any more. */
	if (last != NULL)
		copy_record(record, last);
	free(record);
	dismiss(table);
	return true;
}

void session_table_update(struct session_table *table, const struct session_info *info)
{
	SP_ASSERT_UNLOCKED();

	uint64_t hash = hash_of(info->id);
	struct shard *shard = shard_of(table, hash);

	core_lock_take(&shard->lock, __func__);

	struct record *record = find_record(shard, hash);

	SP_ASSERT(record != NULL);
	set_names(record, info);
	core_lock_drop(&shard->lock);
}

void session_table_rearm(struct session_table *table, struct session_id id, int64_t deadline_ms)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(deadline_ms >= 0);

	uint64_t hash = hash_of(id);
	struct shard *shard = shard_of(table, hash);

	core_lock_take(&shard->lock, __func__);

	struct record *record = find_record(shard, hash);

	SP_ASSERT(record != NULL);
	wheel_remove(&shard->wheel, &record->node);
	record->told_ms = CLOCK_NEVER; /* the owner has acted: what comes now is news */
	atomic_store(&record->live.deadline_ms, deadline_ms);
	atomic_store(&record->live.turn_ms, deadline_ms);
	if (deadline_ms != CLOCK_NEVER)
		wheel_add(&shard->wheel, &record->node, deadline_ms);
	core_lock_drop(&shard->lock);
}

/* --- expiry ------------------------------------------------------------------------------ */

/*
 * Takes what is due, until the batch is full, the steps of one hold are used up
 * (true: there may be more) or nothing is due any more (false).
 */
static bool expire_some_locked(struct shard *shard, int64_t now_ms, struct notice_batch *out)
    SP_REQUIRES(shard->lock, sp_any_shard)
{
	size_t steps = EXPIRE_STEPS_MAX;

	while (out->n < NOTICE_BATCH_MAX) {
		struct wheel_node *node = wheel_take_due(&shard->wheel, now_ms, &steps);

		if (node == NULL)
			return steps == 0;

		struct record *record = SP_CONTAINER_OF(node, struct record, node);
		int64_t deadline_ms;

		if (!file_record(shard, record, now_ms, &deadline_ms))
			continue; /* it had moved later: filed again, not told */
		out->v[out->n++] = (struct notice){
			.id = record->id,
			.deadline_ms = deadline_ms,
			.repeated = record->told_ms == deadline_ms,
		};
		record->told_ms = deadline_ms;
	}
	return true;
}

bool session_table_expire(struct session_table *table, int64_t now_ms, struct notice_batch *out)
{
	SP_ASSERT_UNLOCKED();

	out->n = 0;
	while (out->shard < table->shards) {
		struct shard *shard = &table->shard[out->shard];

		core_lock_take(&shard->lock, __func__);
		bool more = expire_some_locked(shard, now_ms, out);
		core_lock_drop(&shard->lock);

		if (out->n == NOTICE_BATCH_MAX)
			return true;
		if (!more)
			out->shard++;
	}
	out->shard = 0;
	return false;
}

/* --- reading ------------------------------------------------------------------------------ */

bool session_table_get(struct session_table *table, struct session_id id, struct session_info *out)
{
	SP_ASSERT_UNLOCKED();

	uint64_t hash = hash_of(id);
	struct shard *shard = shard_of(table, hash);

	core_lock_take(&shard->lock, __func__);

	struct record *record = find_record(shard, hash);

	if (record != NULL)
		copy_record(record, out);
	core_lock_drop(&shard->lock);
	return record != NULL;
}

/* Copies up to n records, and advances the cursor behind what was looked at. */
static size_t page_some_locked(struct shard *shard, struct table_cursor *cursor,
                               struct session_info out[], size_t n)
    SP_REQUIRES(shard->lock, sp_any_shard)
{
	size_t got = 0;

	for (size_t looked = 0; looked < PAGE_BUCKETS_MAX; looked++) {
		unsigned open_bits;
		struct record *record = *bucket_of(shard, cursor->position, &open_bits);

		for (; record != NULL; record = record->next) {
			uint64_t hash = hash_of(record->id);

			if (hash < cursor->position)
				continue;
			if (got == n) {
				cursor->position = hash;
				return got;
			}
			copy_record(record, &out[got++]);
		}
		/* The first hash value of the next bucket; behind the last one it is 0. */
		cursor->position = ((cursor->position >> open_bits) + 1) << open_bits;
		if (cursor->position == 0) {
			cursor->shard++;
			return got;
		}
	}
	return got;
}

size_t session_table_page(struct session_table *table, struct table_cursor *cursor,
                          struct session_info out[], size_t n)
{
	SP_ASSERT_UNLOCKED();

	size_t got = 0;

	while (got < n && cursor->shard < table->shards) {
		struct shard *shard = &table->shard[cursor->shard];
		size_t room = n - got < PAGE_RECORDS_MAX ? n - got : PAGE_RECORDS_MAX;

		core_lock_take(&shard->lock, __func__);
		got += page_some_locked(shard, cursor, &out[got], room);
		core_lock_drop(&shard->lock);
	}
	return got;
}

size_t session_table_count(struct session_table *table)
{
	size_t count = 0;

	SP_ASSERT_UNLOCKED();
	for (size_t i = 0; i < table->shards; i++)
		count += get_count(&table->shard[i]);
	return count;
}

size_t session_table_shards(const struct session_table *table)
{
	return table->shards;
}

void session_table_lock_stats(struct session_table *table, size_t shard, struct lock_stats *out)
{
	SP_ASSERT(shard < table->shards);
	core_lock_stats(&table->shard[shard].lock, out);
}

// SPDX-License-Identifier: ISC
/*
 * The session table: a hash of session records keyed by session id, in shards,
 * one mutex a shard; each shard has a timing wheel of deadlines.
 *
 * The contract
 * - A shard's mutex is a leaf. Between lock and unlock the table calls nothing
 *   but its own file, the pure wheel and libc; it has no callbacks (no function
 *   pointer appears in this header), logs nothing, posts nothing. No two shards
 *   are ever locked at once.
 * - What leaves the table leaves by value.
 * - session_table_expire() collects what is due under the lock and returns; the
 *   caller tells the owners when no lock is held. Collecting a record files it
 *   again NOTICE_REPEAT_MS ahead, so that a lost notice comes again and no
 *   record can be forgotten.
 * - Invariant of the wheels: a record's turn is never later than its deadline,
 *   but for NOTICE_REPEAT_MS after a notice.
 * - A record has one owner, the worker named in its id. Only the owner calls
 *   insert, remove, rearm, update, session_touch on it. Everybody may page, get
 *   and expire.
 */
#ifndef SALLYPORT_SESSION_TABLE_H
#define SALLYPORT_SESSION_TABLE_H

#include <stdatomic.h>

#include "sallyport/base.h"
#include "sallyport/clock.h"
#include "sallyport/ledger.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"

#define NOTICE_REPEAT_MS      5000
#define NOTICE_BATCH_MAX      256
#define SESSION_SHARDS_MAX    4096
#define SESSION_SHARDS_DEFAULT 64

/* Where a session is in its life; for people (`show sessions`). */
enum session_place {
	PLACE_GREETED,	  /* connected, has not said USER */
	PLACE_QUEUED,	  /* waits for a server slot */
	PLACE_CONNECTING, /* a server is being dialled */
	PLACE_LOGON,	  /* USER and PASS are under way */
	PLACE_IDLE,	  /* logged on, nothing runs */
	PLACE_COMMAND,	  /* a command is outstanding */
	PLACE_TRANSFER,	  /* a transfer runs */
	PLACE_ENDING,
};

/*
 * The part of a record that its owner writes without a lock: relaxed atomics,
 * except deadline_ms and turn_ms, which are the handshake of session_touch().
 */
struct session_live {
	_Atomic int64_t deadline_ms;	  /* the true deadline; CLOCK_NEVER: none */
	_Atomic int64_t turn_ms;	  /* when the wheel will look at the record; written by the table */
	_Atomic int64_t last_activity_ms;
	_Atomic uint64_t bytes_up;	  /* data bytes client to server, in all */
	_Atomic uint64_t bytes_down;
	_Atomic uint32_t commands;
	_Atomic uint32_t transfers;
	_Atomic uint8_t place;		  /* enum session_place */
	_Atomic uint8_t clock;		  /* enum clock_id that the deadline belongs to */
	_Atomic uint16_t verb;		  /* enum verb of the command under way or the last one */
	struct ledger ledger;
};

/* What others may know. Strings are cut to fit and end in NUL. */
struct session_info {
	struct session_id id;
	int64_t started_ms; /* sp_now_ms() */
	struct netaddr client;
	struct netaddr server; /* AF_UNSPEC: none yet */
	char listener[32];
	char user[64];
	char pool[32];
	char server_name[32];
	/* Read out of session_live on the way out; ignored by insert and update. */
	int64_t deadline_ms;
	int64_t last_activity_ms;
	uint64_t bytes_up;
	uint64_t bytes_down;
	uint32_t commands;
	uint32_t transfers;
	enum session_place place;
	uint8_t clock;
	uint16_t verb;
	uint16_t ledger[LEDGER_KINDS];
};

/* "This session is past its deadline": a hint; the owner looks again. */
struct notice {
	struct session_id id;
	int64_t deadline_ms; /* the one that passed */
	bool repeated;	     /* it was sent before and nothing came of it */
};

struct notice_batch {
	size_t n;
	size_t shard; /* where the next call goes on; 0 at the start */
	struct notice v[NOTICE_BATCH_MAX];
};

/*
 * Where a listing goes on. Zero is the start. Records are listed in the order of
 * a hash that never changes, so a shard may grow between two pages.
 */
struct table_cursor {
	size_t shard;
	uint64_t position; /* hash of the first record that has not been looked at */
};

struct session_table;

/* `shards`: 1..SESSION_SHARDS_MAX, rounded up to a power of two. NULL: no memory. Main. */
struct session_table *session_table_new(size_t shards);
/* All records must have been removed. */
void session_table_free(struct session_table **table);

/* At most so many records from now on (0: any number); those that are there stay. At first: any number. Any thread. */
void session_table_limit(struct session_table *table, size_t records);

/*
 * Makes a record for info->id (which must be new) with the given deadline.
 * Returns its live part, which the owner may use until it calls remove; NULL
 * and errno: EUSERS, as many as there may be; ENOMEM. Owner.
 */
SP_MUSTCHECK struct session_live *session_table_insert(struct session_table *table,
						       const struct session_info *info, int64_t deadline_ms)
    SP_EXCLUDES(sp_any_shard);

/* Takes the record out and frees it; *last (may be NULL) gets its last values. False: there was none. Owner. */
bool session_table_remove(struct session_table *table, struct session_id id, struct session_info *last)
    SP_EXCLUDES(sp_any_shard);

/* Replaces user, pool, server_name, server and client of the record. Owner. */
void session_table_update(struct session_table *table, const struct session_info *info)
    SP_EXCLUDES(sp_any_shard);

/*
 * Moves the deadline without a lock: one atomic store. Returns false when the
 * new deadline lies before the record's turn in the wheel (a deadline that
 * moved earlier); the caller must then call session_table_rearm(). The order
 * (store the deadline, then read the turn; the table: store the turn, then read
 * the deadline) makes sure that one of the two sees the other's move. Owner.
 */
SP_MUSTCHECK static inline bool session_touch(struct session_live *live, int64_t deadline_ms)
{
	atomic_store(&live->deadline_ms, deadline_ms);
	return atomic_load(&live->turn_ms) <= deadline_ms;
}

/* Sets the deadline and files the record by it, under the shard's lock. Owner. */
void session_table_rearm(struct session_table *table, struct session_id id, int64_t deadline_ms)
    SP_EXCLUDES(sp_any_shard);

/*
 * Fills out->v with notices for records that are due at now_ms, at most
 * NOTICE_BATCH_MAX, one shard's lock at a time; a record whose deadline has
 * moved later is filed again and not told. True: call again, there may be more
 * (out->shard remembers where); false: this sweep is done and out->shard is 0
 * again. Cost: what is due, plus the wheel's slots that passed. Reaper.
 */
bool session_table_expire(struct session_table *table, int64_t now_ms, struct notice_batch *out)
    SP_EXCLUDES(sp_any_shard);

/* One record by value. False: there is none (any more). */
bool session_table_get(struct session_table *table, struct session_id id, struct session_info *out)
    SP_EXCLUDES(sp_any_shard);

/*
 * Up to n records by value, from *cursor on; 0 at the end. A record that lives
 * through the whole listing is in it exactly once. Never holds a lock longer
 * than it takes to copy about a bucketful. Any thread.
 */
size_t session_table_page(struct session_table *table, struct table_cursor *cursor,
			  struct session_info out[], size_t n) SP_EXCLUDES(sp_any_shard);

/* Records at the moment; sum over the shards. Takes no lock. */
size_t session_table_count(struct session_table *table) SP_EXCLUDES(sp_any_shard);

size_t session_table_shards(const struct session_table *table);
/* Takes no lock either. `shard` < session_table_shards(). */
void session_table_lock_stats(struct session_table *table, size_t shard, struct lock_stats *out)
    SP_EXCLUDES(sp_any_shard);

#endif

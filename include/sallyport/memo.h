// SPDX-License-Identifier: ISC
/*
 * What is remembered of logons for a while: at which server a user was, which
 * password was refused. A table of fixed size, whose entries expire; where it
 * is full, those that expire first make room. Nobody may rely on an entry being
 * there. A locked core: one lock a shard, all of them leaves.
 */
#ifndef SALLYPORT_MEMO_H
#define SALLYPORT_MEMO_H

#include "sallyport/base.h"
#include "sallyport/thread_safety.h"

#define MEMO_ENTRIES 65536
#define MEMO_SHARDS  16
#define MEMO_WAYS    8 /* places that a key may have */
#define MEMO_SEED    32

/* Evenly spread bits: a hash, or a digest where it matters who can make two alike. */
struct memo_key {
	uint64_t a;
	uint64_t b;
};

struct memo;

/* `seed`: random bytes for whoever makes keys, kept with it. NULL: no memory. Main. */
struct memo *memo_new(const unsigned char seed[MEMO_SEED]);
void memo_free(struct memo **memo);
const unsigned char *memo_seed(const struct memo *memo);

/* Remembers `value` until a time of the clock of now_ms; an older one of the same key is replaced. Any thread. */
void memo_put(struct memo *memo, struct memo_key key, uint64_t value, int64_t now_ms, int64_t until_ms)
    SP_EXCLUDES(sp_any_shard);
/* False: nothing, or not any more. */
SP_MUSTCHECK bool memo_get(struct memo *memo, struct memo_key key, int64_t now_ms, uint64_t *value)
    SP_EXCLUDES(sp_any_shard);
void memo_forget(struct memo *memo, struct memo_key key) SP_EXCLUDES(sp_any_shard);

#endif

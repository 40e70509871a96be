// SPDX-License-Identifier: ISC
/*
 * The feature memory: what each server of a pool answered to FEAT, by its place
 * in the pool's ledger. All workers share it, and it outlives sessions, so that
 * FEAT before logon can tell the truth. A locked core: its mutex is a leaf and
 * what leaves it leaves by value.
 *
 * A place belongs to an *identity* (the server's address). Sessions of an older
 * configuration may still speak with the host that had the place before; what
 * they learn is of no use any more and is not taken.
 */
#ifndef SALLYPORT_FEATURE_MEMORY_H
#define SALLYPORT_FEATURE_MEMORY_H

#include "sallyport/features.h"
#include "sallyport/thread_safety.h"

struct feature_memory;

/* For places below `places`; nothing is known and everything wanted. NULL: no memory. */
struct feature_memory *feature_memory_new(size_t places);
void feature_memory_free(struct feature_memory **memory);

/*
 * The server at this place is, or still is, `identity`. Another than before:
 * what was known is forgotten. In any case the next session asks again, since
 * the server may have become another one without moving. Main: start, reload.
 */
void feature_memory_settle(struct feature_memory *memory, uint16_t place, uint64_t identity)
    SP_EXCLUDES(sp_any_shard);

/* The server was away and may have come back as another one: the next session asks again. */
void feature_memory_want(struct feature_memory *memory, uint16_t place);

/* True for one caller after it was wanted: that session is to ask its server. Takes no lock. */
SP_MUSTCHECK bool feature_memory_claim(struct feature_memory *memory, uint16_t place, uint64_t identity);

/* What the server said. Without memory for it nothing is known. */
void feature_memory_note(struct feature_memory *memory, uint16_t place, uint64_t identity,
			 const struct features *features) SP_EXCLUDES(sp_any_shard);

/* False: not known (and *features is empty). */
SP_MUSTCHECK bool feature_memory_recall(struct feature_memory *memory, uint16_t place,
					struct features *features) SP_EXCLUDES(sp_any_shard);

#endif

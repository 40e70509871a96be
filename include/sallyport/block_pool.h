// SPDX-License-Identifier: ISC
/*
 * Blocks of one size, for memory that is large and soon given back, such as the
 * buffers of a TLS handshake. Between small blocks that stay they would leave
 * holes, whose pages malloc keeps; here they lie by themselves, and their pages
 * go back to the system. A locked core: its lock is a leaf.
 */
#ifndef SALLYPORT_BLOCK_POOL_H
#define SALLYPORT_BLOCK_POOL_H

#include "sallyport/base.h"
#include "sallyport/thread_safety.h"

#define BLOCK_POOL_MAX 8192 /* blocks of a pool; address space is reserved for all of them */

struct block_pool;

/* `size`: a multiple of a page's. NULL: no memory. */
struct block_pool *block_pool_new(size_t size);
void block_pool_free(struct block_pool **pool);

/* Any thread. NULL: all are taken. What is in it is anything. */
void *block_pool_take(struct block_pool *pool) SP_EXCLUDES(sp_any_shard);
/* Any thread; a block of the pool, once. */
void block_pool_give(struct block_pool *pool, void *block) SP_EXCLUDES(sp_any_shard);
/* Whether an address is within the pool. */
bool block_pool_has(const struct block_pool *pool, const void *address);

/*
 * From time to time: where no block was taken since the last call, the pages of
 * all that are free go back, otherwise of those that are more than a few and as
 * many again as are taken.
 */
void block_pool_tidy(struct block_pool *pool) SP_EXCLUDES(sp_any_shard);

#endif

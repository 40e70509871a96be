// SPDX-License-Identifier: ISC
/*
 * The pool of blocks: one mapping, whose pages the system gives as they are
 * touched. A free block is warm (its pages are there) or cold (they went back).
 */
#include "sallyport/block_pool.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE	      4096
#define BATCH	      64
#define WARM_AT_LEAST 32 /* while blocks come and go */

_Static_assert(BLOCK_POOL_MAX <= UINT16_MAX + 1, "numbers of blocks");

struct block_pool {
	struct core_lock lock;
	size_t size;		/* of a block */
	size_t length;		/* of the mapping */
	unsigned char *blocks;
	size_t taken;
	size_t touched;		/* blocks from this one on were never taken */
	size_t warm_n;
	size_t cold_n;
	bool still;		/* none was taken since the last tidying */
	bool is_taken[BLOCK_POOL_MAX];
	uint16_t warm[BLOCK_POOL_MAX]; /* the last one was given last */
	uint16_t cold[BLOCK_POOL_MAX];
};

#define HEAD_BYTES ((sizeof(struct block_pool) + PAGE - 1) / PAGE * PAGE)

struct block_pool *block_pool_new(size_t size)
{
	size_t length = HEAD_BYTES + size * BLOCK_POOL_MAX;
	struct block_pool *pool;
	void *mapping;

	SP_ASSERT(size > 0 && size % PAGE == 0);
	mapping = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapping == MAP_FAILED)
		return NULL;
	/* A huge page would be there as a whole for one block of it. */
	(void)madvise(mapping, length, MADV_NOHUGEPAGE);
	pool = mapping;
	core_lock_init(&pool->lock);
	pool->size = size;
	pool->length = length;
	pool->blocks = (unsigned char *)mapping + HEAD_BYTES;
	return pool;
}

void block_pool_free(struct block_pool **poolptr)
{
	struct block_pool *pool = *poolptr;

	if (pool == NULL)
		return;
	*poolptr = NULL;
	core_lock_fini(&pool->lock);
	(void)munmap(pool, pool->length);
}

bool block_pool_has(const struct block_pool *pool, const void *address)
{
	uintptr_t at = (uintptr_t)address;
	uintptr_t first = (uintptr_t)pool->blocks;

	return at >= first && at - first < pool->size * BLOCK_POOL_MAX;
}

void *block_pool_take(struct block_pool *pool)
{
	void *block = NULL;
	size_t i = BLOCK_POOL_MAX;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&pool->lock, __func__);
	pool->still = false;
	if (pool->warm_n > 0)
		i = pool->warm[--pool->warm_n];
	else if (pool->cold_n > 0)
		i = pool->cold[--pool->cold_n];
	else if (pool->touched < BLOCK_POOL_MAX)
		i = pool->touched++;
	if (i < BLOCK_POOL_MAX) {
		pool->is_taken[i] = true;
		pool->taken++;
		block = pool->blocks + i * pool->size;
	}
	core_lock_drop(&pool->lock);
	return block;
}

/* Their pages go back. No lock is held while they do: these blocks are on no list. */
static void cool(struct block_pool *pool, const uint16_t numbers[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)madvise(pool->blocks + numbers[i] * pool->size, pool->size, MADV_DONTNEED);
	core_lock_take(&pool->lock, __func__);
	for (size_t i = 0; i < n; i++)
		pool->cold[pool->cold_n++] = numbers[i];
	core_lock_drop(&pool->lock);
}

void block_pool_give(struct block_pool *pool, void *block)
{
	size_t at = (size_t)((unsigned char *)block - pool->blocks);
	uint16_t i = (uint16_t)(at / pool->size);
	bool keep;

	SP_ASSERT_UNLOCKED();
	SP_ASSERT(block_pool_has(pool, block) && at % pool->size == 0);
	core_lock_take(&pool->lock, __func__);
	SP_ASSERT(pool->is_taken[i]);
	pool->is_taken[i] = false;
	pool->taken--;
	keep = pool->warm_n < pool->taken + WARM_AT_LEAST;
	if (keep)
		pool->warm[pool->warm_n++] = i;
	core_lock_drop(&pool->lock);
	if (!keep)
		cool(pool, &i, 1);
}

void block_pool_tidy(struct block_pool *pool)
{
	uint16_t numbers[BATCH];
	bool still = true;
	size_t n;

	SP_ASSERT_UNLOCKED();
	do {
		size_t keep;

		core_lock_take(&pool->lock, __func__);
		still = still && pool->still;
		keep = still ? 0 : pool->taken + WARM_AT_LEAST;
		for (n = 0; n < BATCH && pool->warm_n > keep; n++)
			numbers[n] = pool->warm[--pool->warm_n];
		if (n < BATCH)
			pool->still = true;
		core_lock_drop(&pool->lock);
		if (n > 0)
			cool(pool, numbers, n);
	} while (n == BATCH);
}

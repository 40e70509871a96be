// SPDX-License-Identifier: ISC
/*
 * OpenSSL's buffers: by their size, which is all that it says of them. A
 * handshake has one of 21 KiB for its messages and two of 4 KiB, a record on
 * its way one of 17 KiB.
 */
#include "sallyport/tls_memory.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "sallyport/block_pool.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WATCHED true
#elif defined(__has_feature)
#define WATCHED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#else
#define WATCHED false
#endif

struct size_class {
	size_t over; /* smaller ones are not worth a block */
	size_t size;
};

static const struct size_class classes[] = { { 3072, 4096 }, { 16384, 24576 } };

/* Made before any thread is, and never freed: OpenSSL may give back as late as it likes. */
static struct block_pool *pools[SP_ARRAY_LEN(classes)];

/*
 * One block of each size is the thread's own while it is free: a message of a
 * connection at rest needs one for a moment, and must not wait for other
 * threads. A thread that ends leaves its blocks behind; ours end with the
 * process.
 */
static _Thread_local void *spare[SP_ARRAY_LEN(classes)];

/* Of which size, or SP_ARRAY_LEN(classes). */
static size_t class_for(size_t n)
{
	size_t i = 0;

	while (i < SP_ARRAY_LEN(classes) && (n <= classes[i].over || n > classes[i].size))
		i++;
	return i;
}

static size_t class_of(const void *p)
{
	size_t i = 0;

	while (i < SP_ARRAY_LEN(classes) && !block_pool_has(pools[i], p))
		i++;
	return i;
}

static void *take(size_t n, const char *file, int line)
{
	size_t i = class_for(n);
	void *p = NULL;

	(void)file;
	(void)line;
	if (i < SP_ARRAY_LEN(classes)) {
		p = spare[i] != NULL ? spare[i] : block_pool_take(pools[i]);
		spare[i] = NULL;
	}
	if (p == NULL && n > 0)
		p = malloc(n);
	return p;
}

static void give(void *p, const char *file, int line)
{
	size_t i = class_of(p);

	(void)file;
	(void)line;
	SP_ASSERT(i == SP_ARRAY_LEN(classes) || p != spare[i]);
	if (i == SP_ARRAY_LEN(classes))
		free(p);
	else if (spare[i] == NULL)
		spare[i] = p;
	else
		block_pool_give(pools[i], p);
}

static void *resize(void *p, size_t n, const char *file, int line)
{
	size_t i = class_of(p);
	void *moved;

	if (p == NULL)
		return take(n, file, line);
	if (n == 0) {
		give(p, file, line);
		return NULL;
	}
	if (i == SP_ARRAY_LEN(classes))
		return realloc(p, n);
	if (n <= classes[i].size)
		return p;
	moved = take(n, file, line);
	if (moved == NULL)
		return NULL;
	memcpy(moved, p, classes[i].size);
	give(p, file, line);
	return moved;
}

void tls_memory_use(void)
{
	bool ready = !WATCHED;

	for (size_t i = 0; i < SP_ARRAY_LEN(classes) && ready; i++) {
		pools[i] = block_pool_new(classes[i].size);
		ready = pools[i] != NULL;
	}
	if (ready && CRYPTO_set_mem_functions(take, resize, give) == 1)
		return;
	for (size_t i = 0; i < SP_ARRAY_LEN(classes); i++)
		block_pool_free(&pools[i]);
}

void tls_memory_tidy(void)
{
	for (size_t i = 0; i < SP_ARRAY_LEN(classes); i++) {
		if (pools[i] != NULL)
			block_pool_tidy(pools[i]);
	}
}

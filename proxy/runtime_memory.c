// SPDX-License-Identifier: ISC
/*
 * Memory that a burst of handshakes leaves free: buffers, and holes between what
 * stays. Their pages are kept for the next one, here they go back to the system.
 */
#include "sallyport/runtime_memory.h"

#include <malloc.h>

#include "sallyport/tls_memory.h"

/* Fewer handshakes leave little behind. */
#define BURST	  64
/* Where they never cease. */
#define TURNS_MAX 60

void runtime_memory_turn(struct runtime_memory *memory, struct counters *const counters[], size_t n)
{
	uint64_t total = 0;
	bool over;

	tls_memory_tidy();
	for (size_t i = 0; i < n; i++)
		total += atomic_load_explicit(&counters[i]->value[COUNT_TLS_HANDSHAKES], memory_order_relaxed);
	over = total - memory->seen < BURST;
	memory->seen = total;
	if (total - memory->trimmed < BURST) {
		memory->turns = 0;
		return;
	}
	if (!over && ++memory->turns < TURNS_MAX)
		return;
	malloc_trim(0);
	memory->trimmed = total;
	memory->turns = 0;
}

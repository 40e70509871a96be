// SPDX-License-Identifier: ISC
/*
 * Memory that a burst of handshakes leaves free between that of the sessions:
 * each takes three buffers of 16 KiB for a moment. malloc keeps their pages,
 * here they go back to the system.
 */
#include "sallyport/runtime_memory.h"

#include <malloc.h>

/* Fewer handshakes leave little behind. */
#define BURST	  64
/* Where they never cease. */
#define TURNS_MAX 60

void runtime_memory_turn(struct runtime_memory *memory, struct counters *const counters[], size_t n)
{
	uint64_t total = 0;
	bool over;

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

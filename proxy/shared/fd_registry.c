// SPDX-License-Identifier: ISC
/*
 * The descriptor registry: an array of notes by number, no lock.
 *
 * A number has one writer at a time, since the kernel gives it to one thread at
 * a time. `where` is written last and cleared first: while it is there, the
 * rest is whole. A reader that sees the same `where` and owner before and after
 * has read one note.
 */
#include "sallyport/fd_registry.h"

#include <errno.h>
#include <stdlib.h>

struct entry {
	const char *_Atomic where; /* NULL: no note */
	_Atomic uint64_t owner;
	_Atomic uint8_t kind;
};

_Static_assert(LEDGER_KINDS < UINT8_MAX, "a kind fits the entry");

/* Set once by main before other threads run. */
static struct entry *entries;
static size_t entries_n;

int fd_registry_init(size_t max)
{
	SP_ASSERT(entries == NULL);
	/* Untouched pages of it cost nothing. */
	entries = calloc(max, sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	entries_n = max;
	return 0;
}

void fd_registry_fini(void)
{
	free(entries);
	entries = NULL;
	entries_n = 0;
}

static struct entry *entry_of(int fd)
{
	return fd >= 0 && (size_t)fd < entries_n ? &entries[fd] : NULL;
}

void fd_registry_note(int fd, struct session_id owner, enum ledger_kind kind, const char *where)
{
	struct entry *entry = entry_of(fd);

	SP_ASSERT(where != NULL);
	if (entry == NULL)
		return;
	atomic_store(&entry->where, NULL);
	atomic_store(&entry->owner, owner.v);
	atomic_store_explicit(&entry->kind, (uint8_t)kind, memory_order_relaxed);
	atomic_store_explicit(&entry->where, where, memory_order_release);
}

void fd_registry_forget(int fd)
{
	struct entry *entry = entry_of(fd);

	if (entry != NULL)
		atomic_store_explicit(&entry->where, NULL, memory_order_release);
}

bool fd_registry_get(int fd, struct fd_note *out)
{
	struct entry *entry = entry_of(fd);

	if (entry == NULL)
		return false;
	for (;;) {
		const char *where = atomic_load(&entry->where);

		if (where == NULL)
			return false;

		uint64_t owner = atomic_load(&entry->owner);
		uint8_t kind = atomic_load_explicit(&entry->kind, memory_order_acquire);

		if (atomic_load(&entry->where) != where || atomic_load(&entry->owner) != owner)
			continue; /* another note has come meanwhile */
		*out = (struct fd_note){ .owner = { owner },
			                 .kind = (enum ledger_kind)kind,
			                 .where = where };
		return true;
	}
}

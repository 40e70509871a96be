// SPDX-License-Identifier: ISC
/*
 * The descriptor registry: an array of notes by number, no lock.
 *
 * A number has one writer at a time, since the kernel gives it to one thread at
 * a time. Each write has a version, odd while it is being made: a reader that
 * sees the same even version before and after has read one note. (Comparing
 * the note itself would not do: another may have come and the same again.)
 */
#include "sallyport/fd_registry.h"

#include <errno.h>
#include <stdlib.h>

struct entry {
	const char *_Atomic where; /* NULL: no note */
	_Atomic uint64_t owner;
	_Atomic uint32_t version;
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

/* Each store is a release, so that none is seen before the odd version is. */
static void entry_write(struct entry *entry, const char *where, uint64_t owner, uint8_t kind)
{
	uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);

	atomic_store_explicit(&entry->version, version + 1, memory_order_relaxed);
	atomic_store_explicit(&entry->where, where, memory_order_release);
	atomic_store_explicit(&entry->owner, owner, memory_order_release);
	atomic_store_explicit(&entry->kind, kind, memory_order_release);
	atomic_store_explicit(&entry->version, version + 2, memory_order_release);
}

void fd_registry_note(int fd, struct session_id owner, enum ledger_kind kind, const char *where)
{
	struct entry *entry = entry_of(fd);

	SP_ASSERT(where != NULL);
	if (entry != NULL)
		entry_write(entry, where, owner.v, (uint8_t)kind);
}

void fd_registry_forget(int fd)
{
	struct entry *entry = entry_of(fd);

	if (entry != NULL)
		entry_write(entry, NULL, 0, 0);
}

bool fd_registry_get(int fd, struct fd_note *out)
{
	struct entry *entry = entry_of(fd);

	while (entry != NULL) {
		uint32_t version = atomic_load_explicit(&entry->version, memory_order_acquire);
		const char *where = atomic_load_explicit(&entry->where, memory_order_acquire);
		uint64_t owner = atomic_load_explicit(&entry->owner, memory_order_acquire);
		uint8_t kind = atomic_load_explicit(&entry->kind, memory_order_acquire);

		if (version % 2 != 0 ||
		    atomic_load_explicit(&entry->version, memory_order_relaxed) != version)
			continue; /* it is being written */
		if (where == NULL)
			return false;
		*out = (struct fd_note){ .owner = { owner },
			                 .kind = (enum ledger_kind)kind,
			                 .where = where };
		return true;
	}
	return false;
}

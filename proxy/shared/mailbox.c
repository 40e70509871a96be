// SPDX-License-Identifier: ISC
/*
 * A worker's mailbox: a ring under a lock, and an eventfd that says it is not
 * empty.
 *
 * The eventfd is written and read without the lock. What keeps a wake-up from
 * getting lost: a poster who finds the mailbox empty writes behind its unlock,
 * and the owner reads the eventfd *before* it takes messages, never after. So a
 * write that the owner swallows belongs to a message that it then sees.
 */
#include "sallyport/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"

struct mailbox {
	struct core_lock lock;
	int fd;
	size_t capacity; /* of ordinary messages */
	size_t size;     /* of the ring: capacity and the reserved room */
	size_t first;
	size_t ordinary;
	size_t reserved;
	_Atomic size_t length; /* ordinary + reserved; written under the lock */
	struct message ring[];
};

struct mailbox *mailbox_new(size_t capacity)
{
	size_t size = capacity + MAILBOX_RESERVED;

	SP_ASSERT(capacity > 0 && capacity < SIZE_MAX / sizeof(struct message) / 2);

	struct mailbox *mailbox = malloc(sizeof(*mailbox) + size * sizeof(struct message));

	if (mailbox == NULL)
		return NULL;
	memset(mailbox, 0, sizeof(*mailbox));
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->fd == -1) {
		free(mailbox);
		return NULL;
	}
	fd_registry_note(mailbox->fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	core_lock_init(&mailbox->lock);
	mailbox->capacity = capacity;
	mailbox->size = size;
	return mailbox;
}

void mailbox_free(struct mailbox **mailbox)
{
	struct mailbox *m = *mailbox;

	*mailbox = NULL;
	if (m == NULL)
		return;
	core_lock_fini(&m->lock);
	fd_registry_forget(m->fd);
	close(m->fd);
	free(m);
}

static void fd_raise(const struct mailbox *mailbox)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(mailbox->fd, &one, sizeof(one));
	} while (n == -1 && errno == EINTR);
	/* EAGAIN: the eventfd's counter is at its maximum, so it is readable all right. */
	SP_ASSERT(n == sizeof(one) || errno == EAGAIN);
}

static void fd_clear(const struct mailbox *mailbox)
{
	uint64_t count;
	ssize_t n;

	do {
		n = read(mailbox->fd, &count, sizeof(count));
	} while (n == -1 && errno == EINTR);
	SP_ASSERT(n == sizeof(count) || errno == EAGAIN);
}

static bool has_reserved_room(enum message_kind kind)
{
	switch (kind) {
	case MESSAGE_DOORS:
	case MESSAGE_CONFIG:
	case MESSAGE_DRAIN:
	case MESSAGE_STOP:
		return true;
	case MESSAGE_NOTICE:
	case MESSAGE_KICK:
	case MESSAGE_SLOT:
	case MESSAGE_DATA:
		return false;
	}
	SP_UNREACHABLE("kind of message");
}

static void set_length(struct mailbox *mailbox)
{
	atomic_store_explicit(&mailbox->length, mailbox->ordinary + mailbox->reserved,
	                      memory_order_relaxed);
}

/* Puts the message in. False: no room of its kind. *was_empty: the owner is to be woken. */
static bool put_locked(struct mailbox *mailbox, struct message message, bool reserved,
                       bool *was_empty) SP_REQUIRES(mailbox->lock, sp_any_shard)
{
	size_t length = mailbox->ordinary + mailbox->reserved;
	size_t *count = reserved ? &mailbox->reserved : &mailbox->ordinary;

	if (*count >= (reserved ? MAILBOX_RESERVED : mailbox->capacity))
		return false;
	mailbox->ring[(mailbox->first + length) % mailbox->size] = message;
	++*count;
	set_length(mailbox);
	*was_empty = length == 0;
	return true;
}

bool mailbox_post(struct mailbox *mailbox, struct message message)
{
	bool reserved = has_reserved_room(message.kind);
	bool was_empty = false;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&mailbox->lock, __func__);
	bool ok = put_locked(mailbox, message, reserved, &was_empty);
	core_lock_drop(&mailbox->lock);

	if (was_empty)
		fd_raise(mailbox);
	return ok;
}

static size_t take_locked(struct mailbox *mailbox, struct message out[], size_t n)
    SP_REQUIRES(mailbox->lock, sp_any_shard)
{
	size_t got = 0;

	while (got < n && mailbox->ordinary + mailbox->reserved > 0) {
		struct message *message = &mailbox->ring[mailbox->first];

		out[got++] = *message;
		mailbox->first = (mailbox->first + 1) % mailbox->size;
		if (has_reserved_room(message->kind))
			mailbox->reserved--;
		else
			mailbox->ordinary--;
	}
	/* From the start again: a quiet worker's ring is a page or two, not all of it in turn. */
	if (mailbox->ordinary + mailbox->reserved == 0)
		mailbox->first = 0;
	set_length(mailbox);
	return got;
}

size_t mailbox_take(struct mailbox *mailbox, struct message out[], size_t n)
{
	SP_ASSERT_UNLOCKED();

	/* Only we take: what is more than n now leaves something, and the eventfd may stay. */
	bool cleared = mailbox_length(mailbox) <= n;

	if (cleared)
		fd_clear(mailbox);

	core_lock_take(&mailbox->lock, __func__);
	size_t got = take_locked(mailbox, out, n);
	bool left = mailbox->ordinary + mailbox->reserved > 0;
	core_lock_drop(&mailbox->lock);

	/* They came behind the clearing, and their posters found others before them. */
	if (cleared && left)
		fd_raise(mailbox);
	return got;
}

int mailbox_fd(const struct mailbox *mailbox)
{
	return mailbox->fd;
}

size_t mailbox_length(struct mailbox *mailbox)
{
	return atomic_load_explicit(&mailbox->length, memory_order_relaxed);
}

void mailbox_lock_stats(struct mailbox *mailbox, struct lock_stats *out)
{
	core_lock_stats(&mailbox->lock, out);
}

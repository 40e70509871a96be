// SPDX-License-Identifier: ISC
/*
 * Stream: a connected socket on a worker's loop, and the plain operations on it.
 *
 * Knows nothing of FTP, nor of OpenSSL: TLS comes as another table of
 * operations. What differs under TLS is here all the same: a read that waits
 * for writability, and bytes that were taken from the socket but not yet by the
 * owner, which no poll would ever report.
 *
 * Thread: the worker's.
 */
#include "sallyport/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"
#include "sallyport/socket_calls.h"

/*
 * Marks an activation that comes from us and not from the socket. The owner may
 * have read everything since; then the callback is dropped without a syscall.
 */
#define BUFFERED EV_TIMEOUT

/* What one close drops at most: a peer that sends faster than we drop gets a RST. */
#define DRAIN_BYTES 16384
#define DRAIN_TURNS 64

static ssize_t plain_read(struct stream *s, void *to, size_t n)
{
	ssize_t got;

	do {
		got = sp_recv(s->fd, to, n, 0);
	} while (got == -1 && errno == EINTR);
	return got == -1 ? -errno : got;
}

static ssize_t send_some(const struct stream *s, const void *from, size_t n, int flags)
{
	ssize_t put;

	do {
		put = sp_send(s->fd, from, n, MSG_NOSIGNAL | flags);
	} while (put == -1 && errno == EINTR);
	return put == -1 ? -errno : put;
}

static ssize_t plain_write(struct stream *s, const void *from, size_t n)
{
	return send_some(s, from, n, 0);
}

static bool plain_pending(const struct stream *s SP_UNUSED)
{
	return false;
}

static int plain_finish(struct stream *s SP_UNUSED)
{
	return 0;
}

static void plain_free(struct stream *s SP_UNUSED)
{
}

static const struct stream_ops plain_ops = {
	.read = plain_read,
	.write = plain_write,
	.pending = plain_pending,
	.finish = plain_finish,
	.free = plain_free,
};

void stream_init(struct stream *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

/* The last statement of each event callback: the owner may free the stream. */
static void stream_tell(struct stream *s, unsigned ready)
{
	if (s->error != 0)
		ready = s->watched;
	if (ready != 0)
		s->ready(s->owner, ready);
}

static void on_event(evutil_socket_t fd SP_UNUSED, short what, void *arg)
{
	struct stream *s = arg;
	bool readable = (what & EV_READ) != 0;
	bool writable = (what & EV_WRITE) != 0;
	unsigned ready = 0;

	if ((s->watched & STREAM_READ) != 0 &&
	    (((s->swap & STREAM_READ_NEEDS_WRITE) != 0 ? writable : readable) || s->ops->pending(s)))
		ready |= STREAM_READ;
	if ((s->watched & STREAM_WRITE) != 0 &&
	    ((s->swap & STREAM_WRITE_NEEDS_READ) != 0 ? readable : writable))
		ready |= STREAM_WRITE;
	stream_tell(s, ready);
}

void stream_open(struct stream *s, struct event_base *base, int fd, struct ledger *ledger,
                 enum ledger_kind kind, struct session_id id, const char *where,
                 stream_ready_fn *ready, void *owner)
{
	SP_ASSERT(fd >= 0);
	stream_init(s);
	s->fd = fd;
	s->kind = (unsigned char)kind;
	s->ledger = ledger;
	s->ops = &plain_ops;
	s->ready = ready;
	s->owner = owner;
	event_assign(&s->event, base, fd, EV_READ | EV_PERSIST, on_event, s);
	ledger_add(ledger, kind);
	fd_registry_note(fd, id, kind, where);
}

void stream_set_tls(struct stream *s, const struct stream_ops *ops, void *tls)
{
	SP_ASSERT(stream_is_open(s) && s->tls == NULL && tls != NULL);
	s->ops = ops;
	s->tls = tls;
	ledger_add(s->ledger, LEDGER_TLS);
}

static unsigned stream_events(const struct stream *s)
{
	unsigned events = 0;

	if ((s->watched & STREAM_READ) != 0)
		events |= (s->swap & STREAM_READ_NEEDS_WRITE) != 0 ? EV_WRITE : EV_READ;
	if ((s->watched & STREAM_WRITE) != 0)
		events |= (s->swap & STREAM_WRITE_NEEDS_READ) != 0 ? EV_READ : EV_WRITE;
	return events;
}

/* Bytes that TLS holds already will not make the socket readable: say so ourselves. */
static void stream_recall_pending(struct stream *s)
{
	if ((s->watched & STREAM_READ) != 0 && s->ops->pending(s))
		event_active(&s->event, BUFFERED, 0);
}

/*
 * Registers what is waited for, where that has changed. Deleting and adding in
 * one turn of a worker's loop is one system call, or none. What the socket was
 * ready for it will be again, but an activation of ours goes with the old
 * registration and is said anew.
 */
static void stream_arm(struct stream *s)
{
	unsigned events = stream_events(s);

	if (events == s->armed)
		return;
	event_del(&s->event);
	s->armed = (unsigned char)events;
	if (events == 0)
		return;
	event_assign(&s->event, stream_base(s), s->fd, (short)(events | EV_PERSIST), on_event, s);
	if (event_add(&s->event, NULL) == -1) {
		/* The loop has no room for the event: the owner learns it from its next operation. */
		s->error = ENOMEM;
		event_active(&s->event, BUFFERED, 0);
		return;
	}
	stream_recall_pending(s);
}

void stream_watch(struct stream *s, unsigned wants)
{
	SP_ASSERT(stream_is_open(s) && (wants & ~(unsigned)(STREAM_READ | STREAM_WRITE)) == 0);
	s->watched = (unsigned char)wants;
	stream_arm(s);
	stream_recall_pending(s);
}

ssize_t stream_read(struct stream *s, void *to, size_t n)
{
	SP_ASSERT(stream_is_open(s) && n > 0);
	if (s->error != 0)
		return -s->error;

	ssize_t got = s->ops->read(s, to, n);

	if (got == 0)
		s->eof = true;
	if (s->tls != NULL) {
		stream_arm(s);
		stream_recall_pending(s);
	}
	return got;
}

ssize_t stream_peek(struct stream *s, void *to, size_t n)
{
	ssize_t got;

	SP_ASSERT(stream_is_open(s) && s->tls == NULL && n > 0);
	if (s->error != 0)
		return -s->error;
	do {
		got = sp_recv(s->fd, to, n, MSG_PEEK);
	} while (got == -1 && errno == EINTR);
	return got == -1 ? -errno : got;
}

ssize_t stream_write(struct stream *s, const void *from, size_t n)
{
	SP_ASSERT(stream_is_open(s) && n > 0);
	if (s->error != 0)
		return -s->error;

	ssize_t put = s->ops->write(s, from, n);

	if (s->tls != NULL)
		stream_arm(s);
	return put;
}

ssize_t stream_write_more(struct stream *s, const void *from, size_t n)
{
	if (s->tls != NULL)
		return stream_write(s, from, n);
	SP_ASSERT(stream_is_open(s) && n > 0);
	return s->error != 0 ? -s->error : send_some(s, from, n, MSG_MORE);
}

int stream_finish(struct stream *s, bool half)
{
	SP_ASSERT(stream_is_open(s));
	if (s->error != 0)
		return -s->error;

	int rc = s->ops->finish(s);

	if (s->tls != NULL)
		stream_arm(s);
	if (rc != 0)
		return rc;
	if (half && shutdown(s->fd, SHUT_WR) == -1)
		return -errno;
	return 0;
}

/*
 * Drops what came and was not read. Without it the kernel would answer close()
 * with a RST and throw away what we wrote: the tail of a file, a last word.
 */
static void stream_drain(struct stream *s)
{
	char dropped[DRAIN_BYTES];
	ssize_t got = 1;

	for (int turn = 0; turn < DRAIN_TURNS && got > 0; turn++)
		got = sp_recv(s->fd, dropped, sizeof(dropped), MSG_DONTWAIT | MSG_TRUNC);
}

/* Also one that is active and was never added. */
static void stream_unwatch(struct stream *s)
{
	event_del(&s->event);
	s->watched = 0;
	s->armed = 0;
}

void stream_drop_tls(struct stream *s)
{
	SP_ASSERT(stream_is_open(s) && s->tls != NULL);
	s->ops->free(s);
	ledger_sub(s->ledger, LEDGER_TLS);
	s->ops = &plain_ops;
	s->tls = NULL;
	s->swap = 0;
	s->eof = false;
	stream_arm(s);
}

static void stream_release(struct stream *s)
{
	int fd = s->fd;

	stream_unwatch(s);
	if (s->tls != NULL) {
		s->ops->free(s);
		ledger_sub(s->ledger, LEDGER_TLS);
	}
	fd_registry_forget(fd);
	ledger_sub(s->ledger, (enum ledger_kind)s->kind);
	stream_init(s);
	/* EINTR included: Linux has closed it all the same. */
	sp_close(fd);
}

void stream_close(struct stream *s)
{
	if (!stream_is_open(s))
		return;
	(void)s->ops->finish(s);
	if (!s->eof)
		stream_drain(s);
	stream_release(s);
}

void stream_close_read(struct stream *s)
{
	if (!stream_is_open(s))
		return;
	(void)s->ops->finish(s);
	stream_release(s);
}

void stream_abort(struct stream *s)
{
	static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (!stream_is_open(s))
		return;
	(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	stream_release(s);
}

int stream_detach(struct stream *s)
{
	int fd = s->fd;

	SP_ASSERT(stream_is_open(s) && !stream_is_tls(s));
	stream_unwatch(s);
	ledger_sub(s->ledger, (enum ledger_kind)s->kind);
	stream_init(s);
	return fd;
}

void stream_move(struct stream *to, struct stream *from, struct ledger *ledger,
                 enum ledger_kind kind, struct session_id id, stream_ready_fn *ready, void *owner)
{
	struct event_base *base = stream_base(from);
	struct fd_note note;
	const char *where = SP_HERE;

	SP_ASSERT(to != from && stream_is_open(from));
	if (fd_registry_get(from->fd, &note))
		where = note.where;
	fd_registry_note(from->fd, id, kind, where);
	stream_unwatch(from);

	stream_init(to);
	to->fd = from->fd;
	to->swap = from->swap;
	to->eof = from->eof;
	to->error = from->error;
	to->kind = (unsigned char)kind;
	to->ledger = ledger;
	to->ops = from->ops;
	to->tls = from->tls;
	to->ready = ready;
	to->owner = owner;
	event_assign(&to->event, base, to->fd, EV_READ | EV_PERSIST, on_event, to);

	ledger_sub(from->ledger, (enum ledger_kind)from->kind);
	ledger_add(ledger, kind);
	if (to->tls != NULL) {
		ledger_sub(from->ledger, LEDGER_TLS);
		ledger_add(ledger, LEDGER_TLS);
	}
	stream_init(from);
}

int stream_take_fd(struct stream *s)
{
	int fd = s->fd;

	SP_ASSERT(stream_is_open(s) && s->tls == NULL);
	stream_unwatch(s);
	ledger_sub(s->ledger, (enum ledger_kind)s->kind);
	stream_init(s);
	return fd;
}

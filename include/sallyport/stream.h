// SPDX-License-Identifier: ISC
/*
 * A stream: a connected socket on a worker's loop, in clear or under TLS. Its
 * owner reads and writes without blocking and says what it waits for.
 *
 * Closing is two functions, because the difference is a file: stream_close()
 * is the orderly end (FIN, under TLS close_notify first), stream_abort() is
 * the broken one (RST, no close_notify), which no receiver can take for the
 * end of a whole file.
 */
#ifndef SALLYPORT_STREAM_H
#define SALLYPORT_STREAM_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "sallyport/base.h"
#include "sallyport/ledger.h"
#include "sallyport/session_id.h"

enum stream_wants { STREAM_READ = 1, STREAM_WRITE = 2 };

/* On the worker's thread, when what the owner waits for may be possible. May end the stream. */
typedef void stream_ready_fn(void *owner, unsigned ready /* of enum stream_wants */);

/* What an operation that gave -EAGAIN waits for when it is not the obvious (TLS only). */
enum stream_swap { STREAM_READ_NEEDS_WRITE = 1, STREAM_WRITE_NEEDS_READ = 2 };

struct stream;

/* Plain and TLS. Results: bytes, 0 for the end (read), -EAGAIN, or -errno (-EPROTO: TLS failed). */
struct stream_ops {
	ssize_t (*read)(struct stream *s, void *to, size_t n);
	ssize_t (*write)(struct stream *s, const void *from, size_t n);
	bool (*pending)(const struct stream *s); /* bytes are readable though the socket may not be */
	/*
	 * Sends close_notify; 0, -EAGAIN or -errno. May be called again after it
	 * succeeded and after any operation failed: then it sends nothing.
	 */
	int (*finish)(struct stream *s);
	void (*free)(struct stream *s); /* releases the TLS object; sends nothing */
};

/* Embedded in its owner; the owner's address must not change while it is open. */
struct stream {
	int fd; /* -1: closed */
	unsigned char watched;	    /* what the owner asked for */
	unsigned char armed;	    /* what is registered with the loop */
	unsigned char swap;	    /* of enum stream_swap; kept by the TLS operations */
	bool eof;		    /* the peer ended */
	int error;		    /* not 0: the loop could not watch it; operations give -error */
	unsigned char kind;	    /* enum ledger_kind of the descriptor */
	struct ledger *ledger;	    /* the descriptor is counted here */
	const struct stream_ops *ops;
	void *tls;		    /* SSL *, NULL in clear */
	stream_ready_fn *ready;
	void *owner;
	struct event event;
};

/* The loop of an open stream. */
static inline struct event_base *stream_base(const struct stream *s)
{
	return event_get_base(&s->event);
}

/* Marks it closed; for memory that was never opened. */
void stream_init(struct stream *s);

static inline bool stream_is_open(const struct stream *s)
{
	return s->fd >= 0;
}

static inline bool stream_is_tls(const struct stream *s)
{
	return s->tls != NULL;
}

/*
 * Takes over the connected, non-blocking descriptor `fd`, counts it in
 * `ledger` as `kind` and notes it in the descriptor registry for `id`, made at
 * `where` (SP_HERE). Nothing is watched yet.
 */
void stream_open(struct stream *s, struct event_base *base, int fd, struct ledger *ledger,
		 enum ledger_kind kind, struct session_id id, const char *where, stream_ready_fn *ready,
		 void *owner);

/*
 * Puts an open stream under TLS: `tls` is now the stream's, is counted as TLS
 * in its ledger, and is released by ops->free. `tls` must not hold the
 * stream's address, because streams move.
 */
void stream_set_tls(struct stream *s, const struct stream_ops *ops, void *tls);

/* Takes the protection away again: from now on it is in clear. To be called when both sides have said close_notify. */
void stream_drop_tls(struct stream *s);

/* See stream_ops. n > 0. */
SP_MUSTCHECK ssize_t stream_read(struct stream *s, void *to, size_t n);
SP_MUSTCHECK ssize_t stream_write(struct stream *s, const void *from, size_t n);

/* The same when more follows at once: bytes or the end, which then share a segment. */
SP_MUSTCHECK ssize_t stream_write_more(struct stream *s, const void *from, size_t n);

/* What could be read now, without taking it; in clear only. Results as of stream_read. n > 0. */
SP_MUSTCHECK ssize_t stream_peek(struct stream *s, void *to, size_t n);

/*
 * Replaces the set of what the owner waits for (0: nothing). The socket is
 * watched level-triggered: an owner that is called and does nothing is called
 * again. Never calls back before it returns.
 */
void stream_watch(struct stream *s, unsigned wants);

/*
 * First half of the orderly end: everything was written; tells the peer so
 * (close_notify, then FIN by shutdown when `half`). -EAGAIN: watch for
 * STREAM_WRITE and call again.
 */
SP_MUSTCHECK int stream_finish(struct stream *s, bool half);

/*
 * Closes orderly; what the kernel still holds is delivered. What the peer sent
 * and nobody read is dropped. Nothing happens to a closed stream.
 */
void stream_close(struct stream *s);

/*
 * The same without looking for unread bytes: for a peer that has said its last
 * word and been answered. Saves a system call.
 */
void stream_close_read(struct stream *s);

/* Breaks the connection: RST. Nothing happens to a closed stream. */
void stream_abort(struct stream *s);

/* Gives up the descriptor of an open stream in clear, which stays noted as it was; the stream is closed then. */
SP_MUSTCHECK int stream_detach(struct stream *s);

/*
 * Moves an open stream to another owner (`from` becomes closed), e.g. to a
 * farewell; nothing is watched afterwards. The descriptor is counted in
 * `ledger` as `kind` from then on.
 */
void stream_move(struct stream *to, struct stream *from, struct ledger *ledger,
		 enum ledger_kind kind, struct session_id id, stream_ready_fn *ready, void *owner);

/*
 * Takes the descriptor out of an open stream in clear, which is closed for its
 * owner then; it is noted as before. The caller's from then on.
 */
SP_MUSTCHECK int stream_take_fd(struct stream *s);

#endif

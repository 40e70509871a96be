// SPDX-License-Identifier: ISC
/*
 * Farewell: the last words of a control connection whose session is gone.
 *
 *   words left ──written──► finishing ──close_notify, FIN──► waiting ──EOF──► closed
 *
 * An error, or the time running out, leads to closed from everywhere. Reading
 * goes on in all states, since unread bytes would turn the close into a RST.
 * Knows nothing of sessions. Thread: the worker's.
 */
#include "sallyport/farewell.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>

#define DROP_BYTES 16384
/* Words up to this length go out together with what was pending, in one segment. */
#define JOIN_BYTES 1024

struct farewell {
	LIST_ENTRY(farewell) link;
	struct farewells *all;
	struct stream stream;
	struct event timer;
	bool finished; /* our side is closed */
	farewell_then_fn *then; /* NULL: nobody waits for the end */
	void *owner;
	size_t at;     /* words[at..n-1] are not yet written */
	size_t n;
	char words[];
};

struct farewells {
	struct event_base *base;
	LIST_HEAD(farewell_list, farewell) list;
	size_t n;
	struct ledger ledger;
};

struct farewells *farewells_new(struct event_base *base)
{
	struct farewells *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	all->base = base;
	LIST_INIT(&all->list);
	return all;
}

static void farewell_free(struct farewell *f)
{
	SP_ASSERT(!stream_is_open(&f->stream));
	event_del(&f->timer);
	if (f->n > 0)
		ledger_sub(&f->all->ledger, LEDGER_BUFFER);
	LIST_REMOVE(f, link);
	f->all->n--;
	free(f);
}

static void farewell_close(struct farewell *f)
{
	farewell_then_fn *then = f->then;
	void *owner = f->owner;

	stream_close(&f->stream);
	farewell_free(f);
	if (then != NULL)
		then(owner);
}

void farewells_free(struct farewells **farewells)
{
	struct farewells *all = *farewells;

	*farewells = NULL;
	if (all == NULL)
		return;
	while (!LIST_EMPTY(&all->list))
		farewell_close(LIST_FIRST(&all->list));
	ledger_assert_empty(&all->ledger);
	free(all);
}

size_t farewells_count(const struct farewells *farewells)
{
	return farewells->n;
}

const struct ledger *farewells_ledger(const struct farewells *farewells)
{
	return &farewells->ledger;
}

/* Writes what the stream takes; 0 (perhaps not all), or -errno: the connection is broken. */
static int farewell_write(struct stream *s, struct span *words)
{
	while (words->n > 0) {
		ssize_t put = stream_write(s, words->p, words->n);

		if (put == -EAGAIN)
			return 0;
		if (put < 0)
			return (int)put;
		words->p += put;
		words->n -= (size_t)put;
	}
	return 0;
}

/*
 * Goes one step on. True: *f waits for something. False: there is nothing more
 * to be done for it but to close.
 */
static bool farewell_step(struct farewell *f)
{
	struct span words = span_from(f->words + f->at, f->n - f->at);

	if (farewell_write(&f->stream, &words) != 0)
		return false;
	f->at = f->n - words.n;
	if (words.n == 0 && !f->finished) {
		int rc = stream_finish(&f->stream, true);

		if (rc != 0 && rc != -EAGAIN)
			return false;
		f->finished = rc == 0;
	}
	if (f->finished && f->stream.eof)
		return false;
	stream_watch(&f->stream,
	             (f->stream.eof ? 0u : STREAM_READ) | (f->finished ? 0u : STREAM_WRITE));
	return true;
}

/* Reads and drops, one buffer a turn: a peer that floods shares the loop with the others. */
static int farewell_drop_input(struct stream *s)
{
	char dropped[DROP_BYTES];
	ssize_t got = stream_read(s, dropped, sizeof(dropped));

	return got < 0 && got != -EAGAIN ? (int)got : 0;
}

static void on_ready(void *owner, unsigned ready)
{
	struct farewell *f = owner;

	if ((ready & STREAM_READ) != 0 && farewell_drop_input(&f->stream) != 0) {
		farewell_close(f);
		return;
	}
	if (!farewell_step(f))
		farewell_close(f);
}

static bool farewell_is_acknowledged(const struct farewell *f)
{
	int under_way = 0;

	if (!f->finished || ioctl(f->stream.fd, SIOCOUTQ, &under_way) == -1)
		return false;
	/* The FIN counts as one while it is not acknowledged. */
	return under_way <= 1;
}

static void on_timeout(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct farewell *f = arg;

	if (!farewell_is_acknowledged(f))
		stream_abort(&f->stream);
	farewell_close(f);
}

/* Joined, so that a short pending line and the words cost one send and one segment. */
static int farewell_write_first(struct stream *s, struct span *pending, struct span *words)
{
	char joined[JOIN_BYTES];

	if (pending->n > 0 && words->n > 0 && pending->n + words->n <= sizeof(joined)) {
		struct span both = span_from(joined, pending->n + words->n);

		memcpy(joined, pending->p, pending->n);
		memcpy(joined + pending->n, words->p, words->n);

		int rc = farewell_write(s, &both);
		size_t done = pending->n + words->n - both.n;
		size_t first = done < pending->n ? done : pending->n;

		*pending = span_from(pending->p + first, pending->n - first);
		*words = span_from(words->p + (done - first), words->n - (done - first));
		return rc;
	}

	int rc = farewell_write(s, pending);

	return rc != 0 || pending->n > 0 ? rc : farewell_write(s, words);
}

static struct farewell *farewell_new(struct farewells *all, struct span pending, struct span words)
{
	size_t n = pending.n + words.n;
	struct farewell *f = NULL;

	if (all->n < FAREWELLS_MAX)
		f = malloc(sizeof(*f) + n);
	if (f == NULL)
		return NULL;
	f->all = all;
	f->then = NULL;
	f->owner = NULL;
	f->finished = false;
	f->at = 0;
	f->n = n;
	if (pending.n > 0)
		memcpy(f->words, pending.p, pending.n);
	if (words.n > 0)
		memcpy(f->words + pending.n, words.p, words.n);
	if (n > 0)
		ledger_add(&all->ledger, LEDGER_BUFFER);
	LIST_INSERT_HEAD(&all->list, f, link);
	all->n++;
	return f;
}

static void close_now(struct stream *stream, farewell_then_fn *then, void *owner)
{
	stream_close(stream);
	if (then != NULL)
		then(owner);
}

void farewell_start(struct farewells *farewells, struct stream *stream, struct span pending,
                    struct span words, int64_t timeout_ms, struct session_id id)
{
	farewell_start_then(farewells, stream, pending, words, timeout_ms, id, NULL, NULL);
}

void farewell_start_then(struct farewells *farewells, struct stream *stream, struct span pending,
                         struct span words, int64_t timeout_ms, struct session_id id,
                         farewell_then_fn *then, void *owner)
{
	int rc = farewell_write_first(stream, &pending, &words);
	bool said = pending.n == 0 && words.n == 0;

	/* A session mostly ends because the peer went: then there is nothing to wait for. */
	if (rc != 0 || (said && stream->eof) || timeout_ms <= 0) {
		close_now(stream, then, owner);
		return;
	}

	struct farewell *f = farewell_new(farewells, pending, words);

	if (f == NULL) {
		close_now(stream, then, owner);
		return;
	}
	f->then = then;
	f->owner = owner;
	stream_move(&f->stream, stream, &farewells->ledger, LEDGER_FAREWELL_FD, id, on_ready, f);
	event_assign(&f->timer, farewells->base, -1, 0, on_timeout, f);

	struct timeval timeout = { .tv_sec = (time_t)(timeout_ms / 1000),
		                   .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000 };

	/* Without its clock a farewell might wait for ever. */
	if (event_add(&f->timer, &timeout) == -1 || !farewell_step(f))
		farewell_close(f);
}

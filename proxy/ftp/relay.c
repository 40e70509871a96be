// SPDX-License-Identifier: ISC
/*
 * The relay: splice(2) through a pipe, or the worker's scratch buffer.
 *
 * EAGAIN from a splice into the pipe means an empty socket or a full pipe, and
 * cannot be told apart; so with anything in the pipe it counts as "full" and
 * the sink is served first.
 */
#include "sallyport/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/socket_calls.h"

/* What is larger than this deserves a large pipe. */
#define LARGE_FILE (1024 * 1024)
/* One call moves at most this much, so that one transfer cannot starve the loop. */
#define PUMP_BYTES_MAX (4u * 1024 * 1024)

void relay_init(struct relay *r)
{
	memset(r, 0, sizeof(*r));
	r->pipe.in = -1;
	r->pipe.out = -1;
}

void relay_start(struct relay *r, struct loop *loop, struct stream *source, struct stream *sink,
		 struct ledger *ledger, struct session_id id)
{
	SP_ASSERT(!r->running);
	relay_init(r);
	r->running = true;
	r->loop = loop;
	r->source = source;
	r->sink = sink;
	r->ledger = ledger;
	r->id = id;
	r->last_byte_ms = loop->now_ms;
	pace_begin(&r->pace, source->fd);
	if (!stream_is_tls(source) && !stream_is_tls(sink))
		r->spliced = pipe_pool_get(&loop->pipes, &r->pipe, ledger, id) == 0;
}

void relay_stop(struct relay *r)
{
	if (!r->running)
		return;
	r->running = false;
	pace_end(&r->pace);
	if (stream_is_open(r->source))
		stream_watch(r->source, 0);
	if (stream_is_open(r->sink))
		stream_watch(r->sink, 0);
	if (r->pipe.in >= 0)
		pipe_pool_put(&r->loop->pipes, &r->pipe, r->in_pipe == 0, r->ledger);
	if (r->rest != NULL) {
		free(r->rest);
		r->rest = NULL;
		ledger_sub(r->ledger, LEDGER_BUFFER);
	}
}

static void count_moved(struct relay *r, size_t n)
{
	if (r->moved == 0)
		r->first_byte_ms = r->loop->now_ms;
	r->moved += n;
	r->last_byte_ms = r->loop->now_ms;
}

enum step { STEP_MOVED, STEP_BLOCKED, STEP_ENDED, STEP_FAILED, STEP_UNSUPPORTED };

static enum step splice_in(struct relay *r, size_t want)
{
	ssize_t n;

	do {
		n = sp_splice(r->source->fd, r->pipe.in, want,
			      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		r->in_pipe += (size_t)n;
		return STEP_MOVED;
	}
	if (n == 0)
		return STEP_ENDED;
	if (errno == EAGAIN)
		return STEP_BLOCKED;
	if ((errno == EINVAL || errno == ENOSYS) && r->in_pipe == 0 && r->moved == 0)
		return STEP_UNSUPPORTED;
	r->error = errno;
	return STEP_FAILED;
}

static enum step splice_out(struct relay *r)
{
	ssize_t n;

	do {
		n = sp_splice(r->pipe.out, r->sink->fd, r->in_pipe,
			      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		SP_ASSERT((size_t)n <= r->in_pipe);
		r->in_pipe -= (size_t)n;
		count_moved(r, (size_t)n);
		counter_add(r->loop->counters, COUNT_BYTES_SPLICED, (uint64_t)n);
		return STEP_MOVED;
	}
	if (n < 0 && errno == EAGAIN)
		return STEP_BLOCKED;
	r->error = n < 0 ? errno : EIO;
	return STEP_FAILED;
}

static enum relay_state over(struct relay *r, enum relay_state state)
{
	relay_stop(r);
	return state;
}

static enum relay_state pump_splice(struct relay *r)
{
	uint64_t stop_at = r->moved + PUMP_BYTES_MAX;
	bool source_blocked = false;
	bool sink_blocked = false;

	if (r->moved >= LARGE_FILE)
		pipe_pool_grow(&r->loop->pipes, &r->pipe);
	while (r->moved < stop_at) {
		if (!r->source_ended && !source_blocked && r->in_pipe < r->pipe.capacity) {
			switch (splice_in(r, r->pipe.capacity - r->in_pipe)) {
			case STEP_MOVED:
				break;
			case STEP_ENDED:
				r->source_ended = true;
				r->source->eof = true;
				break;
			case STEP_BLOCKED:
				source_blocked = true;
				break;
			case STEP_UNSUPPORTED:
				pipe_pool_put(&r->loop->pipes, &r->pipe, true, r->ledger);
				r->spliced = false;
				return RELAY_RUNNING;
			case STEP_FAILED:
				return over(r, RELAY_SOURCE_FAILED);
			}
		}
		if (r->in_pipe == 0) {
			if (r->source_ended)
				return over(r, RELAY_COMPLETE);
			if (source_blocked)
				break;
			continue;
		}
		if (sink_blocked)
			break;
		switch (splice_out(r)) {
		case STEP_MOVED:
			break;
		case STEP_BLOCKED:
			sink_blocked = true;
			break;
		case STEP_ENDED:
		case STEP_UNSUPPORTED:
		case STEP_FAILED:
			return over(r, RELAY_SINK_FAILED);
		}
	}
	/* The last bytes may be those that this call may move at most: nothing more will wake it. */
	if (r->source_ended && r->in_pipe == 0)
		return over(r, RELAY_COMPLETE);
	/*
	 * With the sink blocked and anything in the pipe, "the source is blocked"
	 * may mean "the pipe is full" (of pages, if not of bytes): watching the
	 * source then could spin the loop.
	 */
	stream_watch(r->source,
		     !r->source_ended && (r->in_pipe == 0 || !sink_blocked) ? STREAM_READ : 0);
	stream_watch(r->sink, r->in_pipe > 0 ? STREAM_WRITE : 0);
	return RELAY_RUNNING;
}

static bool keep_rest(struct relay *r, const char *from, size_t n)
{
	if (r->rest == NULL) {
		r->rest = malloc(LOOP_SCRATCH_BYTES);
		if (r->rest == NULL)
			return false;
		ledger_add(r->ledger, LEDGER_BUFFER);
	}
	memcpy(r->rest, from, n);
	r->rest_n = n;
	r->rest_at = 0;
	return true;
}

/* Writes what an earlier turn left over. */
static enum step write_rest(struct relay *r)
{
	while (r->rest_at < r->rest_n) {
		ssize_t n = stream_write(r->sink, r->rest + r->rest_at, r->rest_n - r->rest_at);

		if (n == -EAGAIN)
			return STEP_BLOCKED;
		if (n < 0) {
			r->error = (int)-n;
			return STEP_FAILED;
		}
		r->rest_at += (size_t)n;
		count_moved(r, (size_t)n);
	}
	r->rest_n = 0;
	r->rest_at = 0;
	return STEP_MOVED;
}

/* Writes n bytes of the scratch buffer, keeping what the sink does not take. */
static enum step write_scratch(struct relay *r, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t done = stream_write(r->sink, r->loop->scratch + at, n - at);

		if (done == -EAGAIN)
			return keep_rest(r, r->loop->scratch + at, n - at) ? STEP_BLOCKED : STEP_UNSUPPORTED;
		if (done < 0) {
			r->error = (int)-done;
			return STEP_FAILED;
		}
		at += (size_t)done;
		count_moved(r, (size_t)done);
	}
	return STEP_MOVED;
}

static enum relay_state pump_scratch(struct relay *r)
{
	uint64_t stop_at = r->moved + PUMP_BYTES_MAX;

	while (r->moved < stop_at) {
		ssize_t n;

		if (r->rest_n > 0) {
			enum step step = write_rest(r);

			if (step == STEP_FAILED)
				return over(r, RELAY_SINK_FAILED);
			if (step == STEP_BLOCKED)
				break;
		}
		if (r->source_ended)
			return over(r, RELAY_COMPLETE);
		n = stream_read(r->source, r->loop->scratch, LOOP_SCRATCH_BYTES);
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			r->error = (int)-n;
			return over(r, RELAY_SOURCE_FAILED);
		}
		if (n == 0) {
			r->source_ended = true;
			continue;
		}
		switch (write_scratch(r, (size_t)n)) {
		case STEP_FAILED:
			return over(r, RELAY_SINK_FAILED);
		case STEP_UNSUPPORTED:
			r->error = ENOMEM;
			return over(r, RELAY_LOCAL_ERROR);
		case STEP_MOVED:
		case STEP_BLOCKED:
		case STEP_ENDED:
			break;
		}
	}
	stream_watch(r->source, r->rest_n == 0 && !r->source_ended ? STREAM_READ : 0);
	stream_watch(r->sink, r->rest_n > 0 ? STREAM_WRITE : 0);
	return RELAY_RUNNING;
}

enum relay_state relay_pump(struct relay *r)
{
	enum relay_state state = RELAY_RUNNING;

	SP_ASSERT(r->running);
	if (r->spliced)
		state = pump_splice(r);
	if (!r->spliced && state == RELAY_RUNNING)
		state = pump_scratch(r);
	if (state == RELAY_RUNNING && !stream_is_tls(r->source))
		pace_note(&r->loop->pacer, &r->pace, r->moved, r->loop->now_ms);
	return state;
}

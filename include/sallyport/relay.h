// SPDX-License-Identifier: ISC
/*
 * Relay: moves the bytes of one transfer from one stream to the other.
 *
 * Knows nothing of FTP: it is told when to start and says how it ended. Two
 * ways to move: splice(2) through a pipe (plain to plain), or the worker's
 * scratch buffer (TLS on a side, or no splice). Between events it holds a pipe,
 * or once its sink has not kept up a buffer of LOOP_SCRATCH_BYTES, until it
 * stops. It closes neither stream.
 * Thread: the session's worker.
 */
#ifndef SALLYPORT_RELAY_H
#define SALLYPORT_RELAY_H

#include "sallyport/loop.h"
#include "sallyport/pace.h"
#include "sallyport/stream.h"
#include "sallyport/transfer.h"

struct relay {
	bool running;
	bool spliced;	    /* by pipe; otherwise by scratch buffer */
	bool source_ended;  /* orderly end of the source was read */
	struct loop *loop;
	struct stream *source;
	struct stream *sink;
	struct ledger *ledger;
	struct session_id id;
	struct pipe_pair pipe;
	size_t in_pipe;
	char *rest;	    /* what the sink did not take of the scratch buffer; kept, for a slow sink does it again */
	size_t rest_n;
	size_t rest_at;
	uint64_t moved;	    /* bytes delivered */
	struct pace pace;   /* of the source, where it is plain */
	int64_t first_byte_ms, last_byte_ms; /* when they were delivered */
	int error;	    /* errno of a failed end */
};

enum relay_state {
	RELAY_RUNNING,
	RELAY_COMPLETE,	     /* the source ended orderly and everything is delivered */
	RELAY_SOURCE_FAILED,
	RELAY_SINK_FAILED,
	RELAY_LOCAL_ERROR,   /* no memory, no pipe and no scratch way */
};

void relay_init(struct relay *r);

/* Begins; both streams are open and no byte of them is held elsewhere. Then call relay_pump(). */
void relay_start(struct relay *r, struct loop *loop, struct stream *source, struct stream *sink,
		 struct ledger *ledger, struct session_id id);

/*
 * Moves what can be moved now (bounded, for fairness) and sets what the two
 * streams watch for. Call it when either stream is ready. Any result but
 * RELAY_RUNNING: it is over and watches nothing.
 */
SP_MUSTCHECK enum relay_state relay_pump(struct relay *r);

/* Stops and gives back what it holds. Idempotent. */
void relay_stop(struct relay *r);

#endif

// SPDX-License-Identifier: ISC
/*
 * One side's control channel: a stream and the bytes that it has not taken yet.
 * What is said in one turn goes out in one write; an idle channel holds no
 * buffer. Thread: the session's worker.
 */
#ifndef SALLYPORT_CONTROL_H
#define SALLYPORT_CONTROL_H

#include "sallyport/base.h"
#include "sallyport/span.h"
#include "sallyport/stream.h"

/* Above this many unwritten bytes the other side is not read (back-pressure). */
#define CONTROL_OUT_HIGH (64 * 1024)

struct control {
	struct stream stream;
	char *out;	/* allocated while something is unwritten */
	uint32_t out_n; /* bytes in it */
	uint32_t out_at; /* of these, written */
	uint32_t out_cap;
	int broken;	/* 0, or the -errno that broke it */
};

void control_init(struct control *c);

/* Releases the buffer; the stream must be closed or moved away. */
void control_fini(struct control *c);

/* Appends to what is to be written; nothing is written before control_flush(). False: no memory. */
SP_MUSTCHECK bool control_send(struct control *c, struct span bytes);

/*
 * Writes what the stream takes: 0 (all written), -EAGAIN (watch for STREAM_WRITE), or another -errno: broken, and each
 * later call says the same, since the kernel tells what broke a connection only once.
 */
SP_MUSTCHECK int control_flush(struct control *c);
/* The same when the connection is closed next: the last bytes and the FIN share a segment. */
SP_MUSTCHECK int control_flush_last(struct control *c);

/* What has not been written. Borrowed. */
struct span control_pending(const struct control *c);

#endif

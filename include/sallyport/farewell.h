// SPDX-License-Identifier: ISC
/*
 * Farewells: a control connection whose session is gone, with last words (421,
 * QUIT) still to be said. A farewell writes them, sends FIN, reads and drops
 * what still comes until the peer closes or close_timeout passes, and closes.
 * So a session can end at once, and its last words still arrive (RFC 959
 * section 4.1.1 QUIT; without the reading a RST could destroy them).
 */
#ifndef SALLYPORT_FAREWELL_H
#define SALLYPORT_FAREWELL_H

#include "sallyport/base.h"
#include "sallyport/span.h"
#include "sallyport/stream.h"

struct farewells; /* those of one worker */

/*
 * More at the same time are not kept: such a connection is written to and
 * closed at once, as when there is no memory.
 */
#define FAREWELLS_MAX 32768

struct farewells *farewells_new(struct event_base *base);
/* Closes what is left. */
void farewells_free(struct farewells **farewells);

/*
 * Takes the open stream over (it is closed when this returns) with `pending`
 * (bytes that were not yet written) and then `words`; both are copied. Never
 * fails: with no memory it writes what the socket takes at once and closes.
 * `timeout_ms`: until the connection is closed whatever happened (0 or less: at
 * once). It ends with a RST when the peer has not even acknowledged all the
 * words by then, else as a closed connection does: a RST would make some
 * systems forget words that a slow reader has not read. `id`: for the
 * descriptor registry. Worker thread; calls nobody back.
 */
void farewell_start(struct farewells *farewells, struct stream *stream, struct span pending,
		    struct span words, int64_t timeout_ms, struct session_id id);

/*
 * The same, and `then(owner)` when the connection is closed on both sides or
 * time ran out: at once when there is nothing to wait for. Once, never after
 * farewells_free() returned, from the loop or from this call. For what must not
 * be given back while the server still counts the session.
 */
typedef void farewell_then_fn(void *owner);
void farewell_start_then(struct farewells *farewells, struct stream *stream, struct span pending,
                         struct span words, int64_t timeout_ms, struct session_id id,
                         farewell_then_fn *then, void *owner);

/* How many there are; their ledger (FAREWELL_FD, BUFFER, TLS). */
size_t farewells_count(const struct farewells *farewells);
const struct ledger *farewells_ledger(const struct farewells *farewells);

#endif

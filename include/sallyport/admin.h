// SPDX-License-Identifier: ISC
/*
 * The admin socket: a Unix stream socket on which an operator (sallyportctl, or
 * nc -U) asks, one command a line. It is served by main's event loop; nothing
 * in it blocks, no lock is held while anything is written, and a client that
 * reads slowly costs a bounded buffer and then its connection.
 *
 * Protocol. A command is a line of words, ended by LF or CR LF, at most
 * ADMIN_LINE_MAX bytes of printable ASCII. Answers come in the order of the
 * commands.
 * - As text: lines, and then a line that is a single "."; a line that begins
 *   with "." has another one in front. Tables are columns parted by tabs, the
 *   first line names them. A refusal is one line "error: …".
 * - With the word `json` behind the command: one JSON object on one line, and
 *   no "." line. A refusal is {"error":"…"}.
 * Whatever bytes names have, they appear escaped (json_line.h).
 */
#ifndef SALLYPORT_ADMIN_H
#define SALLYPORT_ADMIN_H

#include <event2/event.h>

#include "sallyport/admin_commands.h"
#include "sallyport/base.h"
#include "sallyport/metrics.h"

#define ADMIN_CLIENTS_MAX 32

struct admin;

/* Times in milliseconds; zero fields mean the defaults. */
struct admin_limits {
	int64_t idle_ms;  /* no command for so long: closed (5 min) */
	int64_t write_ms; /* the client takes nothing for so long: closed (30 s) */
};

/*
 * Makes the socket at `path`, mode 0600. A socket that is left over from a
 * process that is gone is replaced; one on which somebody answers is not.
 * NULL: `error` says why. `sources` is copied (what it points to is not), so its
 * auditor is made before; `limits` may be NULL. Main's thread, whose loop `base` is.
 */
SP_MUSTCHECK struct admin *admin_start(struct event_base *base, const struct ops_sources *sources,
				       const char *path, const struct admin_limits *limits,
				       char error[ADMIN_ERROR_MAX]);

/*
 * Closes all, removes the socket's file (unless somebody else has put another
 * one there). NULL is fine. Main's thread.
 */
void admin_stop(struct admin **admin);

#endif

// SPDX-License-Identifier: ISC
/*
 * A sink: one place that events go to. It never blocks longer than
 * SINK_WAIT_MS for a batch, and not at all while it is known to be stuck; what
 * it cannot take is lost and counted. The event hub's thread is the only
 * caller, but for the counts, which anybody may read.
 */
#ifndef SALLYPORT_SINK_H
#define SALLYPORT_SINK_H

#include <stdatomic.h>

#include "sallyport/base.h"
#include "sallyport/event.h"

#define SINKS_MAX     4
#define SINK_BATCH    64   /* events in one call at most */
#define SINK_NAME_MAX 128
#define SINK_WAIT_MS  250  /* longest wait for a reader that is slow, per batch */
#define SINK_TELL_MS  1000 /* how often a loss is spoken of at most */

enum sink_format { SINK_JSON, SINK_TEXT };

struct sink;

struct sink_ops {
	/*
	 * Writes the events in order, as many as it can, at most SINK_BATCH,
	 * and returns how many (0..n); sink->error becomes 0 when that is all of
	 * them, the errno that stopped it otherwise. Waits for a slow reader only
	 * when sink->error was 0 before.
	 */
	size_t (*write)(struct sink *sink, const struct sp_event events[], size_t n);
	/* Opens its file again; 0 or -errno (the old one stays in use). NULL: nothing to open. */
	int (*reopen)(struct sink *sink);
	/* Closes and frees. */
	void (*free)(struct sink *sink);
};

/* The common part; stands first in each sink. The counts are written by the hub. */
struct sink {
	const struct sink_ops *ops;
	char name[SINK_NAME_MAX];    /* "file /var/log/…", "standard output", "syslog" */
	_Atomic uint64_t written;    /* events */
	_Atomic uint64_t dropped;    /* events that it could not take */
	_Atomic int error;	     /* errno of what is wrong now; 0: it works */
	uint64_t told;		     /* of them, those that an event has spoken of; hub's thread */
	int64_t tell_ms;	     /* no word of a loss before this time; hub's thread */
};

struct sink_stats {
	char name[SINK_NAME_MAX];
	uint64_t written;
	uint64_t dropped;
	int error; /* errno; 0: it works */
};

/*
 * A file, a FIFO or a device; `path` "-": standard output, whatever that is.
 * All lines of a batch go out in one write. NULL: -*error is the reason (a FIFO
 * without a reader is none).
 */
SP_MUSTCHECK struct sink *sink_file_new(const char *path, enum sink_format format, int *error);

/*
 * The same around a descriptor that is open; the sink makes a descriptor of its
 * own and leaves the given one as it is.
 */
SP_MUSTCHECK struct sink *sink_fd_new(int fd, const char *name, enum sink_format format,
				      int *error);

/*
 * RFC 3164 datagrams to the Unix socket `path` (SYSLOG_PATH), never blocking;
 * the text format, one event a datagram. syslog(3) is not used: it may block.
 * NULL: *error is -ENOMEM, or -EINVAL for a facility that is not known.
 */
#define SYSLOG_PATH "/dev/log"
SP_MUSTCHECK struct sink *sink_syslog_new(const char *path, const char *facility, int *error);

/* Is it one of syslog's facilities ("daemon", "ftp", "local0" …)? Its code, or -1. Pure. */
int syslog_facility_code(const char *name);

void sink_free(struct sink **sink);

/* An errno of a sink in words for the operator. */
const char *sink_error_text(int error, char *buf, size_t size);

#endif

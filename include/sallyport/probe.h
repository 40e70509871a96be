// SPDX-License-Identifier: ISC
/*
 * A probe: one connection of our own to a server, to see how it is (a health
 * check) or to keep it ready for a logon (a warm connection). It goes as deep as
 * it is told and says what it found; then it takes its leave, and is gone when
 * the server has closed, so that a server that counts its users does not find
 * one too many. Any loop; one thread.
 */
#ifndef SALLYPORT_PROBE_H
#define SALLYPORT_PROBE_H

#include <event2/event.h>

#include "sallyport/config.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/resolver.h"

#define PROBE_TEXT_MAX 160
/* How long a server may take to close. */
#define PROBE_CLOSE_MS 2000

struct probe;

struct probe_ops {
	/*
	 * Once: how the server is, and why in words (borrowed). With `keep` and
	 * PASSED `fd` is the connection, the callee's if it returns true; otherwise fd
	 * is -1.
	 */
	bool (*found)(void *owner, enum check_verdict verdict, const char *text, int fd);
	/* Once, and last: the callee frees the probe. */
	void (*gone)(void *owner);
};

struct probe_task {
	enum check_kind kind;
	bool keep; /* with CHECK_GREETING in clear: the connection is wanted */
	struct netaddr address; /* of a server that is one address of its name; AF_UNSPEC: as configured */
	/* Borrowed until the probe is freed. */
	const struct server_config *server;
	const struct health_config *health;
};

/* No callback before it returns. NULL: no memory. */
SP_MUSTCHECK struct probe *probe_new(struct event_base *base, struct resolver *resolver,
				     const struct probe_task *task, const struct probe_ops *ops, void *owner);

/* Says goodbye on a connection in clear that is not wanted any more; `found` is not called. NULL: `fd` is closed. */
SP_MUSTCHECK struct probe *probe_new_leave(struct event_base *base, int fd, const struct probe_ops *ops,
					   void *owner);

/* Closes what is open; no callback. */
void probe_free(struct probe **probe);

/* Who was connected to, or tried; AF_UNSPEC: nobody yet. */
const struct netaddr *probe_peer(const struct probe *probe);

#endif

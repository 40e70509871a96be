// SPDX-License-Identifier: ISC
/*
 * Which pooled ports are open: those of the configuration in force, and those
 * of former ones for as long as a session has one (its client may have been
 * told the port already, and will be again). Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_DOORS_H
#define SALLYPORT_RUNTIME_DOORS_H

#include "sallyport/config.h"
#include "sallyport/mailbox.h"

#define RUNTIME_DOORS_ERROR_MAX 256

struct open_door {
	struct netaddr address; /* with its port */
	int fd;			/* its worker's, who closes it when it is told so */
};

/* Zero is a valid start, but for what belongs to the workers. */
struct runtime_doors {
	struct mailbox *const *mailboxes; /* by worker number */
	size_t workers;
	struct open_door *open;
	size_t open_n;
	struct config **former;		  /* references */
	size_t former_n;
	bool stale;			  /* more may be open than is needed */
};

/*
 * Opens what `config` needs, notes it there and tells the workers; `former` (NULL: none) was in
 * force until now, and is kept open for as long as it has sessions. False:
 * nothing new is open, and error says why.
 */
SP_MUSTCHECK bool runtime_doors_open(struct runtime_doors *doors, struct config *former,
				     struct config *config, char error[RUNTIME_DOORS_ERROR_MAX]);

/*
 * From time to time: closes what only configurations needed that no session has
 * any more, or that did not come into force. `now` is the one in force.
 */
void runtime_doors_tend(struct runtime_doors *doors, const struct config *now);

/* The workers are gone. */
void runtime_doors_fini(struct runtime_doors *doors);

#endif

// SPDX-License-Identifier: ISC
/*
 * A look at the names in a listener's passive_address: at the start and after a
 * reload each is looked up once, so that the log tells which cannot be, before a
 * client does. Worker thread.
 */
#ifndef SALLYPORT_WORKER_NAMES_H
#define SALLYPORT_WORKER_NAMES_H

#include "sallyport/loop.h"

struct worker_names;

/* Looks at those of the loop's configuration. NULL: there are none, or no memory to look. */
struct worker_names *worker_names_look(struct loop *loop);
/* Before the loop's resolver is freed. NULL is fine. */
void worker_names_forget(struct worker_names **names);

#endif

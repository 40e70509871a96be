// SPDX-License-Identifier: ISC
/*
 * What the names in a configuration stand for at the moment, for `-t`. Main,
 * without any other thread: it waits for the name servers.
 */
#ifndef SALLYPORT_RUNTIME_NAMES_H
#define SALLYPORT_RUNTIME_NAMES_H

#include "sallyport/config.h"

/* Fills in `now` or `error` of each announced_name. The configuration is not in force yet. */
void runtime_names_look_up(struct config *config);

#endif

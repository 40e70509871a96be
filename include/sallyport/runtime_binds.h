// SPDX-License-Identifier: ISC
/*
 * The sockets of the listeners' addresses: each worker has one of its own for
 * each address (SO_REUSEPORT); a reload opens those that are new. Main's thread.
 */
#ifndef SALLYPORT_RUNTIME_BINDS_H
#define SALLYPORT_RUNTIME_BINDS_H

#include "sallyport/config.h"
#include "sallyport/runtime.h"

/* The addresses of all listeners: how many sockets a worker has at most. */
size_t runtime_binds_count(const struct config *config);
bool runtime_binds_has(const struct config *config, const struct netaddr *address);

/*
 * Finds out whether all addresses are free before any is opened for sharing.
 * Those that `old` (or NULL) has are ours. False: `error` names the listener.
 */
SP_MUSTCHECK bool runtime_binds_probe(const struct config *config, const struct config *old,
				      char error[RUNTIME_ERROR_MAX]);
/*
 * One socket for each address into fds[runtime_binds_count(config)], -1 where
 * `old` (or NULL) has it already. False: none is open, `error` says why.
 */
SP_MUSTCHECK bool runtime_binds_open(const struct config *config, const struct config *old, int fds[],
				     char error[RUNTIME_ERROR_MAX]);
void runtime_binds_close(const int fds[], size_t n);

#endif

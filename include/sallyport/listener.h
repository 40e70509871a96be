// SPDX-License-Identifier: ISC
/*
 * Listeners: the sockets on which a worker accepts clients. Main opens them
 * (so that a port that is taken is an error at the start), each worker has its
 * own of each address (SO_REUSEPORT).
 */
#ifndef SALLYPORT_LISTENER_H
#define SALLYPORT_LISTENER_H

#include "sallyport/loop.h"

/*
 * Whether nobody listens on the address: with SO_REUSEPORT another process's
 * could be shared without notice. 0 or -errno. Nothing listens meanwhile, so no
 * client can be accepted by the kernel and reset. Main.
 */
SP_MUSTCHECK int listener_probe(const struct netaddr *address);

/*
 * Opens a listening socket, non-blocking, with the options that accepted
 * sockets inherit (TCP_NODELAY, the terms of keep-alive), for sharing by
 * SO_REUSEPORT. A descriptor or -errno. Main.
 */
SP_MUSTCHECK int listener_open(const struct netaddr *address);

/* Closes what listener_open() gave. */
void listener_close(int fd);

struct listeners; /* those of one worker */

/*
 * Begins to accept on the descriptors fds[i] for loop->config->listeners: one
 * for each bind of each listener, in order; they belong to it from now on. -1:
 * the socket of that address is taken over from *old, so that no client that
 * waits on it is lost. *old is stopped. NULL: no memory (then nothing has
 * changed, and the descriptors are still the caller's).
 */
SP_MUSTCHECK struct listeners *listeners_start(struct loop *loop, const int fds[], size_t n,
					       struct listeners **old);

/* Closes the sockets: no more clients. */
void listeners_stop(struct listeners **listeners);

#endif

// SPDX-License-Identifier: ISC
/*
 * Pipes for splice(2), kept between transfers. Only a pipe that is proven empty
 * goes back, or one client's bytes would reach another. One pool a worker.
 */
#ifndef SALLYPORT_PIPE_POOL_H
#define SALLYPORT_PIPE_POOL_H

#include "sallyport/base.h"
#include "sallyport/ledger.h"
#include "sallyport/session_id.h"

#define PIPE_POOL_KEEP	  32
#define PIPE_POOL_CAPACITY (1024 * 1024) /* wished; the kernel may give less */
#define PIPE_POOL_CAPACITY_KEEP (64 * 1024) /* smaller ones are not worth keeping */

struct pipe_pair {
	int in;		 /* write end; -1: none */
	int out;	 /* read end */
	size_t capacity; /* bytes */
};

struct pipe_pool {
	size_t n;
	struct pipe_pair kept[PIPE_POOL_KEEP];
};

void pipe_pool_init(struct pipe_pool *pool);
void pipe_pool_fini(struct pipe_pool *pool);

/*
 * A pipe, empty and non-blocking, counted in `ledger` as two PIPE_FD. Its
 * capacity is what the kernel gave: an unprivileged user has 64 MiB of pipes
 * (/proc/sys/fs/pipe-user-pages-soft), beyond which they are small.
 * 0, or -errno (-EMFILE …) and *out is none.
 */
SP_MUSTCHECK int pipe_pool_get(struct pipe_pool *pool, struct pipe_pair *out, struct ledger *ledger,
			       struct session_id id);

/* Gives it back; with `empty` false it is closed instead. *pipe becomes none; none is fine. */
void pipe_pool_put(struct pipe_pool *pool, struct pipe_pair *pipe, bool empty,
		   struct ledger *ledger);

#endif

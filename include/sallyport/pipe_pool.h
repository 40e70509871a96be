// SPDX-License-Identifier: ISC
/*
 * Pipes for splice(2), kept between transfers. Only a pipe that is proven empty
 * goes back, or one client's bytes would reach another. One pool a worker.
 *
 * All pipes of an unprivileged user have 64 MiB together, by
 * /proc/sys/fs/pipe-user-pages-soft (pipe(7)), and what is made beyond holds
 * 8 KiB. So a pipe is an ordinary one to begin with, and only those of large
 * files grow, which half of that is for; and where no ordinary one is to be had
 * the bytes are better copied.
 */
#ifndef SALLYPORT_PIPE_POOL_H
#define SALLYPORT_PIPE_POOL_H

#include "sallyport/base.h"
#include "sallyport/ledger.h"
#include "sallyport/session_id.h"

#define PIPE_POOL_KEEP	   32
#define PIPE_POOL_CAPACITY (64 * 1024)	 /* bytes, of an ordinary pipe */
#define PIPE_POOL_GROWN	   (1024 * 1024) /* wished; the kernel may give less */

struct pipe_pair {
	int in;		 /* write end; -1: none */
	int out;	 /* read end */
	size_t capacity; /* bytes */
	bool grown;
	bool refused;	 /* the kernel did not let it grow */
};

struct pipe_pool {
	unsigned grown;	    /* pipes that are larger than ordinary ones */
	unsigned grown_max; /* this worker's part of half the user's limit */
	size_t n;
	struct pipe_pair kept[PIPE_POOL_KEEP];
};

/* One of `workers` (1..) pools of the process. */
void pipe_pool_init(struct pipe_pool *pool, unsigned workers);
void pipe_pool_fini(struct pipe_pool *pool);

/*
 * An ordinary pipe, empty and non-blocking, counted in `ledger` as two PIPE_FD.
 * 0, or -errno and *out is none: -EMFILE …, -ENOBUFS: the kernel gives the user
 * tiny ones only.
 */
SP_MUSTCHECK int pipe_pool_get(struct pipe_pool *pool, struct pipe_pair *out, struct ledger *ledger,
			       struct session_id id);

/*
 * Makes a pipe of the pool larger, if it may be; bytes may be in it. Whatever
 * comes of it is in pipe->capacity; a refusal by the kernel is remembered until
 * the pipe is given back.
 */
void pipe_pool_grow(struct pipe_pool *pool, struct pipe_pair *pipe);

/* Gives it back; with `empty` false it is closed instead. *pipe becomes none; none is fine. */
void pipe_pool_put(struct pipe_pool *pool, struct pipe_pair *pipe, bool empty,
		   struct ledger *ledger);

#endif

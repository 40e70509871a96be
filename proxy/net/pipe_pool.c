// SPDX-License-Identifier: ISC
/*
 * Pipe pool: pipes for splice(2), kept between transfers.
 *
 * Making one costs three syscalls and closing it two; but a kept pipe must be
 * proven empty, and who gives it back has to prove it. Thread: the worker's.
 */
#include "sallyport/pipe_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"

static const struct pipe_pair no_pipe = { .in = -1, .out = -1, .capacity = 0 };

void pipe_pool_init(struct pipe_pool *pool)
{
	pool->n = 0;
}

static void pipe_close(struct pipe_pair *pipe)
{
	fd_registry_forget(pipe->in);
	fd_registry_forget(pipe->out);
	close(pipe->in);
	close(pipe->out);
	*pipe = no_pipe;
}

void pipe_pool_fini(struct pipe_pool *pool)
{
	while (pool->n > 0)
		pipe_close(&pool->kept[--pool->n]);
}

/*
 * The kernel refuses with EPERM what would bring the user over his soft limit;
 * a smaller wish may still fit. Whatever it is in the end, it works.
 */
static size_t pipe_grow(int fd)
{
	int capacity = -1;

	for (int wish = PIPE_POOL_CAPACITY; wish > PIPE_POOL_CAPACITY_KEEP && capacity == -1;
	     wish /= 4)
		capacity = fcntl(fd, F_SETPIPE_SZ, wish);
	if (capacity == -1)
		capacity = fcntl(fd, F_GETPIPE_SZ);
	return capacity > 0 ? (size_t)capacity : 4096;
}

static int pipe_make(struct pipe_pair *out)
{
	int fds[2];

	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1) {
		*out = no_pipe;
		return -errno;
	}
	out->in = fds[1];
	out->out = fds[0];
	out->capacity = pipe_grow(fds[1]);
	return 0;
}

int pipe_pool_get(struct pipe_pool *pool, struct pipe_pair *out, struct ledger *ledger,
                  struct session_id id)
{
	if (pool->n > 0) {
		*out = pool->kept[--pool->n];
	} else {
		int rc = pipe_make(out);

		if (rc != 0)
			return rc;
	}
	fd_registry_note(out->in, id, LEDGER_PIPE_FD, SP_HERE);
	fd_registry_note(out->out, id, LEDGER_PIPE_FD, SP_HERE);
	ledger_add(ledger, LEDGER_PIPE_FD);
	ledger_add(ledger, LEDGER_PIPE_FD);
	return 0;
}

void pipe_pool_put(struct pipe_pool *pool, struct pipe_pair *pipe, bool empty,
                   struct ledger *ledger)
{
	if (pipe->in == -1)
		return;
	ledger_sub(ledger, LEDGER_PIPE_FD);
	ledger_sub(ledger, LEDGER_PIPE_FD);
	if (!empty || pool->n == PIPE_POOL_KEEP || pipe->capacity < PIPE_POOL_CAPACITY_KEEP) {
		pipe_close(pipe);
		return;
	}
	fd_registry_note(pipe->in, SESSION_ID_NONE, LEDGER_PIPE_FD, SP_HERE);
	fd_registry_note(pipe->out, SESSION_ID_NONE, LEDGER_PIPE_FD, SP_HERE);
	pool->kept[pool->n++] = *pipe;
	*pipe = no_pipe;
}

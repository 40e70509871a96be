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
#include <stdio.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"

#define SOFT_LIMIT	   "/proc/sys/fs/pipe-user-pages-soft"
#define SOFT_LIMIT_DEFAULT 16384 /* pages */
#define GROWN_WITHOUT_LIMIT 1024

static const struct pipe_pair no_pipe = { .in = -1, .out = -1 };

/* How many pipes of all workers may be large ones at once: half of what the user may have. */
static unsigned grown_of_the_process(void)
{
	unsigned long pages = SOFT_LIMIT_DEFAULT;
	FILE *file = fopen(SOFT_LIMIT, "re");
	bool known = file != NULL && fscanf(file, "%9lu", &pages) == 1;

	if (file != NULL)
		fclose(file);
	if (known && pages == 0)
		return GROWN_WITHOUT_LIMIT;
	return (unsigned)(pages * (unsigned long)sysconf(_SC_PAGESIZE) / 2 / PIPE_POOL_GROWN);
}

void pipe_pool_init(struct pipe_pool *pool, unsigned workers)
{
	pool->n = 0;
	pool->grown = 0;
	pool->grown_max = grown_of_the_process() / workers;
	if (pool->grown_max == 0)
		pool->grown_max = 1;
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

static int pipe_make(struct pipe_pair *out)
{
	int capacity;
	int fds[2];

	*out = no_pipe;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1)
		return -errno;
	capacity = fcntl(fds[0], F_GETPIPE_SZ);
	if (capacity < PIPE_POOL_CAPACITY) {
		close(fds[0]);
		close(fds[1]);
		return -ENOBUFS;
	}
	out->in = fds[1];
	out->out = fds[0];
	out->capacity = (size_t)capacity;
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

/*
 * The kernel refuses with EPERM what would bring the user over his soft limit;
 * a smaller wish may still fit.
 */
void pipe_pool_grow(struct pipe_pool *pool, struct pipe_pair *pipe)
{
	int capacity = -1;

	if (pipe->grown || pipe->refused || pool->grown >= pool->grown_max)
		return;
	for (int wish = PIPE_POOL_GROWN; wish > PIPE_POOL_CAPACITY && capacity == -1; wish /= 4)
		capacity = fcntl(pipe->in, F_SETPIPE_SZ, wish);
	pipe->refused = capacity == -1;
	if (pipe->refused)
		return;
	pipe->capacity = (size_t)capacity;
	pipe->grown = true;
	pool->grown++;
}

/* An empty one becomes an ordinary one again. */
static bool shrink(struct pipe_pool *pool, struct pipe_pair *pipe)
{
	int capacity = fcntl(pipe->in, F_SETPIPE_SZ, PIPE_POOL_CAPACITY);

	if (capacity == -1)
		return false;
	pipe->capacity = (size_t)capacity;
	pipe->grown = false;
	pool->grown--;
	return true;
}

void pipe_pool_put(struct pipe_pool *pool, struct pipe_pair *pipe, bool empty,
                   struct ledger *ledger)
{
	bool keep = empty && pool->n < PIPE_POOL_KEEP;

	if (pipe->in == -1)
		return;
	ledger_sub(ledger, LEDGER_PIPE_FD);
	ledger_sub(ledger, LEDGER_PIPE_FD);
	pipe->refused = false;
	if (keep && pipe->grown)
		keep = shrink(pool, pipe);
	if (!keep) {
		pool->grown -= pipe->grown;
		pipe_close(pipe);
		return;
	}
	fd_registry_note(pipe->in, SESSION_ID_NONE, LEDGER_PIPE_FD, SP_HERE);
	fd_registry_note(pipe->out, SESSION_ID_NONE, LEDGER_PIPE_FD, SP_HERE);
	pool->kept[pool->n++] = *pipe;
	*pipe = no_pipe;
}

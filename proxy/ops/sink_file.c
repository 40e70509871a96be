// SPDX-License-Identifier: ISC
/*
 * The sink that writes lines to a file, a FIFO, a device, or whatever standard
 * output is. It never waits in write(2) for a reader; a regular file on a disk
 * that hangs is beyond what a process can avoid, and holds up the hub alone.
 *
 * A line that was written in part stays in `rest` and goes first next time, so
 * that a reader never sees two lines run together.
 */
#include "sallyport/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/fd_registry.h"
#include "sallyport/json_line.h"

/* How to write without being held up. */
enum way {
	WAY_FILE,     /* regular file: write(2) does not wait for anybody */
	WAY_NONBLOCK, /* the open file is our own and O_NONBLOCK */
	WAY_SOCKET, /* shared with others: MSG_DONTWAIT, the flag of the open file stays as it is */
	WAY_POLLED, /* shared and not to be reopened: what poll(2) says fits, PIPE_BUF at a time */
};

struct sink_file {
	struct sink sink;
	char *path; /* NULL: the descriptor was given */
	int fd;     /* -1: not open at the moment */
	enum way way;
	enum sink_format format;
	char rest[EVENT_LINE_MAX];
	size_t rest_n;
	char buffer[(SINK_BATCH + 1) * EVENT_LINE_MAX];
};

static struct sink_file *file_of(struct sink *sink)
{
	return SP_CONTAINER_OF(sink, struct sink_file, sink);
}

static enum way way_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return WAY_FILE;
	return WAY_NONBLOCK;
}

static void file_use(struct sink_file *file, int fd, enum way way)
{
	file->fd = fd;
	file->way = way;
	file->rest_n = 0;
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
}

static void file_close(struct sink_file *file)
{
	if (file->fd == -1)
		return;
	fd_registry_forget(file->fd);
	close(file->fd);
	file->fd = -1;
	file->rest_n = 0;
}

/* 0 or -errno. -ENXIO: a FIFO that nobody reads. */
static int open_path(const char *path)
{
	int fd =
	    open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);

	return fd == -1 ? -errno : fd;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* True when it can take something before the deadline. */
static bool wait_writable(int fd, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	for (;;) {
		int64_t left = sp_max64(deadline_ms - sp_now_ms(), 0);
		int n = poll(&p, 1, (int)left);

		if (n > 0)
			return true; /* or broken: the write will say how */
		if (n == 0 || errno != EINTR)
			return false;
	}
}

static ssize_t write_some(const struct sink_file *file, const char *p, size_t n,
                          int64_t deadline_ms)
{
	switch (file->way) {
	case WAY_FILE:
	case WAY_NONBLOCK:
		return write(file->fd, p, n);
	case WAY_SOCKET:
		return send(file->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case WAY_POLLED:
		if (!wait_writable(file->fd, deadline_ms)) {
			errno = EAGAIN;
			return -1;
		}
		return write(file->fd, p, n < PIPE_BUF ? n : PIPE_BUF);
	}
	SP_UNREACHABLE("complete switch");
}

/* Writes until all is out, it fails, or the time is over. Returns the bytes written; *error the
 * errno or 0. */
static size_t push(const struct sink_file *file, const char *p, size_t n, int64_t wait_ms,
                   int *error)
{
	int64_t deadline_ms = sp_now_ms() + wait_ms;
	size_t done = 0;

	*error = 0;
	while (done < n) {
		ssize_t k = write_some(file, p + done, n - done, deadline_ms);

		if (k > 0) {
			done += (size_t)k;
			continue;
		}
		if (k == -1 && errno == EINTR)
			continue;
		if (k == -1 && errno == EAGAIN && file->way != WAY_POLLED &&
		    wait_writable(file->fd, deadline_ms))
			continue;
		*error = k == 0 ? ENOSPC : errno;
		break;
	}
	return done;
}

/* The lines one behind the other into the buffer; ends[i] is where line i ends. */
static size_t format_lines(struct sink_file *file, const struct sp_event events[], size_t n,
                           size_t ends[])
{
	size_t at = file->rest_n;

	memcpy(file->buffer, file->rest, file->rest_n);
	for (size_t i = 0; i < n; i++) {
		at += file->format == SINK_JSON
		          ? event_line_json(&events[i], file->buffer + at, EVENT_LINE_MAX)
		          : event_line_text(&events[i], file->buffer + at, EVENT_LINE_MAX);
		ends[i] = at;
	}
	return at;
}

/* Bytes [from, to) of the buffer are what is left of a line. */
static void keep_rest(struct sink_file *file, size_t from, size_t to)
{
	SP_ASSERT(to - from <= sizeof(file->rest));
	memmove(file->rest, file->buffer + from, to - from);
	file->rest_n = to - from;
}

/* `done` bytes went out: counts the events that did, and keeps the rest of one that was torn. */
static size_t settle(struct sink_file *file, const size_t ends[], size_t n, size_t done)
{
	size_t start = file->rest_n;

	if (done < start) {
		keep_rest(file, done, start);
		return 0;
	}
	file->rest_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (done < ends[i]) {
			if (done == start)
				return i;
			keep_rest(file, done, ends[i]);
			return i + 1;
		}
		start = ends[i];
	}
	return n;
}

static size_t file_write(struct sink *sink, const struct sp_event events[], size_t n)
{
	struct sink_file *file = file_of(sink);
	int64_t wait_ms = atomic_load(&sink->error) == 0 ? SINK_WAIT_MS : 0;
	size_t ends[SINK_BATCH];
	int error;

	SP_ASSERT(n <= SINK_BATCH);
	if (file->fd == -1) {
		int fd = open_path(file->path);

		if (fd < 0) {
			atomic_store(&sink->error, -fd);
			return 0;
		}
		file_use(file, fd, way_of(fd));
	}
	size_t length = format_lines(file, events, n, ends);
	size_t done = push(file, file->buffer, length, wait_ms, &error);
	size_t written = settle(file, ends, n, done);

	atomic_store(&sink->error, error);
	if (error == EPIPE && file->path != NULL)
		file_close(file); /* the reader of the FIFO has gone; another may come */
	return written;
}

static int file_reopen(struct sink *sink)
{
	struct sink_file *file = file_of(sink);
	int error;

	if (file->path == NULL)
		return 0;
	int fd = open_path(file->path);
	if (fd < 0 && !(fd == -ENXIO && file->fd == -1))
		return fd;
	if (file->fd != -1 && file->rest_n > 0) /* the end of a line belongs to its beginning */
		(void)push(file, file->rest, file->rest_n, 0, &error);
	file_close(file);
	if (fd >= 0)
		file_use(file, fd, way_of(fd));
	return 0;
}

static void file_free(struct sink *sink)
{
	struct sink_file *file = file_of(sink);

	file_close(file);
	free(file->path);
	free(file);
}

static const struct sink_ops file_ops = {
	.write = file_write,
	.reopen = file_reopen,
	.free = file_free,
};

/* ---- making ---------------------------------------------------------------------------------- */

static struct sink_file *file_new(enum sink_format format)
{
	struct sink_file *file = calloc(1, sizeof(*file));

	if (file == NULL)
		return NULL;
	file->sink.ops = &file_ops;
	file->fd = -1;
	file->format = format;
	return file;
}

struct sink *sink_file_new(const char *path, enum sink_format format, int *error)
{
	struct sink_file *file;

	if (strcmp(path, "-") == 0)
		return sink_fd_new(STDOUT_FILENO, "standard output", format, error);
	file = file_new(format);
	if (file == NULL || (file->path = strdup(path)) == NULL) {
		free(file);
		*error = -ENOMEM;
		return NULL;
	}
	snprintf(file->sink.name, sizeof(file->sink.name), "file %s", path);
	int fd = open_path(path);
	if (fd < 0 && fd != -ENXIO) {
		file_free(&file->sink);
		*error = fd;
		return NULL;
	}
	if (fd >= 0)
		file_use(file, fd, way_of(fd));
	return &file->sink;
}

/*
 * A descriptor that is ours alone where that is possible: O_NONBLOCK belongs to
 * the open file, and the shell that started us would find its terminal changed.
 * A regular file is duplicated, so that the common offset goes on.
 */
static int open_again(int fd, enum way *way)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st) == -1)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		*way = WAY_FILE;
	} else if (S_ISSOCK(st.st_mode)) {
		*way = WAY_SOCKET;
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		*way = WAY_NONBLOCK;
		own = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own != -1)
			return own;
		*way = WAY_POLLED;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own == -1 ? -errno : own;
}

struct sink *sink_fd_new(int fd, const char *name, enum sink_format format, int *error)
{
	struct sink_file *file = file_new(format);
	enum way way = WAY_FILE;

	if (file == NULL) {
		*error = -ENOMEM;
		return NULL;
	}
	int own = open_again(fd, &way);
	if (own < 0) {
		file_free(&file->sink);
		*error = own;
		return NULL;
	}
	sp_copy(file->sink.name, sizeof(file->sink.name), name);
	file_use(file, own, way);
	return &file->sink;
}

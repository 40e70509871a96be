// SPDX-License-Identifier: ISC
/*
 * Reading a file with a secret in it, whole, into memory that will be wiped.
 */
#include "sallyport/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport/secret_keeper.h"

static bool fail(char error[SECRET_FILE_ERROR_MAX], const char *why)
{
	snprintf(error, SECRET_FILE_ERROR_MAX, "%s", why);
	return false;
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 && errno == EACCES)
		return secret_keeper_open(path);
	return fd >= 0 ? fd : -errno;
}

static bool check(int fd, enum secret_rules rules, struct stat *st, char error[SECRET_FILE_ERROR_MAX])
{
	if (fstat(fd, st) != 0)
		return fail(error, strerror(errno));
	if (!S_ISREG(st->st_mode))
		return fail(error, "it is not a file");
	if (st->st_size > SECRET_FILE_MAX)
		return fail(error, "it is larger than a megabyte");
	if (rules == SECRET_OURS_ALONE && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		snprintf(error, SECRET_FILE_ERROR_MAX,
			 "it holds secrets and must be of mode 0600, readable by its owner alone; its mode is %04o",
			 (unsigned)(st->st_mode & 07777));
		return false;
	}
	return true;
}

/* One byte more than is expected is asked for: a file that grows meanwhile is seen. */
static bool read_all(int fd, size_t size, struct secret *out, char error[SECRET_FILE_ERROR_MAX])
{
	out->n = 0;
	out->p = malloc(size + 1);
	if (out->p == NULL)
		return fail(error, "out of memory");
	while (out->n <= size) {
		ssize_t got = read(fd, out->p + out->n, size + 1 - out->n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(error, strerror(errno));
		if (got == 0)
			break;
		out->n += (size_t)got;
	}
	if (out->n > size)
		return fail(error, "it changed while it was read");
	out->p[out->n] = '\0';
	return true;
}

bool secret_file_read(const char *path, enum secret_rules rules, struct secret *out,
		      char error[SECRET_FILE_ERROR_MAX])
{
	int fd = open_file(path);
	struct stat st;
	bool ok;

	*out = (struct secret){ NULL, 0 };
	if (fd < 0)
		return fail(error, strerror(-fd));
	ok = check(fd, rules, &st, error) && read_all(fd, (size_t)st.st_size, out, error);
	close(fd);
	if (!ok)
		secret_free(out);
	return ok;
}

void secret_free(struct secret *secret)
{
	if (secret->p != NULL)
		explicit_bzero(secret->p, secret->n);
	free(secret->p);
	*secret = (struct secret){ NULL, 0 };
}

bool secret_file_is_open_to_all(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0;
}

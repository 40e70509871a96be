// SPDX-License-Identifier: ISC
/*
 * The keeper of secrets: a question is a path, an answer is an errno and, with
 * 0, a descriptor beside it.
 */
#include "sallyport/secret_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct keeper {
	int fd; /* our end; -1: there is none */
	pid_t pid;
};

static struct keeper keeper = { -1, -1 };

/* --- in the keeper's process ------------------------------------------------------- */

static bool is_known(const char *const paths[], size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(paths[i], path) == 0)
			return true;
	}
	return false;
}

/* Room for one descriptor beside a message. */
union beside {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static bool answer(int to, int error, int fd)
{
	struct iovec bytes = { &error, sizeof(error) };
	union beside beside;
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };

	memset(&beside, 0, sizeof(beside));
	if (fd >= 0) {
		struct cmsghdr *header = &beside.header;

		message.msg_control = beside.room;
		message.msg_controllen = sizeof(beside.room);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(error);
}

/* Signals that are meant for the program reach its process group: the keeper ends with its socket. */
static void keep(int fd, const char *const paths[], size_t n)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	char path[PATH_MAX];
	ssize_t got;

	for (size_t i = 0; i < SP_ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	(void)prctl(PR_SET_NAME, "sallyport-keys", 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	while ((got = recv(fd, path, sizeof(path), 0)) > 0) {
		int file = -1;
		int error = EACCES;
		bool sent;

		if (path[got - 1] == '\0' && is_known(paths, n, path)) {
			file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
			error = file < 0 ? errno : 0;
		}
		sent = answer(fd, error, file);
		if (file >= 0)
			close(file);
		if (!sent)
			break;
	}
	_exit(0);
}

/* --- in ours ------------------------------------------------------------------------- */

int secret_keeper_start(const char *const paths[], size_t n)
{
	int fds[2];
	pid_t pid;

	SP_ASSERT(keeper.fd < 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int error = errno;

		close(fds[0]);
		close(fds[1]);
		return -error;
	}
	if (pid == 0) {
		close(fds[0]);
		keep(fds[1], paths, n);
	}
	close(fds[1]);
	keeper = (struct keeper){ fds[0], pid };
	return 0;
}

void secret_keeper_stop(void)
{
	if (keeper.fd < 0)
		return;
	close(keeper.fd);
	while (waitpid(keeper.pid, NULL, 0) < 0 && errno == EINTR)
		;
	keeper = (struct keeper){ -1, -1 };
}

static int take_answer(void)
{
	int error = 0;
	int fd = -1;
	struct iovec bytes = { &error, sizeof(error) };
	union beside beside;
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = beside.room,
		.msg_controllen = sizeof(beside.room),
	};
	const struct cmsghdr *header;
	ssize_t got;

	do {
		got = recvmsg(keeper.fd, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(error))
		return got < 0 ? -errno : -EPIPE;
	header = CMSG_FIRSTHDR(&message);
	if (error == 0 && header != NULL && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (fd < 0)
		return error != 0 ? -error : -EPROTO;
	return fd;
}

int secret_keeper_open(const char *path)
{
	size_t n = strlen(path) + 1;

	if (keeper.fd < 0 || n > PATH_MAX)
		return -EACCES;
	if (send(keeper.fd, path, n, MSG_NOSIGNAL) != (ssize_t)n)
		return -errno;
	return take_answer();
}

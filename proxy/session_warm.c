// SPDX-License-Identifier: ISC
/*
 * Warm connections: a logon that gets one, connected and greeted already, need
 * not wait for either. The server may have closed it a moment ago, or close it
 * while USER is on its way; the client must not see that, so until the server
 * has said something on it, its end is no failure of the server's: a fresh
 * connection is made in the same slot.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"
#include "session_private.h"

static void discard(struct session *s, int fd)
{
	fd_registry_forget(fd);
	close(fd);
	counter_add(s->loop->counters, COUNT_WARM_DEAD, 1);
}

/* What it says unasked is a goodbye. */
static bool is_alive(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool session_take_warm(struct session *s)
{
	struct netaddr address;
	socklen_t n = sizeof(address);
	int fd = s->slot.warm_fd;

	if (!s->slot.warm)
		return false;
	s->slot.warm = false;
	memset(&address, 0, sizeof(address));
	if (!is_alive(fd) || getpeername(fd, &address.sa, &n) != 0) {
		discard(s, fd);
		return false;
	}
	counter_add(s->loop->counters, COUNT_WARM_USED, 1);
	session_set_server(s, fd, &address);
	s->warm = true;
	return true;
}

bool session_warm_failed(struct session *s)
{
	if (!s->warm || !s->slot.held)
		return false;
	s->warm = false;
	counter_add(s->loop->counters, COUNT_WARM_DEAD, 1);
	reply_fini(&s->replies);
	stream_close_read(&s->server.stream);
	control_fini(&s->server);
	control_init(&s->server);
	s->server_eof = false;
	s->facts.command_sent_ms = 0;
	return true;
}

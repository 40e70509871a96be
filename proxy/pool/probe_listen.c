// SPDX-License-Identifier: ISC
/*
 * A probe's port for the data connection of a server that makes it itself (PORT,
 * EPRT): open from the command that names it until the server's connection is
 * there. Another host that comes to it is sent away.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe_private.h"
#include "sallyport/fd_registry.h"

#define BACKLOG 4

void probe_close_port(struct probe *p)
{
	if (p->listen_fd < 0)
		return;
	event_del(&p->on_accept);
	fd_registry_forget(p->listen_fd);
	close(p->listen_fd);
	p->listen_fd = -1;
	ledger_sub(&p->ledger, LEDGER_LISTENER_FD);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct probe *p = arg;
	struct netaddr from;
	socklen_t n = sizeof(from);
	int fd;

	(void)what;
	memset(&from, 0, sizeof(from));
	fd = accept4(listen_fd, &from.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0) {
		probe_void(p, strerror(errno));
		return;
	}
	netaddr_unmap(&from);
	if (!netaddr_same_host(&from, &p->peer)) {
		close(fd);
		return;
	}
	probe_close_port(p);
	probe_data_came(p, fd);
}

/* Listens where the server reaches us, on whatever port is free. 0 or -errno. */
static int open_port(struct probe *p, struct netaddr *bound)
{
	socklen_t n = sizeof(*bound);
	int fd;

	memset(bound, 0, sizeof(*bound));
	if (getsockname(p->control.stream.fd, &bound->sa, &n) != 0)
		return -errno;
	netaddr_set_port(bound, 0);
	fd = socket(bound->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	n = sizeof(*bound);
	if (bind(fd, &bound->sa, netaddr_len(bound)) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, &bound->sa, &n) != 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	p->listen_fd = fd;
	ledger_add(&p->ledger, LEDGER_LISTENER_FD);
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_LISTENER_FD, SP_HERE);
	event_assign(&p->on_accept, p->base, fd, EV_READ | EV_PERSIST, on_accept, p);
	return event_add(&p->on_accept, NULL) == 0 ? 0 : -ENOMEM;
}

int probe_open_port(struct probe *p, struct netaddr *bound)
{
	int result;

	probe_close_port(p);
	result = open_port(p, bound);
	if (result != 0)
		probe_close_port(p);
	return result;
}

// SPDX-License-Identifier: ISC
/*
 * Holding connections until their ClientHello is here. The kernel reports a
 * socket when as many bytes have come as are needed (SO_RCVLOWAT), so that one
 * that comes in drops is looked at once a record.
 */
#include "sallyport/anteroom.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct guest {
	struct anteroom *room;
	struct guest *next;
	struct guest **at; /* what points at this one */
	struct knock knock;
	int fd;
	int needs; /* bytes */
	struct event on_bytes;
	struct event on_late;
};

struct anteroom {
	struct event_base *base;
	const struct tls_hello_reader *reader;
	anteroom_leave_fn *leave;
	void *owner;
	struct guest *guests;
	size_t n;
};

/* As it came. */
static void want_bytes(int fd, int n)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n));
}

/* The last thing its caller does. */
static void let_go(struct guest *g, const struct port_name *name)
{
	struct anteroom *room = g->room;
	const struct knock knock = g->knock;
	int fd = g->fd;

	*g->at = g->next;
	if (g->next != NULL)
		g->next->at = g->at;
	room->n--;
	event_del(&g->on_bytes);
	event_del(&g->on_late);
	free(g);
	want_bytes(fd, 1);
	room->leave(room->owner, &knock, name, fd);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	let_go(arg, NULL);
}

/* Its client has given it up: it is not the one of a transfer that is wanted now. */
static bool is_ended(int fd)
{
	struct pollfd look = { .fd = fd, .events = POLLRDHUP };

	return poll(&look, 1, 0) == 1 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void on_bytes(evutil_socket_t fd, short what, void *arg)
{
	struct guest *g = arg;
	unsigned char bytes[TLS_HELLO_MAX];
	struct port_name name;
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	int result;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || is_ended(fd)) {
		let_go(g, NULL);
		return;
	}
	result = tls_hello_read(g->room->reader, bytes, (size_t)n, &name);
	if (result > 0) {
		if (result != g->needs)
			want_bytes(fd, result);
		g->needs = result;
		return;
	}
	let_go(g, result == 0 && name.kind != PORT_NAME_NONE ? &name : NULL);
}

/* --- coming in ------------------------------------------------------------------------------ */

static bool is_full_for(const struct anteroom *room, const struct netaddr *from)
{
	size_t n = 0;

	if (room->n >= ANTEROOM_MAX)
		return true;
	for (const struct guest *g = room->guests; g != NULL; g = g->next)
		n += netaddr_same_host(&g->knock.from, from);
	return n >= ANTEROOM_OF_HOST;
}

bool anteroom_hold(struct anteroom *room, const struct knock *knock, int fd)
{
	const struct timeval wait = { ANTEROOM_WAIT_MS / 1000, ANTEROOM_WAIT_MS % 1000 * 1000 };
	struct guest *g = is_full_for(room, &knock->from) ? NULL : calloc(1, sizeof(*g));

	if (g == NULL)
		return false;
	g->room = room;
	g->knock = *knock;
	g->fd = fd;
	event_assign(&g->on_bytes, room->base, fd, EV_READ | EV_PERSIST, on_bytes, g);
	evtimer_assign(&g->on_late, room->base, on_late, g);
	if (event_add(&g->on_bytes, NULL) != 0 || event_add(&g->on_late, &wait) != 0) {
		event_del(&g->on_bytes);
		free(g);
		return false;
	}
	g->next = room->guests;
	g->at = &room->guests;
	if (g->next != NULL)
		g->next->at = &g->next;
	room->guests = g;
	room->n++;
	return true;
}

/* --- life ------------------------------------------------------------------------------------- */

struct anteroom *anteroom_new(struct event_base *base, const struct tls_hello_reader *reader,
			      anteroom_leave_fn *leave, void *owner)
{
	struct anteroom *room = calloc(1, sizeof(*room));

	if (room == NULL)
		return NULL;
	room->base = base;
	room->reader = reader;
	room->leave = leave;
	room->owner = owner;
	return room;
}

void anteroom_free(struct anteroom **roomptr)
{
	struct anteroom *room = *roomptr;

	*roomptr = NULL;
	if (room == NULL)
		return;
	while (room->guests != NULL)
		let_go(room->guests, NULL);
	free(room);
}

size_t anteroom_count(const struct anteroom *room)
{
	return room->n;
}

// SPDX-License-Identifier: ISC
/*
 * Accepting on pooled ports, asking the registry, handing over.
 *
 * What is refused gets a RST: it cannot be taken for an empty file.
 */
#include "sallyport/doors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/accept_pause.h"
#include "sallyport/anteroom.h"
#include "sallyport/fd_registry.h"
#include "sallyport/proxy_reader.h"
#include "sallyport/stream.h"

#define DOOR_BACKLOG 1024

struct door {
	struct doors *doors;
	struct door *next;
	struct door_terms terms;
	struct event on_accept;
};

/* A connection whose PROXY header is awaited: nobody's yet. */
struct arrival {
	struct doors *doors;
	struct arrival *next;
	struct arrival **at; /* what points at this one */
	struct stream stream;
	struct proxy_reader header;
	struct knock knock;
	struct event on_late;
};

struct doors {
	struct event_base *base;
	struct port_registry *registry;
	struct counters *counters;
	door_deliver_fn *deliver;
	void *owner;
	struct door *first;
	struct arrival *arrivals;
	size_t arrivals_n;
	struct ledger ledger; /* of the arrivals */
	struct accept_pause pause;
	struct anteroom *anteroom;
};

int door_open(const struct netaddr *address)
{
	int on = 1;
	int error;
	int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* For connections of an earlier run that are in TIME_WAIT. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &address->sa, netaddr_len(address)) == 0 && listen(fd, DOOR_BACKLOG) == 0) {
		fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
		return fd;
	}
	error = errno;
	close(fd);
	return -error;
}

static void close_noted(int fd)
{
	fd_registry_forget(fd);
	close(fd);
}

void door_plan_free(struct door_plan **planptr)
{
	struct door_plan *plan = *planptr;

	*planptr = NULL;
	if (plan == NULL)
		return;
	for (size_t i = 0; i < plan->n; i++) {
		if (plan->v[i].fd >= 0)
			close_noted(plan->v[i].fd);
		free(plan->v[i].trusted);
	}
	free(plan);
}

/* --- refusing ------------------------------------------------------------------------------ */

static void reset(int fd)
{
	struct linger now = { 1, 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_noted(fd);
}

void door_refuse(struct counters *counters, int fd)
{
	counter_add(counters, COUNT_DATA_AMBIGUOUS, 1);
	reset(fd);
}

/* It is not told from the beginning whose it is, or nobody's. */
static void refuse_nameless(struct doors *doors, int fd)
{
	counter_add(doors->counters, COUNT_DATA_UNNAMED, 1);
	reset(fd);
}

/* It has said a name, or it will not. The descriptor is noted. */
static void on_leave(void *owner, const struct knock *knock, const struct port_name *name, int fd)
{
	struct doors *doors = owner;
	struct port_owner to;

	if (name == NULL || port_registry_claim_named(doors->registry, knock->port, &knock->from, knock->epoch, name,
						      &to) != PORT_CLAIMED) {
		refuse_nameless(doors, fd);
		return;
	}
	counter_add(doors->counters, COUNT_DATA_NAMED, 1);
	doors->deliver(doors->owner, &to, fd, false);
}

/* Whose is it? Delivers, holds or refuses. The descriptor is noted. May be the last thing its caller does. */
static void match(struct doors *doors, const struct knock *knock, int fd, bool later)
{
	struct port_owner owner;

	switch (port_registry_claim(doors->registry, knock->port, &knock->from, knock->epoch, &owner)) {
	case PORT_CLAIMED:
		doors->deliver(doors->owner, &owner, fd, later);
		return;
	case PORT_AMBIGUOUS:
		door_refuse(doors->counters, fd);
		return;
	case PORT_UNEXPECTED:
		counter_add(doors->counters, COUNT_DATA_UNEXPECTED, 1);
		reset(fd);
		return;
	case PORT_SHARED:
		if (!anteroom_hold(doors->anteroom, knock, fd))
			refuse_nameless(doors, fd);
		return;
	}
	SP_UNREACHABLE("enum port_claim");
}

/* --- arrivals: who is it? -------------------------------------------------------------------- */

/* Forgets it; the descriptor, if it is still there, is refused. */
static void arrival_free(struct arrival *a)
{
	struct doors *doors = a->doors;

	*a->at = a->next;
	if (a->next != NULL)
		a->next->at = a->at;
	doors->arrivals_n--;
	event_del(&a->on_late);
	proxy_reader_fini(&a->header);
	stream_abort(&a->stream);
	free(a);
}

static void arrival_refuse(struct arrival *a)
{
	counter_add(a->doors->counters, COUNT_DATA_FOREIGN, 1);
	arrival_free(a);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	arrival_refuse(arg);
}

static void on_header(void *owner, unsigned ready)
{
	struct arrival *a = owner;
	struct doors *doors = a->doors;
	struct knock knock = a->knock;
	struct proxy_protocol_header header;
	int rc = proxy_reader_take(&a->header, &a->stream, &header);
	int fd;

	(void)ready;
	if (rc == -EAGAIN)
		return;
	if (rc != 0) {
		arrival_refuse(a);
		return;
	}
	if (header.kind == PROXY_PROTOCOL_PROXIED)
		knock.from = header.source;
	fd = stream_detach(&a->stream);
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	arrival_free(a);
	match(doors, &knock, fd, false);
}

/* Takes the descriptor over. */
static void arrive(struct doors *doors, const struct knock *knock, int fd)
{
	const struct timeval wait = { ARRIVAL_WAIT_MS / 1000, ARRIVAL_WAIT_MS % 1000 * 1000 };
	struct arrival *a = doors->arrivals_n < ARRIVALS_MAX ? calloc(1, sizeof(*a)) : NULL;

	if (a == NULL) {
		counter_add(doors->counters, COUNT_DATA_FOREIGN, 1);
		reset(fd);
		return;
	}
	a->doors = doors;
	a->knock = *knock;
	a->next = doors->arrivals;
	a->at = &doors->arrivals;
	if (a->next != NULL)
		a->next->at = &a->next;
	doors->arrivals = a;
	doors->arrivals_n++;
	stream_open(&a->stream, doors->base, fd, &doors->ledger, LEDGER_DATA_FD, SESSION_ID_NONE, SP_HERE, on_header,
		    a);
	evtimer_assign(&a->on_late, doors->base, on_late, a);
	if (event_add(&a->on_late, &wait) != 0) {
		arrival_refuse(a);
		return;
	}
	stream_watch(&a->stream, STREAM_READ);
}

/* --- accepting --------------------------------------------------------------------------------- */

static void watch_all(void *owner, bool on)
{
	struct doors *doors = owner;

	for (struct door *d = doors->first; d != NULL; d = d->next)
		(void)(on ? event_add(&d->on_accept, NULL) : event_del(&d->on_accept));
}

/* One connection: 0, -EAGAIN when none waits, or -errno. */
static int accept_one(struct doors *doors, const struct door_terms *door, bool later)
{
	struct knock knock = {
		.port = netaddr_port(&door->address),
		.epoch = port_registry_epoch(doors->registry),
	};
	socklen_t n = sizeof(knock.from);
	int fd = accept4(door->fd, &knock.from.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	netaddr_unmap(&knock.from);
	if (!door->header) {
		match(doors, &knock, fd, later);
	} else if (netblock_list_contains(door->trusted, door->trusted_n, &knock.from)) {
		arrive(doors, &knock, fd);
	} else {
		counter_add(doors->counters, COUNT_DATA_FOREIGN, 1);
		reset(fd);
	}
	return 0;
}

/* One a turn: the loop reports those that wait behind it again. */
static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct door *door = arg;
	int rc = accept_one(door->doors, &door->terms, false);

	(void)fd;
	(void)what;
	if (rc != 0 && rc != -EAGAIN)
		(void)accept_pause_begin(&door->doors->pause, door->doors->counters);
}

int doors_sweep(struct doors *doors, const struct door_terms *door)
{
	for (unsigned i = 0; i <= DOOR_BACKLOG; i++) {
		int rc = accept_one(doors, door, true);

		if (rc != 0)
			return rc == -EAGAIN ? 0 : rc;
	}
	return -EBUSY;
}

/* --- life -------------------------------------------------------------------------------------- */

static void door_close(struct door *door)
{
	event_del(&door->on_accept);
	close_noted(door->terms.fd);
	free(door->terms.trusted);
	free(door);
}

static struct door *take_door(struct door **list, const struct netaddr *address)
{
	for (struct door **at = list; *at != NULL; at = &(*at)->next) {
		struct door *found = *at;

		if (memcmp(&found->terms.address, address, sizeof(*address)) != 0)
			continue;
		*at = found->next;
		return found;
	}
	return NULL;
}

/* A new door; it has the descriptor of the terms from then on. */
static struct door *make_door(struct doors *doors, struct door_terms *terms)
{
	struct door *door = calloc(1, sizeof(*door));

	if (door == NULL)
		return NULL;
	door->doors = doors;
	door->terms.address = terms->address;
	door->terms.fd = terms->fd;
	terms->fd = -1;
	event_assign(&door->on_accept, doors->base, door->terms.fd, EV_READ | EV_PERSIST, on_accept, door);
	return door;
}

bool doors_follow(struct doors *doors, struct door_plan **plan)
{
	struct door *old = doors->first;
	bool ok = true;

	doors->first = NULL;
	for (size_t i = 0; i < (*plan)->n; i++) {
		struct door_terms *terms = &(*plan)->v[i];
		struct door *door = terms->fd >= 0 ? make_door(doors, terms) : take_door(&old, &terms->address);

		if (door == NULL) {
			ok = false;
			continue;
		}
		free(door->terms.trusted);
		door->terms.header = terms->header;
		door->terms.trusted = terms->trusted;
		door->terms.trusted_n = terms->trusted_n;
		terms->trusted = NULL;
		door->next = doors->first;
		doors->first = door;
	}
	while (old != NULL) {
		struct door *gone = old;

		old = gone->next;
		door_close(gone);
	}
	door_plan_free(plan);
	if (!doors->pause.resting)
		watch_all(doors, true);
	return ok;
}

struct doors *doors_new(struct event_base *base, struct port_registry *registry,
			const struct tls_hello_reader *hellos, struct counters *counters,
			door_deliver_fn *deliver, void *owner)
{
	struct doors *doors = calloc(1, sizeof(*doors));

	if (doors == NULL)
		return NULL;
	doors->base = base;
	doors->registry = registry;
	doors->counters = counters;
	doors->deliver = deliver;
	doors->owner = owner;
	doors->anteroom = anteroom_new(base, hellos, on_leave, doors);
	if (doors->anteroom == NULL) {
		free(doors);
		return NULL;
	}
	accept_pause_init(&doors->pause, base, watch_all, doors);
	return doors;
}

void doors_free(struct doors **doorsptr)
{
	struct doors *doors = *doorsptr;

	*doorsptr = NULL;
	if (doors == NULL)
		return;
	accept_pause_fini(&doors->pause);
	while (doors->arrivals != NULL)
		arrival_free(doors->arrivals);
	anteroom_free(&doors->anteroom);
	while (doors->first != NULL) {
		struct door *gone = doors->first;

		doors->first = gone->next;
		door_close(gone);
	}
	ledger_assert_empty(&doors->ledger);
	free(doors);
}

bool doors_any(const struct doors *doors)
{
	return doors->first != NULL;
}

// SPDX-License-Identifier: ISC
/*
 * Connect: a list of addresses becomes a connected descriptor.
 *
 * One attempt at a time, in order. A result that is known at once is put off
 * by event_active(), so that the owner never meets its callback before the call
 * that starts it has returned. No clock, no names, no TLS. Thread: the
 * worker's.
 */
#include "sallyport/connect.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"

#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_PROBE_S 15
#define KEEPALIVE_PROBES 4

/* What the kernel may be told to give out at all. */
#define EPHEMERAL_PORT_MIN 1024

#define PORT_RANGE_FILE "/proc/sys/net/ipv4/ip_local_port_range"

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == -1 ? -errno : 0;
}

int connect_set_keepalive_terms(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_PROBE_S },
		/* For as many probes as fit: Linux does not count them when this is set. */
		{ IPPROTO_TCP, TCP_USER_TIMEOUT,
		  (KEEPALIVE_IDLE_S + KEEPALIVE_PROBE_S * KEEPALIVE_PROBES) * 1000 },
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(options); i++) {
		int rc = set_option(fd, options[i].level, options[i].name, options[i].value);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int connect_set_keepalive(int fd)
{
	return set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

/* All but the addresses, of which the first n count. */
void connect_init(struct connect *c)
{
	memset(c, 0, offsetof(struct connect, addresses));
	c->fd = -1;
}

static const struct netaddr *connect_address(const struct connect *c)
{
	return &c->addresses[c->next > 0 ? c->next - 1 : 0];
}

static void connect_drop_fd(struct connect *c)
{
	if (c->fd == -1)
		return;
	fd_registry_forget(c->fd);
	ledger_sub(c->ledger, c->kind);
	close(c->fd);
	c->fd = -1;
}

/* Tells the owner, who may free or restart *c: nothing of it is touched afterwards. */
static void connect_tell(struct connect *c, int error)
{
	struct netaddr address = *connect_address(c);
	int fd = c->fd;

	if (fd != -1) {
		fd_registry_forget(fd);
		ledger_sub(c->ledger, c->kind);
		c->fd = -1;
	}
	ledger_sub(c->ledger, LEDGER_CONNECT);
	c->active = false;
	c->done(c->owner, fd, &address, error);
}

int connect_set_transparent(int fd, int family)
{
	if (family == AF_INET6)
		return set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	return set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

/*
 * With a fixed port the last connection from it may still be in TIME_WAIT; with
 * any port the kernel chooses at connect(), when it knows the other end, or
 * one source address would give out 28,000 connections in all.
 */
static int connect_bind(const struct connect *c, const struct netaddr *address)
{
	const struct netaddr *source = &c->options.source;

	if (source->family == AF_UNSPEC)
		return 0;
	if (source->family != address->family)
		return -EADDRNOTAVAIL;

	int rc = c->options.transparent ? connect_set_transparent(c->fd, address->family) : 0;

	if (rc != 0)
		return rc;
	rc = netaddr_port(source) != 0
	             ? set_option(c->fd, SOL_SOCKET, SO_REUSEADDR, 1)
	             : set_option(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);

	if (rc != 0)
		return rc;
	return bind(c->fd, &source->sa, netaddr_len(source)) == -1 ? -errno : 0;
}

/* 0: connected; -EINPROGRESS; or why not. */
static int connect_dial(struct connect *c, const struct netaddr *address)
{
	c->fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (c->fd == -1)
		return -errno;
	ledger_add(c->ledger, c->kind);
	fd_registry_note(c->fd, c->id, c->kind, SP_HERE);

	int rc = connect_bind(c, address);

	if (rc != 0)
		return rc;
	return connect(c->fd, &address->sa, netaddr_len(address)) == -1 ? -errno : 0;
}

static struct {
	pthread_once_t once;
	unsigned first, last;
} ephemeral = { PTHREAD_ONCE_INIT, EPHEMERAL_PORT_MIN, UINT16_MAX };

/* "32768\t60999\n"; where it cannot be read it is everything. */
static void read_ephemeral_ports(void)
{
	unsigned value[2] = { 0, 0 };
	char text[32];
	size_t at = 0;
	ssize_t n = -1;
	int fd = open(PORT_RANGE_FILE, O_RDONLY | O_CLOEXEC);

	if (fd != -1) {
		n = read(fd, text, sizeof(text));
		close(fd);
	}
	for (ssize_t i = 0; i < n && at < SP_ARRAY_LEN(value); i++) {
		if (text[i] >= '0' && text[i] <= '9')
			value[at] = value[at] * 10 + (unsigned)(text[i] - '0');
		else if (value[at] != 0)
			at++;
	}
	if (at == SP_ARRAY_LEN(value) && value[0] <= value[1] && value[1] <= UINT16_MAX) {
		ephemeral.first = value[0];
		ephemeral.last = value[1];
	}
}

/* Whether the kernel may choose that port as a socket's own; as the system was set at the start. */
static bool is_ephemeral(uint16_t port)
{
	pthread_once(&ephemeral.once, read_ephemeral_ports);
	return port >= ephemeral.first && port <= ephemeral.last;
}

/*
 * A dial to a dead port of this very host can be answered by the dialling
 * socket itself, if the kernel happens to choose that port as its source.
 */
static bool connect_met_itself(const struct connect *c)
{
	const struct netaddr *address = connect_address(c);
	struct netaddr self;
	socklen_t len = sizeof(self);

	if (!is_ephemeral(netaddr_port(address)) && netaddr_port(&c->options.source) == 0)
		return false;
	memset(&self, 0, sizeof(self));
	if (getsockname(c->fd, &self.sa, &len) == -1)
		return false;
	return netaddr_port(&self) == netaddr_port(address) && netaddr_same_host(&self, address);
}

/* Out of something that the next address needs as well. */
static bool connect_is_exhausted(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/*
 * Dials until an address does not refuse at once. True: the event is set and
 * will tell more. False: there is no address left.
 */
static bool connect_try(struct connect *c)
{
	while (c->next < c->n) {
		const struct netaddr *address = &c->addresses[c->next++];
		int rc = connect_dial(c, address);

		if (rc == 0 || rc == -EINPROGRESS) {
			bool wait = c->options.speaks_first;

			event_assign(&c->event, c->base, c->fd, wait ? EV_READ : EV_WRITE, on_writable, c);
			if (rc == 0 && !wait) {
				event_active(&c->event, EV_WRITE, 0);
				return true;
			}
			if (event_add(&c->event, NULL) == 0)
				return true;
			rc = -ENOMEM;
		}
		connect_drop_fd(c);
		c->last_error = -rc;
		if (connect_is_exhausted(c->last_error))
			return false;
	}
	return false;
}

static int connect_outcome(const struct connect *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		return errno;
	if (error == 0 && connect_met_itself(c))
		return ECONNREFUSED;
	return error;
}

/*
 * Options wait until the connection stands: most attempts that fail never need
 * them. If one is refused the connection broke meanwhile; its reader will see.
 */
static void connect_set_options(const struct connect *c)
{
	if (c->options.nodelay)
		(void)set_option(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

static void on_writable(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct connect *c = arg;
	int error = connect_outcome(c);

	if (error == 0) {
		connect_set_options(c);
		connect_tell(c, 0);
		return;
	}
	c->last_error = error;
	connect_drop_fd(c);
	if (!connect_try(c))
		connect_tell(c, c->last_error);
}

static void on_no_address(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct connect *c = arg;

	connect_tell(c, c->last_error);
}

bool connect_next(struct connect *c)
{
	if (!c->active || c->fd < 0 || c->next >= c->n)
		return false;
	event_del(&c->event);
	c->last_error = ETIMEDOUT;
	connect_drop_fd(c);
	if (!connect_try(c)) {
		event_assign(&c->event, c->base, -1, 0, on_no_address, c);
		event_active(&c->event, EV_TIMEOUT, 0);
	}
	return true;
}

void connect_start(struct connect *c, struct event_base *base, const struct netaddr addresses[],
                   size_t n, const struct connect_options *options, struct ledger *ledger,
                   enum ledger_kind kind, struct session_id id, connect_done_fn *done, void *owner)
{
	SP_ASSERT(!c->active);
	connect_init(c);
	c->active = true;
	c->base = base;
	c->n = n < CONNECT_ADDRESSES_MAX ? n : CONNECT_ADDRESSES_MAX;
	if (c->n > 0)
		memcpy(c->addresses, addresses, c->n * sizeof(addresses[0]));
	else
		c->addresses[0] = (struct netaddr){ .family = AF_UNSPEC };
	c->options = *options;
	c->ledger = ledger;
	c->kind = kind;
	c->id = id;
	c->last_error = EDESTADDRREQ;
	c->done = done;
	c->owner = owner;
	ledger_add(ledger, LEDGER_CONNECT);

	if (connect_try(c))
		return;
	event_assign(&c->event, base, -1, 0, on_no_address, c);
	event_active(&c->event, EV_TIMEOUT, 0);
}

void connect_cancel(struct connect *c)
{
	if (!c->active)
		return;
	event_del(&c->event);
	connect_drop_fd(c);
	ledger_sub(c->ledger, LEDGER_CONNECT);
	c->active = false;
}

// SPDX-License-Identifier: ISC
/*
 * Accepting clients, and what to do when there is no descriptor left: one is
 * kept in reserve, so that a client can be told 421 before accepting rests
 * (left alone, the loop would report the waiting client for ever).
 */
#include "sallyport/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/accept_pause.h"
#include "sallyport/connect.h"
#include "sallyport/fd_registry.h"
#include "sallyport/session.h"

struct listening {
	struct listeners *all;
	const struct listener_config *config;
	struct netaddr address;
	int fd; /* -1: a later generation has taken it over */
	struct event on_accept;
};

struct listeners {
	struct loop *loop;
	struct config *config; /* the configuration of the listeners */
	size_t n;
	int reserve;	       /* descriptor kept for EMFILE */
	struct accept_pause pause;
	struct listening v[];
};

/* A socket for the address, not bound yet; a descriptor or -errno. */
static int make_socket(const struct netaddr *address)
{
	int on = 1;
	int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	return fd;
}

int listener_probe(const struct netaddr *address)
{
	int fd = make_socket(address);
	int error = 0;

	if (fd < 0)
		return fd;
	if (bind(fd, &address->sa, netaddr_len(address)) != 0)
		error = -errno;
	close(fd);
	return error;
}

int listener_open(const struct netaddr *address)
{
	int on = 1;
	int error;
	int fd = make_socket(address);

	if (fd < 0)
		return fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	/* What is set here is inherited by what is accepted: no system calls per client. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)connect_set_keepalive_terms(fd);
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	if (bind(fd, &address->sa, netaddr_len(address)) == 0 && listen(fd, SOMAXCONN) == 0) {
		fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
		return fd;
	}
	error = errno;
	close(fd);
	return -error;
}

void listener_close(int fd)
{
	fd_registry_forget(fd);
	close(fd);
}

/* A descriptor of ours that can be given up when there is none left for a client. */
static int open_reserve(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	return fd;
}

static void say_and_close(int fd, const char *words)
{
	(void)!write(fd, words, strlen(words));
	close(fd);
}

static void watch_all(void *owner, bool on)
{
	struct listeners *all = owner;

	if (on && all->reserve < 0)
		all->reserve = open_reserve();
	for (size_t i = 0; i < all->n; i++)
		(void)(on ? event_add(&all->v[i].on_accept, NULL) : event_del(&all->v[i].on_accept));
}

/* Out of descriptors or memory: the waiting client is told with the reserve, then accepting rests. */
static void pause_accepting(struct listening *l, int error)
{
	struct listeners *all = l->all;
	struct sp_event event;

	if (all->reserve >= 0) {
		int fd;

		listener_close(all->reserve);
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			say_and_close(fd, "421 Out of descriptors; try again later.\r\n");
		all->reserve = open_reserve();
	}
	counter_add(all->loop->counters, COUNT_SESSIONS_REFUSED, 1);
	if (!accept_pause_begin(&all->pause, all->loop->counters))
		return;
	event_init(&event, EVENT_ACCEPT_PAUSED);
	sp_copy(event.listener, sizeof(event.listener), l->config->name);
	sp_copy(event.text, sizeof(event.text), strerror(error));
	event_emit(all->loop->events, &event);
}

/* Who may send a PROXY header may claim any address: only the balancers that are named. */
static void refuse_untrusted(struct listening *l, int fd, const struct netaddr *client)
{
	struct loop *loop = l->all->loop;
	struct sp_event event;

	counter_add(loop->counters, COUNT_PROXY_REFUSED, 1);
	event_init(&event, EVENT_PROXY_REFUSED);
	event.client = *client;
	sp_copy(event.listener, sizeof(event.listener), l->config->name);
	sp_copy(event.text, sizeof(event.text), "the address is not in proxy_trusted");
	event_emit(loop->events, &event);
	if (l->config->tls.mode == TLS_IMPLICIT)
		close(fd);
	else
		say_and_close(fd, "421 Access denied; closing control connection.\r\n");
}

/*
 * One client a turn: the loop reports those that wait behind it again, together
 * with whatever else is ready, and no call is spent on finding that none waits.
 */
static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listening *l = arg;
	struct listeners *all = l->all;
	struct loop *loop = all->loop;
	struct netaddr client;
	socklen_t n = sizeof(client);
	int fd;

	(void)what;
	loop->now_ms = sp_now_ms();
	memset(&client, 0, sizeof(client));
	fd = accept4(listen_fd, &client.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != ECONNABORTED && errno != EINTR && errno != EAGAIN)
			pause_accepting(l, errno);
		return;
	}
	netaddr_unmap(&client);
	if (l->config->proxy_protocol &&
	    !netblock_list_contains(l->config->proxy_trusted, l->config->proxy_trusted_n, &client)) {
		refuse_untrusted(l, fd, &client);
		return;
	}
	session_new(loop, fd, &client, l->config);
}

/* Takes the socket of that address out of `old`. */
static int adopt(struct listeners *old, const struct netaddr *address)
{
	for (size_t i = 0; old != NULL && i < old->n; i++) {
		struct listening *l = &old->v[i];
		int fd = l->fd;

		if (fd < 0 || memcmp(&l->address, address, sizeof(*address)) != 0)
			continue;
		event_del(&l->on_accept);
		l->fd = -1;
		return fd;
	}
	return -1;
}

struct listeners *listeners_start(struct loop *loop, const int fds[], size_t n, struct listeners **old)
{
	struct listeners *all = calloc(1, sizeof(*all) + n * sizeof(all->v[0]));
	size_t at = 0;

	if (all == NULL)
		return NULL;
	all->loop = loop;
	all->config = config_ref(loop->config);
	all->reserve = open_reserve();
	accept_pause_init(&all->pause, loop->base, watch_all, all);
	for (size_t i = 0; i < loop->config->listeners_n; i++) {
		const struct listener_config *config = &loop->config->listeners[i];

		for (size_t j = 0; j < config->binds_n; j++, at++) {
			struct listening *l = &all->v[at];

			SP_ASSERT(at < n);
			l->all = all;
			l->config = config;
			l->address = config->binds[j];
			l->fd = fds[at] >= 0 ? fds[at] : adopt(*old, &l->address);
			SP_ASSERT(l->fd >= 0);
			event_assign(&l->on_accept, loop->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
		}
	}
	SP_ASSERT(at == n);
	all->n = n;
	listeners_stop(old);
	watch_all(all, true);
	return all;
}

void listeners_stop(struct listeners **listeners)
{
	struct listeners *all = *listeners;

	if (all == NULL)
		return;
	*listeners = NULL;
	accept_pause_fini(&all->pause);
	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].fd < 0)
			continue;
		event_del(&all->v[i].on_accept);
		listener_close(all->v[i].fd);
	}
	if (all->reserve >= 0)
		listener_close(all->reserve);
	config_unref(&all->config);
	free(all);
}

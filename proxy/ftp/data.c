// SPDX-License-Identifier: ISC
/*
 * Making, holding and ending the two data connections of a transfer.
 */
#include "sallyport/data.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"
#include "sallyport/socket_calls.h"

#define PROGRESS_MS  1000
/* How long an orderly end under TLS may take to reach a slow peer. */
#define TLS_CLOSE_MS 120000

static void on_stream_ready(void *owner, unsigned ready);

static void side_init(struct data *data, enum side which)
{
	struct data_side *side = &data->sides[which];

	side->data = data;
	side->side = which;
	side->state = DATA_IDLE;
	side->listen_fd = -1;
	connect_init(&side->dial);
	stream_init(&side->stream);
}

struct data *data_new(struct loop *loop, struct ledger *ledger, struct session_id id,
		      const struct data_ops *ops, void *owner)
{
	struct data *data = calloc(1, sizeof(*data));

	if (data == NULL)
		return NULL;
	ledger_add(ledger, LEDGER_BUFFER);
	data->loop = loop;
	data->ledger = ledger;
	data->id = id;
	data->ops = ops;
	data->owner = owner;
	side_init(data, SIDE_CLIENT);
	side_init(data, SIDE_SERVER);
	relay_init(&data->relay);
	return data;
}

static void close_listener(struct data_side *side)
{
	if (side->listen_fd < 0)
		return;
	event_del(&side->on_accept);
	fd_registry_forget(side->listen_fd);
	sp_close(side->listen_fd);
	side->listen_fd = -1;
	ledger_sub(side->data->ledger, LEDGER_LISTENER_FD);
	/* A connection that was accepted may keep the number; a new listener can share it. */
	if (side->ports != NULL)
		port_ledger_give(side->ports, side->listen_port);
	side->ports = NULL;
}

static void give_up_port(struct data_side *side)
{
	struct loop *loop = side->data->loop;

	if (side->ticket.number == 0)
		return;
	side->named = port_registry_release(loop->registry, &side->ticket, loop->now_ms);
	ledger_sub(side->data->ledger, LEDGER_PORT);
}

/* Everything of the side but an open stream. */
static void side_cancel(struct data_side *side)
{
	close_listener(side);
	give_up_port(side);
	connect_cancel(&side->dial);
	proxy_reader_fini(&side->header);
}

static void stop_relay(struct data *data)
{
	relay_stop(&data->relay);
}

void data_abort(struct data *data, enum side which)
{
	struct data_side *side = &data->sides[which];

	side_cancel(side);
	if (stream_is_open(&side->stream)) {
		stop_relay(data);
		stream_abort(&side->stream);
	}
	if (side->state != DATA_IDLE && side->state != DATA_FAILED)
		side->state = DATA_CLOSED;
}

/*
 * Under TLS an orderly end takes its time: close_notify may not fit into a full
 * socket, and tickets that the peer sends and nobody reads would turn a close()
 * into a RST that destroys the file's tail. A farewell sees to both.
 */
static void close_stream(struct data *data, struct stream *s)
{
	if (stream_is_tls(s))
		farewell_start(data->loop->farewells, s, span_from("", 0), span_from("", 0), TLS_CLOSE_MS,
			       data->id);
	else
		stream_close(s);
}

void data_close(struct data *data, enum side which)
{
	struct data_side *side = &data->sides[which];

	side_cancel(side);
	if (stream_is_open(&side->stream)) {
		stop_relay(data);
		close_stream(data, &side->stream);
	}
	if (side->state != DATA_IDLE && side->state != DATA_FAILED)
		side->state = DATA_CLOSED;
}

void data_free(struct data **dataptr)
{
	struct data *data = *dataptr;

	if (data == NULL)
		return;
	*dataptr = NULL;
	data_abort(data, SIDE_CLIENT);
	data_abort(data, SIDE_SERVER);
	ledger_sub(data->ledger, LEDGER_BUFFER);
	free(data);
}

/* The last segment of a file must not wait for the acknowledgement of the one before it. */
static void tune(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void adopt(struct data_side *side, int fd, const char *where)
{
	struct data *data = side->data;

	stream_open(&side->stream, data->loop->base, fd, data->ledger, LEDGER_DATA_FD, data->id, where,
		    on_stream_ready, side);
}

/* RFC 2577 section 8: the wrong peer goes, the port stays open for the right one. */
static void count_foreign(struct data_side *side)
{
	counter_add(side->data->loop->counters, COUNT_DATA_FOREIGN, 1);
}

/* Is it the peer, or a host that stands in for it? */
static bool is_peer(const struct data_peers *peers, const struct netaddr *from)
{
	if (peers->any || netaddr_same_host(from, &peers->peer))
		return true;
	for (size_t i = 0; i < peers->neighbours_n; i++) {
		if (netblock_contains(&peers->neighbours[i], &peers->peer) &&
		    netblock_contains(&peers->neighbours[i], from))
			return true;
	}
	return false;
}

static bool is_welcome(const struct data_side *side, const struct netaddr *from)
{
	const struct data_peers *peers = &side->peers;

	if (peers->header)
		return netblock_list_contains(peers->trusted, peers->trusted_n, from);
	return is_peer(peers, from) ||
	       (peers->via.family != AF_UNSPEC && netaddr_same_host(from, &peers->via));
}

static void accepted(struct data_side *side)
{
	close_listener(side);
	give_up_port(side);
	side->state = DATA_OPEN;
	side->data->ops->on_side(side->data->owner, side->side, 0);
}

/* The connection is not the one; the next may be. */
static void drop_accepted(struct data_side *side)
{
	proxy_reader_fini(&side->header);
	stream_abort(&side->stream);
	count_foreign(side);
	if (event_add(&side->on_accept, NULL) == 0)
		return;
	close_listener(side);
	side->state = DATA_FAILED;
	side->data->ops->on_side(side->data->owner, side->side, ENOMEM);
}

/* The balancer says who is behind the connection. May be the last thing its caller does. */
static void read_header(struct data_side *side)
{
	struct proxy_protocol_header header;
	const struct netaddr *who;
	int rc = proxy_reader_take(&side->header, &side->stream, &header);

	if (rc == -EAGAIN)
		return;
	who = rc == 0 && header.kind == PROXY_PROTOCOL_PROXIED ? &header.source : &side->accepted;
	if (rc != 0 || !is_peer(&side->peers, who)) {
		drop_accepted(side);
		return;
	}
	proxy_reader_fini(&side->header);
	stream_watch(&side->stream, 0);
	accepted(side);
}

/* One connection at a time is asked for its header; others wait in the listener. */
static void await_header(struct data_side *side, const struct netaddr *from)
{
	side->accepted = *from;
	event_del(&side->on_accept);
	stream_watch(&side->stream, STREAM_READ);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct data_side *side = arg;
	struct data *data = side->data;
	struct netaddr from;
	socklen_t n = sizeof(from);
	int got;

	(void)what;
	data->loop->now_ms = sp_now_ms();
	memset(&from, 0, sizeof(from));
	got = accept4(fd, &from.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (got < 0) {
		int error = errno;

		if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
			return;
		close_listener(side);
		side->state = DATA_FAILED;
		data->ops->on_side(data->owner, side->side, error);
		return;
	}
	netaddr_unmap(&from);
	if (!is_welcome(side, &from)) {
		struct linger now = { 1, 0 };

		count_foreign(side);
		(void)setsockopt(got, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(got);
		return;
	}
	adopt(side, got, SP_HERE);
	if (side->peers.header)
		await_header(side, &from);
	else
		accepted(side);
}

/* Binds and listens on one port: a descriptor or -errno. */
static int listen_on(const struct data_source *local, uint16_t port)
{
	struct netaddr address = local->address;
	int on = 1;
	int error;
	int fd = socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	netaddr_set_port(&address, port);
	/* For ports of connections that are in TIME_WAIT; two listeners never share one. */
	if (port != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (local->transparent)
		error = -connect_set_transparent(fd, address.family);
	else
		error = 0;
	if (error == 0 && bind(fd, &address.sa, netaddr_len(&address)) == 0 && listen(fd, 4) == 0)
		return fd;
	if (error == 0)
		error = errno;
	close(fd);
	return -error;
}

/*
 * A listener on a port that the ledger gives. One that somebody outside of it
 * has goes back and counts as used just now, so that each is tried once at most.
 */
static int listen_in_range(struct loop *loop, const struct data_source *local, struct port_ledger *ports,
			   uint16_t *port)
{
	struct port_ledger_stats stats;

	port_ledger_stats(ports, &stats);
	for (unsigned tries = 0; tries < stats.size; tries++) {
		int fd;

		*port = port_ledger_take(ports, loop_random(loop));
		if (*port == 0)
			return -EADDRINUSE;
		fd = listen_on(local, *port);
		if (fd >= 0)
			return fd;
		port_ledger_give(ports, *port);
		if (fd != -EADDRINUSE)
			return fd;
	}
	return -EADDRINUSE;
}

/* Breaks what the side had and makes it new. */
static void side_reset(struct data *data, enum side which)
{
	data_abort(data, which);
	data->sides[which].state = DATA_IDLE;
	data->sides[which].tls_failed = false;
	data->sides[which].named = false;
}

/* Address and port of the listener: 0 or -errno. */
static int listener_address(int fd, const struct netaddr *local, uint16_t port, struct netaddr *bound)
{
	socklen_t n = sizeof(*bound);

	*bound = *local;
	netaddr_set_port(bound, port);
	return port == 0 && getsockname(fd, &bound->sa, &n) != 0 ? -errno : 0;
}

int data_listen(struct data *data, enum side which, const struct data_source *local, struct port_ledger *ports,
		const struct data_peers *peers, struct netaddr *bound)
{
	struct data_side *side = &data->sides[which];
	uint16_t port = 0;
	int result;
	int fd;

	side_reset(data, which);
	fd = ports != NULL ? listen_in_range(data->loop, local, ports, &port) : listen_on(local, 0);
	if (fd < 0)
		return fd;
	side->listen_fd = fd;
	side->ports = ports;
	side->listen_port = port;
	ledger_add(data->ledger, LEDGER_LISTENER_FD);
	fd_registry_note(fd, data->id, LEDGER_LISTENER_FD, SP_HERE);
	event_assign(&side->on_accept, data->loop->base, fd, EV_READ | EV_PERSIST, on_accept, side);
	result = listener_address(fd, &local->address, port, bound);
	if (result == 0 && event_add(&side->on_accept, NULL) != 0)
		result = -ENOMEM;
	if (result != 0) {
		close_listener(side);
		return result;
	}
	side->peers = *peers;
	side->state = DATA_LISTENING;
	return 0;
}

/* The port rested: what has come for the transfer before is refused first. 0 or -errno. */
static int open_port(struct data_side *side, const struct data_pooled *ports)
{
	struct loop *loop = side->data->loop;

	for (size_t i = 0; i < ports->doors_n; i++) {
		int rc;

		if (netaddr_port(&ports->doors[i].address) != side->ticket.port)
			continue;
		rc = doors_sweep(loop->doors, &ports->doors[i]);
		if (rc != 0)
			return rc;
	}
	port_registry_open(loop->registry, &side->ticket);
	return 0;
}

int data_reserve(struct data *data, const struct data_pooled *ports, const struct data_peers *peers, uint16_t *port)
{
	struct data_side *side = &data->sides[SIDE_CLIENT];
	struct loop *loop = data->loop;
	struct port_wish wish = {
		.owner = data->id,
		.client = peers->peer,
		.first = ports->first,
		.last = ports->last,
		.worker = loop->worker,
		.workers = loop->workers,
		.random = loop_random(loop),
		.now_ms = loop->now_ms,
		.names_n = ports->names_n,
	};
	int result;

	memcpy(wish.names, ports->names, sizeof(wish.names));
	side_reset(data, SIDE_CLIENT);
	if (!peers->header && peers->via.family != AF_UNSPEC && !netaddr_same_host(&peers->via, &peers->peer))
		wish.via = peers->via;
	result = port_registry_reserve(loop->registry, &wish, &side->ticket);
	if (result != 0)
		return result;
	ledger_add(data->ledger, LEDGER_PORT);
	if (side->ticket.shared)
		counter_add(loop->counters, COUNT_PASSIVE_SHARED, 1);
	if (side->ticket.rested)
		result = open_port(side, ports);
	if (result != 0) {
		give_up_port(side);
		return result;
	}
	*port = side->ticket.port;
	side->state = DATA_LISTENING;
	return 0;
}

bool data_go_unnamed(struct data *data)
{
	const struct data_side *side = &data->sides[SIDE_CLIENT];

	if (side->ticket.number == 0)
		return !side->named;
	return port_registry_unshare(data->loop->registry, &side->ticket);
}

bool data_deliver(struct data *data, uint64_t number, int fd)
{
	struct data_side *side = &data->sides[SIDE_CLIENT];

	if (side->ticket.number != number || side->state != DATA_LISTENING)
		return false;
	adopt(side, fd, SP_HERE);
	accepted(side);
	return true;
}

void data_arrange(struct data *data, enum side which, const struct netaddr *target)
{
	side_reset(data, which);
	data->sides[which].target = *target;
	data->sides[which].state = DATA_ARRANGED;
}

static void on_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct data_side *side = owner;
	struct data *data = side->data;

	(void)address;
	data->loop->now_ms = sp_now_ms();
	side->state = fd >= 0 ? DATA_OPEN : DATA_FAILED;
	if (fd >= 0)
		adopt(side, fd, SP_HERE);
	data->ops->on_side(data->owner, side->side, error);
}

void data_dial(struct data *data, enum side which, const struct data_source *source)
{
	struct data_side *side = &data->sides[which];
	struct connect_options options = {
		.source = source->address,
		.transparent = source->transparent,
		.nodelay = source->nodelay,
	};

	SP_ASSERT(side->state == DATA_ARRANGED);
	side->state = DATA_DIALLING;
	connect_start(&side->dial, data->loop->base, &side->target, 1, &options, data->ledger,
		      LEDGER_DATA_FD, data->id, on_dialled, side);
}

static void on_secured(void *owner, int result)
{
	struct data_side *side = owner;
	struct data *data = side->data;

	data->loop->now_ms = sp_now_ms();
	counter_add(data->loop->counters, result == 0 ? COUNT_TLS_HANDSHAKES : COUNT_TLS_FAILURES, 1);
	if (result == 0) {
		side->state = DATA_OPEN;
	} else {
		stream_close(&side->stream); /* and not a RST, which could overtake our alert */
		side->state = DATA_FAILED;
		side->tls_failed = true;
	}
	data->ops->on_side(data->owner, side->side, -result);
}

bool data_secure(struct data *data, enum side which, const struct data_tls *tls)
{
	struct data_side *side = &data->sides[which];
	int result;

	SP_ASSERT(side->state == DATA_OPEN && !stream_is_tls(&side->stream));
	if (which == SIDE_CLIENT)
		result = tls_accept(&side->stream, tls->context, tls->name, tls->tag, tls->use, on_secured, side);
	else
		result = tls_connect(&side->stream, tls->context, tls->name, tls->control, on_secured, side);
	if (result == 0)
		side->state = DATA_SECURING;
	return result == 0;
}

/* The last thing its caller does. */
static void pump(struct data *data)
{
	uint64_t before = data->relay.moved;
	enum relay_state state = relay_pump(&data->relay);

	if (state != RELAY_RUNNING) {
		data->ops->on_relay(data->owner, state);
		return;
	}
	if (data->relay.moved != before) {
		bool tick = data->loop->now_ms - data->told_ms >= PROGRESS_MS;

		if (tick)
			data->told_ms = data->loop->now_ms;
		data->ops->on_progress(data->owner, tick);
	}
}

static void on_stream_ready(void *owner, unsigned ready)
{
	struct data_side *side = owner;
	struct data *data = side->data;

	(void)ready;
	data->loop->now_ms = sp_now_ms();
	if (side->state == DATA_LISTENING)
		read_header(side);
	else if (data->relay.running)
		pump(data);
}

void data_relay(struct data *data, enum transfer_direction direction)
{
	struct stream *client = &data->sides[SIDE_CLIENT].stream;
	struct stream *server = &data->sides[SIDE_SERVER].stream;
	bool down = direction == TRANSFER_DOWN;

	SP_ASSERT(data->sides[SIDE_CLIENT].state == DATA_OPEN);
	SP_ASSERT(data->sides[SIDE_SERVER].state == DATA_OPEN);
	data->told_ms = data->loop->now_ms;
	tune((down ? client : server)->fd);
	relay_start(&data->relay, data->loop, down ? server : client, down ? client : server,
		    data->ledger, data->id);
	pump(data);
}

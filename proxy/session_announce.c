// SPDX-License-Identifier: ISC
/*
 * Answering PASV and EPSV: which address a client is told, looked up first
 * where the configuration has a name for it, and the port that is opened.
 */
#include <errno.h>

#include "sallyport/ftp_address.h"
#include "session_private.h"

/* What the configuration says of one client: an address, or a name for it. */
struct announcement {
	struct netaddr address;
	const char *host; /* NULL: `address` it is */
};

/* What the configuration has for clients of this network; NULL: nothing. */
static const struct address_for *entry_of_network(const struct session *s)
{
	const struct listener_config *listener = s->listener;

	for (size_t i = 0; i < listener->passive_address_for_n; i++) {
		if (netblock_contains(&listener->passive_address_for[i].network, &s->info.client))
			return &listener->passive_address_for[i];
	}
	return NULL;
}

static struct announcement announcement_for(struct session *s)
{
	const struct listener_config *listener = s->listener;
	const struct address_for *entry = entry_of_network(s);
	const struct netaddr *address = entry != NULL ? &entry->address : &listener->passive_address;
	const struct announced_name *name = entry != NULL ? &entry->name : &listener->passive_name;

	if (name->host != NULL || address->family == AF_INET)
		return (struct announcement){ *address, name->host };
	if (entry == NULL && listener->passive_by_proxy)
		return (struct announcement){ *session_reached(s), NULL };
	return (struct announcement){ *session_local(s), NULL };
}

bool announce_is_possible(struct session *s)
{
	struct announcement announcement = announcement_for(s);

	return session_reached(s)->family == AF_INET &&
	       (announcement.host != NULL || announcement.address.family == AF_INET);
}

/* A port for the client to connect to: 0 or -errno. */
static int open_passive(struct session *s, uint16_t *port)
{
	const struct port_range *range = &s->listener->passive_ports;
	const struct data_source local = { .address = *session_local(s) };
	const struct data_peers peers = session_data_peers(s);
	struct netaddr bound;
	int result;

	if (range->pooled) {
		struct data_pooled pooled = {
			.first = range->first,
			.last = range->last,
			.doors = s->listener->doors,
			.doors_n = s->listener->doors_n,
		};

		pooled.names_n = session_port_names(s, pooled.names);
		return data_reserve(s->transfer->data, &pooled, &peers, port);
	}
	result = data_listen(s->transfer->data, SIDE_CLIENT, &local, s->listener->ports, &peers, &bound);
	if (result == 0)
		*port = netaddr_port(&bound);
	return result;
}

static void refuse_passive(struct session *s, int error)
{
	bool pooled = s->listener->passive_ports.pooled;

	transfer_discard(s);
	if (error != -EADDRINUSE) {
		session_reply(s, 425, "Cannot open a passive port.");
		return;
	}
	counter_add(s->loop->counters, COUNT_PASSIVE_EXHAUSTED, 1);
	session_reply(s, 425, pooled ? "All passive ports are in use by transfers of your address."
				     : "No port of the passive range is free.");
}

/* The port that the client is told; 0: it has been answered that there is none. */
static uint16_t open_port(struct session *s)
{
	uint16_t port = 0;
	int result = open_passive(s, &port);

	if (result != 0) {
		refuse_passive(s, result);
		return 0;
	}
	s->facts.data_offered_ms = s->loop->now_ms;
	s->transfer->prepared = true;
	return port;
}

static void answer_pasv(struct session *s, struct netaddr address)
{
	char text[FTP_ADDRESS_TEXT_MAX];
	uint16_t port = open_port(s);

	if (port == 0)
		return;
	netaddr_set_port(&address, port);
	(void)ftp_address_write_port(text, &address);
	session_reply(s, 227, "Entering Passive Mode (%s).", text);
}

/* --- names ------------------------------------------------------------------------- */

void announce_forget(struct session *s, struct transfer *t)
{
	if (t->lookup == NULL)
		return;
	resolver_forget(&t->lookup);
	ledger_sub(&s->live->ledger, LEDGER_LOOKUP);
}

static void name_is_unknown(struct session *s, const char *error)
{
	const char *host = announcement_for(s).host;

	counter_add(s->loop->counters, COUNT_PASSIVE_UNKNOWN, 1);
	log_write(s->loop->events, LEVEL_WARNING, "listener %s: PASV is refused: %s cannot be looked up: %s",
		  s->listener->name, host, error);
	transfer_discard(s);
	session_reply(s, 425, "The address for PASV is not known at the moment (%s); use EPSV.", error);
}

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct session *s = owner;
	size_t i = 0;

	s->loop->now_ms = sp_now_ms();
	announce_forget(s, s->transfer);
	session_answered(s);
	while (i < n && addresses[i].family != AF_INET)
		i++;
	if (i < n)
		answer_pasv(s, addresses[i]);
	else
		name_is_unknown(s, n > 0 || error == NULL ? "it has no IPv4 address" : error);
	session_settle(s);
}

static void look_up(struct session *s, const char *host)
{
	s->transfer->lookup = resolver_lookup(s->loop->resolver, host, 0, on_looked_up, s);
	if (s->transfer->lookup == NULL) {
		s->no_memory = true;
		return;
	}
	ledger_add(&s->live->ledger, LEDGER_LOOKUP);
	s->purpose = PURPOSE_ANNOUNCE;
	s->verb = VERB_PASV;
}

void announce_passive(struct session *s)
{
	struct announcement announcement;
	uint16_t port;

	if (s->transfer->client_verb == VERB_EPSV) {
		port = open_port(s);
		if (port != 0)
			session_reply(s, 229, "Entering Extended Passive Mode (|||%u|)", (unsigned)port);
		return;
	}
	announcement = announcement_for(s);
	if (announcement.host != NULL)
		look_up(s, announcement.host);
	else
		answer_pasv(s, announcement.address);
}

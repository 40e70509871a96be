// SPDX-License-Identifier: ISC
/*
 * Checks of a configuration: addresses and ports that get into each other's
 * way. An address of all interfaces stands for every address of its family
 * (listeners for IPv6 take IPv6 only).
 */
#include <stdlib.h>
#include <strings.h>

#include "sallyport/config_build.h"

/* A bind address of a listener. */
struct bind_ref {
	size_t listener;
	size_t index;
	const struct netaddr *address;
};

static struct config_position bind_place(const struct config_build *build, struct bind_ref bind)
{
	return config_build_value_place(build, SECTION_LISTENER, bind.listener, "bind", bind.index);
}

/* Can a connection to the one arrive at the other, ports aside? */
static bool addresses_meet(const struct netaddr *a, const struct netaddr *b)
{
	if (netaddr_same_host(a, b))
		return true;
	return a->family == b->family && (netaddr_is_any(a) || netaddr_is_any(b));
}

/* The first address that both listeners have, as the second one writes it; NULL: none. */
static const struct netaddr *common_address(const struct listener_config *a,
                                            const struct listener_config *b)
{
	for (size_t i = 0; i < a->binds_n; i++) {
		for (size_t j = 0; j < b->binds_n; j++) {
			if (addresses_meet(&a->binds[i], &b->binds[j]))
				return &b->binds[j];
		}
	}
	return NULL;
}

static void check_bind_pair(struct config_build *build, struct bind_ref first,
                            struct bind_ref second)
{
	struct config_position at = bind_place(build, second);
	struct config_place place = config_place(build->report, bind_place(build, first), at);
	const char *label = config_build_label(build, SECTION_LISTENER, "bind");
	char text[NETADDR_TEXT_MAX];

	if (netaddr_port(first.address) != netaddr_port(second.address))
		return;
	netaddr_format(second.address, text);
	if (netaddr_same_host(first.address, second.address)) {
		if (build->command_line)
			config_error(build->report, at, label, "\"%s\" is given twice", text);
		else
			config_error(build->report, at, label, "\"%s\" is there already in %s",
			             text, place.text);
	} else if (addresses_meet(first.address, second.address) && !build->command_line &&
	           first.listener != second.listener) {
		config_warning(build->report, at, label,
		               "\"%s\" and the address in %s overlap: clients get the listener "
		               "whose address is the more exact one",
		               text, place.text);
	}
}

static void check_binds(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->listeners_n; i++) {
		for (size_t a = 0; a < config->listeners[i].binds_n; a++) {
			struct bind_ref second = { i, a, &config->listeners[i].binds[a] };

			for (size_t j = 0; j <= i; j++) {
				size_t n = j < i ? config->listeners[j].binds_n : a;

				for (size_t b = 0; b < n; b++)
					check_bind_pair(build,
					                (struct bind_ref){
							    j, b, &config->listeners[j].binds[b] },
					                second);
			}
		}
	}
}

static struct config_position ports_place(const struct config_build *build, size_t listener)
{
	return config_build_value_place(build, SECTION_LISTENER, listener, "passive_ports", 0);
}

/* Are data connections to both preceded by the same balancers' headers, or by none? */
static bool same_headers(const struct listener_config *a, const struct listener_config *b)
{
	if (a->proxy_protocol_data != b->proxy_protocol_data)
		return false;
	if (!a->proxy_protocol_data)
		return true;
	if (a->proxy_data_trusted_n != b->proxy_data_trusted_n)
		return false;
	for (size_t i = 0; i < a->proxy_data_trusted_n; i++) {
		if (a->proxy_data_trusted[i].bits != b->proxy_data_trusted[i].bits ||
		    !netaddr_same_host(&a->proxy_data_trusted[i].base, &b->proxy_data_trusted[i].base))
			return false;
	}
	return true;
}

/* Two listeners that draw their passive ports from the same heap. */
static void check_ranges_pair(struct config_build *build, size_t i, size_t j)
{
	const struct listener_config *first = &build->config->listeners[i];
	const struct listener_config *second = &build->config->listeners[j];
	const struct port_range *a = &first->passive_ports;
	const struct port_range *b = &second->passive_ports;
	const struct netaddr *common;
	struct config_position at;
	char text[NETADDR_TEXT_MAX];

	if (a->first == 0 || b->first == 0 || a->last < b->first || b->last < a->first)
		return;
	common = common_address(first, second);
	if (common == NULL)
		return;
	at = ports_place(build, j);
	if (a->pooled && b->pooled) {
		if (same_headers(first, second))
			return;
		config_error(build->report, at, "passive_ports",
		             "shares pooled ports with listener %s (%s), whose proxy_protocol_data or "
		             "proxy_data_trusted differs",
		             first->name, config_place(build->report, ports_place(build, i), at).text);
		return;
	}
	config_error(build->report, at, "passive_ports",
	             "%u-%u overlaps %u-%u of listener %s (%s), and both have the address %s",
	             (unsigned)b->first, (unsigned)b->last, (unsigned)a->first, (unsigned)a->last,
	             first->name, config_place(build->report, ports_place(build, i), at).text,
	             netaddr_format_host(common, text));
}

/* A port that clients connect to and that passive data connections may want. */
static void check_bind_in_range(struct config_build *build, size_t owner, struct bind_ref bind)
{
	const struct listener_config *listener = &build->config->listeners[owner];
	const struct port_range *range = &listener->passive_ports;
	uint16_t port = netaddr_port(bind.address);
	struct config_position at = bind_place(build, bind);
	char text[NETADDR_TEXT_MAX];

	if (range->first == 0 || port < range->first || port > range->last)
		return;
	for (size_t i = 0; i < listener->binds_n; i++) {
		if (!addresses_meet(&listener->binds[i], bind.address))
			continue;
		config_error(build->report, at, "bind",
		             "\"%s\": the port is within passive_ports of listener %s (%s)",
		             netaddr_format(bind.address, text), listener->name,
		             config_place(build->report, ports_place(build, owner), at).text);
		return;
	}
}

/* Who stands in for whom on passive ports. */
static void check_passive_from(struct config_build *build, size_t i)
{
	const struct listener_config *listener = &build->config->listeners[i];

	if (listener->passive_ports.pooled && listener->passive_from_n > 0)
		config_error(build->report,
		             config_build_value_place(build, SECTION_LISTENER, i, "passive_from", 0), "passive_from",
		             "does not go with pooled ports, which know a client by its own address");
	for (size_t j = 0; j < listener->passive_from_n; j++) {
		if (listener->passive_from[j].bits == 0)
			config_warning(build->report,
			               config_build_value_place(build, SECTION_LISTENER, i, "passive_from", j),
			               "passive_from", "lets everybody in: any host may take a client's data port");
	}
}

/* FXP needs connections from elsewhere, which pooled ports cannot tell whose they are. */
static void check_pooled(struct config_build *build, size_t i)
{
	const struct config *config = build->config;

	for (size_t p = 0; config->listeners[i].passive_ports.pooled && p < config->policies_n; p++) {
		if (config->policies[p].pass_foreign_data)
			config_warning(build->report, ports_place(build, i), "passive_ports",
			               "on pooled ports only the client's own host may connect, whatever "
			               "pass_foreign_data of policy %s allows",
			               config->policies[p].name);
	}
}

static void check_ranges(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->listeners_n; i++) {
		check_pooled(build, i);
		check_passive_from(build, i);
		for (size_t j = i + 1; j < config->listeners_n; j++)
			check_ranges_pair(build, i, j);
		for (size_t j = 0; j < config->listeners_n; j++) {
			const struct listener_config *other = &config->listeners[j];

			for (size_t b = 0; b < other->binds_n; b++)
				check_bind_in_range(build, i,
				                    (struct bind_ref){ j, b, &other->binds[b] });
		}
	}
}

/* A bind that clients of the Internet may arrive at, best one that is theirs alone; NULL: none. */
static const struct netaddr *open_bind(const struct listener_config *listener)
{
	const struct netaddr *any = NULL;

	for (size_t b = 0; b < listener->binds_n; b++) {
		const struct netaddr *bind = &listener->binds[b];

		if (netaddr_is_any(bind))
			any = bind->family == AF_INET ? bind : any;
		else if (!netaddr_is_private(bind))
			return bind;
	}
	return any;
}

/* A client on the Internet that is told an address that is not on it. */
static void check_announced(struct config_build *build, size_t i)
{
	const struct listener_config *listener = &build->config->listeners[i];
	const struct netaddr *bind = open_bind(listener);
	char announced[NETADDR_TEXT_MAX];
	char text[NETADDR_TEXT_MAX];

	if (bind == NULL || listener->passive_address.family == AF_UNSPEC ||
	    !netaddr_is_private(&listener->passive_address))
		return;
	netaddr_format_host(&listener->passive_address, announced);
	netaddr_format_host(bind, text);
	config_warning(build->report,
	               config_build_value_place(build, SECTION_LISTENER, i, "passive_address", 0),
	               "passive_address",
	               netaddr_is_any(bind)
	                   ? "\"%s\" is a private address, but with %s clients may come from public ones"
	                   : "\"%s\" is a private address, but %s is a public one",
	               announced, text);
}

/* The same for the clients of one network. */
static void check_announced_for(struct config_build *build, size_t i)
{
	const struct listener_config *listener = &build->config->listeners[i];
	char announced[NETADDR_TEXT_MAX];
	char text[NETADDR_TEXT_MAX];

	for (size_t k = 0; k < listener->passive_address_for_n; k++) {
		const struct address_for *entry = &listener->passive_address_for[k];

		if (entry->address.family == AF_UNSPEC || !netaddr_is_private(&entry->address) ||
		    netaddr_is_private(&entry->network.base))
			continue;
		config_warning(build->report,
		               config_build_value_place(build, SECTION_LISTENER, i,
		                                        "passive_address_for", k),
		               "passive_address_for",
		               "\"%s\" is a private address, but the clients in %s/%u are not in a private network",
		               netaddr_format_host(&entry->address, announced),
		               netaddr_format_host(&entry->network.base, text),
		               (unsigned)entry->network.bits);
	}
}

/* A server that is one of our own listeners: every logon would come back to us. */
static bool is_own_bind(const struct netaddr *server, const struct netaddr *bind)
{
	if (netaddr_port(server) != netaddr_port(bind))
		return false;
	return netaddr_same_host(server, bind) ||
	       (server->family == bind->family && netaddr_is_any(bind) &&
	        netaddr_is_loopback(server));
}

static void check_loop(struct config_build *build, size_t pool, size_t server)
{
	const struct config *config = build->config;
	const struct server_config *s = &config->pools[pool].servers[server];
	const char *label = config_build_label(build, SECTION_SERVER, "address");
	char text[NETADDR_TEXT_MAX];

	for (size_t i = 0; i < config->listeners_n; i++) {
		for (size_t b = 0; b < config->listeners[i].binds_n; b++) {
			if (!is_own_bind(&s->address, &config->listeners[i].binds[b]))
				continue;
			config_error(
			    build->report,
			    config_build_server_place(build, pool, server, "address"), label,
			    "\"%s\" is an address of listener %s: logons would come back to it",
			    netaddr_format(&s->address, text), config->listeners[i].name);
			return;
		}
	}
}

static void check_same_server(struct config_build *build, size_t pool, size_t server)
{
	const struct server_config *servers = build->config->pools[pool].servers;
	const struct server_config *s = &servers[server];
	struct config_position at = config_build_server_place(build, pool, server, "address");

	for (size_t i = 0; i < server; i++) {
		if (servers[i].host == NULL || servers[i].port != s->port ||
		    strcasecmp(servers[i].host, s->host) != 0)
			continue;
		config_warning(build->report, at,
		               config_build_label(build, SECTION_SERVER, "address"),
		               "server %s of the pool has the same address", servers[i].name);
		return;
	}
}

void config_check_net(struct config_build *build)
{
	const struct config *config = build->config;

	check_binds(build);
	check_ranges(build);
	for (size_t i = 0; i < config->listeners_n; i++) {
		check_announced(build, i);
		check_announced_for(build, i);
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			if (config->pools[i].servers[j].host == NULL)
				continue; /* was not usable */
			if (config->pools[i].servers[j].address.family != AF_UNSPEC)
				check_loop(build, i, j);
			check_same_server(build, i, j);
		}
	}
}

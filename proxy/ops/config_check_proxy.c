// SPDX-License-Identifier: ISC
/*
 * Checks of a configuration: whose addresses are believed, and which ones we
 * show to servers. A PROXY header is a claim that nobody can verify, so who may
 * make it must be said.
 */
#include "sallyport/config_build.h"

static void listener_error(struct config_build *build, size_t i, const char *key, const char *text)
{
	config_error(build->report, config_build_value_place(build, SECTION_LISTENER, i, key, 0), key, "%s",
		     text);
}

/* A network of all addresses: then the list might as well not be there. */
static void warn_everybody(struct config_build *build, size_t i, const char *key, const struct netblock *nets,
			   size_t n)
{
	for (size_t j = 0; j < n; j++) {
		if (nets[j].bits == 0)
			config_warning(build->report,
				       config_build_value_place(build, SECTION_LISTENER, i, key, j), key,
				       "trusts everybody: any client can claim any address");
	}
}

static void check_listener(struct config_build *build, size_t i)
{
	const struct listener_config *listener = &build->config->listeners[i];
	/* What is written wrongly has been complained of; it is not missing. */
	bool trusted = config_build_has(build, SECTION_LISTENER, i, "proxy_trusted");
	bool data_trusted = config_build_has(build, SECTION_LISTENER, i, "proxy_data_trusted");

	if (listener->proxy_protocol && !trusted)
		listener_error(build, i, "proxy_protocol",
			       "needs proxy_trusted = { \"NETWORK\" }: the balancers that may send headers");
	if (!listener->proxy_protocol && trusted)
		listener_error(build, i, "proxy_trusted", "has no effect while proxy_protocol is no");
	if (listener->proxy_protocol_data && !data_trusted)
		listener_error(build, i, "proxy_protocol_data",
			       "needs proxy_data_trusted = { \"NETWORK\" }: the balancers that may send headers");
	if (!listener->proxy_protocol_data && data_trusted)
		listener_error(build, i, "proxy_data_trusted", "has no effect while proxy_protocol_data is no");
	if (listener->passive_by_proxy && !listener->proxy_protocol)
		listener_error(build, i, "passive_address", "proxy goes with proxy_protocol = yes");
	warn_everybody(build, i, "proxy_trusted", listener->proxy_trusted, listener->proxy_trusted_n);
	warn_everybody(build, i, "proxy_data_trusted", listener->proxy_data_trusted,
		       listener->proxy_data_trusted_n);
}

static void server_error(struct config_build *build, size_t pool, size_t server, const char *key,
			 const char *text)
{
	config_error(build->report, config_build_server_place(build, pool, server, key), key, "%s", text);
}

static void check_server(struct config_build *build, size_t i, size_t j)
{
	const struct server_config *server = &build->config->pools[i].servers[j];

	if (server->proxy_protocol_data && server->proxy_protocol == SERVER_PROXY_NONE)
		server_error(build, i, j, "proxy_protocol_data", "goes with proxy_protocol = v1 or v2");
	if (server->source.family == AF_UNSPEC)
		return;
	if (server->transparent)
		server_error(build, i, j, "source",
			     "does not go with transparent = yes: the source is the client's address then");
	if (server->address.family != AF_UNSPEC && server->address.family != server->source.family)
		server_error(build, i, j, "source",
			     server->source.family == AF_INET
				     ? "is an IPv4 address, but the server has an IPv6 address"
				     : "is an IPv6 address, but the server has an IPv4 address");
}

void config_check_proxy(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->listeners_n; i++)
		check_listener(build, i);
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++)
			check_server(build, i, j);
	}
}

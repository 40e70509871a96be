// SPDX-License-Identifier: ISC
/*
 * A listener in words: who may come, as what, and what they are told of passive
 * ports.
 */
#include "config_speaker.h"

static void add_networks(struct speaker *s, const struct netblock *nets, size_t n)
{
	char text[NETADDR_TEXT_MAX];

	for (size_t i = 0; i < n; i++)
		ADD(s, "%s%s/%u", i > 0 ? ", " : " ", netaddr_format_host(&nets[i].base, text),
		    (unsigned)nets[i].bits);
}

static void explain_balancers(struct speaker *s, const struct listener_config *listener)
{
	if (listener->proxy_protocol) {
		ADD(s, "    through a balancer, which says in a PROXY header who they are; only from");
		add_networks(s, listener->proxy_trusted, listener->proxy_trusted_n);
		speaker_end_line(s);
	}
	if (listener->proxy_protocol_data) {
		ADD(s, "    passive data connections begin with a PROXY header; only from");
		add_networks(s, listener->proxy_data_trusted, listener->proxy_data_trusted_n);
		speaker_end_line(s);
	}
}

static void explain_passive_from(struct speaker *s, const struct listener_config *listener)
{
	if (listener->passive_from_n == 0)
		return;
	ADD(s, "        clients in");
	add_networks(s, listener->passive_from, listener->passive_from_n);
	ADD(s, " may connect from any address of their network");
	speaker_end_line(s);
}

static void explain_listener_tls(struct speaker *s, const struct listener_tls *tls)
{
	static const char *const modes[] = {
		[TLS_NONE] = "none: AUTH TLS is refused",
		[TLS_EXPLICIT] = "for clients that say AUTH TLS",
		[TLS_REQUIRED] = "required: AUTH TLS must come before USER",
		[TLS_IMPLICIT] = "from the first byte (implicit)",
	};

	if (tls->mode == TLS_NONE)
		return;
	ADD(s, "    TLS %s, version %s and above, certificate %s", modes[tls->mode],
	    tls->min_version == TLS_VERSION_1_3 ? "1.3" : "1.2", tls->certificate);
	if (tls->more_n > 0)
		ADD(s, " and %zu more by name", tls->more_n);
	speaker_end_line(s);
	if (tls->client_certificates != TLS_CLIENT_NONE) {
		ADD(s, "    clients' certificates are %s, from the authorities in %s",
		    tls->client_certificates == TLS_CLIENT_REQUIRED ? "required" : "asked for",
		    tls->client_ca);
		speaker_end_line(s);
	}
	if (tls->required_data || tls->require_reuse || tls->lenient_close) {
		ADD(s, "    data connections:%s%s%s", tls->required_data ? " must be protected (PROT P);" : "",
		    tls->require_reuse ? " must resume the control connection's session;" : "",
		    tls->lenient_close ? " may end without close_notify;" : "");
		speaker_end_line(s);
	}
}

/* "to ftp.example.net (203.0.113.10 at the moment)": what it stands for only where somebody has looked. */
static void explain_name(struct speaker *s, const struct announced_name *name)
{
	char text[NETADDR_TEXT_MAX];

	ADD(s, "what %s stands for", name->host);
	if (name->now.family != AF_UNSPEC)
		ADD(s, " (%s at the moment%s)", netaddr_format_host(&name->now, text),
		    netaddr_is_private(&name->now) ? ", a private address" : "");
	else if (name->error != NULL)
		ADD(s, " (which cannot be looked up: %s)", name->error);
}

static void explain_announced(struct speaker *s, const struct listener_config *listener)
{
	char text[NETADDR_TEXT_MAX];

	for (size_t i = 0; i < listener->passive_address_for_n; i++) {
		const struct address_for *entry = &listener->passive_address_for[i];

		ADD(s, "        clients in %s/%u are told ",
		    netaddr_format_host(&entry->network.base, text), (unsigned)entry->network.bits);
		if (entry->name.host != NULL)
			explain_name(s, &entry->name);
		else if (entry->address.family == AF_UNSPEC)
			ADD(s, "the address that they connected to");
		else
			ADD(s, "%s", netaddr_format_host(&entry->address, text));
		speaker_end_line(s);
	}
}

static void explain_pooled(struct speaker *s, const struct port_range *ports)
{
	unsigned n = (unsigned)ports->last - ports->first + 1;

	if (n == 1)
		ADD(s, ", port %u for all sessions", (unsigned)ports->first);
	else
		ADD(s, ", ports %u-%u for all sessions", (unsigned)ports->first, (unsigned)ports->last);
	ADD(s, " (%u transfer%s of one client address may wait for %s)", n, n == 1 ? "" : "s",
	    n == 1 ? "its connection" : "their connections");
}

/* Beyond the number of ports. */
static void explain_sharing(struct speaker *s, const struct listener_config *listener)
{
	if (!listener->passive_ports.pooled || listener->tls.mode == TLS_NONE)
		return;
	ADD(s, "    when one address has all of these: shared by its sessions whose protected data connections resume%s",
	    listener->tls.require_reuse ? "" : ", once they have done so");
	speaker_end_line(s);
}

static void explain_passive_name(struct speaker *s, const struct listener_config *listener)
{
	ADD(s, "    passive data connections: to ");
	explain_name(s, &listener->passive_name);
}

void config_explain_listener(struct speaker *s, const struct listener_config *listener)
{
	const struct port_range *ports = &listener->passive_ports;
	unsigned ports_n = (unsigned)ports->last - ports->first + 1;
	char text[NETADDR_TEXT_MAX];

	speaker_end_line(s);
	ADD(s, "Listener %s", listener->name);
	speaker_end_line(s);
	ADD(s, "    clients connect to ");
	for (size_t i = 0; i < listener->binds_n; i++)
		ADD(s, "%s%s", i > 0 ? ", " : "", netaddr_format(&listener->binds[i], text));
	speaker_end_line(s);
	ADD(s, "    and are greeted with: 220 %s", listener->greeting);
	speaker_end_line(s);
	explain_balancers(s, listener);
	explain_listener_tls(s, &listener->tls);
	if (listener->passive_by_proxy)
		ADD(s, "    passive data connections: to the address that the PROXY header names");
	else if (listener->passive_name.host != NULL)
		explain_passive_name(s, listener);
	else if (listener->passive_address.family == AF_UNSPEC)
		ADD(s, "    passive data connections: to the address that the client connected to");
	else
		ADD(s, "    passive data connections: to %s",
		    netaddr_format_host(&listener->passive_address, text));
	if (ports->first == 0)
		ADD(s, ", any port");
	else if (ports->pooled)
		explain_pooled(s, ports);
	else if (ports_n == 1)
		ADD(s, ", port %u (one transfer may wait for its connection)", (unsigned)ports->first);
	else
		ADD(s, ", ports %u-%u (%u transfers may wait for their connections)",
		    (unsigned)ports->first, (unsigned)ports->last, ports_n);
	speaker_end_line(s);
	explain_passive_from(s, listener);
	explain_sharing(s, listener);
	explain_announced(s, listener);
	if (listener->active_source_port != 0) {
		ADD(s, "    active data connections: from port %u", listener->active_source_port);
		speaker_end_line(s);
	}
	if (listener->unknown_user == UNKNOWN_USER_REJECT) {
		ADD(s, "    users are asked for a password before any server is; a refusal comes %s after it",
		    config_duration_show(listener->reject_delay_ms).text);
		speaker_end_line(s);
	}
	if (listener->strict_eol) {
		ADD(s, "    a command line that ends in LF without CR is refused");
		speaker_end_line(s);
	}
}

// SPDX-License-Identifier: ISC
/*
 * What a configuration means, in words: for an operator who wants to know
 * before, or who never saw the product. It speaks of what is in force, the
 * defaults with it, not of what stands in the file.
 */
#include <string.h>

#include "sallyport/config.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value.h"
#include "sallyport/credentials.h"
#include "sallyport/resolver.h"
#include "sallyport/services.h"

struct speaker {
	const struct config *config;
	void (*line)(void *ctx, const char *text);
	void *ctx;
	struct config_text text; /* of the line that is being made */
};

/* Adds to the line. */
#define ADD(s, ...) config_text_add(&(s)->text, __VA_ARGS__)

/* Gives the line out and begins a new one. */
static void end_line(struct speaker *s)
{
	s->line(s->ctx, config_text_get(&s->text));
	config_text_fini(&s->text);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* "30s"; "off" when it is 0. */
static struct config_shown timeout_text(int64_t ms)
{
	return ms == 0 ? (struct config_shown){ "off" } : config_duration_show(ms);
}

static void explain_tickets(struct speaker *s)
{
	const struct config *config = s->config;
	bool tls = false;

	for (size_t i = 0; i < config->listeners_n; i++)
		tls = tls || config->listeners[i].tls.mode != TLS_NONE;
	if (!tls)
		return;
	if (config->ticket_keys != NULL)
		ADD(s, "    TLS session tickets: %zu key%s of %s", config->ticket_keys->n,
		    plural(config->ticket_keys->n), config->ticket_keys_file);
	else
		ADD(s, "    TLS session tickets: a new key every %s, old tickets are good for one more time",
		    config_duration_show(config->ticket_rotation_ms).text);
	end_line(s);
}

static void explain_process(struct speaker *s)
{
	const struct config *config = s->config;

	ADD(s, "%s", config->file);
	end_line(s);
	end_line(s);
	ADD(s, "Process");
	end_line(s);
	ADD(s, "    %u worker thread%s, a session table of %u shard%s", config->workers,
	    plural(config->workers), config->shards, plural(config->shards));
	end_line(s);
	if (config->max_sessions == 0)
		ADD(s, "    as many sessions as there are descriptors for");
	else
		ADD(s, "    at most %u session%s", config->max_sessions,
		    plural(config->max_sessions));
	end_line(s);
	if (config->drain_timeout_ms == 0)
		ADD(s, "    when it is stopped: transfers are cut at once");
	else
		ADD(s, "    when it is stopped: running transfers have %s to end",
		    config_duration_show(config->drain_timeout_ms).text);
	end_line(s);
	for (size_t i = 0; i < config->dns_servers_n; i++) {
		char text[NETADDR_TEXT_MAX];

		ADD(s, "%s%s", i > 0 ? ", " : "    names are looked up at ",
		    netaddr_format(&config->dns_servers[i], text));
		if (i + 1 == config->dns_servers_n)
			end_line(s);
	}
	if (config->user != NULL) {
		ADD(s, "    runs as user %s when it is started as root", config->user);
		end_line(s);
	}
	explain_tickets(s);
	if (config->dns_ttl_min_ms != RESOLVER_TTL_FLOOR_MS || config->dns_ttl_max_ms != RESOLVER_TTL_CEIL_MS) {
		ADD(s, "    answers of name servers are used for %s",
		    config_duration_show(config->dns_ttl_min_ms).text);
		ADD(s, " to %s", config_duration_show(config->dns_ttl_max_ms).text);
		end_line(s);
	}
	if (config->admin.socket[0] == '\0')
		ADD(s, "    no control by sallyportctl");
	else
		ADD(s, "    control by sallyportctl through %s", config->admin.socket);
	end_line(s);
}

static void explain_log(struct speaker *s)
{
	static const char *const levels[] = { "debug", "info", "notice", "warning", "error" };
	const struct log_config *log = &s->config->log;

	if (log->file[0] == '\0' && !log->syslog) {
		ADD(s, "    events are not written anywhere");
		end_line(s);
		return;
	}
	ADD(s, "    events of level %s and above go to ", levels[log->level]);
	if (log->file[0] != '\0')
		ADD(s, "%s, %s", strcmp(log->file, "-") == 0 ? "standard output" : log->file,
		    log->format == LOG_FORMAT_JSON ? "as JSON, one object a line" : "as text");
	if (log->file[0] != '\0' && log->syslog)
		ADD(s, "; and to ");
	if (log->syslog)
		ADD(s, "syslog, facility %s", log->syslog_facility);
	end_line(s);
}

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
		end_line(s);
	}
	if (listener->proxy_protocol_data) {
		ADD(s, "    passive data connections begin with a PROXY header; only from");
		add_networks(s, listener->proxy_data_trusted, listener->proxy_data_trusted_n);
		end_line(s);
	}
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
	end_line(s);
	if (tls->client_certificates != TLS_CLIENT_NONE) {
		ADD(s, "    clients' certificates are %s, from the authorities in %s",
		    tls->client_certificates == TLS_CLIENT_REQUIRED ? "required" : "asked for",
		    tls->client_ca);
		end_line(s);
	}
	if (tls->required_data || tls->require_reuse || tls->lenient_close) {
		ADD(s, "    data connections:%s%s%s", tls->required_data ? " must be protected (PROT P);" : "",
		    tls->require_reuse ? " must resume the control connection's session;" : "",
		    tls->lenient_close ? " may end without close_notify;" : "");
		end_line(s);
	}
}

static void explain_server_tls(struct speaker *s, const struct server_config *server)
{
	static const char *const modes[] = {
		[SERVER_TLS_NONE] = "none",
		[SERVER_TLS_EXPLICIT] = "by AUTH TLS",
		[SERVER_TLS_IMPLICIT] = "from the first byte (implicit)",
		[SERVER_TLS_AUTO] = "by AUTH TLS",
		[SERVER_TLS_CLIENT] = "by AUTH TLS for clients that came with TLS",
	};
	const struct server_tls_config *tls = &server->tls;

	if (tls->mode == SERVER_TLS_NONE)
		return;
	ADD(s, "        TLS %s, ", modes[tls->mode]);
	if (tls->verify)
		ADD(s, "verified as %s by %s", tls->name != NULL ? tls->name : server->host,
		    tls->ca != NULL ? tls->ca : "the system's authorities");
	else
		ADD(s, "not verified");
	if (tls->fingerprint != NULL)
		ADD(s, ", pinned");
	if (tls->mode == SERVER_TLS_AUTO)
		ADD(s, tls->allow_plain ? "; in clear when it knows no TLS" : "; never in clear");
	end_line(s);
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
		end_line(s);
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

static void explain_passive_name(struct speaker *s, const struct listener_config *listener)
{
	ADD(s, "    passive data connections: to ");
	explain_name(s, &listener->passive_name);
}

static void explain_listener(struct speaker *s, const struct listener_config *listener)
{
	const struct port_range *ports = &listener->passive_ports;
	unsigned ports_n = (unsigned)ports->last - ports->first + 1;
	char text[NETADDR_TEXT_MAX];

	end_line(s);
	ADD(s, "Listener %s", listener->name);
	end_line(s);
	ADD(s, "    clients connect to ");
	for (size_t i = 0; i < listener->binds_n; i++)
		ADD(s, "%s%s", i > 0 ? ", " : "", netaddr_format(&listener->binds[i], text));
	end_line(s);
	ADD(s, "    and are greeted with: 220 %s", listener->greeting);
	end_line(s);
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
	end_line(s);
	explain_announced(s, listener);
	if (listener->active_source_port != 0) {
		ADD(s, "    active data connections: from port %u", listener->active_source_port);
		end_line(s);
	}
	if (listener->unknown_user == UNKNOWN_USER_REJECT) {
		ADD(s, "    users are asked for a password before any server is; a refusal comes %s after it",
		    config_duration_show(listener->reject_delay_ms).text);
		end_line(s);
	}
	if (listener->strict_eol) {
		ADD(s, "    a command line that ends in LF without CR is refused");
		end_line(s);
	}
}

/* Does every logon match this rule? */
static bool matches_all(const struct route_rule *rule)
{
	return rule->listeners == NULL && rule->sources_n == 0 && rule->hosts == NULL &&
	       rule->certificates == NULL && rule->times_n == 0 && rule->users == NULL && rule->map == NULL;
}

static void explain_routes(struct speaker *s)
{
	const struct config *config = s->config;
	bool open = true; /* some logons may match nothing */

	end_line(s);
	ADD(s, "Routes: the first one that matches a logon decides");
	end_line(s);
	for (size_t i = 0; i < config->routes_n; i++) {
		const struct route_rule *rule = &config->routes[i];
		char about[ROUTE_TEXT_MAX];

		ADD(s, "    %zu. %s: ", i + 1, route_describe(rule, about, sizeof(about)));
		if (rule->reject)
			ADD(s, "refused with 530");
		else
			ADD(s, "%s %s, policy %s", rule->map != NULL ? "the map's pool, else" : "pool",
			    rule->pool != ROUTE_NO_POOL ? config->pools[rule->pool].name : "none",
			    config->policies[rule->policy].name);
		if (rule->map != NULL)
			ADD(s, " (%zu user%s)", rule->map->n, plural(rule->map->n));
		if (rule->strip_domain)
			ADD(s, ", user@domain as user");
		if (rule->credentials != NULL)
			ADD(s, ", logged on by %s", rule->credentials->file);
		if (config->route_implied)
			ADD(s, " (none is configured, and there is only one pool)");
		end_line(s);
		open = open && !matches_all(rule);
	}
	if (open) {
		ADD(s, "    any other logon is refused with 530");
		end_line(s);
	}
}

/* As whom the server sees us. */
static void explain_source(struct speaker *s, const struct server_config *server)
{
	char text[NETADDR_TEXT_MAX];

	if (server->proxy_protocol != SERVER_PROXY_NONE) {
		ADD(s, "        it is told who the client is by a PROXY header, version %d, on %s",
		    server->proxy_protocol == SERVER_PROXY_V1 ? 1 : 2,
		    server->proxy_protocol_data ? "control and data connections" : "control connections");
		end_line(s);
	}
	if (server->transparent)
		ADD(s, "        connections come from the client's address (transparent)");
	else if (server->source.family != AF_UNSPEC)
		ADD(s, "        connections come from %s", netaddr_format_host(&server->source, text));
	else
		return;
	end_line(s);
}

/* How its name is used, and what it stands for if that is known. */
static void explain_resolve(struct speaker *s, const struct server_config *server)
{
	static const char *const families[] = {
		[ADDRESS_FAMILY_ANY] = NULL,
		[ADDRESS_FAMILY_IPV4_FIRST] = "IPv4 addresses are tried first",
		[ADDRESS_FAMILY_IPV6_FIRST] = "IPv6 addresses are tried first",
		[ADDRESS_FAMILY_IPV4] = "only IPv4 addresses are used",
		[ADDRESS_FAMILY_IPV6] = "only IPv6 addresses are used",
	};
	const struct server_addresses *now = &server->addresses;
	char text[NETADDR_TEXT_MAX];

	if (server->address.family != AF_UNSPEC)
		return;
	if (server->resolve != RESOLVE_FIRST) {
		ADD(s, "        each address of %s is a server of its own, at most %u",
		    server->resolve == RESOLVE_SERVICE ? "the targets of its SRV records" : "the name",
		    server->max_addresses);
		end_line(s);
	}
	if (families[server->address_family] != NULL) {
		ADD(s, "        %s", families[server->address_family]);
		end_line(s);
	}
	if (now->n == 0 && now->error == NULL && !now->not_offered)
		return;
	ADD(s, "        at the moment: ");
	for (size_t i = 0; i < now->n; i++) {
		ADD(s, "%s%s", i > 0 ? ", " : "",
		    server->resolve == RESOLVE_SERVICE ? netaddr_format(&now->now[i].address, text)
						       : netaddr_format_host(&now->now[i].address, text));
		if (now->now[i].weight > 0)
			ADD(s, " (weight %u%s)", now->now[i].weight, now->now[i].backup ? ", backup" : "");
	}
	if (now->not_offered)
		ADD(s, "the domain says that it has no such service");
	else if (now->n == 0)
		ADD(s, "it cannot be looked up (%s)", now->error);
	end_line(s);
}

static void explain_server(struct speaker *s, const struct server_config *server)
{
	static const char *const data[] = {
		[DATA_AUTO] = "EPSV, PASV, EPRT or PORT, the first that it takes",
		[DATA_EPSV] = "EPSV",
		[DATA_PASV] = "PASV",
		[DATA_PORT] = "PORT",
		[DATA_EPRT] = "EPRT",
		[DATA_CLIENT] = "the same as with the client",
	};
	bool is_v6 = server->address.family == AF_INET6;

	if (server->resolve == RESOLVE_SERVICE)
		ADD(s, "    server %s: " SERVICE_PREFIX "%s (looked up), ports and weights from the answer, ",
		    server->name, server->host);
	else
		ADD(s, "    server %s: %s%s%s:%u%s, weight %u, ", server->name, is_v6 ? "[" : "", server->host,
		    is_v6 ? "]" : "", (unsigned)server->port,
		    server->address.family == AF_UNSPEC ? " (looked up)" : "", server->weight);
	if (server->max_sessions == 0)
		ADD(s, "any number of sessions");
	else
		ADD(s, "at most %u session%s", server->max_sessions, plural(server->max_sessions));
	end_line(s);
	explain_resolve(s, server);
	ADD(s, "        data connections by %s", data[server->data]);
	if (server->trust_pasv_address)
		ADD(s, ", to whatever address its reply to PASV names");
	if (server->abor == ABOR_TELNET)
		ADD(s, "; a transfer is aborted by Telnet's urgent interrupt");
	if (server->escape_iac)
		ADD(s, "; the byte 0xFF is doubled in commands");
	if (!server->ask_features)
		ADD(s, "; never asked what it can do");
	end_line(s);
	explain_source(s, server);
	explain_server_tls(s, server);
}

/* Where and how it gets its logons, beside its weight. */
static void explain_duty(struct speaker *s, const struct pool_config *pool, const struct server_config *server)
{
	enum check_kind kind = config_check_kind(pool, server);

	if (server->backup) {
		ADD(s, "        a backup: used when no other server of the pool can be");
		end_line(s);
	}
	if (server->state == SERVER_DRAIN)
		ADD(s, "        drained: gets no new sessions");
	else if (server->state == SERVER_MAINTENANCE)
		ADD(s, "        in maintenance: gets no new sessions and no checks");
	if (server->state != SERVER_UP)
		end_line(s);
	if (kind != pool->health.check) {
		ADD(s, "        its health check: %s", check_kind_name(kind));
		end_line(s);
	}
	if (server->warm > 0) {
		ADD(s, "        %u connection%s kept ready, each for %s", server->warm, plural(server->warm),
		    config_duration_show(server->warm_age_ms).text);
		end_line(s);
	}
}

static void explain_health(struct speaker *s, const struct pool_config *pool)
{
	const struct health_config *health = &pool->health;

	if (health->check == CHECK_NONE) {
		if (health->fall != HEALTH_FALL) {
			ADD(s, "    a server is down when %u logons in a row have failed, until one succeeds",
			    health->fall);
			end_line(s);
		}
	} else {
		ADD(s, "    each server is checked (%s) every %s, for ", check_kind_name(health->check),
		    config_duration_show(health->every_ms).text);
		ADD(s, "%s at most; down when %u checks or logons in a row have failed, "
		    "up when %u checks in a row have passed",
		    config_duration_show(health->timeout_ms).text, health->fall, health->rise);
		end_line(s);
	}
	if (health->user != NULL) {
		ADD(s, "    checks log on as %s, %s", health->user,
		    health->password_file != NULL ? health->password_file : "without a password");
		if (health->probe != NULL)
			ADD(s, ", and fetch %s", health->probe);
		end_line(s);
	}
	if (pool->slow_start_ms > 0) {
		ADD(s, "    a server that comes up has its whole share after %s",
		    config_duration_show(pool->slow_start_ms).text);
		end_line(s);
	}
	if (pool->end_sessions != END_SESSIONS_NEVER) {
		ADD(s, "    sessions end with 421 when their server is put into maintenance%s",
		    pool->end_sessions == END_SESSIONS_DOWN ? " or is down" : "");
		end_line(s);
	}
}

static bool has_limit(const struct pool_config *pool)
{
	for (size_t i = 0; i < pool->named_n; i++) {
		if (pool->servers[i].max_sessions == 0)
			return false;
	}
	return true;
}

/* What the pool remembers of logons. */
static void explain_memory(struct speaker *s, const struct pool_config *pool)
{
	if (pool->sticky != STICKY_NONE) {
		ADD(s, "    %s goes to the server of the last logon again, for %s",
		    pool->sticky == STICKY_USER ? "a user" : "a client's address",
		    config_duration_show(pool->sticky_for_ms).text);
		end_line(s);
	}
	if (pool->refused_cache_ms > 0) {
		ADD(s, "    a password that a server refused is refused here for %s",
		    config_duration_show(pool->refused_cache_ms).text);
		end_line(s);
	}
}

static void explain_pool(struct speaker *s, const struct pool_config *pool)
{
	static const char *const ways[] = {
		[BALANCE_ROUND_ROBIN] = "in turn, by weight",
		[BALANCE_LEAST_SESSIONS] = "by the fewest sessions for their weight",
		[BALANCE_RANDOM] = "at random, by weight, the less loaded of two",
		[BALANCE_FIRST] = "one after another: the first that has room",
		[BALANCE_HASH_USER] = "by user: always the same server for a user",
		[BALANCE_HASH_SOURCE] = "by source: always the same server for a client's address",
		[BALANCE_LEAST_RESPONSE_TIME] = "by the shortest expected wait",
	};
	size_t tries =
	    pool->tries == 0 || pool->tries > pool->servers_n ? pool->servers_n : pool->tries;

	end_line(s);
	ADD(s, "Pool %s: %zu server%s", pool->name, pool->named_n, plural(pool->named_n));
	if (pool->servers_n > 1)
		ADD(s, ", chosen %s (%s)", ways[pool->balance],
		    balance_algorithm_name(pool->balance));
	end_line(s);
	for (size_t i = 0; i < pool->named_n; i++) {
		explain_server(s, &pool->servers[i]);
		explain_duty(s, pool, &pool->servers[i]);
	}
	explain_health(s, pool);
	if (tries > 1)
		ADD(s, "    a server that fails at logon is followed by the next, up to %zu in all",
		    tries);
	else
		ADD(s, "    a logon is tried at one server");
	end_line(s);
	explain_memory(s, pool);
	if (pool->early_connect) {
		ADD(s, "    a server is connected to before USER comes, where every user would get this pool");
		end_line(s);
	}
	if (!has_limit(pool))
		return;
	if (pool->queue_timeout_ms == 0)
		ADD(s, "    when all of them are full, a logon is refused with 421");
	else
		ADD(s, "    when all of them are full, a logon waits up to %s",
		    config_duration_show(pool->queue_timeout_ms).text);
	end_line(s);
}

static void explain_commands(struct speaker *s, const char *what, char *const *list)
{
	if (list == NULL)
		return;
	ADD(s, "    %s", what);
	for (size_t i = 0; list[i] != NULL; i++)
		ADD(s, "%s%s", i > 0 ? ", " : " ", list[i]);
	end_line(s);
}

static void explain_clocks(struct speaker *s, const struct timeouts *timeouts)
{
	const struct {
		const char *key;
		int64_t ms;
		const char *text;
	} clocks[] = {
#define CLOCK(id, key, default_ms, may_be_off, text) { #key, timeouts->key, text },
#include "sallyport/tbl/clocks.def"
#undef CLOCK
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(clocks); i++) {
		ADD(s, "    %-20s  %-5s  %s", clocks[i].key, timeout_text(clocks[i].ms).text,
		    clocks[i].text);
		end_line(s);
	}
}

/* False: no route uses it, so there is no more to say. */
static bool explain_policy_use(struct speaker *s, const struct policy *policy)
{
	const struct config *config = s->config;
	size_t used = 0;

	ADD(s, "Policy %s: ", policy->name);
	for (size_t i = 0; i < config->routes_n; i++) {
		if (config->routes[i].reject ||
		    &config->policies[config->routes[i].policy] != policy)
			continue;
		ADD(s, "%s %zu", used++ == 0 ? "of route" : ",", i + 1);
	}
	if (used == 0)
		ADD(s, "no route uses it");
	end_line(s);
	return used > 0;
}

static void explain_policy(struct speaker *s, const struct policy *policy)
{
	static const char *const resets[] = {
		[IDLE_RESETS_ANY] = "any command, any byte of a transfer",
		[IDLE_RESETS_USEFUL] =
		    "commands that do work (not NOOP, STAT, PWD, TYPE and the like), transfers",
		[IDLE_RESETS_TRANSFER] = "transfers only",
	};

	end_line(s);
	if (!explain_policy_use(s, policy))
		return;
	explain_clocks(s, &policy->timeouts);
	ADD(s, "    activity, for idle_timeout: %s", resets[policy->idle_resets]);
	end_line(s);
	if (policy->max_errors == 0)
		ADD(s, "    refused commands: any number of them");
	else
		ADD(s, "    refused commands: number %u ends the session", policy->max_errors);
	end_line(s);
	if (policy->queue_priority > 0) {
		ADD(s, "    in the queue for a server: before all of a priority below %u", policy->queue_priority);
		end_line(s);
	}
	if (policy->queue_keepalive_ms > 0) {
		ADD(s, "    a client whose logon waits gets a line of text every %s",
		    config_duration_show(policy->queue_keepalive_ms).text);
		end_line(s);
	}
	ADD(s, "    commands that are not known here: %s",
	    policy->pass_unknown_commands ? "go to the server" : "refused with 500");
	end_line(s);
	if (policy->allow_ccc) {
		ADD(s, "    CCC: a client may take the protection from its control connection again");
		end_line(s);
	}
	if (policy->certificate_credentials != NULL) {
		ADD(s, "    clients' certificates stand for passwords: %zu user%s in %s",
		    policy->certificate_credentials->n, plural(policy->certificate_credentials->n),
		    policy->certificate_logons);
		end_line(s);
	}
	explain_commands(s, "commands refused with 550:", policy->deny_commands);
	explain_commands(s, "no commands but those of a logon, QUIT and:", policy->allow_commands);
	ADD(s, "    data connections: %s",
	    policy->pass_foreign_data ? "with any host (FXP)" : "with the client's host only");
	if (policy->pass_low_ports)
		ADD(s, ", to any port of it");
	end_line(s);
}

void config_explain(const struct config *config, void (*line)(void *ctx, const char *text),
                    void *ctx)
{
	struct speaker s = { .config = config, .line = line, .ctx = ctx };

	explain_process(&s);
	explain_log(&s);
	for (size_t i = 0; i < config->listeners_n; i++)
		explain_listener(&s, &config->listeners[i]);
	explain_routes(&s);
	for (size_t i = 0; i < config->pools_n; i++)
		explain_pool(&s, &config->pools[i]);
	for (size_t i = 0; i < config->policies_n; i++)
		explain_policy(&s, &config->policies[i]);
}

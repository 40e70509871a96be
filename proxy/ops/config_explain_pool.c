// SPDX-License-Identifier: ISC
/*
 * A pool in words: its servers, how one is chosen, and how their health is known.
 */
#include "config_speaker.h"
#include "sallyport/services.h"

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
	if (!tls->lenient_close)
		ADD(s, "; downloads must end with close_notify");
	speaker_end_line(s);
}

/* As whom the server sees us. */
static void explain_source(struct speaker *s, const struct server_config *server)
{
	char text[NETADDR_TEXT_MAX];

	if (server->proxy_protocol != SERVER_PROXY_NONE) {
		ADD(s, "        it is told who the client is by a PROXY header, version %d, on %s",
		    server->proxy_protocol == SERVER_PROXY_V1 ? 1 : 2,
		    server->proxy_protocol_data ? "control and data connections" : "control connections");
		speaker_end_line(s);
	}
	if (server->transparent)
		ADD(s, "        connections come from the client's address (transparent)");
	else if (server->source.family != AF_UNSPEC)
		ADD(s, "        connections come from %s", netaddr_format_host(&server->source, text));
	else
		return;
	speaker_end_line(s);
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
		speaker_end_line(s);
	}
	if (families[server->address_family] != NULL) {
		ADD(s, "        %s", families[server->address_family]);
		speaker_end_line(s);
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
	speaker_end_line(s);
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
		ADD(s, "at most %u session%s", server->max_sessions, speaker_plural(server->max_sessions));
	speaker_end_line(s);
	explain_resolve(s, server);
	ADD(s, "        data connections by %s", data[server->data]);
	if (server->trust_pasv_address)
		ADD(s, ", to whatever address its reply to PASV names");
	if (server->abor == ABOR_TELNET)
		ADD(s, "; a transfer is aborted by Telnet's urgent interrupt");
	if (server->escape_iac)
		ADD(s, "; the byte 0xFF is doubled in commands");
	if (server->drop_repeats)
		ADD(s, "; replies that repeat a code at once are dropped");
	if (!server->ask_features)
		ADD(s, "; never asked what it can do");
	speaker_end_line(s);
	explain_source(s, server);
	explain_server_tls(s, server);
}

/* Where and how it gets its logons, beside its weight. */
static void explain_duty(struct speaker *s, const struct pool_config *pool, const struct server_config *server)
{
	enum check_kind kind = config_check_kind(pool, server);

	if (server->backup) {
		ADD(s, "        a backup: used when no other server of the pool can be");
		speaker_end_line(s);
	}
	if (server->state == SERVER_DRAIN)
		ADD(s, "        drained: gets no new sessions");
	else if (server->state == SERVER_MAINTENANCE)
		ADD(s, "        in maintenance: gets no new sessions and no checks");
	if (server->state != SERVER_UP)
		speaker_end_line(s);
	if (kind != pool->health.check) {
		ADD(s, "        its health check: %s", check_kind_name(kind));
		speaker_end_line(s);
	}
	if (server->warm > 0) {
		ADD(s, "        %u connection%s kept ready, each for %s", server->warm, speaker_plural(server->warm),
		    config_duration_show(server->warm_age_ms).text);
		speaker_end_line(s);
	}
}

static void explain_health(struct speaker *s, const struct pool_config *pool)
{
	const struct health_config *health = &pool->health;

	if (health->check == CHECK_NONE) {
		if (health->fall != HEALTH_FALL) {
			ADD(s, "    a server is down when %u logons in a row have failed, until one succeeds",
			    health->fall);
			speaker_end_line(s);
		}
	} else {
		ADD(s, "    each server is checked (%s) every %s, for ", check_kind_name(health->check),
		    config_duration_show(health->every_ms).text);
		ADD(s, "%s at most; down when %u checks or logons in a row have failed, "
		    "up when %u checks in a row have passed",
		    config_duration_show(health->timeout_ms).text, health->fall, health->rise);
		speaker_end_line(s);
	}
	if (health->user != NULL) {
		ADD(s, "    checks log on as %s, %s", health->user,
		    health->password_file != NULL ? health->password_file : "without a password");
		if (health->probe != NULL)
			ADD(s, ", and fetch %s", health->probe);
		speaker_end_line(s);
	}
	if (pool->slow_start_ms > 0) {
		ADD(s, "    a server that comes up has its whole share after %s",
		    config_duration_show(pool->slow_start_ms).text);
		speaker_end_line(s);
	}
	if (pool->end_sessions != END_SESSIONS_NEVER) {
		ADD(s, "    sessions end with 421 when their server is put into maintenance%s",
		    pool->end_sessions == END_SESSIONS_DOWN ? " or is down" : "");
		speaker_end_line(s);
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
		speaker_end_line(s);
	}
	if (pool->refused_cache_ms > 0) {
		ADD(s, "    a password that a server refused is refused here for %s",
		    config_duration_show(pool->refused_cache_ms).text);
		speaker_end_line(s);
	}
}

void config_explain_pool(struct speaker *s, const struct pool_config *pool)
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

	speaker_end_line(s);
	ADD(s, "Pool %s: %zu server%s", pool->name, pool->named_n, speaker_plural(pool->named_n));
	if (pool->servers_n > 1)
		ADD(s, ", chosen %s (%s)", ways[pool->balance],
		    balance_algorithm_name(pool->balance));
	speaker_end_line(s);
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
	speaker_end_line(s);
	explain_memory(s, pool);
	if (pool->early_connect) {
		ADD(s, "    a server is connected to before USER comes, where every user would get this pool");
		speaker_end_line(s);
	}
	if (!has_limit(pool))
		return;
	if (pool->queue_timeout_ms == 0)
		ADD(s, "    when all of them are full, a logon is refused with 421");
	else
		ADD(s, "    when all of them are full, a logon waits up to %s",
		    config_duration_show(pool->queue_timeout_ms).text);
	speaker_end_line(s);
}

// SPDX-License-Identifier: ISC
/*
 * What a configuration means, in words: for an operator who wants to know
 * before, or who never saw the product. It speaks of what is in force, the
 * defaults with it, not of what stands in the file.
 */
#include <string.h>

#include "config_speaker.h"
#include "sallyport/config.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value.h"
#include "sallyport/credentials.h"
#include "sallyport/resolver.h"

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
		    speaker_plural(config->ticket_keys->n), config->ticket_keys_file);
	else
		ADD(s, "    TLS session tickets: a new key every %s, old tickets are good for one more time",
		    config_duration_show(config->ticket_rotation_ms).text);
	speaker_end_line(s);
}

static void explain_process(struct speaker *s)
{
	const struct config *config = s->config;

	ADD(s, "%s", config->file);
	speaker_end_line(s);
	speaker_end_line(s);
	ADD(s, "Process");
	speaker_end_line(s);
	ADD(s, "    %u worker thread%s, a session table of %u shard%s", config->workers,
	    speaker_plural(config->workers), config->shards, speaker_plural(config->shards));
	speaker_end_line(s);
	if (config->max_sessions == 0)
		ADD(s, "    as many sessions as there are descriptors for");
	else
		ADD(s, "    at most %u session%s", config->max_sessions,
		    speaker_plural(config->max_sessions));
	speaker_end_line(s);
	if (config->drain_timeout_ms == 0)
		ADD(s, "    when it is stopped: transfers are cut at once");
	else
		ADD(s, "    when it is stopped: running transfers have %s to end",
		    config_duration_show(config->drain_timeout_ms).text);
	speaker_end_line(s);
	for (size_t i = 0; i < config->dns_servers_n; i++) {
		char text[NETADDR_TEXT_MAX];

		ADD(s, "%s%s", i > 0 ? ", " : "    names are looked up at ",
		    netaddr_format(&config->dns_servers[i], text));
		if (i + 1 == config->dns_servers_n)
			speaker_end_line(s);
	}
	if (config->user != NULL) {
		ADD(s, "    runs as user %s when it is started as root", config->user);
		speaker_end_line(s);
	}
	explain_tickets(s);
	if (config->dns_ttl_min_ms != RESOLVER_TTL_FLOOR_MS || config->dns_ttl_max_ms != RESOLVER_TTL_CEIL_MS) {
		ADD(s, "    answers of name servers are used for %s",
		    config_duration_show(config->dns_ttl_min_ms).text);
		ADD(s, " to %s", config_duration_show(config->dns_ttl_max_ms).text);
		speaker_end_line(s);
	}
	if (config->admin.socket[0] == '\0')
		ADD(s, "    no control by sallyportctl");
	else
		ADD(s, "    control by sallyportctl through %s", config->admin.socket);
	speaker_end_line(s);
}

static void explain_log(struct speaker *s)
{
	static const char *const levels[] = { "debug", "info", "notice", "warning", "error" };
	const struct log_config *log = &s->config->log;

	if (log->file[0] == '\0' && !log->syslog) {
		ADD(s, "    events are not written anywhere");
		speaker_end_line(s);
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
	speaker_end_line(s);
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

	speaker_end_line(s);
	ADD(s, "Routes: the first one that matches a logon decides");
	speaker_end_line(s);
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
			ADD(s, " (%zu user%s)", rule->map->n, speaker_plural(rule->map->n));
		if (rule->strip_domain)
			ADD(s, ", user@domain as user");
		if (rule->credentials != NULL)
			ADD(s, ", logged on by %s", rule->credentials->file);
		if (config->route_implied)
			ADD(s, " (none is configured, and there is only one pool)");
		speaker_end_line(s);
		open = open && !matches_all(rule);
	}
	if (open) {
		ADD(s, "    any other logon is refused with 530");
		speaker_end_line(s);
	}
}

static void explain_commands(struct speaker *s, const char *what, char *const *list)
{
	if (list == NULL)
		return;
	ADD(s, "    %s", what);
	for (size_t i = 0; list[i] != NULL; i++)
		ADD(s, "%s%s", i > 0 ? ", " : " ", list[i]);
	speaker_end_line(s);
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
		ADD(s, "    %-20s  %-5s  %s", clocks[i].key, speaker_timeout(clocks[i].ms).text,
		    clocks[i].text);
		speaker_end_line(s);
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
	speaker_end_line(s);
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

	speaker_end_line(s);
	if (!explain_policy_use(s, policy))
		return;
	explain_clocks(s, &policy->timeouts);
	ADD(s, "    activity, for idle_timeout: %s", resets[policy->idle_resets]);
	speaker_end_line(s);
	if (policy->max_errors == 0)
		ADD(s, "    refused commands: any number of them");
	else
		ADD(s, "    refused commands: number %u ends the session", policy->max_errors);
	speaker_end_line(s);
	if (policy->queue_priority > 0) {
		ADD(s, "    in the queue for a server: before all of a priority below %u", policy->queue_priority);
		speaker_end_line(s);
	}
	if (policy->queue_keepalive_ms > 0) {
		ADD(s, "    a client whose logon waits gets a line of text every %s",
		    config_duration_show(policy->queue_keepalive_ms).text);
		speaker_end_line(s);
	}
	ADD(s, "    commands that are not known here: %s",
	    policy->pass_unknown_commands ? "go to the server" : "refused with 500");
	speaker_end_line(s);
	if (policy->allow_ccc) {
		ADD(s, "    CCC: a client may take the protection from its control connection again");
		speaker_end_line(s);
	}
	if (policy->certificate_credentials != NULL) {
		ADD(s, "    clients' certificates stand for passwords: %zu user%s in %s",
		    policy->certificate_credentials->n, speaker_plural(policy->certificate_credentials->n),
		    policy->certificate_logons);
		speaker_end_line(s);
	}
	explain_commands(s, "commands refused with 550:", policy->deny_commands);
	explain_commands(s, "no commands but those of a logon, QUIT and:", policy->allow_commands);
	ADD(s, "    data connections: %s",
	    policy->pass_foreign_data ? "with any host (FXP)" : "with the client's host only");
	if (policy->pass_low_ports)
		ADD(s, ", to any port of it");
	speaker_end_line(s);
}

void config_explain(const struct config *config, void (*line)(void *ctx, const char *text),
                    void *ctx)
{
	struct speaker s = { .config = config, .line = line, .ctx = ctx };

	explain_process(&s);
	explain_log(&s);
	for (size_t i = 0; i < config->listeners_n; i++)
		config_explain_listener(&s, &config->listeners[i]);
	explain_routes(&s);
	for (size_t i = 0; i < config->pools_n; i++)
		config_explain_pool(&s, &config->pools[i]);
	for (size_t i = 0; i < config->policies_n; i++)
		explain_policy(&s, &config->policies[i]);
}

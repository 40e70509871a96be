// SPDX-License-Identifier: ISC
/*
 * The admin socket's commands about pools: how their servers are, and the
 * operator's orders about them.
 */
#include <stdio.h>
#include <string.h>

#include "admin_private.h"
#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/deadline.h"
#include "sallyport/event.h"
#include "sallyport/pool_ledger.h"

/* ---- show pools ------------------------------------------------------------------------------ */

static const char *lessons_text(unsigned lessons, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", lessons & LESSON_NO_EPSV ? "no_epsv " : "",
	         lessons & LESSON_NO_PASV ? "no_pasv " : "",
	         lessons & LESSON_NO_EPRT ? "no_eprt " : "");
	if (buf[0] != '\0')
		buf[strlen(buf) - 1] = '\0';
	return buf;
}

static const struct server_config *find_server(const struct pool_config *pool, const char *name)
{
	for (size_t i = 0; i < pool->servers_n; i++) {
		if (strcmp(pool->servers[i].name, name) == 0)
			return &pool->servers[i];
	}
	return NULL;
}

static bool is_there(const struct pool_server_status *s)
{
	return s->configured && !s->vacant && !s->leaving;
}

/* Where it is: of a name that is followed the address it stands for, else as configured. */
static void address_cell(struct report *r, const struct server_config *server, const struct pool_server_status *s)
{
	char address[NETADDR_TEXT_MAX];
	char text[300];

	if (s->address.family != AF_UNSPEC) {
		report_cell_text(r, netaddr_format(&s->address, address));
	} else if (server == NULL || s->terms.follows) {
		report_cell_none(r);
	} else if (server->address.family != AF_UNSPEC) {
		report_cell_text(r, netaddr_format(&server->address, address));
	} else {
		snprintf(text, sizeof(text), "%s:%u", server->host, server->port);
		report_cell_text(r, text);
	}
}

static void health_cells(struct report *r, const struct pool_config *pool, const struct server_config *server,
                         const struct pool_server_status *s, int64_t now_ms)
{
	if (s->response_us > 0)
		report_cell_i64(r, s->response_us);
	else
		report_cell_none(r);
	if (s->state == SERVER_DOWN && s->down_until_ms != CLOCK_NEVER)
		report_cell_i64(r, sp_max64(s->down_until_ms - now_ms, 0));
	else
		report_cell_none(r);
	report_cell_text(r, server != NULL ? check_kind_name(config_check_kind(pool, server)) : "");
	report_cell_u64(r, s->checks);
	report_cell_u64(r, s->checks_failed);
	report_cell_text(r, s->check_text);
	if (s->changed_ms != 0)
		report_cell_i64(r, now_ms - s->changed_ms);
	else
		report_cell_none(r);
	report_cell_text(r, s->reason);
}

static void server_row(struct report *r, const struct pool_config *pool,
                       const struct pool_server_status *s, int64_t now_ms)
{
	const struct server_config *server = s->configured ? find_server(pool, s->terms.name) : NULL;
	char lessons[64];

	if (s->vacant && s->sessions == 0)
		return;
	report_row_begin(r);
	report_cell_text(r, pool->name);
	report_cell_text(r, s->terms.name);
	address_cell(r, server, s);
	report_cell_text(r, !s->configured ? "gone" : s->leaving ? "leaving" : server_state_name(s->state));
	report_cell_text(r, s->terms.backup ? "yes" : "no");
	report_cell_u64(r, s->terms.weight);
	report_cell_u64(r, s->share);
	report_cell_u64(r, s->sessions);
	report_cell_u64(r, s->terms.max_sessions);
	report_cell_u64(r, s->warm);
	report_cell_u64(r, s->logons);
	report_cell_u64(r, s->failures);
	report_cell_u64(r, s->failures_in_row);
	health_cells(r, pool, server, s, now_ms);
	report_cell_text(r, lessons_text(s->lessons, lessons, sizeof(lessons)));
	report_cell_u64(r, s->lookups_failed);
	report_row_end(r);
}

static void pool_row(struct report *r, const struct pool_config *pool)
{
	struct pool_server_status status[POOL_SERVERS_MAX];
	size_t servers = 0, up = 0, sessions = 0;
	size_t n = pool->ledger != NULL ? pool_ledger_status(pool->ledger, status, POOL_SERVERS_MAX) : 0;

	for (size_t i = 0; i < n && i < POOL_SERVERS_MAX; i++) {
		servers += is_there(&status[i]);
		up += is_there(&status[i]) && status[i].state == SERVER_UP;
		sessions += status[i].sessions;
	}
	report_row_begin(r);
	report_cell_text(r, pool->name);
	report_cell_text(r, balance_algorithm_name(pool->balance));
	report_cell_u64(r, servers);
	report_cell_u64(r, up);
	report_cell_u64(r, sessions);
	if (pool->ledger != NULL)
		report_cell_u64(r, pool_ledger_waiting(pool->ledger));
	else
		report_cell_none(r);
	report_row_end(r);
}

static void pools_table(struct report *r, const struct config *config)
{
	static const char *const columns[] = { "pool", "balance", "servers", "up", "sessions", "waiting" };

	report_table_begin(r, "pools", columns, SP_ARRAY_LEN(columns));
	for (size_t i = 0; i < config->pools_n; i++)
		pool_row(r, &config->pools[i]);
	report_table_end(r);
}

/* A pool has at most POOL_SERVERS_MAX servers (those that are gone come last); one pool a step. */
enum admin_step admin_step_pools(struct admin_job *job, const struct ops_sources *sources)
{
	static const char *const columns[] = { "pool",        "server",      "address",
		                               "state",       "backup",      "weight",
		                               "share",       "sessions",    "max_sessions",
		                               "warm",        "logons",      "failures",
		                               "failures_in_row", "response_us", "down_for_ms",
		                               "check",       "checks",      "checks_failed",
		                               "last_check",  "changed_ms",  "reason",
		                               "lessons",     "lookups_failed" };
	const struct config *config = sources->config != NULL ? *sources->config : NULL;
	struct pool_server_status status[POOL_SERVERS_MAX];
	struct report *r = &job->report;

	if (config == NULL)
		return admin_refuse(job, "there is no configuration");
	if (admin_begin(job))
		report_table_begin(r, "servers", columns, SP_ARRAY_LEN(columns));
	if (job->index < config->pools_n) {
		const struct pool_config *pool = &config->pools[job->index++];
		size_t n = 0;

		if (pool->ledger != NULL)
			n = pool_ledger_status(pool->ledger, status, POOL_SERVERS_MAX);
		for (size_t i = 0; i < n && i < POOL_SERVERS_MAX; i++)
			server_row(r, pool, &status[i], sp_now_ms());
		return ADMIN_MORE;
	}
	report_table_end(r);
	pools_table(r, config);
	return admin_finish(job);
}

/* ---- up, drain, maintenance ------------------------------------------------------------------ */

static const struct pool_config *find_pool(const struct config *config, const char *name)
{
	for (size_t i = 0; config != NULL && i < config->pools_n; i++) {
		if (strcmp(config->pools[i].name, name) == 0)
			return &config->pools[i];
	}
	return NULL;
}

static enum server_state ordered_state(enum admin_verb verb)
{
	if (verb == ADMIN_UP)
		return SERVER_UP;
	return verb == ADMIN_DRAIN ? SERVER_DRAIN : SERVER_MAINTENANCE;
}

static void emit_order(const struct ops_sources *sources, const struct admin_request *request,
                       enum server_state state, const char *text)
{
	struct sp_event event;

	if (sources->queue == NULL)
		return;
	event_init(&event, EVENT_SERVER_STATE);
	event.outcome = server_state_name(state);
	sp_copy(event.pool, sizeof(event.pool), request->pool);
	sp_copy(event.server_name, sizeof(event.server_name), request->server);
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(sources->queue, &event);
}

enum admin_step admin_step_order(struct admin_job *job, const struct ops_sources *sources)
{
	const struct config *config = sources->config != NULL ? *sources->config : NULL;
	const struct pool_config *pool = find_pool(config, job->request.pool);
	enum server_state state = ordered_state(job->request.verb);
	char text[ADMIN_ERROR_MAX];
	bool changed;

	if (pool == NULL || pool->ledger == NULL || find_server(pool, job->request.server) == NULL) {
		snprintf(text, sizeof(text), "there is no server %s/%s", job->request.pool, job->request.server);
		return admin_refuse(job, text);
	}
	snprintf(text, sizeof(text), "by order of uid %ld", job->uid);
	changed = pool_ledger_set_state(pool->ledger, job->request.server, state, text);
	if (changed)
		emit_order(sources, &job->request, state, text);
	admin_begin(job);
	report_value_text(&job->report, "pool", job->request.pool);
	report_value_text(&job->report, "server", job->request.server);
	report_value_text(&job->report, "state", server_state_name(state));
	report_value_text(&job->report, "changed", changed ? "yes" : "no");
	return admin_finish(job);
}

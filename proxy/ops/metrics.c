// SPDX-License-Identifier: ISC
/*
 * Metrics: collecting the figures, and laying them out as a flat list.
 */
#include "sallyport/metrics.h"

#include <string.h>

#include "sallyport/auditor.h"
#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/events.h"

#define PAGE 64

const char *session_place_name(enum session_place place)
{
	switch (place) {
	case PLACE_GREETED:
		return "greeted";
	case PLACE_QUEUED:
		return "queued";
	case PLACE_CONNECTING:
		return "connecting";
	case PLACE_LOGON:
		return "logon";
	case PLACE_IDLE:
		return "idle";
	case PLACE_COMMAND:
		return "command";
	case PLACE_TRANSFER:
		return "transfer";
	case PLACE_ENDING:
		return "ending";
	}
	return "?";
}

/* ---- collecting ------------------------------------------------------------------------------ */

static void collect_sessions(struct session_table *table, struct metrics *out)
{
	struct table_cursor cursor = { 0, 0 };
	struct session_info page[PAGE];
	size_t n;

	while ((n = session_table_page(table, &cursor, page, PAGE)) > 0) {
		for (size_t i = 0; i < n; i++) {
			out->sessions++;
			out->by_place[page[i].place < PLACES ? page[i].place : PLACE_ENDING]++;
			for (size_t kind = 0; kind < LEDGER_KINDS; kind++)
				out->held[kind] += page[i].ledger[kind];
		}
	}
}

void metrics_locks(struct session_table *table, struct lock_summary *out)
{
	size_t shards = session_table_shards(table);

	*out = (struct lock_summary){ .longest_by = NULL };
	for (size_t i = 0; i < shards; i++) {
		struct lock_stats stats;

		session_table_lock_stats(table, i, &stats);
		out->taken += stats.taken;
		out->waited += stats.waited;
		if (stats.longest_by != NULL && stats.longest_hold_us >= out->longest_hold_us) {
			out->longest_hold_us = stats.longest_hold_us;
			out->longest_by = stats.longest_by;
			out->longest_lock = i;
		}
	}
}

static void collect_workers(const struct ops_sources *sources, struct metrics *out)
{
	if (sources->counters != NULL)
		counters_sum(sources->counters, sources->workers, &out->sums);
	for (size_t i = 0; i < sources->workers && sources->mailboxes != NULL; i++) {
		size_t length = mailbox_length(sources->mailboxes[i]);

		out->mailbox_messages += length;
		if (length > out->mailbox_longest)
			out->mailbox_longest = length;
	}
	for (size_t i = 0; i < sources->workers && sources->farewells != NULL; i++) {
		for (size_t kind = 0; kind < LEDGER_KINDS; kind++)
			out->farewells[kind] +=
			    ledger_get(sources->farewells[i], (enum ledger_kind)kind);
	}
}

static void collect_pooled(const struct port_registry *registry, const struct port_range *range,
                           struct passive_ports_metric *to)
{
	to->pooled = true;
	to->stats.size = (unsigned)range->last - range->first + 1u;
	if (registry != NULL)
		to->stats.in_use = (unsigned)port_registry_reserved(registry, range->first, range->last);
}

static void collect_passive(const struct ops_sources *sources, struct metrics *out)
{
	const struct config *config = *sources->config;

	for (size_t i = 0; i < config->listeners_n && out->passive_n < PASSIVE_METRICS_MAX; i++) {
		const struct listener_config *listener = &config->listeners[i];
		struct passive_ports_metric *to = &out->passive[out->passive_n];

		if (listener->ports != NULL)
			port_ledger_stats(listener->ports, &to->stats);
		else if (listener->passive_ports.pooled)
			collect_pooled(sources->registry, &listener->passive_ports, to);
		else
			continue;
		sp_copy(to->listener, sizeof(to->listener), listener->name);
		out->passive_n++;
	}
}

static void collect_servers(const struct config *config, struct server_metrics *out)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		struct pool_server_status status[POOL_SERVERS_MAX];
		size_t n = config->pools[i].servers_n;

		if (config->pools[i].ledger == NULL)
			continue;
		(void)pool_ledger_status(config->pools[i].ledger, status, POOL_SERVERS_MAX);
		for (size_t j = 0; j < n; j++) { /* those that are gone come behind them */
			out->in_state[status[j].state] += !status[j].vacant && !status[j].leaving;
			out->checks += status[j].checks;
			out->checks_failed += status[j].checks_failed;
			out->warm += status[j].warm;
			out->lookups_failed += status[j].lookups_failed;
		}
	}
}

void metrics_collect(const struct ops_sources *sources, struct metrics *out)
{
	memset(out, 0, sizeof(*out));
	out->uptime_ms = sp_now_ms() - sources->started_ms;
	collect_workers(sources, out);
	if (sources->table != NULL) {
		collect_sessions(sources->table, out);
		metrics_locks(sources->table, &out->locks);
	}
	if (sources->config != NULL && *sources->config != NULL) {
		collect_passive(sources, out);
		collect_servers(*sources->config, &out->servers);
	}
	if (sources->registry != NULL)
		port_registry_stats(sources->registry, &out->pooled);
	if (sources->queue != NULL)
		event_queue_stats(sources->queue, &out->queue);
	if (sources->hub != NULL)
		out->sinks_n = event_hub_sinks(sources->hub, out->sinks, SINKS_MAX);
	if (sources->reaper != NULL && *sources->reaper != NULL)
		reaper_stats(*sources->reaper, &out->reaper);
	if (sources->auditor != NULL) {
		struct auditor_stats stats;

		auditor_stats(sources->auditor, &stats);
		out->orphans = stats.findings;
		out->orphans_ever = stats.ever;
		out->audits = stats.audits;
	}
}

/* ---- laying out ------------------------------------------------------------------------------ */

struct sample_list {
	struct metric_sample *v;
	size_t n;
};

/* Families of one that are not in a table elsewhere. */
#define SINGLE_FAMILIES 27
#define SERVER_STATES	(SERVER_MAINTENANCE + 1)

_Static_assert(COUNTER_COUNT + END_REASON_COUNT + CLOCK_COUNT + 2 * LEDGER_KINDS + PLACES +
                       3 * SINKS_MAX + 5 * PASSIVE_METRICS_MAX + SERVER_STATES + SINGLE_FAMILIES <=
                   METRIC_SAMPLES_MAX,
               "METRIC_SAMPLES_MAX is too small");

static void add(struct sample_list *list, enum metric_type type, const char *family,
                const char *help, uint64_t value)
{
	SP_ASSERT(list->n < METRIC_SAMPLES_MAX);
	list->v[list->n++] = (struct metric_sample){ family, NULL, NULL, type, value, help };
}

static void add_member(struct sample_list *list, enum metric_type type, const char *family,
                       const char *help, const char *key, const char *label, uint64_t value)
{
	add(list, type, family, help, value);
	list->v[list->n - 1].key = key;
	list->v[list->n - 1].label = label;
}

static void add_sessions(struct sample_list *list, const struct metrics *m)
{
	add(list, METRIC_GAUGE, "sessions", "sessions at the moment", m->sessions);
	for (size_t i = 0; i < PLACES; i++)
		add_member(list, METRIC_GAUGE, "sessions_in",
		           "sessions at the moment, by what they do", "place",
		           session_place_name((enum session_place)i), m->by_place[i]);
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		add_member(list, METRIC_GAUGE, "held", "what the sessions hold, by kind", "kind",
		           ledger_kind_name((enum ledger_kind)i), m->held[i]);
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		add_member(list, METRIC_GAUGE, "farewells_held",
		           "what sessions that ended still hold for their last words", "kind",
		           ledger_kind_name((enum ledger_kind)i), m->farewells[i]);
}

static void add_counters(struct sample_list *list, const struct metrics *m)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		add(list, METRIC_COUNTER, counter_name((enum counter)i),
		    counter_help((enum counter)i), m->sums.value[i]);
	for (size_t i = 0; i < END_REASON_COUNT; i++)
		add_member(list, METRIC_COUNTER, "sessions_ended_by", "sessions ended, by reason",
		           "reason", end_reason_row((enum end_reason)i)->name, m->sums.ended[i]);
	for (size_t i = 0; i < CLOCK_COUNT; i++)
		add_member(list, METRIC_COUNTER, "clocks_expired",
		           "timeouts that came to pass, by clock", "clock",
		           clock_name((enum clock_id)i), m->sums.expired[i]);
}

static void add_events(struct sample_list *list, const struct metrics *m)
{
	add(list, METRIC_COUNTER, "events_emitted", "events taken into the event queue",
	    m->queue.emitted);
	add(list, METRIC_COUNTER, "events_dropped", "events lost because the event queue was full",
	    m->queue.dropped);
	add(list, METRIC_GAUGE, "event_queue_length", "events that wait for the event hub",
	    m->queue.length);
	for (size_t i = 0; i < m->sinks_n; i++)
		add_member(list, METRIC_COUNTER, "sink_written", "events written, by sink", "sink",
		           m->sinks[i].name, m->sinks[i].written);
	for (size_t i = 0; i < m->sinks_n; i++)
		add_member(list, METRIC_COUNTER, "sink_dropped",
		           "events lost because a sink did not take them", "sink", m->sinks[i].name,
		           m->sinks[i].dropped);
	for (size_t i = 0; i < m->sinks_n; i++)
		add_member(list, METRIC_GAUGE, "sink_failing",
		           "1: the sink takes nothing at the moment", "sink", m->sinks[i].name,
		           m->sinks[i].error != 0);
}

/* One family of the listeners whose ports are pooled, or of those whose are not. */
static void add_ports(struct sample_list *list, const struct metrics *m, bool pooled, const char *family,
                      const char *help, unsigned (*value)(const struct port_ledger_stats *stats))
{
	for (size_t i = 0; i < m->passive_n; i++) {
		if (m->passive[i].pooled == pooled)
			add_member(list, METRIC_GAUGE, family, help, "listener", m->passive[i].listener,
			           value(&m->passive[i].stats));
	}
}

static unsigned ports_size(const struct port_ledger_stats *stats)
{
	return stats->size;
}

static unsigned ports_in_use(const struct port_ledger_stats *stats)
{
	return stats->in_use;
}

static unsigned ports_peak(const struct port_ledger_stats *stats)
{
	return stats->peak;
}

static void add_passive(struct sample_list *list, const struct metrics *m)
{
	add_ports(list, m, false, "passive_ports", "ports of passive_ports", ports_size);
	add_ports(list, m, false, "passive_ports_in_use",
	          "of these, ports that wait for a data connection", ports_in_use);
	add_ports(list, m, false, "passive_ports_peak",
	          "most of them in use at once since the start", ports_peak);
	add_ports(list, m, true, "pooled_ports", "pooled ports of passive_ports", ports_size);
	add_ports(list, m, true, "pooled_ports_reserved",
	          "transfers that wait for a data connection on these ports", ports_in_use);
	add(list, METRIC_GAUGE, "pooled_ports_resting",
	    "pairs of pooled port and client address that rest because a connection may be on its way",
	    m->pooled.resting);
	add(list, METRIC_GAUGE, "pooled_ports_peak",
	    "most pooled ports that one client address had at once since the start", m->pooled.most);
}

static void add_servers(struct sample_list *list, const struct metrics *m)
{
	for (size_t i = 0; i < SERVER_STATES; i++)
		add_member(list, METRIC_GAUGE, "servers", "servers of all pools, by state", "state",
		           server_state_name((enum server_state)i), m->servers.in_state[i]);
	add(list, METRIC_COUNTER, "server_checks", "health checks made of the servers there are",
	    m->servers.checks);
	add(list, METRIC_COUNTER, "server_checks_failed", "of these, checks that failed",
	    m->servers.checks_failed);
	add(list, METRIC_GAUGE, "warm_connections", "connections that are kept ready for logons",
	    m->servers.warm);
	add(list, METRIC_COUNTER, "server_lookups_failed",
	    "look-ups of the names of servers with resolve = all or srv that had no answer of use",
	    m->servers.lookups_failed);
}

static void add_machinery(struct sample_list *list, const struct metrics *m)
{
	add(list, METRIC_GAUGE, "mailbox_messages", "messages that wait for the workers",
	    m->mailbox_messages);
	add(list, METRIC_GAUGE, "mailbox_longest", "messages in the fullest mailbox",
	    m->mailbox_longest);
	add(list, METRIC_COUNTER, "reaper_ticks", "sweeps of the reaper", m->reaper.ticks);
	add(list, METRIC_COUNTER, "reaper_notices", "notices sent to workers", m->reaper.notices);
	add(list, METRIC_COUNTER, "reaper_repeated",
	    "notices sent again: a worker does not get its work done", m->reaper.repeated);
	add(list, METRIC_COUNTER, "reaper_refused",
	    "notices that a full mailbox refused; they come again", m->reaper.refused);
	add(list, METRIC_GAUGE, "reaper_longest_tick_us", "longest sweep, in microseconds",
	    (uint64_t)m->reaper.longest_tick_us);
	add(list, METRIC_COUNTER, "table_locks_taken",
	    "times a shard of the session table was locked", m->locks.taken);
	add(list, METRIC_COUNTER, "table_locks_waited",
	    "of these, times it was held by another thread", m->locks.waited);
	add(list, METRIC_GAUGE, "table_lock_longest_hold_us",
	    "longest hold of a shard's lock, in microseconds", (uint64_t)m->locks.longest_hold_us);
	add(list, METRIC_GAUGE, "orphans", "orphans that the last audit found", m->orphans);
	add(list, METRIC_COUNTER, "orphans_ever", "different orphans found since the start",
	    m->orphans_ever);
	add(list, METRIC_COUNTER, "audits", "audits made", m->audits);
}

size_t metrics_samples(const struct metrics *metrics, struct metric_sample out[METRIC_SAMPLES_MAX])
{
	struct sample_list list = { out, 0 };

	add(&list, METRIC_GAUGE, "uptime_ms", "milliseconds since the start",
	    (uint64_t)metrics->uptime_ms);
	add_sessions(&list, metrics);
	add_counters(&list, metrics);
	add_events(&list, metrics);
	add_passive(&list, metrics);
	add_servers(&list, metrics);
	add_machinery(&list, metrics);
	return list.n;
}

// SPDX-License-Identifier: ISC
/*
 * Metrics: everything that can be counted, collected into one value. Nothing
 * is kept here: sums over the workers' counters, gauges out of the session
 * table and the ledgers at the moment of asking. The admin socket and any
 * other way to show them take the same flat list of samples.
 */
#ifndef SALLYPORT_METRICS_H
#define SALLYPORT_METRICS_H

#include "sallyport/base.h"
#include "sallyport/counters.h"
#include "sallyport/event.h"
#include "sallyport/ledger.h"
#include "sallyport/mailbox.h"
#include "sallyport/policy.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/port_ledger.h"
#include "sallyport/port_registry.h"
#include "sallyport/reaper.h"
#include "sallyport/session_table.h"
#include "sallyport/sink.h"

#define PLACES (PLACE_ENDING + 1)

struct auditor;
struct config;
struct event_hub;

/*
 * Where the figures come from: what the operator's side may look at. All of it
 * is borrowed from main and lives as long as the admin socket and the auditor.
 * Pointers may be NULL and counts 0: then that part is not shown.
 */
struct ops_sources {
	struct session_table *table;
	size_t workers;
	struct counters *const *counters;	   /* [workers] */
	struct mailbox *const *mailboxes;	   /* [workers], by worker number */
	const struct ledger *const *farewells;	   /* [workers] */
	struct port_registry *registry;
	struct event_queue *queue;
	struct event_hub *hub;
	struct reaper *const *reaper;		   /* main's variable: the reaper is started last */
	struct auditor *auditor;
	const struct config *const *config;	   /* main's variable: the snapshot in force */
	size_t fd_max;				   /* as given to fd_registry_init() */
	int64_t started_ms;			   /* sp_now_ms() at the start */
};

/* What is known of a set of locks, as one: sums, and the longest hold with its holder. */
struct lock_summary {
	uint64_t taken;
	uint64_t waited;
	int64_t longest_hold_us;
	const char *longest_by; /* NULL: none */
	size_t longest_lock;	/* number of the one */
};

/* A listener's passive ports; pooled ones have no peak. */
struct passive_ports_metric {
	char listener[NAME_MAX_LEN];
	bool pooled;
	struct port_ledger_stats stats;
};

/* Listeners that are shown one by one. */
#define PASSIVE_METRICS_MAX 24

/* The servers of all pools, as one. */
struct server_metrics {
	uint64_t in_state[SERVER_MAINTENANCE + 1]; /* by enum server_state */
	uint64_t checks;
	uint64_t checks_failed;
	uint64_t warm;
	uint64_t lookups_failed;
};

struct metrics {
	int64_t uptime_ms;
	struct counter_sums sums;
	size_t sessions;
	size_t by_place[PLACES];
	uint64_t held[LEDGER_KINDS];	  /* sums of the sessions' ledgers */
	uint64_t farewells[LEDGER_KINDS]; /* sums of the farewells' ledgers */
	size_t mailbox_messages;	  /* in all mailboxes */
	size_t mailbox_longest;
	struct event_queue_stats queue;
	struct sink_stats sinks[SINKS_MAX];
	size_t sinks_n;
	struct reaper_stats reaper;
	struct lock_summary locks;	  /* of the session table's shards */
	struct passive_ports_metric passive[PASSIVE_METRICS_MAX];
	size_t passive_n;
	struct port_registry_stats pooled; /* of all listeners together */
	struct server_metrics servers;
	size_t orphans;			  /* findings of the last audit */
	uint64_t orphans_ever;
	uint64_t audits;
};

/* Pages through the table; about 3 ms for 10,000 sessions. Main's thread. */
void metrics_collect(const struct ops_sources *sources, struct metrics *out)
    SP_EXCLUDES(sp_any_shard);

/* The shards of the session table as one lock. Any thread. */
void metrics_locks(struct session_table *table, struct lock_summary *out) SP_EXCLUDES(sp_any_shard);

const char *session_place_name(enum session_place place);

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

/* One figure. `label` tells members of a family apart ("ended" by "reason"="idle_timeout"). */
struct metric_sample {
	const char *family; /* "logons", "sessions_ended_by", … */
	const char *key;    /* name of the label; NULL: a family of one */
	const char *label;
	enum metric_type type;
	uint64_t value;
	const char *help;   /* of the family */
};

/* More than there are; see the assertion in metrics.c. */
#define METRIC_SAMPLES_MAX 352

/*
 * All of it as a flat list, members of a family side by side. Texts are static
 * or inside `metrics`. Returns how many. Pure.
 */
size_t metrics_samples(const struct metrics *metrics, struct metric_sample out[METRIC_SAMPLES_MAX]);

#endif

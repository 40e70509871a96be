// SPDX-License-Identifier: ISC
/*
 * What the commands of the admin socket answer. Each is a function that writes
 * the next part of its report; a long listing comes in parts of PAGE rows.
 */
#include "admin_private.h"

#include <stdio.h>
#include <string.h>

#include "sallyport/auditor.h"
#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/json_line.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/verb.h"

#define PAGE 64

enum admin_step admin_refuse(struct admin_job *job, const char *text)
{
	report_error(job->report.out, job->request.json, text);
	return ADMIN_DONE;
}

bool admin_begin(struct admin_job *job)
{
	if (job->begun)
		return false;
	job->begun = true;
	report_begin(&job->report, job->report.out, job->request.json);
	return true;
}

enum admin_step admin_finish(struct admin_job *job)
{
	report_end(&job->report);
	return ADMIN_DONE;
}

/* ---- help, quit ------------------------------------------------------------------------------ */

static enum admin_step step_help(struct admin_job *job, const struct ops_sources *sources SP_UNUSED)
{
	static const char *const columns[] = { "command", "argument", "role", "help" };
	static const char *const arguments[] = {
		[ADMIN_ARGUMENT_NONE] = NULL,
		[ADMIN_ARGUMENT_NOW] = "[--now]",
		[ADMIN_ARGUMENT_ID] = "ID",
		[ADMIN_ARGUMENT_SERVER] = "POOL/SERVER",
	};

	admin_begin(job);
	report_table_begin(&job->report, "commands", columns, SP_ARRAY_LEN(columns));
	for (size_t i = 0; i < ADMIN_VERB_COUNT; i++) {
		const struct admin_command_row *row = admin_command_row((enum admin_verb)i);

		report_row_begin(&job->report);
		report_cell_text(&job->report, row->words);
		report_cell_text(&job->report, arguments[row->argument]);
		report_cell_text(&job->report, row->role == ADMIN_ROLE_WRITE ? "write" : "read");
		report_cell_text(&job->report, row->help);
		report_row_end(&job->report);
	}
	report_table_end(&job->report);
	return admin_finish(job);
}

static enum admin_step step_quit(struct admin_job *job, const struct ops_sources *sources SP_UNUSED)
{
	admin_begin(job);
	return admin_finish(job);
}

/* ---- show sessions --------------------------------------------------------------------------- */

static const char *const session_columns[] = {
	"id",       "worker",    "listener", "client",     "user",        "pool",    "server_name",
	"server",   "place",     "verb",     "age_ms",     "idle_ms",     "timeout", "due_ms",
	"commands", "transfers", "bytes_up", "bytes_down", "descriptors",
};

static uint64_t descriptors_held(const struct session_info *info)
{
	uint64_t n = 0;

	for (size_t i = 0; i < LEDGER_KINDS; i++) {
		if (ledger_kind_is_fd((enum ledger_kind)i))
			n += info->ledger[i];
	}
	return n;
}

static void session_row(struct report *r, const struct session_info *info, int64_t now_ms)
{
	report_row_begin(r);
	report_cell_id(r, info->id);
	report_cell_u64(r, session_id_worker(info->id));
	report_cell_text(r, info->listener);
	report_cell_address(r, &info->client);
	report_cell_text(r, info->user);
	report_cell_text(r, info->pool);
	report_cell_text(r, info->server_name);
	report_cell_address(r, &info->server);
	report_cell_text(r, session_place_name(info->place));
	report_cell_text(r,
	                 info->verb < VERB_UNKNOWN ? verb_row((enum verb)info->verb)->name : NULL);
	report_cell_i64(r, now_ms - info->started_ms);
	report_cell_i64(r, now_ms - info->last_activity_ms);
	report_cell_text(r,
	                 info->clock < CLOCK_COUNT ? clock_name((enum clock_id)info->clock) : NULL);
	if (info->deadline_ms == CLOCK_NEVER)
		report_cell_none(r);
	else
		report_cell_i64(r, info->deadline_ms - now_ms);
	report_cell_u64(r, info->commands);
	report_cell_u64(r, info->transfers);
	report_cell_u64(r, info->bytes_up);
	report_cell_u64(r, info->bytes_down);
	report_cell_u64(r, descriptors_held(info));
	report_row_end(r);
}

static enum admin_step step_sessions(struct admin_job *job, const struct ops_sources *sources)
{
	struct session_info page[PAGE];
	int64_t now_ms = sp_now_ms();
	size_t n;

	if (sources->table == NULL)
		return admin_refuse(job, "there is no session table");
	if (admin_begin(job))
		report_table_begin(&job->report, "sessions", session_columns,
		                   SP_ARRAY_LEN(session_columns));
	n = session_table_page(sources->table, &job->cursor, page, PAGE);
	for (size_t i = 0; i < n; i++)
		session_row(&job->report, &page[i], now_ms);
	if (n > 0)
		return ADMIN_MORE;
	report_table_end(&job->report);
	return admin_finish(job);
}

/* ---- show stats ------------------------------------------------------------------------------ */

static enum admin_step step_stats(struct admin_job *job, const struct ops_sources *sources)
{
	struct metric_sample samples[METRIC_SAMPLES_MAX];
	struct metrics metrics;
	size_t n;

	admin_begin(job);
	metrics_collect(sources, &metrics);
	n = metrics_samples(&metrics, samples);
	for (size_t i = 0; i < n; i++) {
		const struct metric_sample *s = &samples[i];

		if (s->key == NULL) {
			report_value_u64(&job->report, s->family, s->value);
			continue;
		}
		if (i == 0 || samples[i - 1].family != s->family)
			report_group_begin(&job->report, s->family);
		report_group_u64(&job->report, s->family, s->label, s->value);
		if (i + 1 == n || samples[i + 1].family != s->family)
			report_group_end(&job->report);
	}
	return admin_finish(job);
}

/* ---- show locks ------------------------------------------------------------------------------ */

static void lock_row(struct report *r, const char *lock, size_t number,
                     const struct lock_stats *stats)
{
	report_row_begin(r);
	report_cell_text(r, lock);
	report_cell_u64(r, number);
	report_cell_u64(r, stats->taken);
	report_cell_u64(r, stats->waited);
	report_cell_i64(r, stats->longest_hold_us);
	report_cell_text(r, stats->longest_by);
	report_cell_text(r, stats->held_by);
	report_row_end(r);
}

static void pool_lock_rows(struct report *r, const struct ops_sources *sources)
{
	const struct config *config = sources->config != NULL ? *sources->config : NULL;

	for (size_t i = 0; config != NULL && i < config->pools_n; i++) {
		struct lock_stats stats;
		char name[NAME_MAX_LEN + 8];

		if (config->pools[i].ledger == NULL)
			continue;
		pool_ledger_lock_stats(config->pools[i].ledger, &stats);
		snprintf(name, sizeof(name), "pool %s", config->pools[i].name);
		lock_row(r, name, i, &stats);
	}
}

static void mailbox_table(struct report *r, const struct ops_sources *sources)
{
	static const char *const columns[] = { "worker", "messages" };

	report_table_begin(r, "mailboxes", columns, SP_ARRAY_LEN(columns));
	for (size_t i = 0; sources->mailboxes != NULL && i < sources->workers; i++) {
		report_row_begin(r);
		report_cell_u64(r, i);
		report_cell_u64(r, mailbox_length(sources->mailboxes[i]));
		report_row_end(r);
	}
	report_table_end(r);
}

/* The table's locks as one, first: what one looks for. */
static void table_lock_values(struct report *r, struct session_table *table)
{
	struct lock_summary summary;

	if (table == NULL)
		return;
	metrics_locks(table, &summary);
	report_value_u64(r, "table_locks_taken", summary.taken);
	report_value_u64(r, "table_locks_waited", summary.waited);
	report_value_i64(r, "longest_hold_us", summary.longest_hold_us);
	report_value_text(r, "longest_by", summary.longest_by);
	report_value_u64(r, "longest_lock", summary.longest_lock);
}

static enum admin_step step_locks(struct admin_job *job, const struct ops_sources *sources)
{
	static const char *const columns[] = { "lock",   "number",          "taken",
		                               "waited", "longest_hold_us", "longest_by",
		                               "held_by" };
	size_t shards = sources->table != NULL ? session_table_shards(sources->table) : 0;
	struct report *r = &job->report;

	if (admin_begin(job)) {
		table_lock_values(r, sources->table);
		report_table_begin(r, "locks", columns, SP_ARRAY_LEN(columns));
	}
	for (size_t end = job->index + PAGE; job->index < shards && job->index < end;
	     job->index++) {
		struct lock_stats stats;

		session_table_lock_stats(sources->table, job->index, &stats);
		lock_row(r, "session_table", job->index, &stats);
	}
	if (job->index < shards)
		return ADMIN_MORE;
	pool_lock_rows(r, sources);
	report_table_end(r);
	mailbox_table(r, sources);
	return admin_finish(job);
}

/* ---- show orphans, audit --------------------------------------------------------------------- */

static void orphan_row(struct report *r, const struct finding *f, int64_t now_ms)
{
	report_row_begin(r);
	report_cell_text(r, finding_name(f->kind));
	report_cell_id(r, f->id);
	if (f->fd >= 0)
		report_cell_i64(r, f->fd);
	else
		report_cell_none(r);
	report_cell_text(r, f->where);
	report_cell_i64(r, now_ms - f->seen_ms);
	report_cell_text(r, f->what);
	report_row_end(r);
}

static void orphan_rows(struct report *r, const struct auditor *auditor)
{
	static const char *const columns[] = { "kind", "id", "fd", "where", "seen_ms", "what" };
	struct finding page[16];
	int64_t now_ms = sp_now_ms();
	size_t from = 0;
	size_t n;

	report_table_begin(r, "orphans", columns, SP_ARRAY_LEN(columns));
	while ((n = auditor_findings(auditor, from, page, SP_ARRAY_LEN(page))) > 0) {
		for (size_t i = 0; i < n; i++)
			orphan_row(r, &page[i], now_ms);
		from += n;
	}
	report_table_end(r);
}

static void sum_rows(struct report *r, const struct audit_sums *sums)
{
	static const char *const columns[] = { "kind", "by_ledgers", "by_descriptors" };

	report_table_begin(r, "sums", columns, SP_ARRAY_LEN(columns));
	for (size_t i = 0; i < LEDGER_KINDS; i++) {
		report_row_begin(r);
		report_cell_text(r, ledger_kind_name((enum ledger_kind)i));
		report_cell_u64(r, sums->ledgers[i]);
		if (ledger_kind_is_fd((enum ledger_kind)i))
			report_cell_u64(r, sums->notes[i]);
		else
			report_cell_none(r);
		report_row_end(r);
	}
	report_table_end(r);
}

static enum admin_step step_orphans(struct admin_job *job, const struct ops_sources *sources)
{
	bool now = job->request.now || job->request.verb == ADMIN_AUDIT;
	struct auditor_stats stats;
	struct report *r = &job->report;

	if (sources->auditor == NULL)
		return admin_refuse(job, "there is no auditor");
	if (now && job->ticket == 0)
		job->ticket = auditor_request(sources->auditor);
	if (now && auditor_audits(sources->auditor) < job->ticket)
		return ADMIN_WAIT;
	auditor_stats(sources->auditor, &stats);
	admin_begin(job);
	report_value_u64(r, "findings", stats.findings);
	report_value_u64(r, "audits", stats.audits);
	report_value_u64(r, "audits_failed", stats.failed);
	if (stats.last_ms == 0)
		report_value_text(r, "last_audit_ms", NULL);
	else
		report_value_i64(r, "last_audit_ms", sp_now_ms() - stats.last_ms);
	report_value_u64(r, "open_descriptors", stats.sums.open);
	report_value_u64(r, "noted_descriptors", stats.sums.noted);
	report_value_u64(r, "slots_held", stats.sums.slots_held);
	report_value_u64(r, "slots_given", stats.sums.slots_given);
	orphan_rows(r, sources->auditor);
	sum_rows(r, &stats.sums);
	return admin_finish(job);
}

/* ---- show config ----------------------------------------------------------------------------- */

static void config_line(void *ctx, const char *text)
{
	struct report *r = ctx;

	report_row_begin(r);
	report_cell_line(r, text);
	report_row_end(r);
}

static enum admin_step step_config(struct admin_job *job, const struct ops_sources *sources)
{
	static const char *const columns[] = { "line" };
	const struct config *config = sources->config != NULL ? *sources->config : NULL;

	if (config == NULL)
		return admin_refuse(job, "there is no configuration");
	admin_begin(job);
	report_value_text(&job->report, "file", config->file);
	report_table_begin(&job->report, "config", columns, SP_ARRAY_LEN(columns));
	config_explain(config, config_line, &job->report);
	report_table_end(&job->report);
	return admin_finish(job);
}

/* ---- kick ------------------------------------------------------------------------------------ */

static enum admin_step step_kick(struct admin_job *job, const struct ops_sources *sources)
{
	struct session_id id = job->request.id;
	uint32_t worker = session_id_worker(id);
	struct message message = { .kind = MESSAGE_KICK, .id = id, .number = END_KICKED };
	struct session_info info;
	char text[ADMIN_ERROR_MAX];
	char name[SESSION_ID_TEXT_MAX];
	char client[NETADDR_TEXT_MAX];

	session_id_format(id, name);
	if (worker >= sources->workers || sources->mailboxes == NULL || sources->table == NULL ||
	    !session_table_get(sources->table, id, &info)) {
		snprintf(text, sizeof(text), "there is no session %s", name);
		return admin_refuse(job, text);
	}
	if (!mailbox_post(sources->mailboxes[worker], message)) {
		snprintf(text, sizeof(text), "the mailbox of worker %u is full; ask again",
		         (unsigned)worker);
		return admin_refuse(job, text);
	}
	if (sources->queue != NULL)
		log_write(sources->queue, LEVEL_NOTICE, "admin: uid %ld ends session %s", job->uid,
		          name);
	admin_begin(job);
	report_value_text(&job->report, "kicked", name);
	report_value_text(&job->report, "client", netaddr_format(&info.client, client));
	report_value_text(&job->report, "user", info.user);
	return admin_finish(job);
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef enum admin_step step_fn(struct admin_job *job, const struct ops_sources *sources);

static step_fn *const steps[ADMIN_VERB_COUNT] = {
	[ADMIN_HELP] = step_help,
	[ADMIN_SHOW_SESSIONS] = step_sessions,
	[ADMIN_SHOW_STATS] = step_stats,
	[ADMIN_SHOW_LOCKS] = step_locks,
	[ADMIN_SHOW_ORPHANS] = step_orphans,
	[ADMIN_SHOW_POOLS] = admin_step_pools,
	[ADMIN_SHOW_CONFIG] = step_config,
	[ADMIN_AUDIT] = step_orphans,
	[ADMIN_KICK] = step_kick,
	[ADMIN_UP] = admin_step_order,
	[ADMIN_DRAIN] = admin_step_order,
	[ADMIN_MAINTENANCE] = admin_step_order,
	[ADMIN_QUIT] = step_quit,
};

void admin_job_start(struct admin_job *job, const struct admin_request *request,
                     struct evbuffer *out, enum admin_role role, long uid)
{
	*job = (struct admin_job){ .request = *request, .role = role, .uid = uid };
	job->report.out = out;
}

enum admin_step admin_job_step(struct admin_job *job, const struct ops_sources *sources)
{
	const struct admin_command_row *row = admin_command_row(job->request.verb);
	char text[ADMIN_ERROR_MAX];

	if (row->role == ADMIN_ROLE_WRITE && job->role != ADMIN_ROLE_WRITE) {
		snprintf(text, sizeof(text),
		         "%s is for root and for the user that Sallyport runs as", row->words);
		return admin_refuse(job, text);
	}
	return steps[job->request.verb](job, sources);
}

// SPDX-License-Identifier: ISC
/*
 * Metrics: sums over workers, gauges from the table and the ledgers, and the
 * flat list that every way of showing them takes.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/auditor.h"
#include "sallyport/clock.h"
#include "sallyport/events.h"
#include "sallyport/metrics.h"

#define WORKERS 3

static struct session_table *table;
static struct event_queue *queue;
static struct counters sets[WORKERS];
static struct counters *set_pointers[WORKERS];
static struct mailbox *mailboxes[WORKERS];
static struct ledger farewells[WORKERS];
static const struct ledger *farewell_pointers[WORKERS];
static struct ops_sources sources;
static struct metrics metrics;
static struct metric_sample samples[METRIC_SAMPLES_MAX];
static size_t samples_n;

static void setup(void)
{
	memset(sets, 0, sizeof(sets));
	memset(farewells, 0, sizeof(farewells));
	table = session_table_new(4);
	queue = event_queue_new(16);
	for (size_t i = 0; i < WORKERS; i++) {
		set_pointers[i] = &sets[i];
		farewell_pointers[i] = &farewells[i];
		mailboxes[i] = mailbox_new(16);
		ck_assert_ptr_nonnull(mailboxes[i]);
	}
	sources = (struct ops_sources){
		.table = table,
		.workers = WORKERS,
		.counters = set_pointers,
		.mailboxes = mailboxes,
		.farewells = farewell_pointers,
		.queue = queue,
		.started_ms = sp_now_ms() - 5000,
	};
}

static void teardown(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		mailbox_free(&mailboxes[i]);
	event_queue_free(&queue);
	session_table_free(&table);
}

static void collect(void)
{
	metrics_collect(&sources, &metrics);
	samples_n = metrics_samples(&metrics, samples);
}

static uint64_t value_of(const char *family, const char *label)
{
	for (size_t i = 0; i < samples_n; i++) {
		if (strcmp(samples[i].family, family) != 0)
			continue;
		if (label == NULL
		        ? samples[i].label == NULL
		        : samples[i].label != NULL && strcmp(samples[i].label, label) == 0)
			return samples[i].value;
	}
	ck_abort_msg("no sample %s %s", family, label != NULL ? label : "");
}

START_TEST(counters_are_summed_over_the_workers)
{
	for (size_t i = 0; i < WORKERS; i++) {
		counter_add(&sets[i], COUNT_LOGONS, 10 + i);
		counter_add(&sets[i], COUNT_BYTES_UP, UINT64_C(1) << 40);
	}
	counter_ended(&sets[0], END_IDLE_TIMEOUT);
	counter_ended(&sets[2], END_IDLE_TIMEOUT);
	counter_ended(&sets[1], END_CLIENT_QUIT);
	counter_expired(&sets[1], CLOCK_STALL);
	collect();
	ck_assert_uint_eq(value_of("logons", NULL), 33);
	ck_assert_uint_eq(value_of("bytes_up", NULL), UINT64_C(3) << 40);
	ck_assert_uint_eq(value_of("sessions_ended_by", "idle_timeout"), 2);
	ck_assert_uint_eq(value_of("sessions_ended_by", "client_quit"), 1);
	ck_assert_uint_eq(value_of("sessions_ended_by", "kicked"), 0);
	ck_assert_uint_eq(value_of("clocks_expired", "stall_timeout"), 1);
	ck_assert_uint_ge(value_of("uptime_ms", NULL), 5000);
}
END_TEST

START_TEST(gauges_come_from_the_table_and_the_ledgers)
{
	for (uint64_t i = 0; i < 200; i++) {
		struct session_info info = { .id = session_id_make(0, i + 1) };
		struct session_live *live = session_table_insert(table, &info, CLOCK_NEVER);

		ck_assert_ptr_nonnull(live);
		atomic_store(&live->place, i < 150 ? PLACE_IDLE : PLACE_TRANSFER);
		ledger_add(&live->ledger, LEDGER_CONTROL_FD);
		if (i < 7)
			ledger_add(&live->ledger, LEDGER_SLOT);
	}
	ledger_add(&farewells[0], LEDGER_FAREWELL_FD);
	ledger_add(&farewells[2], LEDGER_FAREWELL_FD);
	ck_assert(mailbox_post(mailboxes[1], (struct message){ .kind = MESSAGE_KICK }));
	ck_assert(mailbox_post(mailboxes[1], (struct message){ .kind = MESSAGE_KICK }));
	ck_assert(mailbox_post(mailboxes[2], (struct message){ .kind = MESSAGE_KICK }));
	for (int i = 0; i < 40; i++)
		log_write(queue, LEVEL_INFO, "one of many");
	collect();
	ck_assert_uint_eq(value_of("sessions", NULL), 200);
	ck_assert_uint_eq(value_of("sessions_in", "idle"), 150);
	ck_assert_uint_eq(value_of("sessions_in", "transfer"), 50);
	ck_assert_uint_eq(value_of("sessions_in", "ending"), 0);
	ck_assert_uint_eq(value_of("held", "control connection"), 200);
	ck_assert_uint_eq(value_of("held", "server slot"), 7);
	ck_assert_uint_eq(value_of("farewells_held", "farewell"), 2);
	ck_assert_uint_eq(value_of("mailbox_messages", NULL), 3);
	ck_assert_uint_eq(value_of("mailbox_longest", NULL), 2);
	ck_assert_uint_eq(value_of("event_queue_length", NULL), 16);
	ck_assert_uint_eq(value_of("events_dropped", NULL), 24);
	ck_assert_uint_gt(value_of("table_locks_taken", NULL), 200);
	for (uint64_t i = 0; i < 200; i++)
		ck_assert(session_table_remove(table, session_id_make(0, i + 1), NULL));
	collect();
	ck_assert_uint_eq(value_of("sessions", NULL), 0);
	ck_assert_uint_eq(value_of("sessions_in", "idle"), 0);
	ck_assert_uint_eq(value_of("held", "control connection"), 0);
}
END_TEST

START_TEST(sinks_and_audits_are_counted)
{
	int error;
	struct sink *sink = sink_file_new("/dev/full", SINK_JSON, &error);
	int64_t deadline_ms = sp_now_ms() + 20000;

	ck_assert_ptr_nonnull(sink);
	sources.hub = event_hub_start_sinks(queue, &sink, 1, LEVEL_DEBUG);
	ck_assert_ptr_nonnull(sources.hub);
	struct auditor *auditor = auditor_new(NULL, &sources, 0);
	sources.auditor = auditor;
	while (auditor_pass(auditor))
		;
	log_write(queue, LEVEL_INFO, "lost");
	do {
		ck_assert_int_lt(sp_now_ms(), deadline_ms);
		collect();
	} while (value_of("sink_dropped", "file /dev/full") == 0);
	ck_assert_uint_eq(value_of("sink_written", "file /dev/full"), 0);
	ck_assert_uint_eq(value_of("sink_failing", "file /dev/full"), 1);
	ck_assert_uint_eq(value_of("audits", NULL), 1);
	ck_assert_uint_eq(value_of("orphans", NULL), 0);
	ck_assert(event_hub_stop(&sources.hub));
	auditor_free(&auditor);
}
END_TEST

START_TEST(the_reaper_is_seen_though_it_is_started_later)
{
	struct reaper *reaper = NULL;
	int64_t deadline_ms = sp_now_ms() + 20000;

	sources.reaper = &reaper;
	collect();
	ck_assert_uint_eq(value_of("reaper_ticks", NULL), 0);
	reaper = reaper_start(table, mailboxes, WORKERS);
	ck_assert_ptr_nonnull(reaper);
	do {
		ck_assert_int_lt(sp_now_ms(), deadline_ms);
		collect();
	} while (value_of("reaper_ticks", NULL) < 2);
	reaper_stop(&reaper);
}
END_TEST

START_TEST(the_list_is_fit_to_be_shown)
{
	collect();
	ck_assert_uint_gt(samples_n, 80);
	for (size_t i = 0; i < samples_n; i++) {
		const struct metric_sample *s = &samples[i];

		ck_assert_uint_eq(strspn(s->family, "abcdefghijklmnopqrstuvwxyz_0123456789"),
		                  strlen(s->family));
		ck_assert_uint_gt(strlen(s->help), 5);
		ck_assert((s->key == NULL) == (s->label == NULL));
		for (size_t k = 0; k < i; k++) {
			bool same = strcmp(samples[k].family, s->family) == 0;

			if (same && (s->label == NULL || strcmp(samples[k].label, s->label) == 0))
				ck_abort_msg("%s is there twice", s->family);
			/* Members of a family stand together. */
			if (same && k + 1 < i && strcmp(samples[i - 1].family, s->family) != 0)
				ck_abort_msg("%s is in two places", s->family);
		}
	}
}
END_TEST

START_TEST(every_row_of_the_tables_is_in_the_list)
{
	collect();
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		value_of(counter_name((enum counter)i), NULL);
	for (size_t i = 0; i < END_REASON_COUNT; i++)
		value_of("sessions_ended_by", end_reason_row((enum end_reason)i)->name);
	for (size_t i = 0; i < CLOCK_COUNT; i++)
		value_of("clocks_expired", clock_name((enum clock_id)i));
	for (size_t i = 0; i < PLACES; i++)
		value_of("sessions_in", session_place_name((enum session_place)i));
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		value_of("held", ledger_kind_name((enum ledger_kind)i));
}
END_TEST

START_TEST(without_sources_everything_is_zero)
{
	struct ops_sources none = { .table = NULL };

	metrics_collect(&none, &metrics);
	samples_n = metrics_samples(&metrics, samples);
	for (size_t i = 0; i < samples_n; i++)
		ck_assert(samples[i].value == 0 || strcmp(samples[i].family, "uptime_ms") == 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tcase = tcase_create("metrics");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, counters_are_summed_over_the_workers);
	tcase_add_test(tcase, gauges_come_from_the_table_and_the_ledgers);
	tcase_add_test(tcase, sinks_and_audits_are_counted);
	tcase_add_test(tcase, the_reaper_is_seen_though_it_is_started_later);
	tcase_add_test(tcase, the_list_is_fit_to_be_shown);
	tcase_add_test(tcase, every_row_of_the_tables_is_in_the_list);
	tcase_add_test(tcase, without_sources_everything_is_zero);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

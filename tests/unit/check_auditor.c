// SPDX-License-Identifier: ISC
/*
 * The auditor: finds what was leaked or forgotten on purpose and names where it
 * was made; finds nothing where all is well, however much moves meanwhile.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "sallyport/auditor.h"
#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/event.h"
#include "sallyport/fd_registry.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/port_registry.h"
#include "sallyport/session_table.h"

#define FD_MAX 1024
#define WORKERS 2
#define FOREVER 3600000

static struct session_table *table;
static struct event_queue *queue;
static struct ledger farewells[WORKERS];
static const struct ledger *farewell_pointers[WORKERS] = { &farewells[0], &farewells[1] };
static struct pool_config pool = { .name = "legacy" };
static struct policy policy = { .name = "default" };
static struct config config = {
	.pools = &pool, .pools_n = 1, .policies = &policy, .policies_n = 1
};
static const struct config *config_pointer = &config;
static struct ops_sources sources;
static struct auditor *auditor;
static uint16_t places[2];

static void setup(void)
{
	const struct pool_server_terms terms[] = { { .name = "old1", .weight = 1 },
		                                   { .name = "old2", .weight = 1 } };

	ck_assert_int_eq(fd_registry_init(FD_MAX), 0);
	table = session_table_new(8);
	queue = event_queue_new(4096);
	pool.ledger = pool_ledger_new(BALANCE_ROUND_ROBIN);
	ck_assert(pool_ledger_configure(pool.ledger, BALANCE_ROUND_ROBIN, terms, 2, places));
	policy.timeouts = timeouts_default();
	policy.timeouts.close_timeout = 50; /* lasting: 2 × 50 + 1000 ms */
	sources = (struct ops_sources){
		.table = table,
		.workers = WORKERS,
		.farewells = farewell_pointers,
		.queue = queue,
		.config = &config_pointer,
		.fd_max = FD_MAX,
	};
	auditor = auditor_new(NULL, &sources, 0);
	ck_assert_ptr_nonnull(auditor);
}

static void teardown(void)
{
	auditor_free(&auditor);
	pool_ledger_free(&pool.ledger);
	event_queue_free(&queue);
	session_table_free(&table);
	fd_registry_fini();
}

/* ---- sessions as their workers would make them -------------------------------------------------
 */

struct fake {
	struct session_info info;
	struct session_live *live;
	int client;
	int server;
};

static int open_socket(struct session_id id, enum ledger_kind kind)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_ne(fd, -1);
	fd_registry_note(fd, id, kind, SP_HERE);
	return fd;
}

static void close_socket(int fd)
{
	fd_registry_forget(fd);
	close(fd);
}

static struct fake fake_new(uint32_t worker, uint64_t number, int64_t deadline_ms)
{
	struct fake f = { .info = { .id = session_id_make(worker, number),
		                    .started_ms = sp_now_ms() } };

	sp_copy(f.info.listener, sizeof(f.info.listener), "main");
	f.live = session_table_insert(table, &f.info, deadline_ms);
	ck_assert_ptr_nonnull(f.live);
	f.client = open_socket(f.info.id, LEDGER_CONTROL_FD);
	f.server = open_socket(f.info.id, LEDGER_CONTROL_FD);
	ledger_add(&f.live->ledger, LEDGER_CONTROL_FD);
	ledger_add(&f.live->ledger, LEDGER_CONTROL_FD);
	return f;
}

static void fake_end(struct fake *f)
{
	close_socket(f->client);
	close_socket(f->server);
	ledger_sub(&f->live->ledger, LEDGER_CONTROL_FD);
	ledger_sub(&f->live->ledger, LEDGER_CONTROL_FD);
	ck_assert(session_table_remove(table, f->info.id, NULL));
}

/* ---- auditing ----------------------------------------------------------------------------------
 */

static void nap_ms(int64_t ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static struct auditor_stats audit(void)
{
	struct auditor_stats stats;

	while (auditor_pass(auditor))
		nap_ms(AUDIT_GAP_MS);
	auditor_stats(auditor, &stats);
	return stats;
}

/* The finding of that kind; there must be exactly one. */
static struct finding the_finding(enum finding_kind kind)
{
	struct finding all[AUDIT_FINDINGS_MAX];
	size_t n = auditor_findings(auditor, 0, all, AUDIT_FINDINGS_MAX);
	size_t found = n;

	for (size_t i = 0; i < n; i++) {
		if (all[i].kind != kind)
			continue;
		ck_assert_msg(found == n, "two findings of kind %s", finding_name(kind));
		found = i;
	}
	ck_assert_msg(found < n, "no finding of kind %s", finding_name(kind));
	return all[found];
}

static size_t orphan_events(struct sp_event *last)
{
	struct sp_event events[64];
	size_t n = 0;
	size_t taken;

	while ((taken = event_queue_take(queue, events, 64, 0)) > 0) {
		for (size_t i = 0; i < taken; i++) {
			ck_assert_int_eq(events[i].kind, EVENT_ORPHAN);
			*last = events[i];
		}
		n += taken;
	}
	return n;
}

#define assert_contains(text, part)                                                                \
	ck_assert_msg(strstr((text), (part)) != NULL, "\"%s\" has no \"%s\"", (text), (part))

START_TEST(nothing_is_found_where_all_is_well)
{
	struct fake a = fake_new(0, 1, sp_now_ms() + FOREVER);
	struct fake b = fake_new(1, 2, CLOCK_NEVER);
	int own = open_socket(SESSION_ID_NONE, LEDGER_KINDS);
	int pooled = open_socket(SESSION_ID_NONE, LEDGER_PIPE_FD);
	struct auditor_stats stats = audit();

	ck_assert_uint_eq(stats.findings, 0);
	ck_assert_uint_eq(stats.audits, 1);
	ck_assert_uint_eq(stats.failed, 0);
	ck_assert_uint_eq(stats.sums.ledgers[LEDGER_CONTROL_FD], 4);
	ck_assert_uint_eq(stats.sums.notes[LEDGER_CONTROL_FD], 4);
	ck_assert_uint_eq(stats.sums.notes[LEDGER_PIPE_FD], 0);
	ck_assert_uint_eq(stats.sums.noted, 6);
	fake_end(&a);
	fake_end(&b);
	close_socket(own);
	close_socket(pooled);
	ck_assert_uint_eq(audit().findings, 0);
	struct sp_event event;
	ck_assert_uint_eq(orphan_events(&event), 0);
}
END_TEST

START_TEST(a_leaked_descriptor_is_found_and_named_with_the_place_where_it_was_made)
{
	struct fake alive = fake_new(0, 1, CLOCK_NEVER);
	struct session_id gone = session_id_make(1, 77);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char place[64];
	struct sp_event event;

	fd_registry_note(fd, gone, LEDGER_DATA_FD, SP_HERE);
	snprintf(place, sizeof(place), "tests/unit/check_auditor.c:%d", __LINE__ - 1);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.by_kind[FINDING_OWNERLESS], 1);
	struct finding f = the_finding(FINDING_OWNERLESS);
	ck_assert_int_eq(f.fd, fd);
	ck_assert(session_id_eq(f.id, gone));
	ck_assert_str_eq(f.where, place);
	assert_contains(f.what, "descriptor of a session that is gone");
	assert_contains(f.what, "socket:[");
	/* The books do not agree either: a note that no ledger knows of. */
	ck_assert_uint_eq(stats.by_kind[FINDING_SUM], 1);
	ck_assert_uint_eq(stats.findings, 2);

	ck_assert_uint_eq(orphan_events(&event), 2);
	ck_assert_uint_eq(audit().findings, 2);
	ck_assert_uint_eq(orphan_events(&event), 0); /* told once */

	close_socket(fd);
	stats = audit();
	ck_assert_uint_eq(stats.findings, 0);
	ck_assert_uint_eq(stats.ever, 2);
	fake_end(&alive);
}
END_TEST

START_TEST(the_event_says_what_and_where)
{
	int fd = open_socket(session_id_make(1, 77), LEDGER_CONTROL_FD);
	struct sp_event events[4];

	audit();
	ck_assert_uint_eq(event_queue_take(queue, events, 4, 0), 2);
	ck_assert_uint_eq(events[0].session.v, session_id_make(1, 77).v);
	ck_assert_str_eq(events[0].outcome, finding_name(FINDING_OWNERLESS));
	ck_assert_str_eq(events[0].outcome, "ownerless");
	assert_contains(events[0].text, "made at tests/unit/check_auditor.c:");
	close_socket(fd);
}
END_TEST

START_TEST(a_descriptor_that_nobody_noted_is_found_and_named_by_its_ends)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = open_socket(SESSION_ID_NONE, LEDGER_KINDS);
	int leaked = socket(AF_INET, SOCK_STREAM, 0);
	char ends[64];

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	ck_assert_int_eq(connect(leaked, (struct sockaddr *)&address, sizeof(address)), 0);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 1);
	struct finding f = the_finding(FINDING_UNNOTED);
	ck_assert_int_eq(f.fd, leaked);
	ck_assert_str_eq(f.where, "");
	snprintf(ends, sizeof(ends), " to 127.0.0.1:%u", ntohs(address.sin_port));
	assert_contains(f.what, ends);
	close(leaked);
	close_socket(listener);
	ck_assert_uint_eq(audit().findings, 0);
}
END_TEST

START_TEST(a_descriptor_known_from_the_start_is_known_until_its_number_is_another)
{
	int ends[2];
	int more[2];

	ck_assert_int_eq(pipe(ends), 0);
	auditor_free(&auditor);
	auditor = auditor_new(NULL, &sources, 0);
	ck_assert_uint_eq(audit().findings, 0);
	ck_assert_int_eq(pipe(more), 0);
	ck_assert_int_eq(dup2(more[0], ends[0]), ends[0]);
	close(more[0]);
	close(more[1]);
	ck_assert_uint_eq(audit().findings, 1);
	ck_assert_int_eq(the_finding(FINDING_UNNOTED).fd, ends[0]);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_forgotten_record_is_found)
{
	struct fake f = fake_new(1, 5, sp_now_ms() - 2 * NOTICE_REPEAT_MS - 100);
	struct auditor_stats stats = audit();

	ck_assert_uint_eq(stats.findings, 1);
	struct finding found = the_finding(FINDING_OVERDUE);
	ck_assert(session_id_eq(found.id, f.info.id));
	ck_assert_int_eq(found.fd, -1);
	assert_contains(found.where, "tests/unit/check_auditor.c:");
	assert_contains(found.what, "worker 1, listener main");
	assert_contains(found.what, "10 s late");
	session_table_rearm(table, f.info.id, sp_now_ms() + FOREVER);
	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&f);
}
END_TEST

START_TEST(a_deadline_that_has_just_passed_is_no_orphan)
{
	struct fake f = fake_new(1, 5, sp_now_ms() - NOTICE_REPEAT_MS);

	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&f);
}
END_TEST

START_TEST(a_session_without_a_clients_connection_is_found)
{
	struct session_info info = { .id = session_id_make(0, 9) };

	sp_copy(info.listener, sizeof(info.listener), "public");
	ck_assert_ptr_nonnull(session_table_insert(table, &info, CLOCK_NEVER));
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 1);
	struct finding f = the_finding(FINDING_CLIENTLESS);
	ck_assert(session_id_eq(f.id, info.id));
	assert_contains(f.what, "listener public");
	ck_assert(session_table_remove(table, info.id, NULL));
}
END_TEST

START_TEST(a_session_that_does_not_come_to_its_end_is_found_when_it_has_lasted)
{
	struct fake f = fake_new(0, 3, CLOCK_NEVER);

	atomic_store(&f.live->place, PLACE_ENDING);
	ck_assert_uint_eq(audit().findings, 0); /* it has just begun to end, for all we know */
	nap_ms(1200);
	ck_assert_uint_eq(audit().findings, 1);
	ck_assert(session_id_eq(the_finding(FINDING_ENDING).id, f.info.id));
	fake_end(&f);
}
END_TEST

START_TEST(a_farewell_is_right_until_it_outlives_close_timeout)
{
	struct session_id gone = session_id_make(1, 4);
	int fd = open_socket(gone, LEDGER_FAREWELL_FD);

	ledger_add(&farewells[1], LEDGER_FAREWELL_FD);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 0);
	ck_assert_uint_eq(stats.sums.ledgers[LEDGER_FAREWELL_FD], 1);
	ck_assert_uint_eq(stats.sums.notes[LEDGER_FAREWELL_FD], 1);
	nap_ms(1200);
	ck_assert_uint_eq(audit().findings, 1);
	struct finding f = the_finding(FINDING_FAREWELL);
	ck_assert_int_eq(f.fd, fd);
	ck_assert(session_id_eq(f.id, gone));
	ledger_sub(&farewells[1], LEDGER_FAREWELL_FD);
	close_socket(fd);
	ck_assert_uint_eq(audit().findings, 0);
}
END_TEST

START_TEST(a_note_of_a_closed_descriptor_is_found)
{
	int fd = open_socket(session_id_make(1, 6), LEDGER_DATA_FD);

	close(fd); /* and not forgotten */
	audit();
	struct finding f = the_finding(FINDING_STALE);
	ck_assert_int_eq(f.fd, fd);
	ck_assert_uint_eq(f.id.v, session_id_make(1, 6).v);
	assert_contains(f.where, "tests/unit/check_auditor.c:");
	assert_contains(f.what, "closed by now");
	fd_registry_forget(fd);
	ck_assert_uint_eq(audit().findings, 0);
}
END_TEST

START_TEST(a_ledger_that_does_not_match_the_descriptors_is_found)
{
	struct fake f = fake_new(0, 8, CLOCK_NEVER);

	ledger_add(&f.live->ledger, LEDGER_DATA_FD);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 2);
	struct finding found = the_finding(FINDING_LEDGER);
	ck_assert(session_id_eq(found.id, f.info.id));
	assert_contains(found.what, "data connection: 1 counted, 0 noted");
	assert_contains(the_finding(FINDING_SUM).what, "data connection: 1 counted, 0 noted");
	ledger_sub(&f.live->ledger, LEDGER_DATA_FD);
	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&f);
}
END_TEST

START_TEST(slots_that_no_session_holds_are_found)
{
	struct fake f = fake_new(0, 8, CLOCK_NEVER);
	struct pool_ask ask = {
		.id = f.info.id, .places = places, .places_n = 2, .now_ms = sp_now_ms()
	};
	struct slot held = { .held = false };
	struct slot lost = { .held = false };

	ck_assert_int_eq(pool_ledger_acquire(pool.ledger, &ask, &held), POOL_GRANTED);
	sp_copy(f.info.pool, sizeof(f.info.pool), "legacy");
	sp_copy(f.info.server_name, sizeof(f.info.server_name), held.server == 0 ? "old1" : "old2");
	session_table_update(table, &f.info);
	ledger_add(&f.live->ledger, LEDGER_SLOT);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 0);
	ck_assert_uint_eq(stats.sums.slots_held, 1);
	ck_assert_uint_eq(stats.sums.slots_given, 1);

	ck_assert_int_eq(pool_ledger_acquire(pool.ledger, &ask, &lost), POOL_GRANTED);
	ck_assert_int_ne(lost.server, held.server);
	stats = audit();
	ck_assert_uint_eq(stats.findings, 1);
	assert_contains(the_finding(FINDING_SLOTS).what,
	                lost.server == 0
	                    ? "pool legacy, server old1: 1 given out, 0 held by sessions"
	                    : "pool legacy, server old2: 1 given out, 0 held by sessions");
	ck_assert_uint_eq(pool_ledger_release(pool.ledger, &lost).v, 0);
	ck_assert_uint_eq(pool_ledger_release(pool.ledger, &held).v, 0);
	ledger_sub(&f.live->ledger, LEDGER_SLOT);
	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&f);
}
END_TEST

START_TEST(pooled_ports_that_no_session_holds_are_found)
{
	struct fake f = fake_new(0, 9, CLOCK_NEVER);
	struct port_wish wish = {
		.owner = f.info.id, .first = 50000, .last = 50003, .workers = 1
	};
	struct port_ticket held;
	struct port_ticket lost;

	sources.registry = port_registry_new(1);
	ck_assert_ptr_nonnull(sources.registry);
	auditor_free(&auditor);
	auditor = auditor_new(NULL, &sources, 0);
	ck_assert(netaddr_parse(&wish.client, span_of("192.0.2.1"), 0));
	ck_assert_int_eq(port_registry_reserve(sources.registry, &wish, &held), 0);
	ledger_add(&f.live->ledger, LEDGER_PORT);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.findings, 0);
	ck_assert_uint_eq(stats.sums.ports_reserved, 1);

	ck_assert_int_eq(port_registry_reserve(sources.registry, &wish, &lost), 0);
	ck_assert_uint_eq(audit().findings, 1);
	assert_contains(the_finding(FINDING_PORTS).what, "2 reserved, 1 held by sessions");
	port_registry_release(sources.registry, &lost, 0);
	ck_assert_uint_eq(audit().findings, 0);
	port_registry_release(sources.registry, &held, 0);
	ledger_sub(&f.live->ledger, LEDGER_PORT);
	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&f);
	port_registry_free(&sources.registry);
}
END_TEST

START_TEST(many_findings_are_counted_and_some_are_told)
{
	enum { MANY = 400 };
	static int fds[MANY];
	struct sp_event last;

	for (int i = 0; i < MANY; i++)
		fds[i] = open_socket(session_id_make(1, (uint64_t)i + 1), LEDGER_DATA_FD);
	struct auditor_stats stats = audit();
	ck_assert_uint_eq(stats.by_kind[FINDING_OWNERLESS], MANY);
	ck_assert_uint_eq(stats.findings, MANY + 1); /* and the sum */
	size_t told = orphan_events(&last);
	ck_assert_uint_lt(told, 100);
	assert_contains(last.text, " more");
	struct finding page[100];
	size_t listed = 0;
	size_t n;
	while ((n = auditor_findings(auditor, listed, page, 100)) > 0)
		listed += n;
	ck_assert_uint_eq(listed, AUDIT_FINDINGS_MAX);
	for (int i = 0; i < MANY; i++)
		close_socket(fds[i]);
	ck_assert_uint_eq(audit().findings, 0);
}
END_TEST

/* ---- while the world moves ---------------------------------------------------------------------
 */

static _Atomic bool churn_stop;
static _Atomic unsigned churned;

/* Sessions that come, take and give back a server, open and close data connections, say farewell
 * and go. */
static void *churn(void *arg)
{
	uint32_t worker = *(const uint32_t *)arg;

	for (uint64_t i = 1; !atomic_load(&churn_stop); i++) {
		struct fake f = fake_new(worker, i, sp_now_ms() + FOREVER);
		struct pool_ask ask = {
			.id = f.info.id, .places = places, .places_n = 2, .now_ms = sp_now_ms()
		};
		struct slot slot = { .held = false };

		SP_ASSERT(pool_ledger_acquire(pool.ledger, &ask, &slot) == POOL_GRANTED);
		ledger_add(&f.live->ledger, LEDGER_SLOT);
		sp_copy(f.info.pool, sizeof(f.info.pool), "legacy");
		sp_copy(f.info.server_name, sizeof(f.info.server_name),
		        slot.server == 0 ? "old1" : "old2");
		session_table_update(table, &f.info);
		for (int k = 0; k < 4; k++) {
			int data = open_socket(f.info.id, LEDGER_DATA_FD);

			ledger_add(&f.live->ledger, LEDGER_DATA_FD);
			atomic_fetch_add(&f.live->transfers, 1);
			if (i % 16 == 0)
				nap_ms(1);
			close_socket(data);
			ledger_sub(&f.live->ledger, LEDGER_DATA_FD);
		}
		SP_ASSERT(pool_ledger_release(pool.ledger, &slot).v == 0);
		ledger_sub(&f.live->ledger, LEDGER_SLOT);
		int farewell = open_socket(f.info.id, LEDGER_FAREWELL_FD);
		ledger_add(&farewells[worker], LEDGER_FAREWELL_FD);
		fake_end(&f);
		ledger_sub(&farewells[worker], LEDGER_FAREWELL_FD);
		close_socket(farewell);
		atomic_fetch_add(&churned, 1);
	}
	return NULL;
}

START_TEST(nothing_is_found_while_everything_moves_but_the_leak_that_is_there)
{
	static uint32_t numbers[WORKERS] = { 0, 1 };
	struct fake quiet = fake_new(0, UINT64_C(0xffffffffff), CLOCK_NEVER);
	pthread_t threads[WORKERS];

	for (size_t i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &numbers[i]), 0);
	for (int round = 0; round < 6; round++) {
		struct auditor_stats stats = audit();

		ck_assert_msg(stats.findings == 0, "%s", the_finding(FINDING_SUM).what);
	}
	int leaked = open_socket(session_id_make(1, UINT64_C(0xeeeeeeeeee)), LEDGER_LISTENER_FD);
	audit();
	ck_assert_int_eq(the_finding(FINDING_OWNERLESS).fd, leaked);
	close_socket(leaked);
	ck_assert_uint_gt(atomic_load(&churned), 100);
	atomic_store(&churn_stop, true);
	for (size_t i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(audit().findings, 0);
	fake_end(&quiet);
}
END_TEST

/* ---- on a loop ---------------------------------------------------------------------------------
 */

static void turn_until(struct event_base *base, struct auditor *a, uint64_t audits)
{
	int64_t deadline_ms = sp_now_ms() + 20000;

	while (auditor_audits(a) < audits) {
		ck_assert_int_lt(sp_now_ms(), deadline_ms);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

START_TEST(on_a_loop_it_audits_by_itself_and_when_it_is_asked)
{
	struct event_base *base = event_base_new();
	int leaked = open_socket(session_id_make(1, 1), LEDGER_DATA_FD);
	struct auditor *a = auditor_new(base, &sources, 50);
	struct auditor_stats stats;

	turn_until(base, a, 2);
	auditor_stats(a, &stats);
	ck_assert_uint_eq(stats.by_kind[FINDING_OWNERLESS], 1);
	auditor_free(&a);

	a = auditor_new(base, &sources, FOREVER);
	uint64_t ticket = auditor_request(a);
	ck_assert_uint_eq(ticket, 1);
	event_base_loop(base, EVLOOP_ONCE); /* the first pass; others are to come */
	ck_assert_uint_eq(auditor_audits(a), 0);
	/* Who asks while one runs gets one that began afterwards. */
	ck_assert_uint_eq(auditor_request(a), 2);
	close_socket(leaked);
	turn_until(base, a, 2);
	auditor_stats(a, &stats);
	ck_assert_uint_eq(stats.findings, 0);
	auditor_free(&a);
	event_base_free(base);
}
END_TEST

START_TEST(without_memory_an_audit_fails_and_says_so_and_the_next_one_works)
{
	struct fake f = fake_new(0, 1, CLOCK_NEVER);
	int leaked = open_socket(session_id_make(1, 1), LEDGER_DATA_FD);
	struct auditor_stats stats = audit();
	uint64_t failed = 0;

	ck_assert_uint_eq(stats.findings, 2);
	for (unsigned n = 1;; n++) {
		uint64_t audits = stats.audits;

		alloc_fail_at(n);
		bool more = auditor_pass(auditor);
		bool hit = alloc_has_failed();
		alloc_fail_at(0);
		auditor_stats(auditor, &stats);
		if (!hit)
			break;
		failed++;
		ck_assert(!more); /* nobody waits in vain */
		ck_assert_uint_eq(stats.audits, audits + 1);
		ck_assert_uint_eq(stats.failed, failed);
		ck_assert_uint_eq(stats.findings, 2); /* what was found stays shown */
	}
	ck_assert_uint_ge(failed, 2);
	ck_assert_uint_eq(audit().findings, 2);
	close_socket(leaked);
	fake_end(&f);
}
END_TEST

START_TEST(without_memory_none_is_made)
{
	struct event_base *base = event_base_new();

	for (unsigned n = 1;; n++) {
		alloc_fail_at(n);
		struct auditor *a = auditor_new(base, &sources, FOREVER);
		bool hit = alloc_has_failed();
		alloc_fail_at(0);
		if (!hit) {
			ck_assert_ptr_nonnull(a);
			auditor_free(&a);
			break;
		}
		ck_assert_ptr_null(a);
	}
	event_base_free(base);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("auditor");
	TCase *tcase = tcase_create("auditor");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, nothing_is_found_where_all_is_well);
	tcase_add_test(tcase,
	               a_leaked_descriptor_is_found_and_named_with_the_place_where_it_was_made);
	tcase_add_test(tcase, the_event_says_what_and_where);
	tcase_add_test(tcase, a_descriptor_that_nobody_noted_is_found_and_named_by_its_ends);
	tcase_add_test(tcase,
	               a_descriptor_known_from_the_start_is_known_until_its_number_is_another);
	tcase_add_test(tcase, a_forgotten_record_is_found);
	tcase_add_test(tcase, a_deadline_that_has_just_passed_is_no_orphan);
	tcase_add_test(tcase, a_session_without_a_clients_connection_is_found);
	tcase_add_test(tcase, a_session_that_does_not_come_to_its_end_is_found_when_it_has_lasted);
	tcase_add_test(tcase, a_farewell_is_right_until_it_outlives_close_timeout);
	tcase_add_test(tcase, a_note_of_a_closed_descriptor_is_found);
	tcase_add_test(tcase, a_ledger_that_does_not_match_the_descriptors_is_found);
	tcase_add_test(tcase, slots_that_no_session_holds_are_found);
	tcase_add_test(tcase, pooled_ports_that_no_session_holds_are_found);
	tcase_add_test(tcase, many_findings_are_counted_and_some_are_told);
	tcase_add_test(tcase, nothing_is_found_while_everything_moves_but_the_leak_that_is_there);
	tcase_add_test(tcase, on_a_loop_it_audits_by_itself_and_when_it_is_asked);
	tcase_add_test(tcase, without_memory_an_audit_fails_and_says_so_and_the_next_one_works);
	tcase_add_test(tcase, without_memory_none_is_made);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

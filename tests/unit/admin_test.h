// SPDX-License-Identifier: ISC
/*
 * What the tests of the admin socket share: one on a socket of its own with a
 * table, a pool and an auditor behind it, and a client on the same thread.
 * For inclusion by one test program each.
 */
#ifndef SALLYPORT_TESTS_ADMIN_TEST_H
#define SALLYPORT_TESTS_ADMIN_TEST_H

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sallyport/admin.h"
#include "sallyport/auditor.h"
#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/fd_registry.h"
#include "sallyport/json_line.h"
#include "sallyport/pool_ledger.h"

#define WORKERS 2
#define PATIENCE_MS 20000

static char dir[64];
static char path[96];
static struct event_base *base;
static struct session_table *table;
static struct event_queue *queue;
static struct counters sets[WORKERS];
static struct counters *set_pointers[WORKERS] = { &sets[0], &sets[1] };
static struct mailbox *mailboxes[WORKERS];
static struct pool_config pool = { .name = "legacy" };
static struct config config = { .file = NULL, .pools = &pool, .pools_n = 1 };
static const struct config *config_pointer = &config;
static struct ops_sources sources;
static struct auditor *auditor;
static struct admin *admin;
static struct admin_limits limits;

static void SP_UNUSED start_admin(void)
{
	char error[ADMIN_ERROR_MAX];

	admin = admin_start(base, &sources, path, &limits, error);
	ck_assert_msg(admin != NULL, "%s", error);
}

static void SP_UNUSED setup(void)
{
	const struct pool_server_terms terms[] = {
		{ .name = "old1", .weight = 2, .max_sessions = 50 }
	};
	uint16_t places[1];

	signal(SIGPIPE, SIG_IGN); /* as main does */
	sp_copy(dir, sizeof(dir), "/tmp/check_admin.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/admin.sock", dir);
	ck_assert_int_eq(fd_registry_init(1024), 0);
	base = event_base_new();
	table = session_table_new(8);
	queue = event_queue_new(64);
	for (size_t i = 0; i < WORKERS; i++)
		mailboxes[i] = mailbox_new(8);
	pool.ledger = pool_ledger_new(BALANCE_ROUND_ROBIN);
	ck_assert(pool_ledger_configure(pool.ledger, BALANCE_ROUND_ROBIN, terms, 1, places));
	sources = (struct ops_sources){
		.table = table,
		.workers = WORKERS,
		.counters = set_pointers,
		.mailboxes = mailboxes,
		.queue = queue,
		.config = &config_pointer,
		.fd_max = 1024,
		.started_ms = sp_now_ms(),
	};
	limits = (struct admin_limits){ 0, 0 };
	auditor = auditor_new(base, &sources, 0);
	ck_assert_ptr_nonnull(auditor);
	sources.auditor = auditor;
	start_admin();
}

static void SP_UNUSED remove_sessions(void)
{
	struct table_cursor cursor = { 0, 0 };
	struct session_info page[64];
	size_t n;

	while (session_table_count(table) > 0) {
		while ((n = session_table_page(table, &cursor, page, 64)) > 0) {
			for (size_t i = 0; i < n; i++)
				ck_assert(session_table_remove(table, page[i].id, NULL));
		}
		cursor = (struct table_cursor){ 0, 0 };
	}
}

static void SP_UNUSED teardown(void)
{
	admin_stop(&admin);
	ck_assert_int_eq(access(path, F_OK), -1);
	auditor_free(&auditor);
	remove_sessions();
	session_table_free(&table);
	event_queue_free(&queue);
	pool_ledger_free(&pool.ledger);
	for (size_t i = 0; i < WORKERS; i++)
		mailbox_free(&mailboxes[i]);
	event_base_free(base);
	fd_registry_fini();
	ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- a client, on the same thread as the server -------------------------------------------------
 */

static int SP_UNUSED dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	sp_copy(address.sun_path, sizeof(address.sun_path), path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS,
	                 SP_HERE); /* or the auditor finds the test */
	return fd;
}

static void SP_UNUSED hang_up(int fd)
{
	fd_registry_forget(fd);
	close(fd);
}

static void SP_UNUSED say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

struct answer {
	char *p;
	size_t n;
	size_t size;
	bool closed;
};

/* One turn of the loop, and what has come meanwhile. */
static void SP_UNUSED turn(int fd, struct answer *a)
{
	struct timeval t = { .tv_usec = 10000 };
	ssize_t n;

	event_base_loopexit(base, &t);
	event_base_loop(base, EVLOOP_ONCE);
	if (a->size - a->n < 65536) {
		a->size = 2 * a->size + 131072;
		a->p = realloc(a->p, a->size);
		ck_assert_ptr_nonnull(a->p);
	}
	n = recv(fd, a->p + a->n, a->size - a->n - 1, 0);
	if (n > 0)
		a->n += (size_t)n;
	else if (n == 0 || errno == ECONNRESET)
		a->closed = true;
	a->p[a->n] = '\0';
}

static bool SP_UNUSED ends_with(const struct answer *a, const char *end)
{
	return a->n >= strlen(end) && strcmp(a->p + a->n - strlen(end), end) == 0;
}

/* Everything up to and with `end`, or to the close. */
static struct answer SP_UNUSED read_until(int fd, const char *end)
{
	struct answer a = { NULL, 0, 0, false };
	int64_t deadline_ms = sp_now_ms() + PATIENCE_MS;

	do {
		if (sp_now_ms() > deadline_ms)
			ck_abort_msg("no \"%s\" in: %.400s", end, a.p);
		turn(fd, &a);
	} while (!a.closed && !ends_with(&a, end));
	return a;
}

/* One command on a connection of its own; the text of the answer, to be freed. */
static SP_UNUSED char *ask(const char *command)
{
	int fd = dial();
	char line[ADMIN_LINE_MAX + 2];

	snprintf(line, sizeof(line), "%s\n", command);
	say(fd, line);
	struct answer a = read_until(fd, ".\n");
	ck_assert(!a.closed);
	hang_up(fd);
	return a.p;
}

static SP_UNUSED json_t *ask_json(const char *command)
{
	int fd = dial();
	char line[ADMIN_LINE_MAX + 2];
	json_error_t error;

	snprintf(line, sizeof(line), "%s json\n", command);
	say(fd, line);
	struct answer a = read_until(fd, "}\n");
	ck_assert_ptr_eq(memchr(a.p, '\n', a.n), a.p + a.n - 1); /* one line */
	json_t *json = json_loadb(a.p, a.n, JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(json != NULL, "%s: %.300s", error.text, a.p);
	free(a.p);
	hang_up(fd);
	return json;
}

static struct session_live *SP_UNUSED add_session(uint32_t worker, uint64_t number)
{
	struct session_info info = { .id = session_id_make(worker, number),
		                     .started_ms = sp_now_ms() - 192000 };

	ck_assert(netaddr_parse(&info.client, span_of("192.0.2.7:50000"), 0));
	ck_assert(netaddr_parse(&info.server, span_of("[2001:db8::1]:21"), 0));
	sp_copy(info.listener, sizeof(info.listener), "main");
	sp_copy(info.user, sizeof(info.user), "b\tob\n.\n");
	sp_copy(info.pool, sizeof(info.pool), "legacy");
	sp_copy(info.server_name, sizeof(info.server_name), "old1");
	struct session_live *live = session_table_insert(table, &info, sp_now_ms() + 300000);
	ck_assert_ptr_nonnull(live);
	atomic_store(&live->place, PLACE_TRANSFER);
	atomic_store(&live->verb, VERB_RETR);
	atomic_store(&live->clock, CLOCK_STALL);
	atomic_store(&live->bytes_down, 5000000000);
	ledger_add(&live->ledger, LEDGER_CONTROL_FD);
	ledger_add(&live->ledger, LEDGER_CONTROL_FD);
	return live;
}

#endif

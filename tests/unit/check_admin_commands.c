// SPDX-License-Identifier: ISC
/*
 * What can be asked on the admin socket: command lines, and answers as text and
 * as JSON.
 */
#include "admin_test.h"

#include <sys/stat.h>

#define MANY 9000

/* ---- the command line
 * ---------------------------------------------------------------------------- */

START_TEST(commands_are_read)
{
	static const struct {
		const char *line;
		enum admin_verb verb;
		bool json;
		bool now;
		uint64_t id;
	} rows[] = {
		{ "help", ADMIN_HELP, false, false, 0 },
		{ "show sessions", ADMIN_SHOW_SESSIONS, false, false, 0 },
		{ "SHOW\t Sessions   JSON ", ADMIN_SHOW_SESSIONS, true, false, 0 },
		{ "  show stats json", ADMIN_SHOW_STATS, true, false, 0 },
		{ "show locks", ADMIN_SHOW_LOCKS, false, false, 0 },
		{ "show orphans", ADMIN_SHOW_ORPHANS, false, false, 0 },
		{ "show orphans --now", ADMIN_SHOW_ORPHANS, false, true, 0 },
		{ "show orphans --NOW json", ADMIN_SHOW_ORPHANS, true, true, 0 },
		{ "show pools", ADMIN_SHOW_POOLS, false, false, 0 },
		{ "show config", ADMIN_SHOW_CONFIG, false, false, 0 },
		{ "audit", ADMIN_AUDIT, false, false, 0 },
		{ "kick 010000000000002a", ADMIN_KICK, false, false, UINT64_C(0x010000000000002a) },
		{ "kick 2A json", ADMIN_KICK, true, false, 42 },
		{ "quit", ADMIN_QUIT, false, false, 0 },
	};
	char error[ADMIN_ERROR_MAX];

	for (size_t i = 0; i < SP_ARRAY_LEN(rows); i++) {
		struct admin_request r;

		ck_assert_msg(admin_request_parse(span_of(rows[i].line), &r, error), "%s: %s",
		              rows[i].line, error);
		ck_assert_int_eq(r.verb, rows[i].verb);
		ck_assert_int_eq(r.json, rows[i].json);
		ck_assert_int_eq(r.now, rows[i].now);
		ck_assert_uint_eq(r.id.v, rows[i].id);
	}
	for (size_t i = 0; i < ADMIN_VERB_COUNT; i++)
		ck_assert_uint_eq(admin_command_row((enum admin_verb)i)->verb, i);
}
END_TEST

START_TEST(bad_commands_are_answered_with_what_would_be_right)
{
	static const char shows[] =
	    "unknown command; there is: show sessions, show stats, show locks, show orphans, "
	    "show pools, show config";
	static const struct {
		const char *line;
		const char *error;
		bool json;
	} rows[] = {
		{ "", "no command; try: help", false },
		{ "   ", "no command; try: help", false },
		{ "json", "no command; try: help", true },
		{ "show", shows, false },
		{ "show sesions json", shows, true },
		{ "frobnicate now", "unknown command \"frobnicate\"; try: help", false },
		{ "help me", "help takes no argument but json", false },
		{ "show orphans later", "show orphans takes no argument but --now and json",
		  false },
		{ "show orphans --now --now", "show orphans takes no argument but --now and json",
		  false },
		{ "kick",
		  "kick needs the id of one session: 1 to 16 hex digits, as show sessions has it",
		  false },
		{ "kick 0",
		  "kick needs the id of one session: 1 to 16 hex digits, as show sessions has it",
		  false },
		{ "kick 1 2",
		  "kick needs the id of one session: 1 to 16 hex digits, as show sessions has it",
		  false },
		{ "kick bob",
		  "kick needs the id of one session: 1 to 16 hex digits, as show sessions has it",
		  false },
		{ "show\x01", "a command is printable ASCII; byte 5 is not", false },
		{ "gr\xc3\xbc\xc3\x9f", "a command is printable ASCII; byte 3 is not", false },
		{ "1 2 3 4 5 6 7 8 9", "too many words; try: help", false },
	};
	char error[ADMIN_ERROR_MAX];
	char line[ADMIN_LINE_MAX + 2];
	struct admin_request r;

	for (size_t i = 0; i < SP_ARRAY_LEN(rows); i++) {
		ck_assert_msg(!admin_request_parse(span_of(rows[i].line), &r, error), "%s",
		              rows[i].line);
		ck_assert_str_eq(error, rows[i].error);
		ck_assert_int_eq(r.json, rows[i].json);
	}
	memset(line, 'x', sizeof(line));
	ck_assert(!admin_request_parse(span_from(line, ADMIN_LINE_MAX + 1), &r, error));
	ck_assert_str_eq(error, "a command has at most 512 bytes");
	ck_assert(!admin_request_parse(span_from("help\0 json", 10), &r, error));
}
END_TEST

/* ---- answers
 * ------------------------------------------------------------------------------------- */

START_TEST(sessions_are_shown_as_text_and_no_name_breaks_a_line)
{
	add_session(1, 42);
	char *text = ask("show sessions");
	char *second = strchr(text, '\n') + 1;

	ck_assert_int_eq(strncmp(text, "id\tworker\tlistener\tclient\tuser\t", 31), 0);
	ck_assert_int_eq(
	    strncmp(
		second,
		"010000000000002a\t1\tmain\t192.0.2.7:50000\tb\\tob\\n.\\n\tlegacy\told1\t"
		"[2001:db8::1]:21\ttransfer\tRETR\t",
		strlen("010000000000002a\t1\tmain\t192.0.2.7:50000\tb\\tob\\n.\\n\tlegacy\told1\t"
	               "[2001:db8::1]:21\ttransfer\tRETR\t")),
	    0);
	ck_assert_ptr_nonnull(strstr(second, "\t5000000000\t2\n.\n"));
	free(text);
}
END_TEST

START_TEST(sessions_are_shown_as_json)
{
	add_session(1, 42);
	json_t *json = ask_json("show sessions");
	json_t *row = json_array_get(json_object_get(json, "sessions"), 0);

	ck_assert_uint_eq(json_array_size(json_object_get(json, "sessions")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(row, "id")), "010000000000002a");
	ck_assert_str_eq(json_string_value(json_object_get(row, "user")), "b\tob\n.\n");
	ck_assert_str_eq(json_string_value(json_object_get(row, "place")), "transfer");
	ck_assert_str_eq(json_string_value(json_object_get(row, "timeout")), "stall_timeout");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "bytes_down")), 5000000000);
	ck_assert_int_ge(json_integer_value(json_object_get(row, "age_ms")), 192000);
	ck_assert_int_gt(json_integer_value(json_object_get(row, "due_ms")), 200000);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "descriptors")), 2);
	json_decref(json);
}
END_TEST

START_TEST(nothing_known_is_null)
{
	struct session_info info = { .id = session_id_make(0, 1) };
	struct session_live *live = session_table_insert(table, &info, CLOCK_NEVER);

	ck_assert_ptr_nonnull(live);
	atomic_store(&live->clock, CLOCK_NONE);
	atomic_store(&live->verb, VERB_UNKNOWN);
	json_t *json = ask_json("show sessions");
	json_t *row = json_array_get(json_object_get(json, "sessions"), 0);
	static const char *const nulls[] = { "client", "user", "pool",    "server_name",
		                             "server", "verb", "timeout", "due_ms" };
	for (size_t i = 0; i < SP_ARRAY_LEN(nulls); i++)
		ck_assert_msg(json_is_null(json_object_get(row, nulls[i])), "%s", nulls[i]);
	json_decref(json);
}
END_TEST

static uint64_t locks_taken(void)
{
	struct lock_summary summary;

	metrics_locks(table, &summary);
	return summary.taken;
}

START_TEST(a_long_listing_comes_whole_and_without_a_spike)
{
	for (uint64_t i = 1; i <= MANY; i++)
		add_session(i % WORKERS, i);
	int fd = dial();
	say(fd, "show sessions json\n");

	/* Nobody reads at first: the listing stops after a part of the table. */
	uint64_t before = locks_taken();
	struct timeval t = { .tv_usec = 300000 };
	event_base_loopexit(base, &t);
	event_base_loop(base, 0);
	uint64_t part = locks_taken() - before;
	ck_assert_uint_gt(part, 0);
	int64_t start_ms = sp_now_ms();
	struct answer a = read_until(fd, "}\n");
	ck_assert_uint_gt(a.n, 3000000);
	ck_assert_uint_gt(locks_taken() - before, 4 * part);
	json_t *json = json_loadb(a.p, a.n, 0, NULL);
	ck_assert_ptr_nonnull(json);
	json_t *rows = json_object_get(json, "sessions");
	ck_assert_uint_eq(json_array_size(rows), MANY);
	static bool seen[MANY + 1];
	json_t *row;
	size_t i;
	json_array_foreach(rows, i, row)
	{
		struct session_id id;

		if (!session_id_parse(&id, span_of(json_string_value(json_object_get(row, "id")))))
			ck_abort_msg("no id");
		uint64_t number = id.v & UINT64_C(0x00ffffffffffffff);
		if (number > MANY || seen[number])
			ck_abort_msg("session %llu twice", (unsigned long long)number);
		seen[number] = true;
	}
	ck_assert_int_lt(sp_now_ms() - start_ms, PATIENCE_MS);
	json_decref(json);
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(stats_are_shown)
{
	counter_add(&sets[0], COUNT_LOGONS, 3);
	counter_add(&sets[1], COUNT_LOGONS, 4);
	counter_ended(&sets[1], END_KICKED);
	add_session(0, 1);
	json_t *json = ask_json("show stats");
	ck_assert_int_eq(json_integer_value(json_object_get(json, "logons")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "sessions")), 1);
	ck_assert_int_eq(json_integer_value(
			     json_object_get(json_object_get(json, "sessions_ended_by"), "kicked")),
	                 1);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(json_object_get(json, "sessions_in"), "transfer")),
	    1);
	json_decref(json);
	char *text = ask("show stats");
	ck_assert_ptr_nonnull(strstr(text, "\nlogons\t7\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nsessions_ended_by\tkicked\t1\n"));
	free(text);
}
END_TEST

START_TEST(locks_are_shown)
{
	add_session(0, 1);
	ck_assert(mailbox_post(mailboxes[1], (struct message){ .kind = MESSAGE_NOTICE }));
	json_t *json = ask_json("show locks");
	json_t *locks = json_object_get(json, "locks");
	ck_assert_uint_eq(json_array_size(locks), session_table_shards(table) + 1);
	long long taken = 0;
	json_t *row;
	size_t i;
	json_array_foreach(locks, i, row) taken +=
	    json_integer_value(json_object_get(row, "taken"));
	ck_assert_int_gt(taken, 0);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(locks, 8), "lock")),
	                 "pool legacy");
	json_t *boxes = json_object_get(json, "mailboxes");
	ck_assert_uint_eq(json_array_size(boxes), WORKERS);
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(boxes, 1), "messages")),
	                 1);
	json_decref(json);
}
END_TEST

START_TEST(pools_are_shown)
{
	json_t *json = ask_json("show pools");
	json_t *row = json_array_get(json_object_get(json, "servers"), 0);

	ck_assert_str_eq(json_string_value(json_object_get(row, "pool")), "legacy");
	ck_assert_str_eq(json_string_value(json_object_get(row, "server")), "old1");
	ck_assert_str_eq(json_string_value(json_object_get(row, "state")), "up");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "max_sessions")), 50);
	ck_assert_str_eq(json_string_value(json_object_get(row, "backup")), "no");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "share")), 100);
	row = json_array_get(json_object_get(json, "pools"), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "waiting")), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "servers")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "up")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(row, "balance")), "round_robin");
	json_decref(json);
}
END_TEST

START_TEST(orphans_are_shown_and_looked_for_on_demand)
{
	json_t *json = ask_json("show orphans");
	ck_assert(json_is_null(json_object_get(json, "last_audit_ms")));
	json_decref(json);

	add_session(1, 42); /* its ledger says two descriptors; nobody noted any */
	json = ask_json("show orphans --now");
	ck_assert_int_eq(json_integer_value(json_object_get(json, "audits")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "findings")), 2);
	json_t *row = json_array_get(json_object_get(json, "orphans"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(row, "kind")), "ledger");
	ck_assert_str_eq(json_string_value(json_object_get(row, "id")), "010000000000002a");
	json_decref(json);

	remove_sessions();
	char *text = ask("audit"); /* waits for it, as text; the client is not noted as an orphan */
	ck_assert_int_eq(strncmp(text, "findings\t0\naudits\t2\n", 20), 0);
	free(text);
}
END_TEST

START_TEST(the_configuration_is_shown)
{
	static const char *const listens[] = { "127.0.0.1:2121" };
	static const char *const servers[] = { "127.0.0.1:21" };
	struct config_errors errors = { NULL, 0 };
	struct config *loaded = config_from_command_line(listens, 1, servers, 1, &errors);

	ck_assert_ptr_nonnull(loaded);
	config_pointer = loaded;
	char *text = ask("show config");
	ck_assert_int_eq(strncmp(text, "file\t", 5), 0);
	ck_assert_ptr_nonnull(strstr(text, "127.0.0.1:2121"));
	ck_assert_ptr_nonnull(strstr(text, "\nline\n")); /* the column's name */
	free(text);
	json_t *json = ask_json("show config");
	ck_assert_str_eq(json_string_value(json_object_get(json, "file")), loaded->file);
	ck_assert_uint_gt(json_array_size(json_object_get(json, "config")), 3);
	json_decref(json);
	config_pointer = &config;
	config_unref(&loaded);
	config_errors_fini(&errors);
}
END_TEST

START_TEST(help_lists_every_command)
{
	json_t *json = ask_json("help");
	ck_assert_uint_eq(json_array_size(json_object_get(json, "commands")), ADMIN_VERB_COUNT);
	json_decref(json);
}
END_TEST

START_TEST(a_refusal_is_an_error_in_the_form_that_was_asked_for)
{
	char *text = ask("show nothing");
	ck_assert_int_eq(strncmp(text, "error: unknown command; there is: show sessions, ", 49), 0);
	free(text);
	json_t *json = ask_json("show nothing");
	ck_assert_int_eq(
	    strncmp(json_string_value(json_object_get(json, "error")), "unknown command", 15), 0);
	json_decref(json);
	sources.auditor = NULL;
	admin_stop(&admin);
	start_admin();
	text = ask("audit");
	ck_assert_str_eq(text, "error: there is no auditor\n.\n");
	free(text);
}
END_TEST

/* ---- kick
 * ---------------------------------------------------------------------------------------- */

START_TEST(kick_posts_to_the_sessions_worker)
{
	struct message got[4];

	add_session(1, 42);
	json_t *json = ask_json("kick 010000000000002a");
	ck_assert_str_eq(json_string_value(json_object_get(json, "kicked")), "010000000000002a");
	ck_assert_str_eq(json_string_value(json_object_get(json, "client")), "192.0.2.7:50000");
	json_decref(json);
	ck_assert_uint_eq(mailbox_take(mailboxes[0], got, 4), 0);
	ck_assert_uint_eq(mailbox_take(mailboxes[1], got, 4), 1);
	ck_assert_int_eq(got[0].kind, MESSAGE_KICK);
	ck_assert_uint_eq(got[0].id.v, session_id_make(1, 42).v);
	struct sp_event event;
	ck_assert_uint_eq(event_queue_take(queue, &event, 1, 0), 1);
	ck_assert_ptr_nonnull(strstr(event.text, "ends session 010000000000002a"));
}
END_TEST

START_TEST(kick_says_when_there_is_no_such_session)
{
	char *text = ask("kick 0100000000000001");
	ck_assert_str_eq(text, "error: there is no session 0100000000000001\n.\n");
	free(text);
	text = ask("kick ff00000000000001"); /* nor such a worker */
	ck_assert_str_eq(text, "error: there is no session ff00000000000001\n.\n");
	free(text);
}
END_TEST

START_TEST(kick_says_when_the_mailbox_is_full)
{
	add_session(1, 42);
	while (mailbox_post(mailboxes[1], (struct message){ .kind = MESSAGE_NOTICE }))
		;
	char *text = ask("kick 010000000000002a");
	ck_assert_str_eq(text, "error: the mailbox of worker 1 is full; ask again\n.\n");
	free(text);
}
END_TEST

START_TEST(another_user_may_look_and_not_kick)
{
	if (geteuid() != 0)
		return;
	add_session(1, 42);
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(chmod(dir, 0711), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	int fd = dial(); /* the credentials are those of the connect */
	ck_assert_int_eq(seteuid(0), 0);
	say(fd, "kick 2a\nshow stats\n");
	struct answer a = read_until(fd, ".\n");
	while (strstr(a.p, "uptime_ms") == NULL)
		turn(fd, &a);
	ck_assert_int_eq(
	    strncmp(a.p, "error: kick is for root and for the user that Sallyport runs as\n.\n",
	            66),
	    0);
	struct message got;
	ck_assert_uint_eq(mailbox_take(mailboxes[1], &got, 1), 0);
	free(a.p);
	hang_up(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admin_commands");
	TCase *tcase = tcase_create("admin_commands");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, commands_are_read);
	tcase_add_test(tcase, bad_commands_are_answered_with_what_would_be_right);
	tcase_add_test(tcase, sessions_are_shown_as_text_and_no_name_breaks_a_line);
	tcase_add_test(tcase, sessions_are_shown_as_json);
	tcase_add_test(tcase, nothing_known_is_null);
	tcase_add_test(tcase, a_long_listing_comes_whole_and_without_a_spike);
	tcase_add_test(tcase, stats_are_shown);
	tcase_add_test(tcase, locks_are_shown);
	tcase_add_test(tcase, pools_are_shown);
	tcase_add_test(tcase, orphans_are_shown_and_looked_for_on_demand);
	tcase_add_test(tcase, the_configuration_is_shown);
	tcase_add_test(tcase, help_lists_every_command);
	tcase_add_test(tcase, a_refusal_is_an_error_in_the_form_that_was_asked_for);
	tcase_add_test(tcase, kick_posts_to_the_sessions_worker);
	tcase_add_test(tcase, kick_says_when_there_is_no_such_session);
	tcase_add_test(tcase, kick_says_when_the_mailbox_is_full);
	tcase_add_test(tcase, another_user_may_look_and_not_kick);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

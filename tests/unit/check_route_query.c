// SPDX-License-Identifier: ISC
/*
 * Maps of users read from files, and the question about routes.
 */
#include "config_test.h"

#include "sallyport/config_text.h"
#include "sallyport/route_query.h"

static char folder[] = "/tmp/check_route_query.XXXXXX";

static void write_file(const char *name, const char *text, size_t n)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, n, file), n);
	fclose(file);
}

static void make_files(void)
{
	static const char conf[] =
	    "listener public { bind = \"127.0.0.1:2121\" }\n"
	    "listener inner { bind = \"127.0.0.1:2122\" }\n"
	    "pool legacy { server old1 { address = \"127.0.0.1:21\" } server old2 { address = \"127.0.0.1:22\" } }\n"
	    "pool new { server n1 { address = \"127.0.0.1:23\" } }\n"
	    "policy partner { idle_timeout = 30m }\n"
	    "route { users = { \"acme-*\" } sources = { \"198.51.100.0/24\" } pool = legacy policy = partner }\n"
	    "route { user_map = \"${SALLYPORT_TEST_FOLDER}/map\" pool = new }\n"
	    "route { times = { \"mon-fri 08:00-18:00\" } listeners = { inner } pool = new }\n"
	    "route { users = { root } reject = yes }\n";
	static const char map[] = "# users\n\nalice legacy/old2\nbob\r\n\"carol x\"\tlegacy\n  dave   new  ";

	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	setenv("SALLYPORT_TEST_FOLDER", folder, 1);
	write_file("conf", conf, sizeof(conf) - 1);
	write_file("map", map, sizeof(map) - 1);
}

static void remove_files(void)
{
	unlink("map");
	unlink("conf");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void add_line(void *ctx, const char *text)
{
	config_text_add(ctx, "%s\n", text);
}

static const struct {
	const char *question;
	enum route_answer answer;
	const char *text; /* what is said; %s: the folder; of a bad question: the error */
} questions[] = {
	{ "user=acme-1,source=198.51.100.7,time=mon 09:30", ROUTE_ANSWER_POOL,
	  "logon: listener public, source 198.51.100.7, time mon 09:30, user acme-1\n"
	  "route 1: matches: source 198.51.100.7 is in 198.51.100.0/24, user acme-1 is acme-*\n"
	  "result: pool legacy, policy partner (route 1)\n" },
	{ "time=mon 09:30,user=alice", ROUTE_ANSWER_POOL,
	  "logon: listener public, time mon 09:30, user alice\n"
	  "route 1: does not match: source (not known) is not in 198.51.100.0/24\n"
	  "route 2: matches: user alice is in %s/map\n"
	  "result: pool legacy, server old2, policy default (route 2, %s/map:3)\n" },
	{ "user=bob,time=sun 23:59,source=2001:db8::7", ROUTE_ANSWER_POOL,
	  "logon: listener public, source 2001:db8::7, time sun 23:59, user bob\n"
	  "route 1: does not match: source 2001:db8::7 is not in 198.51.100.0/24\n"
	  "route 2: matches: user bob is in %s/map\n"
	  "result: pool new, policy default (route 2, %s/map:4)\n" },
	{ "user=carol x,time=tue 00:00,listener=inner", ROUTE_ANSWER_POOL,
	  "logon: listener inner, time tue 00:00, user carol x\n"
	  "route 1: does not match: source (not known) is not in 198.51.100.0/24\n"
	  "route 2: matches: user carol x is in %s/map\n"
	  "result: pool legacy, policy default (route 2, %s/map:5)\n" },
	{ "user=root,time=tue 19:30,listener=inner", ROUTE_ANSWER_REFUSED,
	  "logon: listener inner, time tue 19:30, user root\n"
	  "route 1: does not match: source (not known) is not in 198.51.100.0/24\n"
	  "route 2: does not match: user root is not in %s/map\n"
	  "route 3: does not match: time tue 19:30 is not in mon-fri 08:00-18:00\n"
	  "route 4: matches: user root is root\n"
	  "result: refused with 530 (route 4 says reject)\n" },
	{ "user=a\\,b\\\\,host=ftp.example.net,time=tue 19:30,certificate=CN=a,O=b", ROUTE_ANSWER_REFUSED,
	  "logon: listener public, host ftp.example.net, certificate CN=a,O=b, time tue 19:30, user a,b\\\n"
	  "route 1: does not match: source (not known) is not in 198.51.100.0/24\n"
	  "route 2: does not match: user a,b\\ is not in %s/map\n"
	  "route 3: does not match: listener public is not inner\n"
	  "route 4: does not match: user a,b\\ is not root\n"
	  "result: refused with 530 (no route matches)\n" },
	{ "source=203.0.113.1,time=tue 19:30", ROUTE_ANSWER_REFUSED,
	  "logon: listener public, source 203.0.113.1, time tue 19:30, before USER\n"
	  "route 1: does not match: source 203.0.113.1 is not in 198.51.100.0/24\n"
	  "route 2: does not match: user (not known yet) is not in %s/map\n"
	  "result: not known before USER, say user=... (route 2 depends on it)\n" },
	{ "", ROUTE_ANSWER_BAD, "--route: \"\" is not NAME=VALUE" },
	{ "user=a,", ROUTE_ANSWER_BAD, "--route: \"\" is not NAME=VALUE" },
	{ "user", ROUTE_ANSWER_BAD, "--route: \"user\" is not NAME=VALUE" },
	{ "user=", ROUTE_ANSWER_BAD, "--route: user \"\" is empty" },
	{ "user=a,user=b", ROUTE_ANSWER_BAD, "--route: \"user\" is there twice" },
	{ "password=a", ROUTE_ANSWER_BAD,
	  "--route: \"password\" is not one of: listener, source, host, time, user, certificate" },
	{ "user_map=a", ROUTE_ANSWER_BAD,
	  "--route: \"user_map\" is not one of: listener, source, host, time, user, certificate" },
	{ "listener=x", ROUTE_ANSWER_BAD, "--route: listener \"x\" is not in the configuration" },
	{ "source=1.2.3", ROUTE_ANSWER_BAD,
	  "--route: source \"1.2.3\" is not an address (like 198.51.100.7 or 2001:db8::7)" },
	{ "time=25:00", ROUTE_ANSWER_BAD, "--route: time \"25:00\" is not a moment (like 09:30 or mon 09:30)" },
};

/* The text with the folder in place of each %s. */
static char *with_folder(const char *text)
{
	struct config_text out = { 0 };

	for (const char *at; (at = strstr(text, "%s")) != NULL; text = at + 2) {
		config_text_bytes(&out, text, (size_t)(at - text));
		config_text_add(&out, "%s", folder);
	}
	config_text_add(&out, "%s", text);
	return config_text_take(&out);
}

START_TEST(a_question_about_routes_is_answered)
{
	struct config_errors errors;
	struct config *config = config_load("conf", &errors, NULL);
	struct config_text text = { 0 };
	char error[ROUTE_QUERY_ERROR_MAX] = "";
	char *wanted = with_folder(questions[_i].text);

	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_int_eq(route_query(config, questions[_i].question, add_line, &text, error),
	                 questions[_i].answer);
	ck_assert_str_eq(questions[_i].answer == ROUTE_ANSWER_BAD ? error : config_text_get(&text), wanted);
	free(wanted);
	config_text_fini(&text);
	config_unref(&config);
	config_errors_fini(&errors);
}
END_TEST

static const struct {
	const char *map;
	size_t n;
	const char *error; /* behind "FOLDER/map:" */
} broken_maps[] = {
#define MAP(text, error) { text, sizeof(text) - 1, error }
	MAP("bob\nalice legacy/old3\n", "2: user_map: \"old3\" is not the name of a server of pool legacy"),
	MAP("bob lgacy", "1: user_map: \"lgacy\" is not the name of a pool"),
	MAP("bob legacy/", "1: user_map: \"\" is not the name of a server of pool legacy"),
	MAP("a\nbob legacy x", "2: user_map: is not: USER, or USER POOL, or USER POOL/SERVER"),
	MAP("\"bob legacy", "1: user_map: is not: USER, or USER POOL, or USER POOL/SERVER"),
	MAP("\"bob\"x legacy", "1: user_map: is not: USER, or USER POOL, or USER POOL/SERVER"),
	MAP("\"\" legacy", "1: user_map: is not: USER, or USER POOL, or USER POOL/SERVER"),
	MAP("a\0b", "1: user_map: is not: USER, or USER POOL, or USER POOL/SERVER"),
	MAP("a\nb\n\na legacy\n", "4: user_map: user \"a\" is in line 1 as well"),
#undef MAP
};

START_TEST(a_mistake_in_a_map_is_told_with_its_line)
{
	struct config_errors errors;
	char wanted[256];

	write_file("map", broken_maps[_i].map, broken_maps[_i].n);
	ck_assert_ptr_null(config_load("conf", &errors, NULL));
	ck_assert_uint_eq(errors.n, 1);
	snprintf(wanted, sizeof(wanted), "%s/map:%s", folder, broken_maps[_i].error);
	ck_assert_str_eq(errors.lines[0], wanted);
	config_errors_fini(&errors);
}
END_TEST

START_TEST(a_map_that_cannot_be_read_is_told_where_it_is_named)
{
	struct config_errors errors;
	char wanted[256];

	unlink("map");
	ck_assert_ptr_null(config_load("conf", &errors, NULL));
	ck_assert_uint_eq(errors.n, 1);
	snprintf(wanted, sizeof(wanted), "conf:7: user_map: \"%s/map\": No such file or directory", folder);
	ck_assert_str_eq(errors.lines[0], wanted);
	config_errors_fini(&errors);
}
END_TEST

/* A route without a pool of its own. */
START_TEST(without_a_pool_of_the_route_each_user_needs_one)
{
	static const char conf[] = "listener l { bind = \"127.0.0.1:2121\" }\n"
	                           "pool p { server s { address = \"127.0.0.1:21\" } }\n"
	                           "pool q { server s { address = \"127.0.0.1:22\" } }\n"
	                           "route { user_map = \"${SALLYPORT_TEST_FOLDER}/map\" }\n";
	struct config_errors errors;
	struct config_errors warnings;
	struct config_text text = { 0 };
	struct config *config;
	char error[ROUTE_QUERY_ERROR_MAX];
	char wanted[256];

	write_file("conf", conf, sizeof(conf) - 1);
	write_file("map", "a p\nb\n", 6);
	ck_assert_ptr_null(config_load("conf", &errors, NULL));
	ck_assert_uint_eq(errors.n, 1);
	snprintf(wanted, sizeof(wanted), "%s/map:2: user_map: user \"b\" has no pool, and neither has the route",
	         folder);
	ck_assert_str_eq(errors.lines[0], wanted);
	config_errors_fini(&errors);

	write_file("map", "a p\nb q\n", 8);
	config = config_load("conf", &errors, &warnings);
	ck_assert_ptr_nonnull(config);
	ck_assert_uint_eq(warnings.n, 0); /* both pools are of use */
	config_errors_fini(&warnings);
	ck_assert_int_eq(route_query(config, "time=mon 00:00,user=b", add_line, &text, error), ROUTE_ANSWER_POOL);
	ck_assert_ptr_nonnull(strstr(config_text_get(&text), "result: pool q, policy default (route 1, "));
	config_text_fini(&text);
	config_explain(config, add_line, &text);
	ck_assert_ptr_nonnull(strstr(config_text_get(&text), "/map: the map's pool, else none, policy default (2 users)"));
	config_text_fini(&text);
	config_unref(&config);
	config_errors_fini(&errors);
}
END_TEST

START_TEST(a_map_of_100000_users_is_taken)
{
	struct config_errors errors;
	struct config *config;
	FILE *file = fopen("map", "w");
	char name[32];

	ck_assert_ptr_nonnull(file);
	for (int i = 0; i < 100000; i++)
		fprintf(file, "user-%d %s\n", i, i % 2 == 0 ? "legacy/old1" : "new");
	fclose(file);
	config = config_load("conf", &errors, NULL);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_uint_eq(config->routes[1].map->n, 100000);
	for (unsigned i = 0; i < 100000; i += 7) {
		const struct user_map_entry *entry;

		snprintf(name, sizeof(name), "user-%u", i);
		entry = user_map_find(config->routes[1].map, span_of(name));
		ck_assert_ptr_nonnull(entry);
		ck_assert_uint_eq(entry->line, i + 1);
		ck_assert_uint_eq(entry->pool, i % 2);
	}
	config_unref(&config);
	config_errors_fini(&errors);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route_query");
	TCase *tc = tcase_create("route_query");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, make_files, remove_files);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_question_about_routes_is_answered, 0, SP_ARRAY_LEN(questions));
	tcase_add_loop_test(tc, a_mistake_in_a_map_is_told_with_its_line, 0, SP_ARRAY_LEN(broken_maps));
	tcase_add_test(tc, a_map_that_cannot_be_read_is_told_where_it_is_named);
	tcase_add_test(tc, without_a_pool_of_the_route_each_user_needs_one);
	tcase_add_test(tc, a_map_of_100000_users_is_taken);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

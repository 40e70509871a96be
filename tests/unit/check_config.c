// SPDX-License-Identifier: ISC
/*
 * The configuration: files with mistakes and their exact messages, the
 * one-liner, the explanation, and running out of memory. The files are in config/: what is expected
 * of one stands in its lines "#! error" and "#? warning".
 */
#include "config_test.h"

#include <glob.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "alloc_fail.h"
#include "sallyport/config.h"
#include "sallyport/config_text.h"

/* --- what files say is expected of them ------------------------------------- */

/* The lines of the file that begin with `mark`, without it, each with its line end. */
static char *expected_of(const char *path, const char *mark)
{
	struct config_text wanted = { 0 };
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	ck_assert_ptr_nonnull(file);
	while ((n = getline(&line, &size, file)) > 0) {
		if (strncmp(line, mark, strlen(mark)) == 0)
			config_text_bytes(&wanted, line + strlen(mark), (size_t)n - strlen(mark));
	}
	free(line);
	fclose(file);
	return config_text_take(&wanted);
}

static char *joined(const struct config_errors *list)
{
	struct config_text text = { 0 };

	for (size_t i = 0; i < list->n; i++)
		config_text_add(&text, "%s\n", list->lines[i]);
	return config_text_take(&text);
}

static void assert_expected(const char *path, const char *mark, const struct config_errors *list)
{
	char *wanted = expected_of(path, mark);
	char *got = joined(list);

	ck_assert_msg(strcmp(wanted, got) == 0, "%s\nwanted:\n%sgot:\n%s", path, wanted, got);
	free(wanted);
	free(got);
}

START_TEST(each_broken_file_gets_its_exact_errors)
{
	glob_t files;

	go_to("tests/unit/config/broken");
	ck_assert_int_eq(glob("*.conf", 0, NULL, &files), 0);
	ck_assert_uint_ge(files.gl_pathc, 60);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct config_errors errors;
		struct config_errors warnings;
		struct config *config = config_load(files.gl_pathv[i], &errors, &warnings);

		ck_assert_msg(config == NULL, "%s was taken", files.gl_pathv[i]);
		ck_assert_msg(errors.n > 0, "%s: no error", files.gl_pathv[i]);
		assert_expected(files.gl_pathv[i], "#! ", &errors);
		config_errors_fini(&errors);
		config_errors_fini(&warnings);
	}
	globfree(&files);
}
END_TEST

START_TEST(each_good_file_is_taken_with_its_exact_warnings)
{
	glob_t files;

	go_to("tests/unit/config/good");
	ck_assert_int_eq(glob("*.conf", 0, NULL, &files), 0);
	ck_assert_uint_ge(files.gl_pathc, 5);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct config_errors errors;
		struct config_errors warnings;
		struct config *config = config_load(files.gl_pathv[i], &errors, &warnings);

		assert_expected(files.gl_pathv[i], "#! ", &errors);
		assert_expected(files.gl_pathv[i], "#? ", &warnings);
		ck_assert_ptr_nonnull(config);
		ck_assert_str_eq(config->file, files.gl_pathv[i]);
		config_unref(&config);
		ck_assert_ptr_null(config);
		config_errors_fini(&errors);
		config_errors_fini(&warnings);
	}
	globfree(&files);
}
END_TEST

/* One error, exactly this. */
static void assert_refused(const char *path, const char *message)
{
	struct config_errors errors;
	struct config *config = config_load(path, &errors, NULL);

	ck_assert_ptr_null(config);
	ck_assert_uint_eq(errors.n, 1);
	ck_assert_str_eq(errors.lines[0], message);
	config_errors_fini(&errors);
	ck_assert_uint_eq(errors.n, 0);
}

START_TEST(a_file_that_cannot_be_read_is_an_error)
{
	char directory[] = "/tmp/check_config.XXXXXX";
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	assert_refused("missing.conf", "missing.conf: cannot be read: No such file or directory");
	assert_refused(".", ".: cannot be read: Is a directory");
	file = fopen("big.conf", "w");
	ck_assert_ptr_nonnull(file);
	for (int i = 0; i < 70000; i++)
		fputs("# a long comment\n", file);
	fclose(file);
	assert_refused("big.conf", "big.conf: cannot be read: it is larger than 1 MiB");
	unlink("big.conf");
	if (geteuid() != 0) { /* root may read anything */
		file = fopen("closed.conf", "w");
		ck_assert_ptr_nonnull(file);
		fclose(file);
		ck_assert_int_eq(chmod("closed.conf", 0), 0);
		assert_refused("closed.conf", "closed.conf: cannot be read: Permission denied");
		unlink("closed.conf");
	}
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(errors_are_shown_up_to_a_limit_and_the_rest_is_counted)
{
	char path[] = "/tmp/check_config.XXXXXX";
	int fd = mkstemp(path);
	struct config_errors errors;
	FILE *file;
	char last[128];

	ck_assert_int_ge(fd, 0);
	file = fdopen(fd, "w");
	ck_assert_ptr_nonnull(file);
	for (int i = 0; i < 250; i++)
		fputs("nonsense = 1\n", file);
	fclose(file);
	ck_assert_ptr_null(config_load(path, &errors, NULL));
	unlink(path);
	ck_assert_uint_eq(errors.n, 201);
	snprintf(last, sizeof(last), "%s: 50 more are not shown", path);
	ck_assert_str_eq(errors.lines[200], last);
	config_errors_fini(&errors);
}
END_TEST

START_TEST(a_bad_reload_leaves_no_trace_for_the_next_one)
{
	/* libconfuse's include stack, scanner state and descriptors would run out. */
	for (int i = 0; i < 50; i++) {
		struct config_errors errors;
		struct config *config;

		go_to("tests/unit/config/broken");
		ck_assert_ptr_null(config_load("include-errors-in-both.conf", &errors, NULL));
		ck_assert_uint_eq(errors.n, 3);
		config_errors_fini(&errors);
		ck_assert_ptr_null(config_load("string-not-closed-at-end.conf", &errors, NULL));
		config_errors_fini(&errors);
		config = load_good("includes.conf");
		config_unref(&config);
	}
}
END_TEST

/* --- the one-liner ---------------------------------------------------------------- */

START_TEST(the_one_liner_makes_a_listener_a_pool_and_a_route)
{
	const char *const listens[] = { "127.0.0.1:2121", "[::1]:2121" };
	const char *const servers[] = { "192.0.2.10", "ftp.example.net:2100" };
	struct config_errors errors;
	struct config *config = config_from_command_line(listens, 2, servers, 2, &errors);

	ck_assert_ptr_nonnull(config);
	ck_assert_uint_eq(errors.n, 0);
	ck_assert_str_eq(config->file, "(command line)");
	ck_assert_str_eq(config->admin.socket, "");
	ck_assert_uint_eq(config->listeners_n, 1);
	ck_assert_str_eq(config->listeners[0].name, "main");
	ck_assert_uint_eq(config->listeners[0].binds_n, 2);
	assert_address(&config->listeners[0].binds[1], "[::1]:2121");
	ck_assert_str_eq(config->pools[0].name, "main");
	ck_assert_uint_eq(config->pools[0].servers_n, 2);
	ck_assert_str_eq(config->pools[0].servers[0].name, "server1");
	ck_assert_str_eq(config->pools[0].servers[1].host, "ftp.example.net");
	ck_assert_uint_eq(config->pools[0].servers[1].port, 2100);
	ck_assert_uint_eq(config->routes_n, 1);
	ck_assert_uint_eq(config->policies_n, 1);
	ck_assert_int_eq(config->drain_timeout_ms, 30000);
	config_unref(&config);
}
END_TEST

static const struct {
	const char *listen;
	const char *server;
	const char *message;
} bad_one_liners[] = {
	{ NULL, "192.0.2.1", "--listen: is missing: at least one address to listen on" },
	{ "127.0.0.1:2121", NULL, "--server: is missing: at least one FTP server" },
	{ "2121", "192.0.2.1",
	  "--listen: \"2121\" is not an address and port (like 0.0.0.0:21 or [::]:21)" },
	{ "it's\\ ${HOME} \"x\"", "192.0.2.1",
	  "--listen: \"it's\\ ${HOME} \"x\"\" is not an address and port (like 0.0.0.0:21 or "
	  "[::]:21)" },
	{ "a\nb", "192.0.2.1",
	  "--listen: \"a\\x0ab\" is not an address and port (like 0.0.0.0:21 or [::]:21)" },
	{ "127.0.0.1:2121", "a\\\n'} workers = 0",
	  "--server: \"a\\\\x0a'} workers = 0\" is not a server (like 192.0.2.7:21, "
	  "[2001:db8::7]:21 or "
	  "ftp.example.net:21)" },
	{ "127.0.0.1:2121", "",
	  "--server: \"\" is not a server (like 192.0.2.7:21, [2001:db8::7]:21 or "
	  "ftp.example.net:21)" },
	{ "127.0.0.1:2121", "127.0.0.1:2121",
	  "--server: \"127.0.0.1:2121\" is an address of listener main: logons would come back to "
	  "it" },
};

START_TEST(a_bad_one_liner_names_the_option)
{
	const char *listen = bad_one_liners[_i].listen;
	const char *server = bad_one_liners[_i].server;
	struct config_errors errors;
	char wanted[256];

	ck_assert_ptr_null(
	    config_from_command_line(&listen, listen != NULL, &server, server != NULL, &errors));
	ck_assert_uint_eq(errors.n, 1);
	snprintf(wanted, sizeof(wanted), "(command line): %s", bad_one_liners[_i].message);
	ck_assert_str_eq(errors.lines[0], wanted);
	config_errors_fini(&errors);
}
END_TEST

START_TEST(the_same_address_twice_is_an_error_in_the_one_liner)
{
	const char *const listens[] = { "127.0.0.1:2121", "127.0.0.1:2121" };
	const char *const servers[] = { "192.0.2.1" };
	struct config_errors errors;

	ck_assert_ptr_null(config_from_command_line(listens, 2, servers, 1, &errors));
	ck_assert_uint_eq(errors.n, 1);
	ck_assert_str_eq(errors.lines[0],
	                 "(command line): --listen: \"127.0.0.1:2121\" is given twice");
	config_errors_fini(&errors);
}
END_TEST

/* --- the explanation --------------------------------------------------------------- */

static void add_line(void *ctx, const char *text)
{
	config_text_add(ctx, "%s\n", text);
}

/* The golden text is what an operator is meant to read: look at it when it changes. */
START_TEST(the_explanation_is_as_it_was_written_down)
{
	static const char *const names[] = { "everything", "explained", "explained-implied", "balancers",
		                             "health",     "pooled",    "names" };
	struct config *config;
	struct config_text got = { 0 };
	char path[64];
	char *wanted;

	go_to("tests/unit/config/good");
	snprintf(path, sizeof(path), "%s.conf", names[_i]);
	config = load_good(path);
	config_explain(config, add_line, &got);
	snprintf(path, sizeof(path), "%s.txt", names[_i]);
	wanted = read_text(path);
	ck_assert_msg(strcmp(wanted, config_text_get(&got)) == 0, "%s: got:\n%s", path,
	              config_text_get(&got));
	free(wanted);
	config_text_fini(&got);
	config_unref(&config);
}
END_TEST

/* --- references and memory ---------------------------------------------------------- */

START_TEST(the_last_unref_frees)
{
	struct config *config = load_good("minimal.conf");
	struct config *second = config_ref(config);

	ck_assert_ptr_eq(config, second);
	config_unref(&config);
	ck_assert_ptr_null(config);
	ck_assert_str_eq(second->listeners[0].name, "main");
	ck_assert_uint_eq(atomic_load(&second->refs), 1);
	config_unref(&second);
	config_unref(&second); /* NULL is fine */
}
END_TEST

/* Calls `make` with the n-th allocation failing, n = 1, 2, …, until it succeeds. */
static void fail_each(struct config *(*make)(struct config_errors *errors), bool good)
{
	for (unsigned n = 1;; n++) {
		struct config_errors errors;
		struct config *config;
		bool failed;

		alloc_fail_at(n);
		config = make(&errors);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_uint_lt(n, 20000);
		if (!failed) {
			ck_assert(good == (config != NULL));
			ck_assert_uint_gt(n, 20);
			config_unref(&config);
			config_errors_fini(&errors);
			return;
		}
		ck_assert_msg(config == NULL, "allocation %u failed and nobody noticed", n);
		ck_assert_uint_gt(errors.n, 0);
		config_errors_fini(&errors);
	}
}

static struct config *load_everything(struct config_errors *errors)
{
	return config_load("everything.conf", errors, NULL);
}

static struct config *load_includes(struct config_errors *errors)
{
	return config_load("includes.conf", errors, NULL);
}

static struct config *load_broken(struct config_errors *errors)
{
	return config_load("../broken/several-of-everything.conf", errors, NULL);
}

static struct config *make_one_liner(struct config_errors *errors)
{
	const char *const listens[] = { "127.0.0.1:2121" };
	const char *const servers[] = { "ftp.example.net", "192.0.2.1" };

	return config_from_command_line(listens, 1, servers, 2, errors);
}

START_TEST(every_failing_allocation_is_an_error_and_nothing_leaks)
{
	go_to("tests/unit/config/good");
	fail_each(load_everything, true);
	fail_each(load_includes, true);
	fail_each(load_broken, false);
	fail_each(make_one_liner, true);
}
END_TEST

/* No assertion here: libcheck's own allocations fail as well. */
static void count_line(void *ctx, const char *text)
{
	*(unsigned *)ctx += text != NULL;
}

START_TEST(the_explanation_survives_failing_allocations)
{
	struct config *config = load_good("everything.conf");
	unsigned lines = 0;
	bool failed = true;

	config_explain(config, count_line, &lines);
	for (unsigned n = 1; failed; n++) {
		unsigned got = 0;

		alloc_fail_at(n);
		config_explain(config, count_line, &got);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_uint_eq(got, lines); /* a line may be empty, none is missing */
	}
	config_unref(&config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tcase = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, each_broken_file_gets_its_exact_errors);
	tcase_add_test(tcase, each_good_file_is_taken_with_its_exact_warnings);
	tcase_add_test(tcase, a_file_that_cannot_be_read_is_an_error);
	tcase_add_test(tcase, errors_are_shown_up_to_a_limit_and_the_rest_is_counted);
	tcase_add_test(tcase, a_bad_reload_leaves_no_trace_for_the_next_one);
	tcase_add_test(tcase, the_one_liner_makes_a_listener_a_pool_and_a_route);
	tcase_add_loop_test(tcase, a_bad_one_liner_names_the_option, 0,
	                    (int)SP_ARRAY_LEN(bad_one_liners));
	tcase_add_test(tcase, the_same_address_twice_is_an_error_in_the_one_liner);
	tcase_add_loop_test(tcase, the_explanation_is_as_it_was_written_down, 0, 7);
	tcase_add_test(tcase, the_last_unref_frees);
	tcase_add_test(tcase, every_failing_allocation_is_an_error_and_nothing_leaks);
	tcase_add_test(tcase, the_explanation_survives_failing_allocations);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

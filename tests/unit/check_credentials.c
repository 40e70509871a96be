// SPDX-License-Identifier: ISC
/*
 * Credentials: lines by table, who may use which entry, and the file: its mode,
 * its messages (which show nothing of a secret), failing memory.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "sallyport/config_credentials.h"
#include "sallyport/secret_file.h"
#include "sallyport/secret_keeper.h"

static const struct {
	const char *line;
	const char *who; /* NULL: refused, `why` has the text */
	const char *user;
	const char *password;
	const char *account;
	const char *why;
} lines[] = {
	{ "", "", "", "", "", NULL },
	{ " \t ", "", "", "", "", NULL },
	{ "# a b c", "", "", "", "", NULL },
	{ "a b c", "a", "b", "c", "", NULL },
	{ "  a\tb \t c  ", "a", "b", "c", "", NULL },
	{ "a b c d", "a", "b", "c", "d", NULL },
	{ "a b c # d e", "a", "b", "c", "", NULL },
	{ "a b c#d", "a", "b", "c#d", "", NULL },
	{ "a b \"#c\"", "a", "b", "#c", "", NULL },
	{ "\"CN=a b,O=c\" u \"p w\"", "CN=a b,O=c", "u", "p w", "", NULL },
	{ "a b \"\"", "a", "b", "", "", NULL },
	{ "a b \"q\\\"q\\\\\"", "a", "b", "q\"q\\", "", NULL },
	{ "a b back\\slash", "a", "b", "back\\slash", "", NULL },
	{ "a b \xc3\xa4", "a", "b", "\xc3\xa4", "", NULL },
	{ "a", NULL, NULL, NULL, NULL, "three or four words" },
	{ "a b", NULL, NULL, NULL, NULL, "three or four words" },
	{ "a b c d e", NULL, NULL, NULL, NULL, "three or four words" },
	{ "a b c d e f", NULL, NULL, NULL, NULL, "three or four words" },
	{ "a b \"c", NULL, NULL, NULL, NULL, "not closed" },
	{ "a b \"c\\\"", NULL, NULL, NULL, NULL, "not closed" },
	{ "a b \"c\\", NULL, NULL, NULL, NULL, "not closed" },
	{ "a b \"c\"d", NULL, NULL, NULL, NULL, "ends within" },
	{ "a b c\"d\"", NULL, NULL, NULL, NULL, "begins within" },
	{ "a b c\x01", NULL, NULL, NULL, NULL, "control" },
	{ "a b c\x7f", NULL, NULL, NULL, NULL, "control" },
	{ "a b\r c", NULL, NULL, NULL, NULL, "control" },
	{ "[a b c", NULL, NULL, NULL, NULL, "not a pattern" },
	{ "\"\" b c", NULL, NULL, NULL, NULL, "not a pattern" },
	{ "a \"\" c", NULL, NULL, NULL, NULL, "user is empty" },
};

static void assert_span(struct span got, const char *wanted)
{
	ck_assert_uint_eq(got.n, strlen(wanted));
	ck_assert_int_eq(memcmp(got.n > 0 ? got.p : "", wanted, got.n), 0);
}

START_TEST(a_line)
{
	char *line = strdup(lines[_i].line);
	struct credentials_entry entry;
	const char *why = NULL;
	bool ok = credentials_parse_line(line, strlen(line), &entry, &why);

	ck_assert_int_eq(ok, lines[_i].who != NULL);
	if (ok) {
		assert_span(entry.who, lines[_i].who);
		assert_span(entry.user, lines[_i].user);
		assert_span(entry.password, lines[_i].password);
		assert_span(entry.account, lines[_i].account);
	} else {
		ck_assert_ptr_nonnull(strstr(why, lines[_i].why));
	}
	free(line);
}
END_TEST

START_TEST(a_word_has_its_limit)
{
	char line[CREDENTIALS_WORD_MAX + 16];
	struct credentials_entry entry;
	const char *why = NULL;

	memset(line, 'x', sizeof(line));
	memcpy(line, "a b ", 4);
	ck_assert(credentials_parse_line(line, 4 + CREDENTIALS_WORD_MAX, &entry, &why));
	ck_assert_uint_eq(entry.password.n, CREDENTIALS_WORD_MAX);
	ck_assert(!credentials_parse_line(line, 5 + CREDENTIALS_WORD_MAX, &entry, &why));
	ck_assert_ptr_nonnull(strstr(why, "1024"));
}
END_TEST

/* --- the file ---------------------------------------------------------------------- */

static char path[64];

static void write_file(const char *text, mode_t mode)
{
	int fd;

	sp_copy(path, sizeof(path), "/tmp/check_credentials.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static struct credentials *load(const char *text, char error[CREDENTIALS_ERROR_MAX])
{
	struct credentials *made;

	write_file(text, 0600);
	made = credentials_load(path, error);
	unlink(path);
	return made;
}

START_TEST(the_first_entry_that_fits_is_taken)
{
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *c = load("# users\r\n\r\nacme-* one p1\r\nacme-2 two p2\r\n* rest \"\"", error);
	const struct credentials_entry *found;

	ck_assert_msg(c != NULL, "%s", error);
	ck_assert_uint_eq(c->n, 3);
	found = credentials_for_user(c, span_of("acme-2"));
	ck_assert_ptr_nonnull(found);
	assert_span(found->user, "one");
	ck_assert_uint_eq(found->line, 3);
	assert_span(credentials_for_user(c, span_of("ACME-2"))->user, "rest");
	credentials_free(&c);
	ck_assert_ptr_null(c);
}
END_TEST

START_TEST(a_certificate_stands_for_the_users_that_it_is_named_with)
{
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *c = load("CN=alice,* alice pa\nemail:al*@x.test alice pb\nCN=alice,* shared ps\n", error);
	const struct span alice[] = { span_of("cn=ALICE,O=Acme"), span_of("email:al@x.test") };
	const struct span mail[] = { span_of("CN=bob,O=Acme"), span_of("email:al@x.test") };
	const struct span none[] = { span_of("CN=alice") };

	ck_assert_msg(c != NULL, "%s", error);
	assert_span(credentials_for_certificate(c, alice, 2, span_of("alice"))->password, "pa");
	assert_span(credentials_for_certificate(c, mail, 2, span_of("alice"))->password, "pb");
	assert_span(credentials_for_certificate(c, alice, 2, span_of("shared"))->password, "ps");
	ck_assert_ptr_null(credentials_for_certificate(c, mail, 2, span_of("shared")));
	ck_assert_ptr_null(credentials_for_certificate(c, alice, 2, span_of("Alice")));
	ck_assert_ptr_null(credentials_for_certificate(c, alice, 2, span_of("bob")));
	ck_assert_ptr_null(credentials_for_certificate(c, none, 1, span_of("alice")));
	ck_assert_ptr_null(credentials_for_certificate(c, none, 0, span_of("alice")));
	credentials_free(&c);
}
END_TEST

START_TEST(a_mistake_is_named_by_its_line_and_nothing_secret_is_shown)
{
	char error[CREDENTIALS_ERROR_MAX];

	ck_assert_ptr_null(load("a b c\nwho me s3cret d e\n", error));
	ck_assert_ptr_nonnull(strstr(error, "line 2: an entry has"));
	ck_assert_ptr_nonnull(strstr(error, path));
	ck_assert_ptr_null(strstr(error, "s3cret"));
	ck_assert_ptr_null(load("\n# nothing\n", error));
	ck_assert_ptr_nonnull(strstr(error, "there is no entry in it"));
	ck_assert_ptr_null(credentials_load("/nowhere/at/all", error));
	ck_assert_ptr_nonnull(strstr(error, "No such file"));
	ck_assert_ptr_null(credentials_load("/tmp", error));
	ck_assert_ptr_nonnull(strstr(error, "not a file"));
}
END_TEST

START_TEST(a_file_that_others_can_read_is_refused)
{
	static const mode_t bad[] = { 0640, 0604, 0644, 0660, 0601 };
	static const mode_t good[] = { 0600, 0400 };
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *c;

	for (size_t i = 0; i < SP_ARRAY_LEN(bad); i++) {
		write_file("a b c\n", bad[i]);
		ck_assert_ptr_null(credentials_load(path, error));
		ck_assert_ptr_nonnull(strstr(error, "0600"));
		unlink(path);
	}
	for (size_t i = 0; i < SP_ARRAY_LEN(good); i++) {
		write_file("a b c\n", good[i]);
		c = credentials_load(path, error);
		ck_assert_msg(c != NULL, "%s", error);
		credentials_free(&c);
		unlink(path);
	}
}
END_TEST

START_TEST(without_memory_nothing_is_made)
{
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *c = NULL;
	bool failed = true;

	write_file("a b c\nd e f\n", 0600);
	for (unsigned i = 1; failed; i++) {
		alloc_fail_at(i);
		c = credentials_load(path, error);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_int_eq(c == NULL, failed);
		credentials_free(&c);
		ck_assert_uint_lt(i, 20);
	}
	unlink(path);
}
END_TEST

/* --- the keeper ---------------------------------------------------------------------- */

START_TEST(the_keeper_opens_what_it_was_told_of_and_nothing_else)
{
	struct secret secret;
	char error[SECRET_FILE_ERROR_MAX];
	const char *paths[1] = { path };
	char byte;
	int fd;

	write_file("key", 0600);
	ck_assert_int_eq(secret_keeper_open(path), -EACCES);
	ck_assert_int_eq(secret_keeper_start(paths, 1), 0);
	for (int i = 0; i < 3; i++) {
		fd = secret_keeper_open(path);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		ck_assert_int_eq(read(fd, &byte, 1), 1);
		close(fd);
	}
	ck_assert_int_eq(secret_keeper_open("/etc/passwd"), -EACCES);
	unlink(path);
	ck_assert_int_eq(secret_keeper_open(path), -ENOENT);
	secret_keeper_stop();
	ck_assert_int_eq(secret_keeper_open(path), -EACCES);
	ck_assert(!secret_file_read(path, SECRET_ANY_MODE, &secret, error));
	ck_assert_str_eq(error, "No such file or directory");
}
END_TEST

START_TEST(who_is_not_root_reads_a_key_of_root_through_the_keeper)
{
	struct secret secret;
	char error[SECRET_FILE_ERROR_MAX];
	const char *paths[1] = { path };

	if (geteuid() != 0)
		return;
	write_file("key of root", 0600);
	ck_assert_int_eq(secret_keeper_start(paths, 1), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	ck_assert_int_lt(open(path, O_RDONLY), 0);
	ck_assert_msg(secret_file_read(path, SECRET_OURS_ALONE, &secret, error), "%s", error);
	ck_assert_str_eq(secret.p, "key of root");
	secret_free(&secret);
	ck_assert_ptr_null(secret.p);
	ck_assert_int_eq(seteuid(0), 0);
	secret_keeper_stop();
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credentials");
	TCase *tcase = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, a_line, 0, (int)SP_ARRAY_LEN(lines));
	tcase_add_test(tcase, a_word_has_its_limit);
	tcase_add_test(tcase, the_first_entry_that_fits_is_taken);
	tcase_add_test(tcase, a_certificate_stands_for_the_users_that_it_is_named_with);
	tcase_add_test(tcase, a_mistake_is_named_by_its_line_and_nothing_secret_is_shown);
	tcase_add_test(tcase, a_file_that_others_can_read_is_refused);
	tcase_add_test(tcase, without_memory_nothing_is_made);
	tcase_add_test(tcase, the_keeper_opens_what_it_was_told_of_and_nothing_else);
	tcase_add_test(tcase, who_is_not_root_reads_a_key_of_root_through_the_keeper);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

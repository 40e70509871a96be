// SPDX-License-Identifier: ISC
/* features: reading FEAT, what servers have in common, what a policy leaves, the answer. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/features.h"

static const struct policy open_policy = { .name = "open" };

static struct features read_text(const char *reply)
{
	struct features f;

	features_read(&f, span_of(reply));
	return f;
}

/* From lines ended by LF. */
static struct features of(const char *lines)
{
	struct features f = { .n = strlen(lines) };

	memcpy(f.text, lines, f.n);
	return f;
}

static void assert_lines(const struct features *f, const char *lines)
{
	char text[FEATURES_BYTES_MAX + 1];

	memcpy(text, f->text, f->n);
	text[f->n] = '\0';
	ck_assert_str_eq(text, lines);
}

static const struct {
	const char *reply;
	const char *lines;
} read_cases[] = {
	{ "211-Features:\r\n MDTM\r\n REST STREAM\r\n211 End\r\n", "MDTM\nREST STREAM\n" },
	/* the shapes of real servers: no space, a code on each line, a tab, LF alone, blank lines */
	{ "211-Features:\r\nMDTM\r\n\tSIZE \r\n211 End\r\n", "MDTM\nSIZE\n" },
	{ "211-Features:\r\n211-MDTM\r\n211-SIZE\r\n211 End\r\n", "MDTM\nSIZE\n" },
	{ "211-Features:\n MDTM\n\n SIZE\n211 End\n", "MDTM\nSIZE\n" },
	{ "211-Features:\r\n MLST type*;size*; \r\n211 End\r\n", "MLST type*;size*;\n" },
	/* ours, or nobody's, to promise */
	{ "211-F\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n EPSV\r\n UTF8\r\n MODE Z\r\n HOST\r\n pret\r\n SIZE\r\n211 End\r\n",
	  "SIZE\n" },
	/* no features, no list, no 211 */
	{ "211 No features.\r\n", "" },
	{ "211-\r\n211 End\r\n", "" },
	{ "500 What?\r\n", "" },
	{ "502-Never\r\n MDTM\r\n502 heard\r\n", "" },
	{ "", "" },
	{ "211-F\r\n A\001B\r\n SIZE\r\n211 End\r\n", "SIZE\n" },
};

START_TEST(a_servers_answer_is_read_in_every_shape)
{
	struct features f = read_text(read_cases[_i].reply);

	assert_lines(&f, read_cases[_i].lines);
}
END_TEST

START_TEST(lines_that_do_not_fit_are_left_out)
{
	static char reply[3 * FEATURES_BYTES_MAX];
	struct features f;
	size_t n = 0;

	n += (size_t)snprintf(reply, sizeof(reply), "211-F\r\n SIZE\r\n ");
	memset(reply + n, 'X', FEATURES_BYTES_MAX);
	snprintf(reply + n + FEATURES_BYTES_MAX, sizeof(reply) - n - FEATURES_BYTES_MAX,
		 "\r\n MDTM\r\n211 End\r\n");
	f = read_text(reply);
	assert_lines(&f, "SIZE\nMDTM\n");
}
END_TEST

static const struct {
	const char *a, *b, *common;
} common_cases[] = {
	{ "MDTM\nSIZE\n", "SIZE\nMDTM\n", "MDTM\nSIZE\n" },
	{ "MDTM\nSIZE\n", "size\n", "SIZE\n" },
	{ "MDTM\nSIZE\n", "", "" },
	{ "", "MDTM\n", "" },
	{ "REST STREAM\n", "REST STREAM\n", "REST STREAM\n" },
	{ "REST STREAM\n", "REST\n", "" },
	{ "MLST type*;size*;modify*;\n", "MLST type*;modify;perm*;\n", "MLST type*;modify;\n" },
	{ "HASH SHA-1*;MD5\n", "HASH MD5;CRC32\n", "HASH MD5;\n" },
	{ "LANG EN*;FR\n", "LANG DE\n", "" },
	{ "LANG EN*;FR\n", "LANG DE;IT\n", "" },
	{ "SITE UTIME\nSITE CHMOD\n", "SITE CHMOD\n", "SITE CHMOD\n" },
	{ "MLST ;;;\n", "MLST size;\n", "" },
};

START_TEST(what_two_servers_have_in_common_is_promised)
{
	struct features a = of(common_cases[_i].a);
	struct features b = of(common_cases[_i].b);

	features_keep_common(&a, &b);
	assert_lines(&a, common_cases[_i].common);
}
END_TEST

START_TEST(a_policy_leaves_what_it_permits)
{
	char mdtm[] = "MDTM", mlsd[] = "MLSD", eprt[] = "EPRT", cwd[] = "CWD";
	char retr[] = "RETR", size[] = "SIZE", epsv[] = "EPSV", mlst[] = "MLST";
	char *deny[] = { mdtm, mlsd, eprt, cwd, NULL };
	char *allow[] = { retr, size, epsv, mlst, NULL };
	struct policy denying = { .deny_commands = deny };
	struct policy allowing = { .allow_commands = allow };
	struct policy passing = { .pass_unknown_commands = true };
	const char *all = "EPRT\nEPSV\nUTF8\nAUTH TLS\nMDTM\nSIZE\nMLST size*;\nTVFS\nXCWD\nFROB x\n";
	struct features f = of(all);

	features_keep_permitted(&f, &denying);
	assert_lines(&f, "EPSV\nUTF8\nAUTH TLS\nSIZE\nTVFS\n");
	f = of(all);
	features_keep_permitted(&f, &allowing);
	assert_lines(&f, "EPSV\nUTF8\nAUTH TLS\nSIZE\nTVFS\n");
	f = of(all);
	features_keep_permitted(&f, &open_policy);
	assert_lines(&f, "EPRT\nEPSV\nUTF8\nAUTH TLS\nMDTM\nSIZE\nMLST size*;\nTVFS\nXCWD\n");
	f = of(all);
	features_keep_permitted(&f, &passing);
	assert_lines(&f, all);
}
END_TEST

START_TEST(commands_behind_site_are_promised_one_by_one)
{
	char exec[] = "SITE EXEC", chmod[] = "SITE CHMOD";
	char *deny[] = { exec, NULL };
	char *allow[] = { chmod, NULL };
	struct policy denying = { .deny_commands = deny };
	struct policy allowing = { .allow_commands = allow };
	const char *all = "SITE CHMOD\nSITE EXEC\nSITE CHMOD;EXEC\n";
	struct features f = of(all);

	features_keep_permitted(&f, &denying);
	assert_lines(&f, "SITE CHMOD\n");
	f = of(all);
	features_keep_permitted(&f, &allowing);
	assert_lines(&f, "SITE CHMOD\n");
}
END_TEST

static void assert_written(const struct features *f, const char *text)
{
	char to[FEAT_BYTES_MAX + 1];
	size_t n = features_write(to, f);

	ck_assert_uint_le(n, FEAT_BYTES_MAX);
	to[n] = '\0';
	ck_assert_str_eq(to, text);
}

START_TEST(the_answer_is_ours_and_then_the_servers)
{
	struct features f = of("MDTM\n");

	features_add_ours(&f, false);
	assert_written(&f, "211-Features:\r\n EPRT\r\n EPSV\r\n HOST\r\n PASV\r\n UTF8\r\n MDTM\r\n211 End\r\n");
	f.n = 0;
	features_add_ours(&f, true);
	assert_written(&f, "211-Features:\r\n EPRT\r\n EPSV\r\n HOST\r\n PASV\r\n UTF8\r\n AUTH TLS\r\n PBSZ\r\n"
			   " PROT\r\n211 End\r\n");
	f.n = 0;
	assert_written(&f, "211-Features:\r\n211 End\r\n");
}
END_TEST

START_TEST(the_longest_list_is_still_an_answer)
{
	char to[FEAT_BYTES_MAX];
	struct features f = { .n = 0 };
	size_t n;

	/* One letter a line: each becomes twice as long in the answer. */
	while (f.n + 2 <= FEATURES_BYTES_MAX) {
		f.text[f.n++] = 'X';
		f.text[f.n++] = '\n';
	}
	n = features_write(to, &f);
	ck_assert_uint_le(n, sizeof(to));
	ck_assert_int_eq(memcmp(to + n - 9, "211 End\r\n", 9), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("features");
	TCase *tcase = tcase_create("features");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, a_servers_answer_is_read_in_every_shape, 0, (int)SP_ARRAY_LEN(read_cases));
	tcase_add_test(tcase, lines_that_do_not_fit_are_left_out);
	tcase_add_loop_test(tcase, what_two_servers_have_in_common_is_promised, 0,
			    (int)SP_ARRAY_LEN(common_cases));
	tcase_add_test(tcase, a_policy_leaves_what_it_permits);
	tcase_add_test(tcase, commands_behind_site_are_promised_one_by_one);
	tcase_add_test(tcase, the_answer_is_ours_and_then_the_servers);
	tcase_add_test(tcase, the_longest_list_is_still_an_answer);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

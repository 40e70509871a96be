// SPDX-License-Identifier: ISC
/* translate: the name in a reply to STOU. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/translate.h"

static const struct {
	const char *text;
	const char *name;
} stou_cases[] = {
	{ "FILE: unique.7", "unique.7" },
	{ "file:x", "x" },
	{ "FILE: with a space.txt", "with a space.txt" },
	{ "FILE: crlf\r\n", "crlf" },
	{ "FILE:", "" },
	{ "FILE: ", "" },
	{ "Transfer complete (unique file name:stou.001).", "stou.001" },
	{ "Transfer complete (Unique file name: a b).", "a b" },
	{ "(unique file name:open", "open" },
	{ "(unique file name:", "" },
	{ "Send it", "" },
	{ "See FILE: no", "" },
	{ "", "" },
};

START_TEST(stou_name_is_found_where_servers_say_it)
{
	const char *text = stou_cases[_i].text;
	struct span name = translate_stou_name(span_of(text));

	ck_assert_uint_eq(name.n, strlen(stou_cases[_i].name));
	ck_assert_int_eq(memcmp(name.p, stou_cases[_i].name, name.n), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("translate");
	TCase *tcase = tcase_create("translate");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, stou_name_is_found_where_servers_say_it, 0, (int)SP_ARRAY_LEN(stou_cases));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

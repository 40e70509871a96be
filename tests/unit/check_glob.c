// SPDX-License-Identifier: ISC
/*
 * Patterns for names: by table, against a naive matcher over all short
 * patterns, and within bounds of time.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/glob.h"

// clang-format off
static const struct {
	const char *pattern;
	const char *text;
	bool matches;
	bool nocase; /* the answer without case */
} cases[] = {
	{ "", "", true, true },
	{ "", "a", false, false },
	{ "a", "", false, false },
	{ "acme", "acme", true, true },
	{ "acme", "ACME", false, true },
	{ "ACME", "acme", false, true },
	{ "acme", "acme1", false, false },
	{ "acme1", "acme", false, false },
	{ "*", "", true, true },
	{ "*", "anything at all", true, true },
	{ "**", "", true, true },
	{ "acme-*", "acme-", true, true },
	{ "acme-*", "acme-1", true, true },
	{ "acme-*", "acme", false, false },
	{ "acme-*", "xacme-1", false, false },
	{ "*-acme", "1-acme", true, true },
	{ "*-acme", "1-acme2", false, false },
	{ "*-acme", "-acme-acme", true, true },
	{ "a*b*c", "abc", true, true },
	{ "a*b*c", "axxbxxc", true, true },
	{ "a*b*c", "axxcxxb", false, false },
	{ "a*b*c", "abcbc", true, true },
	{ "*a*", "bab", true, true },
	{ "*.example.net", "ftp.example.net", true, true },
	{ "*.example.net", "FTP.Example.NET", false, true },
	{ "*.example.net", "example.net", false, false },
	{ "?", "a", true, true },
	{ "?", "", false, false },
	{ "?", "ab", false, false },
	{ "u??r", "user", true, true },
	{ "?*", "", false, false },
	{ "?*", "x", true, true },
	{ "*?", "xyz", true, true },
	{ "*?*?*", "x", false, false },
	{ "*?*?*", "xy", true, true },
	{ "[abc]", "b", true, true },
	{ "[abc]", "d", false, false },
	{ "[abc]", "B", false, true },
	{ "[ABC]", "b", false, true },
	{ "[abc]", "", false, false },
	{ "[abc]", "ab", false, false },
	{ "[a-m]*", "kim", true, true },
	{ "[a-m]*", "Kim", false, true },
	{ "[A-M]*", "kim", false, true },
	{ "[a-m]*", "zoe", false, false },
	{ "[!a-m]*", "zoe", true, true },
	{ "[!a-m]*", "kim", false, false },
	{ "[!a-m]*", "Kim", true, false },
	{ "[!a-m]", "", false, false },
	{ "[^a]", "^", true, true },
	{ "[^a]", "b", false, false },
	{ "[a-cx-z]", "y", true, true },
	{ "[a-cx-z]", "d", false, false },
	{ "[]]", "]", true, true },
	{ "[!]]", "]", false, false },
	{ "[!]]", "a", true, true },
	{ "[]a]", "a", true, true },
	{ "[a-]", "-", true, true },
	{ "[-a]", "-", true, true },
	{ "[a-]", "b", false, false },
	{ "[!-]", "-", false, false },
	{ "[\\]]", "]", true, true },
	{ "[\\]]", "\\", false, false },
	{ "[\\-z]", "-", true, true },
	{ "[a\\-z]", "m", false, false },
	{ "[a\\-z]", "-", true, true },
	{ "[*?]", "*", true, true },
	{ "[*?]", "x", false, false },
	{ "[[]", "[", true, true },
	{ "x[0-9][0-9]*y", "x12zzy", true, true },
	{ "x[0-9][0-9]*y", "x1zzy", false, false },
	{ "*[0-9]", "abc7", true, true },
	{ "*[0-9]", "7abc", false, false },
	{ "\\*", "*", true, true },
	{ "\\*", "x", false, false },
	{ "\\?", "?", true, true },
	{ "\\?", "x", false, false },
	{ "\\[a]", "[a]", true, true },
	{ "\\\\", "\\", true, true },
	{ "\\a", "a", true, true },
	{ "a\\*b", "a*b", true, true },
	{ "a\\*b", "axb", false, false },
	/* what is no pattern matches itself */
	{ "[abc", "[abc", true, true },
	{ "[abc", "a", false, false },
	{ "[", "[", true, true },
	{ "[]", "[]", true, true },
	{ "[!", "[!", true, true },
	{ "*[", "xx[", true, true },
	{ "[a\\", "[a\\", true, true },
	{ "a\\", "a\\", true, true },
	{ "a\\", "a", false, false },
	{ "[z-a]", "m", false, false },
	/* bytes */
	{ "?", "\xc3", true, true },
	{ "??", "\xc3\xa4", true, true },
	{ "[\x80-\xff]", "\xc3", true, true },
	{ "[!\x80-\xff]", "\xc3", false, false },
	{ "\xc3\xa4*", "\xc3\xa4x", true, true },
	{ "\xc3\xa4", "\xc3\x84", false, false },
	{ "@", "`", false, false },
	{ "[@]", "`", false, false },
	{ "Z[", "z{", false, false },
	{ "/a/*", "/a/b/c", true, true },
	{ "*", ".hidden", true, true },
};
// clang-format on

START_TEST(patterns_match_what_they_say)
{
	struct span pattern = span_of(cases[_i].pattern);
	struct span text = span_of(cases[_i].text);

	ck_assert_msg(glob_match(pattern, text) == cases[_i].matches, "%s %s", cases[_i].pattern,
	              cases[_i].text);
	ck_assert_msg(glob_match_nocase(pattern, text) == cases[_i].nocase, "nocase %s %s",
	              cases[_i].pattern, cases[_i].text);
}
END_TEST

START_TEST(nul_is_a_byte)
{
	ck_assert(glob_match(span_from("a?b", 3), span_from("a\0b", 3)));
	ck_assert(!glob_match(span_from("a", 1), span_from("a\0b", 3)));
	ck_assert(glob_match(span_from("a\0*", 3), span_from("a\0b", 3)));
	ck_assert(!glob_match(span_from("a\0*", 3), span_from("a", 1)));
	ck_assert(glob_match(span_from("*", 1), span_from(NULL, 0)));
	ck_assert(glob_match(span_from(NULL, 0), span_from(NULL, 0)));
}
END_TEST

/* The definition, with recursion: slow and plain. Knows *, ?, [ab], [!ab] and backslash. */
static bool naive(const char *p, const char *t)
{
	if (*p == '\0')
		return *t == '\0';
	if (*p == '*')
		return naive(p + 1, t) || (*t != '\0' && naive(p, t + 1));
	if (*t == '\0')
		return false;
	if (*p == '?')
		return naive(p + 1, t + 1);
	if (p[0] == '[') {
		const char *from = p + (p[1] == '!' ? 2 : 1);
		const char *close = *from != '\0' ? strchr(from + 1, ']') : NULL;

		if (close != NULL)
			return (memchr(from, *t, (size_t)(close - from)) != NULL) !=
			           (p[1] == '!') &&
			       naive(close + 1, t + 1);
	}
	return *p == *t && naive(p + 1, t + 1);
}

/* Every pattern of up to five bytes out of an alphabet, against every text of up to four. */
START_TEST(agrees_with_the_definition)
{
	static const char alphabet[] = "ab*?[!]";
	static const char letters[] = "ab!]";
	size_t n = sizeof(alphabet) - 1;
	size_t patterns = 1;
	char p[6], t[5];

	for (size_t length = 0; length <= 5; length++, patterns *= n) {
		for (size_t code = 0; code < patterns; code++) {
			size_t rest = code;

			for (size_t i = 0; i < length; i++, rest /= n)
				p[i] = alphabet[rest % n];
			p[length] = '\0';
			for (size_t word = 0; word < 340; word++) {
				size_t first = 0, count = 1, bytes = 0;

				while (word >= first + count) {
					first += count;
					count *= 4;
					bytes++;
				}
				for (size_t i = 0, w = word - first; i < bytes; i++, w /= 4)
					t[i] = letters[w % 4];
				t[bytes] = '\0';
				if (glob_match(span_of(p), span_of(t)) != naive(p, t))
					ck_abort_msg("\"%s\" \"%s\"", p, t);
			}
		}
	}
}
END_TEST

/* With backtracking over every star this would take longer than the sun shines. */
START_TEST(many_stars_take_no_time)
{
	char pattern[201], text[2000];
	clock_t start = clock();

	for (size_t i = 0; i < 100; i++) {
		pattern[2 * i] = '*';
		pattern[2 * i + 1] = 'a';
	}
	pattern[200] = 'b';
	memset(text, 'a', sizeof(text));
	ck_assert(!glob_match(span_from(pattern, 201), span_from(text, sizeof(text))));
	ck_assert(glob_match(span_from(pattern, 200), span_from(text, sizeof(text))));
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 2);
}
END_TEST

// clang-format off
static const struct {
	const char *pattern;
	bool valid;
} validity[] = {
	{ "", false },	    { "a", true },	{ "*", true },	   { "[", false },
	{ "[a", false },    { "[]", false },	{ "[]]", true },   { "[!]", false },
	{ "[!]]", true },   { "[a-z]", true },	{ "[z-a]", false }, { "[a-]", true },
	{ "a\\", false },   { "a\\\\", true },	{ "\\[", true },   { "[a\\]", false },
	{ "[a\\]]", true }, { "[a][b", false }, { "a]", true },	   { "[a]*[!b]?", true },
};
// clang-format on

START_TEST(what_is_surely_a_mistake_is_invalid)
{
	ck_assert_msg(glob_is_valid(span_of(validity[_i].pattern)) == validity[_i].valid, "%s",
	              validity[_i].pattern);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("glob");
	TCase *tc = tcase_create("glob");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, patterns_match_what_they_say, 0, SP_ARRAY_LEN(cases));
	tcase_add_test(tc, nul_is_a_byte);
	tcase_add_test(tc, agrees_with_the_definition);
	tcase_add_test(tc, many_stars_take_no_time);
	tcase_add_loop_test(tc, what_is_surely_a_mistake_is_invalid, 0, SP_ARRAY_LEN(validity));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

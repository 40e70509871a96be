// SPDX-License-Identifier: ISC
/*
 * The verb table, the cutting of a command line, and the net of verb_reply_fits().
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/verb.h"

/* For hot loops: ck_assert() costs a write to a file even when it holds. */
#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("%s", #condition);                                            \
	} while (0)

/* Every other letter, from `at` on, in lower case. */
static void lower_some(char *name, size_t at)
{
	size_t n = strlen(name);

	for (; at < n; at += 2) {
		if (name[at] >= 'A' && name[at] <= 'Z')
			name[at] = (char)(name[at] + ('a' - 'A'));
	}
}

static void find_in_any_case(enum verb verb)
{
	const struct verb_row *row = verb_row(verb);
	char name[16];

	ck_assert_int_eq((int)row->verb, (int)verb);
	ck_assert_int_eq(verb_find(span_of(row->name)), (int)verb);
	snprintf(name, sizeof(name), "%s", row->name);
	lower_some(name, 0);
	ck_assert_int_eq(verb_find(span_of(name)), (int)verb);
	lower_some(name, 1);
	ck_assert_int_eq(verb_find(span_of(name)), (int)verb);
}

START_TEST(every_verb_is_found_in_any_case)
{
	for (int v = 0; v < VERB_COUNT; v++)
		find_in_any_case((enum verb)v);
}
END_TEST

START_TEST(names_are_upper_case_and_differ)
{
	for (int a = 0; a < VERB_COUNT; a++) {
		const char *name = verb_row((enum verb)a)->name;

		ck_assert_uint_ge(strlen(name), 3);
		ck_assert_uint_eq(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
		                  strlen(name));
		for (int b = 0; b < a; b++)
			REQUIRE(strcmp(name, verb_row((enum verb)b)->name) != 0);
	}
}
END_TEST

/* Each name with one byte more, less or changed is another verb only if the table has that name. */
static void find_near_misses(enum verb verb)
{
	const char *name = verb_row(verb)->name;
	size_t n = strlen(name);
	char text[16];

	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at <= n; at++) {
			enum verb found;

			memcpy(text, name, n);
			text[at] = (char)c;
			found = verb_find(span_from(text, at == n ? n + 1 : n));
			if (found == VERB_UNKNOWN)
				continue;
			REQUIRE(span_eq_nocase(span_of(verb_row(found)->name),
			                       span_from(text, at == n ? n + 1 : n)));
		}
	}
	for (size_t cut = 0; cut < n; cut++) {
		enum verb found = verb_find(span_from(name, cut));

		if (found != VERB_UNKNOWN)
			REQUIRE(strlen(verb_row(found)->name) == cut);
	}
}

START_TEST(near_misses_are_not_found)
{
	for (int v = 0; v < VERB_COUNT; v++)
		find_near_misses((enum verb)v);
}
END_TEST

// clang-format off
static const struct {
	const char *text;
	size_t n;
} unknown[] = {
	{ "", 0 },	    { "P", 1 },		 { "USERS", 5 },	{ "PWD\0", 4 },
	{ "\0PWD", 4 },	    { "USER\0\0\0\0", 8 }, { "XSHA2567", 8 },	{ "XSHA25678", 9 },
	{ "?", 1 },	    { "PW\x64\x80", 4 }, { "\xd0\xd7\xc4", 3 }, { "USER\t", 5 },
	{ "GET", 3 },	    { "\xff\xf4\xffPWD", 6 }, { "RETR RETR RETR RETR", 19 },
};
// clang-format on

START_TEST(other_names_are_unknown)
{
	ck_assert_int_eq(verb_find(span_from(unknown[_i].text, unknown[_i].n)), VERB_UNKNOWN);
}
END_TEST

START_TEST(the_unknown_verb_has_a_row)
{
	const struct verb_row *row = verb_row(VERB_UNKNOWN);

	ck_assert_str_eq(row->name, "?");
	ck_assert_int_eq(row->verb, VERB_UNKNOWN);
	ck_assert_int_eq(row->when, VERB_WHEN_READY);
	ck_assert_int_eq(row->argument, VERB_ARGUMENT_OPTIONAL);
	ck_assert_int_eq(row->action, VERB_ACTION_FORWARD);
	ck_assert_uint_eq(row->flags, 0);
}
END_TEST

START_TEST(rows_say_what_the_table_says)
{
	ck_assert_uint_eq(verb_row(VERB_PASS)->flags, VERB_FLAG_USEFUL | VERB_FLAG_SECRET);
	ck_assert_int_eq(verb_row(VERB_PASS)->argument, VERB_ARGUMENT_OPTIONAL);
	ck_assert_int_eq(verb_row(VERB_HOST)->when, VERB_WHEN_PRE);
	ck_assert_int_eq(verb_row(VERB_RETR)->action, VERB_ACTION_DOWN);
	ck_assert_int_eq(verb_row(VERB_STOU)->action, VERB_ACTION_UP);
	ck_assert_int_eq(verb_row(VERB_XSHA512)->action, VERB_ACTION_FORWARD);
	/* What overtakes a transfer is these two and nothing else. */
	for (enum verb v = 0; v < VERB_COUNT; v++)
		ck_assert_int_eq((verb_row(v)->flags & VERB_FLAG_INFLIGHT) != 0, v == VERB_STAT || v == VERB_ABOR);
	/* Whose argument may hold a password never reaches a log. */
	ck_assert_uint_ne(verb_row(VERB_ACCT)->flags & VERB_FLAG_SECRET, 0);
	ck_assert_uint_ne(verb_row(VERB_SITE)->flags & VERB_FLAG_SECRET, 0);
	ck_assert_uint_ne(verb_row(VERB_ADAT)->flags & VERB_FLAG_SECRET, 0);
}
END_TEST

// clang-format off
static const struct {
	const char *line;
	size_t n;
	enum verb verb;
	bool has_argument;
	const char *name;
	const char *argument;
	size_t argument_n;
} lines[] = {
	{ "QUIT", 4, VERB_QUIT, false, "QUIT", "", 0 },
	{ "LIST ", 5, VERB_LIST, true, "LIST", "", 0 },
	{ "list  ", 6, VERB_LIST, true, "list", " ", 1 },
	{ "STOR a b", 8, VERB_STOR, true, "STOR", "a b", 3 },
	{ "STOR   x ", 9, VERB_STOR, true, "STOR", "  x ", 4 },
	{ "uSeR anonymous", 14, VERB_USER, true, "uSeR", "anonymous", 9 },
	{ "PASS ", 5, VERB_PASS, true, "PASS", "", 0 },
	{ "PASS", 4, VERB_PASS, false, "PASS", "", 0 },
	{ "RETR a\r\0b", 9, VERB_RETR, true, "RETR", "a\r\0b", 4 },
	{ "RETR \xff\xfe", 7, VERB_RETR, true, "RETR", "\xff\xfe", 2 },
	{ "RETR\tx", 6, VERB_UNKNOWN, false, "RETR\tx", "", 0 },
	{ " PWD", 4, VERB_UNKNOWN, true, "", "PWD", 3 },
	{ "", 0, VERB_UNKNOWN, false, "", "", 0 },
	{ "GET / HTTP/1.1", 14, VERB_UNKNOWN, true, "GET", "/ HTTP/1.1", 10 },
};
// clang-format on

START_TEST(a_line_is_cut_at_its_first_space)
{
	struct command c = command_parse(span_from(lines[_i].line, lines[_i].n));

	ck_assert_int_eq(c.verb, lines[_i].verb);
	ck_assert_int_eq(c.has_argument, lines[_i].has_argument);
	ck_assert(span_eq(c.name, span_of(lines[_i].name)));
	ck_assert(span_eq(c.argument, span_from(lines[_i].argument, lines[_i].argument_n)));
}
END_TEST

/* What RFC 959 section 5.4 and the later ones list as answers must fit. */
// clang-format off
static const struct {
	const char *verbs;
	const char *codes;
} right[] = {
	{ "USER", "230 530 500 501 421 331 332 232 336" },
	{ "PASS", "230 202 530 500 501 503 421 332" },
	{ "ACCT", "230 202 530 500 501 503 421" },
	{ "CWD XCWD CDUP XCUP", "250 200 500 501 502 421 530 550" },
	{ "SMNT", "202 250 500 501 502 421 530 550" },
	{ "REIN", "120 220 421 500 502" },
	{ "QUIT", "221 500" },
	{ "PORT EPRT", "200 500 501 421 530 522 425" },
	{ "PASV", "227 500 501 502 421 530 425 522" },
	{ "EPSV", "229 500 501 502 421 522 425" },
	{ "MODE TYPE STRU", "200 500 501 504 421 530" },
	{ "ALLO", "200 202 500 501 504 421 530" },
	{ "REST", "500 501 502 421 530 350 554" },
	{ "STOR STOU", "125 150 110 226 250 425 426 451 551 552 532 450 452 553 500 501 421 530" },
	{ "RETR", "125 150 110 226 250 425 426 451 450 550 500 501 421 530 521 522 534" },
	{ "LIST NLST MLSD THMB", "125 150 226 250 425 426 451 450 500 501 502 421 530" },
	{ "APPE",
	  "125 150 110 226 250 425 426 451 551 552 532 450 550 452 553 500 501 502 421 530" },
	{ "RNFR", "450 550 500 501 502 421 530 350" },
	{ "RNTO", "250 532 553 500 501 502 503 421 530" },
	{ "DELE RMD XRMD", "250 450 550 500 501 502 421 530" },
	{ "ABOR", "225 226 500 501 502 421 426 552" },
	{ "MKD XMKD", "257 500 501 502 421 530 550" },
	{ "PWD XPWD", "257 500 501 502 421 550" },
	{ "SYST", "215 500 501 502 421" },
	{ "STAT", "211 212 213 450 500 501 502 421 530" },
	{ "HELP", "211 214 500 501 502 421" },
	{ "SITE", "200 202 211 214 250 350 500 501 530" },
	{ "NOOP", "200 500 421" },
	{ "AUTH", "234 334 502 504 534 431 500 501 421" },
	{ "ADAT", "235 335 503 501 535 500 421" },
	{ "PBSZ PROT CCC", "200 503 501 500 421 530 504 536 431 533 534" },
	{ "FEAT", "211 500 502 421" },
	{ "OPTS", "200 202 451 501 421" },
	{ "SIZE", "213 500 501 550" },
	{ "MDTM", "213 253 500 501 550" },
	{ "MFMT MFCT MFF", "213 500 501 550" },
	{ "MLST", "250 500 501 550" },
	{ "LANG CLNT CSID", "200 500 504" },
	{ "HOST", "220 500 501 502 503 504 530 421" },
	{ "HASH AVBL DSIZ", "213 450 500 501 502 550 556" },
	{ "XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512 MD5 MMD5", "213 250 251 450 500 550" },
	{ "COMB", "250 500 550" },
	{ "LPSV", "228 500 421" },
	/* What nobody says is nobody else's answer. */
	{ "PWD CWD TYPE PASV EPSV PORT RETR STOR SIZE", "201 299 300 314 399" },
};
// clang-format on

/* One reply behind, or a second final reply: these must not pass. */
// clang-format off
static const struct {
	const char *verbs;
	const char *codes;
} wrong[] = {
	{ "PWD XPWD", "226 225 150 125 110 120 200 213 220 221 227 229 230 250 331 332 350 426" },
	{ "CWD XCWD CDUP XCUP MKD RMD DELE RNTO TYPE MODE STRU NOOP ALLO",
	  "226 225 150 125 110 120 213 220 227 229 230 331 332 350" },
	{ "CWD TYPE NOOP DELE", "257" },
	{ "CWD DELE RNTO TYPE NOOP SIZE MDTM STAT PASV PORT RNFR REST SYST FEAT HELP OPTS USER PASS",
	  "426" },
	{ "SIZE", "200 226 227 250 257 350" },
	{ "MDTM MLST", "226 227 257 150 350" },
	{ "PASV", "200 226 229 228 230 250 257 150 213 350" },
	{ "EPSV", "200 226 227 230 250 257 150 213 350" },
	{ "PORT EPRT", "226 227 229 230 257 150 350 213" },
	{ "RETR STOR APPE STOU LIST NLST MLSD THMB",
	  "120 213 215 220 221 227 229 230 331 332 350 257 234" },
	{ "REST RNFR", "200 226 227 229 230 250 257 150 331" },
	{ "USER PASS ACCT", "120 150 200 211 213 215 220 221 226 227 229 234 250 257 350" },
	{ "AUTH", "200 220 230 250 226 331" },
	{ "PBSZ PROT", "220 234 230 226 331" },
	{ "HOST", "230 234 250 331 120" },
	{ "FEAT SYST HELP STAT OPTS LANG CLNT",
	  "120 150 220 221 225 226 227 229 230 234 257 331 332 350" },
	{ "SITE", "120 125 150 220 225 226 227 229 230 331 332" },
	{ "QUIT", "120 150 220 226 227 229 230 250 257 331 350" },
	{ "ABOR", "120 125 150 220 227 229 230 257 331 350" },
	{ "HASH XCRC XMD5 MD5 COMB", "120 150 226 227 229 230 257 331 350" },
	{ "MIC CONF ENC", "200 230 250" },
};
// clang-format on

/* Calls `check` for each pair of a verb and a code out of two lists of words. */
static void each_pair(const char *verbs, const char *codes, bool fits)
{
	for (const char *v = verbs; *v != '\0'; v += strspn(v, " ")) {
		size_t n = strcspn(v, " ");
		enum verb verb = verb_find(span_from(v, n));

		if (verb == VERB_UNKNOWN)
			ck_abort_msg("%.*s", (int)n, v);
		for (const char *c = codes; *c != '\0'; c += strspn(c, " ")) {
			char *end;
			int code = (int)strtol(c, &end, 10);

			if (verb_reply_fits(verb, code) != fits)
				ck_abort_msg("%d to %.*s", code, (int)n, v);
			c = end;
		}
		v += n;
	}
}

START_TEST(answers_of_the_rfcs_fit)
{
	each_pair(right[_i].verbs, right[_i].codes, true);
}
END_TEST

START_TEST(a_server_that_is_behind_is_found)
{
	each_pair(wrong[_i].verbs, wrong[_i].codes, false);
}
END_TEST

static bool moves_data(enum verb verb)
{
	enum verb_action action = verb_row(verb)->action;

	return action == VERB_ACTION_DOWN || action == VERB_ACTION_UP;
}

/* What holds for every verb, whatever its row. */
static void apply_laws(enum verb verb)
{
	for (int code = -1; code < 1100; code++) {
		bool fits = verb_reply_fits(verb, code);
		bool lawful = fits;

		if (code < 100 || code >= 600)
			lawful = !fits;
		else if (code < 200 && code != 120)
			lawful = fits == moves_data(verb);
		else if (code < 400 || code == 426)
			lawful = true; /* see below, and the tables */
		if (!lawful)
			ck_abort_msg("%d to %s", code, verb_row(verb)->name);
	}
	ck_assert(verb_reply_fits(verb, 421));
	ck_assert(verb_reply_fits(verb, 120) == (verb == VERB_REIN));
	ck_assert(verb_reply_fits(verb, 227) == (verb == VERB_PASV));
	ck_assert(verb_reply_fits(verb, 229) == (verb == VERB_EPSV));
	if (verb == VERB_UNKNOWN)
		return;
	ck_assert(verb_reply_fits(verb, 226) == (moves_data(verb) || verb == VERB_ABOR));
	ck_assert(verb_reply_fits(verb, 230) ==
	          (verb == VERB_USER || verb == VERB_PASS || verb == VERB_ACCT));
	ck_assert(verb_reply_fits(verb, 331) == verb_reply_fits(verb, 230));
	ck_assert(verb_reply_fits(verb, 332) == verb_reply_fits(verb, 230));
	ck_assert(verb_reply_fits(verb, 350) ==
	          (verb == VERB_REST || verb == VERB_RNFR || verb == VERB_SITE));
}

START_TEST(laws_of_replies)
{
	for (int v = 0; v < VERB_COUNT + 1; v++)
		apply_laws((enum verb)v);
}
END_TEST

START_TEST(an_unknown_verb_may_have_nearly_any_answer)
{
	for (int code = 200; code < 600; code++)
		ck_assert_msg(verb_reply_fits(VERB_UNKNOWN, code) == (code != 227 && code != 229),
		              "%d", code);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verb");
	TCase *tc = tcase_create("verb");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, every_verb_is_found_in_any_case);
	tcase_add_test(tc, names_are_upper_case_and_differ);
	tcase_add_test(tc, near_misses_are_not_found);
	tcase_add_loop_test(tc, other_names_are_unknown, 0, SP_ARRAY_LEN(unknown));
	tcase_add_test(tc, the_unknown_verb_has_a_row);
	tcase_add_test(tc, rows_say_what_the_table_says);
	tcase_add_loop_test(tc, a_line_is_cut_at_its_first_space, 0, SP_ARRAY_LEN(lines));
	tcase_add_loop_test(tc, answers_of_the_rfcs_fit, 0, SP_ARRAY_LEN(right));
	tcase_add_loop_test(tc, a_server_that_is_behind_is_found, 0, SP_ARRAY_LEN(wrong));
	tcase_add_test(tc, laws_of_replies);
	tcase_add_test(tc, an_unknown_verb_may_have_nearly_any_answer);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

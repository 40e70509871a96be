// SPDX-License-Identifier: ISC
/*
 * The reply reader: each transcript is fed whole, byte by byte and cut in two
 * at every place; the replies must be the same.
 */
#include "sallyport/reply.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fail.h"

// clang-format off
#define S(literal) { literal, sizeof(literal) - 1 }
// clang-format on

struct bytes {
	const char *p;
	size_t n;
};

/* What came out: "code[text]raw", "code+[text]raw" of a multi-line one, "bad[raw]", "long code". */
struct output {
	char p[128 * 1024];
	size_t n;
	bool ended;
};

static void output_add(struct output *o, const char *p, size_t n)
{
	ck_assert_uint_le(o->n + n, sizeof(o->p));
	if (n > 0)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void output_reply(struct output *o, enum reply_result result, const struct reply *reply)
{
	char head[32];
	int n = 0;

	switch (result) {
	case REPLY_OK:
		n = snprintf(head, sizeof(head), "%d%s[", reply->code,
		             reply->multi_line ? "+" : "");
		output_add(o, head, (size_t)n);
		output_add(o, reply->text.p, reply->text.n);
		output_add(o, "]", 1);
		output_add(o, reply->raw.p, reply->raw.n);
		return;
	case REPLY_BAD:
		output_add(o, "bad[", 4);
		output_add(o, reply->raw.p, reply->raw.n);
		output_add(o, "]", 1);
		break;
	case REPLY_TOO_LONG:
		n = snprintf(head, sizeof(head), "long %d", reply->code);
		output_add(o, head, (size_t)n);
		break;
	case REPLY_MORE:
	case REPLY_NO_MEMORY:
		ck_abort_msg("result %d", (int)result);
	}
	o->ended = true;
}

/* Feeds one read; the memory ends where the read does, so that ASan sees a step beyond. */
static void feed(struct reply_reader *r, struct output *o, const char *p, size_t n)
{
	char *read = malloc(n);
	struct span in;
	struct reply reply;
	enum reply_result result;

	if (o->ended) {
		free(read);
		return;
	}
	if (n > 0)
		memcpy(read, p, n);
	in = span_from(read, n);
	while (!o->ended && (result = reply_next(r, &in, &reply)) != REPLY_MORE)
		output_reply(o, result, &reply);
	if (o->ended) {
		ck_assert_int_eq(reply_next(r, &in, &reply), REPLY_BAD);
		ck_assert_uint_eq(reply.raw.n, 0);
	} else {
		ck_assert_uint_eq(in.n, 0);
	}
	if (r->n == 0)
		ck_assert_ptr_null(r->text);
	free(read);
}

static void feed_steps(struct reply_reader *r, struct output *o, struct bytes in, size_t step)
{
	if (step == 0)
		step = in.n > 0 ? in.n : 1;
	for (size_t at = 0; at < in.n; at += step)
		feed(r, o, in.p + at, in.n - at < step ? in.n - at : step);
}

static void expect(const struct output *o, struct bytes want, const char *how, size_t where)
{
	if (o->n == want.n && memcmp(o->p, want.p, want.n) == 0)
		return;
	fprintf(stderr, "got (%s %zu):\n", how, where);
	fwrite(o->p, 1, o->n, stderr);
	fprintf(stderr, "\nwant:\n");
	fwrite(want.p, 1, want.n, stderr);
	ck_abort_msg("%s %zu", how, where);
}

struct reply_case {
	struct bytes in;
	struct bytes want;
	unsigned blank_lines;
};

// clang-format off
static const struct reply_case cases[] = {
	/* single lines */
	{ S(""), S(""), 0 },
	{ S("220 hi\r\n"), S("220[hi]220 hi\r\n"), 0 },
	{ S("220 hi\r\n331 pw\r\n"), S("220[hi]220 hi\r\n331[pw]331 pw\r\n"), 0 },
	{ S("220 hi\r\n33"), S("220[hi]220 hi\r\n"), 0 },
	{ S("220 hi\r"), S(""), 0 },
	{ S("220  hi \r\n"), S("220[ hi ]220  hi \r\n"), 0 },
	{ S("220\r\n"), S("220[]220\r\n"), 0 },
	{ S("220 \r\n"), S("220[]220 \r\n"), 0 },
	{ S("100 a\r\n"), S("100[a]100 a\r\n"), 0 },
	{ S("659 a\r\n"), S("659[a]659 a\r\n"), 0 },
	{ S("631 a\r\n"), S("631[a]631 a\r\n"), 0 },
	/* line ends */
	{ S("220 hi\n"), S("220[hi]220 hi\r\n"), 0 },
	{ S("220 hi\n331 pw\r\n"), S("220[hi]220 hi\r\n331[pw]331 pw\r\n"), 0 },
	{ S("220\n"), S("220[]220\r\n"), 0 },
	{ S("220-a\nb\n220 c\n"), S("220+[a]220-a\r\nb\r\n220 c\r\n"), 0 },
	{ S("220-a\r\nb\n220 c\r\n"), S("220+[a]220-a\r\nb\r\n220 c\r\n"), 0 },
	{ S("220 hi\r\r\n"), S("220[hi\r]220 hi\r\r\n"), 0 },
	{ S("220\r\r\n"), S("220[]220\r\r\n"), 0 },
	{ S("220-a\r\n220\r\r\n221 b\r\n"), S("220+[a]220-a\r\n220\r\r\n221[b]221 b\r\n"), 0 },
	{ S("220 a\r221 b\r\n"), S("220[a\r221 b]220 a\r221 b\r\n"), 0 },
	/* bytes that are text */
	{ S("257 \"\xe4\0\xff\xff\x01\"\r\n"), S("257[\"\xe4\0\xff\xff\x01\"]257 \"\xe4\0\xff\xff\x01\"\r\n"),
	  0 },
	{ S("220-\0\r\n\0\r\n\xff\xf1\r\n220 \0\r\n"), S("220+[\0]220-\0\r\n\0\r\n\xff\xf1\r\n220 \0\r\n"),
	  0 },
	/* several lines */
	{ S("220-a\r\n220 b\r\n"), S("220+[a]220-a\r\n220 b\r\n"), 0 },
	{ S("220-\r\n220\r\n"), S("220+[]220-\r\n220\r\n"), 0 },
	{ S("220-a\r\n220-b\r\n220-c\r\n220 d\r\n"),
	  S("220+[a]220-a\r\n220-b\r\n220-c\r\n220 d\r\n"), 0 },
	{ S("220-a\r\n221 b\r\n 220 c\r\n220c\r\n2201 d\r\n22\r\n220 e\r\n"),
	  S("220+[a]220-a\r\n221 b\r\n 220 c\r\n220c\r\n2201 d\r\n22\r\n220 e\r\n"), 0 },
	{ S("220-a\r\n221-b\r\n221 c\r\n220 d\r\n221 e\r\n"),
	  S("220+[a]220-a\r\n221-b\r\n221 c\r\n220 d\r\n221[e]221 e\r\n"), 0 },
	{ S("220-a\r\n221\r\n220\r\n"), S("220+[a]220-a\r\n221\r\n220\r\n"), 0 },
	{ S("211-Features:\r\n MDTM\r\n\r\n SIZE\r\n\r\n211 End\r\n"),
	  S("211+[Features:]211-Features:\r\n MDTM\r\n\r\n SIZE\r\n\r\n211 End\r\n"), 0 },
	{ S("211-a\n\n\n211 b\n"), S("211+[a]211-a\r\n\r\n\r\n211 b\r\n"), 0 },
	{ S("211-a\r\nsome text\r\n"), S(""), 0 },
	{ S("211-a\r\nxyz 100000000000000000000\r\n211 b\r\n"),
	  S("211+[a]211-a\r\nxyz 100000000000000000000\r\n211 b\r\n"), 0 },
	/* IIS 1 and 2 (KB Q154962): cannot be told from two replies */
	{ S("230-a\r\n230 b\r\n230 c\r\n"), S("230+[a]230-a\r\n230 b\r\n230[c]230 c\r\n"), 0 },
	/* blank lines outside */
	{ S("\r\n220 hi\r\n\r\n\n331 pw\r\n\n"), S("220[hi]220 hi\r\n331[pw]331 pw\r\n"), 4 },
	{ S("\r\r\n220 hi\r\n"), S("220[hi]220 hi\r\n"), 1 },
	/* noise of old servers */
	{ S("\xff\xfb\x01\xff\xfd\x03" "220 hi\r\n"), S("220[hi]220 hi\r\n"), 0 },
	{ S("\xff\xf2" "226 ab\r\n\xff\xf2" "225 ok\r\n"), S("226[ab]226 ab\r\n225[ok]225 ok\r\n"), 0 },
	{ S("220 hi\r\n\0" "331 pw\r\n\0\0"), S("220[hi]220 hi\r\n331[pw]331 pw\r\n"), 0 },
	{ S("\0\r\n\xff\xfb\x01\r\n220 hi\r\n"), S("220[hi]220 hi\r\n"), 2 },
	{ S("\xff\xfb\x01" "220-a\n\xff\xfb\x01\n220 b\n"), S("220+[a]220-a\r\n\xff\xfb\x01\r\n220 b\r\n"),
	  0 },
	{ S("\xff\xff" "220 hi\r\n"), S("bad[\xff\xff" "220 hi]"), 0 },
	{ S("\xff" "220 hi\r\n"), S("bad[\xff" "220 hi]"), 0 },
	{ S("\xff\xfa" "220 hi\r\n"), S("bad[\xff\xfa" "220 hi]"), 0 },
	{ S("\xff\xfb\r\n220 hi\r\n"), S("bad[\xff\xfb]"), 0 },
	/* garbage */
	{ S("hello\r\n220 hi\r\n"), S("bad[hello]"), 0 },
	{ S("220 a\r\nhello\r\n220 hi\r\n"), S("220[a]220 a\r\nbad[hello]"), 0 },
	{ S("SSH-2.0-x\r\n"), S("bad[SSH-2.0-x]"), 0 },
	{ S("2200 a\r\n"), S("bad[2200 a]"), 0 },
	{ S("220a\r\n"), S("bad[220a]"), 0 },
	{ S("220\t\r\n"), S("bad[220\t]"), 0 },
	{ S("220\0\r\n"), S("bad[220\0]"), 0 },
	{ S("220\rx\r\n"), S("bad[220\rx]"), 0 },
	{ S("22\r\n"), S("bad[22]"), 0 },
	{ S(" 220 a\r\n"), S("bad[ 220 a]"), 0 },
	{ S(" \r\n"), S("bad[ ]"), 0 },
	{ S("-20 a\r\n"), S("bad[-20 a]"), 0 },
	{ S("2:0 a\r\n"), S("bad[2:0 a]"), 0 },
	{ S("2/0 a\r\n"), S("bad[2/0 a]"), 0 },
	{ S("000 a\r\n"), S("bad[000 a]"), 0 },
	{ S("099 a\r\n"), S("bad[099 a]"), 0 },
	{ S("660 a\r\n"), S("bad[660 a]"), 0 },
	{ S("999-a\n999 a\n"), S("bad[999-a]"), 0 },
	{ S("\xb2\xb2\xb0 a\r\n"), S("bad[\xb2\xb2\xb0 a]"), 0 },
};
// clang-format on

static void check_case(const struct reply_case *c, const char *how, size_t step, size_t cut)
{
	struct reply_reader r = { 0 };
	struct output *o = calloc(1, sizeof(*o));

	ck_assert_ptr_nonnull(o);
	if (cut > 0) {
		feed(&r, o, c->in.p, cut);
		feed(&r, o, c->in.p + cut, c->in.n - cut);
	} else {
		feed_steps(&r, o, c->in, step);
	}
	expect(o, c->want, how, cut);
	ck_assert_uint_eq(r.blank_lines, c->blank_lines);
	reply_fini(&r);
	ck_assert_ptr_null(r.text);
	free(o);
}

START_TEST(transcript)
{
	const struct reply_case *c = &cases[_i];

	check_case(c, "whole", 0, 0);
	check_case(c, "bytes", 1, 0);
	check_case(c, "pairs", 2, 0);
	check_case(c, "triples", 3, 0);
	for (size_t cut = 1; cut < c->in.n; cut++)
		check_case(c, "cut", 0, cut);
}
END_TEST

/* `head`, n bytes of text in lines of `width` (without CRLF; 0: one line), `tail`. */
static struct bytes long_reply(const char *head, size_t n, size_t width, const char *tail)
{
	size_t h = strlen(head), t = strlen(tail);
	char *p = malloc(h + n + t + 1);

	ck_assert_ptr_nonnull(p);
	memcpy(p, head, h);
	memset(p + h, 'x', n);
	for (size_t at = width; width > 0 && at + 2 <= n; at += width + 2)
		memcpy(p + h + at, "\r\n", 2);
	memcpy(p + h + n, tail, t + 1);
	return (struct bytes){ p, h + n + t };
}

struct limit_case {
	const char *head;
	size_t n;
	size_t width;
	const char *tail;
	enum reply_result want;
};

#define WIDTH 62 /* lines of 64 */
/* So much text makes, with 211-a and 211 end around it, a reply as long as may be. */
#define FULL ((size_t)REPLY_BYTES_MAX - (sizeof("211-a\r\n\r\n211 end\r\n") - 1))

static const struct limit_case limit_cases[] = {
	{ "211 ", REPLY_LINE_MAX - 4, 0, "\r\n", REPLY_OK },
	{ "211 ", REPLY_LINE_MAX - 4, 0, "\n", REPLY_OK },
	{ "211 ", REPLY_LINE_MAX - 3, 0, "\r\n", REPLY_BAD },
	{ "211 ", REPLY_LINE_MAX - 3, 0, "\n", REPLY_BAD },
	{ "211 ", REPLY_LINE_MAX - 4, 0, "\r\r\n", REPLY_BAD },
	{ "211 ", REPLY_LINE_MAX - 4, 0, "\rx\r\n", REPLY_BAD },
	{ "211 ", REPLY_LINE_MAX, 0, "", REPLY_BAD },
	{ "211 ", 100 * REPLY_LINE_MAX, 0, "", REPLY_BAD },
	{ "211-a\r\n", REPLY_LINE_MAX, 0, "\r\n211 end\r\n", REPLY_OK },
	{ "211-a\r\n", REPLY_LINE_MAX + 1, 0, "\r\n211 end\r\n", REPLY_BAD },
	{ "211-a\r\n", FULL, WIDTH, "\r\n211 end\r\n", REPLY_OK },
	{ "211-a\r\n", FULL, WIDTH, "\n211 end\n", REPLY_OK },
	{ "211-a\r\n", FULL + 1, WIDTH, "\r\n211 end\r\n", REPLY_TOO_LONG },
	{ "211-a\n", FULL + 1, WIDTH, "\n211 end\n", REPLY_TOO_LONG },
	{ "211-a\r\n", 4 * FULL, WIDTH, "\r\n211 end\r\n", REPLY_TOO_LONG },
};

START_TEST(limits)
{
	static const size_t steps[] = { 0, 1, 7, 64, 1000, 4095, 4096, 4097, 4098, 65535 };
	const struct limit_case *c = &limit_cases[_i];
	struct bytes in = long_reply(c->head, c->n, c->width, c->tail);

	for (size_t i = 0; i < SP_ARRAY_LEN(steps); i++) {
		struct reply_reader r = { 0 };
		size_t step = steps[i] > 0 ? steps[i] : in.n;
		enum reply_result result = REPLY_MORE;
		struct reply reply = { 0 };

		for (size_t at = 0; at < in.n && result == REPLY_MORE; at += step) {
			struct span read =
			    span_from(in.p + at, in.n - at < step ? in.n - at : step);

			result = reply_next(&r, &read, &reply);
		}
		ck_assert_int_eq(result, c->want);
		if (result == REPLY_OK) {
			ck_assert_int_eq(reply.code, 211);
			ck_assert_uint_le(reply.raw.n, REPLY_BYTES_MAX);
			if (c->n == FULL)
				ck_assert_uint_eq(reply.raw.n, REPLY_BYTES_MAX);
		} else if (result == REPLY_TOO_LONG) {
			ck_assert_int_eq(reply.code, 211);
		} else {
			ck_assert_uint_eq(reply.raw.n, REPLY_LINE_MAX);
		}
		if (result != REPLY_OK) {
			struct span more = span_of("220 hi\r\n");

			ck_assert_int_eq(reply_next(&r, &more, &reply), REPLY_BAD);
		}
		ck_assert_uint_le(r.cap, 2 * REPLY_BYTES_MAX);
		reply_fini(&r);
	}
	free((char *)(uintptr_t)in.p);
}
END_TEST

START_TEST(whole_reply_is_lent_from_the_input)
{
	static const char memory[] = "\r\n220 hi\r\n211-a\r\n b\r\n211 c\r\n33";
	struct reply_reader r = { 0 };
	struct span in = span_from(memory, sizeof(memory) - 1);
	enum reply_result result[2];
	struct reply reply[2];
	bool failed;

	/* libcheck allocates too: no assertion until the end of this */
	alloc_fail_at(1);
	for (size_t i = 0; i < 2; i++)
		result[i] = reply_next(&r, &in, &reply[i]);
	failed = alloc_has_failed();
	alloc_fail_at(0);

	ck_assert(!failed);
	ck_assert_int_eq(result[0], REPLY_OK);
	ck_assert_ptr_eq(reply[0].raw.p, memory + 2);
	ck_assert_int_eq(result[1], REPLY_OK);
	ck_assert_ptr_eq(reply[1].raw.p, memory + 10);
	ck_assert_uint_eq(reply[1].raw.n, 18);
	ck_assert_int_eq(reply_next(&r, &in, &reply[0]), REPLY_MORE);
	ck_assert_ptr_nonnull(r.text);
	ck_assert_uint_eq(r.blank_lines, 1);
	reply_fini(&r);
}
END_TEST

START_TEST(no_memory_is_an_answer)
{
	struct bytes in = long_reply("211-a\n", 2000, 100, "\n211 b\n");
	enum reply_result result;
	unsigned n = 0;
	bool failed;

	do {
		struct reply_reader r = { 0 };
		struct reply reply;

		result = REPLY_MORE;
		alloc_fail_at(++n);
		for (size_t at = 0; at < in.n && result == REPLY_MORE; at++) {
			struct span read = span_from(in.p + at, 1);

			result = reply_next(&r, &read, &reply);
		}
		failed = alloc_has_failed();
		alloc_fail_at(0);
		reply_fini(&r);
		ck_assert_ptr_null(r.text);
		ck_assert_int_eq(result, failed ? REPLY_NO_MEMORY : REPLY_OK);
	} while (failed);
	ck_assert_uint_ge(n, 5);
	free((char *)(uintptr_t)in.p);
}
END_TEST

START_TEST(code_classes)
{
	ck_assert(!reply_is_preliminary(99) && reply_is_preliminary(100));
	ck_assert(reply_is_preliminary(199) && !reply_is_preliminary(200));
	ck_assert(reply_is_positive(200) && reply_is_positive(299) && !reply_is_positive(300));
	ck_assert(reply_is_intermediate(300) && reply_is_intermediate(399));
	ck_assert(!reply_is_intermediate(400) && !reply_is_intermediate(299));
	ck_assert(reply_is_negative(400) && reply_is_negative(599) && !reply_is_negative(600));
	ck_assert(!reply_is_negative(399));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reply");
	TCase *tests = tcase_create("reply");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, transcript, 0, (int)SP_ARRAY_LEN(cases));
	tcase_add_loop_test(tests, limits, 0, (int)SP_ARRAY_LEN(limit_cases));
	tcase_add_test(tests, whole_reply_is_lent_from_the_input);
	tcase_add_test(tests, no_memory_is_an_answer);
	tcase_add_test(tests, code_classes);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

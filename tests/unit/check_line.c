// SPDX-License-Identifier: ISC
/*
 * The line splitter: each transcript is fed whole, byte by byte and cut in two
 * at every place; the lines must be the same.
 */
#include "sallyport/line.h"

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

/* What came out: "=line\n", "bad\n", "long\n", with "^" before it when ip_seen. */
struct output {
	char p[64 * 1024];
	size_t n;
};

static void output_add(struct output *o, const char *p, size_t n)
{
	ck_assert_uint_le(o->n + n, sizeof(o->p));
	if (n > 0)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void output_text(struct output *o, const char *text)
{
	output_add(o, text, strlen(text));
}

/* Feeds one read; the memory ends where the read does, so that ASan sees a step beyond. */
static void feed(struct line_splitter *s, struct output *o, const char *p, size_t n)
{
	char *buffer = malloc(n + 1);
	char *read;
	struct span in, line;
	enum line_result result;

	ck_assert_ptr_nonnull(buffer);
	read = buffer + 1; /* odd address */
	if (n > 0)
		memcpy(read, p, n);
	in = span_from(read, n);
	while ((result = line_next(s, &in, &line)) != LINE_MORE) {
		ck_assert_int_ne(result, LINE_NO_MEMORY);
		ck_assert(!line_is_partial(s));
		if (s->ip_seen)
			output_text(o, "^");
		if (result == LINE_OK) {
			output_text(o, "=");
			output_add(o, line.p, line.n);
			output_text(o, "\n");
		} else {
			output_text(o, result == LINE_BAD ? "bad\n" : "long\n");
		}
	}
	ck_assert_uint_eq(in.n, 0);
	if (!line_is_partial(s))
		ck_assert_ptr_null(s->partial);
	free(buffer);
}

/* step 0: whole, else that many bytes a read. */
static void feed_steps(struct line_splitter *s, struct output *o, struct bytes in, size_t step)
{
	if (step == 0)
		step = in.n > 0 ? in.n : 1;
	for (size_t at = 0; at < in.n; at += step)
		feed(s, o, in.p + at, in.n - at < step ? in.n - at : step);
}

static void expect(const struct output *o, struct bytes want, const char *how, size_t where)
{
	if (o->n == want.n && memcmp(o->p, want.p, want.n) == 0)
		return;
	fprintf(stderr, "got (%s %zu):\n", how, where);
	fwrite(o->p, 1, o->n, stderr);
	fprintf(stderr, "want:\n");
	fwrite(want.p, 1, want.n, stderr);
	ck_abort_msg("%s %zu", how, where);
}

struct line_case {
	struct bytes in;
	struct bytes want;
	struct bytes answers;
	bool strict;
	bool partial; /* at the end */
};

// clang-format off
static const struct line_case cases[] = {
	/* plain */
	{ S(""), S(""), S(""), false, false },
	{ S("NOOP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NOOP\r\nQUIT\r\n"), S("=NOOP\n=QUIT\n"), S(""), true, false },
	{ S("NOOP\r\nQUI"), S("=NOOP\n"), S(""), true, true },
	{ S("NOOP\r"), S(""), S(""), false, true },
	{ S("\r\n"), S("=\n"), S(""), false, false },
	{ S("\n\n"), S("=\n=\n"), S(""), false, false },
	{ S("STOR   x \r\n"), S("=STOR   x \n"), S(""), false, false },
	{ S("STOR \xe4\xc3\xa4\x01\x7f\x80\xfe\r\n"), S("=STOR \xe4\xc3\xa4\x01\x7f\x80\xfe\n"),
	  S(""), false, false },
	/* line ends */
	{ S("NOOP\nQUIT\r\n"), S("=NOOP\n=QUIT\n"), S(""), false, false },
	{ S("NOOP\nQUIT\r\n"), S("bad\n=QUIT\n"), S(""), true, false },
	{ S("\nQUIT\r\n"), S("bad\n=QUIT\n"), S(""), true, false },
	{ S("PWD\rQUIT\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("PWD\rQUIT\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("PWD\r\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("\rPWD\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("\r\r\r\r\n"), S("bad\n"), S(""), false, false },
	{ S("PWD\n\rQUIT\r\nNOOP\r\n"), S("=PWD\nbad\n=NOOP\n"), S(""), false, false },
	/* NUL */
	{ S("US\0ER x\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("\0NOOP\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("NOOP\0\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\0b\r\n"), S("=STOR a\r\0b\n"), S(""), true, false },
	{ S("STOR a\r\0\r\n"), S("=STOR a\r\0\n"), S(""), true, false },
	{ S("STOR \r\0\r\0b\r\n"), S("=STOR \r\0\r\0b\n"), S(""), true, false },
	{ S("STOR a\r\0\0b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\0\rb\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	/* the rest of a name is never a command */
	{ S("STOR a\r\0\nDELE b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\0\nDELE b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), true, false },
	{ S("STOR a\r\0\n\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("X\0Y\r\0\nDELE b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\0\n"), S(""), S(""), false, true },
	{ S("STOR a\r\xff\xf1\0\xff\xf1\nDELE b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	/* Telnet: data */
	{ S("STOR a\xff\xff\x62\r\n"), S("=STOR a\xff\x62\n"), S(""), true, false },
	{ S("STOR \xff\xff\xff\xff\r\n"), S("=STOR \xff\xff\n"), S(""), true, false },
	{ S("STOR a\xff\xff\r\n"), S("=STOR a\xff\n"), S(""), true, false },
	{ S("STOR a\xff\x62\r\n"), S("=STOR a\xff\x62\n"), S(""), true, false },
	{ S("STOR \xff\xe2\xef\r\nNOOP\r\n"), S("=STOR \xff\xe2\xef\n=NOOP\n"), S(""), true, false },
	{ S("STOR a\xff\r\n"), S("=STOR a\xff\n"), S(""), true, false },
	{ S("STOR a\xff\nNOOP\r\n"), S("=STOR a\xff\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\xff\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), true, false },
	{ S("STOR a\xff\0b\r\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\xff\xff\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	{ S("STOR a\r\xff\nNOOP\r\n"), S("bad\n=NOOP\n"), S(""), false, false },
	/* Telnet: commands */
	{ S("NO\xff\xf1OP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NOOP\r\xff\xf1\nQUIT\xff\xf9\r\xff\xf1\xff\xf6\n"), S("=NOOP\n=QUIT\n"), S(""), true,
	  false },
	{ S("STOR a\r\xff\xf1\0b\r\n"), S("=STOR a\r\0b\n"), S(""), true, false },
	{ S("\xff\xf0\xff\xf3\xff\xf5\xff\xf6\xff\xf7\xff\xf8\xff\xf9NOOP\r\n"), S("=NOOP\n"), S(""),
	  true, false },
	{ S("\xff\xfb\x01NO\xff\xfd\x06OP\r\n"), S("=NOOP\n"),
	  S("\xff\xfe\x01\xff\xfc\x06"), true, false },
	{ S("\xff\xfc\x01NO\xff\xfe\x06OP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NOOP\r\xff\xfb\n\nQUIT\r\n"), S("=NOOP\n=QUIT\n"), S("\xff\xfe\n"), true, false },
	{ S("NO\xff\xfd\xffOP\r\n"), S("=NOOP\n"), S("\xff\xfc\xff"), true, false },
	{ S("NO\xff\xfb\0OP\r\n"), S("=NOOP\n"), S("\xff\xfe\0"), true, false },
	{ S("\xff"), S(""), S(""), false, true },
	{ S("\xff\xfb"), S(""), S(""), false, true },
	{ S("\xff\xfb\x01"), S(""), S("\xff\xfe\x01"), false, false },
	/* more of them than fit are not answered, and change nothing else */
	{ S("\xff\xfd\1\xff\xfd\2\xff\xfd\3\xff\xfd\4\xff\xfd\5\xff\xfd\6\xff\xfd\7\xff\xfd\10"
	    "\xff\xfd\11\xff\xfd\12\xff\xfd\13NOOP\r\n"),
	  S("=NOOP\n"),
	  S("\xff\xfc\1\xff\xfc\2\xff\xfc\3\xff\xfc\4\xff\xfc\5\xff\xfc\6\xff\xfc\7\xff\xfc\10"
	    "\xff\xfc\11\xff\xfc\12"),
	  true, false },
	/* subnegotiation */
	{ S("NO\xff\xfa\x18\r\nDELE x\r\n\xff\xf0OP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NO\xff\xfa\xff\xff\xf0x\xff\xf1y\xff\xf0OP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NO\xff\xfa\xff\xff\xff\xf0OP\r\n"), S("=NOOP\n"), S(""), true, false },
	{ S("NO\xff\xfa\xff"), S(""), S(""), true, true },
	/* abort */
	{ S("\xff\xf4\xff\xf2" "ABOR\r\nNOOP\r\n"), S("^=ABOR\n=NOOP\n"), S(""), true, false },
	{ S("\xff\xf4\xff\xf2"), S(""), S(""), true, false },
	{ S("\xff\xf4" "ABOR\xff\xf2\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("\xff\xf4" "ABOR\r\n\xff\xf2NOOP\r\n"), S("^=ABOR\n=NOOP\n"), S(""), true, false },
	{ S("\xff\xf4" "ABOR\r\nNO\xff\xf2OP\r\n"), S("^=ABOR\n=NOOP\n"), S(""), true, false },
	{ S("\xff\xf4" "AB\xff\xf2OR\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("RETR fo\xff\xf4\xff\xf2" "ABOR\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("RETR fo\xff\xf4" "ABOR\xff\xf2\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("RETR fo\xff\xf4" "A\xff\xf4" "BOR\xff\xf2\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("RETR fo\xff\xf4\xff\xf2X\xff\xf4\xff\xf2" "ABOR\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("RETR fo\xff\xf4o\r\nNOOP\r\n"), S("^=RETR foo\n=NOOP\n"), S(""), true, false },
	{ S("RETR fo\xff\xf2o\r\n"), S("=RETR foo\n"), S(""), true, false },
	{ S("\xff\xf4" "ABOR\r\nRETR fo\xff\xf4\xff\xf2" "ABOR\r\n"), S("^=ABOR\n^=ABOR\n"), S(""), true,
	  false },
	{ S("NOOP\r\n\xff\xf4\xff\xf2" "ABOR\r\n"), S("=NOOP\n^=ABOR\n"), S(""), true, false },
	/* faults before the IP go with the line, those behind it stay */
	{ S("X\0Y\xff\xf4\xff\xf2" "ABOR\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("X\rY\xff\xf4" "ABOR\xff\xf2\r\n"), S("^=ABOR\n"), S(""), true, false },
	{ S("X\0Y\xff\xf4" "ABOR\r\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), true, false },
	{ S("X\xff\xf4" "A\0\xff\xf2\r\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), true, false },
	{ S("X\xff\xf4\xff\xf2" "AB\rOR\r\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), true, false },
	/* CR, IP, and what the CR might have paired with */
	{ S("X\r\xff\xf4\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), false, false },
	{ S("X\r\xff\xf4\xff\xf2\nNOOP\r\n"), S("^=\n=NOOP\n"), S(""), false, false },
	{ S("X\r\xff\xf4\xff\xf2\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), true, false },
	{ S("X\r\xff\xf4\0\xff\xf2Z\r\nNOOP\r\n"), S("^bad\n=NOOP\n"), S(""), false, false },
	{ S("X\r\xff\xf4" "ABOR\xff\xf2\r\n"), S("^=ABOR\n"), S(""), false, false },
	{ S("X\r\0\xff\xf4\xff\xf2\nNOOP\r\n"), S("^=\n=NOOP\n"), S(""), false, false },
	{ S("X\xff\xf4\r\xff\xf2\nNOOP\r\n"), S("^=\n=NOOP\n"), S(""), true, false },
	{ S("X\xff\xf4Y\r\0\xff\xf2Z\r\n"), S("^=Y\r\0Z\n"), S(""), true, false },
	/* IP in idle, then a line that is begun and aborted */
	{ S("\xff\xf4\xff\xf2RETR fo\xff\xf4\xff\xf2" "ABOR\r\n"), S("^=ABOR\n"), S(""), true, false },
};
// clang-format on

static void check_case(const struct line_case *c, const char *how, size_t step, size_t cut)
{
	struct line_splitter s = { .strict_eol = c->strict };
	struct output *o = calloc(1, sizeof(*o));

	ck_assert_ptr_nonnull(o);
	if (cut > 0) {
		feed(&s, o, c->in.p, cut);
		feed(&s, o, c->in.p + cut, c->in.n - cut);
	} else {
		feed_steps(&s, o, c->in, step);
	}
	expect(o, c->want, how, cut);
	ck_assert_uint_eq(s.answers_n, c->answers.n);
	ck_assert_mem_eq(s.answers, c->answers.p, c->answers.n);
	ck_assert(line_is_partial(&s) == c->partial);
	line_fini(&s);
	ck_assert_ptr_null(s.partial);
	ck_assert(s.strict_eol == c->strict);
	ck_assert(!line_is_partial(&s) && !s.ip_seen);
	free(o);
}

START_TEST(transcript)
{
	const struct line_case *c = &cases[_i];

	check_case(c, "whole", 0, 0);
	check_case(c, "bytes", 1, 0);
	check_case(c, "pairs", 2, 0);
	check_case(c, "triples", 3, 0);
	for (size_t cut = 1; cut < c->in.n; cut++)
		check_case(c, "cut", 0, cut);
}
END_TEST

/* A line of n bytes: `head`, then fill, then `tail`. */
static struct bytes long_line(const char *head, char fill, size_t n, const char *tail)
{
	size_t h = strlen(head), t = strlen(tail);
	char *p = malloc(h + n + t + 1);

	ck_assert_ptr_nonnull(p);
	memcpy(p, head, h);
	memset(p + h, fill, n);
	memcpy(p + h + n, tail, t + 1);
	return (struct bytes){ p, h + n + t };
}

static void check_long(const char *head, char fill, size_t n, const char *tail, const char *want)
{
	static const size_t steps[] = { 0, 1, 7, 1000, 4095, 4096, 4097, 4098 };
	struct bytes in = long_line(head, fill, n, tail);

	for (size_t i = 0; i < SP_ARRAY_LEN(steps); i++) {
		struct line_splitter s = { 0 };
		struct output *o = calloc(1, sizeof(*o));
		bool ok = want[0] == '=';
		struct bytes line = ok ? long_line(want, fill, n, "\n=NOOP\n")
		                       : (struct bytes){ want, strlen(want) };

		ck_assert_ptr_nonnull(o);
		feed_steps(&s, o, in, steps[i]);
		expect(o, line, "step", steps[i]);
		ck_assert_uint_le(s.partial_cap, 2 * LINE_MAX_BYTES);
		line_fini(&s);
		free(o);
		if (ok)
			free((char *)(uintptr_t)line.p);
	}
	free((char *)(uintptr_t)in.p);
}

START_TEST(limits)
{
	check_long("", 'x', LINE_MAX_BYTES, "\r\nNOOP\r\n", "=");
	check_long("", 'x', LINE_MAX_BYTES, "\nNOOP\r\n", "=");
	check_long("", 'x', LINE_MAX_BYTES + 1, "\r\nNOOP\r\n", "long\n=NOOP\n");
	check_long("", 'x', LINE_MAX_BYTES + 1, "\nNOOP\r\n", "long\n=NOOP\n");
	check_long("", 'x', LINE_MAX_BYTES, "\rx\r\nNOOP\r\n", "bad\n=NOOP\n");
	check_long("", 'x', 10 * LINE_MAX_BYTES, "\r\nNOOP\r\n", "long\n=NOOP\n");
	/* the first fault is the one that is told */
	check_long("\ra", 'x', 10 * LINE_MAX_BYTES, "\r\nNOOP\r\n", "bad\n=NOOP\n");
	check_long("", 'x', 10 * LINE_MAX_BYTES, "a\rb\r\nNOOP\r\n", "long\n=NOOP\n");
	/* Telnet commands do not count */
	check_long("\xff\xf1\xff\xf1", 'x', LINE_MAX_BYTES + 1, "\r\nNOOP\r\n", "long\n=NOOP\n");
	/* a too long line that is aborted */
	check_long("", 'x', 10 * LINE_MAX_BYTES, "\xff\xf4\xff\xf2NOOP\r\n", "^=NOOP\n");
	check_long("", 'x', LINE_MAX_BYTES, "\xff\xf4NOOP\xff\xf2\r\n", "^long\n");
	check_long("", 'x', LINE_MAX_BYTES - 4, "\xff\xf4NOOP\xff\xf2\r\n", "^=NOOP\n");
}
END_TEST

/* One without an end gives up, and with it the line. */
START_TEST(subnegotiation_limits)
{
	static const char ended[] = "\xff\xf0OP\r\n\xff\xfaQUIT\xff\xf0QUIT\r\n";
	static const struct {
		size_t n;
		const char *tail;
		const char *want;
	} rows[] = {
		{ 0, ended, "=NOOP\n=QUIT\n" },
		{ LINE_SB_MAX, ended, "=NOOP\n=QUIT\n" },
		{ LINE_SB_MAX + 1, ended, "long\n=QUIT\n" },
		{ 100 * LINE_SB_MAX, ended, "long\n=QUIT\n" },
		{ LINE_SB_MAX + 1, "\r\nQUIT\r\n", "long\n=QUIT\n" },
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(rows); i++) {
		struct bytes in = long_line("NO\xff\xfa", 'x', rows[i].n, rows[i].tail);

		for (size_t step = 0; step < 3; step++) {
			struct line_splitter s = { 0 };
			struct output *o = calloc(1, sizeof(*o));

			ck_assert_ptr_nonnull(o);
			feed_steps(&s, o, in, step);
			expect(o, (struct bytes){ rows[i].want, strlen(rows[i].want) }, "row", i);
			line_fini(&s);
			free(o);
		}
		free((char *)(uintptr_t)in.p);
	}
}
END_TEST

START_TEST(whole_line_is_lent_from_the_input)
{
	char memory[] = "RETR a\r\nSTOR \xff\xff\x62\r\nNOOP\r\nQU";
	struct line_splitter s = { 0 };
	struct span in = span_from(memory, sizeof(memory) - 1), line[3];
	enum line_result result[3];
	bool failed;

	/* libcheck allocates too: no assertion until the end of this */
	alloc_fail_at(1);
	for (size_t i = 0; i < 3; i++)
		result[i] = line_next(&s, &in, &line[i]);
	failed = alloc_has_failed();
	alloc_fail_at(0);

	ck_assert(!failed);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(result[i], LINE_OK);
	ck_assert_ptr_eq(line[0].p, memory);
	ck_assert(span_eq(line[0], span_of("RETR a")));
	ck_assert_ptr_eq(line[1].p, memory + 8);
	ck_assert(span_eq(line[1], span_of("STOR \xff\x62")));
	ck_assert(span_eq(line[2], span_of("NOOP")));
	ck_assert_int_eq(line_next(&s, &in, &line[0]), LINE_MORE);
	ck_assert(line_is_partial(&s));
	ck_assert_ptr_nonnull(s.partial);
	line_fini(&s);
}
END_TEST

START_TEST(no_memory_is_an_answer)
{
	static const char input[] = "STOR a-name-that-was-cut\xff\xff\xff\x62";
	struct bytes in = long_line(input, 'x', 1000, "\r\nNOOP\r\n");
	enum line_result result;
	unsigned n = 0;
	bool failed;

	do {
		struct line_splitter s = { 0 };
		struct span line;

		result = LINE_MORE;
		alloc_fail_at(++n);
		for (size_t at = 0; at < in.n && result != LINE_NO_MEMORY; at++) {
			char c = in.p[at];
			struct span read = span_from(&c, 1);

			result = line_next(&s, &read, &line);
		}
		failed = alloc_has_failed();
		alloc_fail_at(0);
		line_fini(&s);
		ck_assert_ptr_null(s.partial);
		ck_assert_int_eq(result, failed ? LINE_NO_MEMORY : LINE_OK);
	} while (failed);
	ck_assert_uint_ge(n, 4);
	free((char *)(uintptr_t)in.p);
}
END_TEST

START_TEST(answers_go_on_when_they_were_sent)
{
	struct line_splitter s = { 0 };
	char will[] = "\xff\xfb\x03";

	for (int i = 0; i < 50; i++) {
		struct span in = span_from(will, 3), line;

		ck_assert_int_eq(line_next(&s, &in, &line), LINE_MORE);
		ck_assert_uint_eq(s.answers_n, 3);
		ck_assert_mem_eq(s.answers, "\xff\xfe\x03", 3);
		s.answers_n = 0;
	}
	line_fini(&s);
}
END_TEST

struct write_case {
	struct bytes line;
	bool escape;
	struct bytes want; /* empty: refused */
};

static const struct write_case writes[] = {
	{ S(""), true, S("\r\n") },
	{ S("RETR a b "), true, S("RETR a b \r\n") },
	{ S("RETR \xff"), true, S("RETR \xff\xff\r\n") },
	{ S("RETR \xff\xff"), true, S("RETR \xff\xff\xff\xff\r\n") },
	{ S("RETR \xff"), false, S("RETR \xff\r\n") },
	{ S("RETR a\r\0b\r\0"), true, S("RETR a\r\0b\r\0\r\n") },
	{ S("RETR a\nDELE b"), true, S("") },
	{ S("RETR a\r\nDELE b"), true, S("") },
	{ S("RETR a\r\0\nDELE b"), true, S("") },
	{ S("RETR a\rDELE b"), true, S("") },
	{ S("RETR a\r"), true, S("") },
	{ S("\0RETR a"), true, S("") },
	{ S("RETR \0a"), true, S("") },
	{ S("RETR a\r\0\0b"), true, S("") },
};

START_TEST(write_lines)
{
	const struct write_case *c = &writes[_i];
	size_t max = 2 * c->line.n + 2;
	struct span line = span_from(c->line.p, c->line.n);

	for (size_t size = 0; size <= max + 4; size++) {
		char *to = malloc(size);
		size_t n = line_write(to, size, line, c->escape);

		if (n != 0) {
			ck_assert_uint_eq(n, c->want.n);
			ck_assert_mem_eq(to, c->want.p, n);
		} else if (c->want.n > 0) {
			ck_assert_uint_lt(size, c->want.n);
		}
		if (size >= c->want.n && c->want.n > 0)
			ck_assert_uint_eq(n, c->want.n);
		free(to);
	}
}
END_TEST

START_TEST(longest_line_fits_the_wire)
{
	static char line[LINE_MAX_BYTES], to[LINE_WIRE_MAX];

	memset(line, 0xff, sizeof(line));
	ck_assert_uint_eq(line_write(to, sizeof(to), span_from(line, sizeof(line)), true),
	                  LINE_WIRE_MAX);
	ck_assert_uint_eq(line_write(to, sizeof(to) - 1, span_from(line, sizeof(line)), true), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line");
	TCase *tests = tcase_create("line");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, transcript, 0, (int)SP_ARRAY_LEN(cases));
	tcase_add_test(tests, limits);
	tcase_add_test(tests, subnegotiation_limits);
	tcase_add_test(tests, whole_line_is_lent_from_the_input);
	tcase_add_test(tests, no_memory_is_an_answer);
	tcase_add_test(tests, answers_go_on_when_they_were_sent);
	tcase_add_loop_test(tests, write_lines, 0, (int)SP_ARRAY_LEN(writes));
	tcase_add_test(tests, longest_line_fits_the_wire);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * Reply reader: a server's bytes to whole replies.
 *
 * Two ways to the same result. A reply that lies in the input as it must be is
 * lent from there (whole_next). One that is cut, or has other line ends than
 * CRLF, is put together in the reader's text (collect_next). Both ask
 * line_kind() what a line is. Knows nothing of what a code means.
 */
#include "sallyport/reply.h"

#include <stdlib.h>
#include <string.h>

#define CR '\r'
#define LF '\n'
#define NUL '\0'

/* RFC 854 */
#define TELNET_NOP 241
#define TELNET_GA 249
#define TELNET_WILL 251
#define TELNET_DONT 254
#define TELNET_IAC 255

enum line_kind {
	LINE_BLANK,
	LINE_GARBAGE,
	LINE_SINGLE, /* a whole reply */
	LINE_FIRST,  /* of a multi-line reply */
	LINE_TEXT,   /* in the middle of one */
	LINE_LAST,   /* of it */
};

/* The code at the start of a line; 0 when there is none. */
static int line_code(struct span line)
{
	int code = 0;

	if (line.n < 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return 0;
		code = code * 10 + (line.p[i] - '0');
	}
	return code;
}

/* Only CRs from `at` on: servers in text mode send CR CR LF. */
static bool line_ends_at(struct span line, size_t at)
{
	while (at < line.n && line.p[at] == CR)
		at++;
	return at == line.n;
}

/* How many bytes before a reply's code are a server's noise. */
static size_t line_noise(struct span line)
{
	size_t i = 0;

	while (i < line.n) {
		unsigned char c = (unsigned char)line.p[i];
		unsigned char next = i + 1 < line.n ? (unsigned char)line.p[i + 1] : 0;

		if (c == NUL)
			i++;
		else if (c == TELNET_IAC && next >= TELNET_NOP && next <= TELNET_GA)
			i += 2;
		else if (c == TELNET_IAC && next >= TELNET_WILL && next <= TELNET_DONT &&
		         i + 2 < line.n)
			i += 3;
		else
			break;
	}
	return i;
}

/* `line` has no line end and no noise; `*code` is 0 outside a reply, and set by its first line. */
static enum line_kind line_kind(struct span line, int *code)
{
	int found = line_code(line);
	bool bare = found != 0 && line_ends_at(line, 3);

	if (*code != 0) {
		if (found == *code && (bare || line.p[3] == ' '))
			return LINE_LAST;
		return LINE_TEXT;
	}
	if (line_ends_at(line, 0))
		return LINE_BLANK;
	if (found < 100 || found > 659)
		return LINE_GARBAGE;
	if (!bare && line.p[3] != ' ' && line.p[3] != '-')
		return LINE_GARBAGE;
	*code = found;
	return !bare && line.p[3] == '-' ? LINE_FIRST : LINE_SINGLE;
}

static enum reply_result reply_ok(struct reply *out, int code, bool multi_line, struct span raw)
{
	const char *lf = memchr(raw.p, LF, raw.n);
	size_t first = (size_t)(lf - raw.p) - 1; /* without its CR */

	*out = (struct reply){ .code = code, .multi_line = multi_line, .raw = raw };
	out->text = first > 4 ? span_from(raw.p + 4, first - 4) : span_from(raw.p + first, 0);
	return REPLY_OK;
}

static enum reply_result reply_bad(struct reply_reader *r, struct reply *out, struct span line)
{
	r->dead = true;
	out->raw = line;
	return REPLY_BAD;
}

static enum reply_result reply_too_long(struct reply_reader *r, struct reply *out, int code)
{
	r->dead = true;
	out->code = code;
	return REPLY_TOO_LONG;
}

/*
 * A reply that lies whole in the input. REPLY_MORE: it does not, and has to be
 * collected from *in, before which only blank lines were taken.
 */
static enum reply_result whole_next(struct reply_reader *r, struct span *in, struct reply *out)
{
	const char *end = in->p + in->n;
	const char *start = in->p;
	const char *p = in->p;
	const char *lf;
	int code = 0;

	while (p < end && (lf = memchr(p, LF, (size_t)(end - p))) != NULL) {
		bool has_cr = lf > p && lf[-1] == CR;
		struct span line = span_from(p, (size_t)(lf - p) - (has_cr ? 1 : 0));
		enum line_kind kind;

		if (line.n > REPLY_LINE_MAX)
			return reply_bad(r, out, span_from(line.p, REPLY_LINE_MAX));
		if (code == 0) {
			size_t noise = line_noise(line);

			start = p + noise;
			line = span_from(start, line.n - noise);
		}
		kind = line_kind(line, &code);
		if (kind == LINE_GARBAGE)
			return reply_bad(r, out, line);
		p = lf + 1;
		if (kind == LINE_BLANK) {
			r->blank_lines++;
			*in = span_from(p, (size_t)(end - p));
			continue;
		}
		if (!has_cr)
			return REPLY_MORE;
		if (p - start > REPLY_BYTES_MAX)
			return reply_too_long(r, out, code);
		if (kind == LINE_SINGLE || kind == LINE_LAST) {
			*in = span_from(p, (size_t)(end - p));
			return reply_ok(out, code, kind == LINE_LAST,
			                span_from(start, (size_t)(p - start)));
		}
	}
	return REPLY_MORE;
}

static bool text_append(struct reply_reader *r, const char *p, size_t n)
{
	if (n == 0)
		return true;
	if (n > r->cap - r->n) {
		size_t cap = r->cap > 0 ? r->cap : 256;
		char *grown;

		while (cap - r->n < n)
			cap *= 2;
		grown = realloc(r->text, cap);
		if (grown == NULL)
			return false;
		r->text = grown;
		r->cap = cap;
	}
	memcpy(r->text + r->n, p, n);
	r->n += n;
	return true;
}

static void text_free(struct reply_reader *r)
{
	free(r->text);
	r->text = NULL;
	r->n = 0;
	r->cap = 0;
	r->line_start = 0;
	r->code = 0;
	r->given = false;
}

/* The line that is being collected, without the CR of its end. */
static struct span text_line(const struct reply_reader *r)
{
	struct span line = span_from(r->text + r->line_start, r->n - r->line_start);

	if (line.n > 0 && line.p[line.n - 1] == CR)
		line.n--;
	return line;
}

/* Its LF came. REPLY_MORE: the reply is not whole yet. */
static enum reply_result text_line_end(struct reply_reader *r, struct reply *out)
{
	bool multi_line = r->code != 0;
	struct span line = span_from(NULL, 0);
	enum line_kind kind;

	if (r->n > r->line_start)
		line = text_line(r);
	if (!multi_line && line.n > 0) {
		size_t noise = line_noise(line);

		line.n -= noise;
		memmove(r->text, r->text + noise, line.n);
	}
	kind = line_kind(line, &r->code);
	if (kind == LINE_GARBAGE)
		return reply_bad(r, out, line);
	if (kind == LINE_BLANK) {
		r->blank_lines++;
		r->n = 0;
		return REPLY_MORE;
	}
	r->n = r->line_start + line.n;
	if (!text_append(r, "\r\n", 2))
		return REPLY_NO_MEMORY;
	r->line_start = r->n;
	if (r->n > REPLY_BYTES_MAX)
		return reply_too_long(r, out, r->code);
	if (kind != LINE_SINGLE && kind != LINE_LAST)
		return REPLY_MORE;
	r->given = true;
	return reply_ok(out, r->code, multi_line, span_from(r->text, r->n));
}

/* Takes up to and with the next line end. REPLY_MORE: nothing is whole yet. */
static enum reply_result collect_line(struct reply_reader *r, struct span *in, struct reply *out)
{
	const char *lf = memchr(in->p, LF, in->n);
	size_t n = lf != NULL ? (size_t)(lf - in->p) : in->n;
	size_t room = REPLY_LINE_MAX + 2 - (r->n - r->line_start); /* CR and one too many */
	struct span line;

	if (!text_append(r, in->p, n < room ? n : room))
		return REPLY_NO_MEMORY;
	if (r->n > r->line_start) {
		line = text_line(r);
		if (line.n > REPLY_LINE_MAX)
			return reply_bad(r, out, span_from(line.p, REPLY_LINE_MAX));
	}
	if (lf != NULL)
		n++;
	in->p += n;
	in->n -= n;
	return lf != NULL ? text_line_end(r, out) : REPLY_MORE;
}

enum reply_result reply_next(struct reply_reader *r, struct span *in, struct reply *out)
{
	enum reply_result result = REPLY_MORE;

	*out = (struct reply){ 0 };
	if (r->given)
		text_free(r);
	if (r->dead)
		return REPLY_BAD;
	if (r->n == 0 && in->n > 0)
		result = whole_next(r, in, out);
	while (result == REPLY_MORE && in->n > 0)
		result = collect_line(r, in, out);
	if (result == REPLY_MORE && r->n == 0)
		text_free(r);
	return result;
}

void reply_fini(struct reply_reader *r)
{
	free(r->text);
	*r = (struct reply_reader){ 0 };
}

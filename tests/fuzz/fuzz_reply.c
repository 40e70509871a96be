// SPDX-License-Identifier: ISC
/*
 * The reply reader. The first byte of the input chooses how the rest is cut.
 * Fed whole, byte by byte and cut, it gives the same replies; and what it gave,
 * read again, is the same replies.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, reply after reply; the raw texts apart, so that they can be read again. */
struct output {
	struct bytes {
		char *p;
		size_t n;
		size_t cap;
	} log, raw;
	enum reply_result last;
	unsigned blank_lines;
};

static void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (n > b->cap - b->n) {
		b->cap = 2 * b->cap + n + 256;
		b->p = realloc(b->p, b->cap);
		SP_ASSERT(b->p != NULL);
	}
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void check_reply(const struct reply *reply)
{
	const char *raw = reply->raw.p;
	size_t n = reply->raw.n;
	size_t lines = 0;

	SP_ASSERT(n >= 5 && n <= REPLY_BYTES_MAX);
	SP_ASSERT(reply->code >= 100 && reply->code <= 659);
	SP_ASSERT((raw[0] - '0') * 100 + (raw[1] - '0') * 10 + (raw[2] - '0') == reply->code);
	SP_ASSERT(raw[n - 2] == '\r' && raw[n - 1] == '\n');
	for (size_t i = 0; i < n; i++) {
		if (raw[i] != '\n')
			continue;
		SP_ASSERT(raw[i - 1] == '\r');
		lines++;
	}
	SP_ASSERT(reply->multi_line == (lines > 1));
	SP_ASSERT(reply->text.p >= raw && reply->text.p + reply->text.n + 2 <= raw + n);
	SP_ASSERT(reply->text.n == 0 || memchr(reply->text.p, '\n', reply->text.n) == NULL);
}

static void feed(struct reply_reader *r, struct output *o, const char *read, size_t n)
{
	struct span in = span_from(read, n);
	struct reply reply;

	while ((o->last = reply_next(r, &in, &reply)) == REPLY_OK) {
		check_reply(&reply);
		bytes_add(&o->log, &reply.code, sizeof(reply.code));
		bytes_add(&o->log, &reply.raw.n, sizeof(reply.raw.n));
		bytes_add(&o->log, &reply.text.n, sizeof(reply.text.n));
		bytes_add(&o->log, reply.text.p, reply.text.n);
		bytes_add(&o->raw, reply.raw.p, reply.raw.n);
	}
	SP_ASSERT(o->last != REPLY_NO_MEMORY);
	SP_ASSERT(o->last != REPLY_MORE || in.n == 0);
	SP_ASSERT(r->n > 0 || r->text == NULL);
	/* What is bad is shown: a line of the input, or its start. */
	if (o->last == REPLY_BAD)
		SP_ASSERT(reply.raw.n > 0 && reply.raw.n <= REPLY_LINE_MAX);
	if (o->last != REPLY_MORE) {
		bytes_add(&o->log, &o->last, sizeof(o->last));
		bytes_add(&o->log, reply.raw.p, reply.raw.n);
	}
}

/*
 * `cut` 0: whole; else reads of 1..cut bytes, of which those longer than one lie
 * in memory of their own, where the sanitizer sees a step beyond.
 */
static struct output run(const char *data, size_t size, unsigned cut)
{
	struct reply_reader r = { 0 };
	struct output o = { .last = REPLY_MORE };
	unsigned random = cut;

	for (size_t at = 0; at < size && o.last == REPLY_MORE;) {
		size_t n = size - at;

		random = random * 1103515245u + 12345u;
		if (cut > 0 && n > 1 + (random >> 16) % cut)
			n = 1 + (random >> 16) % cut;
		if (cut > 1) {
			char *read = malloc(n);

			SP_ASSERT(read != NULL);
			memcpy(read, data + at, n);
			feed(&r, &o, read, n);
			free(read);
		} else {
			feed(&r, &o, data + at, n);
		}
		at += n;
	}
	o.blank_lines = r.blank_lines;
	reply_fini(&r);
	return o;
}

static void output_free(struct output *o)
{
	free(o->log.p);
	free(o->raw.p);
}

static void check_same(const struct output *a, const struct output *b)
{
	SP_ASSERT(a->log.n == b->log.n && a->raw.n == b->raw.n);
	SP_ASSERT(a->log.n == 0 || memcmp(a->log.p, b->log.p, a->log.n) == 0);
	SP_ASSERT(a->raw.n == 0 || memcmp(a->raw.p, b->raw.p, a->raw.n) == 0);
}

/* The replies that came out, read again, come out again, and nothing more. */
static void check_again(const struct output *whole)
{
	struct output again = run(whole->raw.p, whole->raw.n, 0);

	SP_ASSERT(again.last == REPLY_MORE && again.blank_lines == 0);
	SP_ASSERT(again.raw.n == whole->raw.n);
	SP_ASSERT(again.log.n <= whole->log.n);
	if (again.raw.n > 0) {
		SP_ASSERT(memcmp(again.raw.p, whole->raw.p, again.raw.n) == 0);
		SP_ASSERT(memcmp(again.log.p, whole->log.p, again.log.n) == 0);
	}
	output_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct output whole;

	if (size < 1)
		return 0;
	whole = run(text, size - 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct output cut = run(text, size - 1, i == 0 ? 1 : 2u + data[0]);

		check_same(&whole, &cut);
		SP_ASSERT(whole.blank_lines == cut.blank_lines);
		output_free(&cut);
	}
	check_again(&whole);
	output_free(&whole);
	return 0;
}

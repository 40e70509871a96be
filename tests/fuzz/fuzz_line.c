// SPDX-License-Identifier: ISC
/*
 * The line splitter. The first byte of the input chooses the rules, the second
 * how it is cut. Fed whole, byte by byte and cut, it gives the same lines; what
 * they hold can be sent on without a server seeing another boundary.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, line after line: result, ip_seen, length, bytes; and the answers. */
struct output {
	unsigned char *p;
	size_t n;
	size_t cap;
};

static void output_add(struct output *o, const void *p, size_t n)
{
	if (n > o->cap - o->n) {
		o->cap = 2 * o->cap + n + 256;
		o->p = realloc(o->p, o->cap);
		SP_ASSERT(o->p != NULL);
	}
	if (n > 0)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

/* What goes to a server: CRs and LFs only as line ends, but for CR NUL; read back the same. */
static void check_wire(struct span line, bool strict_eol)
{
	static char wire[LINE_WIRE_MAX];
	struct line_splitter s = { .strict_eol = strict_eol };
	struct span in, again;
	size_t raw = line_write(wire, sizeof(wire), line, false);
	size_t n;

	SP_ASSERT(line.n <= LINE_MAX_BYTES && raw == line.n + 2);
	SP_ASSERT(raw == 2 || memcmp(wire, line.p, line.n) == 0);
	n = line_write(wire, sizeof(wire), line, true);
	SP_ASSERT(n >= raw);
	for (size_t i = 0; i < n; i++) {
		char next = i + 1 < n ? wire[i + 1] : '\0';

		SP_ASSERT(wire[i] != '\n' || i + 1 == n);
		SP_ASSERT(wire[i] != '\r' || (i + 2 == n ? next == '\n' : next == '\0'));
		SP_ASSERT(wire[i] != '\0' || (i > 0 && wire[i - 1] == '\r'));
	}
	in = span_from(wire, n);
	SP_ASSERT(line_next(&s, &in, &again) == LINE_OK && in.n == 0);
	SP_ASSERT(span_eq(line, again));
	line_fini(&s);
}

static void feed(struct line_splitter *s, struct output *o, char *read, size_t n)
{
	struct span in = span_from(read, n), line;
	enum line_result result;

	while ((result = line_next(s, &in, &line)) != LINE_MORE) {
		SP_ASSERT(result != LINE_NO_MEMORY && !line_is_partial(s));
		output_add(o, &result, sizeof(result));
		output_add(o, &s->ip_seen, sizeof(s->ip_seen));
		output_add(o, &line.n, sizeof(line.n));
		output_add(o, line.p, line.n);
		if (result == LINE_OK)
			check_wire(line, s->strict_eol);
		else
			SP_ASSERT(line.n == 0);
	}
	SP_ASSERT(in.n == 0);
	SP_ASSERT(line_is_partial(s) || s->partial == NULL);
}

static char *copy_of(const void *p, size_t n)
{
	char *copy = malloc(n);

	SP_ASSERT(copy != NULL || n == 0);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

/*
 * `cut` 0: whole; else reads of 1..cut bytes. Single bytes follow one another in
 * memory, which is fast and lets a byte written behind a read change the next;
 * other reads lie apart, where the sanitizer sees a step beyond.
 */
static struct output run(const uint8_t *data, size_t size, bool strict_eol, unsigned cut)
{
	struct line_splitter s = { .strict_eol = strict_eol };
	struct output o = { 0 };
	char *input = copy_of(data, size);
	unsigned random = cut;
	bool partial;

	for (size_t at = 0; at < size;) {
		size_t n = size - at;

		random = random * 1103515245u + 12345u;
		if (cut > 0 && n > 1 + (random >> 16) % cut)
			n = 1 + (random >> 16) % cut;
		if (cut > 1) {
			char *read = copy_of(data + at, n);

			feed(&s, &o, read, n);
			free(read);
		} else {
			feed(&s, &o, input + at, n);
		}
		at += n;
	}
	free(input);
	partial = line_is_partial(&s);
	output_add(&o, &partial, sizeof(partial));
	output_add(&o, s.answers, s.answers_n);
	line_fini(&s);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct output whole, cut;
	unsigned cuts[2];
	bool strict_eol;

	if (size < 2)
		return 0;
	strict_eol = data[0] & 1;
	cuts[0] = 1;
	cuts[1] = 2u + data[1];
	data += 2;
	size -= 2;
	whole = run(data, size, strict_eol, 0);
	for (size_t i = 0; i < SP_ARRAY_LEN(cuts); i++) {
		cut = run(data, size, strict_eol, cuts[i]);
		SP_ASSERT(whole.n == cut.n && memcmp(whole.p, cut.p, cut.n) == 0);
		free(cut.p);
	}
	free(whole.p);
	return 0;
}

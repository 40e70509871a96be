// SPDX-License-Identifier: ISC
/*
 * Names in the texts of replies.
 */
#include "sallyport/translate.h"

#include <string.h>

/* Takes the next line, without its CRLF, from *text. */
static struct span take_line(struct span *text)
{
	const char *end = memchr(text->p, '\n', text->n);
	size_t n = end != NULL ? (size_t)(end - text->p) : text->n;
	struct span line = span_from(text->p, n > 0 && text->p[n - 1] == '\r' ? n - 1 : n);
	size_t used = end != NULL ? n + 1 : n;

	text->p += used;
	text->n -= used;
	return line;
}

/* What stands behind the first `mark`, whatever its case; its own n is 0 when the mark is not there. */
static struct span behind(struct span text, const char *mark)
{
	size_t n = strlen(mark);

	for (size_t i = 0; i + n < text.n; i++) {
		struct span rest = span_from(text.p + i, text.n - i);

		if (span_starts_nocase(rest, mark))
			return span_from(rest.p + n, rest.n - n);
	}
	return span_from("", 0);
}

struct span translate_stou_name(struct span text)
{
	struct span name = behind(text, "unique file name:");
	bool bracketed = name.n > 0;

	if (!bracketed && span_starts_nocase(text, "FILE:"))
		name = behind(text, "FILE:");
	name = take_line(&name);
	if (bracketed) {
		const char *end = memchr(name.p, ')', name.n);

		if (end != NULL)
			name.n = (size_t)(end - name.p);
	}
	while (name.n > 0 && name.p[0] == ' ')
		name = span_from(name.p + 1, name.n - 1);
	return name;
}

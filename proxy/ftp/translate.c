// SPDX-License-Identifier: ISC
/*
 * FEAT: the truth about the pair of us and the server.
 */
#include "sallyport/translate.h"

#include <string.h>

/* What we do ourselves, whatever the server can. */
static const char *const ours[] = { "EPRT", "EPSV", "HOST", "PASV", "UTF8" };
static const char *const ours_with_tls[] = { "AUTH TLS", "PBSZ", "PROT" };

/*
 * What is ours to promise or nobody's: protection is made here and not by the
 * server; deflated data, LPRT's addresses and commands in blocks would not
 * survive the relay.
 */
static const char *const hidden[] = { "AUTH", "PBSZ", "PROT", "CCC",  "ADAT", "MIC",  "CONF", "ENC",
				      "CPSV", "SSCN", "LPRT", "LPSV", "EPRT", "EPSV", "HOST", "PASV",
				      "UTF8", "MODE", "XSSL", "SPSV" };

struct writer {
	char *to;
	size_t size;
	size_t n;
};

static bool put_line(struct writer *w, const char *prefix, struct span text)
{
	size_t prefix_n = strlen(prefix);
	size_t need = prefix_n + text.n + 2;

	if (need > w->size - w->n)
		return false;
	memcpy(w->to + w->n, prefix, prefix_n);
	if (text.n > 0)
		memcpy(w->to + w->n + prefix_n, text.p, text.n);
	memcpy(w->to + w->n + prefix_n + text.n, "\r\n", 2);
	w->n += need;
	return true;
}

static struct span first_word(struct span line)
{
	size_t n = 0;

	while (n < line.n && line.p[n] != ' ')
		n++;
	return span_from(line.p, n);
}

static bool is_hidden(struct span feature)
{
	struct span word = first_word(feature);

	for (size_t i = 0; i < SP_ARRAY_LEN(hidden); i++) {
		if (span_eq_nocase(word, span_of(hidden[i])))
			return true;
	}
	return false;
}

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

size_t translate_feat(char *to, size_t size, struct span server, bool tls)
{
	static const char head[] = "211-Features:";
	static const char tail[] = "211 End";
	struct writer w = { to, size - sizeof(tail) - 1, 0 };

	SP_ASSERT(size >= 256);
	(void)put_line(&w, head, span_from("", 0));
	for (size_t i = 0; i < SP_ARRAY_LEN(ours); i++)
		(void)put_line(&w, " ", span_of(ours[i]));
	for (size_t i = 0; tls && i < SP_ARRAY_LEN(ours_with_tls); i++)
		(void)put_line(&w, " ", span_of(ours_with_tls[i]));
	if (server.n > 0)
		(void)take_line(&server);
	while (server.n > 0) {
		struct span line = take_line(&server);

		if (line.n >= 4 && memcmp(line.p, "211", 3) == 0 && (line.p[3] == ' ' || line.p[3] == '-')) {
			if (line.p[3] == ' ')
				break;
			line = span_from(line.p + 4, line.n - 4); /* the code stands on every line */
		}
		while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
			line = span_from(line.p + 1, line.n - 1);
		if (line.n == 0 || is_hidden(line))
			continue;
		(void)put_line(&w, " ", line);
	}
	w.size = size;
	(void)put_line(&w, tail, span_from("", 0));
	return w.n;
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

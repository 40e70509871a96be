// SPDX-License-Identifier: ISC
/*
 * Features: the lines of FEAT, and the truth about the pair of us and servers.
 */
#include "sallyport/features.h"

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
	                              "UTF8", "MODE", "XSSL", "SPSV", "PRET" };

/* Names of features that are no commands. */
static const char *const properties[] = { "TVFS", "UTF8" };

static bool is_one_of(struct span word, const char *const words[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (span_eq_nocase(word, span_of(words[i])))
			return true;
	}
	return false;
}

static struct span first_word(struct span line)
{
	const char *space = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;

	return span_from(line.p, space != NULL ? (size_t)(space - line.p) : line.n);
}

/* What stands behind the word and its space. */
static struct span arguments(struct span line)
{
	size_t n = first_word(line).n;

	return n < line.n ? span_from(line.p + n + 1, line.n - n - 1) : span_from("", 0);
}

/* Takes what comes before the next `end`, or all that is left. */
static struct span take_until(struct span *text, char end)
{
	const char *at = text->n > 0 ? memchr(text->p, end, text->n) : NULL;
	struct span part = span_from(text->p, at != NULL ? (size_t)(at - text->p) : text->n);
	size_t used = at != NULL ? part.n + 1 : part.n;

	*text = span_from(text->p + used, text->n - used);
	return part;
}

static bool add_bytes(struct features *features, struct span bytes)
{
	if (bytes.n > sizeof(features->text) - features->n)
		return false;
	if (bytes.n > 0)
		memcpy(features->text + features->n, bytes.p, bytes.n);
	features->n += bytes.n;
	return true;
}

static void add_line(struct features *features, struct span line)
{
	size_t before = features->n;

	if (!add_bytes(features, line) || !add_bytes(features, span_of("\n")))
		features->n = before;
}

/* --- a server's answer ---------------------------------------------------------------- */

static bool has_control(struct span line)
{
	for (size_t i = 0; i < line.n; i++) {
		if ((unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f)
			return true;
	}
	return false;
}

static struct span trim(struct span line)
{
	while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' '))
		line.n--;
	while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = span_from(line.p + 1, line.n - 1);
	return line;
}

void features_read(struct features *features, struct span reply)
{
	features->n = 0;
	if (reply.n < 4 || memcmp(reply.p, "211-", 4) != 0)
		return;
	(void)take_until(&reply, '\n');
	while (reply.n > 0) {
		struct span line = take_until(&reply, '\n');

		if (line.n >= 4 && memcmp(line.p, "211", 3) == 0 &&
		    (line.p[3] == ' ' || line.p[3] == '-')) {
			if (line.p[3] == ' ')
				return;
			line = span_from(line.p + 4, line.n - 4); /* the code stands on every line */
		}
		line = trim(line);
		if (line.n > 0 && !has_control(line) &&
		    !is_one_of(first_word(line), hidden, SP_ARRAY_LEN(hidden)))
			add_line(features, line);
	}
}

void features_add_ours(struct features *features, bool tls)
{
	struct features servers = *features;
	struct span rest = span_from(servers.text, servers.n);

	features->n = 0;
	for (size_t i = 0; i < SP_ARRAY_LEN(ours); i++)
		add_line(features, span_of(ours[i]));
	for (size_t i = 0; tls && i < SP_ARRAY_LEN(ours_with_tls); i++)
		add_line(features, span_of(ours_with_tls[i]));
	while (rest.n > 0)
		add_line(features, take_until(&rest, '\n'));
}

/* --- what two have in common -------------------------------------------------------------- */

static bool has_line(const struct features *features, struct span line)
{
	struct span rest = span_from(features->text, features->n);

	while (rest.n > 0) {
		if (span_eq_nocase(take_until(&rest, '\n'), line))
			return true;
	}
	return false;
}

static bool is_list(struct span text)
{
	return text.n > 0 && memchr(text.p, ';', text.n) != NULL;
}

/* "size*" is the item "size", and on by default. */
static struct span without_star(struct span item)
{
	return item.n > 0 && item.p[item.n - 1] == '*' ? span_from(item.p, item.n - 1) : item;
}

/* Whether the list has the item; *star: with an asterisk. */
static bool list_has(struct span list, struct span item, bool *star)
{
	while (list.n > 0) {
		struct span other = take_until(&list, ';');

		if (span_eq_nocase(without_star(other), item)) {
			*star = without_star(other).n < other.n;
			return true;
		}
	}
	return false;
}

/* The same of all the lists that stand behind this word: nothing keeps a server from listing twice. */
static bool lists_have(const struct features *features, struct span word, struct span item, bool *star)
{
	struct span rest = span_from(features->text, features->n);

	while (rest.n > 0) {
		struct span line = take_until(&rest, '\n');

		if (span_eq_nocase(first_word(line), word) && is_list(arguments(line)) &&
		    list_has(arguments(line), item, star))
			return true;
	}
	return false;
}

/* "MLST size*;modify;": the items that the other has too; no line when there are none. */
static void add_common_items(struct features *features, struct span line, const struct features *other)
{
	struct span list = arguments(line);
	size_t before = features->n;
	bool any = false;
	bool fits = add_bytes(features, first_word(line)) && add_bytes(features, span_of(" "));

	while (list.n > 0 && fits) {
		struct span item = take_until(&list, ';');
		struct span name = without_star(item);
		bool star = false;

		if (name.n == 0 || !lists_have(other, first_word(line), name, &star))
			continue;
		any = true;
		fits = add_bytes(features, star ? item : name) && add_bytes(features, span_of(";"));
	}
	if (!any || !fits || !add_bytes(features, span_of("\n")))
		features->n = before;
}

void features_keep_common(struct features *features, const struct features *other)
{
	struct features before = *features;
	struct span rest = span_from(before.text, before.n);

	features->n = 0;
	while (rest.n > 0) {
		struct span line = take_until(&rest, '\n');

		if (has_line(other, line))
			add_line(features, line);
		else if (is_list(arguments(line)))
			add_common_items(features, line, other);
	}
}

/* --- the answer ----------------------------------------------------------------------------- */

static bool is_permitted(const struct policy *policy, struct span line)
{
	struct span word = first_word(line);

	if (is_one_of(word, properties, SP_ARRAY_LEN(properties)))
		return true;
	/* RFC 3659 section 7.8: the line MLST speaks for MLSD, too. */
	if (span_eq_nocase(word, span_of("MLST")) && !policy_promises(policy, span_of("MLSD")))
		return false;
	return policy_promises(policy, line);
}

void features_keep_permitted(struct features *features, const struct policy *policy)
{
	struct features before = *features;
	struct span rest = span_from(before.text, before.n);

	features->n = 0;
	while (rest.n > 0) {
		struct span line = take_until(&rest, '\n');

		if (is_permitted(policy, line))
			add_line(features, line);
	}
}

static size_t put(char *to, size_t at, struct span text)
{
	if (text.n > 0)
		memcpy(to + at, text.p, text.n);
	return at + text.n;
}

size_t features_write(char to[FEAT_BYTES_MAX], const struct features *features)
{
	static const char head[] = "211-Features:\r\n";
	static const char tail[] = "211 End\r\n";
	struct span rest = span_from(features->text, features->n);
	size_t n = put(to, 0, span_of(head));

	while (rest.n > 0) {
		struct span line = take_until(&rest, '\n');

		if (line.n + 3 > FEAT_BYTES_MAX - n - sizeof(tail))
			break;
		n = put(to, n, span_of(" "));
		n = put(to, n, line);
		n = put(to, n, span_of("\r\n"));
	}
	return put(to, n, span_of(tail));
}

// SPDX-License-Identifier: ISC
/*
 * Lines of a credentials file, and who may use which of them.
 */
#include "sallyport/credentials.h"

#include "sallyport/glob.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_control(char c)
{
	unsigned char byte = (unsigned char)c;

	return byte < 0x20 || byte == 0x7f;
}

/* The text that is not taken apart yet. */
struct rest {
	char *p;
	size_t n;
};

static void skip(struct rest *rest, size_t n)
{
	rest->p += n;
	rest->n -= n;
}

/* A word in quotes, which the rest begins with; its bytes move to the front. */
static bool take_quoted(struct rest *rest, struct span *word, const char **why)
{
	char *to = rest->p + 1;
	const char *from = to;
	const char *end = rest->p + rest->n;

	*word = span_from(to, 0);
	for (; from < end && *from != '"'; from++) {
		if (*from == '\\' && ++from == end)
			break;
		to[word->n++] = *from;
	}
	if (from >= end) {
		*why = "a quote is not closed";
		return false;
	}
	from++;
	if (from < end && !is_blank(*from)) {
		*why = "a quote ends within a word";
		return false;
	}
	skip(rest, (size_t)(from - rest->p));
	return true;
}

/* The next word; word->p == NULL: there is none. */
static bool take_word(struct rest *rest, struct span *word, const char **why)
{
	size_t n = 0;

	while (rest->n > 0 && is_blank(*rest->p))
		skip(rest, 1);
	*word = span_from(NULL, 0);
	if (rest->n == 0 || *rest->p == '#')
		return true;
	if (*rest->p == '"')
		return take_quoted(rest, word, why);
	while (n < rest->n && !is_blank(rest->p[n])) {
		if (rest->p[n] == '"') {
			*why = "a quote begins within a word";
			return false;
		}
		n++;
	}
	*word = span_from(rest->p, n);
	skip(rest, n);
	return true;
}

static bool word_is_fit(struct span word, const char **why)
{
	if (word.n > CREDENTIALS_WORD_MAX) {
		*why = "a word is longer than 1024 bytes";
		return false;
	}
	for (size_t i = 0; i < word.n; i++) {
		if (is_control(word.p[i])) {
			*why = "a word holds a control byte";
			return false;
		}
	}
	return true;
}

bool credentials_parse_line(char *line, size_t n, struct credentials_entry *out, const char **why)
{
	struct rest rest = { line, n };
	struct span words[5];
	size_t have = 0;

	*out = (struct credentials_entry){ .line = 0 };
	for (; have < SP_ARRAY_LEN(words); have++) {
		if (!take_word(&rest, &words[have], why) || !word_is_fit(words[have], why))
			return false;
		if (words[have].p == NULL)
			break;
	}
	if (have == 0)
		return true;
	if (have < 3 || have > 4) {
		*why = "an entry has three or four words: who, user, password, account";
		return false;
	}
	if (!glob_is_valid(words[0])) {
		*why = "who is not a pattern";
		return false;
	}
	if (words[1].n == 0) {
		*why = "the user is empty";
		return false;
	}
	out->who = words[0];
	out->user = words[1];
	out->password = words[2];
	if (have == 4)
		out->account = words[3];
	return true;
}

const struct credentials_entry *credentials_for_user(const struct credentials *credentials, struct span user)
{
	for (size_t i = 0; i < credentials->n; i++) {
		if (glob_match(credentials->entries[i].who, user))
			return &credentials->entries[i];
	}
	return NULL;
}

static bool fits_certificate(const struct credentials_entry *entry, const struct span names[], size_t names_n)
{
	for (size_t i = 0; i < names_n; i++) {
		if (glob_match_nocase(entry->who, names[i]))
			return true;
	}
	return false;
}

const struct credentials_entry *credentials_for_certificate(const struct credentials *credentials,
							    const struct span names[], size_t names_n,
							    struct span user)
{
	for (size_t i = 0; i < credentials->n; i++) {
		const struct credentials_entry *entry = &credentials->entries[i];

		if (span_eq(entry->user, user) && fits_certificate(entry, names, names_n))
			return entry;
	}
	return NULL;
}

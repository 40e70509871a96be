// SPDX-License-Identifier: ISC
/*
 * Pattern matching without recursion: on a mismatch only the last star is
 * widened, which is enough, since an earlier one could only give away bytes
 * that the later one can take as well.
 */
#include "sallyport/glob.h"

static unsigned char fold(unsigned char c, bool nocase)
{
	return nocase && c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* A set as it stands in a pattern. */
struct set {
	bool closed;  /* otherwise it is no set, but a "[" */
	bool falling; /* has a range from high to low */
	bool member;
	size_t end; /* behind the "]" */
};

/* One member of a set, with its backslash; moves *at behind it. False at the pattern's end. */
static bool set_member(struct span p, size_t *at, unsigned char *out)
{
	if (*at < p.n && p.p[*at] == '\\')
		++*at;
	if (*at >= p.n)
		return false;
	*out = (unsigned char)p.p[(*at)++];
	return true;
}

static bool in_range(unsigned char c, unsigned char low, unsigned char high, bool nocase)
{
	unsigned char upper = c >= 'a' && c <= 'z' ? (unsigned char)(c - ('a' - 'A')) : c;

	c = fold(c, nocase);
	return (c >= low && c <= high) || (nocase && upper >= low && upper <= high);
}

/* The set that begins at the "[" at `at`, and whether `c` is in it. */
static struct set read_set(struct span p, size_t at, unsigned char c, bool nocase)
{
	struct set set = { .closed = false };
	bool negated = false;
	bool found = false;
	size_t first;

	at++;
	if (at < p.n && p.p[at] == '!') {
		negated = true;
		at++;
	}
	for (first = at; at < p.n && (p.p[at] != ']' || at == first);) {
		unsigned char low, high;

		if (!set_member(p, &at, &low))
			return set;
		high = low;
		if (at + 1 < p.n && p.p[at] == '-' && p.p[at + 1] != ']') {
			at++;
			if (!set_member(p, &at, &high))
				return set;
			set.falling |= high < low;
		}
		found |= in_range(c, low, high, nocase);
	}
	if (at >= p.n)
		return set;
	set.closed = true;
	set.member = found != negated;
	set.end = at + 1;
	return set;
}

/* Does the element at *at (not a star) match the byte? Moves *at behind it if so. */
static bool element_matches(struct span p, size_t *at, unsigned char c, bool nocase)
{
	size_t i = *at;
	unsigned char want = (unsigned char)p.p[i];

	if (want == '?') {
		*at = i + 1;
		return true;
	}
	if (want == '[') {
		struct set set = read_set(p, i, c, nocase);

		if (set.closed) {
			if (set.member)
				*at = set.end;
			return set.member;
		}
	}
	if (want == '\\' && i + 1 < p.n)
		want = (unsigned char)p.p[++i];
	if (fold(want, nocase) != fold(c, nocase))
		return false;
	*at = i + 1;
	return true;
}

static bool match(struct span p, struct span text, bool nocase)
{
	size_t at = 0;
	size_t star = SIZE_MAX; /* behind the last star; SIZE_MAX: there was none */
	size_t star_text = 0;   /* the first byte that this star does not take */
	size_t i = 0;

	while (i < text.n) {
		if (at < p.n && p.p[at] == '*') {
			star = ++at;
			star_text = i;
		} else if (at < p.n && element_matches(p, &at, (unsigned char)text.p[i], nocase)) {
			i++;
		} else if (star != SIZE_MAX) {
			at = star;
			i = ++star_text;
		} else {
			return false;
		}
	}
	while (at < p.n && p.p[at] == '*')
		at++;
	return at == p.n;
}

bool glob_match(struct span pattern, struct span text)
{
	return match(pattern, text, false);
}

bool glob_match_nocase(struct span pattern, struct span text)
{
	return match(pattern, text, true);
}

bool glob_is_valid(struct span pattern)
{
	if (pattern.n == 0)
		return false;
	for (size_t at = 0; at < pattern.n;) {
		if (pattern.p[at] == '\\') {
			if (at + 1 == pattern.n)
				return false;
			at += 2;
		} else if (pattern.p[at] == '[') {
			struct set set = read_set(pattern, at, 0, false);

			if (!set.closed || set.falling)
				return false;
			at = set.end;
		} else {
			at++;
		}
	}
	return true;
}

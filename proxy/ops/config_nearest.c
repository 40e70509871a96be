// SPDX-License-Identifier: ISC
/*
 * Which known name did a misspelt one mean? By edit distance, with neighbours
 * exchanged counting as one mistake, and without regard to case.
 */
#include <string.h>

#include "sallyport/config_keys.h"

#define NAME_COMPARED_MAX 40

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment; both names are at most NAME_COMPARED_MAX long. */
static unsigned distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
	unsigned rows[3][NAME_COMPARED_MAX + 1];
	unsigned *older = rows[0];
	unsigned *old = rows[1];
	unsigned *now = rows[2];

	for (size_t j = 0; j <= b_n; j++) {
		older[j] = 0;
		old[j] = (unsigned)j;
	}
	for (size_t i = 1; i <= a_n; i++) {
		unsigned *spare = older;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_n; j++) {
			bool same = lower(a[i - 1]) == lower(b[j - 1]);
			unsigned d = least(old[j] + 1, now[j - 1] + 1);

			d = least(d, old[j - 1] + (same ? 0 : 1));
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				d = least(d, older[j - 2] + 1);
			now[j] = d;
		}
		older = old;
		old = now;
		now = spare;
	}
	return old[b_n];
}

struct config_nearest config_nearest_start(const char *wanted)
{
	/* One mistake in three letters is still a guess that helps; more is noise. */
	unsigned n = (unsigned)strlen(wanted);
	unsigned limit = n < 2 ? 0 : (n + 2) / 3;

	return (struct config_nearest){ .wanted = wanted, .distance = limit + 1 };
}

void config_nearest_offer(struct config_nearest *nearest, const char *candidate)
{
	size_t wanted_n = strlen(nearest->wanted);
	size_t candidate_n = strlen(candidate);
	unsigned d;

	if (wanted_n == 0 || wanted_n > NAME_COMPARED_MAX || candidate_n > NAME_COMPARED_MAX)
		return;
	d = distance(nearest->wanted, wanted_n, candidate, candidate_n);
	if (d >= nearest->distance)
		return;
	nearest->distance = d;
	nearest->best = candidate;
}

const char *config_nearest_key(enum config_section_id section, const char *name)
{
	struct config_nearest nearest = config_nearest_start(name);

	for (size_t i = 0; i < config_keys_n; i++) {
		if (config_keys[i].section == section)
			config_nearest_offer(&nearest, config_keys[i].name);
	}
	return nearest.best;
}

const char *config_nearest_section(enum config_section_id parent, const char *name)
{
	struct config_nearest nearest = config_nearest_start(name);

	for (int i = SECTION_ROOT + 1; i < SECTION_COUNT; i++) {
		const struct config_section *row = config_section_row((enum config_section_id)i);

		if (row->parent == parent)
			config_nearest_offer(&nearest, row->name);
	}
	return nearest.best;
}

// SPDX-License-Identifier: ISC
/*
 * Maps of users: from a file to a table. A line is a name and where that user
 * goes: `acme-1 legacy`, `acme-2 legacy/old1`, or the name alone for where the
 * route leads. Read with the configuration; an error in it is one of the
 * configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport/config_build.h"
#include "sallyport/config_text.h"
#include "sallyport/user_map.h"

#define FILE_MAX_BYTES (256l << 20)

struct reading {
	struct config_build *build;
	struct user_map *map;
	struct config_position at; /* in the map's file */
	bool needs_pool;	   /* the route has no pool for names that stand alone */
	size_t size;		   /* of entries */
};

void config_user_map_free(struct user_map **map_p)
{
	struct user_map *map = *map_p;

	*map_p = NULL;
	if (map == NULL)
		return;
	free(map->file);
	free(map->text);
	free(map->entries);
	free(map->slots);
	free(map);
}

/* --- lines ------------------------------------------------------------------------ */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct span *line)
{
	while (line->n > 0 && is_blank(line->p[0]))
		*line = span_from(line->p + 1, line->n - 1);
}

/* The next word, of *line: bare, or in double quotes. False: there is none, or it is not well formed. */
static bool take_word(struct span *line, struct span *word)
{
	size_t n = 0;

	skip_blanks(line);
	if (line->n > 0 && line->p[0] == '"') {
		const char *end = memchr(line->p + 1, '"', line->n - 1);

		if (end == NULL)
			return false;
		*word = span_from(line->p + 1, (size_t)(end - line->p - 1));
		n = word->n + 2;
		if (n < line->n && !is_blank(line->p[n]))
			return false;
	} else {
		while (n < line->n && !is_blank(line->p[n]))
			n++;
		*word = span_from(line->p, n);
	}
	*line = span_from(line->p + n, line->n - n);
	return word->n > 0;
}

static struct config_quoted quote(struct span text)
{
	char copy[100];

	(void)span_copy(copy, sizeof(copy), text);
	return config_quote(copy);
}

/* "legacy" or "legacy/old1". */
static bool find_target(struct reading *r, struct span target, struct user_map_entry *entry)
{
	const struct config *config = r->build->config;
	const char *slash = memchr(target.p, '/', target.n);
	struct span pool = slash != NULL ? span_from(target.p, (size_t)(slash - target.p)) : target;
	size_t p = 0;

	while (p < config->pools_n && !span_eq(pool, span_of(config->pools[p].name)))
		p++;
	if (p == config->pools_n) {
		config_error(r->build->report, r->at, "user_map", "\"%s\" is not the name of a pool",
			     quote(pool).text);
		return false;
	}
	entry->pool = p;
	if (slash == NULL)
		return true;
	target = span_from(slash + 1, target.n - pool.n - 1);
	for (size_t i = 0; i < config->pools[p].servers_n; i++) {
		if (span_eq(target, span_of(config->pools[p].servers[i].name))) {
			entry->server = i;
			return true;
		}
	}
	config_error(r->build->report, r->at, "user_map", "\"%s\" is not the name of a server of pool %s",
		     quote(target).text, config->pools[p].name);
	return false;
}

static void add_entry(struct reading *r, const struct user_map_entry *entry)
{
	struct user_map *map = r->map;

	if (map->n == r->size) {
		size_t size = r->size == 0 ? 64 : r->size * 2;
		struct user_map_entry *grown = realloc(map->entries, size * sizeof(*grown));

		if (grown == NULL) {
			r->build->report->no_memory = true;
			return;
		}
		map->entries = grown;
		r->size = size;
	}
	map->entries[map->n++] = *entry;
}

static void read_line(struct reading *r, struct span line)
{
	struct user_map_entry entry = {
		.pool = USER_MAP_NOWHERE,
		.server = USER_MAP_NOWHERE,
		.line = r->at.line,
	};
	struct span target;

	skip_blanks(&line);
	if (line.n == 0 || line.p[0] == '#')
		return;
	if (memchr(line.p, '\0', line.n) != NULL || !take_word(&line, &entry.name)) {
		config_error(r->build->report, r->at, "user_map", "is not: USER, or USER POOL, or USER POOL/SERVER");
		return;
	}
	skip_blanks(&line);
	if (line.n == 0) {
		if (r->needs_pool)
			config_error(r->build->report, r->at, "user_map",
				     "user \"%s\" has no pool, and neither has the route", quote(entry.name).text);
		else
			add_entry(r, &entry);
		return;
	}
	if (!take_word(&line, &target) || (skip_blanks(&line), line.n > 0))
		config_error(r->build->report, r->at, "user_map", "is not: USER, or USER POOL, or USER POOL/SERVER");
	else if (find_target(r, target, &entry))
		add_entry(r, &entry);
}

static void make_table(struct reading *r)
{
	struct user_map *map = r->map;
	size_t n = 4;

	while (n < 2 * map->n + 2)
		n *= 2;
	map->slots = map->n < UINT32_MAX ? calloc(n, sizeof(*map->slots)) : NULL;
	if (map->slots == NULL) {
		r->build->report->no_memory = true;
		return;
	}
	map->slots_n = n;
	for (size_t i = 0; i < map->n; i++) {
		const struct user_map_entry *first = user_map_enter(map, i);

		if (first == NULL)
			continue;
		r->at.line = map->entries[i].line;
		config_error(r->build->report, r->at, "user_map", "user \"%s\" is in line %u as well",
			     quote(map->entries[i].name).text, first->line);
	}
}

static void read_lines(struct reading *r, size_t size)
{
	const char *p = r->map->text;
	size_t left = size;

	while (left > 0 && !r->build->report->no_memory) {
		const char *end = memchr(p, '\n', left);
		size_t n = end != NULL ? (size_t)(end - p) : left;

		r->at.line++;
		read_line(r, span_from(p, n));
		n += end != NULL;
		p += n;
		left -= n;
	}
	if (!r->build->report->no_memory)
		make_table(r);
}

/* --- the file ------------------------------------------------------------------------ */

/* 0 or -errno; *text is the caller's. */
static int read_all(const char *file, char **text, size_t *size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got = 1;
	int result = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		result = -errno;
	else if (!S_ISREG(st.st_mode))
		result = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else if (st.st_size > FILE_MAX_BYTES)
		result = -EFBIG;
	else if ((*text = malloc((size_t)st.st_size + 1)) == NULL)
		result = -ENOMEM;
	*size = 0;
	while (result == 0 && got > 0 && *size < (size_t)st.st_size) {
		got = read(fd, *text + *size, (size_t)st.st_size - *size);
		if (got < 0)
			result = -errno;
		else
			*size += (size_t)got;
	}
	(void)close(fd);
	return result;
}

struct user_map *config_user_map_load(struct config_build *build, struct config_position at, const char *file,
				      bool needs_pool)
{
	struct reading r = { .build = build, .needs_pool = needs_pool };
	size_t size = 0;
	int index;
	int result;

	r.map = calloc(1, sizeof(*r.map));
	if (r.map == NULL || (r.map->file = config_copy(file)) == NULL) {
		config_user_map_free(&r.map);
		build->report->no_memory = true;
		return NULL;
	}
	result = read_all(file, &r.map->text, &size);
	if (result == -ENOMEM)
		build->report->no_memory = true;
	else if (result != 0)
		config_error(build->report, at, "user_map", "\"%s\": %s", config_quote(file).text,
			     strerror(-result));
	index = result == 0 ? config_report_add_file(build->report, file) : -1;
	if (index >= 0) {
		r.at.file = (unsigned)index;
		read_lines(&r, size);
	}
	return r.map;
}

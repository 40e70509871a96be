// SPDX-License-Identifier: ISC
/*
 * Configuration files. Whatever is in one: it is taken without errors or
 * refused with some, every error names the file, libconfuse never has to
 * complain about what the outline let through, loading again gives the same,
 * and a line more at the top moves every error by one line and changes nothing
 * else.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sallyport/config.h"
#include "sallyport/config_text.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void add_line(void *ctx, const char *text)
{
	config_text_add(ctx, "%s\n", text);
}

/* What came of a file. */
struct outcome {
	struct config_text errors;
	struct config_text warnings;
	struct config_text meaning;
};

static void outcome_fini(struct outcome *o)
{
	config_text_fini(&o->errors);
	config_text_fini(&o->warnings);
	config_text_fini(&o->meaning);
}

/* The file's name is cut off, and `offset` added to the number of the line. */
static void add_message(struct config_text *to, const char *line, const char *path, long offset)
{
	size_t length = strlen(path);
	char *rest;
	long number;

	if (strncmp(line, path, length) != 0 || line[length] != ':')
		abort();
	if (strstr(line, "libconfuse") != NULL)
		abort();
	line += length + 1;
	number = strtol(line, &rest, 10);
	if (rest > line && *rest == ':')
		config_text_add(to, "%ld%s\n", number + offset, rest);
	else
		config_text_add(to, "%s\n", line);
}

static void load(int fd, long offset, struct outcome *o)
{
	struct config_errors errors;
	struct config_errors warnings;
	struct config *config;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config = config_load(path, &errors, &warnings);
	if ((config == NULL) != (errors.n > 0))
		abort();
	for (size_t i = 0; i < errors.n; i++)
		add_message(&o->errors, errors.lines[i], path, offset);
	for (size_t i = 0; i < warnings.n; i++)
		add_message(&o->warnings, warnings.lines[i], path, offset);
	if (config != NULL)
		config_explain(config, add_line, &o->meaning);
	config_unref(&config);
	config_errors_fini(&errors);
	config_errors_fini(&warnings);
}

static void write_all(int fd, const void *data, size_t n)
{
	if (n > 0 && write(fd, data, n) != (ssize_t)n)
		abort();
}

/* Places that are named within messages move too. */
static int mentions_places(const struct outcome *o)
{
	return strstr(config_text_get(&o->errors), "line ") != NULL ||
	       strstr(config_text_get(&o->warnings), "line ") != NULL;
}

static void check_same(const struct config_text *a, const struct config_text *b)
{
	if (strcmp(config_text_get(a), config_text_get(b)) != 0)
		abort();
}

static void check_moved(const uint8_t *data, size_t n, const struct outcome *first)
{
	static const char line[] = "# one line more\n";
	int fd = memfd_create("fuzz_config", MFD_CLOEXEC);
	struct outcome moved = { 0 };

	if (fd == -1)
		abort();
	write_all(fd, line, sizeof(line) - 1);
	write_all(fd, data, n);
	load(fd, -1, &moved);
	close(fd);
	check_same(&first->warnings, &moved.warnings);
	check_same(&first->errors, &moved.errors);
	outcome_fini(&moved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct outcome first = { 0 };
	struct outcome again = { 0 };
	int fd;

	/* Other files are none of its business (some of them never end); the last word is for us.
	 */
	if (n > INPUT_MAX || memmem(data, n, "include", 7) != NULL ||
	    memmem(data, n, "libconfuse", 10) != NULL)
		return 0;
	fd = memfd_create("fuzz_config", MFD_CLOEXEC);
	if (fd == -1)
		abort();
	write_all(fd, data, n);
	load(fd, 0, &first);
	load(fd, 0, &again);
	check_same(&first.errors, &again.errors);
	check_same(&first.warnings, &again.warnings);
	check_same(&first.meaning, &again.meaning);
	close(fd);
	if (!mentions_places(&first) && !(n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0))
		check_moved(data, n, &first);
	outcome_fini(&first);
	outcome_fini(&again);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * What the tests of the configuration share.
 */
#ifndef SALLYPORT_CONFIG_TEST_H
#define SALLYPORT_CONFIG_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/config.h"

/* A path in the source tree; until the next call. */
static inline const char *source_path(const char *path)
{
	static char full[4096];
	const char *source = getenv("SALLYPORT_SOURCE");

	ck_assert_msg(source != NULL, "SALLYPORT_SOURCE is not set");
	ck_assert_uint_lt((size_t)snprintf(full, sizeof(full), "%s/%s", source, path),
	                  sizeof(full));
	return full;
}

/* All of a file, with a NUL behind it; the caller frees it. */
static inline char *read_text(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t size = 256 * 1024;
	char *text = malloc(size);
	size_t n;

	ck_assert_msg(file != NULL, "%s cannot be opened", path);
	ck_assert_ptr_nonnull(text);
	n = fread(text, 1, size - 1, file);
	ck_assert_uint_lt(n, size - 1);
	fclose(file);
	text[n] = '\0';
	return text;
}

static inline void go_to(const char *directory)
{
	ck_assert_int_eq(chdir(source_path(directory)), 0);
}

/* A fixture: what the files expect of the environment. */
static inline void set_up(void)
{
	setenv("SALLYPORT_TEST_ADDRESS", "127.0.0.1:2100", 1);
	unsetenv("SALLYPORT_TEST_UNSET");
}

static inline struct config *load_good(const char *name)
{
	struct config_errors errors;
	struct config *config;

	go_to("tests/unit/config/good");
	config = config_load(name, &errors, NULL);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_uint_eq(errors.n, 0);
	config_errors_fini(&errors);
	return config;
}

static inline void assert_address(const struct netaddr *a, const char *wanted)
{
	char text[NETADDR_TEXT_MAX];

	ck_assert_str_eq(netaddr_format(a, text), wanted);
}

#endif

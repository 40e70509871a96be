// SPDX-License-Identifier: ISC
/*
 * Reading a credentials file: from bytes to entries, or an error that names the
 * line and shows nothing of it.
 */
#include "sallyport/config_credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/secret_file.h"

static size_t count_lines(const struct secret *text)
{
	size_t n = 1;

	for (size_t i = 0; i < text->n; i++)
		n += text->p[i] == '\n';
	return n;
}

/* Adds the entry of one line, if there is one. */
static bool add_line(struct credentials *to, char *line, size_t n, unsigned number,
		     char error[CREDENTIALS_ERROR_MAX])
{
	struct credentials_entry *entry = &to->entries[to->n];
	const char *why = NULL;

	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (!credentials_parse_line(line, n, entry, &why)) {
		snprintf(error, CREDENTIALS_ERROR_MAX, "%.200s, line %u: %s", to->file, number, why);
		return false;
	}
	entry->line = number;
	if (entry->who.n > 0)
		to->n++;
	return true;
}

static bool take_apart(struct credentials *to, char error[CREDENTIALS_ERROR_MAX])
{
	char *at = to->text;
	char *end = at + to->text_n;
	unsigned number = 0;

	while (at < end) {
		char *stop = memchr(at, '\n', (size_t)(end - at));

		if (stop == NULL)
			stop = end;
		if (!add_line(to, at, (size_t)(stop - at), ++number, error))
			return false;
		at = stop + 1;
	}
	if (to->n == 0)
		snprintf(error, CREDENTIALS_ERROR_MAX, "%.200s: there is no entry in it", to->file);
	return to->n > 0;
}

struct credentials *credentials_load(const char *path, char error[CREDENTIALS_ERROR_MAX])
{
	struct credentials *made = calloc(1, sizeof(*made));
	char why[SECRET_FILE_ERROR_MAX];
	struct secret text;

	if (!secret_file_read(path, SECRET_OURS_ALONE, &text, why)) {
		snprintf(error, CREDENTIALS_ERROR_MAX, "%.120s: %s", path, why);
		free(made);
		return NULL;
	}
	if (made != NULL) {
		made->text = text.p;
		made->text_n = text.n;
		made->file = strdup(path);
		made->entries = calloc(count_lines(&text), sizeof(*made->entries));
	} else {
		secret_free(&text);
	}
	if (made == NULL || made->file == NULL || made->entries == NULL) {
		snprintf(error, CREDENTIALS_ERROR_MAX, "out of memory");
		credentials_free(&made);
		return NULL;
	}
	if (!take_apart(made, error))
		credentials_free(&made);
	return made;
}

void credentials_free(struct credentials **credentialsptr)
{
	struct credentials *credentials = *credentialsptr;

	if (credentials == NULL)
		return;
	*credentialsptr = NULL;
	if (credentials->text != NULL)
		explicit_bzero(credentials->text, credentials->text_n);
	free(credentials->text);
	free(credentials->file);
	free(credentials->entries);
	free(credentials);
}

// SPDX-License-Identifier: ISC
/*
 * Reading the file of ticket keys.
 */
#include "sallyport/config_tickets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/secret_file.h"

_Static_assert(sizeof(struct ticket_key) == TICKET_KEY_BYTES, "a line of the file is a struct ticket_key");

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool parse_key(struct span line, struct ticket_key *key)
{
	unsigned char bytes[TICKET_KEY_BYTES];
	bool ok = line.n == 2 * sizeof(bytes);

	for (size_t i = 0; ok && i < sizeof(bytes); i++) {
		int high = hex_digit(line.p[2 * i]);
		int low = hex_digit(line.p[2 * i + 1]);

		ok = high >= 0 && low >= 0;
		bytes[i] = (unsigned char)(ok ? high << 4 | low : 0);
	}
	if (ok)
		memcpy(key, bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
	return ok;
}

static struct span trimmed(struct span line)
{
	while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = span_from(line.p + 1, line.n - 1);
	while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t' || line.p[line.n - 1] == '\r'))
		line.n--;
	return line;
}

static const char *add_line(struct ticket_keys *to, struct span line)
{
	struct ticket_key *key = &to->keys[to->n];

	if (line.n == 0 || line.p[0] == '#')
		return NULL;
	if (to->n == TICKET_KEYS_MAX)
		return "there may be 16 keys at most";
	if (!parse_key(line, key))
		return "a key is 160 hex digits (openssl rand -hex 80)";
	for (size_t i = 0; i < to->n; i++) {
		if (memcmp(to->keys[i].name, key->name, sizeof(key->name)) == 0)
			return "two keys begin with the same 32 digits, which are their name";
	}
	to->n++;
	return NULL;
}

bool config_tickets_parse(struct span text, struct ticket_keys *out, char error[TICKETS_ERROR_MAX])
{
	unsigned number = 0;

	memset(out, 0, sizeof(*out));
	while (text.n > 0) {
		const char *stop = memchr(text.p, '\n', text.n);
		size_t n = stop != NULL ? (size_t)(stop - text.p) : text.n;
		const char *why = add_line(out, trimmed(span_from(text.p, n)));

		number++;
		if (why != NULL) {
			snprintf(error, TICKETS_ERROR_MAX, "line %u: %s", number, why);
			return false;
		}
		n += stop != NULL;
		text = span_from(text.p + n, text.n - n);
	}
	if (out->n == 0)
		snprintf(error, TICKETS_ERROR_MAX, "there is no key in it");
	return out->n > 0;
}

struct ticket_keys *config_tickets_load(const char *path, char error[TICKETS_ERROR_MAX])
{
	struct ticket_keys *keys;
	char why[TICKETS_ERROR_MAX];
	struct secret text;

	if (!secret_file_read(path, SECRET_OURS_ALONE, &text, why)) {
		snprintf(error, TICKETS_ERROR_MAX, "%.120s: %.190s", path, why);
		return NULL;
	}
	keys = calloc(1, sizeof(*keys));
	if (keys == NULL) {
		snprintf(error, TICKETS_ERROR_MAX, "out of memory");
	} else if (!config_tickets_parse(span_from(text.p, text.n), keys, why)) {
		snprintf(error, TICKETS_ERROR_MAX, "%.190s: %.120s", path, why);
		config_tickets_free(&keys);
	}
	secret_free(&text);
	return keys;
}

void config_tickets_free(struct ticket_keys **keysptr)
{
	struct ticket_keys *keys = *keysptr;

	if (keys == NULL)
		return;
	*keysptr = NULL;
	explicit_bzero(keys, sizeof(*keys));
	free(keys);
}

// SPDX-License-Identifier: ISC
/*
 * A text that grows. Not a string library: what the configuration needs.
 */
#include "sallyport/config_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for n more bytes and a NUL. */
static bool reserve(struct config_text *text, size_t n)
{
	size_t size = text->size > 0 ? text->size : 128;
	char *p;

	if (text->failed)
		return false;
	if (text->size - text->n > n)
		return true;
	while (size - text->n <= n)
		size *= 2;
	p = realloc(text->p, size);
	if (p == NULL) {
		text->failed = true;
		return false;
	}
	text->p = p;
	text->size = size;
	return true;
}

void config_text_bytes(struct config_text *text, const char *p, size_t n)
{
	if (!reserve(text, n))
		return;
	if (n > 0)
		memcpy(text->p + text->n, p, n);
	text->n += n;
	text->p[text->n] = '\0';
}

void config_text_vadd(struct config_text *text, const char *format, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0 || !reserve(text, (size_t)n)) {
		text->failed = true;
		return;
	}
	vsnprintf(text->p + text->n, (size_t)n + 1, format, ap);
	text->n += (size_t)n;
}

void config_text_add(struct config_text *text, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	config_text_vadd(text, format, ap);
	va_end(ap);
}

const char *config_text_get(const struct config_text *text)
{
	return text->p != NULL ? text->p : "";
}

char *config_text_take(struct config_text *text)
{
	char *p;

	if (text->p == NULL)
		config_text_bytes(text, "", 0);
	if (text->failed) {
		config_text_fini(text);
		return NULL;
	}
	p = text->p;
	*text = (struct config_text){ 0 };
	return p;
}

void config_text_fini(struct config_text *text)
{
	free(text->p);
	*text = (struct config_text){ 0 };
}

char *config_copy_n(const char *p, size_t n)
{
	char *copy = malloc(n + 1);

	if (copy == NULL)
		return NULL;
	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

char *config_copy(const char *text)
{
	return config_copy_n(text, strlen(text));
}

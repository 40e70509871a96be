// SPDX-License-Identifier: ISC
/*
 * A text that grows: what the parts of the configuration write messages,
 * explanations and libconfuse's input into. Running out of memory is
 * remembered, not reported: look at `failed` once, at the end.
 */
#ifndef SALLYPORT_CONFIG_TEXT_H
#define SALLYPORT_CONFIG_TEXT_H

#include <stdarg.h>

#include "sallyport/base.h"

struct config_text {
	char *p; /* ends in NUL unless NULL; owned */
	size_t n;
	size_t size;
	bool failed; /* something is missing for want of memory */
};

void config_text_add(struct config_text *text, const char *format, ...) SP_PRINTF(2, 3);
void config_text_vadd(struct config_text *text, const char *format, va_list ap) SP_PRINTF(2, 0);
void config_text_bytes(struct config_text *text, const char *p, size_t n);

/* The text so far, never NULL; until the next call. */
const char *config_text_get(const struct config_text *text);

/* Moves the text to the caller, who frees it. NULL when something failed. */
char *config_text_take(struct config_text *text);

void config_text_fini(struct config_text *text);

/* A copy that the caller frees. NULL: no memory. */
SP_MUSTCHECK char *config_copy(const char *text);
SP_MUSTCHECK char *config_copy_n(const char *p, size_t n);

#endif

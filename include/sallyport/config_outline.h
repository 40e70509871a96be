// SPDX-License-Identifier: ISC
/*
 * From configuration files to one text that libconfuse can read: sections and
 * keys that are known, in the right places, well-formed, includes put in.
 * Everything else is complained about on the way and left out.
 */
#ifndef SALLYPORT_CONFIG_OUTLINE_H
#define SALLYPORT_CONFIG_OUTLINE_H

#include "sallyport/base.h"
#include "sallyport/config_report.h"
#include "sallyport/config_text.h"
#include "sallyport/span.h"

/* libconfuse's input, and where each of its lines comes from. */
struct config_outline {
	struct config_text text;
	struct config_position *places; /* by line - 1 */
	size_t places_n;
	size_t places_size;
	bool failed; /* no memory */
};

/* Reads `file` and what it includes. What is wrong goes to the report. */
void config_outline_read(struct config_outline *outline, const char *file,
			 struct config_report *report);
void config_outline_fini(struct config_outline *outline);

/* The place of a line of the text; that of the file as a whole when there is none. */
struct config_position config_outline_place(const struct config_outline *outline, int line);

/*
 * Making such a text: a section's begin and end, and values. A value is written
 * on a line of its own, so that the line libconfuse is in says which value it is.
 */
void config_outline_open(struct config_outline *outline, const char *section, const char *name,
			 struct config_position at);
/* `at` is where the section began: libconfuse remembers of a section the line of its end. */
void config_outline_close(struct config_outline *outline, struct config_position at);
/* `raw` is a word, or a string with its quotes. */
void config_outline_value(struct config_outline *outline, const char *key, struct span raw,
			  struct config_position at);
void config_outline_list(struct config_outline *outline, const char *key, bool append,
			 struct config_position at);
void config_outline_element(struct config_outline *outline, struct span raw, bool first,
			    struct config_position at);
void config_outline_list_end(struct config_outline *outline, struct config_position at);

#endif

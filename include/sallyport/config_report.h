// SPDX-License-Identifier: ISC
/*
 * What is wrong with a configuration: every complaint with its place in the
 * files, collected while they are read and checked, given out in order.
 */
#ifndef SALLYPORT_CONFIG_REPORT_H
#define SALLYPORT_CONFIG_REPORT_H

#include <stdarg.h>

#include "sallyport/base.h"
#include "sallyport/config.h"

/* A place: an index of config_report.files, and a line from 1; 0: the file as a whole. */
struct config_position {
	unsigned file;
	unsigned line;
};

struct config_complaint {
	struct config_position at;
	unsigned order; /* of arrival; settles ties */
	char *text;	/* "key: what and why"; owned */
};

struct config_complaints {
	struct config_complaint *v;
	size_t n;
	size_t size;
	size_t dropped; /* beyond CONFIG_COMPLAINTS_MAX */
};

#define CONFIG_COMPLAINTS_MAX 200

struct config_report {
	char **files; /* names as they are shown; owned */
	size_t files_n;
	struct config_complaints errors;
	struct config_complaints warnings;
	bool no_memory; /* something could not be done or noted for want of memory */
};

void config_report_fini(struct config_report *report);

/* Registers a file's name; its index, or -1: no memory (noted). */
SP_MUSTCHECK int config_report_add_file(struct config_report *report, const char *name);

/* `key` (may be NULL) is what the message is about: a key, a section and its name. */
void config_error(struct config_report *report, struct config_position at, const char *key,
		  const char *format, ...) SP_PRINTF(4, 5);
void config_warning(struct config_report *report, struct config_position at, const char *key,
		    const char *format, ...) SP_PRINTF(4, 5);

/* No errors, and memory was enough. */
bool config_report_is_clean(const struct config_report *report);

/* "line 3", with the file's name when it is another than `from`'s; for messages that point at a second place. */
struct config_place {
	char text[160];
};
struct config_place config_place(const struct config_report *report, struct config_position at,
				 struct config_position from);

/* A value for a message: control bytes shown as \xNN, cut when it is long. */
struct config_quoted {
	char text[128];
};
struct config_quoted config_quote(const char *value);

/*
 * Turns what was collected into lines ("file:line: key: text"), sorted by file
 * (in order of reading) and line. Either output may be NULL.
 */
void config_report_give(struct config_report *report, struct config_errors *errors,
			struct config_errors *warnings);

#endif

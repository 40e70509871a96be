// SPDX-License-Identifier: ISC
/*
 * A report: what a command of the admin socket answers, written once and shown
 * as text or as one JSON object. It is made of single values and of tables with
 * named columns; a report can be written in steps, since nothing in it depends
 * on how long it will become.
 *
 * Text: a value is "name<TAB>value"; a table begins with its columns' names;
 * tables behind the first value or table are set off by an empty line. Nothing
 * known is "-" in text and null in JSON. Thread: whose evbuffer it is.
 */
#ifndef SALLYPORT_REPORT_H
#define SALLYPORT_REPORT_H

#include <event2/buffer.h>

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"

#define REPORT_TEXT_MAX 1000 /* bytes of one value; what is longer is cut */

struct report {
	struct evbuffer *out;
	bool json;
	bool begun;		     /* text: something stands above */
	bool comma;		     /* JSON: one is due */
	bool failed;		     /* no memory: the answer is of no use any more */
	bool line_start;	     /* text: the next byte begins a line */
	const char *const *columns; /* of the table that is open; static */
	size_t columns_n;
	size_t column;
};

void report_begin(struct report *r, struct evbuffer *out, bool json);
void report_end(struct report *r);

void report_value_text(struct report *r, const char *key, const char *value);
void report_value_u64(struct report *r, const char *key, uint64_t value);
void report_value_i64(struct report *r, const char *key, int64_t value);
void report_value_id(struct report *r, const char *key, struct session_id id);

/* Members of a family: {"key":{"label":value, …}}, as text "key<TAB>label<TAB>value". */
void report_group_begin(struct report *r, const char *key);
void report_group_u64(struct report *r, const char *key, const char *label, uint64_t value);
void report_group_end(struct report *r);

/* Cells are given in the order of the columns, all of them. */
void report_table_begin(struct report *r, const char *key, const char *const columns[], size_t n);
void report_row_begin(struct report *r);
void report_cell_text(struct report *r, const char *value); /* NULL or "": not known */
void report_cell_line(struct report *r, const char *line);  /* as it is: "" is an empty line */
void report_cell_u64(struct report *r, uint64_t value);
void report_cell_i64(struct report *r, int64_t value);
void report_cell_none(struct report *r);
void report_cell_id(struct report *r, struct session_id id);
void report_cell_address(struct report *r, const struct netaddr *address);
void report_row_end(struct report *r);
void report_table_end(struct report *r);

/* A whole answer: a refusal. */
void report_error(struct evbuffer *out, bool json, const char *text);

#endif

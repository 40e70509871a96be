// SPDX-License-Identifier: ISC
/*
 * Writing JSON, and events as lines, into memory that the caller owns. No
 * allocation, no locale, no formatted printing: the event hub's hot path. What
 * is written is one line whatever bytes come in, so that a file name or a user
 * name cannot forge a line.
 *
 * Strings in JSON: `"` and `\` are escaped; so are all control characters (C0,
 * DEL, C1), the line and paragraph separators U+2028 and U+2029, and the
 * characters that turn the direction of text (U+200E, U+200F, U+202A..U+202E,
 * U+2066..U+2069) and U+FEFF, as \u00XX or \uXXXX. A byte that is not part of valid UTF-8
 * is written as \u00XX too, that is as the character that it is in ISO 8859-1:
 * a name in an old charset stays readable and no byte is lost.
 *
 * Text lines: the same characters and bytes appear as \xNN (bytes), \n, \r, \t,
 * and a backslash is doubled; values with spaces are quoted.
 *
 * Pure; any thread.
 */
#ifndef SALLYPORT_JSON_LINE_H
#define SALLYPORT_JSON_LINE_H

#include "sallyport/base.h"
#include "sallyport/event.h"
#include "sallyport/span.h"

/*
 * Bytes written so far into a buffer; once something did not fit, `cut` stays
 * true and nothing more is added.
 */
struct json_out {
	char *p;
	size_t n;
	size_t size;
	bool cut;
	bool comma; /* a comma is due before the next key or element */
};

struct json_out json_out_over(char *p, size_t size);

void json_put_raw(struct json_out *out, const char *text); /* as it is: punctuation, literals */
void json_put_open(struct json_out *out, char bracket);    /* '{' or '[' as the next element */
void json_put_close(struct json_out *out, char bracket);   /* '}' or ']' */
void json_put_key(struct json_out *out, const char *key);  /* our own keys: not escaped */
void json_put_string(struct json_out *out, struct span s);
void json_put_text(struct json_out *out, const char *s);   /* the same for a C string; NULL: null */
void json_put_u64(struct json_out *out, uint64_t v);
void json_put_i64(struct json_out *out, int64_t v);
void json_put_bool(struct json_out *out, bool v);

/* The bytes as text that is safe on a terminal and stays in its line, without quotes. */
void text_escaped(struct json_out *out, struct span s);
void text_u64(struct json_out *out, uint64_t v);

/* "2026-02-03T04:05:06.789Z" and its NUL; years 1970 to 9999. */
#define TIME_TEXT_MAX 25
void time_format_utc(int64_t wall_ms, char buf[TIME_TEXT_MAX]);

/* "010000000000002a". */
void session_id_format(struct session_id id, char buf[SESSION_ID_TEXT_MAX]);
/* 1 to 16 hex digits, with or without "0x"; false when it is not that, or is 0. */
SP_MUSTCHECK bool session_id_parse(struct session_id *out, struct span text);

/* Room that every event fits in, with its line end. */
#define EVENT_LINE_MAX 6144

/*
 * The event as one line with its '\n' (no NUL behind it). Returns its length;
 * 0 when `size` is too small, which EVENT_LINE_MAX never is.
 */
size_t event_line_json(const struct sp_event *event, char *buf, size_t size);
size_t event_line_text(const struct sp_event *event, char *buf, size_t size);
/* The text line without time, level and line end: what goes behind syslog's own header. */
size_t event_line_message(const struct sp_event *event, char *buf, size_t size);

#endif

// SPDX-License-Identifier: ISC
/*
 * Reports: one description, text or JSON.
 */
#include "sallyport/report.h"

#include <string.h>

#include "sallyport/json_line.h"

/* Room for one value, escaped at its worst, and what stands around it. */
#define PIECE_MAX (6 * REPORT_TEXT_MAX + 256)

struct piece {
	struct json_out json;
	char bytes[PIECE_MAX];
};

static void piece_begin(const struct report *r, struct piece *piece)
{
	piece->json = json_out_over(piece->bytes, sizeof(piece->bytes));
	piece->json.comma = r->json && r->comma;
}

static void piece_end(struct report *r, struct piece *piece)
{
	SP_ASSERT(!piece->json.cut);
	/* A line of text that begins with the mark of the end gets another dot. */
	if (!r->json && r->line_start && piece->json.n > 0 && piece->bytes[0] == '.' &&
	    evbuffer_add(r->out, ".", 1) == -1)
		r->failed = true;
	if (evbuffer_add(r->out, piece->bytes, piece->json.n) == -1)
		r->failed = true;
	if (piece->json.n > 0)
		r->line_start = piece->bytes[piece->json.n - 1] == '\n';
	r->comma = piece->json.comma;
}

static struct span cut_to_fit(const char *text)
{
	return span_from(text, strnlen(text, REPORT_TEXT_MAX));
}

static void put_raw(struct report *r, const char *text)
{
	if (evbuffer_add(r->out, text, strlen(text)) == -1)
		r->failed = true;
	r->line_start = text[0] != '\0' && text[strlen(text) - 1] == '\n';
}

static void put_key(struct report *r, struct json_out *out, const char *key)
{
	if (r->json) {
		json_put_key(out, key);
	} else {
		json_put_raw(out, key);
		json_put_raw(out, "\t");
	}
}

static void put_text_value(struct report *r, struct json_out *out, const char *value)
{
	bool known = value != NULL && value[0] != '\0';

	if (r->json && known)
		json_put_string(out, cut_to_fit(value));
	else if (r->json)
		json_put_text(out, NULL);
	else if (known)
		text_escaped(out, cut_to_fit(value));
	else
		json_put_raw(out, "-");
}

static void put_i64_value(struct report *r, struct json_out *out, int64_t value)
{
	if (r->json) {
		json_put_i64(out, value);
		return;
	}
	if (value < 0)
		json_put_raw(out, "-");
	text_u64(out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static void put_u64_value(struct report *r, struct json_out *out, uint64_t value)
{
	if (r->json)
		json_put_u64(out, value);
	else
		text_u64(out, value);
}

void report_begin(struct report *r, struct evbuffer *out, bool json)
{
	*r = (struct report){ .out = out, .json = json, .line_start = true };
	if (json)
		put_raw(r, "{");
}

void report_end(struct report *r)
{
	put_raw(r, r->json ? "}\n" : ".\n");
}

/* ---- values ---------------------------------------------------------------------------------- */

static void value_end(struct report *r, struct piece *piece)
{
	if (!r->json)
		json_put_raw(&piece->json, "\n");
	piece_end(r, piece);
	r->begun = true;
}

void report_value_text(struct report *r, const char *key, const char *value)
{
	struct piece piece;

	piece_begin(r, &piece);
	put_key(r, &piece.json, key);
	put_text_value(r, &piece.json, value);
	value_end(r, &piece);
}

void report_value_u64(struct report *r, const char *key, uint64_t value)
{
	struct piece piece;

	piece_begin(r, &piece);
	put_key(r, &piece.json, key);
	put_u64_value(r, &piece.json, value);
	value_end(r, &piece);
}

void report_value_i64(struct report *r, const char *key, int64_t value)
{
	struct piece piece;

	piece_begin(r, &piece);
	put_key(r, &piece.json, key);
	put_i64_value(r, &piece.json, value);
	value_end(r, &piece);
}

void report_value_id(struct report *r, const char *key, struct session_id id)
{
	char text[SESSION_ID_TEXT_MAX];

	session_id_format(id, text);
	report_value_text(r, key, text);
}

void report_group_begin(struct report *r, const char *key)
{
	struct piece piece;

	if (!r->json)
		return;
	piece_begin(r, &piece);
	json_put_key(&piece.json, key);
	json_put_open(&piece.json, '{');
	piece_end(r, &piece);
}

void report_group_u64(struct report *r, const char *key, const char *label, uint64_t value)
{
	struct piece piece;

	piece_begin(r, &piece);
	if (r->json) {
		json_put_string(&piece.json,
		                cut_to_fit(label)); /* a sink's label has a path in it */
		json_put_raw(&piece.json, ":");
		piece.json.comma = false;
	} else {
		put_key(r, &piece.json, key);
		text_escaped(&piece.json, cut_to_fit(label));
		json_put_raw(&piece.json, "\t");
	}
	put_u64_value(r, &piece.json, value);
	value_end(r, &piece);
}

void report_group_end(struct report *r)
{
	if (!r->json)
		return;
	put_raw(r, "}");
	r->comma = true;
}

/* ---- tables ---------------------------------------------------------------------------------- */

void report_table_begin(struct report *r, const char *key, const char *const columns[], size_t n)
{
	struct piece piece;

	piece_begin(r, &piece);
	if (r->json) {
		json_put_key(&piece.json, key);
		json_put_open(&piece.json, '[');
	} else {
		if (r->begun)
			json_put_raw(&piece.json, "\n");
		for (size_t i = 0; i < n; i++) {
			json_put_raw(&piece.json, i > 0 ? "\t" : "");
			json_put_raw(&piece.json, columns[i]);
		}
		json_put_raw(&piece.json, "\n");
	}
	piece_end(r, &piece);
	r->begun = true;
	r->columns = columns;
	r->columns_n = n;
	r->column = n;
}

void report_row_begin(struct report *r)
{
	SP_ASSERT(r->column == r->columns_n);
	r->column = 0;
	if (!r->json)
		return;
	put_raw(r, r->comma ? ",{" : "{");
	r->comma = false;
}

static void cell_begin(struct report *r, struct piece *piece)
{
	SP_ASSERT(r->column < r->columns_n);
	piece_begin(r, piece);
	if (r->json)
		json_put_key(&piece->json, r->columns[r->column]);
	else if (r->column > 0)
		json_put_raw(&piece->json, "\t");
	r->column++;
}

void report_cell_text(struct report *r, const char *value)
{
	struct piece piece;

	cell_begin(r, &piece);
	put_text_value(r, &piece.json, value);
	piece_end(r, &piece);
}

void report_cell_line(struct report *r, const char *line)
{
	struct piece piece;

	cell_begin(r, &piece);
	if (r->json)
		json_put_string(&piece.json, cut_to_fit(line));
	else
		text_escaped(&piece.json, cut_to_fit(line));
	piece_end(r, &piece);
}

void report_cell_u64(struct report *r, uint64_t value)
{
	struct piece piece;

	cell_begin(r, &piece);
	put_u64_value(r, &piece.json, value);
	piece_end(r, &piece);
}

void report_cell_i64(struct report *r, int64_t value)
{
	struct piece piece;

	cell_begin(r, &piece);
	put_i64_value(r, &piece.json, value);
	piece_end(r, &piece);
}

void report_cell_none(struct report *r)
{
	report_cell_text(r, NULL);
}

void report_cell_id(struct report *r, struct session_id id)
{
	char text[SESSION_ID_TEXT_MAX];

	if (id.v == 0) {
		report_cell_none(r);
		return;
	}
	session_id_format(id, text);
	report_cell_text(r, text);
}

void report_cell_address(struct report *r, const struct netaddr *address)
{
	char text[NETADDR_TEXT_MAX];

	report_cell_text(r, address->family == AF_UNSPEC ? NULL : netaddr_format(address, text));
}

void report_row_end(struct report *r)
{
	SP_ASSERT(r->column == r->columns_n);
	put_raw(r, r->json ? "}" : "\n");
	r->comma = true;
}

void report_table_end(struct report *r)
{
	SP_ASSERT(r->column == r->columns_n);
	if (!r->json)
		return;
	put_raw(r, "]");
	r->comma = true;
}

/* ---- refusals -------------------------------------------------------------------------------- */

void report_error(struct evbuffer *out, bool json, const char *text)
{
	struct report r;
	struct piece piece;

	if (json) {
		report_begin(&r, out, true);
		report_value_text(&r, "error", text);
		report_end(&r);
		return;
	}
	r = (struct report){ .out = out };
	piece_begin(&r, &piece);
	json_put_raw(&piece.json, "error: ");
	text_escaped(&piece.json, cut_to_fit(text));
	json_put_raw(&piece.json, "\n.\n");
	piece_end(&r, &piece);
}

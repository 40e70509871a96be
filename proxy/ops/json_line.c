// SPDX-License-Identifier: ISC
/*
 * JSON and text lines. What is escaped, and how, is said in json_line.h.
 */
#include "sallyport/json_line.h"

#include <string.h>

#include "sallyport/verb.h"

static const char HEX[] = "0123456789abcdef";

/* How long our own static texts may be in a line; a bound, not a wish. */
#define STATIC_TEXT_MAX 200
#define EACH_BYTE UINT64_C(0x0101010101010101)

struct json_out json_out_over(char *p, size_t size)
{
	return (struct json_out){ .p = p, .n = 0, .size = size, .cut = false, .comma = false };
}

static void put(struct json_out *out, const char *bytes, size_t n)
{
	if (out->cut || n > out->size - out->n) {
		out->cut = true;
		return;
	}
	memcpy(out->p + out->n, bytes, n);
	out->n += n;
}

static void put_char(struct json_out *out, char c)
{
	put(out, &c, 1);
}

void json_put_raw(struct json_out *out, const char *text)
{
	put(out, text, strlen(text));
}

static void element(struct json_out *out)
{
	if (out->comma)
		put_char(out, ',');
	out->comma = true;
}

void json_put_open(struct json_out *out, char bracket)
{
	element(out);
	put_char(out, bracket);
	out->comma = false;
}

void json_put_close(struct json_out *out, char bracket)
{
	put_char(out, bracket);
	out->comma = true;
}

/* `,"key":` with one look at the room. */
void json_put_key(struct json_out *out, const char *key)
{
	size_t n = strlen(key);
	char *to;

	if (out->cut || n + 4 > out->size - out->n) {
		out->cut = true;
		return;
	}
	to = out->p + out->n;
	if (out->comma)
		*to++ = ',';
	*to++ = '"';
	memcpy(to, key, n);
	to += n;
	*to++ = '"';
	*to++ = ':';
	out->n = (size_t)(to - out->p);
	out->comma = false;
}

/* ---- characters ------------------------------------------------------------------------------ */

struct character {
	uint32_t code;
	size_t length; /* bytes; 0: not valid UTF-8 */
};

/* The character at p[0..n), n > 0. Overlong forms, surrogates and codes beyond U+10FFFF are not
 * valid. */
static struct character utf8_character(const char *p, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char lead = (unsigned char)p[0];
	struct character c = { lead, 1 };

	if (lead < 0x80)
		return c;
	if (lead < 0xc2 || lead > 0xf4)
		return (struct character){ 0, 0 };
	c.length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (n < c.length)
		return (struct character){ 0, 0 };
	c.code = lead & (0x7fu >> c.length);
	for (size_t i = 1; i < c.length; i++) {
		unsigned char next = (unsigned char)p[i];

		if ((next & 0xc0) != 0x80)
			return (struct character){ 0, 0 };
		c.code = c.code << 6 | (next & 0x3fu);
	}
	if (c.code < least[c.length] || c.code > 0x10ffff || (c.code >= 0xd800 && c.code <= 0xdfff))
		return (struct character){ 0, 0 };
	return c;
}

/* Characters that could end a line, move the cursor or turn the text around where a line is shown.
 */
static bool is_unsafe(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return true;
	return code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

/* A high bit for each byte of `v` that is 0 (and perhaps for some that follow one). */
static uint64_t zero_bytes(uint64_t v)
{
	return (v - EACH_BYTE) & ~v & EACH_BYTE << 7;
}

/* Whether all eight are what plain_run() looks for. */
static bool are_plain(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return ((v | ((v - EACH_BYTE * 0x20) & ~v)) & EACH_BYTE << 7) == 0 &&
	       (zero_bytes(v ^ EACH_BYTE * '"') | zero_bytes(v ^ EACH_BYTE * '\\') |
	        zero_bytes(v ^ EACH_BYTE * 0x7f)) == 0;
}

/* How many bytes from p on are printable ASCII but `"` and `\`: what needs no second look. */
static size_t plain_run(const char *p, size_t n)
{
	size_t i = 0;

	while (n - i >= 8 && are_plain(p + i))
		i += 8;
	while (i < n && (unsigned char)(p[i] - 0x20) < 0x5f && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

static void put_u_escape(struct json_out *out, uint32_t code)
{
	char text[6] = { '\\', 'u' };

	for (int i = 0; i < 4; i++)
		text[2 + i] = HEX[code >> (12 - 4 * i) & 0xf];
	put(out, text, sizeof(text));
}

static void json_escape_one(struct json_out *out, const char *p, struct character c)
{
	if (c.length == 0) /* the byte as ISO 8859-1 has it */
		put_u_escape(out, (unsigned char)*p);
	else if (c.code == '"')
		put(out, "\\\"", 2);
	else if (c.code == '\\')
		put(out, "\\\\", 2);
	else if (is_unsafe(c.code))
		put_u_escape(out, c.code);
	else
		put(out, p, c.length);
}

void json_put_string(struct json_out *out, struct span s)
{
	size_t i = 0;

	element(out);
	put_char(out, '"');
	while (i < s.n && !out->cut) {
		size_t run = plain_run(s.p + i, s.n - i);

		put(out, s.p + i, run);
		i += run;
		if (i < s.n) {
			struct character c = utf8_character(s.p + i, s.n - i);

			json_escape_one(out, s.p + i, c);
			i += c.length > 0 ? c.length : 1;
		}
	}
	put_char(out, '"');
}

/* What is known to need no escapes. */
static void put_quoted(struct json_out *out, struct span s)
{
	char *to;

	element(out);
	if (out->cut || s.n + 2 > out->size - out->n) {
		out->cut = true;
		return;
	}
	to = out->p + out->n;
	to[0] = '"';
	memcpy(to + 1, s.p, s.n);
	to[s.n + 1] = '"';
	out->n += s.n + 2;
}

void json_put_text(struct json_out *out, const char *s)
{
	if (s != NULL) {
		json_put_string(out, span_of(s));
		return;
	}
	element(out);
	json_put_raw(out, "null");
}

static void put_u64(struct json_out *out, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	put(out, digits + at, sizeof(digits) - at);
}

void json_put_u64(struct json_out *out, uint64_t v)
{
	element(out);
	put_u64(out, v);
}

void json_put_i64(struct json_out *out, int64_t v)
{
	element(out);
	if (v < 0)
		put_char(out, '-');
	put_u64(out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void json_put_bool(struct json_out *out, bool v)
{
	element(out);
	json_put_raw(out, v ? "true" : "false");
}

/* ---- text ------------------------------------------------------------------------------------ */

static void put_x_escapes(struct json_out *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)p[i];
		char text[4] = { '\\', 'x', HEX[byte >> 4], HEX[byte & 0xf] };

		put(out, text, sizeof(text));
	}
}

static void text_escape_one(struct json_out *out, const char *p, struct character c, bool quoted)
{
	if (c.length == 0)
		put_x_escapes(out, p, 1);
	else if (c.code == '\n')
		put(out, "\\n", 2);
	else if (c.code == '\r')
		put(out, "\\r", 2);
	else if (c.code == '\t')
		put(out, "\\t", 2);
	else if (c.code == '\\')
		put(out, "\\\\", 2);
	else if (c.code == '"' && quoted)
		put(out, "\\\"", 2);
	else if (is_unsafe(c.code))
		put_x_escapes(out, p, c.length);
	else
		put(out, p, c.length);
}

static void put_text(struct json_out *out, struct span s, bool quoted)
{
	size_t i = 0;

	while (i < s.n && !out->cut) {
		size_t run = plain_run(s.p + i, s.n - i);

		put(out, s.p + i, run);
		i += run;
		if (i < s.n) {
			struct character c = utf8_character(s.p + i, s.n - i);

			text_escape_one(out, s.p + i, c, quoted);
			i += c.length > 0 ? c.length : 1;
		}
	}
}

void text_escaped(struct json_out *out, struct span s)
{
	put_text(out, s, false);
}

void text_u64(struct json_out *out, uint64_t v)
{
	put_u64(out, v);
}

/* A value behind "key=": quoted when it would not be one word. */
static void text_value(struct json_out *out, struct span s)
{
	bool word = s.n > 0;

	for (size_t i = 0; i < s.n && word; i++)
		word = s.p[i] != ' ' && s.p[i] != '"' && s.p[i] != '=';
	if (word) {
		put_text(out, s, false);
		return;
	}
	put_char(out, '"');
	put_text(out, s, true);
	put_char(out, '"');
}

/* ---- times and ids --------------------------------------------------------------------------- */

static void put_digits(char *p, int64_t v, int digits)
{
	for (int i = digits - 1; i >= 0; i--) {
		p[i] = (char)('0' + v % 10);
		v /= 10;
	}
}

static void format_second(int64_t seconds, char buf[TIME_TEXT_MAX])
{
	/* Days since 0000-03-01 in eras of 400 years; a year begins in March, so that the leap day
	 * is its last. */
	int64_t second = seconds % 86400;
	int64_t days = seconds / 86400 + 719468;
	int64_t era = days / 146097;
	int64_t in_era = days % 146097;
	int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * in_year + 2) / 153;
	int64_t day = in_year - (153 * month + 2) / 5 + 1;

	month = month < 10 ? month + 3 : month - 9;
	year += era * 400 + (month <= 2 ? 1 : 0);
	memcpy(buf, "0000-00-00T00:00:00.000Z", TIME_TEXT_MAX);
	put_digits(buf, year, 4);
	put_digits(buf + 5, month, 2);
	put_digits(buf + 8, day, 2);
	put_digits(buf + 11, second / 3600, 2);
	put_digits(buf + 14, second / 60 % 60, 2);
	put_digits(buf + 17, second % 60, 2);
}

void time_format_utc(int64_t wall_ms, char buf[TIME_TEXT_MAX])
{
	/* Many lines are written in one second. */
	static _Thread_local struct {
		int64_t seconds;
		char text[TIME_TEXT_MAX];
	} last = { .seconds = -1 };
	int64_t ms = sp_min64(sp_max64(wall_ms, 0), INT64_C(253402300799999));

	if (ms / 1000 != last.seconds) {
		last.seconds = ms / 1000;
		format_second(last.seconds, last.text);
	}
	memcpy(buf, last.text, TIME_TEXT_MAX);
	put_digits(buf + 20, ms % 1000, 3);
}

void session_id_format(struct session_id id, char buf[SESSION_ID_TEXT_MAX])
{
	for (unsigned i = 0; i < 16; i++)
		buf[i] = HEX[id.v >> (60 - 4 * i) & 0xf];
	buf[16] = '\0';
}

bool session_id_parse(struct session_id *out, struct span text)
{
	uint64_t v = 0;

	if (text.n > 2 && text.p[0] == '0' && (text.p[1] == 'x' || text.p[1] == 'X'))
		text = span_from(text.p + 2, text.n - 2);
	if (text.n == 0 || text.n > 16)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = v << 4 | (uint64_t)(c - 'A' + 10);
		else
			return false;
	}
	if (v == 0)
		return false;
	out->v = v;
	return true;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* One list of fields, two ways to write them. */
struct field_writer {
	struct json_out *out;
	bool json;
};

static void field_key(struct field_writer *w, const char *key)
{
	if (w->json) {
		json_put_key(w->out, key);
		return;
	}
	put_char(w->out, ' ');
	json_put_raw(w->out, key);
	put_char(w->out, '=');
}

static void field_span(struct field_writer *w, const char *key, struct span s)
{
	field_key(w, key);
	if (w->json)
		json_put_string(w->out, s);
	else
		text_value(w->out, s);
}

/* An array of `size` bytes that should end in NUL; nothing is written when it is empty. */
static void field_array(struct field_writer *w, const char *key, const char *s, size_t size)
{
	size_t n = strnlen(s, size);

	if (n > 0)
		field_span(w, key, span_from(s, n));
}

/* One of our own words or numbers in writing: printable ASCII without a blank, nothing to escape. */
static void field_word(struct field_writer *w, const char *key, struct span s)
{
	field_key(w, key);
	if (w->json)
		put_quoted(w->out, s);
	else
		put(w->out, s.p, s.n);
}

/* A text that is in the program, such as how the data ended: perhaps with blanks. */
static void field_static(struct field_writer *w, const char *key, const char *s)
{
	if (s != NULL)
		field_array(w, key, s, STATIC_TEXT_MAX);
}

static void field_u64(struct field_writer *w, const char *key, uint64_t v)
{
	field_key(w, key);
	if (w->json)
		json_put_u64(w->out, v);
	else
		put_u64(w->out, v);
}

static void field_address(struct field_writer *w, const char *key, const struct netaddr *a)
{
	char text[NETADDR_TEXT_MAX];

	if (a->family != AF_UNSPEC)
		field_word(w, key, span_of(netaddr_format(a, text)));
}

static void field_u64_if(struct field_writer *w, const char *key, uint64_t v, bool always)
{
	if (v != 0 || always)
		field_u64(w, key, v);
}

static void event_fields(struct field_writer *w, const struct sp_event *e)
{
	bool totals = e->kind == EVENT_SESSION_END;
	bool moved = totals || e->kind == EVENT_TRANSFER;
	char id[SESSION_ID_TEXT_MAX];

	if (e->session.v != 0) {
		session_id_format(e->session, id);
		field_word(w, "session", span_from(id, 16));
	}
	field_address(w, "client", &e->client);
	field_array(w, "listener", e->listener, sizeof(e->listener));
	field_array(w, "user", e->user, sizeof(e->user));
	field_array(w, "pool", e->pool, sizeof(e->pool));
	field_array(w, "server_name", e->server_name, sizeof(e->server_name));
	field_address(w, "server", &e->server);
	if (e->verb < VERB_UNKNOWN)
		field_word(w, "verb", span_of(verb_row(e->verb)->name));
	if (e->code > 0)
		field_u64(w, "code", (uint64_t)e->code);
	field_static(w, "outcome", e->outcome);
	if (totals && e->reason < END_REASON_COUNT)
		field_word(w, "reason", span_of(end_reason_row(e->reason)->name));
	if (e->clock < CLOCK_COUNT)
		field_word(w, "clock", span_of(clock_name(e->clock)));
	if (e->duration_ms >= 0)
		field_u64(w, "duration_ms", (uint64_t)e->duration_ms);
	field_u64_if(w, "bytes_up", e->bytes_up, moved);
	field_u64_if(w, "bytes_down", e->bytes_down, moved);
	field_u64_if(w, "commands", e->commands, totals);
	field_u64_if(w, "transfers", e->transfers, totals);
	field_static(w, "tls", e->tls);
}

static size_t finished(struct json_out *out)
{
	put_char(out, '\n');
	return out->cut ? 0 : out->n;
}

size_t event_line_json(const struct sp_event *event, char *buf, size_t size)
{
	struct json_out out = json_out_over(buf, size);
	struct field_writer w = { &out, true };
	char time[TIME_TEXT_MAX];

	time_format_utc(event->wall_ms, time);
	json_put_open(&out, '{');
	field_word(&w, "time", span_from(time, TIME_TEXT_MAX - 1));
	field_word(&w, "event", span_of(event_name(event->kind)));
	field_word(&w, "level", span_of(event_level_name(event->level)));
	event_fields(&w, event);
	field_array(&w, "text", event->text, sizeof(event->text));
	json_put_close(&out, '}');
	return finished(&out);
}

/* A message says its text first; anything else its name first and its text, quoted, last. */
static void text_message(struct json_out *out, const struct sp_event *event)
{
	struct field_writer w = { out, false };

	if (event->kind == EVENT_LOG) {
		text_escaped(out,
		             span_from(event->text, strnlen(event->text, sizeof(event->text))));
		event_fields(&w, event);
		return;
	}
	json_put_raw(out, event_name(event->kind));
	event_fields(&w, event);
	field_array(&w, "text", event->text, sizeof(event->text));
}

size_t event_line_text(const struct sp_event *event, char *buf, size_t size)
{
	struct json_out out = json_out_over(buf, size);
	const char *level = event_level_name(event->level);
	char time[TIME_TEXT_MAX];
	size_t width = strlen(level);

	time_format_utc(event->wall_ms, time);
	json_put_raw(&out, time);
	put_char(&out, ' ');
	json_put_raw(&out, level);
	for (; width < sizeof("warning"); width++) /* one blank behind the longest of them */
		put_char(&out, ' ');
	text_message(&out, event);
	return finished(&out);
}

size_t event_line_message(const struct sp_event *event, char *buf, size_t size)
{
	struct json_out out = json_out_over(buf, size);

	text_message(&out, event);
	return out.cut ? 0 : out.n;
}

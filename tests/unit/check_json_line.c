// SPDX-License-Identifier: ISC
/*
 * JSON and text lines: what is written is parsed again with jansson, and no
 * byte that comes in can end a line, begin another or move a cursor.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/json_line.h"

static char line[EVENT_LINE_MAX + 1];

/* A repeatable sequence; the tests name its seed when they fail. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void assert_one_safe_line(const char *p, size_t n)
{
	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(p[n - 1], '\n');
	for (size_t i = 0; i + 1 < n; i++) {
		unsigned char c = (unsigned char)p[i];

		/* Not an assertion for each byte: each of those is a write to check's own pipe. */
		if (c < 0x20 || c == 0x7f)
			ck_abort_msg("raw control byte %#x at %zu", c, i);
		if (c == 0xc2 && (unsigned char)p[i + 1] < 0xa0) /* C2 80 to C2 9F */
			ck_abort_msg("raw C1 control at %zu", i);
	}
}

/* Formats, checks, parses; the caller decrefs. */
static json_t *parsed(const struct sp_event *event)
{
	json_error_t error;
	size_t n = event_line_json(event, line, EVENT_LINE_MAX);

	assert_one_safe_line(line, n);
	json_t *json = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(json != NULL, "%s in %.*s", error.text, (int)n, line);
	ck_assert(json_is_object(json));
	return json;
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *s = json_string_value(json_object_get(json, key));

	ck_assert_msg(s != NULL, "no text %s", key);
	return s;
}

static long long number_of(const json_t *json, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(json, key)), "no number %s", key);
	return json_integer_value(json_object_get(json, key));
}

static void parse_address(struct netaddr *a, const char *text)
{
	ck_assert(netaddr_parse(a, span_of(text), 0));
}

static struct sp_event full_event(void)
{
	struct sp_event e;

	event_init(&e, EVENT_SESSION_END);
	e.wall_ms = INT64_C(1770091506789);
	e.session = session_id_make(1, 42);
	e.reason = END_IDLE_TIMEOUT;
	e.clock = CLOCK_IDLE;
	e.verb = VERB_RETR;
	e.code = 421;
	parse_address(&e.client, "192.0.2.1:50000");
	parse_address(&e.server, "[2001:db8::1]:21");
	e.duration_ms = 300001;
	e.bytes_up = 12;
	e.bytes_down = UINT64_C(9007199254740993);
	e.commands = 7;
	e.transfers = 2;
	e.outcome = "whole";
	e.tls = "TLSv1.3";
	sp_copy(e.listener, sizeof(e.listener), "public");
	sp_copy(e.user, sizeof(e.user), "bob");
	sp_copy(e.pool, sizeof(e.pool), "legacy");
	sp_copy(e.server_name, sizeof(e.server_name), "old1");
	sp_copy(e.text, sizeof(e.text), "a \"quoted\" text");
	return e;
}

START_TEST(an_event_becomes_an_object_with_all_its_fields)
{
	struct sp_event e = full_event();
	json_t *json = parsed(&e);

	ck_assert_str_eq(text_of(json, "time"), "2026-02-03T04:05:06.789Z");
	ck_assert_str_eq(text_of(json, "event"), "session_end");
	ck_assert_str_eq(text_of(json, "level"), event_level_name(e.level));
	ck_assert_str_eq(text_of(json, "session"), "010000000000002a");
	ck_assert_str_eq(text_of(json, "client"), "192.0.2.1:50000");
	ck_assert_str_eq(text_of(json, "listener"), "public");
	ck_assert_str_eq(text_of(json, "user"), "bob");
	ck_assert_str_eq(text_of(json, "pool"), "legacy");
	ck_assert_str_eq(text_of(json, "server_name"), "old1");
	ck_assert_str_eq(text_of(json, "server"), "[2001:db8::1]:21");
	ck_assert_str_eq(text_of(json, "verb"), "RETR");
	ck_assert_int_eq(number_of(json, "code"), 421);
	ck_assert_str_eq(text_of(json, "outcome"), "whole");
	ck_assert_str_eq(text_of(json, "reason"), "idle_timeout");
	ck_assert_str_eq(text_of(json, "clock"), "idle_timeout");
	ck_assert_int_eq(number_of(json, "duration_ms"), 300001);
	ck_assert_int_eq(number_of(json, "bytes_up"), 12);
	ck_assert_int_eq(number_of(json, "bytes_down"), 9007199254740993LL);
	ck_assert_int_eq(number_of(json, "commands"), 7);
	ck_assert_int_eq(number_of(json, "transfers"), 2);
	ck_assert_str_eq(text_of(json, "tls"), "TLSv1.3");
	ck_assert_str_eq(text_of(json, "text"), "a \"quoted\" text");
	ck_assert_uint_eq(json_object_size(json), 22);
	json_decref(json);
}
END_TEST

START_TEST(what_does_not_apply_is_not_written)
{
	struct sp_event e;

	event_init(&e, EVENT_LOG);
	sp_copy(e.text, sizeof(e.text), "hello");
	json_t *json = parsed(&e);
	ck_assert_uint_eq(json_object_size(json), 4); /* time, event, level, text */
	json_decref(json);

	/* The first of the reasons and of the verbs are no "none". */
	event_init(&e, EVENT_SESSION_END);
	e.reason = END_CLIENT_QUIT;
	e.verb = VERB_USER;
	e.duration_ms = 0;
	json = parsed(&e);
	ck_assert_str_eq(text_of(json, "reason"), "client_quit");
	ck_assert_str_eq(text_of(json, "verb"), "USER");
	ck_assert_int_eq(number_of(json, "duration_ms"), 0);
	ck_assert_int_eq(number_of(json, "bytes_up"), 0);
	ck_assert_int_eq(number_of(json, "bytes_down"), 0);
	json_decref(json);
}
END_TEST

START_TEST(every_kind_of_event_has_its_name_and_level)
{
	for (size_t i = 0; i < EVENT_KIND_COUNT; i++) {
		struct sp_event e;

		event_init(&e, (enum event_kind)i);
		json_t *json = parsed(&e);
		ck_assert_str_eq(text_of(json, "event"), event_name(e.kind));
		ck_assert_str_eq(text_of(json, "level"),
		                 event_level_name(event_default_level(e.kind)));
		json_decref(json);
	}
}
END_TEST

START_TEST(each_byte_is_kept_and_none_gets_out_raw)
{
	for (int byte = 1; byte < 256; byte++) {
		struct sp_event e;
		char expected[8];

		event_init(&e, EVENT_TRANSFER);
		e.text[0] = 'a';
		e.text[1] = (char)byte;
		e.text[2] = 'b';
		json_t *json = parsed(&e);
		if (byte < 0x80)
			snprintf(expected, sizeof(expected), "a%cb", byte);
		else /* the character of ISO 8859-1, in UTF-8 */
			snprintf(expected, sizeof(expected), "a%c%cb", 0xc0 | byte >> 6,
			         0x80 | (byte & 0x3f));
		ck_assert_str_eq(text_of(json, "text"), expected);
		json_decref(json);
		assert_one_safe_line(line, event_line_text(&e, line, EVENT_LINE_MAX));
	}
}
END_TEST

START_TEST(valid_utf8_stays_and_invalid_utf8_is_escaped)
{
	static const struct {
		const char *in;
		const char *written; /* within the quotes */
	} rows[] = {
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xe2\x82\xac", "\xe2\x82\xac" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
		{ "\xc3", "\\u00c3" }, /* ends too early */
		{ "\xc3(", "\\u00c3(" },
		{ "\xe2\x82", "\\u00e2\\u0082" },
		{ "\xc0\x80", "\\u00c0\\u0080" }, /* overlong NUL */
		{ "\xe0\x80\xaf", "\\u00e0\\u0080\\u00af" },
		{ "\xf0\x80\x80\xaf", "\\u00f0\\u0080\\u0080\\u00af" },
		{ "\xed\xa0\x80", "\\u00ed\\u00a0\\u0080" },            /* a surrogate */
		{ "\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080" }, /* beyond U+10FFFF */
		{ "\xff\xfe", "\\u00ff\\u00fe" },
		{ "\xc2\x9b"
		  "31m",
		  "\\u009b31m" },              /* C1: the 8-bit form of ESC [ */
		{ "\xe2\x80\xae", "\\u202e" }, /* right-to-left override */
		{ "\xe2\x80\xa8", "\\u2028" }, /* line separator */
		{ "\x1b[2J", "\\u001b[2J" },
		{ "a\r\nb\tc", "a\\u000d\\u000ab\\u0009c" },
		{ "\x7f", "\\u007f" },
		{ "\\\"", "\\\\\\\"" },
		{ "\xc2\xa0", "\xc2\xa0" },
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(rows); i++) {
		struct json_out out = json_out_over(line, sizeof(line));
		char expected[128];

		json_put_string(&out, span_of(rows[i].in));
		ck_assert(!out.cut);
		line[out.n] = '\0';
		snprintf(expected, sizeof(expected), "\"%s\"", rows[i].written);
		ck_assert_str_eq(line, expected);
	}
}
END_TEST

START_TEST(a_file_name_cannot_forge_a_line)
{
	static const char evil[] =
	    "x\"}\n{\"time\":\"2026-01-01T00:00:00.000Z\",\"event\":\"logon\",\"user\":\"root\"}\n";
	struct sp_event e;

	event_init(&e, EVENT_TRANSFER);
	sp_copy(e.text, sizeof(e.text), evil);
	json_t *json = parsed(&e);
	ck_assert_str_eq(text_of(json, "event"), "transfer");
	ck_assert_str_eq(text_of(json, "text"), evil);
	ck_assert_ptr_null(json_object_get(json, "user"));
	json_decref(json);

	size_t n = event_line_text(&e, line, EVENT_LINE_MAX);
	assert_one_safe_line(line, n);
}
END_TEST

START_TEST(random_bytes_give_one_line_that_parses)
{
	uint32_t state = 20260203;

	for (int round = 0; round < 20000; round++) {
		struct sp_event e;
		size_t n = next_random(&state) % sizeof(e.text);

		event_init(&e, EVENT_COMMAND_DENIED);
		for (size_t i = 0; i + 1 < n; i++) {
			uint32_t r = next_random(&state);

			/* Half of it from the bytes that UTF-8 and JSON care for. */
			e.text[i] =
			    (char)(r & 1
			               ? "\"\\\n\xc2\x80\xe2\x80\xa8\xf0\x9f\xed\xa0"[(r >> 1) % 12]
			               : (char)(r >> 9));
			e.user[i % (sizeof(e.user) - 1)] = e.text[i];
		}
		json_decref(parsed(&e));
		assert_one_safe_line(line, event_line_text(&e, line, EVENT_LINE_MAX));
	}
}
END_TEST

START_TEST(a_string_comes_back_from_a_parser_as_it_was)
{
	static const char *const texts[] = { "",
		                             "plain",
		                             "gr\xc3\xbc\xc3\x9f \xe2\x82\xac",
		                             "a\tb\nc\rd\x01",
		                             "\\ \" /",
		                             "\xe2\x80\xae\xf0\x9f\x98\x80" };

	for (size_t i = 0; i < SP_ARRAY_LEN(texts); i++) {
		struct json_out out = json_out_over(line, sizeof(line));

		json_put_string(&out, span_of(texts[i]));
		json_t *json = json_loadb(line, out.n, JSON_DECODE_ANY, NULL);
		ck_assert_ptr_nonnull(json);
		ck_assert_str_eq(json_string_value(json), texts[i]);
		json_decref(json);
	}
}
END_TEST

static void fill(char *s, size_t size, char c)
{
	memset(s, c, size - 1);
	s[size - 1] = '\0';
}

START_TEST(the_largest_event_fits)
{
	struct sp_event e = full_event();

	/* \x01 takes six bytes in JSON, and four in text. */
	fill(e.text, sizeof(e.text), 1);
	fill(e.user, sizeof(e.user), 1);
	fill(e.listener, sizeof(e.listener), 1);
	fill(e.pool, sizeof(e.pool), 1);
	fill(e.server_name, sizeof(e.server_name), 1);
	parse_address(&e.client, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
	e.server = e.client;
	e.session.v = UINT64_MAX;
	e.duration_ms = INT64_MAX;
	e.bytes_up = UINT64_MAX;
	e.bytes_down = UINT64_MAX;
	e.commands = UINT32_MAX;
	e.transfers = UINT32_MAX;
	ck_assert_uint_gt(event_line_json(&e, line, EVENT_LINE_MAX), 0);
	ck_assert_uint_gt(event_line_text(&e, line, EVENT_LINE_MAX), 0);
	ck_assert_uint_gt(event_line_message(&e, line, EVENT_LINE_MAX), 0);
}
END_TEST

START_TEST(an_array_without_its_nul_is_not_read_beyond)
{
	struct sp_event e;

	event_init(&e, EVENT_LOGON);
	memset(e.user, 'u', sizeof(e.user));
	memset(e.text, 't', sizeof(e.text));
	json_t *json = parsed(&e);
	ck_assert_uint_eq(strlen(text_of(json, "user")), sizeof(e.user));
	ck_assert_uint_eq(strlen(text_of(json, "text")), sizeof(e.text));
	json_decref(json);
}
END_TEST

START_TEST(what_does_not_fit_is_refused_and_writes_nothing_behind)
{
	struct sp_event e = full_event();
	size_t whole = event_line_json(&e, line, EVENT_LINE_MAX);
	size_t whole_text = event_line_text(&e, line, EVENT_LINE_MAX);

	for (size_t size = 0; size < whole; size++) {
		memset(line, '#', sizeof(line));
		ck_assert_uint_eq(event_line_json(&e, line, size), 0);
		ck_assert_int_eq(line[size], '#');
	}
	for (size_t size = 0; size < whole_text; size++) {
		memset(line, '#', sizeof(line));
		ck_assert_uint_eq(event_line_text(&e, line, size), 0);
		ck_assert_int_eq(line[size], '#');
	}
	ck_assert_uint_eq(event_line_json(&e, line, whole), whole);
}
END_TEST

static void assert_text(const struct sp_event *e, const char *expected)
{
	size_t n = event_line_text(e, line, EVENT_LINE_MAX);

	assert_one_safe_line(line, n);
	line[n - 1] = '\0';
	ck_assert_str_eq(line, expected);
}

START_TEST(text_lines_are_for_people)
{
	struct sp_event e;

	event_init(&e, EVENT_LOG);
	e.wall_ms = INT64_C(1770091506789);
	sp_copy(e.text, sizeof(e.text), "listening on 127.0.0.1:21");
	assert_text(&e, "2026-02-03T04:05:06.789Z info    listening on 127.0.0.1:21");
	e.level = LEVEL_WARNING;
	assert_text(&e, "2026-02-03T04:05:06.789Z warning listening on 127.0.0.1:21");

	event_init(&e, EVENT_LOGON);
	e.wall_ms = 0;
	e.session = session_id_make(2, 1);
	sp_copy(e.user, sizeof(e.user), "b o=b");
	sp_copy(e.text, sizeof(e.text), "say \"\\\" \xe9");
	assert_text(
	    &e, "1970-01-01T00:00:00.000Z info    logon session=0200000000000001 user=\"b o=b\" "
		"text=\"say \\\"\\\\\\\" \\xe9\"");
}
END_TEST

START_TEST(times_are_those_of_the_calendar)
{
	static const int64_t special[] = { 0,
		                           951782400000,
		                           951868799999,
		                           1709164800000,
		                           4107542399999,
		                           4107542400000,
		                           253402300799999,
		                           1770091506789 };
	uint32_t state = 7;

	for (size_t i = 0; i < 20000; i++) {
		int64_t ms =
		    i < SP_ARRAY_LEN(special)
			? special[i]
			: (int64_t)((uint64_t)next_random(&state) << 24 | next_random(&state)) %
			      253402300800000;
		time_t t = (time_t)(ms / 1000);
		char expected[40];
		char got[TIME_TEXT_MAX];
		struct tm tm;
		size_t n;

		ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
		n = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(expected + n, sizeof(expected) - n, ".%03dZ", (int)(ms % 1000));
		time_format_utc(ms, got);
		ck_assert_str_eq(got, expected);
	}
}
END_TEST

START_TEST(times_out_of_range_are_kept_within)
{
	char got[TIME_TEXT_MAX];

	time_format_utc(-1, got);
	ck_assert_str_eq(got, "1970-01-01T00:00:00.000Z");
	time_format_utc(INT64_MAX, got);
	ck_assert_str_eq(got, "9999-12-31T23:59:59.999Z");
}
END_TEST

START_TEST(session_ids_are_written_and_read)
{
	static const char *const bad[] = {
		"", "0", "0000000000000000", "g", "0x", "12345678901234567", " 1", "1 ", "-1", "1\n"
	};
	struct session_id id = { 0 };
	char text[SESSION_ID_TEXT_MAX];

	session_id_format((struct session_id){ UINT64_C(0xfedcba9876543210) }, text);
	ck_assert_str_eq(text, "fedcba9876543210");
	ck_assert(session_id_parse(&id, span_of(text)));
	ck_assert_uint_eq(id.v, UINT64_C(0xfedcba9876543210));
	ck_assert(session_id_parse(&id, span_of("0x2A")));
	ck_assert_uint_eq(id.v, 42);
	for (size_t i = 0; i < SP_ARRAY_LEN(bad); i++)
		ck_assert_msg(!session_id_parse(&id, span_of(bad[i])), "\"%s\"", bad[i]);
	ck_assert_uint_eq(id.v, 42);
}
END_TEST

START_TEST(objects_and_arrays_get_their_commas)
{
	struct json_out out = json_out_over(line, sizeof(line));

	json_put_open(&out, '{');
	json_put_key(&out, "a");
	json_put_open(&out, '[');
	json_put_u64(&out, UINT64_MAX);
	json_put_i64(&out, INT64_MIN);
	json_put_open(&out, '{');
	json_put_close(&out, '}');
	json_put_bool(&out, true);
	json_put_text(&out, NULL);
	json_put_close(&out, ']');
	json_put_key(&out, "b");
	json_put_bool(&out, false);
	json_put_close(&out, '}');
	line[out.n] = '\0';
	ck_assert_str_eq(
	    line, "{\"a\":[18446744073709551615,-9223372036854775808,{},true,null],\"b\":false}");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json_line");
	TCase *tcase = tcase_create("json_line");
	SRunner *runner = srunner_create(suite);

	tcase_add_test(tcase, an_event_becomes_an_object_with_all_its_fields);
	tcase_add_test(tcase, what_does_not_apply_is_not_written);
	tcase_add_test(tcase, every_kind_of_event_has_its_name_and_level);
	tcase_add_test(tcase, each_byte_is_kept_and_none_gets_out_raw);
	tcase_add_test(tcase, valid_utf8_stays_and_invalid_utf8_is_escaped);
	tcase_add_test(tcase, a_file_name_cannot_forge_a_line);
	tcase_add_test(tcase, random_bytes_give_one_line_that_parses);
	tcase_add_test(tcase, a_string_comes_back_from_a_parser_as_it_was);
	tcase_add_test(tcase, the_largest_event_fits);
	tcase_add_test(tcase, an_array_without_its_nul_is_not_read_beyond);
	tcase_add_test(tcase, what_does_not_fit_is_refused_and_writes_nothing_behind);
	tcase_add_test(tcase, text_lines_are_for_people);
	tcase_add_test(tcase, times_are_those_of_the_calendar);
	tcase_add_test(tcase, times_out_of_range_are_kept_within);
	tcase_add_test(tcase, session_ids_are_written_and_read);
	tcase_add_test(tcase, objects_and_arrays_get_their_commas);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

// SPDX-License-Identifier: ISC
/*
 * Lines of events. Whatever bytes a name has: one line, no control character in
 * it, in JSON one object that parses; and where the bytes are UTF-8 the parser
 * gives them back.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sallyport/json_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *p, size_t n)
{
	SP_ASSERT(n > 0 && p[n - 1] == '\n');
	for (size_t i = 0; i + 1 < n; i++) {
		unsigned char c = (unsigned char)p[i];

		SP_ASSERT(c >= 0x20 && c != 0x7f);
		SP_ASSERT(c != 0xc2 || (unsigned char)p[i + 1] >= 0xa0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[EVENT_LINE_MAX];
	struct sp_event event;
	json_t *utf8;

	event_init(&event, EVENT_TRANSFER);
	(void)span_copy(event.text, sizeof(event.text), span_from((const char *)data, size));
	(void)span_copy(event.user, sizeof(event.user), span_from((const char *)data, size));

	size_t n = event_line_json(&event, line, sizeof(line));
	check_line(line, n);
	json_t *json = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
	SP_ASSERT(json != NULL);
	utf8 = json_string(event.text); /* NULL: the bytes are no UTF-8 */
	if (utf8 != NULL && event.text[0] != '\0')
		SP_ASSERT(json_equal(utf8, json_object_get(json, "text")));
	json_decref(utf8);
	json_decref(json);
	check_line(line, event_line_text(&event, line, sizeof(line)));

	/* Cut anywhere: all or nothing. */
	size_t room = size > 0 ? data[0] * 2u : 0;
	if (room < n)
		SP_ASSERT(event_line_json(&event, line, room) == 0);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * What a server says to a logon: case means nothing, nor does what stands
 * around the words; and whatever else is said, a reply that speaks of the
 * password is never taken to another server.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/logon_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char wrong[] = " Password incorrect";

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int code = size > 0 && (data[0] & 1) != 0 ? 421 : 530;
	char *text = malloc(size + sizeof(wrong));
	enum logon_answer answer;

	SP_ASSERT(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	answer = logon_answer_of(code, span_from(text, size));
	SP_ASSERT(answer != LOGON_ANSWER_FAILED || code == 421);
	for (size_t i = 0; i < size; i++)
		text[i] = is_letter(text[i]) ? (char)(text[i] ^ 0x20) : text[i];
	SP_ASSERT(logon_answer_of(code, span_from(text, size)) == answer);
	memcpy(text + size, wrong, sizeof(wrong) - 1);
	SP_ASSERT(logon_answer_of(code, span_from(text, size + sizeof(wrong) - 1)) == LOGON_ANSWER_REFUSED);
	free(text);
	return 0;
}

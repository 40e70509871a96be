// SPDX-License-Identifier: ISC
/*
 * FEAT of two servers: what is read is lines and nothing else, what they have
 * in common is in both whoever is asked first, and the answer is a reply that
 * ends where it says.
 */
#include <string.h>

#include "sallyport/features.h"
#include "sallyport/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(const struct features *f)
{
	SP_ASSERT(f->n <= sizeof(f->text));
	SP_ASSERT(f->n == 0 || f->text[f->n - 1] == '\n');
	for (size_t i = 0; i < f->n; i++) {
		bool at_start = i == 0 || f->text[i - 1] == '\n';

		SP_ASSERT(f->text[i] == '\n' || (unsigned char)f->text[i] >= ' ');
		SP_ASSERT(!at_start || (f->text[i] != '\n' && f->text[i] != ' '));
	}
}

static size_t count_lines(const struct features *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->text[i] == '\n';
	return n;
}

static void check_answer(const struct features *f)
{
	char text[FEAT_BYTES_MAX];
	struct span left = span_from(text, features_write(text, f));
	struct reply_reader reader = { 0 };
	struct reply reply;

	SP_ASSERT(reply_next(&reader, &left, &reply) == REPLY_OK);
	SP_ASSERT(reply.code == 211 && left.n == 0);
	reply_fini(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct policy policy = { .pass_unknown_commands = false };
	size_t half = size > 0 ? (size_t)data[0] * (size - 1) / 255 : 0;
	struct features a, b, common, again;

	if (size == 0)
		return 0;
	features_read(&a, span_from((const char *)data + 1, half));
	features_read(&b, span_from((const char *)data + 1 + half, size - 1 - half));
	check_lines(&a);
	check_lines(&b);
	common = a;
	features_keep_common(&common, &b);
	check_lines(&common);
	SP_ASSERT(count_lines(&common) <= count_lines(&a));
	/* Nothing is in it that either lacks: it loses nothing to them again. */
	again = common;
	features_keep_common(&again, &common);
	SP_ASSERT(again.n == common.n && memcmp(again.text, common.text, common.n) == 0);
	features_keep_common(&again, &a);
	SP_ASSERT(count_lines(&again) == count_lines(&common));
	features_add_ours(&common, (data[0] & 1) != 0);
	check_lines(&common);
	check_answer(&common);
	features_keep_permitted(&common, &policy);
	check_lines(&common);
	check_answer(&common);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * A command line, cut into verb and argument: nothing is lost or trimmed, the
 * name finds the same row in any case, and the arguments that have a grammar
 * are read without a step beyond their end.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/ftp_address.h"
#include "sallyport/verb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct command *command)
{
	const struct verb_row *row = verb_row(command->verb);

	SP_ASSERT(row != NULL && row->verb == command->verb);
	SP_ASSERT(verb_find(command->name) == command->verb);
	if (command->verb == VERB_UNKNOWN)
		return;
	SP_ASSERT(span_eq_nocase(command->name, span_of(row->name)));
	SP_ASSERT(verb_find(span_of(row->name)) == command->verb);
}

/* The parts are the line: name, one space if there was one, argument. */
static void check_parts(struct span line, const struct command *command)
{
	size_t n = command->name.n;

	SP_ASSERT(n <= line.n && (n == 0 || command->name.p == line.p));
	SP_ASSERT(n == 0 || memchr(command->name.p, ' ', n) == NULL);
	SP_ASSERT(command->has_argument == (n < line.n));
	if (!command->has_argument) {
		SP_ASSERT(command->argument.n == 0);
		return;
	}
	SP_ASSERT(line.p[n] == ' ');
	SP_ASSERT(command->argument.n == line.n - n - 1);
	SP_ASSERT(command->argument.n == 0 || command->argument.p == line.p + n + 1);
}

/* Another case of the letters is the same verb. */
static void check_case(struct span name, enum verb verb)
{
	char *other = malloc(name.n + 1);

	SP_ASSERT(other != NULL);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		other[i] = letter ? (char)(c ^ 0x20) : c;
	}
	SP_ASSERT(verb_find(span_from(other, name.n)) == verb);
	free(other);
}

static void check_port(struct span argument, bool extended)
{
	char text[FTP_ADDRESS_TEXT_MAX];
	struct netaddr a, b;
	size_t n;

	if (extended ? ftp_address_parse_eprt(argument, &a) != EPRT_OK
	             : !ftp_address_parse_port(argument, &a))
		return;
	n = extended ? ftp_address_write_eprt(text, &a) : ftp_address_write_port(text, &a);
	SP_ASSERT(n > 0);
	if (extended)
		SP_ASSERT(ftp_address_parse_eprt(span_from(text, n), &b) == EPRT_OK);
	else
		SP_ASSERT(ftp_address_parse_port(span_from(text, n), &b));
	SP_ASSERT(memcmp(&a, &b, sizeof(a)) == 0);
}

/* What says no is an answer to everything, but for 426, which needs something to break off. */
static void check_replies(enum verb verb, uint8_t seed)
{
	int code = 100 + seed * 559 / 255;
	bool fits = verb_reply_fits(verb, code);

	SP_ASSERT(verb_reply_fits(verb, 421));
	SP_ASSERT(fits || code < 400 || code >= 600 || code == 426);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span line = span_from((const char *)data, size);
	struct command command = command_parse(line);

	check_parts(line, &command);
	check_row(&command);
	check_case(command.name, command.verb);
	check_replies(command.verb, size > 0 ? data[size - 1] : 0);
	if (command.verb == VERB_PORT || command.verb == VERB_EPRT)
		check_port(command.argument, command.verb == VERB_EPRT);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * Reading a command line of the admin socket against tbl/admin_commands.def.
 */
#include "sallyport/admin_commands.h"

#include <stdio.h>
#include <string.h>

#include "sallyport/json_line.h"

static const struct admin_command_row rows[] = {
#define ADMIN_COMMAND(id, words, argument, role, help)                                             \
	{ ADMIN_##id, words, ADMIN_ARGUMENT_##argument, ADMIN_ROLE_##role, help },
#include "sallyport/tbl/admin_commands.def"
#undef ADMIN_COMMAND
};

_Static_assert(SP_ARRAY_LEN(rows) == ADMIN_VERB_COUNT, "a row for each verb");

const struct admin_command_row *admin_command_row(enum admin_verb verb)
{
	SP_ASSERT(verb < ADMIN_VERB_COUNT);
	return &rows[verb];
}

struct words {
	struct span v[ADMIN_WORDS_MAX];
	size_t n;
};

/* False: a byte that is not printable ASCII, or too many words. */
static bool split(struct span line, struct words *out, char error[ADMIN_ERROR_MAX])
{
	size_t i = 0;

	out->n = 0;
	for (size_t k = 0; k < line.n; k++) {
		if ((line.p[k] < ' ' || line.p[k] > '~') && line.p[k] != '\t') {
			snprintf(error, ADMIN_ERROR_MAX,
			         "a command is printable ASCII; byte %zu is not", k + 1);
			return false;
		}
	}
	while (i < line.n) {
		size_t start;

		while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
			i++;
		start = i;
		while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t')
			i++;
		if (i == start)
			break;
		if (out->n == ADMIN_WORDS_MAX) {
			snprintf(error, ADMIN_ERROR_MAX, "too many words; try: help");
			return false;
		}
		out->v[out->n++] = span_from(line.p + start, i - start);
	}
	return true;
}

/* How many words of the line the row's name takes; 0: it is another command. */
static size_t match(const struct admin_command_row *row, const struct words *words)
{
	const char *rest = row->words;
	size_t taken = 0;

	while (*rest != '\0') {
		size_t length = strcspn(rest, " ");

		if (taken == words->n || !span_eq_nocase(words->v[taken], span_from(rest, length)))
			return 0;
		taken++;
		rest += length;
		rest += strspn(rest, " ");
	}
	return taken;
}

/* The name of a command that begins with the same word; so a "show" alone is answered with what can
 * be shown. */
static bool same_first_word(const struct admin_command_row *row, struct span word)
{
	return span_eq_nocase(word, span_from(row->words, strcspn(row->words, " ")));
}

static void say_unknown(const struct words *words, char error[ADMIN_ERROR_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < ADMIN_VERB_COUNT; i++) {
		if (!same_first_word(&rows[i], words->v[0]))
			continue;
		n += (size_t)snprintf(error + n, ADMIN_ERROR_MAX - n, "%s%s",
		                      n == 0 ? "unknown command; there is: " : ", ", rows[i].words);
		if (n >= ADMIN_ERROR_MAX)
			return;
	}
	if (n == 0)
		snprintf(error, ADMIN_ERROR_MAX, "unknown command \"%.*s\"; try: help",
		         (int)(words->v[0].n < 64 ? words->v[0].n : 64), words->v[0].p);
}

static bool parse_server(struct span word, struct admin_request *out)
{
	const char *slash = memchr(word.p, '/', word.n);
	size_t at = slash != NULL ? (size_t)(slash - word.p) : 0;

	return at > 0 && at + 1 < word.n &&
	       span_copy(out->pool, sizeof(out->pool), span_from(word.p, at)) &&
	       span_copy(out->server, sizeof(out->server),
	                 span_from(word.p + at + 1, word.n - at - 1));
}

static bool parse_argument(const struct admin_command_row *row, const struct words *words,
                           size_t at, struct admin_request *out, char error[ADMIN_ERROR_MAX])
{
	size_t given = words->n - at;

	switch (row->argument) {
	case ADMIN_ARGUMENT_NONE:
		if (given == 0)
			return true;
		snprintf(error, ADMIN_ERROR_MAX, "%s takes no argument but json", row->words);
		return false;
	case ADMIN_ARGUMENT_NOW:
		out->now = given == 1 && span_eq_nocase(words->v[at], span_of("--now"));
		if (given == 0 || out->now)
			return true;
		snprintf(error, ADMIN_ERROR_MAX, "%s takes no argument but --now and json",
		         row->words);
		return false;
	case ADMIN_ARGUMENT_ID:
		if (given == 1 && session_id_parse(&out->id, words->v[at]))
			return true;
		snprintf(
		    error, ADMIN_ERROR_MAX,
		    "%s needs the id of one session: 1 to 16 hex digits, as show sessions has it",
		    row->words);
		return false;
	case ADMIN_ARGUMENT_SERVER:
		if (given == 1 && parse_server(words->v[at], out))
			return true;
		snprintf(error, ADMIN_ERROR_MAX, "%s needs one server: POOL/SERVER, as show pools has them",
		         row->words);
		return false;
	}
	SP_UNREACHABLE("complete switch");
}

bool admin_request_parse(struct span line, struct admin_request *out, char error[ADMIN_ERROR_MAX])
{
	struct words words;

	*out = (struct admin_request){ .verb = ADMIN_HELP };
	if (line.n > ADMIN_LINE_MAX) {
		snprintf(error, ADMIN_ERROR_MAX, "a command has at most %d bytes", ADMIN_LINE_MAX);
		return false;
	}
	if (!split(line, &words, error))
		return false;
	if (words.n > 0 && span_eq_nocase(words.v[words.n - 1], span_of("json"))) {
		out->json = true;
		words.n--;
	}
	if (words.n == 0) {
		snprintf(error, ADMIN_ERROR_MAX, "no command; try: help");
		return false;
	}
	for (size_t i = 0; i < ADMIN_VERB_COUNT; i++) {
		size_t taken = match(&rows[i], &words);

		if (taken == 0)
			continue;
		out->verb = rows[i].verb;
		return parse_argument(&rows[i], &words, taken, out, error);
	}
	say_unknown(&words, error);
	return false;
}

// SPDX-License-Identifier: ISC
/*
 * The outline of a configuration: keys and their values, one or a list; and
 * finding the place to go on at when they are not well-formed.
 */
#include <string.h>

#include "config_reader.h"

/* --- words for people ------------------------------------------------------ */

/* "listener public", "route"; "the top level" for the file itself. */
struct reader_label reader_scope_label(const struct scope *scope)
{
	struct config_text text = { 0 };
	struct reader_label label;

	if (scope->id == SECTION_ROOT)
		config_text_add(&text, "the top level");
	else
		config_text_add(&text, "%s%s%s", config_section_row(scope->id)->name,
		                scope->name[0] != '\0' ? " " : "", scope->name);
	sp_copy(label.text, sizeof(label.text), config_text_get(&text));
	config_text_fini(&text);
	return label;
}

bool reader_copy_word(char to[READER_WORD_MAX], const struct config_token *token)
{
	return span_copy(to, READER_WORD_MAX, config_token_text(token));
}

/* --- looking ahead and skipping ---------------------------------------------- */

enum config_token_kind reader_kind_at(struct reader *r, size_t ahead)
{
	return config_lexer_peek(&r->lexer, ahead)->kind;
}

bool reader_is_text(enum config_token_kind kind)
{
	return kind == TOKEN_WORD || kind == TOKEN_STRING;
}

bool reader_is_assignment(enum config_token_kind kind)
{
	return kind == TOKEN_EQUALS || kind == TOKEN_APPEND;
}

/* Does a statement begin at the next token: key =, section {, section name {, include( ? */
bool reader_statement_begins(struct reader *r)
{
	enum config_token_kind second = reader_kind_at(r, 1);

	if (reader_kind_at(r, 0) != TOKEN_WORD)
		return false;
	return reader_is_assignment(second) || second == TOKEN_OPEN || second == TOKEN_LEFT ||
	       (reader_is_text(second) && reader_kind_at(r, 2) == TOKEN_OPEN);
}

bool reader_section_follows(struct reader *r, size_t ahead)
{
	return reader_kind_at(r, ahead) == TOKEN_OPEN ||
	       (reader_is_text(reader_kind_at(r, ahead)) &&
	        reader_kind_at(r, ahead + 1) == TOKEN_OPEN);
}

/* What stands on `line` and does not begin a statement; a block with all that is in it. */
void reader_skip_rest(struct reader *r, unsigned line)
{
	unsigned depth = 0;

	for (;;) {
		const struct config_token *token = config_lexer_peek(&r->lexer, 0);

		if (token->kind == TOKEN_END || (token->kind == TOKEN_CLOSE && depth == 0))
			return;
		if (depth == 0 && (token->at.line != line || reader_statement_begins(r)))
			return;
		if (token->kind == TOKEN_OPEN)
			depth++;
		else if (token->kind == TOKEN_CLOSE)
			depth--;
		config_lexer_next(&r->lexer);
	}
}

/* A block whose "{" is next, with all that is in it. */
static void skip_block(struct reader *r)
{
	unsigned depth = 0;

	do {
		enum config_token_kind kind = reader_kind_at(r, 0);

		if (kind == TOKEN_END)
			return;
		if (kind == TOKEN_OPEN)
			depth++;
		else if (kind == TOKEN_CLOSE)
			depth--;
		config_lexer_next(&r->lexer);
	} while (depth > 0);
}

/* What follows the name of a statement that is not understood. */
void reader_skip_statement(struct reader *r, unsigned line)
{
	if (reader_is_assignment(reader_kind_at(r, 0))) {
		config_lexer_next(&r->lexer);
		if (reader_kind_at(r, 0) == TOKEN_OPEN)
			skip_block(r);
		else if (reader_is_text(reader_kind_at(r, 0)) && !reader_statement_begins(r))
			config_lexer_next(&r->lexer);
	} else if (reader_kind_at(r, 0) == TOKEN_OPEN) {
		skip_block(r);
	} else if (reader_is_text(reader_kind_at(r, 0)) && reader_kind_at(r, 1) == TOKEN_OPEN) {
		config_lexer_next(&r->lexer);
		skip_block(r);
	}
	reader_skip_rest(r, line);
}

/* --- keys ------------------------------------------------------------------ */

/* Behind a value: nothing else belongs on its line but statements. */
static bool is_leftover(struct reader *r, unsigned line)
{
	const struct config_token *token = config_lexer_peek(&r->lexer, 0);

	if (token->at.line != line || reader_statement_begins(r))
		return false;
	return reader_is_text(token->kind) || token->kind == TOKEN_COMMA;
}

static void read_single(struct reader *r, const struct config_key *key, struct config_position at)
{
	struct config_token value;

	if (reader_kind_at(r, 0) == TOKEN_OPEN) {
		config_error(r->report, at, key->name, "takes one value, not a list in braces");
		skip_block(r);
		return;
	}
	if (!reader_is_text(reader_kind_at(r, 0)) ||
	    (reader_statement_begins(r) && config_lexer_peek(&r->lexer, 0)->at.line != at.line)) {
		config_error(r->report, at, key->name, "the value is missing behind \"=\"");
		return;
	}
	value = config_lexer_next(&r->lexer);
	if (is_leftover(r, value.at.line)) {
		const struct config_token *token = config_lexer_peek(&r->lexer, 0);

		if (token->kind == TOKEN_COMMA)
			config_error(r->report, token->at, key->name,
			             "takes one value, but there is a \",\" behind \"%s\"",
			             config_token_show(&value).text);
		else if (token->flaw == FLAW_NONE)
			config_error(r->report, token->at, key->name,
			             "\"%s\" is left over behind the value \"%s\" (a value with "
			             "blanks in it must be in quotes)",
			             config_token_show(token).text, config_token_show(&value).text);
		reader_skip_rest(r, value.at.line);
		return;
	}
	if (value.flaw == FLAW_NONE)
		config_outline_value(r->out, key->name, value.raw, value.at);
}

/*
 * Between the braces of a list. False: it did not end, and what comes next
 * looks like another statement.
 */
static bool read_elements(struct reader *r, const struct config_key *key, bool *first)
{
	bool comma = true; /* as if there had been one before the first element */

	for (;;) {
		const struct config_token *token = config_lexer_peek(&r->lexer, 0);

		if (token->kind == TOKEN_CLOSE) {
			config_lexer_next(&r->lexer);
			return true;
		}
		if (token->kind == TOKEN_COMMA && !comma) {
			comma = true;
			config_lexer_next(&r->lexer);
			continue;
		}
		if (!reader_is_text(token->kind) || reader_statement_begins(r))
			return false;
		if (!comma)
			config_error(r->report, token->at, key->name,
			             "a \",\" is missing before \"%s\"",
			             config_token_show(token).text);
		if (token->flaw == FLAW_NONE)
			config_outline_element(r->out, token->raw, *first, token->at);
		*first = token->flaw != FLAW_NONE && *first;
		comma = false;
		config_lexer_next(&r->lexer);
	}
}

static void list_is_open(struct reader *r, const struct config_key *key, struct config_position at)
{
	const struct config_token *token = config_lexer_peek(&r->lexer, 0);

	if (token->kind == TOKEN_END || reader_statement_begins(r)) {
		config_error(r->report, at, key->name,
		             "the list is not closed: a \"}\" is missing");
		return;
	}
	config_error(r->report, token->at, key->name, "\"%s\" does not belong into a list",
	             config_token_show(token).text);
	while (reader_kind_at(r, 0) != TOKEN_CLOSE && reader_kind_at(r, 0) != TOKEN_END &&
	       !reader_statement_begins(r))
		config_lexer_next(&r->lexer);
	if (reader_kind_at(r, 0) == TOKEN_CLOSE)
		config_lexer_next(&r->lexer);
}

static void read_list(struct reader *r, const struct config_key *key, bool append,
                      struct config_position at)
{
	struct config_position list_at = config_lexer_peek(&r->lexer, 0)->at;
	bool first = true;

	if (reader_kind_at(r, 0) != TOKEN_OPEN) { /* one element needs no braces */
		size_t errors = r->report->errors.n;
		struct config_outline *out = r->out;

		config_outline_list(out, key->name, append, at);
		if (!reader_is_text(reader_kind_at(r, 0)) ||
		    (reader_statement_begins(r) && list_at.line != at.line)) {
			config_error(r->report, at, key->name, "the value is missing behind \"=\"");
		} else {
			struct config_token value = config_lexer_next(&r->lexer);

			if (value.flaw == FLAW_NONE)
				config_outline_element(out, value.raw, true, value.at);
			if (is_leftover(r, value.at.line) && errors == r->report->errors.n)
				config_error(r->report, value.at, key->name,
				             "several values must be in braces: { \"%s\", ... }",
				             config_token_show(&value).text);
			reader_skip_rest(r, value.at.line);
		}
		config_outline_list_end(out, at);
		return;
	}
	config_lexer_next(&r->lexer);
	if (reader_kind_at(r, 0) == TOKEN_CLOSE)
		config_error(r->report, list_at, key->name,
		             "the list is empty (leave the key out to mean \"any\" or \"none\")");
	config_outline_list(r->out, key->name, append, at);
	if (!read_elements(r, key, &first))
		list_is_open(r, key, list_at);
	config_outline_list_end(r->out, at);
}

void reader_read_key(struct reader *r, struct scope *scope, const struct config_key *key,
                     struct config_position at)
{
	size_t index = (size_t)(key - config_keys);
	struct config_position *given = &scope->keys[index];
	bool is_list = config_kind_is_list(key->kind);
	bool append = reader_kind_at(r, 0) == TOKEN_APPEND;

	if (given->line != 0 && !append)
		config_error(r->report, at, key->name, "is given twice (first in %s)",
		             config_place(r->report, *given, at).text);
	if (given->line == 0)
		*given = at;
	if (append && !is_list)
		config_error(r->report, at, key->name, "takes one value: write \"=\", not \"+=\"");
	if (reader_is_assignment(reader_kind_at(r, 0))) {
		config_lexer_next(&r->lexer);
	} else if (is_list || reader_kind_at(r, 0) != TOKEN_OPEN) {
		config_error(r->report, at, key->name, "\"=\" is missing behind the key");
		if (reader_statement_begins(r) ||
		    config_lexer_peek(&r->lexer, 0)->at.line != at.line)
			return;
	}
	r->lexer.about = key->name;
	if (is_list)
		read_list(r, key, append, at);
	else
		read_single(r, key, at);
	r->lexer.about = NULL;
}

// SPDX-License-Identifier: ISC
/*
 * The outline of a configuration: which sections and keys stand where. Values
 * are not looked at; that is config_build.c, behind libconfuse.
 *
 * All errors of a file are to be found in one go, and one mistake should make
 * one error. So a name that is nearly right is taken for what it was meant to
 * be, once it has been complained about, and what cannot be understood is
 * skipped up to where the next statement probably begins.
 */
#include "sallyport/config_outline.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "config_reader.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value_parts.h"

static void read_statements(struct reader *r, struct scope *scope, bool may_close);

/* --- sections ---------------------------------------------------------------- */

static const struct seen *find_seen(const struct reader *r, enum config_section_id id,
                                    unsigned parent, const char *name)
{
	for (size_t i = 0; i < r->seen_n; i++) {
		const struct seen *s = &r->seen[i];

		if (s->id == id && s->parent == parent && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static void remember(struct reader *r, const struct scope *scope)
{
	struct seen *grown = realloc(r->seen, (r->seen_n + 1) * sizeof(*grown));

	if (grown == NULL) {
		r->report->no_memory = true;
		return;
	}
	r->seen = grown;
	grown[r->seen_n] = (struct seen){ scope->id, scope->parent->serial, "", scope->opened };
	sp_copy(grown[r->seen_n].name, sizeof(grown[r->seen_n].name), scope->name);
	r->seen_n++;
}

/* A name that no section can have: libconfuse would put two of one name into one. */
static void make_name_up(struct reader *r, char name[NAME_MAX_LEN])
{
	struct config_text text = { 0 };

	config_text_add(&text, "?%u", r->serial);
	sp_copy(name, NAME_MAX_LEN, config_text_get(&text));
	config_text_fini(&text);
}

static void check_twice(struct reader *r, struct scope *scope, const struct config_section *row)
{
	const struct seen *before = find_seen(r, scope->id, scope->parent->serial, scope->name);

	if (before == NULL) {
		remember(r, scope);
		return;
	}
	config_error(r->report, scope->opened, reader_scope_label(scope).text,
	             "is there twice (first in %s)",
	             config_place(r->report, before->at, scope->opened).text);
	if (row->named)
		make_name_up(r, scope->name);
}

/* log = { … }: the "=" is taken, and a name is not asked for as well. */
static void take_equals(struct reader *r, struct scope *scope, const struct config_section *row)
{
	config_error(r->report, scope->opened, row->name,
	             "is a section: write %s%s { ... } without \"=\"", row->name,
	             row->named ? " NAME" : "");
	config_lexer_next(&r->lexer);
	if (row->named && reader_kind_at(r, 0) == TOKEN_OPEN)
		make_name_up(r, scope->name);
}

/* Takes the name, if there is one; it ends up in scope->name. */
static void read_name(struct reader *r, struct scope *scope, const struct config_section *row)
{
	struct config_token token;
	char name[READER_WORD_MAX];

	if (!reader_is_text(reader_kind_at(r, 0))) {
		if (!row->named)
			return;
		config_error(r->report, scope->opened, row->name,
		             "a name is missing: %s NAME { ... }", row->name);
		make_name_up(r, scope->name);
		return;
	}
	if (reader_statement_begins(r) && reader_kind_at(r, 1) != TOKEN_OPEN)
		return; /* the next statement: a "{" is missing */
	token = config_lexer_next(&r->lexer);
	if (!row->named) {
		config_error(r->report, token.at, row->name, "takes no name, but \"%s\" is given",
		             config_token_show(&token).text);
		return;
	}
	if (token.flaw == FLAW_NONE && reader_copy_word(name, &token) &&
	    config_name_is_valid(name)) {
		sp_copy(scope->name, sizeof(scope->name), name);
		return;
	}
	if (token.flaw == FLAW_NONE)
		config_error(r->report, token.at, row->name, "\"%s\" " CONFIG_NOT_A_NAME,
		             config_token_show(&token).text);
	make_name_up(r, scope->name);
}

static void check_required(struct reader *r, const struct scope *scope)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->section == scope->id && key->required && scope->keys[i].line == 0)
			config_error(r->report, scope->opened, reader_scope_label(scope).text,
			             "%s is missing", key->name);
	}
}

static void read_section(struct reader *r, const struct scope *parent, enum config_section_id id,
                         struct config_position at)
{
	const struct config_section *row = config_section_row(id);
	struct scope scope = { .id = id, .parent = parent, .opened = at, .serial = ++r->serial };
	struct config_token brace;

	if (reader_is_assignment(reader_kind_at(r, 0)))
		take_equals(r, &scope, row);
	if (scope.name[0] == '\0')
		read_name(r, &scope, row);
	if (!row->many || row->named)
		check_twice(r, &scope, row);
	brace = *config_lexer_peek(&r->lexer, 0);
	if (brace.kind == TOKEN_OPEN) {
		config_lexer_next(&r->lexer);
	} else {
		config_error(r->report, at, reader_scope_label(&scope).text, "\"{\" is missing");
		if (!reader_statement_begins(r))
			reader_skip_rest(r, at.line);
	}
	config_outline_open(r->out, row->name, row->named ? scope.name : NULL, at);
	read_statements(r, &scope, true);
	check_required(r, &scope);
	config_outline_close(r->out, at);
}

/* --- includes ---------------------------------------------------------------- */

/* The path as seen from the file that includes it; NULL: no memory. */
static char *include_path(const struct reader *r, const char *path)
{
	const char *from = r->lexer.files[r->lexer.depth - 1].name;
	const char *slash = strrchr(from, '/');
	struct config_text text = { 0 };

	if (path[0] != '/' && slash != NULL)
		config_text_bytes(&text, from, (size_t)(slash - from) + 1);
	config_text_add(&text, "%s", path);
	return config_text_take(&text);
}

static void include_file(struct reader *r, struct scope *scope, const char *path,
                         struct config_position at)
{
	if (!config_lexer_enter(&r->lexer, path, &at))
		return;
	read_statements(r, scope, false);
	config_lexer_leave(&r->lexer);
}

/* `path` may be a pattern: then it is all files that match, in the order of their names. */
static void include(struct reader *r, struct scope *scope, const char *path,
                    struct config_position at)
{
	glob_t found = { 0 };
	int error;

	if (strpbrk(path, "*?[") == NULL) {
		include_file(r, scope, path, at);
		return;
	}
	error = glob(path, 0, NULL, &found);
	if (error == GLOB_NOSPACE)
		r->report->no_memory = true;
	for (size_t i = 0; error == 0 && i < found.gl_pathc; i++)
		include_file(r, scope, found.gl_pathv[i], at);
	globfree(&found);
}

static void read_include(struct reader *r, struct scope *scope, struct config_position at)
{
	struct config_token path;
	char *full;
	char *text;

	if (reader_kind_at(r, 0) != TOKEN_LEFT || !reader_is_text(reader_kind_at(r, 1)) ||
	    reader_kind_at(r, 2) != TOKEN_RIGHT) {
		config_error(r->report, at, "include", "is written include(\"FILE\")");
		reader_skip_rest(r, at.line);
		return;
	}
	config_lexer_next(&r->lexer);
	path = config_lexer_next(&r->lexer);
	config_lexer_next(&r->lexer);
	if (path.flaw != FLAW_NONE)
		return;
	text = config_copy_n(config_token_text(&path).p, config_token_text(&path).n);
	full = text != NULL ? include_path(r, text) : NULL;
	free(text);
	if (full == NULL) {
		r->report->no_memory = true;
		return;
	}
	include(r, scope, full, path.at);
	free(full);
}

/* --- statements ------------------------------------------------------------ */

/* Where else a key belongs: "policy", "server and the top level"; "" when nowhere. */
static struct reader_label homes_of(const char *name)
{
	struct config_text text = { 0 };
	struct reader_label label;

	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_section *row = config_section_row(config_keys[i].section);

		if (strcmp(config_keys[i].name, name) != 0)
			continue;
		config_text_add(&text, "%s%s", text.n > 0 ? " and " : "",
		                row->name[0] != '\0' ? row->name : "the top level");
	}
	sp_copy(label.text, sizeof(label.text), config_text_get(&text));
	config_text_fini(&text);
	return label;
}

static bool is_section_somewhere(const char *name, enum config_section_id *parent)
{
	for (int i = SECTION_ROOT + 1; i < SECTION_COUNT; i++) {
		const struct config_section *row = config_section_row((enum config_section_id)i);

		if (strcmp(row->name, name) != 0)
			continue;
		*parent = row->parent;
		return true;
	}
	return false;
}

static bool is_open_above(const struct scope *scope, enum config_section_id id)
{
	for (scope = scope->parent; scope != NULL; scope = scope->parent) {
		if (scope->id == id)
			return true;
	}
	return false;
}

/*
 * A section that is known, but not here. Within another section the "}" of that
 * one is probably missing. True: this scope is over.
 */
static bool misplaced_section(struct reader *r, const struct scope *scope, const char *name,
                              const struct config_token *token, enum config_section_id parent,
                              bool may_close)
{
	const char *home = parent == SECTION_ROOT ? "at the top level" : "within a section ";
	const char *home_name = parent == SECTION_ROOT ? "" : config_section_row(parent)->name;

	if (may_close && is_open_above(scope, parent)) {
		if (!r->closing)
			config_error(r->report, token->at, name,
			             "a \"}\" is missing before it, for %s in %s",
			             reader_scope_label(scope).text,
			             config_place(r->report, scope->opened, token->at).text);
		r->closing = true;
		r->forgiven++;
		return true;
	}
	config_error(r->report, token->at, name, "belongs %s%s, not into %s", home, home_name,
	             reader_scope_label(scope).text);
	config_lexer_next(&r->lexer);
	reader_skip_statement(r, token->at.line);
	return false;
}

/* Complains; then goes on as if the name had been what it was probably meant to be. */
static void unknown_name(struct reader *r, struct scope *scope, const struct config_token *token)
{
	bool is_section = reader_section_follows(r, 0);
	const char *what = is_section ? "section" : "key";
	char name[READER_WORD_MAX];
	const char *nearest = NULL;
	struct reader_label homes = { "" };

	if (reader_copy_word(name, token)) {
		homes = homes_of(name);
		nearest = is_section ? config_nearest_section(scope->id, name)
		                     : config_nearest_key(scope->id, name);
	}
	if (!is_section && homes.text[0] != '\0') {
		config_error(r->report, token->at, config_token_show(token).text,
		             "is a key of %s, not of %s", homes.text,
		             reader_scope_label(scope).text);
		nearest = NULL;
	} else if (nearest != NULL) {
		config_error(r->report, token->at, config_token_show(token).text,
		             "is not a %s of %s (did you mean %s?)", what,
		             reader_scope_label(scope).text, nearest);
	} else {
		config_error(r->report, token->at, config_token_show(token).text,
		             "is not a %s of %s", what, reader_scope_label(scope).text);
	}
	if (nearest != NULL && is_section)
		read_section(r, scope, config_section_find(scope->id, nearest), token->at);
	else if (nearest != NULL && reader_is_assignment(reader_kind_at(r, 0)) &&
	         scope->keys[config_key_find(scope->id, nearest) - config_keys].line == 0)
		reader_read_key(r, scope, config_key_find(scope->id, nearest), token->at);
	else
		reader_skip_statement(r, token->at.line);
}

/* One statement, whose first token is a word. True: the scope is over. */
static bool read_statement(struct reader *r, struct scope *scope, bool may_close)
{
	struct config_token token = *config_lexer_peek(&r->lexer, 0);
	enum config_section_id parent = SECTION_ROOT;
	enum config_section_id section;
	const struct config_key *key;
	char name[READER_WORD_MAX];

	if (!reader_copy_word(name, &token))
		name[0] = '\0';
	key = config_key_find(scope->id, name);
	section = config_section_find(scope->id, name);
	/* "policy" and "pool" are keys of a route as well. */
	if (section == SECTION_ROOT && is_section_somewhere(name, &parent) &&
	    (key != NULL ? reader_section_follows(r, 1)
	                 : !reader_is_assignment(reader_kind_at(r, 1))))
		return misplaced_section(r, scope, name, &token, parent, may_close);
	r->closing = false;
	config_lexer_next(&r->lexer);
	if (token.flaw != FLAW_NONE)
		reader_skip_statement(r, token.at.line);
	else if (strcmp(name, "include") == 0)
		read_include(r, scope, token.at);
	else if (section != SECTION_ROOT)
		read_section(r, scope, section, token.at);
	else if (key != NULL)
		reader_read_key(r, scope, key, token.at);
	else
		unknown_name(r, scope, &token);
	return false;
}

/* A "}" or the end of the file. True: the scope is over. */
static bool read_end(struct reader *r, const struct scope *scope, bool may_close)
{
	struct config_token token = *config_lexer_peek(&r->lexer, 0);

	if (token.kind == TOKEN_END) {
		if (may_close && scope->id != SECTION_ROOT && !r->closing)
			config_error(r->report, scope->opened, reader_scope_label(scope).text,
			             "the \"{\" is not closed before the end of the file");
		return true;
	}
	config_lexer_next(&r->lexer);
	if (may_close && scope->id != SECTION_ROOT)
		return true;
	if (r->forgiven > 0)
		r->forgiven--;
	else
		config_error(r->report, token.at, NULL, "a \"}\" too many: %s",
		             scope->id == SECTION_ROOT ? "no section is open"
		                                       : "the section began in another file");
	return false;
}

/* The statements of a scope, up to its "}" or the end of the file. */
static void read_statements(struct reader *r, struct scope *scope, bool may_close)
{
	for (;;) {
		struct config_token token = *config_lexer_peek(&r->lexer, 0);

		if (token.kind == TOKEN_END || token.kind == TOKEN_CLOSE) {
			if (read_end(r, scope, may_close))
				return;
		} else if (token.kind == TOKEN_WORD) {
			if (read_statement(r, scope, may_close))
				return;
		} else {
			if (token.flaw == FLAW_NONE)
				config_error(r->report, token.at, NULL,
				             "\"%s\" stands where a key or a section should begin",
				             config_token_show(&token).text);
			config_lexer_next(&r->lexer);
			reader_skip_rest(r, token.at.line);
		}
	}
}

void config_outline_read(struct config_outline *outline, const char *file,
                         struct config_report *report)
{
	struct reader r = { .out = outline, .report = report, .lexer = { .report = report } };
	struct scope root = { .id = SECTION_ROOT };

	if (config_lexer_enter(&r.lexer, file, NULL)) {
		read_statements(&r, &root, true);
		config_lexer_leave(&r.lexer);
	}
	free(r.seen);
	if (outline->failed || outline->text.failed)
		report->no_memory = true;
}

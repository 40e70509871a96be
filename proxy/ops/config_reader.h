// SPDX-License-Identifier: ISC
/*
 * Between config_outline.c (sections, includes) and config_outline_keys.c
 * (keys and their values): the reader of a configuration's outline.
 */
#ifndef SALLYPORT_CONFIG_READER_H
#define SALLYPORT_CONFIG_READER_H

#include "sallyport/config_keys.h"
#include "sallyport/config_lexer.h"
#include "sallyport/config_outline.h"

#define READER_WORD_MAX 64

/* A section that is being read. */
struct scope {
	enum config_section_id id;
	const struct scope *parent;
	char name[NAME_MAX_LEN];
	struct config_position opened;
	unsigned serial;			       /* tells sections of the same kind apart */
	struct config_position keys[CONFIG_KEYS_MAX];  /* where each was given; line 0: was not */
};

/* A section that was seen: for finding it again under the same name. */
struct seen {
	enum config_section_id id;
	unsigned parent; /* serial */
	char name[NAME_MAX_LEN];
	struct config_position at;
};

struct reader {
	struct config_outline *out;
	struct config_report *report;
	struct config_lexer lexer;
	struct seen *seen;
	size_t seen_n;
	unsigned serial;
	bool closing;	      /* a "}" was found missing: scopes end until the token fits */
	unsigned forgiven;    /* "}" too many that this may explain */
};

/* Words for people. */
struct reader_label {
	char text[80];
};
/* "listener public", "route"; "the top level" for the file itself. */
struct reader_label reader_scope_label(const struct scope *scope);

/* A word as a C string. False: it was cut, and matches no name. */
bool reader_copy_word(char to[READER_WORD_MAX], const struct config_token *token);

/* Looking ahead. */
enum config_token_kind reader_kind_at(struct reader *r, size_t ahead);
bool reader_is_text(enum config_token_kind kind);
bool reader_is_assignment(enum config_token_kind kind);
/* Does a statement begin at the next token: key =, section {, section name {, include( ? */
bool reader_statement_begins(struct reader *r);
/* Are the tokens from `ahead` on "{", or a name and "{"? */
bool reader_section_follows(struct reader *r, size_t ahead);

/* Skips what stands on `line` and does not begin a statement; blocks with all that is in them. */
void reader_skip_rest(struct reader *r, unsigned line);
/* Skips what follows the name of a statement that is not understood. */
void reader_skip_statement(struct reader *r, unsigned line);

/* Behind a key's name: "=" and its value. */
void reader_read_key(struct reader *r, struct scope *scope, const struct config_key *key,
		     struct config_position at);

#endif

// SPDX-License-Identifier: ISC
/*
 * Reads a configuration file, and those that it includes, as tokens with their
 * places. The syntax is libconfuse's, but for what it would silently read as
 * something else: see proxy/ops/config_lexer.c.
 */
#ifndef SALLYPORT_CONFIG_LEXER_H
#define SALLYPORT_CONFIG_LEXER_H

#include <sys/types.h>

#include "sallyport/base.h"
#include "sallyport/config_report.h"
#include "sallyport/span.h"

#define CONFIG_INCLUDE_DEPTH_MAX 8
#define CONFIG_FILES_MAX	 256
#define CONFIG_FILE_BYTES_MAX	 (1024 * 1024)
#define CONFIG_AHEAD_MAX	 3

enum config_token_kind {
	TOKEN_WORD,   /* unquoted, or ${NAME} */
	TOKEN_STRING, /* with its quotes */
	TOKEN_OPEN,   /* { */
	TOKEN_CLOSE,
	TOKEN_EQUALS,
	TOKEN_APPEND, /* += */
	TOKEN_COMMA,
	TOKEN_LEFT, /* ( */
	TOKEN_RIGHT,
	TOKEN_END, /* of this file */
};

/* Why a word or a string is not to be used. */
enum config_flaw {
	FLAW_NONE,
	FLAW_QUOTES,   /* a word with something in it that needs quotes */
	FLAW_BYTE,     /* a control byte */
	FLAW_OPEN,     /* a string that does not end on its line */
	FLAW_ESCAPE,   /* an escape that means nothing, or a NUL */
	FLAW_VARIABLE, /* ${ without } */
	FLAW_UNSET,    /* ${NAME} that the environment does not have */
};

struct config_token {
	enum config_token_kind kind;
	enum config_flaw flaw; /* complained about when the token is taken */
	struct span wrong;     /* the part of it that is */
	struct span raw;       /* as in the file; until its file is left */
	struct config_position at;
};

struct config_lexer_file {
	char *name; /* as shown; owned by the report */
	unsigned index;
	char *bytes; /* owned */
	size_t n;
	size_t offset;
	unsigned line;
	dev_t device;
	ino_t inode;
	struct config_token ahead[CONFIG_AHEAD_MAX];
	size_t ahead_n;
};

struct config_lexer {
	struct config_report *report;
	struct config_lexer_file files[CONFIG_INCLUDE_DEPTH_MAX];
	size_t depth;
	const char *about; /* the key whose value is being read, for messages; NULL: none */
};

/*
 * Goes on with a file; its tokens come next, up to TOKEN_END, again and again,
 * until config_lexer_leave(). False: it cannot be read (complained about, at
 * `from`; NULL: it is the first file).
 */
SP_MUSTCHECK bool config_lexer_enter(struct config_lexer *lexer, const char *path,
				     const struct config_position *from);
void config_lexer_leave(struct config_lexer *lexer);

/* The token `ahead` (0..CONFIG_AHEAD_MAX - 1) places on, without taking it. */
const struct config_token *config_lexer_peek(struct config_lexer *lexer, size_t ahead);
struct config_token config_lexer_next(struct config_lexer *lexer);

/* The text of a word or string without quotes, as it stands in the file (escapes are kept). */
struct span config_token_text(const struct config_token *token);
/* The same for a message. */
struct config_quoted config_token_show(const struct config_token *token);

#endif

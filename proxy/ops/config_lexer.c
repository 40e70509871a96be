// SPDX-License-Identifier: ISC
/*
 * The tokens of configuration files.
 *
 * libconfuse has a lexer of its own, and it sees what this one lets through
 * (config_outline.c). It is not enough by itself, tried with version 3.3: it
 * ends the process when a file is a directory or a read fails; it remembers the
 * files it was in when an error stopped it; it miscounts lines behind C
 * comments, refuses comments within lists, and drops characters that it has no
 * rule for, so that  users = acme-*  silently means "acme-". All of these are
 * errors here, or right.
 */
#include "sallyport/config_lexer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config_position here(const struct config_lexer_file *f)
{
	return (struct config_position){ f->index, f->line };
}

/* --- files --------------------------------------------------------------- */

static void cannot_read(struct config_lexer *lexer, const char *path,
                        const struct config_position *from, const char *why)
{
	struct config_position whole = { 0, 0 };

	if (from != NULL)
		config_error(lexer->report, *from, "include", "\"%s\" cannot be read: %s",
		             config_quote(path).text, why);
	else
		config_error(lexer->report, whole, NULL, "cannot be read: %s", why);
}

/* All bytes of fd into f->bytes. 0, or -errno. */
static int read_all(int fd, struct config_lexer_file *f)
{
	size_t size = 16 * 1024;

	for (;;) {
		char *grown = realloc(f->bytes, size);
		ssize_t got;

		if (grown == NULL)
			return -ENOMEM;
		f->bytes = grown;
		got = read(fd, f->bytes + f->n, size - f->n);
		if (got == 0)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		f->n += (size_t)got;
		if (f->n > CONFIG_FILE_BYTES_MAX)
			return -EFBIG;
		if (f->n == size)
			size *= 2;
	}
}

static int open_and_read(const char *path, struct config_lexer_file *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int error;

	if (fd == -1)
		return -errno;
	error = fstat(fd, &st) == 0 ? read_all(fd, f) : -errno;
	f->device = st.st_dev;
	f->inode = st.st_ino;
	close(fd);
	return error;
}

static bool is_entered(const struct config_lexer *lexer, const struct config_lexer_file *f)
{
	for (size_t i = 0; i < lexer->depth; i++) {
		if (lexer->files[i].device == f->device && lexer->files[i].inode == f->inode)
			return true;
	}
	return false;
}

static bool read_file(struct config_lexer *lexer, const char *path, struct config_lexer_file *f,
                      const struct config_position *from)
{
	int error = open_and_read(path, f);

	if (error == -ENOMEM)
		lexer->report->no_memory = true;
	else if (error == -EFBIG)
		cannot_read(lexer, path, from, "it is larger than 1 MiB");
	else if (error != 0)
		cannot_read(lexer, path, from, strerror(-error));
	else if (is_entered(lexer, f))
		cannot_read(lexer, path, from, "it includes itself");
	else
		return true;
	return false;
}

bool config_lexer_enter(struct config_lexer *lexer, const char *path,
                        const struct config_position *from)
{
	struct config_lexer_file f = { .line = 1 };
	int index;

	if (lexer->depth == CONFIG_INCLUDE_DEPTH_MAX) {
		cannot_read(lexer, path, from, "files are included too deeply");
		return false;
	}
	if (lexer->report->files_n == CONFIG_FILES_MAX) {
		cannot_read(lexer, path, from, "too many files are included");
		return false;
	}
	/* The first file has to be known before anything can be said about it. */
	index = from == NULL ? config_report_add_file(lexer->report, path) : 0;
	if (index == -1 || !read_file(lexer, path, &f, from)) {
		free(f.bytes);
		return false;
	}
	if (from != NULL)
		index = config_report_add_file(lexer->report, path);
	if (index == -1) {
		free(f.bytes);
		return false;
	}
	f.index = (unsigned)index;
	f.name = lexer->report->files[index];
	if (f.n >= 3 && memcmp(f.bytes, "\xef\xbb\xbf", 3) == 0)
		f.offset = 3; /* a byte order mark, as some editors leave it */
	lexer->files[lexer->depth++] = f;
	return true;
}

void config_lexer_leave(struct config_lexer *lexer)
{
	SP_ASSERT(lexer->depth > 0);
	free(lexer->files[--lexer->depth].bytes);
}

/* --- tokens -------------------------------------------------------------- */

static int byte_at(const struct config_lexer_file *f, size_t offset)
{
	return offset < f->n ? (unsigned char)f->bytes[offset] : -1;
}

static void skip_line(struct config_lexer_file *f)
{
	while (f->offset < f->n && f->bytes[f->offset] != '\n')
		f->offset++;
}

static void skip_comment(struct config_lexer *lexer, struct config_lexer_file *f)
{
	const char *begin = f->bytes + f->offset;
	const char *end = memmem(begin + 2, f->n - f->offset - 2, "*/", 2);

	if (end == NULL) {
		config_error(lexer->report, here(f), NULL, "the comment \"/*\" is not closed");
		skip_line(f);
		return;
	}
	for (const char *p = begin; p < end; p++) {
		if (*p == '\n')
			f->line++;
	}
	f->offset += (size_t)(end + 2 - begin);
}

static void skip_blanks(struct config_lexer *lexer, struct config_lexer_file *f)
{
	for (;;) {
		int c = byte_at(f, f->offset);
		int next = byte_at(f, f->offset + 1);

		if (c == '\n') {
			f->line++;
			f->offset++;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			f->offset++;
		} else if (c == '#' || (c == '/' && next == '/')) {
			skip_line(f);
		} else if (c == '/' && next == '*') {
			skip_comment(lexer, f);
		} else {
			return;
		}
	}
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(int c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The digits behind a backslash: at most three, octal, and not a NUL. */
static bool is_octal(const char *digits, size_t n)
{
	unsigned value = 0;

	for (size_t i = 0; i < n; i++) {
		if (digits[i] > '7')
			return false;
		value = 8 * value + (unsigned)(digits[i] - '0');
	}
	return n <= 3 && value > 0 && value < 256;
}

/*
 * The bytes of the escape at a backslash in a double-quoted string. *good
 * becomes false where libconfuse would stop, or the value end early with a NUL.
 */
static size_t escape_length(const struct config_lexer_file *f, size_t at, bool *good)
{
	size_t n = 1;

	if (is_digit(byte_at(f, at + 1))) {
		while (is_digit(byte_at(f, at + n)))
			n++;
		*good = is_octal(f->bytes + at + 1, n - 1);
		return n;
	}
	if (byte_at(f, at + 1) != 'x')
		return 2;
	n = 2;
	while (n < 4 && is_hex(byte_at(f, at + n)))
		n++;
	*good = n > 2 && strspn(f->bytes + at + 2, "0") < n - 2;
	return n;
}

/* At "${" in a string: the offset behind its "}", or 0. */
static size_t variable_end(const struct config_lexer_file *f, size_t at)
{
	for (at += 2;; at++) {
		int c = byte_at(f, at);

		if (c == '}')
			return at + 1;
		if (c == -1 || c == 0 || c == '\n' || c == '"')
			return 0;
	}
}

/* Notes the first flaw of a string. */
static void flaw_at(struct config_token *token, enum config_flaw flaw, const char *p, size_t n)
{
	if (token->flaw != FLAW_NONE)
		return;
	token->flaw = flaw;
	token->wrong = span_from(p, n);
}

/*
 * Is ${NAME} of the environment, or does ${NAME:-text} say what else to take?
 * libconfuse takes nothing for a variable that is not set, without a word.
 */
static bool variable_is_set(const char *p, size_t n)
{
	char name[128];

	if (memmem(p, n, ":-", 2) != NULL)
		return true;
	return span_copy(name, sizeof(name), span_from(p + 2, n - 3)) && getenv(name) != NULL;
}

/* Takes a variable; returns its length. */
static size_t variable_part(const struct config_lexer_file *f, size_t at,
                            struct config_token *token)
{
	const char *p = f->bytes + at;
	size_t end = variable_end(f, at);

	if (end == 0) {
		flaw_at(token, FLAW_VARIABLE, p, 2);
		return 1;
	}
	if (!variable_is_set(p, end - at))
		flaw_at(token, FLAW_UNSET, p, end - at);
	return end - at;
}

/* Takes one byte or one escape of a string; returns the offset behind it. */
static size_t string_part(struct config_lexer_file *f, size_t at, int quote,
                          struct config_token *token)
{
	const char *p = f->bytes + at;
	bool good = true;
	size_t n = 1;

	if (*p == '\\' && byte_at(f, at + 1) == '\n') {
		f->line++; /* the string goes on in the next line */
		n = 2;
	} else if (*p == '\\' && quote == '\'') {
		n = 2;
	} else if (*p == '\\') {
		n = escape_length(f, at, &good);
		if (!good)
			flaw_at(token, FLAW_ESCAPE, p, n);
	} else if (*p == '$' && quote == '"' && byte_at(f, at + 1) == '{') {
		n = variable_part(f, at, token);
	} else if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
		flaw_at(token, FLAW_BYTE, p, 1);
	}
	return at + n;
}

static struct config_token take_string(struct config_lexer_file *f)
{
	struct config_token token = { .kind = TOKEN_STRING, .at = here(f) };
	int quote = byte_at(f, f->offset);
	size_t start = f->offset;
	size_t at = start + 1;

	while (at < f->n && f->bytes[at] != '\n' && f->bytes[at] != quote)
		at = string_part(f, at, quote, &token);
	if (at < f->n && f->bytes[at] == quote) {
		f->offset = at + 1;
		token.raw = span_from(f->bytes + start, f->offset - start);
		return token;
	}
	f->line = token.at.line;
	while (f->offset < f->n && f->bytes[f->offset] != '\n' && f->bytes[f->offset] != '\r')
		f->offset++;
	token.raw = span_from(f->bytes + start, f->offset - start);
	token.flaw = FLAW_OPEN;
	return token;
}

/* Ends a word without being part of it. */
static bool is_delimiter(int c)
{
	return c == -1 || c == ' ' || c == '\t' || c == '\r' || c == '\n' ||
	       (c > 0 && strchr("#\"'={}(),", c) != NULL);
}

/* What in the word needs quotes, or cannot be. */
static void find_flaw(struct config_token *token)
{
	struct span raw = token->raw;

	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];

		if (c < 0x20 || c == 0x7f)
			flaw_at(token, FLAW_BYTE, raw.p + i, 1);
		else if (strchr("*+;$`\\", c) != NULL)
			flaw_at(token, FLAW_QUOTES, raw.p + i, 1);
		else if (c == '/' && i + 1 < raw.n && raw.p[i + 1] == '/')
			flaw_at(token, FLAW_QUOTES, raw.p + i, 2); /* might be a comment */
	}
}

static struct config_token take_word(struct config_lexer_file *f)
{
	struct config_token token = { .kind = TOKEN_WORD, .at = here(f) };
	size_t start = f->offset;

	if (byte_at(f, start) == '$' && byte_at(f, start + 1) == '{' &&
	    variable_end(f, start) > 0) {
		f->offset += variable_part(f, start, &token);
		token.raw = span_from(f->bytes + start, f->offset - start);
		return token;
	}
	/* "+=" behind a word without a blank is an operator. */
	while (!is_delimiter(byte_at(f, f->offset)) &&
	       !(byte_at(f, f->offset) == '+' && byte_at(f, f->offset + 1) == '='))
		f->offset++;
	token.raw = span_from(f->bytes + start, f->offset - start);
	find_flaw(&token);
	return token;
}

static struct config_token take_mark(struct config_lexer_file *f, enum config_token_kind kind,
                                     size_t n)
{
	struct config_token token = { .kind = kind, .at = here(f) };

	token.raw = span_from(f->bytes + f->offset, n);
	f->offset += n;
	return token;
}

static struct config_token take(struct config_lexer *lexer, struct config_lexer_file *f)
{
	int c;

	skip_blanks(lexer, f);
	c = byte_at(f, f->offset);
	switch (c) {
	case -1:
		return (struct config_token){ .kind = TOKEN_END, .at = here(f) };
	case '{':
		return take_mark(f, TOKEN_OPEN, 1);
	case '}':
		return take_mark(f, TOKEN_CLOSE, 1);
	case '(':
		return take_mark(f, TOKEN_LEFT, 1);
	case ')':
		return take_mark(f, TOKEN_RIGHT, 1);
	case ',':
		return take_mark(f, TOKEN_COMMA, 1);
	case '=':
		return take_mark(f, TOKEN_EQUALS, 1);
	case '"':
	case '\'':
		return take_string(f);
	default:
		if (c == '+' && byte_at(f, f->offset + 1) == '=')
			return take_mark(f, TOKEN_APPEND, 2);
		return take_word(f);
	}
}

const struct config_token *config_lexer_peek(struct config_lexer *lexer, size_t ahead)
{
	struct config_lexer_file *f = &lexer->files[lexer->depth - 1];

	SP_ASSERT(lexer->depth > 0 && ahead < CONFIG_AHEAD_MAX);
	while (f->ahead_n <= ahead)
		f->ahead[f->ahead_n++] = take(lexer, f);
	return &f->ahead[ahead];
}

/* What a raw token looks like in a message; long ones are cut. */
static struct config_quoted show_raw(struct span raw)
{
	char text[sizeof(struct config_quoted)];

	span_copy(text, sizeof(text), raw);
	return config_quote(text);
}

struct config_quoted config_token_show(const struct config_token *token)
{
	return token->kind == TOKEN_END ? config_quote("the end of the file")
	                                : show_raw(config_token_text(token));
}

static void complain(struct config_lexer *lexer, const struct config_token *token)
{
	struct config_quoted raw = show_raw(token->raw);
	const char *about = lexer->about;

	switch (token->flaw) {
	case FLAW_NONE:
		return;
	case FLAW_QUOTES:
		config_error(lexer->report, token->at, about,
		             "\"%s\" must be in quotes, because of its \"%s\"", raw.text,
		             show_raw(token->wrong).text);
		return;
	case FLAW_BYTE:
		config_error(lexer->report, token->at, about, "there is a byte 0x%02x in \"%s\"",
		             (unsigned)(unsigned char)token->wrong.p[0],
		             config_token_show(token).text);
		return;
	case FLAW_OPEN:
		config_error(lexer->report, token->at, about,
		             "the string %s is not closed on its line", raw.text);
		return;
	case FLAW_ESCAPE:
		config_error(
		    lexer->report, token->at, about,
		    "the string %s has a bad escape in it: %s (write \\\\ for a backslash)",
		    raw.text, show_raw(token->wrong).text);
		return;
	case FLAW_UNSET:
		config_error(lexer->report, token->at, about,
		             "%s is not set in the environment (${NAME:-value} gives a default)",
		             show_raw(token->wrong).text);
		return;
	case FLAW_VARIABLE:
		config_error(
		    lexer->report, token->at, about,
		    "the string %s has a ${ without a } in it (write \\$ for a dollar sign)",
		    raw.text);
		return;
	}
}

struct config_token config_lexer_next(struct config_lexer *lexer)
{
	struct config_token token = *config_lexer_peek(lexer, 0);
	struct config_lexer_file *f = &lexer->files[lexer->depth - 1];

	complain(lexer, &token);
	f->ahead_n--;
	memmove(f->ahead, f->ahead + 1, f->ahead_n * sizeof(f->ahead[0]));
	return token;
}

struct span config_token_text(const struct config_token *token)
{
	struct span text = token->raw;

	if (token->kind == TOKEN_STRING && text.n >= 2)
		return span_from(text.p + 1, text.n - 2);
	return text;
}

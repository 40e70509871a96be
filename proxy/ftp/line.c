// SPDX-License-Identifier: ISC
/*
 * Line splitter: the client's bytes to command lines.
 *
 * Two layers, one byte at a time: telnet_byte() takes the Telnet commands out,
 * line_byte() finds faults and line ends in what is left. Decoded bytes never
 * outnumber the raw ones of the same read (iac_resume() sees to the exception),
 * so they are written over the input, and copied only when the input ends
 * within a line. Knows nothing of verbs.
 */
#include "sallyport/line.h"

#include <stdlib.h>
#include <string.h>

#define PARTIAL_FIRST_CAP 128u

#define CR '\r'
#define LF '\n'
#define NUL '\0'

/* RFC 854 */
enum telnet_byte {
	SE = 240,
	DM = 242,
	IP = 244,
	SB = 250,
	WILL = 251,
	WONT = 252,
	DO = 253,
	DONT = 254,
	IAC = 255,
};

enum telnet_state {
	TELNET_DATA,
	TELNET_IAC,    /* behind IAC */
	TELNET_WILL,   /* behind IAC WILL: the option comes */
	TELNET_DO,     /* behind IAC DO */
	TELNET_OPTION, /* behind IAC WONT or IAC DONT */
	TELNET_SB,     /* in a subnegotiation */
	TELNET_SB_IAC, /* behind IAC in it */
};

enum last_seen {
	LAST_OTHER,
	LAST_CR,
	LAST_CR_NUL,
};

enum line_fault {
	FAULT_NONE,
	FAULT_BAD,
	FAULT_TOO_LONG,
};

/* The decoded bytes of the current line that lie in the input: they follow `partial`. */
struct chunk {
	char *p;
	size_t n;
};

static size_t line_length(const struct line_splitter *s, const struct chunk *chunk)
{
	return s->partial_n + chunk->n;
}

/* Nothing of the line will be given out, so nothing of it is kept. */
static void line_fault(struct line_splitter *s, struct chunk *chunk, enum line_fault fault)
{
	if (s->fault == FAULT_NONE)
		s->fault = (unsigned char)fault;
	s->partial_n = 0;
	s->ip_at = 0;
	chunk->n = 0;
}

static void line_store(struct line_splitter *s, struct chunk *chunk, unsigned char c)
{
	/* A CR may be the line end's, which does not count. */
	size_t limit = LINE_MAX_BYTES + (c == CR ? 1 : 0);

	if (s->fault != FAULT_NONE)
		return;
	if (line_length(s, chunk) >= limit) {
		line_fault(s, chunk, FAULT_TOO_LONG);
		return;
	}
	chunk->p[chunk->n++] = (char)c;
}

/* One byte without Telnet. True: it ended the line, whose CR is still stored. */
static bool line_byte(struct line_splitter *s, struct chunk *chunk, unsigned char c)
{
	enum last_seen last = (enum last_seen)s->last;

	s->last = LAST_OTHER;
	if (c == LF) {
		if (last == LAST_CR_NUL) {
			line_fault(s, chunk, FAULT_BAD);
			return false;
		}
		if (last != LAST_CR && s->strict_eol)
			line_fault(s, chunk, FAULT_BAD);
		s->last = (unsigned char)last; /* line_end() asks whether a CR is stored */
		return true;
	}
	if (c == NUL) {
		if (last == LAST_CR)
			s->last = LAST_CR_NUL;
		else
			line_fault(s, chunk, FAULT_BAD);
	} else if (last == LAST_CR) {
		line_fault(s, chunk, FAULT_BAD);
	}
	if (c == CR)
		s->last = LAST_CR;
	line_store(s, chunk, c);
	return false;
}

static void telnet_answer(struct line_splitter *s, unsigned char refusal, unsigned char option)
{
	size_t n = s->answers_n;

	if (n + 3 > sizeof(s->answers))
		return;
	s->answers[n] = IAC;
	s->answers[n + 1] = refusal;
	s->answers[n + 2] = option;
	s->answers_n = (unsigned char)(n + 3);
}

/*
 * IP marks the place; a second one before the DM leaves the mark, so that an
 * ABOR between the two stays. A CR before it is settled now: were it to pair
 * with a byte behind the mark, the DM would part the two.
 */
static void telnet_ip(struct line_splitter *s, struct chunk *chunk)
{
	s->ip_seen = true;
	if (s->last == LAST_CR) {
		line_fault(s, chunk, FAULT_BAD);
		s->last = LAST_OTHER;
	}
	if (s->synch)
		return;
	s->synch = true;
	s->ip_at = line_length(s, chunk);
	s->old_fault = s->fault;
	s->fault = FAULT_NONE;
}

/* The end of a Synch: drops what stood before its IP, with its faults. */
static void telnet_dm(struct line_splitter *s, struct chunk *chunk)
{
	size_t kept;

	if (!s->synch)
		return;
	kept = line_length(s, chunk) - s->ip_at;
	if (s->ip_at < s->partial_n) {
		s->partial_n -= s->ip_at;
		memmove(s->partial, s->partial + s->ip_at, s->partial_n);
	} else {
		s->partial_n = 0;
		memmove(chunk->p, chunk->p + (chunk->n - kept), kept);
		chunk->n = kept;
	}
	if (kept == 0 && s->fault == FAULT_NONE)
		s->last = LAST_OTHER;
	s->synch = false;
	s->ip_at = 0;
	s->old_fault = FAULT_NONE;
}

/* The byte behind an IAC. True: it and the IAC are data, the caller stores them. */
static bool telnet_command(struct line_splitter *s, struct chunk *chunk, unsigned char c)
{
	s->telnet = TELNET_DATA;
	if (c < SE)
		return true;
	if (c == WILL)
		s->telnet = TELNET_WILL;
	else if (c == DO)
		s->telnet = TELNET_DO;
	else if (c == WONT || c == DONT)
		s->telnet = TELNET_OPTION;
	else if (c == SB)
		s->telnet = TELNET_SB;
	else if (c == IP)
		telnet_ip(s, chunk);
	else if (c == DM)
		telnet_dm(s, chunk);
	s->sb_n = 0;
	return false;
}

/* A byte within IAC SB ... IAC SE. One that never ends must not swallow the session. */
static void telnet_subnegotiation(struct line_splitter *s, struct chunk *chunk, unsigned char c)
{
	if (s->telnet == TELNET_SB && c == IAC) {
		s->telnet = TELNET_SB_IAC;
		return;
	}
	if (s->telnet == TELNET_SB_IAC && c == SE) {
		s->telnet = TELNET_DATA;
		return;
	}
	s->telnet = TELNET_SB;
	if (++s->sb_n > LINE_SB_MAX) {
		s->telnet = TELNET_DATA;
		line_fault(s, chunk, FAULT_TOO_LONG);
	}
}

/* One byte as it came. True: the line is whole. */
static bool telnet_byte(struct line_splitter *s, struct chunk *chunk, unsigned char c)
{
	switch ((enum telnet_state)s->telnet) {
	case TELNET_DATA:
		if (c != IAC)
			return line_byte(s, chunk, c);
		s->telnet = TELNET_IAC;
		return false;
	case TELNET_IAC:
		if (c == IAC) {
			s->telnet = TELNET_DATA;
			return line_byte(s, chunk, IAC);
		}
		if (!telnet_command(s, chunk, c))
			return false;
		(void)line_byte(s, chunk, IAC); /* 0xFF ends no line */
		return line_byte(s, chunk, c);
	case TELNET_WILL:
		telnet_answer(s, DONT, c);
		break;
	case TELNET_DO:
		telnet_answer(s, WONT, c);
		break;
	case TELNET_OPTION:
		break;
	case TELNET_SB:
	case TELNET_SB_IAC:
		telnet_subnegotiation(s, chunk, c);
		return false;
	}
	s->telnet = TELNET_DATA;
	return false;
}

/* Half a line may hold a password. */
static void partial_drop(struct line_splitter *s)
{
	if (s->partial != NULL)
		explicit_bzero(s->partial, s->partial_cap);
	free(s->partial);
}

/* Moves the chunk behind what is kept already. */
static bool partial_append(struct line_splitter *s, const struct chunk *chunk)
{
	size_t need = line_length(s, chunk);

	if (chunk->n == 0)
		return true;
	if (need > s->partial_cap) {
		size_t cap = sp_grow_secret(&s->partial, s->partial_n,
					    s->partial_cap > 0 ? s->partial_cap : PARTIAL_FIRST_CAP, need);

		if (cap == 0)
			return false;
		s->partial_cap = cap;
	}
	memcpy(s->partial + s->partial_n, chunk->p, chunk->n);
	s->partial_n = need;
	return true;
}

/*
 * An IAC that ended the last read and turns out to be data, not the start of a
 * command, has no room in this input.
 */
static bool iac_resume(struct line_splitter *s, unsigned char next)
{
	char iac;
	struct chunk chunk = { &iac, 0 };

	if (s->telnet != TELNET_IAC || next >= SE)
		return true;
	s->telnet = TELNET_DATA;
	(void)line_byte(s, &chunk, IAC); /* 0xFF ends no line */
	return partial_append(s, &chunk);
}

static void partial_free(struct line_splitter *s)
{
	partial_drop(s);
	s->partial = NULL;
	s->partial_n = 0;
	s->partial_cap = 0;
}

/* The line's end has come: what was it? */
static enum line_result line_end(struct line_splitter *s, struct chunk *chunk, struct span *out)
{
	enum line_fault fault =
	    (enum line_fault)(s->old_fault != FAULT_NONE ? s->old_fault : s->fault);

	s->given = true;
	if (fault == FAULT_BAD)
		return LINE_BAD;
	if (fault == FAULT_TOO_LONG)
		return LINE_TOO_LONG;
	if (s->partial_n > 0) {
		if (!partial_append(s, chunk))
			return LINE_NO_MEMORY;
		*out = span_from(s->partial, s->partial_n);
	} else {
		*out = span_from(chunk->p, chunk->n);
	}
	if (s->last == LAST_CR)
		out->n--;
	return LINE_OK;
}

static void line_begin(struct line_splitter *s)
{
	partial_free(s);
	s->ip_seen = false;
	s->last = LAST_OTHER;
	s->fault = FAULT_NONE;
	s->old_fault = FAULT_NONE;
	s->synch = false;
	s->given = false;
	s->ip_at = 0;
}

/* A whole line of plain bytes at the start of the input: nothing to decode, nothing to keep. */
static bool line_next_plain(const struct line_splitter *s, struct span *in, struct span *out)
{
	const char *lf = memchr(in->p, LF, in->n);
	size_t n;

	if (lf == NULL)
		return false;
	n = (size_t)(lf - in->p);
	if (n > 0 && in->p[n - 1] == CR)
		n--;
	else if (s->strict_eol)
		return false;
	if (n > LINE_MAX_BYTES || memchr(in->p, IAC, n) != NULL || memchr(in->p, CR, n) != NULL ||
	    memchr(in->p, NUL, n) != NULL)
		return false;
	*out = span_from(in->p, n);
	in->n -= (size_t)(lf + 1 - in->p);
	in->p = lf + 1;
	return true;
}

enum line_result line_next(struct line_splitter *s, struct span *in, struct span *out)
{
	struct chunk chunk;

	*out = span_from(NULL, 0);
	if (s->given)
		line_begin(s);
	if (in->n == 0)
		return LINE_MORE;
	if (!line_is_partial(s) && line_next_plain(s, in, out)) {
		s->given = true;
		return LINE_OK;
	}
	if (!iac_resume(s, (unsigned char)*in->p))
		return LINE_NO_MEMORY;
	/* The contract makes this memory writable; a span says only that most readers must not. */
	chunk = (struct chunk){ (char *)(uintptr_t)in->p, 0 };
	while (in->n > 0) {
		unsigned char c = (unsigned char)*in->p;

		in->p++;
		in->n--;
		if (telnet_byte(s, &chunk, c))
			return line_end(s, &chunk, out);
	}
	if (!partial_append(s, &chunk))
		return LINE_NO_MEMORY;
	if (s->partial_n == 0)
		partial_free(s); /* a fault or a Synch emptied it */
	return LINE_MORE;
}

bool line_is_partial(const struct line_splitter *s)
{
	if (s->given)
		return false;
	return s->partial_n > 0 || s->telnet != TELNET_DATA || s->last != LAST_OTHER ||
	       s->fault != FAULT_NONE || s->old_fault != FAULT_NONE;
}

void line_fini(struct line_splitter *s)
{
	bool strict_eol = s->strict_eol;

	partial_drop(s);
	*s = (struct line_splitter){ .strict_eol = strict_eol };
}

/* Nothing in the line is to be looked at more closely. */
static bool is_plain(struct span line, bool escape_iac)
{
	return memchr(line.p, CR, line.n) == NULL && memchr(line.p, LF, line.n) == NULL &&
	       memchr(line.p, NUL, line.n) == NULL &&
	       (!escape_iac || memchr(line.p, IAC, line.n) == NULL);
}

size_t line_write(char *to, size_t size, struct span line, bool escape_iac)
{
	size_t n = 0;

	if (line.n > 0 && line.n + 2 <= size && is_plain(line, escape_iac)) {
		memcpy(to, line.p, line.n);
		to[line.n] = CR;
		to[line.n + 1] = LF;
		return line.n + 2;
	}
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if (c == LF || (c == CR && (i + 1 == line.n || line.p[i + 1] != NUL)) ||
		    (c == NUL && (i == 0 || line.p[i - 1] != CR)))
			return 0;
		if (size - n < 2)
			return 0;
		to[n++] = (char)c;
		if (c == IAC && escape_iac)
			to[n++] = (char)c;
	}
	if (size - n < 2)
		return 0;
	to[n++] = CR;
	to[n++] = LF;
	return n;
}

// SPDX-License-Identifier: ISC
/*
 * The replies of a server (RFC 959 section 4.2), single- and multi-line, as
 * real servers send them. A pure state machine: cutting the input anywhere
 * gives the same replies.
 *
 * A line ends at LF; a CR right before it belongs to the end. What a line is:
 *
 *   outside a reply
 *     (nothing)			    dropped, counted in `blank_lines`
 *     NNN, NNN SP text		    a whole reply
 *     NNN-text			    the first line of a multi-line reply
 *     anything else, NNN not in 100..659   REPLY_BAD
 *   inside, NNN being the code of the first line
 *     NNN, NNN SP text		    the last line
 *     anything else		    text: NNN- again, NNN and no space, other
 *				    codes with or without a space, blank lines
 *
 * NULs and two- or three-byte Telnet commands (IAC WILL option, IAC DM; RFC 854)
 * before the code of a reply are dropped: old servers negotiate there, and some
 * end their texts in NUL. They are not answered. Elsewhere all bytes are what
 * they are: NUL, 8-bit bytes, a CR in the middle, and 0xFF, doubled or not,
 * since most servers do not double it in a name and the client's end decides.
 *
 * Not seen here: servers whose multi-line reply looks like several (IIS 1 and 2
 * wrote "230 " in the middle of "230-"). The rest comes out as a reply more,
 * which the owner finds because it answers no command.
 */
#ifndef SALLYPORT_REPLY_H
#define SALLYPORT_REPLY_H

#include "sallyport/base.h"
#include "sallyport/span.h"

#define REPLY_LINE_MAX	(64 * 1024) /* bytes of one line without its end */
#define REPLY_BYTES_MAX (1024 * 1024) /* of one reply, with its CRLFs */

enum reply_result {
	REPLY_OK,	/* *out is a whole reply */
	REPLY_MORE,	/* the input is used up */
	REPLY_BAD,	/* no code, code out of range, line too long: out->raw is the line's start */
	REPLY_TOO_LONG, /* longer than REPLY_BYTES_MAX: out->code is its code */
	REPLY_NO_MEMORY,
};

/*
 * Zero is a valid start. `text` is allocated only while a reply is incomplete
 * (it was cut by the end of a read) and released by the call behind the one
 * that gave the reply, so that an idle channel holds no buffer.
 */
struct reply_reader {
	char *text; /* the lines that are whole, ended by CRLF, and the one that is being collected */
	size_t n;
	size_t cap;
	size_t line_start;    /* of the line that is being collected */
	int code;	      /* of a multi-line reply that has begun; 0: none */
	bool given;	      /* a reply was given: start anew */
	bool dead;	      /* no more replies can come from here */
	unsigned blank_lines; /* outside of any reply, dropped and counted; wraps */
};

/*
 * Borrowed from the input or the reader; valid until the next call. `raw` is
 * the whole reply, each line ended by CRLF whatever the server sent (a bare LF
 * is made CRLF; other bytes are as they came). `text` is the first line behind
 * its code and separator, without its end; empty when the line is the bare code.
 */
struct reply {
	int code; /* 100..659 */
	bool multi_line;
	struct span raw;
	struct span text;
};

/*
 * The next whole reply from *in, which is not written to. A reply that lies in
 * `in` whole, with CRLFs, is given without copy or allocation. After any result
 * but OK and MORE the connection is of no more use: the reader then says
 * REPLY_BAD for ever (out->raw empty). Worker thread (allocates); no other side
 * effect.
 */
SP_MUSTCHECK enum reply_result reply_next(struct reply_reader *reader, struct span *in,
					  struct reply *out);

/* Releases what it holds; the reader is zero afterwards. */
void reply_fini(struct reply_reader *reader);

static inline bool reply_is_preliminary(int code)
{
	return code >= 100 && code < 200;
}
static inline bool reply_is_positive(int code)
{
	return code >= 200 && code < 300;
}
static inline bool reply_is_intermediate(int code)
{
	return code >= 300 && code < 400;
}
static inline bool reply_is_negative(int code)
{
	return code >= 400 && code < 600;
}

#endif

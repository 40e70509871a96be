// SPDX-License-Identifier: ISC
/*
 * The command lines of a client: Telnet decoding (RFC 854, 959 section 4.1.3,
 * 1123 section 4.1.2.10/12), line ends (RFC 959 section 5.3.1, 2640 section
 * 3.1), limits. A pure state machine: cutting the input anywhere gives the same
 * lines.
 *
 * One thing matters more than all else here: a server must never see a command
 * boundary where we saw none. So what is accepted is what every server cuts at
 * the same place, and all other lines are refused whole, with one answer:
 *
 *   CR LF	   ends a line
 *   LF		   ends it too; under strict_eol that line is LINE_BAD
 *   CR NUL	   is a CR of a path name (RFC 2640): kept, as these two bytes
 *   CR NUL LF	   is CR LF of a path name. Legal, but servers that cut at any LF
 *		   would read the rest of the name as a command: LINE_BAD, and
 *		   this LF does not end the line, so that we do not read it so
 *   CR and else   a bare CR: LINE_BAD
 *   NUL	   not behind CR: LINE_BAD
 *
 * Telnet is taken out before, so a command (but IP) between CR and LF does not
 * part them, and one between CR and NUL neither:
 *
 *   IAC IAC			  the byte 0xFF
 *   IAC WILL|DO option		  refused in `answers`
 *   IAC WONT|DONT option	  dropped
 *   IAC SB ... IAC SE		  dropped; over LINE_SB_MAX bytes the line is LINE_TOO_LONG
 *   IAC IP			  dropped, `ip_seen`; a CR right before it is a bare one
 *   IAC DM			  dropped; behind an IP it discards what the line held
 *				  before that IP (the Synch of an abort in the middle of
 *				  a line), and nothing behind it: the ABOR may stand
 *				  before the DM
 *   IAC 240..249		  dropped
 *   IAC 0..239			  no Telnet command: both bytes are data. Clients that
 *				  know nothing of Telnet send 0xFF in a name so.
 *
 * A socket that is read for this needs SO_OOBINLINE: else the urgent byte of a
 * Synch is missing from its middle.
 */
#ifndef SALLYPORT_LINE_H
#define SALLYPORT_LINE_H

#include "sallyport/base.h"
#include "sallyport/span.h"

/* Longest command line that is accepted, without its line end, after Telnet decoding. */
#define LINE_MAX_BYTES 4096
/* Longest Telnet subnegotiation that is skipped. */
#define LINE_SB_MAX 512
/* What line_write() makes at most of a line that line_next() gave. */
#define LINE_WIRE_MAX (2 * LINE_MAX_BYTES + 2)

enum line_result {
	LINE_OK,       /* *out is a command line, maybe an empty one */
	LINE_MORE,     /* the input is used up; no whole line yet */
	LINE_TOO_LONG, /* the line was over the limit and has been skipped up to its end: 500 */
	LINE_BAD,      /* the line held what the table above refuses: 501; skipped up to its end */
	LINE_NO_MEMORY, /* the splitter is good for line_fini() only */
};

/*
 * State between two reads. Zero is a valid start. `partial` is allocated only
 * while a line is incomplete and released by the call behind the one that gave
 * the line, so an idle channel holds no buffer.
 */
struct line_splitter {
	/* the owner's */
	bool strict_eol;	   /* set by the owner: a bare LF is refused */
	bool ip_seen;		   /* Telnet IP came; stays until the call behind the next line */
	unsigned char answers_n;   /* the owner sends the answers and sets this to 0 */
	unsigned char answers[30]; /* IAC WONT|DONT option; what does not fit is not answered */

	/* line.c's */
	unsigned char telnet;	 /* enum telnet_state */
	unsigned char last;	 /* enum last_seen: what may make the next byte special */
	unsigned char fault;	 /* enum line_fault, of the line behind `ip_at` */
	unsigned char old_fault; /* the same of the line before `ip_at` */
	bool synch;		 /* IP came in this line and no DM yet */
	bool given;		 /* a line was given: start anew */
	unsigned short sb_n;	 /* bytes of this subnegotiation */
	size_t ip_at;		 /* length of the line when IP came */
	char *partial;
	size_t partial_n;
	size_t partial_cap;
};

/*
 * Takes bytes from *in until a line is whole. The bytes of `in` may be
 * overwritten (IAC IAC becomes one 0xFF in place), so its memory must be
 * writable. On LINE_OK *out borrows from `in`'s memory or from the splitter and
 * is valid until the next call. The line is given without its line end; it
 * holds no LF, no CR but before a NUL, no NUL but behind a CR. A whole line in
 * `in` is given without copy or allocation. Of a line with several faults the
 * first one is told. Worker thread (allocates); no other side effect.
 */
SP_MUSTCHECK enum line_result line_next(struct line_splitter *splitter, struct span *in,
					struct span *out);

/* Whether a line or a Telnet command has begun that is not whole (command_timeout runs). */
bool line_is_partial(const struct line_splitter *splitter);

/* Releases what it holds; the splitter is zero afterwards (strict_eol stays). */
void line_fini(struct line_splitter *splitter);

/*
 * Writes a command line for the wire into to[size]: `escape_iac` doubles 0xFF
 * (RFC 959/854), CRLF is appended. Returns the length, 0 when it does not fit
 * or the line holds LF, a bare CR, or a NUL that is not behind CR. Without
 * `escape_iac` 0xFF goes out as it is, for servers that do not speak Telnet.
 */
size_t line_write(char *to, size_t size, struct span line, bool escape_iac);

#endif

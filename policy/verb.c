// SPDX-License-Identifier: ISC
/*
 * The verb table, the look-up of a name in it, the cutting of a command line,
 * and which replies a verb can have. What a command is allowed is not decided
 * here: that is command.c.
 */
#include "sallyport/verb.h"

#include <string.h>

/* The flags as tbl/verbs.def writes them. */
enum {
	USEFUL = VERB_FLAG_USEFUL,
	SECRET = VERB_FLAG_SECRET,
	SLOW = VERB_FLAG_SLOW,
	INFLIGHT = VERB_FLAG_INFLIGHT,
	PATH = VERB_FLAG_PATH,
};

static const struct verb_row rows[VERB_COUNT + 1] = {
// clang-format off
#define VERB(id, when_, argument_, action_, flags_)                                         \
	[VERB_##id] = { #id, VERB_##id, VERB_WHEN_##when_, VERB_ARGUMENT_##argument_,       \
			VERB_ACTION_##action_, (unsigned)(flags_) },
#include "sallyport/tbl/verbs.def"
#undef VERB
	[VERB_UNKNOWN] = { "?", VERB_UNKNOWN, VERB_WHEN_READY, VERB_ARGUMENT_OPTIONAL,
			   VERB_ACTION_FORWARD, 0 },
};
// clang-format on

const struct verb_row *verb_row(enum verb verb)
{
	SP_ASSERT((size_t)verb < SP_ARRAY_LEN(rows));
	return &rows[verb];
}

#define NAME_MAX_BYTES 8

/* The bytes of a name in one number; the compiler folds it for a literal. */
#define KEY_BYTE(text, i) ((uint64_t)(unsigned char)((text "\0\0\0\0\0\0\0\0")[i]) << (8 * (i)))
#define KEY(text)                                                                                  \
	(KEY_BYTE(text, 0) | KEY_BYTE(text, 1) | KEY_BYTE(text, 2) | KEY_BYTE(text, 3) |           \
	 KEY_BYTE(text, 4) | KEY_BYTE(text, 5) | KEY_BYTE(text, 6) | KEY_BYTE(text, 7))

/* Four parts of about the same number of verbs. */
#define PART(letter) ((letter) < 'F' ? 0 : (letter) < 'N' ? 1 : (letter) < 'S' ? 2 : 3)

#define VERB(id, when, argument, action, flags)                                                    \
	_Static_assert(sizeof(#id) - 1 <= NAME_MAX_BYTES, "name of " #id " does not fit a key");
#include "sallyport/tbl/verbs.def"
#undef VERB

enum verb verb_find(struct span name)
{
	uint64_t key = 0;

	if (name.n > NAME_MAX_BYTES)
		return VERB_UNKNOWN;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c >= 'a' && c <= 'z')
			c = (unsigned char)(c - ('a' - 'A'));
		else if (c == '\0')
			return VERB_UNKNOWN; /* would look like the end of a shorter name */
		key |= (uint64_t)c << (8 * i);
	}
	/* The rows of the part that the first letter says; the others fold away. */
#define VERB(id, when, argument, action, flags)                                                    \
	if (PART(#id[0]) == THIS_PART && key == KEY(#id))                                          \
		return VERB_##id;
	switch (PART((char)(key & 0xff))) {
	case 0:
#define THIS_PART 0
#include "sallyport/tbl/verbs.def"
#undef THIS_PART
		break;
	case 1:
#define THIS_PART 1
#include "sallyport/tbl/verbs.def"
#undef THIS_PART
		break;
	case 2:
#define THIS_PART 2
#include "sallyport/tbl/verbs.def"
#undef THIS_PART
		break;
	default:
#define THIS_PART 3
#include "sallyport/tbl/verbs.def"
#undef THIS_PART
		break;
	}
#undef VERB
	return VERB_UNKNOWN;
}

struct command command_parse(struct span line)
{
	const char *space = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;
	struct command command = { .name = line };

	if (space != NULL) {
		command.name.n = (size_t)(space - line.p);
		command.has_argument = true;
		command.argument = span_from(space + 1, line.n - command.name.n - 1);
	}
	command.verb = verb_find(command.name);
	return command;
}

/*
 * The kinds of answer. A kind lists what is right beyond 4yz and 5yz: the codes
 * of RFC 959 section 5.4, RFC 2228 and later ones, and those that servers are
 * known to give instead. Where two verbs that follow one another in practice
 * have codes of their own (PWD 257, PASV 227, SIZE 213, the logon, transfers),
 * nothing is added: there a server that is one reply behind is found.
 */
enum answer {
	ANSWER_DONE, /* "command okay" in its spellings */
	ANSWER_ACCESS,
	ANSWER_HOST,
	ANSWER_BYE,
	ANSWER_REIN,
	ANSWER_ABOR,
	ANSWER_NAME,     /* PWD */
	ANSWER_NEW_NAME, /* MKD */
	ANSWER_PENDING,  /* RNFR, REST: another command is to follow */
	ANSWER_SIZE,
	ANSWER_TIME,
	ANSWER_FACTS,
	ANSWER_DIGEST,
	ANSWER_INFO,
	ANSWER_SITE,
	ANSWER_PASV,
	ANSWER_EPSV,
	ANSWER_LPSV,
	ANSWER_TRANSFER,
	ANSWER_AUTH,
	ANSWER_ADAT,
	ANSWER_NEVER, /* is not sent to a server */
	ANSWER_UNKNOWN,
};

// clang-format off
#define RANGES_MAX 6

static const struct code_range {
	short first;
	short last;
} ranges[][RANGES_MAX] = {
	[ANSWER_DONE] = { { 200, 200 }, { 202, 202 }, { 250, 250 } },
	[ANSWER_ACCESS] = { { 202, 202 }, { 230, 232 }, { 331, 332 }, { 336, 336 } },
	[ANSWER_HOST] = { { 200, 200 }, { 220, 220 } }, /* RFC 7151 section 3.2 */
	[ANSWER_BYE] = { { 200, 200 }, { 221, 221 }, { 231, 232 } },
	[ANSWER_REIN] = { { 120, 120 }, { 200, 200 }, { 220, 220 } },
	[ANSWER_ABOR] = { { 200, 200 }, { 225, 226 } },
	[ANSWER_NAME] = { { 251, 251 }, { 257, 257 } }, /* RFC 775: 251 */
	[ANSWER_NEW_NAME] = { { 200, 200 }, { 250, 251 }, { 257, 257 } },
	[ANSWER_PENDING] = { { 350, 350 } },
	[ANSWER_SIZE] = { { 213, 213 } },
	[ANSWER_TIME] = { { 200, 200 }, { 213, 213 }, { 250, 253 } }, /* MDTM that sets says 253 */
	[ANSWER_FACTS] = { { 200, 200 }, { 211, 213 }, { 250, 250 } },
	[ANSWER_DIGEST] = { { 200, 200 }, { 213, 213 }, { 250, 253 } },
	[ANSWER_INFO] = { { 200, 219 }, { 240, 256 }, { 258, 299 } },
	/* SITE CPFR answers 350. */
	[ANSWER_SITE] = { { 200, 219 }, { 240, 299 }, { 350, 350 } },
	[ANSWER_PASV] = { { 227, 227 } },
	[ANSWER_EPSV] = { { 229, 229 } }, /* EPSV ALL, which has 200, is ours alone */
	[ANSWER_LPSV] = { { 228, 228 } },
	[ANSWER_TRANSFER] = { { 100, 119 }, { 121, 200 }, { 225, 226 }, { 250, 256 } },
	[ANSWER_AUTH] = { { 232, 232 }, { 234, 235 }, { 334, 335 } },
	[ANSWER_ADAT] = { { 235, 235 }, { 335, 335 } },
	[ANSWER_NEVER] = { { 0, 0 } },
	[ANSWER_UNKNOWN] = { { 200, 226 }, { 228, 228 }, { 230, 399 } },
};

/* Verbs that are not named here: ANSWER_DONE. */
static const enum answer answers[VERB_COUNT + 1] = {
	[VERB_USER] = ANSWER_ACCESS,	 [VERB_PASS] = ANSWER_ACCESS,
	[VERB_ACCT] = ANSWER_ACCESS,	 [VERB_HOST] = ANSWER_HOST,
	[VERB_QUIT] = ANSWER_BYE,	 [VERB_REIN] = ANSWER_REIN,
	[VERB_ABOR] = ANSWER_ABOR,	 [VERB_PWD] = ANSWER_NAME,
	[VERB_XPWD] = ANSWER_NAME,	 [VERB_MKD] = ANSWER_NEW_NAME,
	[VERB_XMKD] = ANSWER_NEW_NAME,	 [VERB_RNFR] = ANSWER_PENDING,
	[VERB_REST] = ANSWER_PENDING,	 [VERB_SIZE] = ANSWER_SIZE,
	[VERB_MDTM] = ANSWER_TIME,	 [VERB_MFMT] = ANSWER_TIME,
	[VERB_MFCT] = ANSWER_TIME,	 [VERB_MFF] = ANSWER_TIME,
	[VERB_MLST] = ANSWER_FACTS,	 [VERB_AVBL] = ANSWER_FACTS,
	[VERB_DSIZ] = ANSWER_FACTS,	 [VERB_HASH] = ANSWER_DIGEST,
	[VERB_XCRC] = ANSWER_DIGEST,	 [VERB_XMD5] = ANSWER_DIGEST,
	[VERB_XSHA] = ANSWER_DIGEST,	 [VERB_XSHA1] = ANSWER_DIGEST,
	[VERB_XSHA256] = ANSWER_DIGEST,	 [VERB_XSHA512] = ANSWER_DIGEST,
	[VERB_MD5] = ANSWER_DIGEST,	 [VERB_MMD5] = ANSWER_DIGEST,
	[VERB_THMB] = ANSWER_TRANSFER,	 [VERB_SITE] = ANSWER_SITE,
	[VERB_STAT] = ANSWER_INFO,	 [VERB_LANG] = ANSWER_INFO,
	[VERB_PASV] = ANSWER_PASV,	 [VERB_EPSV] = ANSWER_EPSV,
	[VERB_LPSV] = ANSWER_LPSV,	 [VERB_RETR] = ANSWER_TRANSFER,
	[VERB_LIST] = ANSWER_TRANSFER,	 [VERB_NLST] = ANSWER_TRANSFER,
	[VERB_MLSD] = ANSWER_TRANSFER,	 [VERB_STOR] = ANSWER_TRANSFER,
	[VERB_STOU] = ANSWER_TRANSFER,	 [VERB_APPE] = ANSWER_TRANSFER,
	[VERB_AUTH] = ANSWER_AUTH,	 [VERB_ADAT] = ANSWER_ADAT,
	[VERB_MIC] = ANSWER_NEVER,	 [VERB_CONF] = ANSWER_NEVER,
	[VERB_ENC] = ANSWER_NEVER,	 [VERB_FEAT] = ANSWER_INFO,
	[VERB_OPTS] = ANSWER_INFO,	 [VERB_SYST] = ANSWER_INFO,
	[VERB_HELP] = ANSWER_INFO,	 [VERB_CLNT] = ANSWER_INFO,
	[VERB_CSID] = ANSWER_INFO,	 [VERB_UNKNOWN] = ANSWER_UNKNOWN,
};
// clang-format on

#define CODE_TRANSFER_ABORTED 426

/*
 * Only a data connection that broke is a 426, so a verb that has none gets it
 * from a server that is behind. Verbs that read whole files, or end things, are
 * let off.
 */
static bool can_break(enum verb verb)
{
	enum answer answer = answers[verb];

	return answer == ANSWER_TRANSFER || answer == ANSWER_ABOR || answer == ANSWER_BYE ||
	       answer == ANSWER_REIN || answer == ANSWER_DIGEST || answer == ANSWER_SITE ||
	       answer == ANSWER_UNKNOWN;
}

/*
 * A 2yz or 3yz that no verb has at all ("314 not today") is no late answer to
 * another one: it is what this server has to say to this one.
 */
static bool is_nobodys(int code)
{
	static const struct code_range somebodys[] = {
		{ 200, 200 }, { 202, 202 }, { 211, 215 }, { 220, 221 },
		{ 225, 235 }, { 250, 257 }, { 331, 336 }, { 350, 350 },
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(somebodys); i++) {
		if (code >= somebodys[i].first && code <= somebodys[i].last)
			return false;
	}
	return code >= 200 && code < 400;
}

bool verb_reply_fits(enum verb verb, int code)
{
	const struct code_range *row;

	SP_ASSERT((size_t)verb < SP_ARRAY_LEN(answers));
	if (code == CODE_TRANSFER_ABORTED)
		return can_break(verb);
	if (code >= 400 && code < 600)
		return true;
	row = ranges[answers[verb]];
	for (size_t i = 0; i < RANGES_MAX && row[i].first != 0; i++) {
		if (code >= row[i].first && code <= row[i].last)
			return true;
	}
	return is_nobodys(code);
}

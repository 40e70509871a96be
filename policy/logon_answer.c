// SPDX-License-Identifier: ISC
/*
 * The words in which servers refuse logons: a table of what they say when they
 * are full, and one of what is about the user whatever else is said.
 */
#include "sallyport/logon_answer.h"

#define PARTS 3

/* Parts of a text, in this order, without case. */
struct phrase {
	const char *parts[PARTS];
};

/* About who logs on: these decide before all others. */
static const struct phrase about_the_user[] = {
	{ { "password" } },		   /* "Password incorrect", "Wrong password" */
	{ { "incorrect" } },		   /* vsftpd, proftpd: "Login incorrect." */
	{ { "authenticat" } },		   /* pure-ftpd: "Login authentication failed", "Too many authentication failures" */
	{ { "credential" } },
	{ { "login attempt" } },	   /* proftpd: "Maximum login attempts (3) exceeded" */
	{ { "logon attempt" } },
	{ { "failed attempt" } },
	{ { "login fail" } },
	{ { "logon fail" } },
	{ { "login tries" } },
	{ { "bad login" } },
	{ { "invalid user" } },
	{ { "invalid login" } },
	{ { "unknown user" } },
	{ { "cannot log in" } },	   /* IIS: "User x cannot log in." */
	{ { "expired" } },
	{ { "disabled" } },
	{ { "banned" } },
	{ { "not allowed" } },
};

/* About the server, or about how many there are. */
static const struct phrase about_the_server[] = {
	{ { "too many", "user" } },	   /* FileZilla, Serv-U, wu-ftpd: "too many users logged in" */
	{ { "too many", "connect" } },	   /* vsftpd: "There are too many connected users", "too many connections" */
	{ { "too many", "client" } },
	{ { "too many", "session" } },	   /* CrushFTP, Titan */
	{ { "too many", "login" } },	   /* "too many logins", "too many simultaneous logins" */
	{ { "too many", "logon" } },
	{ { "too many", "logged" } },	   /* "too many people logged in" */
	{ { "maximum", "number of", "client" } },  /* proftpd: "Sorry, the maximum number of clients (2) …" */
	{ { "maximum", "number of", "host" } },	   /* proftpd: MaxHostsPerUser */
	{ { "maximum", "number of", "user" } },	   /* proftpd: MaxUsers… */
	{ { "maximum", "number of", "connection" } }, /* IIS */
	{ { "maximum", "number of", "session" } },
	{ { "maximum", "number of", "login" } },
	{ { "maximum", "client" } },	   /* proftpd: "maximum number of allowed clients"; IIS: "Maximum clients reached" */
	{ { "maximum", "connection" } },   /* IIS: "Maximum connections exceeded" */
	{ { "maximum", "session" } },
	{ { "(the maximum)" } },	   /* pure-ftpd: "50 users (the maximum) are already logged in, sorry" */
	{ { "can't accept more than" } },  /* pure-ftpd: "I can't accept more than 2 connections as the same user" */
	{ { "connection limit" } },	   /* tnftpd, lukemftpd: "connection limit of 10 reached" */
	{ { "connections limit" } },
	{ { "session limit" } },
	{ { "user limit" } },		   /* "User limit reached" */
	{ { "limit of", "user" } },	   /* wu-ftpd: "There is a limit of %M users" */
	{ { "restricted to", "simultaneous" } }, /* glftpd: "Your account is restricted to 2 simultaneous logins." */
	{ { "server is full" } },	   /* glftpd, GuildFTPd */
	{ { "site is full" } },		   /* glftpd */
	{ { "server is busy" } },
	{ { "server too busy" } },
	{ { "shutting down" } },	   /* proftpd's ftpshut: 530 to those who log on */
	{ { "shutdown" } },
	{ { "maintenance" } },
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The bytes behind the first `part` in *text; false: it is not there. */
static bool skip_past(struct span *text, const char *part)
{
	for (size_t i = 0; i < text->n; i++) {
		size_t n = 0;

		while (part[n] != '\0' && i + n < text->n && lower(text->p[i + n]) == part[n])
			n++;
		if (part[n] != '\0')
			continue;
		*text = span_from(text->p + i + n, text->n - i - n);
		return true;
	}
	return false;
}

static bool has_phrase(struct span text, const struct phrase *phrase)
{
	for (size_t i = 0; i < PARTS && phrase->parts[i] != NULL; i++) {
		if (!skip_past(&text, phrase->parts[i]))
			return false;
	}
	return true;
}

enum logon_answer logon_answer_of(int code, struct span text)
{
	for (size_t i = 0; i < SP_ARRAY_LEN(about_the_user); i++) {
		if (has_phrase(text, &about_the_user[i]))
			return LOGON_ANSWER_REFUSED;
	}
	for (size_t i = 0; i < SP_ARRAY_LEN(about_the_server); i++) {
		if (has_phrase(text, &about_the_server[i]))
			return LOGON_ANSWER_BUSY;
	}
	/* "Service not available": it goes away after this, whatever it says. */
	return code == 421 ? LOGON_ANSWER_FAILED : LOGON_ANSWER_REFUSED;
}

// SPDX-License-Identifier: ISC
/*
 * What can be asked on the admin socket: reading a command line, and answering
 * it in steps. Knows nothing of sockets and clients (admin.h does).
 */
#ifndef SALLYPORT_ADMIN_COMMANDS_H
#define SALLYPORT_ADMIN_COMMANDS_H

#include "sallyport/base.h"
#include "sallyport/metrics.h"
#include "sallyport/report.h"
#include "sallyport/session_id.h"
#include "sallyport/session_table.h"
#include "sallyport/span.h"

#define ADMIN_LINE_MAX	512
#define ADMIN_WORDS_MAX 8
#define ADMIN_ERROR_MAX 256

enum admin_verb {
#define ADMIN_COMMAND(id, words, argument, role, help) ADMIN_##id,
#include "sallyport/tbl/admin_commands.def"
#undef ADMIN_COMMAND
	ADMIN_VERB_COUNT,
};

enum admin_argument { ADMIN_ARGUMENT_NONE, ADMIN_ARGUMENT_NOW, ADMIN_ARGUMENT_ID, ADMIN_ARGUMENT_SERVER };
enum admin_role { ADMIN_ROLE_READ, ADMIN_ROLE_WRITE };

struct admin_command_row {
	enum admin_verb verb;
	const char *words; /* "show sessions" */
	enum admin_argument argument;
	enum admin_role role;
	const char *help;
};

const struct admin_command_row *admin_command_row(enum admin_verb verb);

struct admin_request {
	enum admin_verb verb;
	bool json;
	bool now;	      /* show orphans --now */
	struct session_id id; /* kick */
	char pool[NAME_MAX_LEN]; /* up, drain, maintenance */
	char server[NAME_MAX_LEN];
};

/*
 * Reads one line (without its line end). False: `error` says what is wrong and
 * what would be right; out->json is set even then, if the last word was `json`
 * and the line could be split into words.
 * Words are compared without case. Pure; any thread.
 */
SP_MUSTCHECK bool admin_request_parse(struct span line, struct admin_request *out,
				      char error[ADMIN_ERROR_MAX]);

/* A command under way. */
struct admin_job {
	struct admin_request request;
	enum admin_role role;	    /* of who asks */
	long uid;		    /* of who asks, for the log */
	struct report report;
	bool begun;
	struct table_cursor cursor; /* show sessions */
	size_t index;		    /* the other listings */
	uint64_t ticket;	    /* the audit that is waited for */
};

enum admin_step {
	ADMIN_MORE, /* call again when the client has taken what is there */
	ADMIN_WAIT, /* nothing to say yet: call again a little later */
	ADMIN_DONE,
};

/* Starts the answer of `request` into `out`. */
void admin_job_start(struct admin_job *job, const struct admin_request *request,
		     struct evbuffer *out, enum admin_role role, long uid);

/*
 * Writes the next part of the answer: some 64 rows at most, no lock held while
 * it does. report.failed is set when memory ran out. Main's thread.
 */
enum admin_step admin_job_step(struct admin_job *job, const struct ops_sources *sources)
    SP_EXCLUDES(sp_any_shard);

#endif

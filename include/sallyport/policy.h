// SPDX-License-Identifier: ISC
/*
 * Policy: what applies to a session, and the verdict on a command. Pure.
 */
#ifndef SALLYPORT_POLICY_H
#define SALLYPORT_POLICY_H

#include "sallyport/base.h"
#include "sallyport/deadline.h"
#include "sallyport/span.h"
#include "sallyport/verb.h"

#define NAME_MAX_LEN 32 /* of listeners, pools, servers, policies; with the NUL */

struct credentials;

enum idle_resets { IDLE_RESETS_ANY, IDLE_RESETS_USEFUL, IDLE_RESETS_TRANSFER };

/* Immutable once its configuration is in force; owned by the configuration. */
struct policy {
	char name[NAME_MAX_LEN];
	struct timeouts timeouts;
	enum idle_resets idle_resets;
	unsigned queue_priority;    /* of a logon that waits for a server; the greater one goes first */
	int64_t queue_keepalive_ms; /* a line of text for who waits, this often; 0: none */
	unsigned max_errors;	    /* refused commands until 421; 0: any number */
	bool pass_unknown_commands; /* verbs that are not in the table go to the server */
	bool pass_foreign_data;	    /* data connections from other hosts than the client (FXP) */
	bool pass_low_ports;	    /* data connections to ports below 1024 of clients and servers */
	bool allow_ccc;		    /* a protected control connection may go back to clear (RFC 4217 section 6) */
	char *certificate_logons;   /* file of users whose certificate stands for a password; NULL: there are none */
	struct credentials *certificate_credentials; /* what is in it; NULL without a file */
	char **deny_commands;	    /* upper-case verbs refused with 550; NULL-terminated, may be NULL */
	char **allow_commands;	    /* when not NULL: all others are refused */
};

enum session_phase {
	PHASE_GREETED, /* before 230 */
	PHASE_READY,   /* after 230 */
};

enum verdict_kind { VERDICT_ALLOW, VERDICT_REPLY };

/* By value; the text is static or inside the verdict. */
struct verdict {
	enum verdict_kind kind;
	bool counts_as_error; /* towards max_errors */
	bool denied;	      /* by policy, as opposed to malformed or out of order */
	int code;
	char text[120];
};

/*
 * May this command go on in this phase? Checks in order: unknown verb (500, or
 * allowed by pass_unknown_commands), REFUSE (502), phase (503 for PRE verbs
 * after logon; 530 for READY verbs before it), argument (501), lists (550; the
 * X-verbs of RFC 775 go with their plain forms: CWD on a list means XCWD too).
 * A verb that is not in the table goes through all of it as one that needs a
 * logon and may have an argument. QUIT is never denied; an allow list need not
 * name what logon takes (USER, PASS, ACCT, HOST, AUTH, PBSZ, PROT and the rest
 * of RFC 2228). The text never holds bytes of the client.
 */
struct verdict policy_command(const struct policy *policy, enum session_phase phase,
			      const struct command *command);

/* Could a command that begins so ever be allowed? For what may be promised: a line of FEAT. */
bool policy_promises(const struct policy *policy, struct span feature);

/* Does this command count as activity? (`idle_resets`; transfers always do.) */
bool policy_is_activity(const struct policy *policy, enum verb verb);

#endif

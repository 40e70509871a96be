// SPDX-License-Identifier: ISC
/*
 * The verdict on a command: may it go on, and what the client is told if not.
 * What a verb does is the business of others; so are the limits that depend on
 * more than this session.
 */
#include "sallyport/policy.h"

#include "sallyport/span.h"

/* "LIST" or "LIST needs an argument." into the verdict; the name is a table's, never the client's.
 */
static void write_text(struct verdict *v, const char *name, const char *rest)
{
	size_t used;

	sp_copy(v->text, sizeof(v->text), name);
	used = strlen(v->text);
	sp_copy(v->text + used, sizeof(v->text) - used, rest);
}

static struct verdict refuse(int code, const char *name, const char *rest)
{
	struct verdict v = { .kind = VERDICT_REPLY, .counts_as_error = true, .code = code };

	write_text(&v, name, rest);
	return v;
}

/* RFC 775 and its namesakes: the plain form of an X-verb, or the verb itself. */
static enum verb plain_form(enum verb verb)
{
	static const enum verb pairs[][2] = {
		{ VERB_XCWD, VERB_CWD }, { VERB_XCUP, VERB_CDUP }, { VERB_XPWD, VERB_PWD },
		{ VERB_XMKD, VERB_MKD }, { VERB_XRMD, VERB_RMD },
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(pairs); i++) {
		if (pairs[i][0] == verb)
			return pairs[i][1];
	}
	return verb;
}

static bool list_has(char *const *list, struct span name)
{
	for (; list != NULL && *list != NULL; list++) {
		if (span_eq_nocase(span_of(*list), name))
			return true;
	}
	return false;
}

static bool list_has_verb(char *const *list, const struct command *command)
{
	enum verb plain = plain_form(command->verb);

	return list_has(list, command->name) ||
	       (plain != command->verb && list_has(list, span_of(verb_row(plain)->name)));
}

/* --- SITE: its first argument is a command of the server's own ---------------------------- */

#define SITE_PREFIX "SITE "

/* "CHMOD" of " CHMOD\t644 x": servers differ in what they take for a space. */
static struct span site_command(struct span argument)
{
	size_t start = 0;
	size_t end;

	while (start < argument.n && (unsigned char)argument.p[start] <= ' ')
		start++;
	for (end = start; end < argument.n && (unsigned char)argument.p[end] > ' ';)
		end++;
	return span_from(argument.p + start, end - start);
}

/* Some servers take quotes and backslashes off a word; then it is not what it looks like. */
static bool is_plain(struct span word)
{
	for (size_t i = 0; i < word.n; i++) {
		char c = word.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '-'))
			return false;
	}
	return true;
}

static bool list_has_site(char *const *list, struct span word, bool *any)
{
	bool found = false;

	*any = false;
	for (; list != NULL && *list != NULL; list++) {
		if (!span_starts_nocase(span_of(*list), SITE_PREFIX))
			continue;
		*any = true;
		found |= span_eq_nocase(span_of(*list + sizeof(SITE_PREFIX) - 1), word);
	}
	return found;
}

static bool list_denies(char *const *list, const struct command *command)
{
	struct span word;
	bool any;

	if (list == NULL)
		return false;
	if (list_has_verb(list, command))
		return true;
	if (command->verb != VERB_SITE)
		return false;
	word = site_command(command->argument);
	return list_has_site(list, word, &any) || (any && !is_plain(word));
}

static bool list_allows(char *const *list, const struct command *command)
{
	bool any;

	return list_has_verb(list, command) ||
	       (command->verb == VERB_SITE && list_has_site(list, site_command(command->argument), &any));
}

/* --- the lists ------------------------------------------------------------------------------ */

/*
 * An allow list speaks of what may be done, not of how one gets in and out: it
 * need not name these.
 */
static bool always_on_allow_list(const struct verb_row *row)
{
	return row->verb == VERB_USER || row->verb == VERB_PASS || row->verb == VERB_ACCT ||
	       row->verb == VERB_HOST || row->action == VERB_ACTION_SECURITY;
}

static bool is_denied(const struct policy *policy, const struct command *command)
{
	if (command->verb == VERB_QUIT)
		return false;
	if (list_denies(policy->deny_commands, command))
		return true;
	return policy->allow_commands != NULL && !always_on_allow_list(verb_row(command->verb)) &&
	       !list_allows(policy->allow_commands, command);
}

static bool argument_is_wrong(const struct verb_row *row, const struct command *command)
{
	switch (row->argument) {
	case VERB_ARGUMENT_NONE:
		return command->argument.n > 0; /* "PWD " is common and harmless */
	case VERB_ARGUMENT_OPTIONAL:
		return false;
	case VERB_ARGUMENT_REQUIRED:
		return command->argument.n == 0;
	}
	SP_UNREACHABLE("enum verb_argument");
}

struct verdict policy_command(const struct policy *policy, enum session_phase phase,
                              const struct command *command)
{
	const struct verb_row *row = verb_row(command->verb);

	if (row->verb == VERB_UNKNOWN && !policy->pass_unknown_commands)
		return refuse(500, "Command not understood.", "");
	if (row->action == VERB_ACTION_REFUSE)
		return refuse(502, row->name, " is not supported here.");
	if (row->when == VERB_WHEN_PRE && phase == PHASE_READY)
		return refuse(503, row->name, " must come before logon.");
	if (row->when == VERB_WHEN_READY && phase == PHASE_GREETED)
		return refuse(530, "Please log on with USER and PASS.", "");
	if (argument_is_wrong(row, command))
		return refuse(501, row->name,
		              row->argument == VERB_ARGUMENT_NONE ? " takes no argument."
		                                                  : " needs an argument.");
	if (is_denied(policy, command)) {
		struct verdict v = refuse(550, row->verb == VERB_UNKNOWN ? "Command" : row->name,
		                          row->verb == VERB_SITE ? " command is denied by policy."
		                                                 : " is denied by policy.");

		v.denied = true;
		return v;
	}
	return (struct verdict){ .kind = VERDICT_ALLOW };
}

bool policy_promises(const struct policy *policy, struct span feature)
{
	struct command command = command_parse(feature);

	if (command.verb == VERB_UNKNOWN && !policy->pass_unknown_commands)
		return false;
	return verb_row(command.verb)->action != VERB_ACTION_REFUSE && !is_denied(policy, &command);
}

bool policy_is_activity(const struct policy *policy, enum verb verb)
{
	const struct verb_row *row = verb_row(verb);
	bool transfer = row->action == VERB_ACTION_DOWN || row->action == VERB_ACTION_UP;

	switch (policy->idle_resets) {
	case IDLE_RESETS_ANY:
		return true;
	case IDLE_RESETS_USEFUL:
		return transfer || (row->flags & VERB_FLAG_USEFUL) != 0;
	case IDLE_RESETS_TRANSFER:
		return transfer;
	}
	SP_UNREACHABLE("enum idle_resets");
}

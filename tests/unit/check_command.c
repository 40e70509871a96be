// SPDX-License-Identifier: ISC
/*
 * Verdicts on commands, and what counts as activity.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/policy.h"

static char cwd[] = "CWD", retr[] = "RETR", dele[] = "DELE", quit[] = "QUIT", xmkd[] = "XMKD";
static char frob[] = "FROB", pwd[] = "PWD", auth[] = "AUTH", user[] = "USER";
static char *no_writes[] = { dele, xmkd, quit, cwd, NULL };
static char *only_reads[] = { retr, cwd, pwd, NULL };
static char *only_frob[] = { frob, NULL };
static char *no_frob[] = { frob, NULL };
static char *no_logon[] = { auth, user, NULL };
static char *nothing[] = { NULL };
static char site[] = "SITE", site_exec[] = "SITE EXEC", site_chmod[] = "SITE CHMOD";
static char *no_site_exec[] = { site_exec, NULL };
static char *no_site[] = { site, NULL };
static char *site_chmod_only[] = { retr, site_chmod, NULL };

static const struct policy open_policy = { .name = "open" };
static const struct policy passing = { .name = "passing", .pass_unknown_commands = true };
static const struct policy denying = { .name = "denying", .deny_commands = no_writes };
static const struct policy allowing = { .name = "allowing", .allow_commands = only_reads };
static const struct policy both = { .name = "both",
	                            .deny_commands = no_writes,
	                            .allow_commands = only_reads };
static const struct policy frob_only = { .name = "frob_only",
	                                 .pass_unknown_commands = true,
	                                 .allow_commands = only_frob };
static const struct policy frobless = { .name = "frobless",
	                                .pass_unknown_commands = true,
	                                .deny_commands = no_frob };
static const struct policy closed = { .name = "closed", .deny_commands = no_logon };
static const struct policy no_exec = { .name = "no_exec", .deny_commands = no_site_exec };
static const struct policy siteless = { .name = "siteless", .deny_commands = no_site };
static const struct policy chmod_only = { .name = "chmod_only", .allow_commands = site_chmod_only };
static const struct policy mute = { .name = "mute", .allow_commands = nothing };

#define ALLOWED 0

// clang-format off
static const struct {
	const struct policy *policy;
	enum session_phase phase;
	const char *line;
	int code; /* ALLOWED, or of the refusal */
	bool denied;
} cases[] = {
	/* unknown verbs */
	{ &open_policy, PHASE_GREETED, "GET / HTTP/1.1", 500, false },
	{ &open_policy, PHASE_READY, "FROB", 500, false },
	{ &open_policy, PHASE_READY, "", 500, false },
	{ &open_policy, PHASE_READY, " PWD", 500, false },
	{ &passing, PHASE_READY, "FROB it", ALLOWED, false },
	{ &passing, PHASE_READY, "FROB", ALLOWED, false },
	{ &passing, PHASE_GREETED, "FROB it", 530, false },
	{ &frobless, PHASE_READY, "frob it", 550, true },
	{ &frobless, PHASE_READY, "FROBS it", ALLOWED, false },
	{ &frobless, PHASE_GREETED, "frob it", 530, false },
	{ &frob_only, PHASE_READY, "Frob it", ALLOWED, false },
	{ &frob_only, PHASE_READY, "XYZZ", 550, true },

	/* verbs that would break the relay, in any phase, whatever the lists say */
	{ &open_policy, PHASE_READY, "LPRT 4,4,1,2,3,4,2,5,6", 502, false },
	{ &open_policy, PHASE_GREETED, "LPSV", 502, false },
	{ &passing, PHASE_READY, "LPSV", 502, false },
	{ &allowing, PHASE_READY, "LPSV", 502, false },

	/* out of order */
	{ &open_policy, PHASE_GREETED, "HOST ftp.example.net", ALLOWED, false },
	{ &open_policy, PHASE_READY, "HOST ftp.example.net", 503, false },
	{ &open_policy, PHASE_READY, "HOST", 503, false },
	{ &open_policy, PHASE_GREETED, "PWD", 530, false },
	{ &open_policy, PHASE_GREETED, "RETR", 530, false },
	{ &open_policy, PHASE_GREETED, "ABOR", 530, false },
	{ &open_policy, PHASE_GREETED, "PASV", 530, false },
	{ &denying, PHASE_GREETED, "DELE x", 530, false },
	{ &open_policy, PHASE_GREETED, "USER joe", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "FEAT", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "NOOP", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "AUTH TLS", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "QUIT", ALLOWED, false },
	{ &open_policy, PHASE_READY, "USER joe", ALLOWED, false },

	/* arguments */
	{ &open_policy, PHASE_GREETED, "USER", 501, false },
	{ &open_policy, PHASE_GREETED, "USER ", 501, false },
	{ &open_policy, PHASE_GREETED, "USER  ", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "PASS", ALLOWED, false },
	{ &open_policy, PHASE_GREETED, "PASS ", ALLOWED, false },
	{ &open_policy, PHASE_READY, "PWD", ALLOWED, false },
	{ &open_policy, PHASE_READY, "PWD ", ALLOWED, false },
	{ &open_policy, PHASE_READY, "PWD x", 501, false },
	{ &open_policy, PHASE_READY, "PASV now", 501, false },
	{ &open_policy, PHASE_READY, "LIST", ALLOWED, false },
	{ &open_policy, PHASE_READY, "LIST -la", ALLOWED, false },
	{ &open_policy, PHASE_READY, "RETR", 501, false },
	{ &open_policy, PHASE_READY, "RETR ", 501, false },
	{ &open_policy, PHASE_READY, "RETR  ", ALLOWED, false },
	{ &open_policy, PHASE_READY, "retr x", ALLOWED, false },
	{ &open_policy, PHASE_READY, "QUIT now", 501, false },
	{ &denying, PHASE_READY, "DELE", 501, false },

	/* deny lists, with the X-verbs of RFC 775 */
	{ &denying, PHASE_READY, "DELE x", 550, true },
	{ &denying, PHASE_READY, "dele x", 550, true },
	{ &denying, PHASE_READY, "CWD x", 550, true },
	{ &denying, PHASE_READY, "XCWD x", 550, true },
	{ &denying, PHASE_READY, "CDUP", ALLOWED, false },
	{ &denying, PHASE_READY, "XCUP", ALLOWED, false },
	{ &denying, PHASE_READY, "XMKD x", 550, true },
	{ &denying, PHASE_READY, "MKD x", ALLOWED, false },
	{ &denying, PHASE_READY, "RETR x", ALLOWED, false },
	{ &denying, PHASE_READY, "QUIT", ALLOWED, false },
	{ &closed, PHASE_GREETED, "AUTH TLS", 550, true },
	{ &closed, PHASE_GREETED, "USER joe", 550, true },

	/* allow lists */
	{ &allowing, PHASE_READY, "RETR x", ALLOWED, false },
	{ &allowing, PHASE_READY, "CWD x", ALLOWED, false },
	{ &allowing, PHASE_READY, "XCWD x", ALLOWED, false },
	{ &allowing, PHASE_READY, "XPWD", ALLOWED, false },
	{ &allowing, PHASE_READY, "STOR x", 550, true },
	{ &allowing, PHASE_READY, "XMKD x", 550, true },
	{ &allowing, PHASE_READY, "NOOP", 550, true },
	{ &allowing, PHASE_READY, "QUIT", ALLOWED, false },
	{ &allowing, PHASE_GREETED, "USER joe", ALLOWED, false },
	{ &allowing, PHASE_GREETED, "PASS x", ALLOWED, false },
	{ &allowing, PHASE_GREETED, "ACCT x", ALLOWED, false },
	{ &allowing, PHASE_GREETED, "HOST x", ALLOWED, false },
	{ &allowing, PHASE_GREETED, "AUTH TLS", ALLOWED, false },
	{ &allowing, PHASE_READY, "PBSZ 0", ALLOWED, false },
	{ &allowing, PHASE_READY, "PROT P", ALLOWED, false },
	{ &both, PHASE_READY, "CWD x", 550, true },
	{ &both, PHASE_READY, "RETR x", ALLOWED, false },
	{ &both, PHASE_READY, "STOR x", 550, true },
	{ &mute, PHASE_READY, "RETR x", 550, true },
	{ &mute, PHASE_READY, "QUIT", ALLOWED, false },

	/* commands behind SITE, however they are spelt */
	{ &no_exec, PHASE_READY, "SITE EXEC ls", 550, true },
	{ &no_exec, PHASE_READY, "site exec", 550, true },
	{ &no_exec, PHASE_READY, "SITE   Exec ls", 550, true },
	{ &no_exec, PHASE_READY, "SITE \tEXEC\tls", 550, true },
	{ &no_exec, PHASE_READY, "SITE \"EXEC\" ls", 550, true },
	{ &no_exec, PHASE_READY, "SITE E\\XEC ls", 550, true },
	{ &no_exec, PHASE_READY, "SITE EXECUTE ls", ALLOWED, false },
	{ &no_exec, PHASE_READY, "SITE CHMOD 644 EXEC", ALLOWED, false },
	{ &no_exec, PHASE_READY, "SITE  ", ALLOWED, false },
	{ &no_exec, PHASE_READY, "SITE", 501, false },
	{ &no_exec, PHASE_READY, "DELE SITE EXEC", ALLOWED, false },
	{ &siteless, PHASE_READY, "SITE CHMOD 644 x", 550, true },
	{ &chmod_only, PHASE_READY, "SITE CHMOD 644 x", ALLOWED, false },
	{ &chmod_only, PHASE_READY, "site  chmod 644 x", ALLOWED, false },
	{ &chmod_only, PHASE_READY, "SITE EXEC ls", 550, true },
	{ &chmod_only, PHASE_READY, "SITE \"CHMOD\" 644 x", 550, true },
	{ &open_policy, PHASE_READY, "SITE \"EXEC\" ls", ALLOWED, false },
};
// clang-format on

START_TEST(each_command_gets_its_verdict)
{
	struct command command = command_parse(span_of(cases[_i].line));
	struct verdict v = policy_command(cases[_i].policy, cases[_i].phase, &command);
	bool allowed = cases[_i].code == ALLOWED;

	ck_assert_msg((v.kind == VERDICT_ALLOW) == allowed, "%s: \"%s\"", cases[_i].policy->name,
	              cases[_i].line);
	ck_assert_msg(v.code == cases[_i].code, "%s: \"%s\": %d", cases[_i].policy->name,
	              cases[_i].line, v.code);
	ck_assert_msg(v.denied == cases[_i].denied, "%s: \"%s\"", cases[_i].policy->name,
	              cases[_i].line);
	ck_assert_int_eq(v.counts_as_error, !allowed);
	if (allowed)
		return;
	ck_assert_uint_gt(strlen(v.text), 10);
	ck_assert_int_eq(v.text[strlen(v.text) - 1], '.');
	ck_assert_ptr_null(strpbrk(v.text, "\r\n"));
}
END_TEST

START_TEST(texts_name_the_verb_and_never_echo_the_client)
{
	struct command command = command_parse(span_of("RETR"));
	struct verdict v = policy_command(&open_policy, PHASE_READY, &command);

	ck_assert_str_eq(v.text, "RETR needs an argument.");
	command = command_parse(span_of("\x1b[2Jevil"));
	v = policy_command(&open_policy, PHASE_READY, &command);
	ck_assert_str_eq(v.text, "Command not understood.");
	command = command_parse(span_of("frob\x1b[2Jevil"));
	v = policy_command(&frob_only, PHASE_READY, &command);
	ck_assert_str_eq(v.text, "Command is denied by policy.");
}
END_TEST

// clang-format off
static const struct {
	enum verb verb;
	bool useful;
	bool transfer;
} activity[] = {
	{ VERB_NOOP, false, false }, { VERB_STAT, false, false }, { VERB_PWD, false, false },
	{ VERB_XPWD, false, false }, { VERB_TYPE, false, false }, { VERB_REST, false, false },
	{ VERB_PASV, false, false }, { VERB_FEAT, false, false }, { VERB_UNKNOWN, false, false },
	{ VERB_CWD, true, false },   { VERB_DELE, true, false },  { VERB_SITE, true, false },
	{ VERB_USER, true, false },  { VERB_RETR, true, true },	  { VERB_STOR, true, true },
	{ VERB_LIST, true, true },   { VERB_MLSD, true, true },	  { VERB_APPE, true, true },
	{ VERB_STOU, true, true },   { VERB_NLST, true, true },	  { VERB_THMB, true, true },
};
// clang-format on

START_TEST(activity_is_what_idle_resets_says)
{
	struct policy p = { .idle_resets = IDLE_RESETS_ANY };

	ck_assert(policy_is_activity(&p, activity[_i].verb));
	p.idle_resets = IDLE_RESETS_USEFUL;
	ck_assert(policy_is_activity(&p, activity[_i].verb) == activity[_i].useful);
	p.idle_resets = IDLE_RESETS_TRANSFER;
	ck_assert(policy_is_activity(&p, activity[_i].verb) == activity[_i].transfer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command");
	TCase *tc = tcase_create("command");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, each_command_gets_its_verdict, 0, SP_ARRAY_LEN(cases));
	tcase_add_test(tc, texts_name_the_verb_and_never_echo_the_client);
	tcase_add_loop_test(tc, activity_is_what_idle_resets_says, 0, SP_ARRAY_LEN(activity));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// SPDX-License-Identifier: ISC
/*
 * What servers say when they refuse a logon: whose fault is it?
 */
#include <check.h>
#include <stdlib.h>

#include "sallyport/logon_answer.h"

#define REFUSED LOGON_ANSWER_REFUSED
#define BUSY	LOGON_ANSWER_BUSY
#define FAILED	LOGON_ANSWER_FAILED

// clang-format off
static const struct {
	int code;
	const char *text;
	enum logon_answer answer;
} answers[] = {
	/* vsftpd */
	{ 421, "421 There are too many connected users, please try later.\r\n", BUSY },
	{ 421, "421 There are too many connections from your internet address.\r\n", BUSY },
	{ 530, "530 Login incorrect.\r\n", REFUSED },
	{ 530, "530 Permission denied.\r\n", REFUSED },
	{ 530, "530 Please login with USER and PASS.\r\n", REFUSED },
	{ 530, "530 This FTP server is anonymous only.\r\n", REFUSED },
	{ 500, "500 OOPS: vsftpd: cannot locate user specified in 'ftp_username':ftp\r\n", REFUSED },
	/* proftpd */
	{ 530, "530 Sorry, the maximum number of clients (2) for this user are already connected.\r\n", BUSY },
	{ 530, "530 Sorry, the maximum number clients (5) from your host are already connected.\r\n", BUSY },
	{ 530, "530 Sorry, the maximum number of allowed clients (30) are already connected.\r\n", BUSY },
	{ 530, "530 Sorry, the maximum number of hosts (2) for this user are already connected.\r\n", BUSY },
	{ 530, "530-A line of text\r\n530 Sorry, the maximum number of users (4) already connected.\r\n", BUSY },
	{ 530, "530 FTP server shut down (going down at 10:00) -- please try again later.\r\n", REFUSED },
	{ 530, "530 Sorry, the server is shutting down.\r\n", BUSY },
	{ 530, "530 Maximum login attempts (3) exceeded, connection refused\r\n", REFUSED },
	/* pure-ftpd */
	{ 421, "421 50 users (the maximum) are already logged in, sorry\r\n", BUSY },
	{ 421, "421 Too many connections (8) from this IP\r\n", BUSY },
	{ 421, "421 I can't accept more than 2 connections as the same user\r\n", BUSY },
	{ 530, "530 Login authentication failed\r\n", REFUSED },
	{ 421, "421 Too many authentication failures\r\n", REFUSED },
	/* IIS */
	{ 421, "421 Maximum clients reached, service unavailable.\r\n", BUSY },
	{ 421, "421 Service not available, remote server has closed connection.\r\n", FAILED },
	{ 530, "530 User cannot log in.\r\n", REFUSED },
	{ 530, "530 User ftp cannot log in, home directory inaccessible.\r\n", REFUSED },
	{ 530, "530-Not logged in: the maximum number of connections has been reached.\r\n530 End\r\n", BUSY },
	/* FileZilla */
	{ 421, "421 Too many users are connected, please try again later.\r\n", BUSY },
	{ 530, "530 Too many users logged in for this account. Try again later.\r\n", BUSY },
	{ 530, "530 Login or password incorrect!\r\n", REFUSED },
	{ 421, "421 Login timeout\r\n", FAILED },
	/* wu-ftpd, tnftpd, glftpd, Serv-U, CrushFTP and the like */
	{ 530, "530-Too many users right now (limit 40).\r\n530 User ftp access denied.\r\n", BUSY },
	{ 530, "530 User ftp access denied, connection limit of 10 reached.\r\n", BUSY },
	{ 530, "530 Sorry, your account is restricted to 2 simultaneous logins.\r\n", BUSY },
	{ 530, "530 Sorry, the SERVER IS FULL!\r\n", BUSY },
	{ 450, "450 User limit reached\r\n", BUSY },
	{ 530, "530 Too many logins for this user\r\n", BUSY },
	{ 530, "530 Too many login failures\r\n", REFUSED },
	{ 530, "530 Too many failed attempts, user is banned\r\n", REFUSED },
	{ 530, "530 Account disabled\r\n", REFUSED },
	{ 530, "530 Password has expired, too many users use it\r\n", REFUSED },
	{ 430, "430 Invalid username or password\r\n", REFUSED },
	{ 530, "530\r\n", REFUSED },
	{ 421, "421\r\n", FAILED },
	{ 530, "530 users, too many\r\n", REFUSED },
	{ 530, "530 too many\r\n", REFUSED },
	{ 530, "530 connection limi", REFUSED },
	{ 421, "", FAILED },
};
// clang-format on

START_TEST(an_answer_is_understood)
{
	ck_assert_msg(logon_answer_of(answers[_i].code, span_of(answers[_i].text)) == answers[_i].answer, "%s",
	              answers[_i].text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("logon_answer");
	TCase *tc = tcase_create("logon_answer");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, an_answer_is_understood, 0, SP_ARRAY_LEN(answers));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

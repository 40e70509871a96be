// SPDX-License-Identifier: ISC
/*
 * The admin socket: its file, and clients that are slow, silent, rude or many.
 */
#include "admin_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "alloc_fail.h"

/* ---- clients
 * ------------------------------------------------------------------------------------- */

START_TEST(commands_behind_one_another_are_answered_in_order)
{
	int fd = dial();

	/* With and without CR, in one piece, the last one without a line end. */
	say(fd, "kick 1\r\nshow stats\nkick 2\naudit\nkick 3");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	struct answer a = read_until(fd, "never");
	ck_assert(a.closed);
	const char *first = strstr(a.p, "no session 0000000000000001");
	const char *stats = strstr(a.p, "uptime_ms");
	const char *second = strstr(a.p, "no session 0000000000000002");
	const char *orphans = strstr(a.p, "findings");
	const char *third = strstr(a.p, "no session 0000000000000003");
	ck_assert_msg(first != NULL && stats > first && second > stats && orphans > second &&
	                  third > orphans,
	              "%s", a.p);
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(a_command_may_come_byte_by_byte)
{
	static const char command[] = "show pools\r\n";
	int fd = dial();
	struct answer a = { NULL, 0, 0, false };

	for (size_t i = 0; i + 1 < sizeof(command); i++) {
		ck_assert_int_eq(send(fd, command + i, 1, 0), 1);
		turn(fd, &a);
	}
	while (!ends_with(&a, ".\n"))
		turn(fd, &a);
	ck_assert_int_eq(strncmp(a.p, "pool\tserver\t", 12), 0);
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(quit_closes_behind_its_answer)
{
	int fd = dial();

	say(fd, "help\nquit\nhelp\n");
	struct answer a = read_until(fd, "never");
	ck_assert(a.closed);
	ck_assert(ends_with(&a, "\n.\n.\n")); /* help's end and quit's, and no second help */
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(a_line_without_an_end_is_refused)
{
	char junk[3000];
	int fd = dial();

	memset(junk, 'x', sizeof(junk) - 1);
	junk[sizeof(junk) - 1] = '\0';
	say(fd, junk);
	struct answer a = read_until(fd, "never");
	ck_assert(a.closed);
	ck_assert_str_eq(a.p, "error: the command is too long\n.\n");
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(a_client_that_vanishes_is_forgotten)
{
	for (uint64_t i = 1; i <= 2000; i++)
		add_session(0, i);
	for (int i = 0; i < 100;
	     i++) { /* more than ADMIN_CLIENTS_MAX: their places are free again */
		struct answer a = { NULL, 0, 0, false };
		int fd = dial();

		say(fd, i % 10 != 0 ? "show sessions\n" : "audit\n");
		turn(fd, &a);
		hang_up(fd);
		turn(-1, &a);
		turn(-1, &a);
		free(a.p);
	}
	char *text = ask("help");
	ck_assert_ptr_nonnull(strstr(text, "show sessions"));
	free(text);
}
END_TEST

START_TEST(a_silent_client_is_closed)
{
	limits.idle_ms = 200;
	admin_stop(&admin);
	start_admin();
	int fd = dial();
	int64_t start_ms = sp_now_ms();
	struct answer a = read_until(fd, "never");
	ck_assert(a.closed);
	ck_assert_int_ge(sp_now_ms() - start_ms, 190);
	ck_assert_uint_eq(a.n, 0);
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_closed)
{
	struct answer a = { NULL, 0, 0, false };
	int64_t deadline_ms = sp_now_ms() + PATIENCE_MS;

	limits.write_ms = 300;
	limits.idle_ms = 100; /* it is not this one that matters while an answer is on its way */
	admin_stop(&admin);
	for (uint64_t i = 1; i <= 5000; i++)
		add_session(0, i);
	start_admin();
	int fd = dial();
	say(fd, "show sessions\n");
	int64_t start_ms = sp_now_ms();
	for (;;) {
		struct timeval t = { .tv_usec = 20000 };
		char byte;

		event_base_loopexit(base, &t);
		event_base_loop(base, 0);
		/* Closed at the other end: what is left can be read, and then comes the end. */
		if (sp_now_ms() - start_ms > 1500)
			break;
		ck_assert_int_eq(recv(fd, &byte, 1, MSG_PEEK), 1);
	}
	while (!a.closed) {
		ck_assert_int_lt(sp_now_ms(), deadline_ms);
		turn(fd, &a);
	}
	ck_assert_uint_lt(a.n, 1000000);
	ck_assert(!ends_with(&a, "\n.\n"));
	free(a.p);
	hang_up(fd);
}
END_TEST

START_TEST(too_many_clients_are_told_so)
{
	int fds[ADMIN_CLIENTS_MAX];
	struct answer a = { NULL, 0, 0, false };

	for (int i = 0; i < ADMIN_CLIENTS_MAX; i++) {
		fds[i] = dial();
		turn(fds[i], &a);
	}
	ck_assert(!a.closed);
	free(a.p);
	int fd = dial();
	a = read_until(fd, "never");
	ck_assert(a.closed);
	ck_assert_str_eq(a.p, "error: too many admin clients\n.\n");
	free(a.p);
	hang_up(fd);
	for (int i = 0; i < ADMIN_CLIENTS_MAX; i++)
		hang_up(fds[i]);
	a = (struct answer){ NULL, 0, 0, false };
	for (int i = 0; i < 3; i++)
		turn(-1, &a);
	free(a.p);
	free(ask("help"));
}
END_TEST

/* ---- the socket
 * ---------------------------------------------------------------------------------- */

START_TEST(the_sockets_file_is_for_its_owner)
{
	struct stat st;

	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_socket_that_is_left_over_is_replaced)
{
	char left_over[128];

	snprintf(left_over, sizeof(left_over), "%s.old", path);
	ck_assert_int_eq(link(path, left_over), 0);
	admin_stop(&admin);
	ck_assert_int_eq(rename(left_over, path), 0); /* nobody answers on it any more */
	start_admin();
	free(ask("help"));
}
END_TEST

START_TEST(a_socket_on_which_somebody_answers_is_not)
{
	char error[ADMIN_ERROR_MAX];

	ck_assert_ptr_null(admin_start(base, &sources, path, NULL, error));
	ck_assert_ptr_nonnull(strstr(error, "somebody answers on it; does another Sallyport run?"));
	free(ask("help")); /* and it still does */
}
END_TEST

START_TEST(what_is_no_socket_is_not_touched)
{
	char error[ADMIN_ERROR_MAX];
	char other[128];
	int fd;

	snprintf(other, sizeof(other), "%s.file", path);
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ne(fd, -1);
	close(fd);
	ck_assert_ptr_null(admin_start(base, &sources, other, NULL, error));
	ck_assert_ptr_nonnull(strstr(error, "exists and is not a socket"));
	ck_assert_int_eq(unlink(other), 0);

	ck_assert_ptr_null(admin_start(base, &sources, "/nowhere/at/all.sock", NULL, error));
	ck_assert_str_eq(error, "admin socket /nowhere/at/all.sock: No such file or directory");
	char longer[200];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_ptr_null(admin_start(base, &sources, longer, NULL, error));
	ck_assert_ptr_nonnull(strstr(error, "longer than 107 bytes"));
}
END_TEST

START_TEST(a_file_that_another_has_put_there_is_not_removed)
{
	char moved[128];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(moved, sizeof(moved), "%s.moved", path);
	ck_assert_int_eq(rename(path, moved), 0);
	sp_copy(address.sun_path, sizeof(address.sun_path), path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	admin_stop(&admin);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(unlink(moved), 0);
	close(fd);
}
END_TEST

START_TEST(without_memory_it_does_not_start)
{
	char error[ADMIN_ERROR_MAX];

	admin_stop(&admin);
	for (unsigned n = 1;; n++) {
		alloc_fail_at(n);
		admin = admin_start(base, &sources, path, NULL, error);
		bool hit = alloc_has_failed();
		alloc_fail_at(0);
		if (!hit)
			break;
		ck_assert_ptr_null(admin);
		ck_assert_int_eq(access(path, F_OK), -1);
	}
	ck_assert_ptr_nonnull(admin);
}
END_TEST

START_TEST(descriptors_of_the_admin_are_noted_as_the_process_own)
{
	int fds[4];
	struct answer a = { NULL, 0, 0, false };

	for (int i = 0; i < 4; i++) {
		fds[i] = dial();
		turn(fds[i], &a);
	}
	say(fds[0], "show orphans --now json\n");
	while (!ends_with(&a, "}\n"))
		turn(fds[0], &a);
	json_t *json = json_loadb(a.p, a.n, 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "findings")), 0);
	json_decref(json);
	free(a.p);
	for (int i = 0; i < 4; i++)
		hang_up(fds[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admin");
	TCase *tcase = tcase_create("admin");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, commands_behind_one_another_are_answered_in_order);
	tcase_add_test(tcase, a_command_may_come_byte_by_byte);
	tcase_add_test(tcase, quit_closes_behind_its_answer);
	tcase_add_test(tcase, a_line_without_an_end_is_refused);
	tcase_add_test(tcase, a_client_that_vanishes_is_forgotten);
	tcase_add_test(tcase, a_silent_client_is_closed);
	tcase_add_test(tcase, a_client_that_does_not_read_is_closed);
	tcase_add_test(tcase, too_many_clients_are_told_so);
	tcase_add_test(tcase, the_sockets_file_is_for_its_owner);
	tcase_add_test(tcase, a_socket_that_is_left_over_is_replaced);
	tcase_add_test(tcase, a_socket_on_which_somebody_answers_is_not);
	tcase_add_test(tcase, what_is_no_socket_is_not_touched);
	tcase_add_test(tcase, a_file_that_another_has_put_there_is_not_removed);
	tcase_add_test(tcase, without_memory_it_does_not_start);
	tcase_add_test(tcase, descriptors_of_the_admin_are_noted_as_the_process_own);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

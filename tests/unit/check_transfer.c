// SPDX-License-Identifier: ISC
/*
 * How transfers end: the table row by row, and the law that a truncated file
 * never looks complete over every combination.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/transfer.h"

#define SERVERS_OWN (-1)

// clang-format off
static const struct {
	enum data_end data;
	int server_code;
	int code; /* SERVERS_OWN: passed on */
	bool ok;
} rows[] = {
	{ DATA_COMPLETE, 226, SERVERS_OWN, true },
	{ DATA_COMPLETE, 250, SERVERS_OWN, true },
	{ DATA_COMPLETE, 200, SERVERS_OWN, true },
	{ DATA_COMPLETE, 299, SERVERS_OWN, true },
	{ DATA_COMPLETE, 0, 451, false },
	{ DATA_COMPLETE, 150, 451, false },
	{ DATA_COMPLETE, 350, 451, false },
	{ DATA_COMPLETE, 631, 451, false },
	{ DATA_COMPLETE, 400, SERVERS_OWN, false },
	{ DATA_COMPLETE, 426, SERVERS_OWN, false },
	{ DATA_COMPLETE, 451, SERVERS_OWN, false },
	{ DATA_COMPLETE, 452, SERVERS_OWN, false },
	{ DATA_COMPLETE, 552, SERVERS_OWN, false },
	{ DATA_COMPLETE, 599, SERVERS_OWN, false },

	{ DATA_NEVER_STARTED, 226, 425, false },
	{ DATA_NEVER_STARTED, 0, 425, false },
	{ DATA_NEVER_STARTED, 550, SERVERS_OWN, false },
	{ DATA_NEVER_STARTED, 450, SERVERS_OWN, false },
	{ DATA_NEVER_STARTED, 421, SERVERS_OWN, false },

	{ DATA_SOURCE_FAILED, 226, 426, false },
	{ DATA_SOURCE_FAILED, 0, 426, false },
	{ DATA_SOURCE_FAILED, 451, SERVERS_OWN, false },
	{ DATA_SINK_FAILED, 226, 426, false },
	{ DATA_SINK_FAILED, 0, 426, false },
	{ DATA_SINK_FAILED, 552, SERVERS_OWN, false },

	{ DATA_STALLED, 226, 426, false },
	{ DATA_STALLED, 0, 426, false },
	{ DATA_STALLED, 426, SERVERS_OWN, false },
	{ DATA_ABORTED, 226, 426, false },
	{ DATA_ABORTED, 0, 426, false },
	{ DATA_ABORTED, 426, SERVERS_OWN, false },

	{ DATA_CLIENT_NO_SHOW, 226, 425, false },
	{ DATA_CLIENT_NO_SHOW, 0, 425, false },
	{ DATA_CLIENT_NO_SHOW, 425, SERVERS_OWN, false },
	{ DATA_SERVER_NO_SHOW, 226, 425, false },
	{ DATA_SERVER_NO_SHOW, 0, 425, false },
	{ DATA_SERVER_NO_SHOW, 550, SERVERS_OWN, false },

	{ DATA_LOCAL_ERROR, 226, 425, false },
	{ DATA_LOCAL_ERROR, 0, 425, false },
	{ DATA_LOCAL_ERROR, 426, SERVERS_OWN, false },
	{ DATA_TLS_CLIENT, 226, 522, false },
	{ DATA_TLS_CLIENT, 0, 522, false },
	{ DATA_TLS_CLIENT, 426, SERVERS_OWN, false },
	{ DATA_TLS_SERVER, 226, 425, false },
	{ DATA_TLS_SERVER, 0, 425, false },
	{ DATA_TLS_SERVER, 522, SERVERS_OWN, false },
	{ DATA_TLS_FOREIGN, 226, 522, false },
	{ DATA_TLS_FOREIGN, 0, 522, false },
	{ DATA_TLS_FOREIGN, 451, SERVERS_OWN, false },
};
// clang-format on

START_TEST(each_row_in_both_directions_told_or_not)
{
	for (int i = 0; i < 4; i++) {
		struct transfer_outcome o = {
			.direction = (i & 1) != 0 ? TRANSFER_UP : TRANSFER_DOWN,
			.data = rows[_i].data,
			.client_told = (i & 2) != 0,
			.server_code = rows[_i].server_code,
		};
		struct transfer_reply r = transfer_reply_for(&o);

		ck_assert_msg(r.from_server == (rows[_i].code == SERVERS_OWN), "%s %d",
		              data_end_name(o.data), o.server_code);
		ck_assert_msg(r.ok == rows[_i].ok, "%s %d", data_end_name(o.data), o.server_code);
		if (r.from_server)
			continue;
		ck_assert_msg(r.code == rows[_i].code, "%s %d: %d", data_end_name(o.data),
		              o.server_code, r.code);
		ck_assert_ptr_nonnull(r.text);
		ck_assert_uint_gt(strlen(r.text), 10);
		ck_assert_ptr_null(strpbrk(r.text, "\r\n"));
	}
}
END_TEST

/* Over everything that can be: positive only when all bytes arrived and the server says so. */
START_TEST(a_truncated_file_never_looks_complete)
{
	int positive = 0;

	for (int data = DATA_NEVER_STARTED; data <= DATA_TLS_FOREIGN; data++) {
		for (int code = 0; code < 660; code++) {
			struct transfer_outcome o = { TRANSFER_DOWN, (enum data_end)data, true,
				                      code };
			struct transfer_reply r = transfer_reply_for(&o);
			int told = r.from_server ? code : r.code;

			ck_assert_int_ge(told, 200);
			ck_assert_int_lt(told, 600);
			if (told >= 300) {
				ck_assert_int_ge(told, 400);
				ck_assert(!r.ok);
				continue;
			}
			positive++;
			ck_assert(r.ok);
			ck_assert(r.from_server);
			ck_assert_int_eq(data, DATA_COMPLETE);
		}
	}
	ck_assert_int_eq(positive, 100);
}
END_TEST

START_TEST(the_text_says_which_side_failed)
{
	struct transfer_outcome down = { TRANSFER_DOWN, DATA_SOURCE_FAILED, true, 0 };
	struct transfer_outcome up = { TRANSFER_UP, DATA_SOURCE_FAILED, true, 0 };

	ck_assert_ptr_nonnull(strstr(transfer_reply_for(&down).text, "server"));
	ck_assert_ptr_nonnull(strstr(transfer_reply_for(&up).text, "Your"));
	down.data = up.data = DATA_SINK_FAILED;
	ck_assert_ptr_nonnull(strstr(transfer_reply_for(&down).text, "Your"));
	ck_assert_ptr_nonnull(strstr(transfer_reply_for(&up).text, "server"));
	down.data = DATA_STALLED;
	ck_assert_ptr_nonnull(strstr(transfer_reply_for(&down).text, "stall_timeout"));
}
END_TEST

START_TEST(ends_have_names_of_their_own)
{
	for (int a = DATA_NEVER_STARTED; a <= DATA_TLS_FOREIGN; a++) {
		for (int b = DATA_NEVER_STARTED; b < a; b++)
			ck_assert_str_ne(data_end_name((enum data_end)a),
			                 data_end_name((enum data_end)b));
	}
	ck_assert_str_eq(data_end_name(DATA_COMPLETE), "complete");
	ck_assert_str_eq(data_end_name(DATA_TLS_SERVER), "tls_server");
	ck_assert_str_eq(data_end_name(DATA_TLS_FOREIGN), "tls_foreign");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transfer");
	TCase *tc = tcase_create("transfer");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, each_row_in_both_directions_told_or_not, 0, SP_ARRAY_LEN(rows));
	tcase_add_test(tc, a_truncated_file_never_looks_complete);
	tcase_add_test(tc, the_text_says_which_side_failed);
	tcase_add_test(tc, ends_have_names_of_their_own);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

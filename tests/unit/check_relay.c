// SPDX-License-Identifier: ISC
/*
 * The relay's splicing, with a kernel that does as it is told: relay.c is
 * included. What real sockets do with it is shown elsewhere.
 */
#include "net_test.h"

#include "sallyport/socket_calls.h"

#define PIECE (64 * 1024)
#define PUMP  (4 * 1024 * 1024) /* what one call moves at most */

static int from_fd, to_fd;
static size_t has_come, has_gone;
static size_t file_size;   /* what comes in all */
static size_t first_short; /* splice out of what begins here: half of it */

static ssize_t told_splice(int in, int out, size_t n, unsigned flags)
{
	size_t some;

	(void)flags;
	if (in == from_fd) {
		some = file_size - has_come < PIECE ? file_size - has_come : PIECE;
		ck_assert_uint_le(some, n);
		has_come += some;
		return (ssize_t)some;
	}
	ck_assert_int_eq(out, to_fd);
	some = has_gone == first_short ? n / 2 : n;
	has_gone += some;
	return (ssize_t)some;
}

#define sp_splice told_splice
#include "../../proxy/ftp/relay.c"
#undef sp_splice

static struct loop loop;
static struct counters counters;
static struct stream near_source, near_sink;

static void on_near(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
}

static const struct {
	size_t size, first_short;
	int calls; /* of relay_pump() until it is over */
} files[] = {
	{ 0, SIZE_MAX, 1 },
	{ 1, SIZE_MAX, 1 },
	{ PIECE, SIZE_MAX, 1 },
	{ PIECE, 0, 1 },
	{ PUMP - 1, SIZE_MAX, 1 },
	{ PUMP, SIZE_MAX, 2 },
	/* The end is seen before the last bytes go, and with these the call is over. */
	{ PUMP, PUMP - PIECE, 1 },
	{ PUMP + 1, PUMP - PIECE, 2 },
	{ 3 * PUMP, 3 * PUMP - PIECE, 3 },
};

START_TEST(a_file_that_has_gone_is_complete)
{
	struct relay relay;
	enum relay_state state = RELAY_RUNNING;
	int their_source, their_sink, calls = 0;

	loop.base = test_base;
	loop.counters = &counters;
	pipe_pool_init(&loop.pipes, 1);
	pacer_init(&loop.pacer, test_base, &counters);
	tcp_pair(&from_fd, &their_source);
	tcp_pair(&to_fd, &their_sink);
	stream_open(&near_source, test_base, from_fd, &test_ledger, LEDGER_DATA_FD, test_id, SP_HERE, on_near, NULL);
	stream_open(&near_sink, test_base, to_fd, &test_ledger, LEDGER_DATA_FD, test_id, SP_HERE, on_near, NULL);
	has_come = has_gone = 0;
	file_size = files[_i].size;
	first_short = files[_i].first_short;
	relay_init(&relay);
	relay_start(&relay, &loop, &near_source, &near_sink, &test_ledger, test_id);
	while (state == RELAY_RUNNING && calls < 10) {
		state = relay_pump(&relay);
		calls++;
		/* Who still runs waits for something. */
		ck_assert(state != RELAY_RUNNING || near_source.watched != 0 || near_sink.watched != 0);
	}
	ck_assert_int_eq(state, RELAY_COMPLETE);
	ck_assert_int_eq(calls, files[_i].calls);
	ck_assert_uint_eq(relay.moved, file_size);
	ck_assert_uint_eq(has_gone, file_size);
	stream_close(&near_source);
	stream_close(&near_sink);
	close(their_source);
	close(their_sink);
	pacer_fini(&loop.pacer);
	pipe_pool_fini(&loop.pipes);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, a_file_that_has_gone_is_complete, 0, (int)SP_ARRAY_LEN(files));
}

int main(void)
{
	return net_test_run("relay", add_tests);
}

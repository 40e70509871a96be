// SPDX-License-Identifier: ISC
/*
 * The pace of fast sources: which mark a rate gives, that the kernel then keeps
 * quiet about less, and that what rests below the mark of a source that has
 * stopped, or ended, is reported all the same. pace.c is included, so that the
 * kernel can be said to have given a buffer that only much traffic brings.
 */
#include "net_test.h"

static int given_buffer;

static int told_getsockopt(int fd, int level, int option, void *value, socklen_t *n)
{
	int rc = getsockopt(fd, level, option, value, n);

	if (rc == 0 && option == SO_RCVBUF)
		*(int *)value = given_buffer;
	return rc;
}

#define getsockopt told_getsockopt
#include "../../proxy/net/pace.c"
#undef getsockopt

#define MIB UINT64_C(1048576)
#define BIG (8 * 1024 * 1024)

static struct counters counters;
static struct pacer pacer;
static struct pace pace;
static int ours, theirs;
static int reports;

static void begin(void)
{
	pacer_init(&pacer, test_base, &counters);
	given_buffer = BIG;
	tcp_pair(&ours, &theirs);
	pace_begin(&pace, ours);
	reports = 0;
}

static void end(void)
{
	pace_end(&pace);
	pacer_fini(&pacer);
	close(ours);
	close(theirs);
}

static int mark_of_the_kernel(void)
{
	int mark = 0;
	socklen_t n = sizeof(mark);

	ck_assert_int_eq(getsockopt(ours, SOL_SOCKET, SO_RCVLOWAT, &mark, &n), 0);
	return mark;
}

static void on_readable(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg SP_UNUSED)
{
	reports++;
}

/* So much in one turn that it is fast, however late the turn ends. */
static void be_fast(void)
{
	pace_note(&pacer, &pace, pace.moved + PACE_START, sp_now_ms());
	ck_assert(pace.watched);
	pace_note(&pacer, &pace, pace.moved + (MIB << 20), sp_now_ms());
}

static const struct {
	uint64_t came;
	int64_t elapsed_ms;
	int buffer;
	int mark;
} rates[] = {
	{ 0, 10, BIG, 0 },
	{ 0, 1, BIG, 0 },
	{ 32 * 1024 * 10 - 10, 10, BIG, 0 },
	{ 32 * 1024 * 10, 10, BIG, PACE_MARK_MIN },
	{ 64 * 1024 * 10 - 10, 10, BIG, PACE_MARK_MIN },
	{ 64 * 1024 * 10, 10, BIG, 2 * PACE_MARK_MIN },
	{ MIB, 1, BIG, PACE_MARK_MAX },
	{ MIB, 10, BIG, 2 * PACE_MARK_MIN },
	{ MIB, 100, BIG, 0 },
	{ 100 * MIB, 10, BIG, PACE_MARK_MAX },
	{ UINT64_MAX, INT64_MAX, BIG, 0 },
	{ UINT64_MAX / PACE_GATHER_MS, 1, BIG, PACE_MARK_MAX },
	{ 100 * MIB, 10, 8 * PACE_MARK_MAX - 1, PACE_MARK_MAX / 2 },
	{ 100 * MIB, 10, 8 * PACE_MARK_MIN, PACE_MARK_MIN },
	{ 100 * MIB, 10, 8 * PACE_MARK_MIN - 1, 0 },
	{ 100 * MIB, 10, 0, 0 },
};

START_TEST(a_rate_gives_a_mark)
{
	ck_assert_int_eq(pace_mark(rates[_i].came, rates[_i].elapsed_ms, rates[_i].buffer), rates[_i].mark);
}
END_TEST

START_TEST(a_small_file_is_never_looked_at)
{
	begin();
	pace_note(&pacer, &pace, PACE_START - 1, sp_now_ms());
	ck_assert(!pace.watched);
	ck_assert(!evtimer_pending(&pacer.on_turn, NULL));
	ck_assert_int_eq(mark_of_the_kernel(), 1);
	end();
}
END_TEST

START_TEST(a_fast_source_is_reported_by_the_mark_and_at_the_end_of_a_turn_at_the_latest)
{
	struct event readable;
	char bytes[1000] = { 0 };

	begin();
	be_fast();
	RUN_UNTIL(mark_of_the_kernel() == PACE_MARK_MAX);
	ck_assert_uint_eq(atomic_load(&counters.value[COUNT_SOURCES_PACED]), 1);
	ck_assert_int_eq(write(theirs, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	ck_assert(!peer_is_readable(ours));
	event_assign(&readable, test_base, ours, EV_READ, on_readable, NULL);
	ck_assert_int_eq(event_add(&readable, NULL), 0);
	RUN_UNTIL(reports == 1);
	ck_assert_int_eq(mark_of_the_kernel(), 1);
	ck_assert(!pace.watched);
	RUN_UNTIL(!evtimer_pending(&pacer.on_turn, NULL));
	end();
}
END_TEST

START_TEST(the_end_of_a_stream_is_reported_at_once)
{
	struct pollfd look = { .events = POLLIN };
	char bytes[10] = { 0 };

	begin();
	look.fd = ours;
	be_fast();
	RUN_UNTIL(mark_of_the_kernel() == PACE_MARK_MAX);
	ck_assert_int_eq(write(theirs, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	ck_assert(!peer_is_readable(ours));
	ck_assert_int_eq(shutdown(theirs, SHUT_WR), 0);
	/* The loop does not run meanwhile, so the mark stays. */
	ck_assert_int_eq(poll(&look, 1, NET_TEST_PATIENCE_MS), 1);
	ck_assert_int_eq(mark_of_the_kernel(), PACE_MARK_MAX);
	end();
}
END_TEST

START_TEST(who_was_slow_is_looked_at_again_when_it_is_fast)
{
	begin();
	pace_note(&pacer, &pace, PACE_START, sp_now_ms());
	ck_assert(pace.watched);
	RUN_UNTIL(!pace.watched);
	ck_assert_int_eq(mark_of_the_kernel(), 1);
	pace_note(&pacer, &pace, pace.moved + PACE_START - 1, sp_now_ms());
	ck_assert(!pace.watched);
	be_fast();
	RUN_UNTIL(mark_of_the_kernel() == PACE_MARK_MAX);
	end();
}
END_TEST

START_TEST(one_that_ends_leaves_the_others_alone)
{
	struct pace other;
	int other_ours, other_theirs;

	begin();
	tcp_pair(&other_ours, &other_theirs);
	pace_begin(&other, other_ours);
	be_fast();
	pace_note(&pacer, &other, PACE_START, sp_now_ms());
	ck_assert(other.watched);
	pace_end(&other);
	pace_end(&other);
	close(other_ours);
	close(other_theirs);
	RUN_UNTIL(mark_of_the_kernel() == PACE_MARK_MAX);
	end();
}
END_TEST

START_TEST(a_mark_leaves_most_of_the_window_open)
{
	begin();
	given_buffer = 8 * PACE_MARK_MIN;
	be_fast();
	RUN_UNTIL(mark_of_the_kernel() == PACE_MARK_MIN);
	end();
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, a_rate_gives_a_mark, 0, (int)SP_ARRAY_LEN(rates));
	tcase_add_test(tests, a_small_file_is_never_looked_at);
	tcase_add_test(tests, a_fast_source_is_reported_by_the_mark_and_at_the_end_of_a_turn_at_the_latest);
	tcase_add_test(tests, a_mark_leaves_most_of_the_window_open);
	tcase_add_test(tests, the_end_of_a_stream_is_reported_at_once);
	tcase_add_test(tests, who_was_slow_is_looked_at_again_when_it_is_fast);
	tcase_add_test(tests, one_that_ends_leaves_the_others_alone);
}

int main(void)
{
	return net_test_run("pace", add_tests);
}

// SPDX-License-Identifier: ISC
/* The outgoing half of a control channel over a stream that does as it is told. */
#include "net_test.h"

#include "sallyport/control.h"

static struct control control;
static ssize_t results[4]; /* of the writes; more than there is: all of it */
static int writes;

static ssize_t told_write(struct stream *s SP_UNUSED, const void *from SP_UNUSED, size_t n)
{
	ssize_t result = results[writes++];

	return result > (ssize_t)n ? (ssize_t)n : result;
}

static void on_ready(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
}

static struct stream_ops ops;

static int begin(void)
{
	int ours, theirs;

	control_init(&control);
	tcp_pair(&ours, &theirs);
	stream_open(&control.stream, test_base, ours, &test_ledger, LEDGER_CONTROL_FD, test_id, SP_HERE, on_ready, NULL);
	ops = *control.stream.ops;
	ops.write = told_write;
	control.stream.ops = &ops;
	writes = 0;
	ck_assert(control_send(&control, span_of("220 ready\r\n")));
	return theirs;
}

static void end(int theirs)
{
	stream_close(&control.stream);
	control_fini(&control);
	close(theirs);
}

START_TEST(what_does_not_fit_is_kept_and_written_later)
{
	int theirs = begin();

	results[0] = 4;
	results[1] = -EAGAIN;
	results[2] = 1000;
	ck_assert_int_eq(control_flush(&control), -EAGAIN);
	ck_assert_uint_eq(control_pending(&control).n, 7);
	ck_assert_int_eq(memcmp(control_pending(&control).p, "ready\r\n", 7), 0);
	ck_assert_int_eq(control_flush(&control), 0);
	ck_assert_uint_eq(control_pending(&control).n, 0);
	end(theirs);
}
END_TEST

START_TEST(what_broke_it_is_said_as_often_as_it_is_asked)
{
	int theirs = begin();

	results[0] = -ETIMEDOUT;
	results[1] = -EPIPE; /* as the kernel does */
	ck_assert_int_eq(control_flush(&control), -ETIMEDOUT);
	ck_assert_int_eq(control_flush(&control), -ETIMEDOUT);
	ck_assert_int_eq(writes, 1);
	end(theirs);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, what_does_not_fit_is_kept_and_written_later);
	tcase_add_test(tests, what_broke_it_is_said_as_often_as_it_is_asked);
}

int main(void)
{
	return net_test_run("control", add_tests);
}

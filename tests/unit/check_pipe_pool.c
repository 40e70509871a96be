// SPDX-License-Identifier: ISC
/*
 * The pipe pool: what is kept and what is not, what grows, and a kernel that
 * gives less than was wished. pipe_pool.c is included, so that it can refuse.
 */
#include "net_test.h"

#include <sys/resource.h>

static int refuse_above = INT32_MAX; /* F_SETPIPE_SZ of more gives EPERM */
static int made_size;		     /* what a new pipe is said to hold; 0: the truth */
static int resizes;

static int limited_fcntl(int fd, int command, int argument)
{
	if (command == F_SETPIPE_SZ) {
		resizes++;
		if (argument > refuse_above) {
			errno = EPERM;
			return -1;
		}
	}
	if (command == F_GETPIPE_SZ && made_size != 0)
		return made_size;
	return fcntl(fd, command, argument);
}

#define fcntl(fd, ...) limited_fcntl(fd, SP_FCNTL_ARGS(__VA_ARGS__, 0, 0))
#define SP_FCNTL_ARGS(command, argument, ...) command, argument
#include "../../proxy/net/pipe_pool.c"
#undef fcntl

static struct pipe_pool pool;
static size_t descriptors_before;

static void get(struct pipe_pair *pair)
{
	ck_assert_int_eq(pipe_pool_get(&pool, pair, &test_ledger, test_id), 0);
}

static void begin(void)
{
	pipe_pool_init(&pool, 1);
	descriptors_before = open_descriptors();
}

static void end(void)
{
	pipe_pool_fini(&pool);
	ck_assert_uint_eq(open_descriptors(), descriptors_before);
}

START_TEST(a_pipe_is_usable_and_counted)
{
	struct pipe_pair pair;
	struct fd_note note;
	char buffer[8];

	begin();
	get(&pair);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_PIPE_FD), 2);
	ck_assert(fd_registry_get(pair.in, &note));
	ck_assert(session_id_eq(note.owner, test_id));
	ck_assert(fd_registry_get(pair.out, &note));
	ck_assert_uint_eq(pair.capacity, PIPE_POOL_CAPACITY);
	ck_assert_int_eq(fcntl(pair.in, F_GETPIPE_SZ), (int)pair.capacity);
	ck_assert_int_eq(read(pair.out, buffer, sizeof(buffer)), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(write(pair.in, "abc", 3), 3);
	ck_assert_int_eq(read(pair.out, buffer, sizeof(buffer)), 3);
	ck_assert_int_ne(fcntl(pair.in, F_GETFD) & FD_CLOEXEC, 0);
	pipe_pool_put(&pool, &pair, true, &test_ledger);
	ck_assert_int_eq(pair.in, -1);
	ck_assert_int_eq(pair.out, -1);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_PIPE_FD), 0);
	end();
}
END_TEST

START_TEST(an_empty_pipe_is_kept_and_is_the_processes)
{
	struct pipe_pair first, second;
	struct fd_note note;

	begin();
	get(&first);

	struct pipe_pair was = first;

	pipe_pool_put(&pool, &first, true, &test_ledger);
	ck_assert_uint_eq(pool.n, 1);
	ck_assert(fd_registry_get(was.in, &note));
	ck_assert(session_id_eq(note.owner, SESSION_ID_NONE));
	resizes = 0;
	get(&second);
	ck_assert_int_eq(second.in, was.in);
	ck_assert_int_eq(second.out, was.out);
	ck_assert_uint_eq(second.capacity, was.capacity);
	ck_assert_int_eq(resizes, 0);
	ck_assert(fd_registry_get(was.in, &note));
	ck_assert(session_id_eq(note.owner, test_id));
	pipe_pool_put(&pool, &second, true, &test_ledger);
	end();
	ck_assert(!fd_registry_get(was.in, &note));
	ck_assert(!fd_registry_get(was.out, &note));
}
END_TEST

START_TEST(a_pipe_with_bytes_never_comes_back)
{
	struct pipe_pair pair, next;
	char c;

	begin();
	get(&pair);
	ck_assert_int_eq(write(pair.in, "somebody's secret", 17), 17);
	pipe_pool_put(&pool, &pair, false, &test_ledger);
	ck_assert_int_eq(pair.in, -1);
	ck_assert_uint_eq(pool.n, 0);
	ck_assert_uint_eq(open_descriptors(), descriptors_before);
	get(&next);
	ck_assert_int_eq(read(next.out, &c, 1), -1);
	pipe_pool_put(&pool, &next, true, &test_ledger);
	end();
}
END_TEST

START_TEST(no_pipe_is_fine)
{
	struct pipe_pair none = { .in = -1, .out = -1, .capacity = 0 };

	begin();
	pipe_pool_put(&pool, &none, true, &test_ledger);
	pipe_pool_put(&pool, &none, false, &test_ledger);
	ck_assert_uint_eq(pool.n, 0);
	end();
}
END_TEST

START_TEST(no_more_are_kept_than_promised)
{
	struct pipe_pair pairs[PIPE_POOL_KEEP + 3];

	begin();
	for (size_t i = 0; i < SP_ARRAY_LEN(pairs); i++)
		get(&pairs[i]);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_PIPE_FD), 2 * SP_ARRAY_LEN(pairs));
	for (size_t i = 0; i < SP_ARRAY_LEN(pairs); i++)
		pipe_pool_put(&pool, &pairs[i], true, &test_ledger);
	ck_assert_uint_eq(pool.n, PIPE_POOL_KEEP);
	ck_assert_uint_eq(open_descriptors(), descriptors_before + 2 * PIPE_POOL_KEEP);
	end();
}
END_TEST

START_TEST(a_pipe_grows_and_is_kept_as_an_ordinary_one)
{
	struct pipe_pair pair;

	begin();
	get(&pair);
	ck_assert_int_eq(write(pair.in, "abc", 3), 3);
	pipe_pool_grow(&pool, &pair);
	ck_assert_uint_gt(pair.capacity, PIPE_POOL_CAPACITY);
	ck_assert_int_eq(fcntl(pair.in, F_GETPIPE_SZ), (int)pair.capacity);
	ck_assert_uint_eq(pool.grown, 1);
	resizes = 0;
	pipe_pool_grow(&pool, &pair);
	ck_assert_int_eq(resizes, 0);

	char text[3];

	ck_assert_int_eq(read(pair.out, text, 3), 3);
	ck_assert(memcmp(text, "abc", 3) == 0);
	pipe_pool_put(&pool, &pair, true, &test_ledger);
	ck_assert_uint_eq(pool.grown, 0);
	ck_assert_uint_eq(pool.n, 1);
	ck_assert_int_eq(fcntl(pool.kept[0].in, F_GETPIPE_SZ), PIPE_POOL_CAPACITY);
	end();
}
END_TEST

START_TEST(a_large_pipe_that_is_closed_makes_room_for_another)
{
	struct pipe_pair first, second;

	begin();
	pool.grown_max = 1;
	get(&first);
	get(&second);
	pipe_pool_grow(&pool, &first);
	pipe_pool_grow(&pool, &second);
	ck_assert(first.grown && !second.grown && !second.refused);
	pipe_pool_put(&pool, &first, false, &test_ledger);
	pipe_pool_grow(&pool, &second);
	ck_assert(second.grown);
	ck_assert_uint_eq(pool.grown, 1);
	pipe_pool_put(&pool, &second, true, &test_ledger);
	end();
}
END_TEST

START_TEST(workers_share_what_the_user_may_have)
{
	struct pipe_pool alone, of_many;

	pipe_pool_init(&alone, 1);
	pipe_pool_init(&of_many, 100000);
	ck_assert_uint_ge(alone.grown_max, 1);
	ck_assert_uint_eq(of_many.grown_max, 1);
}
END_TEST

static const struct {
	int refuse_above;
	size_t capacity;
} sizes[] = {
	{ 512 * 1024, 256 * 1024 },
	{ 128 * 1024, PIPE_POOL_CAPACITY },
	{ 0, PIPE_POOL_CAPACITY },
};

START_TEST(less_than_wished_is_taken)
{
	struct pipe_pair pair;
	bool refused = sizes[_i].capacity == PIPE_POOL_CAPACITY;

	begin();
	get(&pair);
	refuse_above = sizes[_i].refuse_above;
	pipe_pool_grow(&pool, &pair);
	ck_assert_uint_eq(pair.capacity, sizes[_i].capacity);
	ck_assert_int_eq(fcntl(pair.in, F_GETPIPE_SZ), (int)pair.capacity);
	ck_assert(pair.refused == refused && pair.grown == !refused);
	resizes = 0;
	pipe_pool_grow(&pool, &pair);
	ck_assert_int_eq(resizes, 0);
	refuse_above = INT32_MAX;
	pipe_pool_put(&pool, &pair, true, &test_ledger);
	ck_assert_uint_eq(pool.n, 1);
	ck_assert(!pool.kept[0].refused);
	end();
}
END_TEST

START_TEST(a_tiny_pipe_is_none)
{
	struct pipe_pair pair;

	begin();
	made_size = 8192; /* as the kernel gives beyond the user's soft limit */
	ck_assert_int_eq(pipe_pool_get(&pool, &pair, &test_ledger, test_id), -ENOBUFS);
	ck_assert_int_eq(pair.in, -1);
	ck_assert_int_eq(pair.out, -1);
	ck_assert_uint_eq(open_descriptors(), descriptors_before);
	end();
}
END_TEST

START_TEST(one_that_cannot_shrink_is_not_kept)
{
	struct pipe_pair pair;

	begin();
	get(&pair);
	pipe_pool_grow(&pool, &pair);
	refuse_above = 0;
	pipe_pool_put(&pool, &pair, true, &test_ledger);
	ck_assert_uint_eq(pool.n, 0);
	ck_assert_uint_eq(pool.grown, 0);
	end();
}
END_TEST

START_TEST(without_descriptors_it_is_an_error)
{
	struct pipe_pair pair;
	struct rlimit limit, none;

	begin();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);

	int rc = pipe_pool_get(&pool, &pair, &test_ledger, test_id);

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(rc, -EMFILE);
	ck_assert_int_eq(pair.in, -1);
	ck_assert_int_eq(pair.out, -1);
	end();
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, a_pipe_is_usable_and_counted);
	tcase_add_test(tests, an_empty_pipe_is_kept_and_is_the_processes);
	tcase_add_test(tests, a_pipe_with_bytes_never_comes_back);
	tcase_add_test(tests, no_pipe_is_fine);
	tcase_add_test(tests, no_more_are_kept_than_promised);
	tcase_add_test(tests, a_pipe_grows_and_is_kept_as_an_ordinary_one);
	tcase_add_test(tests, a_large_pipe_that_is_closed_makes_room_for_another);
	tcase_add_test(tests, workers_share_what_the_user_may_have);
	tcase_add_loop_test(tests, less_than_wished_is_taken, 0, (int)SP_ARRAY_LEN(sizes));
	tcase_add_test(tests, a_tiny_pipe_is_none);
	tcase_add_test(tests, one_that_cannot_shrink_is_not_kept);
	tcase_add_test(tests, without_descriptors_it_is_an_error);
}

int main(void)
{
	return net_test_run("pipe_pool", add_tests);
}

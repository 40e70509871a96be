// SPDX-License-Identifier: ISC
/*
 * Farewells: last words arrive, whatever the peer does, and nothing is left
 * after the time is up. farewell.c is included, so that memory can be short and
 * the limit low.
 */
#include "net_test.h"

#include "sallyport/farewell.h"

#undef FAREWELLS_MAX
#define FAREWELLS_MAX 3

static bool no_memory, refuse_timers;
static int allocations;

static void *refusable_malloc(size_t n)
{
	allocations++;
	return no_memory ? NULL : malloc(n);
}

static void *refusable_calloc(size_t n, size_t size)
{
	return no_memory ? NULL : calloc(n, size);
}

static int refusable_event_add(struct event *ev, const struct timeval *tv)
{
	return refuse_timers ? -1 : event_add(ev, tv);
}

#define malloc refusable_malloc
#define calloc refusable_calloc
#define event_add refusable_event_add
#include "../../proxy/net/farewell.c"
#undef malloc
#undef calloc
#undef event_add

#define WORDS "421 Idle timeout: closing.\r\n"
#define LONG_MS 60000
#define SHORT_MS 80

static struct farewells *farewells;
static struct stream stream;
static int theirs;
static const struct span nothing;
static const struct session_id words_id = { 77 };

static void begin(void)
{
	farewells = farewells_new(test_base);
	ck_assert_ptr_nonnull(farewells);
}

static void end(void)
{
	ck_assert_uint_eq(farewells_count(farewells), 0);
	ledger_assert_empty(farewells_ledger(farewells));
	farewells_free(&farewells);
	ck_assert_ptr_null(farewells);
}

static void on_stale(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
	ck_abort_msg("the former owner is called");
}

static void open_stream(void)
{
	int ours;

	tcp_pair(&ours, &theirs);
	stream_open(&stream, test_base, ours, &test_ledger, LEDGER_CONTROL_FD, test_id, SP_HERE,
	            on_stale, NULL);
}

static void say(struct span pending, struct span words, int64_t timeout_ms)
{
	farewell_start(farewells, &stream, pending, words, timeout_ms, words_id);
	ck_assert(!stream_is_open(&stream));
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 0);
}

/* Fills both sockets' buffers; the number of bytes. */
static size_t fill(struct stream *s)
{
	static char zeros[65536];
	size_t n = 0;

	for (;;) {
		ssize_t put = stream_write(s, zeros, sizeof(zeros));

		if (put == -EAGAIN)
			return n;
		ck_assert_int_gt(put, 0);
		n += (size_t)put;
	}
}

START_TEST(words_arrive_and_the_peer_closes)
{
	struct fd_note note;
	char text[128];
	int fd;

	begin();
	open_stream();
	fd = stream.fd;
	stream_watch(&stream, STREAM_READ | STREAM_WRITE);
	say(nothing, span_of(WORDS), LONG_MS);
	ck_assert_uint_eq(farewells_count(farewells), 1);
	ck_assert_uint_eq(ledger_get(farewells_ledger(farewells), LEDGER_FAREWELL_FD), 1);
	ck_assert(fd_registry_get(fd, &note));
	ck_assert(session_id_eq(note.owner, words_id));
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS);
	loop_settle();
	ck_assert_uint_eq(farewells_count(farewells), 1);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	ck_assert(!fd_registry_get(fd, &note));
	end();
}
END_TEST

static const char *const pendings[] = { "", "200 OK.\r\n", NULL /* longer than what is joined */ };

START_TEST(pending_bytes_go_first)
{
	static char long_pending[3 * JOIN_BYTES];
	static char text[4 * JOIN_BYTES];
	const char *pending = pendings[_i];

	if (pending == NULL) {
		memset(long_pending, 'p', sizeof(long_pending) - 1);
		pending = long_pending;
	}
	begin();
	open_stream();
	say(span_of(pending), span_of(WORDS), LONG_MS);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_uint_eq(strlen(text), strlen(pending) + strlen(WORDS));
	ck_assert_mem_eq(text, pending, strlen(pending));
	ck_assert_str_eq(text + strlen(pending), WORDS);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(nothing_to_say_is_fine)
{
	begin();
	open_stream();
	say(nothing, nothing, LONG_MS);
	ck_assert_uint_eq(peer_read_to_end(theirs, NULL, 0).n, 0);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(a_peer_that_has_closed_costs_nothing)
{
	char text[128];
	char c;

	begin();
	open_stream();
	shutdown(theirs, SHUT_WR);
	usleep(2000);
	ck_assert_int_eq(stream_read(&stream, &c, 1), 0);
	allocations = 0;
	say(span_of("221 "), span_of("Bye.\r\n"), LONG_MS);
	ck_assert_uint_eq(farewells_count(farewells), 0);
	ck_assert_int_eq(allocations, 0);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, "221 Bye.\r\n");
	close(theirs);
	end();
}
END_TEST

START_TEST(what_the_peer_still_sends_destroys_nothing)
{
	static char junk[20000];
	char text[128];

	begin();
	open_stream();
	ck_assert_int_eq(send(theirs, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	say(nothing, span_of(WORDS), LONG_MS);
	loop_settle();
	ck_assert_int_eq(send(theirs, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	loop_settle();
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(a_slow_reader_gets_everything)
{
	static char text[16 * 1024 * 1024];
	struct pollfd p;
	size_t n, got = 0;

	begin();
	open_stream();
	n = fill(&stream);
	ck_assert_uint_lt(n + 64, sizeof(text));
	say(span_of("150 Here it is.\r\n"), span_of(WORDS), LONG_MS);
	ck_assert_uint_eq(ledger_get(farewells_ledger(farewells), LEDGER_BUFFER), 1);
	p = (struct pollfd){ .fd = theirs, .events = POLLIN };
	for (;;) {
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (poll(&p, 1, 10) == 0)
			continue;

		ssize_t r = recv(theirs, text + got, sizeof(text) - got - 1, MSG_DONTWAIT);

		ck_assert_int_ge(r, 0);
		if (r == 0)
			break;
		got += (size_t)r;
	}
	ck_assert_uint_eq(got, n + strlen("150 Here it is.\r\n" WORDS));
	ck_assert_str_eq(text + n, "150 Here it is.\r\n" WORDS);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

/* Both send and neither reads: the words go out all the same once the peer reads. */
START_TEST(a_peer_that_sends_first_is_read)
{
	static char junk[65536];
	size_t sent = 0;
	struct pollfd p;

	begin();
	open_stream();
	(void)fill(&stream);
	say(nothing, span_of(WORDS), LONG_MS);
	p = (struct pollfd){ .fd = theirs, .events = POLLOUT };
	while (sent < 8 * 1024 * 1024) {
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (poll(&p, 1, 10) == 1 && (p.revents & POLLOUT) != 0) {
			ssize_t r = send(theirs, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);

			if (r > 0)
				sent += (size_t)r;
		}
	}
	ck_assert_uint_eq(farewells_count(farewells), 1);
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(who_does_not_read_is_reset)
{
	begin();
	open_stream();
	(void)fill(&stream);
	say(nothing, span_of(WORDS), SHORT_MS);
	ck_assert_uint_eq(farewells_count(farewells), 1);
	RUN_UNTIL(farewells_count(farewells) == 0);
	ck_assert_int_eq(peer_read_to_end(theirs, NULL, 0).error, ECONNRESET);
	close(theirs);
	end();
}
END_TEST

START_TEST(who_reads_but_never_closes_is_left)
{
	char text[128];
	int64_t began = sp_now_ms();
	socklen_t len = sizeof(int);
	int error = -1;

	begin();
	open_stream();
	say(nothing, span_of(WORDS), SHORT_MS);
	RUN_UNTIL(farewells_count(farewells) == 0);
	ck_assert_int_ge(sp_now_ms() - began, SHORT_MS - 20);
	/* Read late: nothing has been taken back, and there was no RST. */
	usleep(2000);
	ck_assert_int_eq(getsockopt(theirs, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	ck_assert_int_eq(error, 0);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS);
	close(theirs);
	end();
}
END_TEST

START_TEST(who_never_stops_sending_is_cut)
{
	static char junk[65536];
	int64_t deadline = sp_now_ms() + NET_TEST_PATIENCE_MS;

	begin();
	open_stream();
	say(nothing, span_of(WORDS), SHORT_MS);
	set_nonblocking(theirs);
	while (farewells_count(farewells) > 0) {
		ck_assert(sp_now_ms() < deadline);
		(void)send(theirs, junk, sizeof(junk), MSG_NOSIGNAL);
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	close(theirs);
	end();
}
END_TEST

START_TEST(a_broken_connection_ends_it)
{
	struct linger at_once = { 1, 0 };

	begin();
	open_stream();
	if (_i == 1)
		say(nothing, span_of(WORDS), LONG_MS);
	setsockopt(theirs, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(theirs);
	usleep(2000);
	if (_i == 0)
		say(nothing, span_of(WORDS), LONG_MS);
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(without_memory_the_words_are_said_at_once)
{
	char text[128];

	begin();
	open_stream();
	if (_i == 0)
		no_memory = true;
	else
		refuse_timers = true;
	say(nothing, span_of(WORDS), LONG_MS);
	ck_assert_uint_eq(farewells_count(farewells), 0);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS);
	close(theirs);
	end();
}
END_TEST

START_TEST(without_time_the_words_are_said_at_once)
{
	char text[128];

	begin();
	open_stream();
	say(nothing, span_of(WORDS), 0);
	ck_assert_uint_eq(farewells_count(farewells), 0);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS);
	close(theirs);
	end();
}
END_TEST

START_TEST(beyond_the_limit_nothing_is_kept)
{
	int peers[FAREWELLS_MAX + 2];
	char text[128];

	begin();
	for (int i = 0; i < FAREWELLS_MAX + 2; i++) {
		open_stream();
		peers[i] = theirs;
		say(nothing, span_of(WORDS), LONG_MS);
	}
	ck_assert_uint_eq(farewells_count(farewells), FAREWELLS_MAX);
	for (int i = 0; i < FAREWELLS_MAX + 2; i++) {
		ck_assert_int_eq(peer_read_to_end(peers[i], text, sizeof(text)).error, 0);
		ck_assert_str_eq(text, WORDS);
		close(peers[i]);
	}
	RUN_UNTIL(farewells_count(farewells) == 0);
	end();
}
END_TEST

START_TEST(freeing_closes_what_is_left)
{
	size_t before;
	int blocked;

	begin();
	before = open_descriptors();
	open_stream();
	say(nothing, span_of(WORDS), LONG_MS);
	blocked = theirs;
	open_stream();
	(void)fill(&stream);
	say(nothing, span_of(WORDS), LONG_MS);
	ck_assert_uint_eq(farewells_count(farewells), 2);
	farewells_free(&farewells);
	ck_assert_ptr_null(farewells);
	farewells_free(&farewells);
	close(blocked);
	close(theirs);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(no_memory_for_the_collection_is_null)
{
	no_memory = true;
	ck_assert_ptr_null(farewells_new(test_base));
}
END_TEST

/* --- as under TLS ------------------------------------------------------------------ */

static int finish_calls, finish_refusals, freed;

static ssize_t tls_read(struct stream *s, void *to, size_t n)
{
	ssize_t got = recv(s->fd, to, n, 0);

	return got == -1 ? -errno : got;
}

static ssize_t tls_write(struct stream *s, const void *from, size_t n)
{
	ssize_t put = send(s->fd, from, n, MSG_NOSIGNAL);

	return put == -1 ? -errno : put;
}

static bool tls_pending(const struct stream *s SP_UNUSED)
{
	return false;
}

static int tls_finish(struct stream *s)
{
	finish_calls++;
	if (finish_refusals > 0) {
		finish_refusals--;
		return -EAGAIN;
	}
	if (finish_calls == 3)
		ck_assert_int_eq(send(s->fd, "!", 1, MSG_NOSIGNAL), 1);
	return 0;
}

static void tls_free(struct stream *s SP_UNUSED)
{
	freed++;
}

static const struct stream_ops tls_ops = { tls_read, tls_write, tls_pending, tls_finish, tls_free };

START_TEST(the_tls_end_comes_between_words_and_fin)
{
	char text[128];
	int some_tls;

	begin();
	open_stream();
	stream_set_tls(&stream, &tls_ops, &some_tls);
	finish_refusals = 2;
	say(nothing, span_of(WORDS), LONG_MS);
	ck_assert_uint_eq(ledger_get(farewells_ledger(farewells), LEDGER_TLS), 1);
	ck_assert_int_eq(finish_calls, 1);
	RUN_UNTIL(finish_calls == 3);
	ck_assert_int_eq(peer_read_to_end(theirs, text, sizeof(text)).error, 0);
	ck_assert_str_eq(text, WORDS "!");
	close(theirs);
	RUN_UNTIL(farewells_count(farewells) == 0);
	ck_assert_int_eq(freed, 1);
	end();
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, words_arrive_and_the_peer_closes);
	tcase_add_loop_test(tests, pending_bytes_go_first, 0, (int)SP_ARRAY_LEN(pendings));
	tcase_add_test(tests, nothing_to_say_is_fine);
	tcase_add_test(tests, a_peer_that_has_closed_costs_nothing);
	tcase_add_test(tests, what_the_peer_still_sends_destroys_nothing);
	tcase_add_test(tests, a_slow_reader_gets_everything);
	tcase_add_test(tests, a_peer_that_sends_first_is_read);
	tcase_add_test(tests, who_does_not_read_is_reset);
	tcase_add_test(tests, who_reads_but_never_closes_is_left);
	tcase_add_test(tests, who_never_stops_sending_is_cut);
	tcase_add_loop_test(tests, a_broken_connection_ends_it, 0, 2);
	tcase_add_loop_test(tests, without_memory_the_words_are_said_at_once, 0, 2);
	tcase_add_test(tests, without_time_the_words_are_said_at_once);
	tcase_add_test(tests, beyond_the_limit_nothing_is_kept);
	tcase_add_test(tests, freeing_closes_what_is_left);
	tcase_add_test(tests, no_memory_for_the_collection_is_null);
	tcase_add_test(tests, the_tls_end_comes_between_words_and_fin);
}

int main(void)
{
	return net_test_run("farewell", add_tests);
}

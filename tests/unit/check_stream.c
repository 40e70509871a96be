// SPDX-License-Identifier: ISC
/*
 * Streams: what the owner is told and when, what the peer sees of each end,
 * and the two ways in which TLS differs. stream.c is included, so that its
 * system calls can be counted and made to fail.
 */
#include "net_test.h"

#include "sallyport/socket_calls.h"

static int adds, dels; /* event_add, event_del of added events */
static bool refuse_adds;
static int interruptions; /* so many calls give EINTR first */

static int counted_event_add(struct event *ev, const struct timeval *tv)
{
	if (refuse_adds)
		return -1;
	adds++;
	return event_add(ev, tv);
}

static int counted_event_del(struct event *ev)
{
	if (event_pending(ev, EV_READ | EV_WRITE, NULL) != 0)
		dels++;
	return event_del(ev);
}

static ssize_t interrupted_recv(int fd, void *to, size_t n, int flags)
{
	if (interruptions > 0) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return sp_recv(fd, to, n, flags);
}

static ssize_t interrupted_send(int fd, const void *from, size_t n, int flags)
{
	if (interruptions > 0) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return sp_send(fd, from, n, flags);
}

#define event_add counted_event_add
#define event_del counted_event_del
#define sp_recv interrupted_recv
#define sp_send interrupted_send
#include "../../proxy/net/stream.c"
#undef event_add
#undef event_del
#undef sp_recv
#undef sp_send

static struct stream stream;
static int theirs;

struct calls {
	int n;
	unsigned ready; /* all together */
	void (*act)(struct stream *s, unsigned ready);
};

static struct calls calls;

static void on_ready(void *owner, unsigned ready)
{
	struct calls *c = owner;

	c->n++;
	c->ready |= ready;
	if (c->act != NULL)
		c->act(&stream, ready);
}

static void open_stream(void)
{
	int ours;

	tcp_pair(&ours, &theirs);
	stream_open(&stream, test_base, ours, &test_ledger, LEDGER_CONTROL_FD, test_id, "here",
	            on_ready, &calls);
}

static void peer_says(const char *text)
{
	ck_assert_int_eq(send(theirs, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void read_all(struct stream *s, unsigned ready SP_UNUSED)
{
	char buffer[64];

	while (stream_read(s, buffer, sizeof(buffer)) > 0)
		;
}

START_TEST(bytes_and_the_end_are_told)
{
	char buffer[16];

	open_stream();
	stream_watch(&stream, STREAM_READ);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	peer_says("USER");
	RUN_UNTIL(calls.n > 0);
	ck_assert_uint_eq(calls.ready, STREAM_READ);
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), 4);
	ck_assert_mem_eq(buffer, "USER", 4);
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), -EAGAIN);
	ck_assert(!stream.eof);
	calls.n = 0;
	close(theirs);
	RUN_UNTIL(calls.n > 0);
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), 0);
	ck_assert(stream.eof);
	stream_close(&stream);
}
END_TEST

START_TEST(who_does_nothing_is_called_again)
{
	open_stream();
	stream_watch(&stream, STREAM_READ);
	peer_says("x");
	RUN_UNTIL(calls.n >= 3);
	calls.act = read_all;
	RUN_UNTIL(calls.n >= 4);
	loop_settle();
	ck_assert_int_eq(calls.n, 4);
	stream_watch(&stream, 0);
	peer_says("x");
	loop_settle();
	ck_assert_int_eq(calls.n, 4);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(watching_the_same_costs_nothing)
{
	open_stream();
	for (int i = 0; i < 10; i++)
		stream_watch(&stream, STREAM_READ);
	ck_assert_int_eq(adds, 1);
	ck_assert_int_eq(dels, 0);
	stream_watch(&stream, STREAM_READ | STREAM_WRITE);
	ck_assert_int_eq(adds, 2);
	for (int i = 0; i < 10; i++)
		stream_watch(&stream, STREAM_WRITE);
	ck_assert_int_eq(adds, 3);
	peer_says("bytes that nobody waits for");
	RUN_UNTIL(calls.n > 0);
	ck_assert_uint_eq(calls.ready, STREAM_WRITE);
	ck_assert_int_eq(adds, 3);
	stream_close(&stream);
	ck_assert_int_eq(dels, 3);
	close(theirs);
}
END_TEST

/* Writes until the socket is full; the number of bytes. */
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

START_TEST(room_to_write_is_told)
{
	char buffer[65536];
	size_t n;

	open_stream();
	n = fill(&stream);
	stream_watch(&stream, STREAM_WRITE);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	while (n > 0 && calls.n == 0) {
		ssize_t got = recv(theirs, buffer, sizeof(buffer), 0);

		ck_assert_int_gt(got, 0);
		n -= (size_t)got;
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	RUN_UNTIL(calls.n > 0);
	ck_assert_uint_eq(calls.ready, STREAM_WRITE);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(a_broken_connection_is_an_error)
{
	char buffer[16];
	struct linger at_once = { 1, 0 };

	open_stream();
	stream_watch(&stream, STREAM_READ);
	setsockopt(theirs, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(theirs);
	RUN_UNTIL(calls.n > 0);
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), -ECONNRESET);
	ck_assert_int_eq(stream_write(&stream, "x", 1), -EPIPE);
	ck_assert(!stream.eof);
	stream_close(&stream);
}
END_TEST

START_TEST(interrupted_calls_are_repeated)
{
	char buffer[16];

	open_stream();
	peer_says("hello");
	interruptions = 3;
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), 5);
	interruptions = 3;
	ck_assert_int_eq(stream_write(&stream, "abc", 3), 3);
	ck_assert_int_eq(interruptions, 0);
	stream_close(&stream);
	close(theirs);
}
END_TEST

/* --- ends ------------------------------------------------------------------------- */

START_TEST(close_delivers_and_is_orderly)
{
	static char tail[50000];
	static char unread[30000];
	struct peer_saw saw;

	open_stream();
	ck_assert_int_eq(stream_write(&stream, tail, sizeof(tail)), (ssize_t)sizeof(tail));
	if (_i == 1) /* bytes that we never read must not turn the FIN into a RST */
		ck_assert_int_eq(send(theirs, unread, sizeof(unread), 0), (ssize_t)sizeof(unread));
	stream_close(&stream);
	saw = peer_read_to_end(theirs, NULL, 0);
	ck_assert_uint_eq(saw.n, sizeof(tail));
	ck_assert_int_eq(saw.error, 0);
	close(theirs);
}
END_TEST

START_TEST(abort_is_seen_as_broken)
{
	open_stream();
	ck_assert_int_eq(stream_write(&stream, "half a fi", 9), 9);
	stream_abort(&stream);
	ck_assert_int_eq(peer_read_to_end(theirs, NULL, 0).error, ECONNRESET);
	close(theirs);
}
END_TEST

START_TEST(finish_ends_our_half)
{
	char buffer[8];

	open_stream();
	ck_assert_int_eq(stream_write(&stream, "bye", 3), 3);
	ck_assert_int_eq(stream_finish(&stream, true), 0);
	ck_assert_uint_eq(peer_read_to_end(theirs, NULL, 0).n, 3);
	peer_says("well");
	stream_watch(&stream, STREAM_READ);
	RUN_UNTIL(calls.n > 0);
	ck_assert_int_eq(stream_read(&stream, buffer, sizeof(buffer)), 4);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(a_closed_stream_stays_closed)
{
	struct stream never;

	stream_init(&never);
	ck_assert(!stream_is_open(&never));
	stream_close(&never);
	stream_abort(&never);
	open_stream();
	stream_close(&stream);
	stream_close(&stream);
	stream_abort(&stream);
	ck_assert(!stream_is_open(&stream));
	close(theirs);
}
END_TEST

START_TEST(what_is_held_is_counted_and_noted)
{
	struct fd_note note;
	size_t before = open_descriptors();
	int fd;

	open_stream();
	fd = stream.fd;
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 1);
	ck_assert(fd_registry_get(fd, &note));
	ck_assert(session_id_eq(note.owner, test_id));
	ck_assert_int_eq(note.kind, LEDGER_CONTROL_FD);
	ck_assert_str_eq(note.where, "here");
	if (_i == 0)
		stream_close(&stream);
	else
		stream_abort(&stream);
	ck_assert(!fd_registry_get(fd, &note));
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 0);
	close(theirs);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

/* --- ends from within a call --------------------------------------------------------- */

static void act_close(struct stream *s, unsigned ready SP_UNUSED)
{
	stream_close(s);
}

START_TEST(who_closes_in_his_call_is_not_called_again)
{
	open_stream();
	calls.act = act_close;
	peer_says("readable and writable in the same turn");
	usleep(5000);
	stream_watch(&stream, STREAM_READ | STREAM_WRITE);
	RUN_UNTIL(calls.n > 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 1);
	close(theirs);
}
END_TEST

static int other_theirs;

/* The same memory and the same descriptor number. */
static void act_reopen(struct stream *s, unsigned ready SP_UNUSED)
{
	int old = s->fd;
	int ours, near_theirs;

	stream_close(s);
	tcp_pair(&ours, &near_theirs);
	other_theirs = fcntl(near_theirs, F_DUPFD_CLOEXEC, 100);
	ck_assert_int_ge(other_theirs, 100);
	close(near_theirs);
	if (ours != old) {
		ck_assert_int_eq(dup2(ours, old), old);
		close(ours);
	}
	stream_open(s, test_base, old, &test_ledger, LEDGER_DATA_FD, test_id, SP_HERE, on_ready,
	            &calls);
	stream_watch(s, STREAM_READ);
	calls.act = NULL;
}

START_TEST(a_new_stream_hears_nothing_of_the_old)
{
	open_stream();
	calls.act = act_reopen;
	peer_says("readable and writable in the same turn");
	usleep(5000);
	stream_watch(&stream, STREAM_READ | STREAM_WRITE);
	RUN_UNTIL(calls.n > 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 1);
	ck_assert_int_eq(send(other_theirs, "x", 1, 0), 1);
	RUN_UNTIL(calls.n > 1);
	stream_close(&stream);
	close(theirs);
	close(other_theirs);
}
END_TEST

struct heap_owner {
	struct stream stream;
	int *told;
};

static void free_owner(void *owner, unsigned ready SP_UNUSED)
{
	struct heap_owner *o = owner;

	(*o->told)++;
	stream_abort(&o->stream);
	free(o);
}

START_TEST(who_frees_in_his_call_is_not_touched)
{
	struct heap_owner *o = calloc(1, sizeof(*o));
	int told = 0;
	int ours;

	ck_assert_ptr_nonnull(o);
	tcp_pair(&ours, &theirs);
	o->told = &told;
	stream_open(&o->stream, test_base, ours, &test_ledger, LEDGER_CONTROL_FD, test_id, SP_HERE,
	            free_owner, o);
	ck_assert_int_eq(send(theirs, "x", 1, 0), 1);
	usleep(5000);
	stream_watch(&o->stream, STREAM_READ | STREAM_WRITE);
	RUN_UNTIL(told > 0);
	loop_settle();
	ck_assert_int_eq(told, 1);
	close(theirs);
}
END_TEST

/* Two streams readable in one turn; the first that is called closes the other. */
static struct stream pair[2];
static int pair_calls;

static void close_the_other(void *owner, unsigned ready SP_UNUSED)
{
	struct stream *s = owner;

	pair_calls++;
	stream_close(s == &pair[0] ? &pair[1] : &pair[0]);
	stream_watch(s, 0);
}

START_TEST(a_stream_closed_by_another_is_not_called)
{
	int far[2];

	for (int i = 0; i < 2; i++) {
		int ours;

		tcp_pair(&ours, &far[i]);
		stream_open(&pair[i], test_base, ours, &test_ledger, LEDGER_DATA_FD, test_id,
		            SP_HERE, close_the_other, &pair[i]);
		stream_watch(&pair[i], STREAM_READ);
		ck_assert_int_eq(send(far[i], "x", 1, 0), 1);
	}
	usleep(5000);
	loop_settle();
	ck_assert_int_eq(pair_calls, 1);
	for (int i = 0; i < 2; i++) {
		stream_close(&pair[i]);
		close(far[i]);
	}
}
END_TEST

/* --- moving ----------------------------------------------------------------------------- */

static int heir_calls;

static void on_heir_ready(void *owner, unsigned ready SP_UNUSED)
{
	heir_calls++;
	stream_watch(owner, 0);
}

START_TEST(moving_changes_owner_and_account)
{
	struct session_id heir_id = { 99 };
	struct ledger other;
	struct stream heir;
	struct fd_note note;
	int fd;

	memset(&other, 0, sizeof(other));
	open_stream();
	fd = stream.fd;
	stream_watch(&stream, STREAM_READ | STREAM_WRITE);
	peer_says("x");
	usleep(5000);
	stream_move(&heir, &stream, &other, LEDGER_FAREWELL_FD, heir_id, on_heir_ready, &heir);
	ck_assert(!stream_is_open(&stream));
	ck_assert_int_eq(heir.fd, fd);
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_CONTROL_FD), 0);
	ck_assert_uint_eq(ledger_get(&other, LEDGER_FAREWELL_FD), 1);
	ck_assert(fd_registry_get(fd, &note));
	ck_assert(session_id_eq(note.owner, heir_id));
	ck_assert_int_eq(note.kind, LEDGER_FAREWELL_FD);
	ck_assert_str_eq(note.where, "here");
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	ck_assert_int_eq(heir_calls, 0);
	stream_watch(&heir, STREAM_READ);
	RUN_UNTIL(heir_calls > 0);
	stream_close(&heir);
	ledger_assert_empty(&other);
	close(theirs);
}
END_TEST

/* --- a loop without room ----------------------------------------------------------------- */

static void act_note_error(struct stream *s, unsigned ready SP_UNUSED)
{
	char c;

	ck_assert_int_eq(stream_read(s, &c, 1), -ENOMEM);
	ck_assert_int_eq(stream_write(s, &c, 1), -ENOMEM);
	ck_assert_int_eq(stream_finish(s, true), -ENOMEM);
	stream_abort(s);
}

START_TEST(a_loop_without_room_is_told_as_an_error)
{
	open_stream();
	refuse_adds = true;
	calls.act = act_note_error;
	stream_watch(&stream, _i == 0 ? STREAM_READ : STREAM_WRITE);
	ck_assert_int_eq(calls.n, 0);
	RUN_UNTIL(calls.n > 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 1);
	close(theirs);
}
END_TEST

/* --- as under TLS: a stand-in that keeps bytes back and waits for the unexpected ----------- */

struct stand_in {
	char held[32]; /* taken from the socket, not yet read by the owner */
	size_t n;
	size_t step; /* read gives at most so much */
	int finished, freed;
	unsigned char swap;
	bool block;
};

static struct stand_in tls;

static ssize_t tls_read(struct stream *s, void *to, size_t n)
{
	struct stand_in *t = s->tls;

	s->swap = t->swap;
	if (t->block)
		return -EAGAIN;
	if (t->n == 0) {
		ssize_t got = plain_read(s, t->held, sizeof(t->held));

		if (got <= 0)
			return got;
		t->n = (size_t)got;
	}
	n = n < t->step ? n : t->step;
	n = n < t->n ? n : t->n;
	memcpy(to, t->held, n);
	memmove(t->held, t->held + n, t->n - n);
	t->n -= n;
	return (ssize_t)n;
}

static ssize_t tls_write(struct stream *s, const void *from, size_t n)
{
	struct stand_in *t = s->tls;

	s->swap = t->swap;
	return t->block ? -EAGAIN : plain_write(s, from, n);
}

static bool tls_pending(const struct stream *s)
{
	const struct stand_in *t = s->tls;

	return t->n > 0;
}

static int tls_finish(struct stream *s)
{
	struct stand_in *t = s->tls;

	t->finished++;
	return 0;
}

static void tls_free(struct stream *s)
{
	struct stand_in *t = s->tls;

	t->freed++;
}

static const struct stream_ops tls_ops = { tls_read, tls_write, tls_pending, tls_finish, tls_free };

static void open_tls(void)
{
	open_stream();
	tls.step = 1;
	stream_set_tls(&stream, &tls_ops, &tls);
	ck_assert(stream_is_tls(&stream));
	ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_TLS), 1);
}

static void act_read_once(struct stream *s, unsigned ready SP_UNUSED)
{
	char buffer[4];

	ck_assert_int_ne(stream_read(s, buffer, sizeof(buffer)), 0);
}

/* The socket is readable once; the owner reads a byte a call and gets them all. */
START_TEST(held_bytes_are_not_forgotten)
{
	open_tls();
	calls.act = act_read_once;
	stream_watch(&stream, STREAM_READ);
	peer_says("abcdef");
	RUN_UNTIL(calls.n >= 6);
	loop_settle();
	ck_assert_int_eq(calls.n, 6);
	ck_assert_uint_eq(tls.n, 0);
	stream_close(&stream);
	close(theirs);
}
END_TEST

/* Bytes that came while reading was off are told when it is on again. */
START_TEST(held_bytes_are_told_when_watched)
{
	char c;

	open_tls();
	peer_says("ab");
	usleep(5000);
	ck_assert_int_eq(stream_read(&stream, &c, 1), 1);
	stream_watch(&stream, 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	calls.act = act_read_once;
	stream_watch(&stream, STREAM_READ);
	ck_assert_int_eq(calls.n, 0);
	RUN_UNTIL(calls.n > 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 1);
	stream_close(&stream);
	close(theirs);
}
END_TEST

/* Who has read everything already is not called for what was held. */
START_TEST(held_bytes_read_at_once_call_nobody)
{
	open_tls();
	peer_says("abc");
	usleep(5000);
	stream_watch(&stream, STREAM_READ);
	read_all(&stream, 0);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(held_bytes_of_a_closed_stream_call_nobody)
{
	char c;

	open_tls();
	peer_says("abc");
	usleep(5000);
	stream_watch(&stream, STREAM_READ);
	ck_assert_int_eq(stream_read(&stream, &c, 1), 1);
	stream_close(&stream);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	close(theirs);
}
END_TEST

static void act_unblock(struct stream *s, unsigned ready SP_UNUSED)
{
	tls.block = false;
	tls.swap = 0;
	stream_watch(s, 0);
}

START_TEST(a_read_may_wait_for_room_to_write)
{
	char c;

	open_tls();
	tls.block = true;
	tls.swap = STREAM_READ_NEEDS_WRITE;
	stream_watch(&stream, STREAM_READ);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	ck_assert_int_eq(stream_read(&stream, &c, 1), -EAGAIN);
	calls.act = act_unblock;
	RUN_UNTIL(calls.n > 0);
	ck_assert_uint_eq(calls.ready, STREAM_READ);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(a_write_may_wait_for_bytes_to_read)
{
	open_tls();
	tls.block = true;
	tls.swap = STREAM_WRITE_NEEDS_READ;
	/* What it waits for may become known before or after it is watched. */
	if (_i == 0)
		stream_watch(&stream, STREAM_WRITE);
	ck_assert_int_eq(stream_write(&stream, "x", 1), -EAGAIN);
	if (_i == 1)
		stream_watch(&stream, STREAM_WRITE);
	loop_settle();
	ck_assert_int_eq(calls.n, 0);
	calls.act = act_unblock;
	peer_says("x");
	RUN_UNTIL(calls.n > 0);
	ck_assert_uint_eq(calls.ready, STREAM_WRITE);
	stream_close(&stream);
	close(theirs);
}
END_TEST

START_TEST(only_the_orderly_end_says_goodbye)
{
	struct ledger other;
	struct stream heir;

	memset(&other, 0, sizeof(other));
	open_tls();
	if (_i == 2) {
		stream_move(&heir, &stream, &other, LEDGER_FAREWELL_FD, test_id, on_ready, &calls);
		ck_assert_uint_eq(ledger_get(&other, LEDGER_TLS), 1);
		ck_assert_uint_eq(ledger_get(&test_ledger, LEDGER_TLS), 0);
		ck_assert_int_eq(tls.freed, 0);
		stream_close(&heir);
		ledger_assert_empty(&other);
	} else if (_i == 1) {
		stream_abort(&stream);
	} else {
		stream_close(&stream);
	}
	ck_assert_int_eq(tls.finished, _i == 1 ? 0 : 1);
	ck_assert_int_eq(tls.freed, 1);
	close(theirs);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, bytes_and_the_end_are_told);
	tcase_add_test(tests, who_does_nothing_is_called_again);
	tcase_add_test(tests, watching_the_same_costs_nothing);
	tcase_add_test(tests, room_to_write_is_told);
	tcase_add_test(tests, a_broken_connection_is_an_error);
	tcase_add_test(tests, interrupted_calls_are_repeated);
	tcase_add_loop_test(tests, close_delivers_and_is_orderly, 0, 2);
	tcase_add_test(tests, abort_is_seen_as_broken);
	tcase_add_test(tests, finish_ends_our_half);
	tcase_add_test(tests, a_closed_stream_stays_closed);
	tcase_add_loop_test(tests, what_is_held_is_counted_and_noted, 0, 2);
	tcase_add_test(tests, who_closes_in_his_call_is_not_called_again);
	tcase_add_test(tests, a_new_stream_hears_nothing_of_the_old);
	tcase_add_test(tests, who_frees_in_his_call_is_not_touched);
	tcase_add_test(tests, a_stream_closed_by_another_is_not_called);
	tcase_add_test(tests, moving_changes_owner_and_account);
	tcase_add_loop_test(tests, a_loop_without_room_is_told_as_an_error, 0, 2);
	tcase_add_test(tests, held_bytes_are_not_forgotten);
	tcase_add_test(tests, held_bytes_are_told_when_watched);
	tcase_add_test(tests, held_bytes_read_at_once_call_nobody);
	tcase_add_test(tests, held_bytes_of_a_closed_stream_call_nobody);
	tcase_add_test(tests, a_read_may_wait_for_room_to_write);
	tcase_add_loop_test(tests, a_write_may_wait_for_bytes_to_read, 0, 2);
	tcase_add_loop_test(tests, only_the_orderly_end_says_goodbye, 0, 3);
}

int main(void)
{
	return net_test_run("stream", add_tests);
}

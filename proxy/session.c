// SPDX-License-Identifier: ISC
/*
 * A session's life: it begins, things happen to it, it settles after each of
 * them, and it ends in one way only.
 */
#include "sallyport/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"
#include "session_private.h"

/* Of a reply of ours, without its code. */
#define REPLY_TEXT_MAX 632
#define FIRST_TURN_MS  5000 /* no clock of a logon is shorter as it comes */

static void on_client_ready(void *owner, unsigned ready);

/* --- finding ---------------------------------------------------------------- */

static size_t bucket_of(const struct loop *loop, struct session_id id)
{
	return (size_t)(id.v & (loop->by_id_n - 1));
}

struct session *loop_find(struct loop *loop, struct session_id id)
{
	struct session *s = loop->by_id[bucket_of(loop, id)];

	while (s != NULL && !session_id_eq(s->id, id))
		s = s->next;
	return s;
}

/* Doubles the hash; with no memory the chains just grow longer. */
static void by_id_grow(struct loop *loop)
{
	size_t n = loop->by_id_n * 2;
	struct session **grown = calloc(n, sizeof(struct session *));
	struct session **old = loop->by_id;
	size_t old_n = loop->by_id_n;

	if (grown == NULL)
		return;
	loop->by_id = grown;
	loop->by_id_n = n;
	for (size_t i = 0; i < old_n; i++) {
		while (old[i] != NULL) {
			struct session *s = old[i];
			size_t bucket = bucket_of(loop, s->id);

			old[i] = s->next;
			s->next = grown[bucket];
			grown[bucket] = s;
		}
	}
	free(old);
}

static void by_id_insert(struct loop *loop, struct session *s)
{
	size_t bucket;

	if (loop->sessions >= loop->by_id_n)
		by_id_grow(loop);
	bucket = bucket_of(loop, s->id);
	s->next = loop->by_id[bucket];
	loop->by_id[bucket] = s;
	loop->sessions++;
}

static void by_id_remove(struct loop *loop, struct session *s)
{
	struct session **at = &loop->by_id[bucket_of(loop, s->id)];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->next = NULL;
	loop->sessions--;
}

/* --- what is said ------------------------------------------------------------- */

void session_to_client(struct session *s, struct span bytes)
{
	if (!control_send(&s->client, bytes))
		s->no_memory = true;
}

void session_say(struct session *s, int code, const char *text)
{
	char line[REPLY_TEXT_MAX + 6];
	size_t n = strnlen(text, REPLY_TEXT_MAX);

	line[0] = (char)('0' + code / 100 % 10);
	line[1] = (char)('0' + code / 10 % 10);
	line[2] = (char)('0' + code % 10);
	line[3] = ' ';
	memcpy(line + 4, text, n);
	line[n + 4] = '\r';
	line[n + 5] = '\n';
	session_to_client(s, span_from(line, n + 6));
}

void session_reply(struct session *s, int code, const char *format, ...)
{
	char text[REPLY_TEXT_MAX + 1];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	session_say(s, code, text);
}

void session_answered(struct session *s)
{
	s->purpose = PURPOSE_NONE;
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
}

void session_activity(struct session *s)
{
	s->facts.last_activity_ms = s->loop->now_ms;
	atomic_store_explicit(&s->live->last_activity_ms, s->loop->now_ms, memory_order_relaxed);
}

/* --- events ------------------------------------------------------------------- */

void session_log_event(struct session *s, struct sp_event *event, enum event_kind kind)
{
	event_init(event, kind);
	event->session = s->id;
	event->client = s->info.client;
	event->server = s->info.server;
	sp_copy(event->listener, sizeof(event->listener), s->listener->name);
	sp_copy(event->user, sizeof(event->user), s->info.user);
	if (s->pool != NULL)
		sp_copy(event->pool, sizeof(event->pool), s->pool->name);
	if (s->last_server != NULL)
		sp_copy(event->server_name, sizeof(event->server_name), s->last_server->name);
}

static void emit_end(struct session *s, enum end_reason reason)
{
	struct sp_event event;

	session_log_event(s, &event, EVENT_SESSION_END);
	event.reason = reason;
	event.duration_ms = s->loop->now_ms - s->facts.accepted_ms;
	event.bytes_up = atomic_load_explicit(&s->live->bytes_up, memory_order_relaxed);
	event.bytes_down = atomic_load_explicit(&s->live->bytes_down, memory_order_relaxed);
	event.commands = atomic_load_explicit(&s->live->commands, memory_order_relaxed);
	event.transfers = atomic_load_explicit(&s->live->transfers, memory_order_relaxed);
	sp_copy(event.text, sizeof(event.text), end_reason_row(reason)->text);
	event_emit(s->loop->events, &event);
}

/* --- the table's view ---------------------------------------------------------- */

static void fill_info(const struct session *s, struct session_info *info)
{
	memset(info, 0, sizeof(*info));
	info->id = s->id;
	info->started_ms = s->facts.accepted_ms;
	info->client = s->info.client;
	info->server = s->info.server;
	sp_copy(info->user, sizeof(info->user), s->info.user);
	sp_copy(info->listener, sizeof(info->listener), s->listener->name);
	if (s->pool != NULL)
		sp_copy(info->pool, sizeof(info->pool), s->pool->name);
	if (s->last_server != NULL)
		sp_copy(info->server_name, sizeof(info->server_name), s->last_server->name);
}

void session_publish(struct session *s)
{
	struct session_info info;

	fill_info(s, &info);
	session_table_update(s->loop->table, &info);
}

/* --- begin -------------------------------------------------------------------- */

/* Before there is a session; in clear only where a client reads it so. */
static void refuse(struct loop *loop, int fd, const struct listener_config *listener, int error)
{
	static const char full[] = "421 Too many sessions; try again later.\r\n";
	static const char no_memory[] = "421 Out of memory; try again later.\r\n";

	counter_add(loop->counters, COUNT_SESSIONS_REFUSED, 1);
	if (listener->tls.mode == TLS_IMPLICIT)
		;
	else if (error == EUSERS)
		(void)!write(fd, full, sizeof(full) - 1);
	else
		(void)!write(fd, no_memory, sizeof(no_memory) - 1);
	close(fd);
}

void session_say_now(struct session *s)
{
	/* What fails, or does not fit, is found by session_settle(). */
	(void)!control_flush(&s->client);
}

void session_greet(struct session *s)
{
	struct sp_event event;

	session_say(s, 220, s->listener->greeting);
	session_say_now(s);
	session_log_event(s, &event, EVENT_SESSION_START);
	event_emit(s->loop->events, &event);
}

void session_begin(struct session *s)
{
	if (s->listener->tls.mode == TLS_IMPLICIT) {
		s->prot_p = true;
		session_secure_client(s);
	} else {
		session_greet(s);
		logon_early(s);
	}
}

/*
 * When the reaper first looks at the record. The true deadline is set when the
 * session settles and moves to and fro while it logs on; as long as it lies
 * behind this turn, moving it takes no lock.
 */
static int64_t first_turn(const struct session *s)
{
	const struct timeouts *t = &s->policy->timeouts;
	int64_t in_ms = FIRST_TURN_MS;

	if (t->login_timeout > 0)
		in_ms = sp_min64(in_ms, t->login_timeout);
	if (t->connect_timeout > 0)
		in_ms = sp_min64(in_ms, t->connect_timeout);
	return s->loop->now_ms + in_ms;
}

void session_new(struct loop *loop, int fd, const struct netaddr *client, const struct listener_config *listener)
{
	struct session_info info;
	struct session *s;

	if (listener->tls.mode == TLS_IMPLICIT && session_handshakes_are_full(loop)) {
		counter_add(loop->counters, COUNT_SESSIONS_REFUSED, 1);
		counter_add(loop->counters, COUNT_TLS_REFUSED, 1);
		close(fd);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		refuse(loop, fd, listener, ENOMEM);
		return;
	}
	s->loop = loop;
	s->id = session_id_make(loop->worker, ++loop->next_sequence);
	s->listener = listener;
	s->info.client = *client;
	s->facts.accepted_ms = loop->now_ms;
	s->facts.last_activity_ms = loop->now_ms;
	s->lines.strict_eol = listener->strict_eol;
	control_init(&s->client);
	control_init(&s->server);
	s->config = config_ref(loop->config);
	s->policy = listener->policy;
	s->header_awaited = listener->proxy_protocol;
	if (!s->header_awaited)
		logon_foresee(s);
	fill_info(s, &info);
	s->live = session_table_insert(loop->table, &info, first_turn(s));
	if (s->live == NULL) {
		refuse(loop, fd, listener, errno);
		config_unref(&s->config);
		free(s);
		return;
	}
	by_id_insert(loop, s);
	counter_add(loop->counters, COUNT_SESSIONS_ACCEPTED, 1);
	stream_open(&s->client.stream, loop->base, fd, &s->live->ledger, LEDGER_CONTROL_FD, s->id, SP_HERE,
		    on_client_ready, s);
	young_begin(s);
	if (!s->header_awaited)
		session_begin(s);
	session_settle(s);
}

const struct netaddr *session_local(struct session *s)
{
	if (s->local.family == AF_UNSPEC) {
		socklen_t n = sizeof(s->local);

		if (getsockname(s->client.stream.fd, &s->local.sa, &n) != 0)
			memset(&s->local, 0, sizeof(s->local));
		netaddr_unmap(&s->local);
	}
	return &s->local;
}

/* --- end ---------------------------------------------------------------------- */

static void end_client(struct session *s, enum end_reason reason)
{
	const struct end_reason_row *row = end_reason_row(reason);
	struct control *client = &s->client;
	char words[256] = "";

	if (row->code != 0)
		snprintf(words, sizeof(words), "%03d %s\r\n", row->code, row->text);
	else if (reason == END_CLIENT_QUIT)
		(void)!control_flush_last(client); /* the 221; then there is nothing left to say */
	if (reason == END_CLIENT_RESET || reason == END_CLIENT_LOST)
		stream_abort(&client->stream);
	else if (s->securing || s->header_awaited || reason == END_TLS_FAILED)
		/* Nothing can be said in a handshake, or before it; an alert that says why must arrive. */
		stream_close(&client->stream);
	else if (control_pending(client).n == 0 && words[0] == '\0')
		stream_close(&client->stream);
	else
		farewell_start(s->loop->farewells, &client->stream, control_pending(client), span_of(words),
			       s->policy->timeouts.close_timeout, s->id);
	control_fini(client);
}

void session_end(struct session *s, enum end_reason reason)
{
	struct loop *loop = s->loop;
	bool server_gone = reason == END_SERVER_CLOSED || reason == END_SERVER_421 || s->server_eof ||
			   (reason == END_CLIENT_QUIT && s->purpose == PURPOSE_NONE);
	bool goodbye = reason == END_CLIENT_QUIT && s->transfer == NULL; /* the client need not wait for the rest */

	SP_ASSERT_UNLOCKED();
	if (s->ending)
		return;
	s->ending = true;
	atomic_store_explicit(&s->live->place, PLACE_ENDING, memory_order_relaxed);
	waiting_close(s);
	logon_free(s);
	if (goodbye)
		end_client(s, reason);
	session_drop_server(s, server_gone);
	transfer_free(s);
	if (!goodbye)
		end_client(s, reason);
	line_fini(&s->lines);
	proxy_reader_fini(&s->header);
	queue_free(s);
	free(s->host);
	s->host = NULL;
	free(s->certificate);
	s->certificate = NULL;
	free(s->client_tls);
	s->client_tls = NULL;
	if (s->securing)
		loop->handshakes--;
	counter_add(loop->counters, COUNT_SESSIONS_ENDED, 1);
	counter_ended(loop->counters, reason);
	emit_end(s, reason);
	ledger_assert_empty(&s->live->ledger);
	(void)session_table_remove(loop->table, s->id, NULL);
	s->live = NULL;
	by_id_remove(loop, s);
	young_end(s);
	s->next = loop->graveyard;
	loop->graveyard = s;
	config_unref(&s->config);
}

void session_bury(struct loop *loop)
{
	while (loop->graveyard != NULL) {
		struct session *s = loop->graveyard;

		loop->graveyard = s->next;
		free(s);
	}
}

/* --- settling ----------------------------------------------------------------- */

/* Writes what waits; false: the session is over. */
static bool flush_both(struct session *s, unsigned *client_wants, unsigned *server_wants)
{
	int result;

	if (stream_is_open(&s->server.stream) && !s->server_securing) {
		result = control_flush(&s->server);
		/* A server that is gone is found by reading: what it said last still counts. */
		if (result == -EAGAIN)
			*server_wants |= STREAM_WRITE;
	}
	if (s->securing)
		return true;
	result = control_flush(&s->client);
	if (result == -EAGAIN) {
		*client_wants |= STREAM_WRITE;
	} else if (result < 0) {
		session_end(s, result == -ETIMEDOUT ? END_CLIENT_LOST : END_CLIENT_RESET);
		return false;
	}
	return true;
}

/* Into TLS or out of it: no command is run meanwhile. */
static bool session_changes_tls(const struct session *s)
{
	return s->tls_begin || s->securing || s->clear_begin || s->clearing;
}

static void run_queue(struct session *s)
{
	enum queued kind;
	struct span line;

	while (!s->ending && !s->no_memory && s->purpose == PURPOSE_NONE && !session_changes_tls(s) &&
	       control_pending(&s->client).n < CONTROL_OUT_HIGH && queue_pop(s, &kind, &line))
		command_line(s, kind, line);
}

void session_settle(struct session *s)
{
	unsigned client_wants = 0;
	unsigned server_wants = 0;

	if (s->ending || s->settling)
		return;
	if (s->drain && s->purpose == PURPOSE_NONE) {
		session_end(s, END_SHUTDOWN);
		return;
	}
	s->settling = true;
	run_queue(s);
	s->settling = false;
	if (s->ending)
		return;
	if (s->no_memory) {
		session_end(s, END_NO_MEMORY);
		return;
	}
	if (!flush_both(s, &client_wants, &server_wants))
		return;
	if (s->tls_begin && control_pending(&s->client).n == 0) {
		session_secure_client(s);
		if (s->no_memory) {
			session_end(s, END_NO_MEMORY);
			return;
		}
	}
	if (s->clear_begin && control_pending(&s->client).n == 0) {
		session_clear_begin(s);
		if (s->ending)
			return;
	}
	if (s->client_eof && (s->purpose == PURPOSE_NONE || s->purpose == PURPOSE_TRANSFER) &&
	    queue_is_empty(s)) {
		session_end(s, END_CLIENT_CLOSED);
		return;
	}
	if (control_pending(&s->client).n < CONTROL_OUT_HIGH) {
		/* A client that does not read its replies is not read either, nor is the server for it. */
		server_wants |= STREAM_READ;
		if (!s->client_eof && s->queue_n - s->queue_at < QUEUE_HIGH &&
		    control_pending(&s->server).n < CONTROL_OUT_HIGH)
			client_wants |= STREAM_READ;
	}
	if (s->tls_begin || s->clear_begin)
		client_wants &= ~(unsigned)STREAM_READ; /* what comes now is for the handshake, or for the end of TLS */
	if (s->clearing)
		client_wants = s->clear_blocked ? STREAM_WRITE : STREAM_READ;
	if (!s->securing)
		stream_watch(&s->client.stream, client_wants);
	if (stream_is_open(&s->server.stream) && !s->server_securing)
		stream_watch(&s->server.stream, server_wants);
	session_update_deadline(s);
}

/* --- what happens ------------------------------------------------------------- */

static void read_client(struct session *s)
{
	ssize_t n = stream_read(&s->client.stream, s->loop->scratch, CONTROL_READ_MAX);

	if (n == -EAGAIN)
		return;
	if (n == 0) {
		s->client_eof = true;
		s->client_eof_ms = s->loop->now_ms;
		return;
	}
	if (n < 0) {
		session_end(s, n == -ETIMEDOUT ? END_CLIENT_LOST : END_CLIENT_RESET);
		return;
	}
	session_feed(s, span_from(s->loop->scratch, (size_t)n));
	explicit_bzero(s->loop->scratch, (size_t)n); /* PASS may have been in it */
}

static void on_client_ready(void *owner, unsigned ready)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	if (s->clearing && !s->ending) {
		session_clear_step(s);
	} else if ((ready & STREAM_READ) && !s->ending) {
		if (s->header_awaited)
			session_read_header(s);
		else
			read_client(s);
	}
	session_settle(s);
}

/* Instead of the server. */
void session_say_goodbye(struct session *s)
{
	session_answered(s);
	session_say(s, 221, "Goodbye.");
	session_end(s, END_CLIENT_QUIT);
}

void session_on_kick(struct session *s, enum end_reason reason)
{
	session_end(s, reason);
}

void session_on_slot(struct session *s)
{
	if (s->stage != LOGON_QUEUED)
		return;
	reach_on_slot(s);
	session_settle(s);
}

void session_on_drain(struct session *s)
{
	s->drain = true;
	session_settle(s);
}

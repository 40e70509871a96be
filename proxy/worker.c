// SPDX-License-Identifier: ISC
/*
 * A worker's thread: its loop, its mailbox, what is done after each turn.
 */
#include "sallyport/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "sallyport/listener.h"
#include "sallyport/loop.h"
#include "sallyport/session.h"
#include "sallyport/worker_names.h"

/* Messages dealt with in one turn: 9,000 notices must not starve a NOOP. */
#define MESSAGES_A_TURN 32
#define BY_ID_START	1024
/* How often a draining worker looks whether it is done. */
#define DRAIN_LOOK_MS 20

#if defined(__SANITIZE_THREAD__)
#define WATCHED_BY_TSAN true
#elif defined(__has_feature)
#define WATCHED_BY_TSAN __has_feature(thread_sanitizer)
#else
#define WATCHED_BY_TSAN false
#endif

struct worker {
	struct loop loop;
	struct mailbox *mailbox;
	struct listeners *listeners;
	struct event *on_mail;
	struct event *on_drain;
	struct worker_names *names; /* of the first worker only */
	int64_t drain_until_ms; /* 0: not draining */
	bool stopped;		/* every session has been told to go */
	atomic_bool done;
	pthread_t thread;
};

/* splitmix64 */
uint64_t loop_random_fast(struct loop *loop)
{
	uint64_t x = loop->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t loop_random(struct loop *loop)
{
	if (loop->pool_n == 0) {
		ssize_t got = getrandom(loop->pool, sizeof(loop->pool), GRND_NONBLOCK);

		if (got != (ssize_t)sizeof(loop->pool))
			return loop_random_fast(loop);
		loop->pool_n = SP_ARRAY_LEN(loop->pool);
	}
	return loop->pool[--loop->pool_n];
}

/* Calls `act` for every session; it may end the one it is called for. */
static void for_each_session(struct loop *loop, void (*act)(struct session *s))
{
	struct table_cursor cursor = { 0 };
	struct session_info page[64];
	size_t n;

	while ((n = session_table_page(loop->table, &cursor, page, SP_ARRAY_LEN(page))) > 0) {
		for (size_t i = 0; i < n; i++) {
			struct session *s = NULL;

			if (session_id_worker(page[i].id) == loop->worker)
				s = loop_find(loop, page[i].id);
			if (s != NULL)
				act(s);
		}
	}
}

static void end_shutdown(struct session *s)
{
	session_end(s, END_SHUTDOWN);
}

static void stop_sessions(struct worker *w)
{
	listeners_stop(&w->listeners);
	w->stopped = true;
	for_each_session(&w->loop, end_shutdown);
}

/* Some session, of whatever worker, may wait for a connection that comes to our doors. */
static bool doors_are_needed(const struct worker *w)
{
	return doors_any(w->loop.doors) && session_table_count(w->loop.table) > 0;
}

/* Leaves the loop when no session and no farewell is left. */
static void leave_when_empty(struct worker *w)
{
	if (w->loop.sessions == 0 && farewells_count(w->loop.farewells) == 0 && !doors_are_needed(w))
		event_base_loopbreak(w->loop.base);
}

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->loop.now_ms = sp_now_ms();
	if (!w->stopped && w->loop.now_ms >= w->drain_until_ms)
		stop_sessions(w);
	leave_when_empty(w);
}

static void begin_drain(struct worker *w, int64_t for_ms)
{
	const struct timeval look = { 0, DRAIN_LOOK_MS * 1000 };

	listeners_stop(&w->listeners);
	w->loop.draining = true;
	w->drain_until_ms = w->loop.now_ms + for_ms;
	for_each_session(&w->loop, session_on_drain);
	event_add(w->on_drain, &look);
}

static void begin_stop(struct worker *w)
{
	const struct timeval look = { 0, DRAIN_LOOK_MS * 1000 };

	if (!w->stopped)
		stop_sessions(w);
	event_add(w->on_drain, &look);
}

static void free_update(struct worker_update *update)
{
	for (size_t i = 0; i < update->n; i++) {
		if (update->fds[i] >= 0)
			listener_close(update->fds[i]);
	}
	config_unref(&update->config);
	free(update);
}

/* One worker says for all of them which names cannot be looked up. */
static void look_at_names(struct worker *w)
{
	if (w->loop.worker != 0)
		return;
	worker_names_forget(&w->names);
	w->names = worker_names_look(&w->loop);
}

static void take_update(struct worker *w, struct worker_update *update)
{
	struct config *old = w->loop.config;
	struct listeners *listeners;

	if (w->listeners == NULL) { /* draining: nothing new is begun */
		free_update(update);
		return;
	}
	w->loop.config = update->config;
	listeners = listeners_start(&w->loop, update->fds, update->n, &w->listeners);
	if (listeners == NULL) {
		log_write(w->loop.events, LEVEL_ERROR,
			  "worker %u: out of memory; it keeps the old configuration", w->loop.worker);
		w->loop.config = old;
		free_update(update);
		return;
	}
	w->listeners = listeners;
	config_unref(&old);
	free(update);
	look_at_names(w);
}

/* A connection has come to one of our doors. */
static void deliver(void *owner, const struct port_owner *to, int fd, bool later)
{
	struct worker *w = owner;
	uint32_t worker = session_id_worker(to->id);
	struct message message = { .kind = MESSAGE_DATA, .fd = fd, .id = to->id, .number = (int64_t)to->number };
	struct session *s;

	w->loop.now_ms = sp_now_ms();
	if (worker != w->loop.worker || later) {
		counter_add(w->loop.counters, COUNT_DATA_HANDED, 1);
		if (mailbox_post(w->loop.mailboxes[worker], message))
			return;
		counter_add(w->loop.counters, COUNT_MESSAGES_DROPPED, 1);
		door_refuse(w->loop.counters, fd);
		return;
	}
	s = loop_find(&w->loop, to->id);
	if (s != NULL)
		session_on_data(s, fd, to->number);
	else
		door_refuse(w->loop.counters, fd);
}

static void take_plan(struct worker *w, struct door_plan *plan)
{
	if (!doors_follow(w->loop.doors, &plan))
		log_write(w->loop.events, LEVEL_ERROR, "worker %u: out of memory; a pooled port is closed",
			  w->loop.worker);
}

static void on_message(struct worker *w, const struct message *message)
{
	struct loop *loop = &w->loop;
	struct session *s = message->id.v != 0 ? loop_find(loop, message->id) : NULL;

	switch (message->kind) {
	case MESSAGE_NOTICE:
		counter_add(loop->counters, COUNT_NOTICES, 1);
		if (s != NULL)
			session_on_notice(s);
		else
			counter_add(loop->counters, COUNT_NOTICES_STALE, 1);
		return;
	case MESSAGE_KICK:
		if (s != NULL)
			session_on_kick(s, (enum end_reason)message->number);
		return;
	case MESSAGE_SLOT:
		if (s != NULL)
			session_on_slot(s);
		return;
	case MESSAGE_DATA:
		if (s != NULL)
			session_on_data(s, message->fd, (uint64_t)message->number);
		else
			door_refuse(loop->counters, message->fd);
		return;
	case MESSAGE_DOORS:
		take_plan(w, message->pointer);
		return;
	case MESSAGE_CONFIG:
		take_update(w, message->pointer);
		return;
	case MESSAGE_DRAIN:
		begin_drain(w, message->number);
		return;
	case MESSAGE_STOP:
		begin_stop(w);
		return;
	}
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct message batch[MESSAGES_A_TURN];
	size_t n = mailbox_take(w->mailbox, batch, SP_ARRAY_LEN(batch));

	(void)fd;
	(void)what;
	w->loop.now_ms = sp_now_ms();
	for (size_t i = 0; i < n; i++)
		on_message(w, &batch[i]);
}

void worker_drop_message(struct message *message)
{
	struct door_plan *plan = message->pointer;

	if (message->kind == MESSAGE_CONFIG)
		free_update(message->pointer);
	else if (message->kind == MESSAGE_DOORS)
		door_plan_free(&plan);
	else if (message->kind == MESSAGE_DATA)
		listener_close(message->fd);
}

static void *run(void *arg)
{
	struct worker *w = arg;

	while (event_base_loop(w->loop.base, EVLOOP_ONCE) == 0) {
		session_bury(&w->loop);
		if (event_base_got_break(w->loop.base))
			break;
	}
	session_bury(&w->loop);
	atomic_store(&w->done, true);
	return NULL;
}

static void worker_free(struct worker *w)
{
	listeners_stop(&w->listeners);
	doors_free(&w->loop.doors);
	if (w->on_mail != NULL)
		event_free(w->on_mail);
	if (w->on_drain != NULL)
		event_free(w->on_drain);
	if (event_initialized(&w->loop.on_young))
		event_del(&w->loop.on_young);
	worker_names_forget(&w->names);
	resolver_free(&w->loop.resolver);
	farewells_free(&w->loop.farewells);
	pipe_pool_fini(&w->loop.pipes);
	if (w->loop.base != NULL) {
		pacer_fini(&w->loop.pacer);
		event_base_free(w->loop.base);
	}
	config_unref(&w->loop.config);
	free(w->loop.by_id);
	free(w->loop.scratch);
	free(w);
}

/*
 * A loop of one thread: libevent needs no locks. What is changed twice in a
 * turn is told to the kernel once (no descriptor here is ever a dup).
 */
static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (config == NULL)
		return NULL;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	/*
	 * Changes are told to the kernel late, when a descriptor may have been closed and be another thread's: that
	 * fails at once and hurts nobody, but ThreadSanitizer takes it for a race, and dies of telling so.
	 */
	if (!WATCHED_BY_TSAN)
		event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

static void on_young(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_tend_young(arg);
}

static bool make_parts(struct worker *w, const struct worker_shared *shared)
{
	struct loop *loop = &w->loop;

	loop->base = make_base();
	if (loop->base == NULL)
		return false;
	loop->by_id_n = BY_ID_START;
	loop->by_id = calloc(loop->by_id_n, sizeof(struct session *));
	loop->scratch = malloc(LOOP_SCRATCH_BYTES);
	loop->resolver = resolver_new(loop->base);
	loop->farewells = farewells_new(loop->base);
	loop->doors = doors_new(loop->base, loop->registry, shared->hellos, loop->counters, deliver, w);
	pipe_pool_init(&loop->pipes, loop->workers);
	pacer_init(&loop->pacer, loop->base, loop->counters);
	if (loop->by_id == NULL || loop->scratch == NULL || loop->resolver == NULL ||
	    loop->farewells == NULL || loop->doors == NULL)
		return false;
	w->mailbox = shared->mailboxes[loop->worker];
	evtimer_assign(&loop->on_young, loop->base, on_young, loop);
	w->on_mail = event_new(loop->base, mailbox_fd(w->mailbox), EV_READ | EV_PERSIST, on_mail, w);
	w->on_drain = event_new(loop->base, -1, EV_PERSIST, on_drain, w);
	return w->on_mail != NULL && w->on_drain != NULL && event_add(w->on_mail, NULL) == 0;
}

struct worker *worker_new(uint32_t number, const struct worker_shared *shared, struct counters *counters,
			  struct config *config, const int fds[], size_t n)
{
	struct worker *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	atomic_init(&w->done, false);
	w->loop.workers = (uint32_t)shared->workers;
	w->loop.registry = shared->registry;
	w->loop.worker = number;
	w->loop.table = shared->table;
	w->loop.events = shared->events;
	w->loop.mailboxes = shared->mailboxes;
	w->loop.counters = counters;
	w->loop.config = config_ref(config);
	w->loop.now_ms = sp_now_ms();
	w->loop.random = (uint64_t)sp_now_us() ^ ((uint64_t)number << 32);
	if (!make_parts(w, shared) ||
	    resolver_use_servers(w->loop.resolver, config->dns_servers, config->dns_servers_n) != 0) {
		worker_free(w);
		return NULL;
	}
	resolver_use_ttl(w->loop.resolver, config->dns_ttl_min_ms, config->dns_ttl_max_ms);
	w->listeners = listeners_start(&w->loop, fds, n, &w->listeners);
	if (w->listeners == NULL) {
		worker_free(w);
		return NULL;
	}
	look_at_names(w);
	return w;
}

int worker_start(struct worker *w)
{
	return -pthread_create(&w->thread, NULL, run, w);
}

void worker_join(struct worker **worker)
{
	if (*worker == NULL)
		return;
	pthread_join((*worker)->thread, NULL);
	worker_free(*worker);
	*worker = NULL;
}

void worker_discard(struct worker **worker)
{
	if (*worker != NULL)
		worker_free(*worker);
	*worker = NULL;
}

bool worker_is_done(const struct worker *w)
{
	return atomic_load(&w->done);
}

const struct ledger *worker_farewells(const struct worker *w)
{
	return farewells_ledger(w->loop.farewells);
}

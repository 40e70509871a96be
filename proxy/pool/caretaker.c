// SPDX-License-Identifier: ISC
/*
 * The caretaker: a tick that asks the ledgers what is due, and a job for each
 * chore, which lasts until its connection is closed on both sides.
 *
 * Warm connections wait in the ledger, where any worker takes them. They are
 * not watched there: a descriptor that may become another thread's at any moment
 * must not be in this loop. Once a second they are taken out, looked at, and put
 * back; a logon looks itself before it uses one.
 */
#include "sallyport/caretaker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/fd_registry.h"
#include "sallyport/probe.h"

#define CHORES_A_TICK 32
#define LOOK_TICKS    (1000 / CARETAKER_TICK_MS)
#define SESSIONS_PAGE 64

struct job {
	struct caretaker *caretaker;
	struct job *next;
	struct job **prev;
	struct config *config; /* a reference: its probe uses it */
	struct pool_ledger *ledger;
	struct pool_chore chore;
	struct probe *probe;
	bool settled; /* the ledger has its connection, and what was reserved for it */
	char pool[NAME_MAX_LEN];
};

struct caretaker {
	struct caretaker_sources sources;
	struct config *config;
	struct resolver *resolver;
	struct event *on_tick;
	unsigned ticks;
	struct job *jobs;
};

static void tell(struct caretaker *c, struct session_id id)
{
	struct message message = { .kind = MESSAGE_SLOT, .id = id };

	/* A message that is lost is made up for: the ledger offers again. */
	if (id.v != 0)
		(void)!mailbox_post(c->sources.mailboxes[session_id_worker(id)], message);
}

static void close_fd(int fd)
{
	fd_registry_forget(fd);
	close(fd);
}

/* --- jobs ------------------------------------------------------------------------- */

static struct job *job_new(struct caretaker *c, struct config *config, const struct pool_config *pool,
			   const struct pool_chore *chore)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	job->caretaker = c;
	job->config = config_ref(config);
	job->ledger = pool->ledger;
	job->chore = *chore;
	sp_copy(job->pool, sizeof(job->pool), pool->name);
	job->next = c->jobs;
	job->prev = &c->jobs;
	if (job->next != NULL)
		job->next->prev = &job->next;
	c->jobs = job;
	return job;
}

/* The ledger has been told how the chore ended. */
static void job_free(struct job *job)
{
	*job->prev = job->next;
	if (job->next != NULL)
		job->next->prev = job->prev;
	probe_free(&job->probe);
	config_unref(&job->config);
	free(job);
}

static void job_done(struct job *job)
{
	struct caretaker *c = job->caretaker;
	struct session_id next = pool_ledger_chore_done(job->ledger, &job->chore, sp_now_ms());

	job_free(job);
	tell(c, next);
}

static void on_gone(void *owner)
{
	struct job *job = owner;

	if (job->settled)
		job_free(job);
	else
		job_done(job);
}

static void emit(const struct job *job, enum event_kind kind, enum event_level level, const char *text)
{
	struct sp_event event;

	event_init(&event, kind);
	event.level = level;
	if (job->probe != NULL)
		event.server = *probe_peer(job->probe);
	sp_copy(event.pool, sizeof(event.pool), job->pool);
	sp_copy(event.server_name, sizeof(event.server_name), job->chore.name);
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(job->caretaker->sources.events, &event);
}

/* --- checks -------------------------------------------------------------------------- */

static bool on_checked(void *owner, enum check_verdict verdict, const char *text, int fd)
{
	struct job *job = owner;
	enum server_state state;
	bool changed = pool_ledger_checked(job->ledger, &job->chore, verdict, sp_now_ms(), text, &state);
	bool news = verdict == VERDICT_FAILED && (changed || state != SERVER_DOWN);

	(void)fd;
	emit(job, EVENT_SERVER_CHECK, news ? LEVEL_NOTICE : LEVEL_DEBUG, text);
	if (changed && state == SERVER_DOWN) {
		emit(job, EVENT_SERVER_DOWN, event_default_level(EVENT_SERVER_DOWN), text);
	} else if (changed) {
		/* It may have come back as another one: the next logon asks it anew what it can do. */
		feature_memory_want(pool_ledger_features(job->ledger), job->chore.place);
		emit(job, EVENT_SERVER_UP, event_default_level(EVENT_SERVER_UP), text);
	}
	return false;
}

static bool has_pool(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		if (strcmp(config->pools[i].name, name) == 0)
			return true;
	}
	return false;
}

/* --- warm connections ------------------------------------------------------------------ */

static bool on_warm(void *owner, enum check_verdict verdict, const char *text, int fd)
{
	struct job *job = owner;
	struct warm warm = { fd, sp_now_ms(), job->chore.identity };
	bool taken = false;

	if (verdict != VERDICT_PASSED) {
		job->chore.failed = true;
		emit(job, EVENT_SERVER_CHECK, LEVEL_DEBUG, text);
		return false;
	}
	/* Its pool has gone meanwhile: nobody would look at it there. */
	if (!has_pool(job->caretaker->config, job->pool))
		return false;
	tell(job->caretaker,
	     pool_ledger_warm_put(job->ledger, &job->chore, &warm, sp_now_ms(), &taken));
	job->settled = taken;
	return taken;
}

static const struct probe_ops check_ops = { on_checked, on_gone };
static const struct probe_ops warm_ops = { on_warm, on_gone };

static bool is_dead(int fd)
{
	char byte;

	/* What it says unasked is a goodbye. */
	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void send_away(struct caretaker *c, const struct pool_config *pool, const struct pool_chore *chore,
		      const struct warm *warm)
{
	struct job *job = job_new(c, c->config, pool, chore);

	if (job == NULL)
		close_fd(warm->fd);
	else
		job->probe = probe_new_leave(c->sources.base, warm->fd, &warm_ops, job);
	if (job == NULL)
		tell(c, pool_ledger_chore_done(pool->ledger, chore, sp_now_ms()));
	else if (job->probe == NULL)
		job_done(job);
}

/* Takes the place's warm connections out, and puts those back that are still good. */
static void look_at_place(struct caretaker *c, const struct pool_config *pool, uint16_t place, bool wanted)
{
	struct warm warm[POOL_WARM_MAX];
	struct pool_chore chore;
	int64_t age_ms;
	size_t n = pool_ledger_warm_take(pool->ledger, place, &chore, warm, &age_ms);
	int64_t now_ms = sp_now_ms();

	for (size_t i = 0; i < n; i++) {
		bool taken = false;

		if (wanted && now_ms - warm[i].since_ms < age_ms && !is_dead(warm[i].fd))
			tell(c, pool_ledger_warm_put(pool->ledger, &chore, &warm[i], now_ms, &taken));
		if (!taken)
			send_away(c, pool, &chore, &warm[i]);
	}
}

static void look_at_pool(struct caretaker *c, const struct pool_config *pool, bool wanted)
{
	size_t n = pool_ledger_places(pool->ledger);

	for (size_t i = 0; i < n; i++)
		look_at_place(c, pool, (uint16_t)i, wanted);
}

/* --- what is due ------------------------------------------------------------------------ */

static const struct server_config *find_server(const struct pool_config *pool, const char *name)
{
	for (size_t i = 0; i < pool->servers_n; i++) {
		if (strcmp(pool->servers[i].name, name) == 0)
			return &pool->servers[i];
	}
	return NULL;
}

static void begin(struct caretaker *c, const struct pool_config *pool, const struct pool_chore *chore)
{
	const struct server_config *server = find_server(pool, chore->name);
	struct probe_task task = { .server = server, .health = &pool->health };
	bool warm = chore->kind == CHORE_WARM;
	struct job *job = server != NULL ? job_new(c, c->config, pool, chore) : NULL;

	if (job == NULL) {
		/* No memory, or a server of a configuration that did not come into force. */
		tell(c, pool_ledger_chore_done(pool->ledger, chore, sp_now_ms()));
		return;
	}
	task.address = chore->address;
	task.keep = warm;
	task.kind = warm ? CHECK_GREETING : config_check_kind(pool, server);
	job->probe = probe_new(c->sources.base, c->resolver, &task, warm ? &warm_ops : &check_ops, job);
	if (job->probe != NULL)
		return;
	if (warm)
		job->chore.failed = true;
	else
		(void)on_checked(job, VERDICT_VOID, "check skipped: out of memory", -1);
	job_done(job);
}

static void begin_due(struct caretaker *c, const struct pool_config *pool)
{
	struct pool_chore chores[CHORES_A_TICK];
	size_t n = pool_ledger_chores(pool->ledger, sp_now_ms(), chores, SP_ARRAY_LEN(chores));

	for (size_t i = 0; i < n; i++)
		begin(c, pool, &chores[i]);
}

/* --- servers that were taken out of service ------------------------------------------------ */

static bool ends_sessions(const struct pool_config *pool, const struct pool_server_status *status)
{
	if (status->sessions == 0)
		return false;
	if (status->state == SERVER_MAINTENANCE)
		return pool->end_sessions != END_SESSIONS_NEVER;
	return status->state == SERVER_DOWN && pool->end_sessions == END_SESSIONS_DOWN;
}

/* One that is still logging on finds another server by itself. */
static bool is_logged_on(const struct session_info *info)
{
	return info->place == PLACE_IDLE || info->place == PLACE_COMMAND || info->place == PLACE_TRANSFER;
}

static void end_sessions_at(struct caretaker *c, const char *pool, const char *server)
{
	struct table_cursor cursor = { 0 };
	struct session_info page[SESSIONS_PAGE];
	size_t n;

	while ((n = session_table_page(c->sources.table, &cursor, page, SESSIONS_PAGE)) > 0) {
		for (size_t i = 0; i < n; i++) {
			struct message message = {
				.kind = MESSAGE_KICK, .id = page[i].id, .number = END_SERVER_AWAY
			};

			if (is_logged_on(&page[i]) && strcmp(page[i].pool, pool) == 0 &&
			    strcmp(page[i].server_name, server) == 0)
				(void)!mailbox_post(c->sources.mailboxes[session_id_worker(page[i].id)], message);
		}
	}
}

static void look_at_states(struct caretaker *c, const struct pool_config *pool)
{
	struct pool_server_status status[POOL_SERVERS_MAX];
	size_t n;

	if (pool->end_sessions == END_SESSIONS_NEVER)
		return;
	n = pool_ledger_status(pool->ledger, status, POOL_SERVERS_MAX);
	for (size_t i = 0; i < n && i < POOL_SERVERS_MAX; i++) {
		if (ends_sessions(pool, &status[i]))
			end_sessions_at(c, pool->name, status[i].terms.name);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct caretaker *c = arg;
	bool look = ++c->ticks % LOOK_TICKS == 0;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < c->config->pools_n; i++) {
		const struct pool_config *pool = &c->config->pools[i];

		if (look) {
			look_at_pool(c, pool, true);
			look_at_states(c, pool);
		}
		begin_due(c, pool);
	}
}

struct caretaker *caretaker_new(const struct caretaker_sources *sources, struct config *config)
{
	const struct timeval tick = { 0, CARETAKER_TICK_MS * 1000 };
	struct caretaker *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->sources = *sources;
	c->config = config_ref(config);
	c->resolver = resolver_new(sources->base);
	c->on_tick = event_new(sources->base, -1, EV_PERSIST, on_tick, c);
	if (c->resolver != NULL)
		resolver_use_ttl(c->resolver, config->dns_ttl_min_ms, config->dns_ttl_max_ms);
	if (c->resolver == NULL ||
	    resolver_use_servers(c->resolver, config->dns_servers, config->dns_servers_n) != 0 || c->on_tick == NULL || event_add(c->on_tick, &tick) != 0)
		caretaker_free(&c);
	return c;
}

void caretaker_configure(struct caretaker *c, struct config *config)
{
	if (c == NULL)
		return;
	/* Of a pool that is gone nobody asks for the ledger any more. */
	for (size_t i = 0; i < c->config->pools_n; i++) {
		if (!has_pool(config, c->config->pools[i].name))
			look_at_pool(c, &c->config->pools[i], false);
	}
	config_unref(&c->config);
	c->config = config_ref(config);
}

static void close_warm(struct caretaker *c, const struct pool_config *pool)
{
	size_t places = pool_ledger_places(pool->ledger);

	for (size_t i = 0; i < places; i++) {
		struct warm warm[POOL_WARM_MAX];
		struct pool_chore chore;
		int64_t age_ms;
		size_t n = pool_ledger_warm_take(pool->ledger, (uint16_t)i, &chore, warm, &age_ms);

		for (size_t k = 0; k < n; k++) {
			(void)!write(warm[k].fd, "QUIT\r\n", 6);
			close_fd(warm[k].fd);
			tell(c, pool_ledger_chore_done(pool->ledger, &chore, sp_now_ms()));
		}
	}
}

void caretaker_free(struct caretaker **caretaker)
{
	struct caretaker *c = *caretaker;

	*caretaker = NULL;
	if (c == NULL)
		return;
	while (c->jobs != NULL)
		on_gone(c->jobs);
	for (size_t i = 0; i < c->config->pools_n; i++)
		close_warm(c, &c->config->pools[i]);
	if (c->on_tick != NULL)
		event_free(c->on_tick);
	resolver_free(&c->resolver);
	config_unref(&c->config);
	free(c);
}

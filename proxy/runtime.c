// SPDX-License-Identifier: ISC
/*
 * Building the house and taking it down: tables, hub, sockets, workers, reaper,
 * auditor, admin socket; and the reload.
 */
#include "sallyport/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sallyport/admin.h"
#include "sallyport/auditor.h"
#include "sallyport/caretaker.h"
#include "sallyport/events.h"
#include "sallyport/fd_registry.h"
#include "sallyport/listener.h"
#include "sallyport/reaper.h"
#include "sallyport/port_registry.h"
#include "sallyport/runtime_doors.h"
#include "sallyport/runtime_follow.h"
#include "sallyport/runtime_memory.h"
#include "sallyport/runtime_ports.h"
#include "sallyport/runtime_tickets.h"
#include "sallyport/worker.h"

#define EVENT_QUEUE_CAPACITY 8192
#define FD_MAX		     (1u << 20)
#define LOOK_MS		     20
#define WAITERS_LOOK_MS	     1000
#define FILES_LOOK_TURNS     5 /* of the above, between two looks at the files of TLS */
/* Descriptors of the process itself; the rest is for sessions: two each, and some for transfers. */
#define FD_OWN		    128
#define FD_PER_TEN_SESSIONS 21

/* A pool's ledger outlives the snapshots of the configuration, by the pool's name. */
struct named_ledger {
	char name[NAME_MAX_LEN];
	struct pool_ledger *ledger;
};

struct runtime {
	struct event_base *base;
	struct config *config;
	struct session_table *table;
	struct event_queue *queue;
	struct event_hub *hub;
	size_t workers_n;
	struct counters **counters;
	struct mailbox **mailboxes;
	struct worker **workers;
	size_t started; /* workers whose threads run */
	const struct ledger **farewells;
	struct named_ledger *ledgers;
	size_t ledgers_n;
	struct memo *memo; /* what pools remember; NULL while none does */
	struct runtime_ports ports;
	struct port_registry *registry;
	struct runtime_doors doors;
	struct runtime_tickets tickets;
	struct reaper *reaper;
	struct caretaker *caretaker;
	struct follower *follower;
	struct auditor *auditor;
	struct admin *admin;
	struct event *on_look;	  /* while draining: are the workers done? */
	struct event *on_waiters; /* offers slots again whose message was lost */
	size_t fd_max;
	unsigned turns;		 /* of on_waiters */
	struct runtime_memory memory;
	uint64_t tls_loaded;	 /* config_tls_stamp() when the files were read */
	uint64_t tls_seen;	 /* and at the last look */
};

static void set_error(char error[RUNTIME_ERROR_MAX], const char *what, const char *why)
{
	snprintf(error, RUNTIME_ERROR_MAX, "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
}

/* --- pools ------------------------------------------------------------------------ */

static struct pool_ledger *find_ledger(struct runtime *rt, const char *name)
{
	for (size_t i = 0; i < rt->ledgers_n; i++) {
		if (strcmp(rt->ledgers[i].name, name) == 0)
			return rt->ledgers[i].ledger;
	}
	return NULL;
}

static struct pool_ledger *add_ledger(struct runtime *rt, const struct pool_config *pool)
{
	struct named_ledger *grown = realloc(rt->ledgers, (rt->ledgers_n + 1) * sizeof(*grown));
	struct pool_ledger *ledger;

	if (grown == NULL)
		return NULL;
	rt->ledgers = grown;
	ledger = pool_ledger_new(pool->balance);
	if (ledger == NULL)
		return NULL;
	sp_copy(grown[rt->ledgers_n].name, NAME_MAX_LEN, pool->name);
	grown[rt->ledgers_n++].ledger = ledger;
	return ledger;
}

static void offer_waiters(struct runtime *rt, struct pool_ledger *ledger)
{
	struct session_id id;

	while (pool_ledger_waiting(ledger) > 0 &&
	       (id = pool_ledger_offer(ledger, sp_now_ms())).v != 0) {
		struct message message = { .kind = MESSAGE_SLOT, .id = id };

		if (!mailbox_post(rt->mailboxes[session_id_worker(id)], message))
			return;
	}
}

static struct health_terms health_terms(const struct pool_config *pool, const struct server_config *server)
{
	return (struct health_terms){
		.checked = config_check_kind(pool, server) != CHECK_NONE,
		.fall = pool->health.fall,
		.rise = pool->health.rise,
		.every_ms = pool->health.every_ms,
		.slow_start_ms = pool->slow_start_ms,
	};
}

/* One for all pools, made when the first one wants to remember something. */
static bool attach_memo(struct runtime *rt, struct pool_config *pool)
{
	unsigned char seed[MEMO_SEED];

	if (pool->sticky == STICKY_NONE && pool->refused_cache_ms == 0)
		return true;
	if (rt->memo == NULL && getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		rt->memo = memo_new(seed);
	explicit_bzero(seed, sizeof(seed));
	pool->memo = rt->memo;
	return pool->memo != NULL;
}

/* Gives each pool of `config` its ledger and states its servers there. */
static bool attach_ledgers(struct runtime *rt, struct config *config)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		struct pool_config *pool = &config->pools[i];
		struct pool_server_terms terms[POOL_SERVERS_MAX];

		pool->ledger = find_ledger(rt, pool->name);
		if (pool->ledger == NULL)
			pool->ledger = add_ledger(rt, pool);
		if (pool->ledger == NULL)
			return false;
		for (size_t j = 0; j < pool->servers_n; j++) {
			const struct server_config *server = &pool->servers[j];

			memset(&terms[j], 0, sizeof(terms[j]));
			sp_copy(terms[j].name, sizeof(terms[j].name), server->name);
			terms[j].weight = server->weight;
			terms[j].max_sessions = server->max_sessions;
			terms[j].backup = server->backup;
			terms[j].state = server->state;
			terms[j].warm = server->warm;
			terms[j].warm_age_ms = server->warm_age_ms;
			terms[j].health = health_terms(pool, server);
			terms[j].follows = server->resolve != RESOLVE_FIRST;
			terms[j].service = server->resolve == RESOLVE_SERVICE;
			terms[j].leads = server->nth == 0;
			terms[j].identity = server_identity(server);
		}
		if (!attach_memo(rt, pool))
			return false;
		if (!pool_ledger_configure(pool->ledger, pool->balance, terms, pool->servers_n, pool->places))
			return false;
	}
	return true;
}

/* Certificates that have been renewed come into force by themselves, once whoever writes them is done. */
static void look_at_files(struct runtime *rt)
{
	uint64_t now = config_tls_stamp(rt->config);
	bool settled = now == rt->tls_seen;

	rt->tls_seen = now;
	if (!settled || now == rt->tls_loaded)
		return;
	log_write(rt->queue, LEVEL_NOTICE, "files of TLS have changed: reloading");
	runtime_reload(rt);
	rt->tls_loaded = now; /* also when they were refused: the next change is the next try */
}

static void on_waiters(evutil_socket_t fd, short what, void *arg)
{
	struct runtime *rt = arg;

	if (++rt->turns % FILES_LOOK_TURNS == 0)
		look_at_files(rt);
	if (runtime_tickets_turn(&rt->tickets, rt->config, sp_now_ms()))
		log_write(rt->queue, LEVEL_INFO, "the key of TLS session tickets has changed");
	(void)fd;
	(void)what;
	runtime_doors_tend(&rt->doors, rt->config);
	runtime_memory_turn(&rt->memory, rt->counters, rt->workers_n);
	for (size_t i = 0; i < rt->ledgers_n; i++)
		offer_waiters(rt, rt->ledgers[i].ledger);
}

/* --- sockets ------------------------------------------------------------------------ */

static size_t count_binds(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->listeners_n; i++)
		n += config->listeners[i].binds_n;
	return n;
}

static bool config_binds(const struct config *config, const struct netaddr *address)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		for (size_t j = 0; j < config->listeners[i].binds_n; j++) {
			if (memcmp(&config->listeners[i].binds[j], address, sizeof(*address)) == 0)
				return true;
		}
	}
	return false;
}

static void close_all(const int fds[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			listener_close(fds[i]);
	}
}

static void cannot_listen(const struct listener_config *listener, const struct netaddr *address, int why,
			  char error[RUNTIME_ERROR_MAX])
{
	char text[NETADDR_TEXT_MAX];

	snprintf(error, RUNTIME_ERROR_MAX, "listener %s: cannot listen on %s: %s", listener->name,
		 netaddr_format(address, text), strerror(-why));
}

/* One socket for each bind, -1 where `old` has the address already. */
static bool open_binds(const struct config *config, const struct config *old, int fds[],
		       char error[RUNTIME_ERROR_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->binds_n; j++, at++) {
			int fd = -1;

			fds[at] = -1;
			if (old != NULL && config_binds(old, &listener->binds[j]))
				continue;
			fd = listener_open(&listener->binds[j]);
			if (fd < 0) {
				cannot_listen(listener, &listener->binds[j], fd, error);
				close_all(fds, at);
				return false;
			}
			fds[at] = fd;
		}
	}
	return true;
}

/* Finds out whether all addresses are free before any is opened for sharing. */
static bool probe_binds(const struct config *config, const struct config *old, char error[RUNTIME_ERROR_MAX])
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->binds_n; j++) {
			int result = old != NULL && config_binds(old, &listener->binds[j])
					     ? 0
					     : listener_probe(&listener->binds[j]);

			if (result == 0)
				continue;
			cannot_listen(listener, &listener->binds[j], result, error);
			return false;
		}
	}
	return true;
}

/* --- start ------------------------------------------------------------------------------ */

/* As many descriptors as the system gives; the number. */
static size_t raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit wish = { limit.rlim_max < FD_MAX ? limit.rlim_max : FD_MAX, limit.rlim_max };

		if (wish.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &wish) == 0)
			limit = wish;
	}
	return limit.rlim_cur < FD_MAX ? (size_t)limit.rlim_cur : FD_MAX;
}

static void limit_sessions(const struct runtime *rt, struct config *config)
{
	size_t room = rt->fd_max > FD_OWN * 2 ? (rt->fd_max - FD_OWN) * 10 / FD_PER_TEN_SESSIONS : 32;

	if (config->max_sessions == 0)
		config->max_sessions = (unsigned)room;
}

static bool make_tables(struct runtime *rt, char error[RUNTIME_ERROR_MAX])
{
	rt->fd_max = raise_descriptors();
	limit_sessions(rt, rt->config);
	rt->workers_n = rt->config->workers;
	rt->table = session_table_new(rt->config->shards);
	if (rt->table != NULL)
		session_table_limit(rt->table, rt->config->max_sessions);
	rt->queue = event_queue_new(EVENT_QUEUE_CAPACITY);
	rt->counters = calloc(rt->workers_n, sizeof(*rt->counters));
	rt->mailboxes = calloc(rt->workers_n, sizeof(*rt->mailboxes));
	rt->workers = calloc(rt->workers_n, sizeof(*rt->workers));
	rt->farewells = calloc(rt->workers_n, sizeof(*rt->farewells));
	rt->registry = port_registry_new(runtime_ports_seed());
	set_error(error, "out of memory", "");
	if (fd_registry_init(rt->fd_max) != 0 || rt->table == NULL || rt->queue == NULL || rt->registry == NULL ||
	    rt->counters == NULL || rt->mailboxes == NULL || rt->workers == NULL || rt->farewells == NULL)
		return false;
	for (size_t i = 0; i < rt->workers_n; i++) {
		rt->counters[i] = calloc(1, sizeof(struct counters));
		rt->mailboxes[i] = mailbox_new(MAILBOX_CAPACITY);
		if (rt->counters[i] == NULL || rt->mailboxes[i] == NULL)
			return false;
	}
	rt->doors.mailboxes = rt->mailboxes;
	rt->doors.workers = rt->workers_n;
	return attach_ledgers(rt, rt->config) && runtime_ports_attach(&rt->ports, rt->config) &&
	       runtime_tickets_attach(&rt->tickets, rt->config) && runtime_tickets_take(&rt->tickets, rt->config);
}

static bool make_workers(struct runtime *rt, char error[RUNTIME_ERROR_MAX])
{
	const struct worker_shared shared = { rt->table, rt->queue, rt->mailboxes, rt->workers_n, rt->registry };
	size_t n = count_binds(rt->config);
	int *fds = calloc(n, sizeof(int));

	if (fds == NULL || !probe_binds(rt->config, NULL, error) ||
	    !runtime_doors_open(&rt->doors, NULL, rt->config, error)) {
		free(fds);
		return false;
	}
	for (size_t i = 0; i < rt->workers_n; i++) {
		if (!open_binds(rt->config, NULL, fds, error)) {
			free(fds);
			return false;
		}
		rt->workers[i] = worker_new((uint32_t)i, &shared, rt->counters[i], rt->config, fds, n);
		if (rt->workers[i] == NULL) {
			close_all(fds, n);
			free(fds);
			set_error(error, "cannot make a worker: out of memory or descriptors", "");
			return false;
		}
		rt->farewells[i] = worker_farewells(rt->workers[i]);
	}
	free(fds);
	return true;
}

static bool start_threads(struct runtime *rt, char error[RUNTIME_ERROR_MAX])
{
	const struct caretaker_sources sources = { rt->base, rt->table, rt->queue, rt->mailboxes };

	rt->reaper = reaper_start(rt->table, rt->mailboxes, rt->workers_n);
	if (rt->reaper == NULL) {
		set_error(error, "cannot start the reaper", "");
		return false;
	}
	rt->caretaker = caretaker_new(&sources, rt->config);
	if (rt->caretaker == NULL) {
		set_error(error, "cannot look after servers", "out of memory");
		return false;
	}
	rt->follower = follower_new(rt->base, rt->queue, rt->config);
	if (rt->follower == NULL) {
		set_error(error, "cannot follow the names of servers", "out of memory");
		return false;
	}
	for (; rt->started < rt->workers_n; rt->started++) {
		int result = worker_start(rt->workers[rt->started]);

		if (result != 0) {
			set_error(error, "cannot start a worker", strerror(-result));
			return false;
		}
	}
	return true;
}

static bool start_ops(struct runtime *rt, char error[RUNTIME_ERROR_MAX])
{
	struct ops_sources sources = {
		.table = rt->table,
		.workers = rt->workers_n,
		.counters = rt->counters,
		.mailboxes = rt->mailboxes,
		.farewells = rt->farewells,
		.registry = rt->registry,
		.queue = rt->queue,
		.hub = rt->hub,
		.reaper = &rt->reaper,
		.config = (const struct config *const *)&rt->config,
		.fd_max = rt->fd_max,
		.started_ms = sp_now_ms(),
	};
	char why[ADMIN_ERROR_MAX];

	rt->auditor = auditor_new(rt->base, &sources, AUDIT_PERIOD_MS);
	if (rt->auditor == NULL) {
		set_error(error, "cannot start the auditor", "out of memory");
		return false;
	}
	sources.auditor = rt->auditor;
	if (rt->config->admin.socket[0] == '\0')
		return true;
	rt->admin = admin_start(rt->base, &sources, rt->config->admin.socket, NULL, why);
	if (rt->admin == NULL)
		set_error(error, why, "");
	return rt->admin != NULL;
}

static void emit_text(struct runtime *rt, enum event_kind kind, const char *text)
{
	struct sp_event event;

	event_init(&event, kind);
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(rt->queue, &event);
}

static void emit_listening(struct runtime *rt, const struct config *config, const struct config *old)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->binds_n; j++) {
			struct sp_event event;

			if (old != NULL && config_binds(old, &listener->binds[j]))
				continue;
			event_init(&event, EVENT_LISTENING);
			sp_copy(event.listener, sizeof(event.listener), listener->name);
			(void)netaddr_format(&listener->binds[j], event.text);
			event_emit(rt->queue, &event);
		}
	}
}

static void on_look(evutil_socket_t fd, short what, void *arg);

struct runtime *runtime_start(struct event_base *base, struct config *config, char error[RUNTIME_ERROR_MAX])
{
	struct runtime *rt = calloc(1, sizeof(*rt));
	const struct timeval second = { WAITERS_LOOK_MS / 1000, 0 };
	char why[EVENT_HUB_ERROR_MAX];

	if (rt == NULL) {
		config_unref(&config);
		set_error(error, "out of memory", "");
		return NULL;
	}
	rt->base = base;
	rt->config = config;
	rt->tls_loaded = config_tls_stamp(config);
	rt->tls_seen = rt->tls_loaded;
	rt->on_look = event_new(base, -1, EV_PERSIST, on_look, rt);
	rt->on_waiters = event_new(base, -1, EV_PERSIST, on_waiters, rt);
	if (!make_tables(rt, error) || rt->on_look == NULL || rt->on_waiters == NULL) {
		runtime_free(&rt);
		return NULL;
	}
	rt->hub = event_hub_start(rt->queue, &config->log, why);
	if (rt->hub == NULL) {
		set_error(error, why, "");
		runtime_free(&rt);
		return NULL;
	}
	if (!make_workers(rt, error) || !start_ops(rt, error) || !start_threads(rt, error)) {
		runtime_free(&rt);
		return NULL;
	}
	event_add(rt->on_waiters, &second);
	emit_text(rt, EVENT_CONFIG_LOADED, config->file);
	emit_listening(rt, config, NULL);
	(void)auditor_request(rt->auditor);
	emit_text(rt, EVENT_STARTED, "sallyport " SALLYPORT_VERSION);
	return rt;
}

/* --- reload ------------------------------------------------------------------------------ */

/* What a reload cannot change is kept as it is, and said. */
static void keep_fixed(struct runtime *rt, struct config *new)
{
	const struct config *old = rt->config;

	bool other_dns = new->dns_servers_n != old->dns_servers_n ||
			 new->dns_ttl_min_ms != old->dns_ttl_min_ms || new->dns_ttl_max_ms != old->dns_ttl_max_ms;

	for (size_t i = 0; i < new->dns_servers_n && !other_dns; i++)
		other_dns = !netaddr_same_host(&new->dns_servers[i], &old->dns_servers[i]) ||
			    netaddr_port(&new->dns_servers[i]) != netaddr_port(&old->dns_servers[i]);
	if (other_dns || new->workers != old->workers || new->shards != old->shards ||
	    strcmp(new->admin.socket, old->admin.socket) != 0 || strcmp(new->log.file, old->log.file) != 0 ||
	    new->log.format != old->log.format || new->log.level != old->log.level ||
	    new->log.syslog != old->log.syslog)
		log_write(rt->queue, LEVEL_WARNING,
			  "reload: changes of workers, shards, dns_servers, dns_ttl_min, dns_ttl_max, admin and log need a restart");
}

static struct worker_update *make_update(const struct runtime *rt, struct config *new,
					 char error[RUNTIME_ERROR_MAX])
{
	size_t n = count_binds(new);
	struct worker_update *update = malloc(sizeof(*update) + n * sizeof(int));

	if (update == NULL) {
		set_error(error, "out of memory", "");
		return NULL;
	}
	update->n = n;
	if (!open_binds(new, rt->config, update->fds, error)) {
		free(update);
		return NULL;
	}
	update->config = config_ref(new);
	return update;
}

static void drop_update(struct worker_update *update)
{
	if (update == NULL)
		return;
	close_all(update->fds, update->n);
	config_unref(&update->config);
	free(update);
}

static bool send_updates(struct runtime *rt, struct config *new, char error[RUNTIME_ERROR_MAX])
{
	struct worker_update **updates = calloc(rt->workers_n, sizeof(struct worker_update *));
	size_t made = 0;

	if (updates == NULL) {
		set_error(error, "out of memory", "");
		return false;
	}
	while (made < rt->workers_n && (updates[made] = make_update(rt, new, error)) != NULL)
		made++;
	for (size_t i = 0; i < made; i++) {
		struct message message = { .kind = MESSAGE_CONFIG, .pointer = updates[i] };

		/* All or nothing while sockets are opened; posting has reserved room. */
		if (made < rt->workers_n || !mailbox_post(rt->mailboxes[i], message))
			drop_update(updates[i]);
	}
	free(updates);
	return made == rt->workers_n;
}

static void refuse_config(struct runtime *rt, const struct config_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		emit_text(rt, EVENT_CONFIG_REFUSED, errors->lines[i]);
}

void runtime_reload(struct runtime *rt)
{
	struct config_errors errors = { 0 };
	char error[RUNTIME_ERROR_MAX];
	struct config *new;
	uint64_t stamp;

	event_hub_reopen(rt->hub);
	if (rt->config->file[0] == '(')
		return; /* the one-liner has no file */
	new = config_load(rt->config->file, &errors, NULL);
	if (new == NULL) {
		refuse_config(rt, &errors);
		config_errors_fini(&errors);
		return;
	}
	config_errors_fini(&errors);
	/* A file that changed since it was read is looked at again. */
	stamp = config_tls_stamp(new);
	limit_sessions(rt, new);
	keep_fixed(rt, new);
	set_error(error, "out of memory", "");
	if (!probe_binds(new, rt->config, error) || !attach_ledgers(rt, new) ||
	    !runtime_ports_attach(&rt->ports, new) || !runtime_tickets_attach(&rt->tickets, new) ||
	    !runtime_doors_open(&rt->doors, rt->config, new, error) ||
	    !send_updates(rt, new, error)) {
		emit_text(rt, EVENT_CONFIG_REFUSED, error);
		config_unref(&new);
		return;
	}
	session_table_limit(rt->table, new->max_sessions);
	emit_listening(rt, new, rt->config);
	caretaker_configure(rt->caretaker, new);
	follower_configure(rt->follower, new);
	config_unref(&rt->config);
	rt->config = new;
	rt->tls_loaded = stamp;
	rt->tls_seen = stamp;
	if (!runtime_tickets_take(&rt->tickets, new))
		log_write(rt->queue, LEVEL_ERROR, "no random numbers: the keys of TLS session tickets stay");
	for (size_t i = 0; i < rt->ledgers_n; i++)
		offer_waiters(rt, rt->ledgers[i].ledger);
	emit_text(rt, EVENT_CONFIG_LOADED, new->file);
}

/* --- end ----------------------------------------------------------------------------------- */

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct runtime *rt = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < rt->started; i++) {
		if (!worker_is_done(rt->workers[i]))
			return;
	}
	event_base_loopbreak(rt->base);
}

static void tell_workers(struct runtime *rt, struct message message)
{
	const struct timeval look = { 0, LOOK_MS * 1000 };

	for (size_t i = 0; i < rt->started; i++)
		(void)!mailbox_post(rt->mailboxes[i], message);
	event_add(rt->on_look, &look);
}

void runtime_drain(struct runtime *rt)
{
	emit_text(rt, EVENT_STOPPING, "");
	caretaker_free(&rt->caretaker); /* no logon will come for what it keeps */
	tell_workers(rt, (struct message){ .kind = MESSAGE_DRAIN, .number = rt->config->drain_timeout_ms });
}

void runtime_stop_now(struct runtime *rt)
{
	tell_workers(rt, (struct message){ .kind = MESSAGE_STOP });
}

/* What workers have posted to one that was gone by then, and what was posted to those that never ran. */
static void free_mailbox(struct mailbox **mailbox)
{
	struct message message;

	while (*mailbox != NULL && mailbox_take(*mailbox, &message, 1) == 1)
		worker_drop_message(&message);
	mailbox_free(mailbox);
}

static void free_workers(struct runtime *rt)
{
	for (size_t i = 0; i < rt->workers_n && rt->workers != NULL; i++) {
		if (i < rt->started)
			worker_join(&rt->workers[i]);
		else
			worker_discard(&rt->workers[i]);
	}
	free(rt->workers);
	for (size_t i = 0; i < rt->workers_n; i++) {
		if (rt->mailboxes != NULL)
			free_mailbox(&rt->mailboxes[i]);
		if (rt->counters != NULL)
			free(rt->counters[i]);
	}
	free(rt->mailboxes);
	free(rt->counters);
	free(rt->farewells);
}

void runtime_free(struct runtime **runtime)
{
	struct runtime *rt = *runtime;
	bool hub_ended;

	if (rt == NULL)
		return;
	*runtime = NULL;
	caretaker_free(&rt->caretaker);
	follower_free(&rt->follower);
	admin_stop(&rt->admin);
	auditor_free(&rt->auditor);
	/* Workers that run when the start failed half-way have no session yet. */
	if (rt->started > 0)
		runtime_stop_now(rt);
	free_workers(rt);
	reaper_stop(&rt->reaper);
	if (rt->hub != NULL)
		emit_text(rt, EVENT_STOPPED, "");
	hub_ended = event_hub_stop(&rt->hub);
	if (rt->on_look != NULL)
		event_free(rt->on_look);
	if (rt->on_waiters != NULL)
		event_free(rt->on_waiters);
	if (rt->table != NULL)
		session_table_free(&rt->table);
	if (hub_ended && rt->queue != NULL)
		event_queue_free(&rt->queue);
	for (size_t i = 0; i < rt->ledgers_n; i++)
		pool_ledger_free(&rt->ledgers[i].ledger);
	free(rt->ledgers);
	memo_free(&rt->memo);
	runtime_ports_fini(&rt->ports);
	runtime_doors_fini(&rt->doors);
	port_registry_free(&rt->registry);
	runtime_tickets_fini(&rt->tickets);
	config_unref(&rt->config);
	fd_registry_fini();
	free(rt);
}

// SPDX-License-Identifier: ISC
/*
 * Building the house and taking it down: tables, hub, sockets, workers, reaper,
 * auditor, admin socket; and the reload.
 */
#include "sallyport/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "sallyport/admin.h"
#include "sallyport/auditor.h"
#include "sallyport/caretaker.h"
#include "sallyport/events.h"
#include "sallyport/fd_registry.h"
#include "sallyport/listener.h"
#include "sallyport/reaper.h"
#include "sallyport/port_registry.h"
#include "sallyport/runtime_binds.h"
#include "sallyport/runtime_doors.h"
#include "sallyport/runtime_follow.h"
#include "sallyport/runtime_memory.h"
#include "sallyport/runtime_pools.h"
#include "sallyport/runtime_ports.h"
#include "sallyport/runtime_states.h"
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
	struct runtime_pools pools;
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
	runtime_pools_offer(&rt->pools, rt->mailboxes);
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
	return runtime_pools_attach(&rt->pools, rt->config) && runtime_ports_attach(&rt->ports, rt->config) &&
	       runtime_tickets_attach(&rt->tickets, rt->config) && runtime_tickets_take(&rt->tickets, rt->config);
}

static bool make_workers(struct runtime *rt, char error[RUNTIME_ERROR_MAX])
{
	const struct worker_shared shared = { rt->table,     rt->queue,	   rt->mailboxes,
					      rt->workers_n, rt->registry, rt->tickets.hellos };
	size_t n = runtime_binds_count(rt->config);
	int *fds = calloc(n, sizeof(int));

	if (fds == NULL || !runtime_binds_probe(rt->config, NULL, error) ||
	    !runtime_doors_open(&rt->doors, NULL, rt->config, error)) {
		free(fds);
		return false;
	}
	for (size_t i = 0; i < rt->workers_n; i++) {
		if (!runtime_binds_open(rt->config, NULL, fds, error)) {
			free(fds);
			return false;
		}
		rt->workers[i] = worker_new((uint32_t)i, &shared, rt->counters[i], rt->config, fds, n);
		if (rt->workers[i] == NULL) {
			runtime_binds_close(fds, n);
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

			if (old != NULL && runtime_binds_has(old, &listener->binds[j]))
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
	size_t n = runtime_binds_count(new);
	struct worker_update *update = malloc(sizeof(*update) + n * sizeof(int));

	if (update == NULL) {
		set_error(error, "out of memory", "");
		return NULL;
	}
	update->n = n;
	if (!runtime_binds_open(new, rt->config, update->fds, error)) {
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
	runtime_binds_close(update->fds, update->n);
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
	int64_t began_ms = sp_now_ms();

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
	/* The pools last: what they are told holds for all sessions at once. */
	if (!runtime_binds_probe(new, rt->config, error) || !runtime_ports_attach(&rt->ports, new) ||
	    !runtime_tickets_attach(&rt->tickets, new) ||
	    !runtime_doors_open(&rt->doors, rt->config, new, error) ||
	    !runtime_pools_attach(&rt->pools, new) || !send_updates(rt, new, error)) {
		runtime_pools_restate(rt->config);
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
	runtime_pools_offer(&rt->pools, rt->mailboxes);
	runtime_states_tell(new, rt->queue, began_ms);
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
	runtime_pools_fini(&rt->pools);
	runtime_ports_fini(&rt->ports);
	runtime_doors_fini(&rt->doors);
	port_registry_free(&rt->registry);
	runtime_tickets_fini(&rt->tickets);
	config_unref(&rt->config);
	fd_registry_fini();
	free(rt);
}

// SPDX-License-Identifier: ISC
/*
 * The pooled ports that are open, across reloads. A worker is always told all
 * of its doors; what it is not told of it closes.
 */
#include "sallyport/runtime_doors.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/doors.h"
#include "sallyport/listener.h"

/* The doors that are wanted, in the making. */
struct wanted {
	struct door_terms *v;
	size_t n;
	bool no_memory;
};

static void wanted_fini(struct wanted *wanted)
{
	for (size_t i = 0; i < wanted->n; i++) {
		if (wanted->v[i].fd >= 0)
			listener_close(wanted->v[i].fd);
		free(wanted->v[i].trusted);
	}
	free(wanted->v);
	*wanted = (struct wanted){ NULL, 0, false };
}

/* Whether what comes to `address` comes to that door, too. */
static bool covers(const struct netaddr *door, const struct netaddr *address)
{
	return door->family == address->family && netaddr_port(door) == netaddr_port(address) &&
	       (netaddr_is_any(door) || netaddr_same_host(door, address));
}

static bool is_covered(const struct wanted *wanted, const struct netaddr *address)
{
	for (size_t i = 0; i < wanted->n; i++) {
		if (covers(&wanted->v[i].address, address))
			return true;
	}
	return false;
}

static void want(struct wanted *wanted, const struct listener_config *listener, const struct netaddr *address)
{
	size_t n = listener->proxy_protocol_data ? listener->proxy_data_trusted_n : 0;
	struct door_terms *grown;
	struct door_terms *terms;

	if (wanted->no_memory || is_covered(wanted, address))
		return;
	grown = realloc(wanted->v, (wanted->n + 1) * sizeof(*grown));
	wanted->no_memory = grown == NULL;
	if (grown == NULL)
		return;
	wanted->v = grown;
	terms = &grown[wanted->n];
	*terms = (struct door_terms){ .address = *address, .fd = -1, .header = listener->proxy_protocol_data };
	if (n > 0) {
		terms->trusted = calloc(n, sizeof(*terms->trusted));
		wanted->no_memory = terms->trusted == NULL;
		if (terms->trusted == NULL)
			return;
		memcpy(terms->trusted, listener->proxy_data_trusted, n * sizeof(*terms->trusted));
		terms->trusted_n = n;
	}
	wanted->n++;
}

/* Those of all interfaces come first: they cover the others. */
static void want_all(struct wanted *wanted, const struct config *config, bool any)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];
		const struct port_range *range = &listener->passive_ports;

		for (size_t b = 0; range->pooled && b < listener->binds_n; b++) {
			struct netaddr address = listener->binds[b];

			for (unsigned port = range->first; port <= range->last; port++) {
				netaddr_set_port(&address, (uint16_t)port);
				if (netaddr_is_any(&address) == any)
					want(wanted, listener, &address);
			}
		}
	}
}

/* Its descriptor; -1: it is not. */
static int is_open(const struct runtime_doors *doors, const struct netaddr *address)
{
	for (size_t i = 0; i < doors->open_n; i++) {
		if (memcmp(&doors->open[i].address, address, sizeof(*address)) == 0)
			return doors->open[i].fd;
	}
	return -1;
}

/* What `config` wants, before what the former ones want. */
static struct wanted make_wanted(const struct runtime_doors *doors, const struct config *config)
{
	struct wanted wanted = { NULL, 0, false };

	want_all(&wanted, config, true);
	want_all(&wanted, config, false);
	for (size_t i = 0; i < doors->former_n; i++) {
		want_all(&wanted, doors->former[i], true);
		want_all(&wanted, doors->former[i], false);
	}
	return wanted;
}

static bool open_new(const struct runtime_doors *doors, struct wanted *wanted,
		     char error[RUNTIME_DOORS_ERROR_MAX])
{
	char text[NETADDR_TEXT_MAX];

	for (size_t i = 0; i < wanted->n; i++) {
		struct door_terms *terms = &wanted->v[i];

		if (is_open(doors, &terms->address) >= 0)
			continue;
		terms->fd = door_open(&terms->address);
		if (terms->fd >= 0)
			continue;
		snprintf(error, RUNTIME_DOORS_ERROR_MAX, "cannot listen on the pooled port %s: %s",
			 netaddr_format(&terms->address, text), strerror(-terms->fd));
		terms->fd = -1;
		return false;
	}
	return true;
}

static size_t worker_of(const struct runtime_doors *doors, const struct netaddr *address)
{
	return netaddr_port(address) % doors->workers;
}

/* One worker's part, whose descriptors and memory go over to the plan. */
static struct door_plan *make_plan(const struct runtime_doors *doors, struct wanted *wanted, size_t worker)
{
	struct door_plan *plan = malloc(sizeof(*plan) + wanted->n * sizeof(plan->v[0]));

	if (plan == NULL)
		return NULL;
	plan->n = 0;
	for (size_t i = 0; i < wanted->n; i++) {
		struct door_terms *terms = &wanted->v[i];

		if (worker_of(doors, &terms->address) != worker)
			continue;
		plan->v[plan->n++] = *terms;
		terms->fd = -1;
		terms->trusted = NULL;
	}
	return plan;
}

/* Tells every worker; all or nothing, but for mailboxes whose reserved room is full of messages like this one. */
static bool send_plans(const struct runtime_doors *doors, struct wanted *wanted)
{
	struct door_plan **plans = calloc(doors->workers, sizeof(struct door_plan *));
	size_t made = 0;
	bool ok;

	if (plans == NULL)
		return false;
	while (made < doors->workers && (plans[made] = make_plan(doors, wanted, made)) != NULL)
		made++;
	ok = made == doors->workers;
	for (size_t i = 0; i < made; i++) {
		struct message message = { .kind = MESSAGE_DOORS, .pointer = plans[i] };

		if (!ok || !mailbox_post(doors->mailboxes[i], message))
			door_plan_free(&plans[i]);
	}
	free(plans);
	return ok;
}

/* Makes the doors what they are to be. */
static bool follow(struct runtime_doors *doors, const struct config *config, char error[RUNTIME_DOORS_ERROR_MAX])
{
	struct wanted wanted = make_wanted(doors, config);
	struct open_door *open = NULL;
	bool ok;

	snprintf(error, RUNTIME_DOORS_ERROR_MAX, "out of memory");
	if (wanted.n == 0 && doors->open_n == 0 && !wanted.no_memory)
		return true;
	open = calloc(wanted.n + 1, sizeof(*open));
	ok = open != NULL && !wanted.no_memory && open_new(doors, &wanted, error);
	for (size_t i = 0; ok && i < wanted.n; i++) {
		const struct door_terms *terms = &wanted.v[i];

		open[i].address = terms->address;
		open[i].fd = terms->fd >= 0 ? terms->fd : is_open(doors, &terms->address);
	}
	ok = ok && send_plans(doors, &wanted);
	if (ok) {
		free(doors->open);
		doors->open = open;
		doors->open_n = wanted.n;
	} else {
		free(open);
	}
	wanted_fini(&wanted);
	return ok;
}

static bool keep_former(struct runtime_doors *doors, struct config *former)
{
	struct config **grown = realloc(doors->former, (doors->former_n + 1) * sizeof(struct config *));

	if (grown == NULL)
		return false;
	doors->former = grown;
	grown[doors->former_n++] = config_ref(former);
	return true;
}

/* Whether connections to the listener's pooled ports arrive at that door. */
static bool is_door_of(const struct listener_config *listener, const struct netaddr *door)
{
	const struct port_range *range = &listener->passive_ports;
	uint16_t port = netaddr_port(door);

	for (size_t b = 0; port >= range->first && port <= range->last && b < listener->binds_n; b++) {
		struct netaddr address = listener->binds[b];

		netaddr_set_port(&address, port);
		if (covers(door, &address))
			return true;
	}
	return false;
}

/* Notes in the listener where connections to its pooled ports arrive. False: no memory. */
static bool attach(const struct runtime_doors *doors, struct listener_config *listener)
{
	if (!listener->passive_ports.pooled)
		return true;
	listener->doors = calloc(doors->open_n, sizeof(*listener->doors));
	if (listener->doors == NULL)
		return false;
	for (size_t i = 0; i < doors->open_n; i++) {
		if (!is_door_of(listener, &doors->open[i].address))
			continue;
		listener->doors[listener->doors_n++] = (struct door_terms){
			.address = doors->open[i].address,
			.fd = doors->open[i].fd,
			.header = listener->proxy_protocol_data,
			.trusted = listener->proxy_data_trusted,
			.trusted_n = listener->proxy_data_trusted_n,
		};
	}
	return true;
}

bool runtime_doors_open(struct runtime_doors *doors, struct config *former, struct config *config,
			char error[RUNTIME_DOORS_ERROR_MAX])
{
	snprintf(error, RUNTIME_DOORS_ERROR_MAX, "out of memory");
	if (former != NULL && !keep_former(doors, former))
		return false;
	doors->stale = former != NULL;
	if (!follow(doors, config, error))
		return false;
	snprintf(error, RUNTIME_DOORS_ERROR_MAX, "out of memory");
	for (size_t i = 0; i < config->listeners_n; i++) {
		if (!attach(doors, &config->listeners[i]))
			return false;
	}
	return true;
}

/* Nobody has it but us, and nobody can get it any more; or it is in force, and we need not keep it. */
static bool is_done(struct config *former, const struct config *now)
{
	return former == now || atomic_load_explicit(&former->refs, memory_order_acquire) == 1;
}

void runtime_doors_tend(struct runtime_doors *doors, const struct config *now)
{
	char error[RUNTIME_DOORS_ERROR_MAX];
	size_t kept = 0;

	if (!doors->stale)
		return;
	for (size_t i = 0; i < doors->former_n; i++) {
		if (is_done(doors->former[i], now))
			config_unref(&doors->former[i]);
		else
			doors->former[kept++] = doors->former[i];
	}
	if (kept == doors->former_n && kept > 0)
		return;
	doors->former_n = kept;
	/* When it fails it is tried again. */
	doors->stale = !follow(doors, now, error) || kept > 0;
}

void runtime_doors_fini(struct runtime_doors *doors)
{
	for (size_t i = 0; i < doors->former_n; i++)
		config_unref(&doors->former[i]);
	free(doors->former);
	free(doors->open);
	*doors = (struct runtime_doors){ 0 };
}

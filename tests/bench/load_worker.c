// SPDX-License-Identifier: ISC
/*
 * A worker of the load generator: keeps its clients busy, counts what they did.
 *
 * Nothing is begun from within a client's failure or end: the client waits on
 * the worker's list until the turn's events are done with.
 */
#include "load.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define RETRY_NS (50 * NS_PER_MS)
#define SCAN_NS (250 * NS_PER_MS)
#define CLOSING_NS NS_PER_S
#define LOGONS_AT_ONCE 64U
#define FAILURES_MAX 3U
#define REFUSED_BACK_OFF (10 * NS_PER_MS)

static atomic_int expire_phase;

int load_expire_phase(void)
{
	return atomic_load_explicit(&expire_phase, memory_order_relaxed);
}

void load_set_expire_phase(int phase)
{
	atomic_store_explicit(&expire_phase, phase, memory_order_relaxed);
}

static int64_t seconds_ns(double seconds)
{
	return (int64_t)(seconds * 1e9);
}

/* --- what runs when -------------------------------------------------------------------- */

static void wait_until(struct client *c, int64_t due)
{
	struct worker *w = c->worker;

	c->due = due;
	if (due < w->next_due)
		w->next_due = due;
	if (c->waiting)
		return;
	c->waiting = true;
	c->next_waiting = w->waiting;
	w->waiting = c;
}

static void set_busy(struct client *c, bool busy)
{
	if (c->busy == busy)
		return;
	c->busy = busy;
	if (busy)
		c->worker->busy++;
	else
		c->worker->busy--;
}

static void begin(struct client *c)
{
	set_busy(c, true);
	c->began = bench_now_ns();
	client_operate(c);
}

static void count_operation(struct client *c)
{
	struct worker *w = c->worker;
	int64_t took = bench_now_ns() - c->began;

	if (!w->counting)
		return;
	if (w->mode == MODE_NOOP && load.mode == MODE_EXPIRE && load_expire_phase() == 1)
		histogram_add(&w->tally.meanwhile, took);
	else
		histogram_add(&w->tally.operations, took);
}

/* --- what a client tells ------------------------------------------------------------------ */

static void note_error(struct client *c, enum load_error error, const char *text)
{
	struct tally *tally = &c->worker->tally;

	tally->errors[error]++;
	if (tally->first_error[0] == '\0')
		(void)snprintf(tally->first_error, sizeof(tally->first_error), "%s", text);
}

void worker_client_ready(struct client *c)
{
	struct worker *w = c->worker;

	if (w->mode == MODE_LOGON) { /* 221: the next one begins when this one's end is seen */
		count_operation(c);
		c->failures = 0;
		return;
	}
	c->failures = 0;
	if (!c->up) {
		c->up = true;
		w->up++;
	} else if (c->began != 0 && w->mode != MODE_EXPIRE) {
		count_operation(c);
	}
	if (w->mode != MODE_EXPIRE) /* there, its deadline is reckoned from it */
		c->began = 0;
	if (!w->working || w->mode == MODE_EXPIRE || w->mode == MODE_IDLE) {
		set_busy(c, false);
		return;
	}
	if (load.mode == MODE_EXPIRE) {
		set_busy(c, false);
		wait_until(c, w->now + seconds_ns(load.pace));
		return;
	}
	begin(c);
}

void worker_client_closed(struct client *c)
{
	set_busy(c, false);
	if (c->worker->working)
		wait_until(c, c->worker->now);
}

void worker_client_failed(struct client *c, enum load_error error, const char *text)
{
	struct worker *w = c->worker;

	note_error(c, error, text);
	set_busy(c, false);
	if (c->up) {
		c->up = false;
		w->up--;
	}
	c->began = 0;
	c->failures++;
	if (!w->counting && c->failures >= FAILURES_MAX)
		w->given_up++;
	else if (w->working || !w->counting)
		wait_until(c, w->now + RETRY_NS);
}

void worker_client_refused(struct client *c, const char *text)
{
	note_error(c, ERROR_REFUSED, text);
	set_busy(c, false);
	c->began = 0;
	if (c->worker->working)
		wait_until(c, c->worker->now + REFUSED_BACK_OFF);
}

bool worker_client_expired(struct client *c)
{
	struct worker *w = c->worker;

	if (w->mode != MODE_EXPIRE || !w->counting || c->began == 0)
		return false;
	w->now = bench_now_ns();
	if (w->first_end == 0)
		w->first_end = w->now;
	w->last_end = w->now;
	load_set_expire_phase(1);
	if (c->told)
		w->tally.told++;
	else
		w->tally.silent++;
	histogram_add(&w->tally.late, w->now - c->began - seconds_ns(load.idle_timeout));
	c->up = false;
	w->up--;
	return true;
}

/* --- the loop -------------------------------------------------------------------------- */

static void run_waiting(struct worker *w)
{
	struct client *list = w->waiting;

	w->waiting = NULL;
	w->next_due = INT64_MAX;
	while (list != NULL) {
		struct client *c = list;

		list = c->next_waiting;
		c->waiting = false;
		if (c->due > w->now) {
			wait_until(c, c->due);
		} else if (c->step == STEP_READY) {
			if (w->working)
				begin(c);
		} else if (c->step == STEP_CLOSED && (w->working || !w->counting)) {
			set_busy(c, true);
			c->began = w->mode == MODE_LOGON ? bench_now_ns() : 0;
			client_connect(c);
		}
	}
}

/* Ends what hangs. */
static void scan(struct worker *w)
{
	int64_t limit = seconds_ns(load.limit);
	unsigned int i;

	w->next_scan = w->now + SCAN_NS;
	for (i = 0; i < w->started; i++) {
		struct client *c = &w->clients[i];
		int64_t age = w->now - c->step_began;
		char text[64];

		if (c->step == STEP_CLOSING && age > CLOSING_NS) {
			w->tally.lingered += w->counting ? 1 : 0;
			client_close(c);
			worker_client_closed(c);
		} else if (c->busy && c->step != STEP_CLOSED && c->step != STEP_FINAL &&
		           age > limit) {
			(void)snprintf(text, sizeof(text), "no answer at %s",
			               client_step_name(c->step));
			client_close(c);
			worker_client_failed(c, ERROR_TIMEOUT, text);
		}
	}
}

static void turn(struct worker *w, int64_t until)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int64_t next = w->next_due < w->next_scan ? w->next_due : w->next_scan;
	int64_t wait_ns;
	int count;
	int i;

	w->now = bench_now_ns();
	if (until < next)
		next = until;
	wait_ns = next > w->now ? next - w->now : 0;
	count = epoll_wait(w->epoll_fd, events, EVENTS_PER_TURN,
	                   (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS));
	if (count == -1 && errno != EINTR)
		bench_fail(errno, "epoll_wait");
	w->now = bench_now_ns();
	for (i = 0; i < count; i++)
		client_event(events[i].data.ptr);
	if (w->now >= w->next_due)
		run_waiting(w);
	if (w->now >= w->next_scan)
		scan(w);
}

/* --- phases ---------------------------------------------------------------------------- */

static void start_logons(struct worker *w)
{
	while (w->started < w->count && w->started - w->up - w->given_up < LOGONS_AT_ONCE) {
		struct client *c = &w->clients[w->started++];

		set_busy(c, true);
		client_connect(c);
	}
}

/* expire: those that have been open for a while must not end before they are meant to. */
static void keep_alive(struct worker *w, int64_t *next)
{
	unsigned int i;

	if (w->mode != MODE_EXPIRE || w->now < *next)
		return;
	*next = w->now + seconds_ns(load.idle_timeout) / 3;
	for (i = 0; i < w->started; i++) {
		struct client *c = &w->clients[i];

		if (c->step == STEP_READY &&
		    w->now - c->step_began > seconds_ns(load.idle_timeout) / 3)
			client_noop(c);
	}
}

static void settle(struct worker *w)
{
	int64_t until = bench_now_ns() + seconds_ns(load.limit) * 2;

	w->working = false;
	while (w->busy > 0 && bench_now_ns() < until)
		turn(w, until);
}

static void log_all_on(struct worker *w)
{
	int64_t until = bench_now_ns() + seconds_ns(load.limit) + w->count * (20 * NS_PER_MS);
	int64_t next_alive = 0;

	while (w->up + w->given_up < w->count && w->now < until) {
		start_logons(w);
		turn(w, until);
		keep_alive(w, &next_alive);
	}
}

static void start_all(struct worker *w)
{
	unsigned int i;

	w->working = true;
	for (i = 0; i < w->count; i++) {
		struct client *c = &w->clients[i];

		if (w->mode == MODE_LOGON || c->step == STEP_READY)
			wait_until(c, w->now);
	}
	w->started = w->count;
}

void worker_prepare(struct worker *w)
{
	int64_t until;

	w->now = bench_now_ns();
	w->next_scan = w->now + SCAN_NS;
	if (w->mode != MODE_LOGON)
		log_all_on(w);
	if (w->mode == MODE_IDLE || w->mode == MODE_EXPIRE || load.warmup <= 0.0)
		return;
	until = bench_now_ns() + seconds_ns(load.warmup);
	start_all(w);
	while (w->now < until && w->given_up < w->count)
		turn(w, until);
	settle(w);
}

/* Touches every session, then waits until each has been told or dropped. */
static void measure_expiry(struct worker *w)
{
	int64_t limit = seconds_ns(load.idle_timeout) * 2 + seconds_ns(load.limit);
	int64_t until;
	unsigned int i;

	for (i = 0; i < w->count; i++) {
		struct client *c = &w->clients[i];

		if (c->step != STEP_READY)
			continue;
		c->began = bench_now_ns();
		client_noop(c);
		if (i % 64U == 63U)
			turn(w, bench_now_ns());
	}
	until = bench_now_ns() + limit;
	while (w->up > 0 && w->now < until)
		turn(w, until);
	load_set_expire_phase(2);
}

static void measure_others(struct worker *w)
{
	start_all(w);
	while (load_expire_phase() != 2)
		turn(w, w->now + 50 * NS_PER_MS);
	settle(w);
}

void worker_measure(struct worker *w)
{
	int64_t until = bench_now_ns() + seconds_ns(load.duration);

	memset(&w->tally, 0, sizeof(w->tally));
	w->counting = true;
	w->now = bench_now_ns();
	if (w->mode == MODE_EXPIRE) {
		measure_expiry(w);
		return;
	}
	if (load.mode == MODE_EXPIRE) {
		measure_others(w);
		return;
	}
	if (w->mode == MODE_IDLE)
		return;
	start_all(w);
	while (w->now < until)
		turn(w, until);
	settle(w);
	w->tally.errors[ERROR_TIMEOUT] += w->busy;
}

void worker_init(struct worker *w, unsigned int index, enum load_mode mode, unsigned int count)
{
	unsigned int i;

	w->index = index;
	w->mode = mode;
	w->count = count;
	w->connections = index * 7919U; /* workers begin at different sources */
	w->next_due = INT64_MAX;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->clients = calloc(count, sizeof(w->clients[0]));
	if (w->epoll_fd == -1 || (w->clients == NULL && count > 0))
		bench_fail(errno, "cannot start");
	for (i = 0; i < count; i++) {
		struct client *c = &w->clients[i];

		c->worker = w;
		c->index = index * 7919U + i;
		c->control = (struct channel){ .client = c, .fd = -1 };
		c->data = (struct channel){ .client = c, .fd = -1 };
	}
}

void worker_fini(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < w->count; i++)
		client_close(&w->clients[i]);
	free(w->clients);
	(void)close(w->epoll_fd);
}

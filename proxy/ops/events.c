// SPDX-License-Identifier: ISC
/*
 * The event hub's thread: batches from the queue to the sinks, and a word about
 * what was lost once it can be said.
 */
#include "sallyport/events.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/clock.h"
#include "sallyport/config.h"

#define STOP_POLL_MS 5

struct event_hub {
	struct event_queue *queue;
	struct sink *sinks[SINKS_MAX];
	size_t sinks_n;
	enum event_level level;
	uint64_t queue_told; /* drops of the queue that an event has spoken of */
	pthread_t thread;
	_Atomic bool stop;
	_Atomic bool reopen;
	_Atomic bool finished;
	struct sp_event batch[SINK_BATCH];
};

const char *sink_error_text(int error, char *buf, size_t size)
{
	if (error == EAGAIN)
		return "it is not read fast enough";
	if (error == ENXIO || error == EPIPE)
		return "nobody reads from it";
	return strerror_r(error, buf, size);
}

void sink_free(struct sink **sink)
{
	if (*sink == NULL)
		return;
	(*sink)->ops->free(*sink);
	*sink = NULL;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* A message of the hub's own, to all sinks but `but` (NULL: to all). What does not get out is not
 * missed. */
static void hub_say(struct event_hub *hub, enum event_level level, const struct sink *but,
                    const char *text)
{
	struct sp_event event;

	event_init(&event, EVENT_LOG);
	event.level = level;
	sp_copy(event.text, sizeof(event.text), text);
	for (size_t i = 0; i < hub->sinks_n; i++) {
		struct sink *sink = hub->sinks[i];

		if (sink != but && atomic_load(&sink->error) == 0)
			(void)sink->ops->write(sink, &event, 1);
	}
}

static void hub_write(struct event_hub *hub, struct sink *sink, const struct sp_event events[],
                      size_t n)
{
	int before = atomic_load(&sink->error);
	size_t written = sink->ops->write(sink, events, n);
	int after = atomic_load(&sink->error);
	char text[SINK_NAME_MAX + 128];
	char why[64];

	atomic_fetch_add(&sink->written, written);
	atomic_fetch_add(&sink->dropped, n - written);
	if (before != 0 || after == 0)
		return;
	snprintf(text, sizeof(text),
	         "events cannot be written to %s: %s; they are lost and counted", sink->name,
	         sink_error_text(after, why, sizeof(why)));
	hub_say(hub, LEVEL_ERROR, sink, text);
}

/* Says to a sink, and when it takes that, to the others, how many events it has missed. */
static void tell_sink_loss(struct event_hub *hub, struct sink *sink)
{
	uint64_t lost = atomic_load(&sink->dropped) - sink->told;
	int64_t now_ms = sp_now_ms();
	struct sp_event event;

	if (lost == 0 || now_ms < sink->tell_ms)
		return;
	event_init(&event, EVENT_LOG);
	event.level = LEVEL_WARNING;
	snprintf(event.text, sizeof(event.text),
	         "%llu events are lost: they could not be written to %s", (unsigned long long)lost,
	         sink->name);
	if (sink->ops->write(sink, &event, 1) == 0)
		return;
	sink->told += lost;
	sink->tell_ms = now_ms + SINK_TELL_MS;
	hub_say(hub, LEVEL_WARNING, sink, event.text);
}

static void tell_losses(struct event_hub *hub)
{
	struct event_queue_stats stats;
	char text[96];

	event_queue_stats(hub->queue, &stats);
	if (stats.dropped > hub->queue_told) {
		snprintf(text, sizeof(text), "%llu events are lost: the event queue was full",
		         (unsigned long long)(stats.dropped - hub->queue_told));
		hub->queue_told = stats.dropped;
		hub_say(hub, LEVEL_WARNING, NULL, text);
	}
	for (size_t i = 0; i < hub->sinks_n; i++)
		tell_sink_loss(hub, hub->sinks[i]);
}

static void reopen_sinks(struct event_hub *hub)
{
	for (size_t i = 0; i < hub->sinks_n; i++) {
		struct sink *sink = hub->sinks[i];
		int error = sink->ops->reopen != NULL ? sink->ops->reopen(sink) : 0;
		char text[SINK_NAME_MAX + 128];
		char why[64];

		if (error == 0)
			continue;
		snprintf(text, sizeof(text), "cannot open %s again (%s); the old one stays in use",
		         sink->name, sink_error_text(-error, why, sizeof(why)));
		hub_say(hub, LEVEL_ERROR, NULL, text);
	}
}

static size_t filter(struct sp_event events[], size_t n, enum event_level level)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (events[i].level < level)
			continue;
		if (kept != i)
			events[kept] = events[i];
		kept++;
	}
	return kept;
}

/* True when something came. */
static bool hub_turn(struct event_hub *hub, int64_t wait_ms)
{
	size_t n = event_queue_take(hub->queue, hub->batch, SINK_BATCH, wait_ms);

	if (atomic_exchange(&hub->reopen, false))
		reopen_sinks(hub);
	size_t kept = filter(hub->batch, n, hub->level);
	for (size_t i = 0; kept > 0 && i < hub->sinks_n; i++)
		hub_write(hub, hub->sinks[i], hub->batch, kept);
	tell_losses(hub);
	return n > 0;
}

static void *hub_main(void *arg)
{
	struct event_hub *hub = arg;

	while (!atomic_load(&hub->stop))
		hub_turn(hub, EVENT_HUB_TURN_MS);
	int64_t deadline_ms = sp_now_ms() + EVENT_HUB_STOP_MS;
	while (sp_now_ms() < deadline_ms && hub_turn(hub, 0))
		;
	atomic_store(&hub->finished, true);
	return NULL;
}

/* ---- making and ending ----------------------------------------------------------------------- */

static void hub_free(struct event_hub *hub)
{
	for (size_t i = 0; i < hub->sinks_n; i++)
		sink_free(&hub->sinks[i]);
	free(hub);
}

/* The thread takes no signals: they are main's, and a closed pipe or a file size limit is an errno
 * here. */
static int start_thread(struct event_hub *hub)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(&hub->thread, NULL, hub_main, hub);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

struct event_hub *event_hub_start_sinks(struct event_queue *queue, struct sink *sinks[], size_t n,
                                        enum event_level level)
{
	struct event_hub *hub = calloc(1, sizeof(*hub));

	SP_ASSERT(n <= SINKS_MAX);
	if (hub == NULL) {
		for (size_t i = 0; i < n; i++)
			sink_free(&sinks[i]);
		return NULL;
	}
	hub->queue = queue;
	hub->level = level;
	hub->sinks_n = n;
	for (size_t i = 0; i < n; i++)
		hub->sinks[i] = sinks[i];
	if (start_thread(hub) != 0) {
		hub_free(hub);
		return NULL;
	}
	return hub;
}

struct event_hub *event_hub_start(struct event_queue *queue, const struct log_config *log,
                                  char error[EVENT_HUB_ERROR_MAX])
{
	struct sink *sinks[SINKS_MAX];
	char why[64];
	size_t n = 0;
	int code = 0;

	if (log->file != NULL && log->file[0] != '\0') {
		enum sink_format format = log->format == LOG_FORMAT_TEXT ? SINK_TEXT : SINK_JSON;

		sinks[n] = sink_file_new(log->file, format, &code);
		if (sinks[n] == NULL) {
			snprintf(error, EVENT_HUB_ERROR_MAX, "log file %s: %s", log->file,
			         strerror_r(-code, why, sizeof(why)));
			return NULL;
		}
		n++;
	}
	if (log->syslog) {
		const char *facility =
		    log->syslog_facility != NULL ? log->syslog_facility : "daemon";

		sinks[n] = sink_syslog_new(SYSLOG_PATH, facility, &code);
		if (sinks[n] == NULL) {
			snprintf(error, EVENT_HUB_ERROR_MAX, "syslog facility %s: %s", facility,
			         code == -EINVAL ? "there is no such facility"
			                         : strerror_r(-code, why, sizeof(why)));
			if (n > 0)
				sink_free(&sinks[0]);
			return NULL;
		}
		n++;
	}
	struct event_hub *hub = event_hub_start_sinks(queue, sinks, n, log->level);
	if (hub == NULL)
		snprintf(error, EVENT_HUB_ERROR_MAX, "event hub: no memory or no thread");
	return hub;
}

bool event_hub_stop(struct event_hub **hub)
{
	const struct timespec nap = { .tv_nsec = STOP_POLL_MS * 1000000L };
	struct event_hub *h = *hub;

	*hub = NULL;
	if (h == NULL)
		return true;
	/* Beyond its own limit the thread may still be in one last batch for each sink. */
	int64_t deadline_ms =
	    sp_now_ms() + EVENT_HUB_STOP_MS + EVENT_HUB_TURN_MS + SINKS_MAX * SINK_WAIT_MS;

	atomic_store(&h->stop, true);
	while (!atomic_load(&h->finished)) {
		if (sp_now_ms() > deadline_ms) {
			pthread_detach(h->thread);
			return false;
		}
		nanosleep(&nap, NULL);
	}
	pthread_join(h->thread, NULL);
	hub_free(h);
	return true;
}

void event_hub_reopen(struct event_hub *hub)
{
	atomic_store(&hub->reopen, true);
}

size_t event_hub_sinks(struct event_hub *hub, struct sink_stats out[], size_t n)
{
	for (size_t i = 0; i < n && i < hub->sinks_n; i++) {
		struct sink *sink = hub->sinks[i];

		sp_copy(out[i].name, sizeof(out[i].name), sink->name);
		out[i].written = atomic_load(&sink->written);
		out[i].dropped = atomic_load(&sink->dropped);
		out[i].error = atomic_load(&sink->error);
	}
	return hub->sinks_n;
}

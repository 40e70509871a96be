// SPDX-License-Identifier: ISC
/*
 * The auditor: repeats looks (audit_scan.h) until what they agree on is more
 * than a moment's disagreement, keeps that as findings, and tells of new ones.
 */
#include "sallyport/auditor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/audit_scan.h"
#include "sallyport/clock.h"

/* New findings told one by one in one audit; the rest as a number. */
#define TOLD_MAX 32

struct auditor {
	struct ops_sources sources;
	struct event_base *base;
	struct event *timer;
	int64_t period_ms;
	struct audit_baseline baseline;
	struct suspicion_list before; /* of the last pass, sorted */
	struct suspicion_list now;    /* of this pass */
	struct audit_sums sums;       /* of the last pass */
	unsigned passes;              /* of the audit under way; 0: none is */
	bool again;                   /* another audit was asked for meanwhile */
	struct auditor_stats stats;
	struct finding findings[AUDIT_FINDINGS_MAX];
	size_t findings_n;
};

static const unsigned passes_needed[] = {
#define FINDING(id, name, passes, what) passes,
#include "sallyport/tbl/findings.def"
#undef FINDING
};

/* ---- suspicions ------------------------------------------------------------------------------ */

static int order_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_identity(const void *a, const void *b)
{
	const struct suspicion *x = a;
	const struct suspicion *y = b;
	int order = order_u64(x->kind, y->kind);

	if (order == 0)
		order = order_u64(x->id.v, y->id.v);
	if (order == 0)
		order = (x->fd > y->fd) - (x->fd < y->fd);
	if (order == 0)
		order = order_u64(x->stamp, y->stamp);
	if (order == 0)
		order = (x->amount > y->amount) - (x->amount < y->amount);
	return order;
}

/* Carries over from the last pass how long each has been seen. Both lists are sorted. */
static void carry_over(struct suspicion_list *now, const struct suspicion_list *before,
                       int64_t now_ms)
{
	size_t at = 0;

	for (size_t i = 0; i < now->n; i++) {
		struct suspicion *s = &now->v[i];

		while (at < before->n && by_identity(&before->v[at], s) < 0)
			at++;
		bool seen = at < before->n && by_identity(&before->v[at], s) == 0;
		s->streak = seen ? before->v[at].streak + 1 : 1;
		s->first_ms = seen ? before->v[at].first_ms : now_ms;
		s->told = seen && before->v[at].told;
	}
}

/* Some states are right for a while, and wrong only when they last. */
static int64_t age_needed(const struct auditor *a, enum finding_kind kind)
{
	bool passing = kind == FINDING_FAREWELL || kind == FINDING_ENDING;

	return passing ? 2 * audit_close_timeout(&a->sources) + 1000 : 0;
}

static bool is_finding(const struct auditor *a, const struct suspicion *s, int64_t now_ms)
{
	return s->streak >= passes_needed[s->kind] &&
	       now_ms - s->first_ms >= age_needed(a, s->kind);
}

/* Some suspicion needs more looks. */
static bool is_open(const struct suspicion_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		if (list->v[i].streak < passes_needed[list->v[i].kind])
			return true;
	}
	return false;
}

/* ---- findings -------------------------------------------------------------------------------- */

static void tell(struct auditor *a, const struct finding *f)
{
	struct sp_event event;

	if (a->sources.queue == NULL)
		return;
	event_init(&event, EVENT_ORPHAN);
	event.session = f->id;
	event.outcome = finding_name(f->kind);
	if (f->fd >= 0)
		snprintf(event.text, sizeof(event.text), "descriptor %d, made at %s: %s", f->fd,
		         f->where[0] != '\0' ? f->where : "a place that is not known", f->what);
	else if (f->where[0] != '\0')
		snprintf(event.text, sizeof(event.text), "%s, made at %s", f->what, f->where);
	else
		snprintf(event.text, sizeof(event.text), "%s", f->what);
	event_emit(a->sources.queue, &event);
}

static void tell_more(struct auditor *a, size_t more)
{
	struct sp_event event;

	if (a->sources.queue == NULL || more == 0)
		return;
	event_init(&event, EVENT_ORPHAN);
	snprintf(event.text, sizeof(event.text), "and %zu more", more);
	event_emit(a->sources.queue, &event);
}

static void complete(struct auditor *a, int64_t now_ms)
{
	struct auditor_stats *stats = &a->stats;
	size_t new_ones = 0;

	memset(stats->by_kind, 0, sizeof(stats->by_kind));
	stats->findings = 0;
	a->findings_n = 0;
	for (size_t i = 0; i < a->before.n; i++) {
		struct suspicion *s = &a->before.v[i];
		struct finding f = { .fd = -1 };

		if (!is_finding(a, s, now_ms))
			continue;
		stats->findings++;
		stats->by_kind[s->kind]++;
		if (a->findings_n < AUDIT_FINDINGS_MAX || (!s->told && new_ones < TOLD_MAX))
			audit_describe(&a->sources, s, &f);
		if (a->findings_n < AUDIT_FINDINGS_MAX)
			a->findings[a->findings_n++] = f;
		if (s->told)
			continue;
		s->told = true;
		stats->ever++;
		if (new_ones++ < TOLD_MAX)
			tell(a, &f);
	}
	tell_more(a, new_ones > TOLD_MAX ? new_ones - TOLD_MAX : 0);
	stats->audits++;
	stats->last_ms = now_ms;
	a->passes = 0;
}

/* ---- passes ---------------------------------------------------------------------------------- */

bool auditor_pass(struct auditor *a)
{
	int64_t now_ms = sp_now_ms();
	struct suspicion_list last;

	a->passes++;
	if (audit_scan(&a->sources, &a->baseline, &a->now, &a->sums) != 0) {
		/* What was found before stays shown; whoever waits for this audit is not kept
		 * waiting. */
		a->stats.failed++;
		a->stats.audits++;
		a->passes = 0;
		return false;
	}
	if (a->now.n > 0)
		qsort(a->now.v, a->now.n, sizeof(*a->now.v), by_identity);
	carry_over(&a->now, &a->before, now_ms);
	last = a->before;
	a->before = a->now;
	a->now = last;
	a->stats.sums = a->sums;
	if (is_open(&a->before) && a->passes < AUDIT_PASSES_MAX)
		return true;
	complete(a, now_ms);
	return false;
}

static void arm(struct auditor *a, int64_t ms)
{
	struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (a->timer != NULL)
		event_add(a->timer, &t);
}

static void on_timer(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct auditor *a = arg;

	if (auditor_pass(a)) {
		arm(a, AUDIT_GAP_MS);
	} else if (a->again) {
		a->again = false;
		arm(a, 0);
	} else {
		arm(a, a->period_ms);
	}
}

uint64_t auditor_request(struct auditor *a)
{
	if (a->passes > 0) {
		a->again = true;
		return a->stats.audits + 2;
	}
	arm(a, 0);
	return a->stats.audits + 1;
}

uint64_t auditor_audits(const struct auditor *a)
{
	return a->stats.audits;
}

size_t auditor_findings(const struct auditor *a, size_t from, struct finding out[], size_t n)
{
	size_t copied = 0;

	while (copied < n && from + copied < a->findings_n) {
		out[copied] = a->findings[from + copied];
		copied++;
	}
	return copied;
}

void auditor_stats(const struct auditor *a, struct auditor_stats *out)
{
	*out = a->stats;
}

struct auditor *auditor_new(struct event_base *base, const struct ops_sources *sources,
                            int64_t period_ms)
{
	struct auditor *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->sources = *sources;
	a->base = base;
	a->period_ms = period_ms > 0 ? period_ms : AUDIT_PERIOD_MS;
	if (base != NULL && (a->timer = event_new(base, -1, 0, on_timer, a)) == NULL)
		goto failed;
	if (audit_baseline_take(&a->baseline) != 0)
		goto failed;
	arm(a, a->period_ms);
	return a;
failed:
	auditor_free(&a);
	return NULL;
}

void auditor_free(struct auditor **auditor)
{
	struct auditor *a = *auditor;

	*auditor = NULL;
	if (a == NULL)
		return;
	if (a->timer != NULL)
		event_free(a->timer);
	audit_baseline_fini(&a->baseline);
	suspicion_list_fini(&a->before);
	suspicion_list_fini(&a->now);
	free(a);
}

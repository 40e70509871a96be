// SPDX-License-Identifier: ISC
/*
 * Health: the transitions of the header's picture.
 */
#include "sallyport/health.h"

const char *check_kind_name(enum check_kind kind)
{
	static const char *const names[] = {
		[CHECK_NONE] = "none",	 [CHECK_CONNECT] = "connect",	[CHECK_GREETING] = "greeting",
		[CHECK_LOGON] = "logon", [CHECK_TRANSFER] = "transfer", [CHECK_AS_POOL] = "pool",
	};

	return names[kind];
}

static uint32_t fall_of(const struct health_terms *terms)
{
	return terms->fall != 0 ? terms->fall : HEALTH_FALL;
}

static uint32_t rise_of(const struct health_terms *terms)
{
	return terms->rise != 0 ? terms->rise : HEALTH_RISE;
}

static void count(uint32_t *n)
{
	if (*n < UINT32_MAX)
		(*n)++;
}

/* Twice as long as the last time. */
static void take_out(struct health *h, int64_t now_ms)
{
	h->out_ms = h->out_ms == 0 ? HEALTH_OUT_FIRST_MS : sp_min64(2 * h->out_ms, HEALTH_OUT_LONGEST_MS);
	h->out_until_ms = now_ms + h->out_ms;
}

static void go_down(struct health *h)
{
	h->down = true;
	h->checks_passed = 0;
}

static void come_up(struct health *h, int64_t now_ms)
{
	h->down = false;
	h->logons_failed = 0;
	h->checks_failed = 0;
	h->checks_passed = 0;
	h->up_since_ms = now_ms;
}

static int64_t soon_ms(const struct health_terms *terms)
{
	return sp_min64(terms->every_ms, HEALTH_SOON_MS);
}

bool health_may_try(const struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	return h->down && !terms->checked && h->out_until_ms <= now_ms;
}

bool health_logon_failed(struct health *h, const struct health_terms *terms, int64_t now_ms, bool was_trial)
{
	count(&h->logons_failed);
	if (!h->down)
		h->checks_passed = 0;
	/* A look at once, but many logons that fail make no storm of checks. */
	h->check_at_ms = sp_min64(h->check_at_ms, sp_max64(now_ms, h->checked_ms + soon_ms(terms)));
	if (h->down) {
		/* Of many that fail at once, those behind the first do not lengthen its time. */
		if (was_trial)
			take_out(h, now_ms);
		return false;
	}
	if (h->logons_failed < fall_of(terms))
		return false;
	take_out(h, now_ms);
	go_down(h);
	return true;
}

bool health_logon_served(struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	h->logons_failed = 0;
	h->out_ms = 0;
	/* Checks may know of what a logon cannot see: they have the last word. */
	if (!h->down || terms->checked)
		return false;
	come_up(h, now_ms);
	return true;
}

/* When the next check is to be. */
static void plan(struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	/* A logon that failed is looked into until `rise` checks have seen nothing. */
	bool logons = h->logons_failed > 0 && h->checks_passed < rise_of(terms);
	bool doubt = h->down ? h->checks_passed > 0 : h->checks_failed > 0 || logons;

	h->checked_ms = now_ms;
	h->check_at_ms = now_ms + (doubt ? soon_ms(terms) : terms->every_ms);
}

bool health_check_failed(struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	bool falls;

	count(&h->checks_failed);
	h->checks_passed = 0;
	falls = !h->down && h->checks_failed >= fall_of(terms);
	if (falls)
		go_down(h);
	plan(h, terms, now_ms);
	return falls;
}

bool health_check_passed(struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	bool rises;

	h->checks_failed = 0;
	count(&h->checks_passed);
	rises = h->down && h->checks_passed >= rise_of(terms) && h->out_until_ms <= now_ms;
	if (rises)
		come_up(h, now_ms);
	plan(h, terms, now_ms);
	return rises;
}

void health_check_skipped(struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	plan(h, terms, now_ms);
}

bool health_check_is_due(const struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	return terms->checked && h->check_at_ms <= now_ms;
}

void health_begin(struct health *h, int64_t now_ms)
{
	*h = (struct health){ .up_since_ms = now_ms };
}

unsigned health_share(const struct health *h, const struct health_terms *terms, int64_t now_ms)
{
	int64_t up_ms = now_ms - h->up_since_ms;

	if (h->up_since_ms == 0 || terms->slow_start_ms <= 0 || up_ms >= terms->slow_start_ms)
		return 100;
	return (unsigned)sp_max64(1, 100 * up_ms / terms->slow_start_ms);
}

// SPDX-License-Identifier: ISC
/*
 * Routes in words: the windows of time as the configuration writes them, what a
 * rule is about, and why it matches or not.
 */
#include "sallyport/route.h"

#include <string.h>

#define DAYS 7
#define ALL_DAYS 0x7f
#define MINUTES_OF_DAY 1440
#define V4_BITS 32
#define V6_BITS 128

static const char *const day_names[DAYS] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

/* --- windows of time: reading --------------------------------------------- */

static bool take(struct span *in, char c)
{
	if (in->n == 0 || in->p[0] != c)
		return false;
	*in = span_from(in->p + 1, in->n - 1);
	return true;
}

static bool take_day(struct span *in, unsigned *day)
{
	for (unsigned i = 0; i < DAYS; i++) {
		if (span_starts_nocase(*in, day_names[i])) {
			*in = span_from(in->p + 3, in->n - 3);
			*day = i;
			return true;
		}
	}
	return false;
}

/* "mon", "mon-fri", "sat-mon", parted by commas. */
static bool take_days(struct span *in, unsigned *days)
{
	*days = 0;
	do {
		unsigned first, last;

		if (!take_day(in, &first))
			return false;
		last = first;
		if (take(in, '-') && !take_day(in, &last))
			return false;
		for (unsigned d = first;; d = (d + 1) % DAYS) {
			*days |= 1U << d;
			if (d == last)
				break;
		}
	} while (take(in, ','));
	return true;
}

/* One or two digits, `least` of them at least. */
static bool take_number(struct span *in, size_t least, unsigned *out)
{
	size_t n = 0;

	*out = 0;
	while (n < in->n && n < 2 && in->p[n] >= '0' && in->p[n] <= '9')
		*out = *out * 10 + (unsigned)(in->p[n++] - '0');
	*in = span_from(in->p + n, in->n - n);
	return n >= least;
}

/* "9:30" to "24:00", as minutes of the day. */
static bool take_time(struct span *in, unsigned *minute)
{
	unsigned hour, rest;

	if (!take_number(in, 1, &hour) || !take(in, ':') || !take_number(in, 2, &rest) || rest > 59)
		return false;
	*minute = hour * 60 + rest;
	return *minute <= MINUTES_OF_DAY;
}

bool route_window_parse(struct route_window *out, struct span text)
{
	unsigned days = ALL_DAYS;
	unsigned from = 0;
	unsigned to = MINUTES_OF_DAY;
	bool has_days = text.n > 0 && (text.p[0] < '0' || text.p[0] > '9');

	if (has_days && !take_days(&text, &days))
		return false;
	if (!has_days || take(&text, ' ')) {
		if (!take_time(&text, &from) || !take(&text, '-') || !take_time(&text, &to) ||
		    from == to || from == MINUTES_OF_DAY)
			return false;
	}
	if (text.n > 0)
		return false;
	*out = (struct route_window){ (uint8_t)days, (uint16_t)from, (uint16_t)to };
	return true;
}

bool route_moment_parse(int *out, struct span text, int today)
{
	unsigned day = (unsigned)today;
	unsigned minute;
	bool has_day = text.n > 0 && (text.p[0] < '0' || text.p[0] > '9');

	if (has_day && (!take_day(&text, &day) || !take(&text, ' ')))
		return false;
	if (!take_time(&text, &minute) || minute == MINUTES_OF_DAY || text.n > 0)
		return false;
	*out = (int)(day * MINUTES_OF_DAY + minute);
	return true;
}

/* --- writing ---------------------------------------------------------------- */

/* Appends to a buffer as long as there is room. */
struct writer {
	char *to;
	size_t size;
	size_t n;
	bool cut;
};

static void put_span(struct writer *w, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (w->n + 1 >= w->size) {
			w->cut = true;
			return;
		}
		/* Bytes over 126 may be half of a character, or move a terminal. */
		w->to[w->n++] = '?';
		if (c >= ' ' && c <= '~')
			w->to[w->n - 1] = c;
	}
}

static void put(struct writer *w, const char *text)
{
	put_span(w, span_of(text));
}

static void put_number(struct writer *w, unsigned value, unsigned digits_least)
{
	char digits[10];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0 || sizeof(digits) - at < digits_least);
	put_span(w, span_from(digits + at, sizeof(digits) - at));
}

static const char *finish(struct writer *w)
{
	static const char dots[] = "...";

	w->to[w->n] = '\0';
	if (w->cut && w->n >= sizeof(dots) - 1)
		memcpy(w->to + w->n - (sizeof(dots) - 1), dots, sizeof(dots) - 1);
	return w->to;
}

static void put_time(struct writer *w, unsigned minute)
{
	put_number(w, minute / 60, 2);
	put(w, ":");
	put_number(w, minute % 60, 2);
}

static void put_days(struct writer *w, unsigned days)
{
	const char *comma = "";

	for (unsigned d = 0; d < DAYS; d++) {
		unsigned last = d;

		if ((days >> d & 1) == 0)
			continue;
		while (last + 1 < DAYS && (days >> (last + 1) & 1) != 0)
			last++;
		put(w, comma);
		put(w, day_names[d]);
		if (last > d + 1) {
			put(w, "-");
			put(w, day_names[last]);
			d = last;
		}
		comma = ",";
	}
}

static void put_window(struct writer *w, const struct route_window *window)
{
	bool all_days = (window->days & ALL_DAYS) == ALL_DAYS;

	if (!all_days)
		put_days(w, window->days);
	if (window->from == 0 && window->to == MINUTES_OF_DAY && !all_days)
		return;
	if (!all_days)
		put(w, " ");
	put_time(w, window->from);
	put(w, "-");
	put_time(w, window->to);
}

const char *route_window_format(const struct route_window *window, char buf[ROUTE_WINDOW_TEXT_MAX])
{
	struct writer w = { buf, ROUTE_WINDOW_TEXT_MAX, 0, false };

	put_window(&w, window);
	return finish(&w);
}

/* --- rules --------------------------------------------------------------------- */

static void put_list(struct writer *w, char *const *list)
{
	for (size_t i = 0; list[i] != NULL; i++) {
		put(w, i > 0 ? " or " : "");
		put(w, list[i]);
	}
}

static void put_sources(struct writer *w, const struct route_rule *rule)
{
	for (size_t i = 0; i < rule->sources_n; i++) {
		const struct netblock *net = &rule->sources[i];
		char host[NETADDR_TEXT_MAX];

		put(w, i > 0 ? " or " : "");
		put(w, netaddr_format_host(&net->base, host));
		if (net->bits == (net->base.family == AF_INET ? V4_BITS : V6_BITS))
			continue;
		put(w, "/");
		put_number(w, net->bits, 1);
	}
}

static void put_windows(struct writer *w, const struct route_rule *rule)
{
	for (size_t i = 0; i < rule->times_n; i++) {
		put(w, i > 0 ? " or " : "");
		put_window(w, &rule->times[i]);
	}
}

static bool rule_is_about(const struct route_rule *rule, enum route_field field)
{
	switch (field) {
	case ROUTE_FIELD_LISTENER:
		return rule->listeners != NULL;
	case ROUTE_FIELD_SOURCE:
		return rule->sources_n > 0;
	case ROUTE_FIELD_HOST:
		return rule->hosts != NULL;
	case ROUTE_FIELD_CERTIFICATE:
		return rule->certificates != NULL;
	case ROUTE_FIELD_TIME:
		return rule->times_n > 0;
	case ROUTE_FIELD_USER:
		return rule->users != NULL;
	case ROUTE_FIELD_MAP:
		return rule->map != NULL;
	case ROUTE_FIELD_NONE:
		return false;
	}
	SP_UNREACHABLE("enum route_field");
}

/* What the rule wants of a field. */
static void put_wanted(struct writer *w, const struct route_rule *rule, enum route_field field)
{
	switch (field) {
	case ROUTE_FIELD_LISTENER:
		put_list(w, rule->listeners);
		return;
	case ROUTE_FIELD_SOURCE:
		put_sources(w, rule);
		return;
	case ROUTE_FIELD_HOST:
		put_list(w, rule->hosts);
		return;
	case ROUTE_FIELD_CERTIFICATE:
		put_list(w, rule->certificates);
		return;
	case ROUTE_FIELD_TIME:
		put_windows(w, rule);
		return;
	case ROUTE_FIELD_USER:
		put_list(w, rule->users);
		return;
	case ROUTE_FIELD_MAP:
		put(w, rule->map->file);
		return;
	case ROUTE_FIELD_NONE:
		break;
	}
	SP_UNREACHABLE("a rule is about nothing");
}

static void put_span_or(struct writer *w, struct span text, const char *otherwise)
{
	if (text.p != NULL)
		put_span(w, text);
	else
		put(w, otherwise);
}

static void put_minute_of_week(struct writer *w, int minute)
{
	if (minute < 0 || minute >= DAYS * MINUTES_OF_DAY) {
		put(w, "unknown");
		return;
	}
	put(w, day_names[minute / MINUTES_OF_DAY]);
	put(w, " ");
	put_time(w, (unsigned)(minute % MINUTES_OF_DAY));
}

/* What the facts say of a field. */
static void put_known(struct writer *w, const struct route_facts *facts, enum route_field field)
{
	char host[NETADDR_TEXT_MAX];

	switch (field) {
	case ROUTE_FIELD_LISTENER:
		put(w, facts->listener);
		return;
	case ROUTE_FIELD_SOURCE:
		put(w, facts->source.family != AF_UNSPEC ? netaddr_format_host(&facts->source, host) : "(not known)");
		return;
	case ROUTE_FIELD_HOST:
		put_span_or(w, facts->host, "(neither HOST nor SNI)");
		return;
	case ROUTE_FIELD_CERTIFICATE:
		put_span_or(w, facts->certificate, "(none)");
		return;
	case ROUTE_FIELD_TIME:
		put_minute_of_week(w, facts->minute_of_week);
		return;
	case ROUTE_FIELD_USER:
	case ROUTE_FIELD_MAP:
		put_span_or(w, facts->user, "(not known yet)");
		return;
	case ROUTE_FIELD_NONE:
		break;
	}
	SP_UNREACHABLE("a fact of nothing");
}

const char *route_field_name(enum route_field field)
{
	// clang-format off
	static const char *const names[] = {
		[ROUTE_FIELD_LISTENER] = "listener",
		[ROUTE_FIELD_SOURCE] = "source",
		[ROUTE_FIELD_HOST] = "host",
		[ROUTE_FIELD_CERTIFICATE] = "certificate",
		[ROUTE_FIELD_TIME] = "time",
		[ROUTE_FIELD_USER] = "user",
		[ROUTE_FIELD_MAP] = "user_map",
		[ROUTE_FIELD_NONE] = "none",
	};
	// clang-format on

	SP_ASSERT((size_t)field < SP_ARRAY_LEN(names));
	return names[field];
}

const char *route_describe(const struct route_rule *rule, char *buf, size_t size)
{
	struct writer w = { buf, size, 0, false };

	for (int i = 0; i < ROUTE_FIELD_NONE; i++) {
		enum route_field field = (enum route_field)i;

		if (!rule_is_about(rule, field))
			continue;
		put(&w, w.n > 0 ? ", " : "");
		put(&w, field == ROUTE_FIELD_MAP ? "user in" : route_field_name(field));
		put(&w, " ");
		put_wanted(&w, rule, field);
	}
	if (w.n == 0)
		put(&w, "everything");
	return finish(&w);
}

/* "user acme-1 is acme-* or beta-*", "user bob is not acme-*". */
static void put_sentence(struct writer *w, const struct route_rule *rule,
                         const struct route_facts *facts, enum route_field field, bool matches)
{
	bool within = field == ROUTE_FIELD_SOURCE || field == ROUTE_FIELD_TIME || field == ROUTE_FIELD_MAP;

	put(w, field == ROUTE_FIELD_MAP ? "user" : route_field_name(field));
	put(w, " ");
	put_known(w, facts, field);
	put(w, matches ? " is " : " is not ");
	put(w, within ? "in " : "");
	put_wanted(w, rule, field);
}

const char *route_explain(const struct route_rule *rule, const struct route_facts *facts, char *buf,
                          size_t size)
{
	struct writer w = { buf, size, 0, false };
	enum route_field wrong = route_mismatch(rule, facts);
	const char *part = "";

	if (wrong != ROUTE_FIELD_NONE) {
		put(&w, "does not match: ");
		put_sentence(&w, rule, facts, wrong, false);
		return finish(&w);
	}
	put(&w, "matches: ");
	for (int i = 0; i < ROUTE_FIELD_NONE; i++) {
		enum route_field field = (enum route_field)i;

		if (!rule_is_about(rule, field))
			continue;
		put(&w, part);
		put_sentence(&w, rule, facts, field, true);
		part = ", ";
	}
	if (part[0] == '\0')
		put(&w, "it is for everything");
	return finish(&w);
}

// SPDX-License-Identifier: ISC
/*
 * What the files that put a configuration into words share: config_explain.c
 * (process, logs, routes, policies), config_explain_listener.c and
 * config_explain_pool.c.
 */
#ifndef SALLYPORT_CONFIG_SPEAKER_H
#define SALLYPORT_CONFIG_SPEAKER_H

#include "sallyport/config.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value.h"

struct speaker {
	const struct config *config;
	void (*line)(void *ctx, const char *text);
	void *ctx;
	struct config_text text; /* of the line that is being made */
};

/* Adds to the line. */
#define ADD(s, ...) config_text_add(&(s)->text, __VA_ARGS__)

/* Gives the line out and begins a new one. */
static inline void speaker_end_line(struct speaker *s)
{
	s->line(s->ctx, config_text_get(&s->text));
	config_text_fini(&s->text);
}

static inline const char *speaker_plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* "30s"; "off" when it is 0. */
static inline struct config_shown speaker_timeout(int64_t ms)
{
	return ms == 0 ? (struct config_shown){ "off" } : config_duration_show(ms);
}

void config_explain_listener(struct speaker *s, const struct listener_config *listener);
void config_explain_pool(struct speaker *s, const struct pool_config *pool);

#endif

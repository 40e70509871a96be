// SPDX-License-Identifier: ISC
/*
 * A server ahead of USER: connected to while the client reads its greeting,
 * where nothing that the client can say changes which one it is. The logon
 * proper, which goes on from there, is in session_logon.c.
 */
#include "sallyport/route.h"
#include "session_private.h"

/* Whether the route may still change by what the client says: HOST, or its certificate. */
static bool may_be_rerouted(const struct session *s)
{
	const struct config *config = s->config;
	struct route_facts facts = {
		.listener = s->listener->name,
		.source = s->info.client,
	};

	for (size_t i = 0; i < config->routes_n; i++) {
		switch (route_mismatch(&config->routes[i], &facts)) {
		case ROUTE_FIELD_HOST:
		case ROUTE_FIELD_CERTIFICATE:
			return true;
		case ROUTE_FIELD_NONE:
			return false;
		case ROUTE_FIELD_LISTENER:
		case ROUTE_FIELD_SOURCE:
		case ROUTE_FIELD_TIME:
		case ROUTE_FIELD_MAP:
		case ROUTE_FIELD_USER:
			break;
		}
	}
	return false;
}

/* Clients that only connect and look must not fill the servers: few are served so, and not for long. */
void logon_early(struct session *s)
{
	if (s->pool == NULL || !s->pool->early_connect || identity_is_guarded(s) ||
	    s->loop->ahead >= AHEAD_MAX || may_be_rerouted(s) || !logon_begin(s))
		return;
	s->early = true;
	reach_choose_server(s);
	if (!s->slot.held) {
		s->early = false; /* nothing free: USER will wait or find another one */
		return;
	}
	s->ahead_ms = s->loop->now_ms;
	s->loop->ahead++;
}

void logon_not_ahead(struct session *s)
{
	if (s->ahead_ms == 0)
		return;
	s->ahead_ms = 0;
	s->loop->ahead--;
}

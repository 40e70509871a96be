// SPDX-License-Identifier: ISC
/*
 * What a reload has done to servers, read from their ledgers: changes by logons,
 * checks and orders are told by those who make them.
 */
#include "sallyport/runtime_states.h"

#include <string.h>

#include "sallyport/event.h"
#include "sallyport/pool_ledger.h"

static bool is_by_reload(const struct pool_server_status *status, int64_t since_ms)
{
	return status->configured && status->changed_ms >= since_ms &&
	       (strcmp(status->reason, POOL_REASON_CONFIGURED) == 0 ||
		strcmp(status->reason, POOL_REASON_MOVED) == 0);
}

static void tell(const struct pool_config *pool, const struct pool_server_status *status, struct event_queue *events)
{
	struct sp_event event;

	event_init(&event, EVENT_SERVER_STATE);
	event.outcome = server_state_name(status->state);
	sp_copy(event.pool, sizeof(event.pool), pool->name);
	sp_copy(event.server_name, sizeof(event.server_name), status->terms.name);
	sp_copy(event.text, sizeof(event.text), status->reason);
	event_emit(events, &event);
}

void runtime_states_tell(const struct config *config, struct event_queue *events, int64_t since_ms)
{
	struct pool_server_status status[POOL_SERVERS_MAX];

	for (size_t i = 0; i < config->pools_n; i++) {
		size_t n = pool_ledger_status(config->pools[i].ledger, status, POOL_SERVERS_MAX);

		for (size_t j = 0; j < n && j < POOL_SERVERS_MAX; j++) {
			if (is_by_reload(&status[j], since_ms))
				tell(&config->pools[i], &status[j], events);
		}
	}
}

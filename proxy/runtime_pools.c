// SPDX-License-Identifier: ISC
/*
 * The pools' ledgers, by the pools' names, across reloads.
 */
#include "sallyport/runtime_pools.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "sallyport/clock.h"
#include "sallyport/memo.h"

struct named_ledger {
	char name[NAME_MAX_LEN];
	struct pool_ledger *ledger;
};

static struct pool_ledger *find_ledger(struct runtime_pools *pools, const char *name)
{
	for (size_t i = 0; i < pools->n; i++) {
		if (strcmp(pools->v[i].name, name) == 0)
			return pools->v[i].ledger;
	}
	return NULL;
}

static struct pool_ledger *add_ledger(struct runtime_pools *pools, const struct pool_config *pool)
{
	struct named_ledger *grown = realloc(pools->v, (pools->n + 1) * sizeof(*grown));
	struct pool_ledger *ledger;

	if (grown == NULL)
		return NULL;
	pools->v = grown;
	ledger = pool_ledger_new(pool->balance);
	if (ledger == NULL)
		return NULL;
	sp_copy(grown[pools->n].name, NAME_MAX_LEN, pool->name);
	grown[pools->n++].ledger = ledger;
	return ledger;
}

static void offer_waiters(struct pool_ledger *ledger, struct mailbox *const mailboxes[])
{
	struct session_id id;

	while (pool_ledger_waiting(ledger) > 0 &&
	       (id = pool_ledger_offer(ledger, sp_now_ms())).v != 0) {
		struct message message = { .kind = MESSAGE_SLOT, .id = id };

		if (!mailbox_post(mailboxes[session_id_worker(id)], message))
			return;
	}
}

static struct health_terms health_terms(const struct pool_config *pool, const struct server_config *server)
{
	return (struct health_terms){
		.checked = config_check_kind(pool, server) != CHECK_NONE,
		.fall = pool->health.fall,
		.rise = pool->health.rise,
		.every_ms = pool->health.every_ms,
		.slow_start_ms = pool->slow_start_ms,
	};
}

/* One for all pools, made when the first one wants to remember something. */
static bool attach_memo(struct runtime_pools *pools, struct pool_config *pool)
{
	unsigned char seed[MEMO_SEED];

	if (pool->sticky == STICKY_NONE && pool->refused_cache_ms == 0)
		return true;
	if (pools->memo == NULL && getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		pools->memo = memo_new(seed);
	explicit_bzero(seed, sizeof(seed));
	pool->memo = pools->memo;
	return pool->memo != NULL;
}

/* Tells the pool's ledger of its servers, and the caller of their places. */
static bool state_servers(const struct pool_config *pool, uint16_t places[])
{
	struct pool_server_terms terms[POOL_SERVERS_MAX];

	for (size_t j = 0; j < pool->servers_n; j++) {
		const struct server_config *server = &pool->servers[j];

		memset(&terms[j], 0, sizeof(terms[j]));
		sp_copy(terms[j].name, sizeof(terms[j].name), server->name);
		terms[j].weight = server->weight;
		terms[j].max_sessions = server->max_sessions;
		terms[j].backup = server->backup;
		terms[j].state = server->state;
		terms[j].warm = server->warm;
		terms[j].warm_age_ms = server->warm_age_ms;
		terms[j].health = health_terms(pool, server);
		terms[j].follows = server->resolve != RESOLVE_FIRST;
		terms[j].service = server->resolve == RESOLVE_SERVICE;
		terms[j].leads = server->nth == 0;
		terms[j].identity = server_identity(server);
	}
	return pool_ledger_configure(pool->ledger, pool->balance, terms, pool->servers_n, places);
}

bool runtime_pools_attach(struct runtime_pools *pools, struct config *config)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		struct pool_config *pool = &config->pools[i];

		pool->ledger = find_ledger(pools, pool->name);
		if (pool->ledger == NULL)
			pool->ledger = add_ledger(pools, pool);
		if (pool->ledger == NULL || !attach_memo(pools, pool) || !state_servers(pool, pool->places))
			return false;
	}
	return true;
}

void runtime_pools_restate(const struct config *old)
{
	uint16_t places[POOL_SERVERS_MAX]; /* those that it has: they stay */

	for (size_t i = 0; i < old->pools_n; i++)
		(void)!state_servers(&old->pools[i], places);
}

void runtime_pools_offer(const struct runtime_pools *pools, struct mailbox *const mailboxes[])
{
	for (size_t i = 0; i < pools->n; i++)
		offer_waiters(pools->v[i].ledger, mailboxes);
}

void runtime_pools_fini(struct runtime_pools *pools)
{
	for (size_t i = 0; i < pools->n; i++)
		pool_ledger_free(&pools->v[i].ledger);
	free(pools->v);
	memo_free(&pools->memo);
	*pools = (struct runtime_pools){ 0 };
}

// SPDX-License-Identifier: ISC
/*
 * What a session promises its client in answer to FEAT. Before logon: what we
 * do ourselves and what every server that the logon may still lead to is known
 * to do, for a promise that one of them breaks is worse than none. After it:
 * the pair of us and the session's server. Less what a policy denies, both times.
 */
#include "sallyport/features.h"
#include "session_private.h"

/* --- before logon ------------------------------------------------------------------ */

enum reach { REACH_NO, REACH_MAYBE, REACH_SURELY };

/* Whether the logon may come to this rule; what is not known yet may still fit. */
static enum reach reach_of(const struct session *s, const struct route_rule *rule,
			   const struct route_facts *facts)
{
	struct route_rule open = *rule;
	bool surely = true;

	if (open.hosts != NULL && facts->host.p == NULL) {
		open.hosts = NULL;
		surely = false;
	}
	if (open.certificates != NULL && facts->certificate.p == NULL &&
	    s->listener->tls.client_certificates != TLS_CLIENT_NONE && !stream_is_tls(&s->client.stream)) {
		open.certificates = NULL;
		surely = false;
	}
	switch (route_mismatch(&open, facts)) {
	case ROUTE_FIELD_NONE:
		return surely ? REACH_SURELY : REACH_MAYBE;
	case ROUTE_FIELD_USER:
	case ROUTE_FIELD_MAP:
		return REACH_MAYBE;
	case ROUTE_FIELD_LISTENER:
	case ROUTE_FIELD_SOURCE:
	case ROUTE_FIELD_HOST:
	case ROUTE_FIELD_CERTIFICATE:
	case ROUTE_FIELD_TIME:
		break;
	}
	return REACH_NO;
}

/* Of a server that nobody has logged on to nothing is known: nothing of it is promised. */
static void keep_what_pool_can(struct features *common, bool *first, const struct pool_config *pool)
{
	struct features server;

	for (size_t i = 0; i < pool->servers_n; i++) {
		if (!pool_ledger_is_there(pool->ledger, pool->places[i]))
			continue;
		if (!feature_memory_recall(pool_ledger_features(pool->ledger), pool->places[i], &server))
			server.n = 0;
		if (*first)
			*common = server;
		else
			features_keep_common(common, &server);
		*first = false;
	}
}

/* Calls `act` for the rules that the session may reach, in their order. */
static void for_each_reachable(const struct session *s, void (*act)(void *ctx, const struct route_rule *rule),
			       void *ctx)
{
	struct route_facts facts = logon_facts(s, span_from(NULL, 0));

	for (size_t i = 0; i < s->config->routes_n; i++) {
		const struct route_rule *rule = &s->config->routes[i];
		enum reach reach = reach_of(s, rule, &facts);

		if (reach != REACH_NO && !rule->reject)
			act(ctx, rule);
		if (reach == REACH_SURELY)
			return; /* the first that matches is the one */
	}
}

struct gathering {
	const struct config *config;
	struct features features;
	bool first;
};

static void gather(void *ctx, const struct route_rule *rule)
{
	struct gathering *g = ctx;

	/* A map may send its users to any pool; it is not searched for those that it names. */
	for (size_t i = 0; i < g->config->pools_n; i++) {
		if (rule->map != NULL || i == rule->pool)
			keep_what_pool_can(&g->features, &g->first, &g->config->pools[i]);
	}
}

static void sift(void *ctx, const struct route_rule *rule)
{
	struct gathering *g = ctx;

	features_keep_permitted(&g->features, &g->config->policies[rule->policy]);
}

static void answer(struct session *s, const struct features *features)
{
	char text[FEAT_BYTES_MAX];

	session_to_client(s, span_from(text, features_write(text, features)));
}

void feat_answer(struct session *s)
{
	struct gathering g = { .config = s->config, .first = true };

	for_each_reachable(s, gather, &g);
	features_add_ours(&g.features, s->listener->tls.mode != TLS_NONE);
	for_each_reachable(s, sift, &g);
	answer(s, &g.features);
}

/* --- the server's ------------------------------------------------------------------- */

void feat_ask(struct session *s)
{
	struct feature_memory *memory = pool_ledger_features(s->pool->ledger);

	if (s->server_config->ask_features &&
	    feature_memory_claim(memory, s->slot.place, server_identity(s->server_config)))
		session_to_server(s, PURPOSE_FEAT, VERB_FEAT, span_of("FEAT"));
}

void feat_on_reply(struct session *s, const struct reply *reply)
{
	bool ours = s->purpose == PURPOSE_FEAT;
	struct features features;

	session_answered(s);
	features_read(&features, reply->raw);
	/* "Not now" says nothing of what it can. */
	if (reply->code == 211 || reply->code >= 500)
		feature_memory_note(pool_ledger_features(s->pool->ledger), s->slot.place,
				    server_identity(s->server_config), &features);
	if (ours)
		return;
	features_add_ours(&features, s->listener->tls.mode != TLS_NONE);
	features_keep_permitted(&features, s->policy);
	answer(s, &features);
}

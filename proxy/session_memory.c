// SPDX-License-Identifier: ISC
/*
 * What a pool remembers of logons: at which server a user or a client was
 * (`sticky`), and which passwords its servers have refused (`refused_cache`).
 */

#include "sallyport/balance.h"
#include "sallyport/digest.h"
#include "sallyport/memo.h"
#include "session_private.h"

static struct memo_key sticky_key(const struct session *s)
{
	uint64_t whose = s->pool->sticky == STICKY_USER ? balance_hash(span_of(s->info.user))
							: balance_hash_source(&s->info.client);

	/* Of another kind than what refusals are kept under: these are digests. */
	return (struct memo_key){ balance_hash(span_of(s->pool->name)) ^ whose, whose };
}

int memory_server(const struct session *s)
{
	uint64_t name;

	if (s->pool->sticky == STICKY_NONE ||
	    !memo_get(s->pool->memo, sticky_key(s), s->loop->now_ms, &name))
		return -1;
	for (size_t i = 0; i < s->pool->servers_n; i++) {
		if (balance_hash(span_of(s->pool->servers[i].name)) == name)
			return (int)i;
	}
	return -1; /* it is not a server of this pool any more */
}

void memory_note_server(const struct session *s)
{
	int64_t now_ms = s->loop->now_ms;

	if (s->pool->sticky != STICKY_NONE && s->server_config != NULL)
		memo_put(s->pool->memo, sticky_key(s), balance_hash(span_of(s->server_config->name)), now_ms,
			 now_ms + s->pool->sticky_for_ms);
}

/* Who asks for which pool by which password; only its digest is kept. */
static bool refusal_key(const struct session *s, struct memo_key *key)
{
	const struct logon *logon = s->logon;
	struct span parts[3];
	uint64_t digest[2];

	/* Where the route has the password, the client's does not matter. */
	if (s->pool->refused_cache_ms == 0 || logon->as != NULL || logon->pass_line == NULL)
		return false;
	parts[0] = span_of(s->pool->name);
	parts[1] = span_of(logon->user_line);
	parts[2] = span_of(logon->pass_line);
	if (!digest_of(memo_seed(s->pool->memo), MEMO_SEED, parts, SP_ARRAY_LEN(parts), digest))
		return false;
	*key = (struct memo_key){ digest[0], digest[1] };
	return true;
}

bool memory_knows_refusal(const struct session *s)
{
	struct memo_key key;
	uint64_t value;

	return refusal_key(s, &key) && memo_get(s->pool->memo, key, s->loop->now_ms, &value);
}

void memory_note_refusal(const struct session *s)
{
	struct memo_key key;
	int64_t now_ms = s->loop->now_ms;

	if (refusal_key(s, &key))
		memo_put(s->pool->memo, key, 1, now_ms, now_ms + s->pool->refused_cache_ms);
}

// SPDX-License-Identifier: ISC
/*
 * A client's certificate stands for its password (RFC 4217 section 10,
 * `certificate_logons`): USER is answered with 232, and the server gets a
 * password that the client never knew.
 */
#include "sallyport/credentials.h"
#include "session_private.h"

#define NAMES_MAX   32
#define NAMES_BYTES 4096

static const struct credentials_entry *find_entry(const struct session *s, struct span user)
{
	const struct credentials *credentials = s->policy->certificate_credentials;
	char buffer[NAMES_BYTES];
	struct span names[NAMES_MAX];
	size_t n;

	if (credentials == NULL || s->certificate == NULL || !stream_is_tls(&s->client.stream))
		return NULL;
	n = tls_certificate_names(&s->client.stream, buffer, sizeof(buffer), names, SP_ARRAY_LEN(names));
	return credentials_for_certificate(credentials, names, n, user);
}

/* What a route would have made of the user does not count: the entry is for the one that the client has named. */
bool logon_by_certificate(struct session *s, struct span user)
{
	const struct credentials_entry *entry = find_entry(s, user);
	struct logon *logon = s->logon;

	logon->by_certificate = entry != NULL;
	if (entry == NULL)
		return true;
	logon->as = NULL;
	logon->password_ms = s->loop->now_ms;
	if (!identity_keep(&logon->user_line, "USER", entry->user) ||
	    !identity_keep(&logon->pass_line, "PASS", entry->password) ||
	    (entry->account.n > 0 && !identity_keep(&logon->acct_line, "ACCT", entry->account))) {
		s->no_memory = true;
		return false;
	}
	return true;
}

// SPDX-License-Identifier: ISC
/*
 * TLS with the client: the handshake on the control connection, what is learnt
 * from it, and what is said of it. (RFC 4217's commands: session_command.c.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/tls_hello.h"
#include "session_private.h"

/* Each worker has its share of `max_handshakes`. */
bool session_handshakes_are_full(const struct loop *loop)
{
	unsigned max = loop->config->max_handshakes;

	return max != 0 && loop->handshakes >= (max + loop->config->workers - 1) / loop->config->workers;
}

void session_tls_done(struct session *s, const char *leg, const struct stream *secured, enum event_level level)
{
	struct counters *counters = s->loop->counters;
	struct sp_event event;
	struct tls_facts facts;

	session_log_event(s, &event, EVENT_TLS);
	if (secured == NULL) {
		event.level = LEVEL_NOTICE;
		event.outcome = "failed";
		snprintf(event.text, sizeof(event.text), "leg=%s %.300s", leg, tls_error());
	} else {
		tls_facts(secured, &facts);
		counter_add(counters, facts.is_1_3 ? COUNT_TLS_1_3 : COUNT_TLS_1_2, 1);
		if (facts.resumed)
			counter_add(counters, COUNT_TLS_RESUMED, 1);
		event.level = level;
		event.outcome = facts.resumed ? "resumed" : "full";
		event.tls = facts.version;
		snprintf(event.text, sizeof(event.text), "leg=%s cipher=%.50s sni=%.110s subject=%.160s", leg,
			 facts.cipher, facts.sni, facts.subject);
	}
	event_emit(s->loop->events, &event);
}

bool session_was_protected(const struct session *s)
{
	return stream_is_tls(&s->client.stream) || s->client_tls != NULL;
}

void session_recall_tls(const struct session *s, struct tls_memory *out)
{
	if (s->client_tls != NULL)
		*out = *s->client_tls;
	else
		tls_remember(&s->client.stream, out);
}

/*
 * It is expected of a client that has done so, or that must. One that does not
 * would lose its connections on a port that it shares. Several sessions may have
 * resumed the same one and have tickets of it beside their own: so what has been
 * said is preferred to all that may be.
 */
size_t session_port_names(const struct session *s, struct port_name names[PORT_NAMES_MAX])
{
	struct tls_memory memory;

	if (!s->prot_p || !session_was_protected(s))
		return 0;
	if (s->data_name.kind != PORT_NAME_NONE) {
		names[0] = s->data_name;
		return 1;
	}
	if (!s->listener->tls.require_reuse)
		return 0;
	session_recall_tls(s, &memory);
	return tls_hello_names(&memory, names);
}

/* The name that the client asked for stands in for HOST until HOST comes; its certificate may route it. */
static void take_facts(struct session *s)
{
	struct tls_facts facts;

	tls_facts(&s->client.stream, &facts);
	if (facts.sni[0] != '\0' && s->host == NULL) {
		s->host = strdup(facts.sni);
		if (s->host == NULL)
			s->no_memory = true;
	}
	if (facts.subject[0] != '\0') {
		s->certificate = strdup(facts.subject);
		if (s->certificate == NULL)
			s->no_memory = true;
	}
}

static void on_client_secured(void *owner, int result)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	s->securing = false;
	s->loop->handshakes--;
	s->facts.tls_started_ms = 0;
	counter_add(s->loop->counters, result == 0 ? COUNT_TLS_HANDSHAKES : COUNT_TLS_FAILURES, 1);
	session_tls_done(s, "client", result == 0 ? &s->client.stream : NULL, LEVEL_INFO);
	if (result != 0) {
		session_end(s, result == -ENOMEM ? END_NO_MEMORY : END_TLS_FAILED);
		return;
	}
	take_facts(s);
	if (s->listener->tls.mode == TLS_IMPLICIT) {
		session_greet(s);
		logon_early(s);
	}
	session_settle(s);
}

void session_secure_client(struct session *s)
{
	s->tls_begin = false;
	s->securing = true;
	s->loop->handshakes++;
	s->facts.tls_started_ms = s->loop->now_ms;
	if (tls_accept(&s->client.stream, s->listener->tls.context, s->host, s->id.v,
		       TLS_FOR_CONTROL, on_client_secured, s) != 0) {
		s->securing = false;
		s->loop->handshakes--;
		s->no_memory = true;
	}
}

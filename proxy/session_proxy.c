// SPDX-License-Identifier: ISC
/*
 * A session's addresses: who the client is when a balancer says so (PROXY
 * protocol in), and as whom servers see us (PROXY protocol out, source,
 * transparent). Until the header has come nothing is said and no server is
 * touched, since nobody knows for whom it would be.
 */
#include <errno.h>

#include "session_private.h"

static void header_failed(struct session *s, int error)
{
	if (error == -ENODATA) {
		/* A balancer that only looks whether somebody listens. */
		session_end(s, END_CLIENT_CLOSED);
	} else if (error == -EPROTO) {
		counter_add(s->loop->counters, COUNT_PROXY_REFUSED, 1);
		session_end(s, END_PROXY_HEADER);
	} else if (error == -ENOMEM) {
		session_end(s, END_NO_MEMORY);
	} else {
		session_end(s, error == -ETIMEDOUT ? END_CLIENT_LOST : END_CLIENT_RESET);
	}
}

void session_read_header(struct session *s)
{
	struct proxy_protocol_header header;
	int rc = proxy_reader_take(&s->header, &s->client.stream, &header);

	if (rc == -EAGAIN)
		return;
	if (rc != 0) {
		header_failed(s, rc);
		return;
	}
	if (header.kind == PROXY_PROTOCOL_PROXIED) {
		s->via = s->info.client;
		s->info.client = header.source;
		s->reached = header.destination;
	}
	proxy_reader_fini(&s->header);
	s->header_awaited = false;
	logon_foresee(s);
	session_publish(s);
	session_begin(s);
}

const struct netaddr *session_reached(struct session *s)
{
	return s->reached.family != AF_UNSPEC ? &s->reached : session_local(s);
}

struct data_peers session_data_peers(const struct session *s)
{
	const struct listener_config *listener = s->listener;

	return (struct data_peers){
		.peer = s->info.client,
		.via = s->via,
		.any = s->policy->pass_foreign_data,
		.neighbours = listener->passive_from,
		.neighbours_n = listener->passive_from_n,
		.header = listener->proxy_protocol_data,
		.trusted = listener->proxy_data_trusted,
		.trusted_n = listener->proxy_data_trusted_n,
	};
}

struct data_source session_source(const struct session *s)
{
	struct data_source source = { .address = s->server_config->source };

	if (s->server_config->transparent) {
		source.address = s->info.client;
		netaddr_set_port(&source.address, 0);
		source.transparent = true;
	}
	return source;
}

bool session_send_header(struct session *s, struct stream *stream)
{
	char header[PROXY_PROTOCOL_V1_MAX]; /* of version 2 it has 52 at most */
	size_t n = s->server_config->proxy_protocol == SERVER_PROXY_V1
			   ? proxy_protocol_write_v1(header, sizeof(header), &s->info.client, session_reached(s))
			   : proxy_protocol_write_v2(header, sizeof(header), &s->info.client, session_reached(s),
						     NULL);

	/* It is the first that is written there: the socket has room for all of it, or is broken. */
	return n > 0 && stream_write(stream, header, n) == (ssize_t)n;
}

// SPDX-License-Identifier: ISC
/*
 * What the files of the probe share: probe.c (its life, the way to 230),
 * probe_transfer.c (from there to 226), probe_listen.c (the port for a server
 * that makes the data connection itself).
 */
#ifndef SALLYPORT_PROBE_PRIVATE_H
#define SALLYPORT_PROBE_PRIVATE_H

#include "sallyport/connect.h"
#include "sallyport/control.h"
#include "sallyport/probe.h"
#include "sallyport/reply.h"

/* What the server is to do next. */
enum probe_step {
	PROBE_LOOKUP,
	PROBE_DIAL,
	PROBE_TLS,
	PROBE_GREETING,
	PROBE_AUTH,
	PROBE_PBSZ,
	PROBE_PROT,
	PROBE_USER,
	PROBE_PASS,
	PROBE_TYPE,
	PROBE_EPSV,
	PROBE_PASV,
	PROBE_EPRT,
	PROBE_PORT,
	PROBE_DATA_DIAL,
	PROBE_COMMAND, /* LIST or RETR: its 1yz */
	PROBE_DATA,    /* the data, and the final reply */
	PROBE_LEAVE,   /* the end of its connection */
};

struct probe {
	struct event_base *base;
	struct resolver *resolver;
	struct probe_task task;
	const struct probe_ops *ops;
	void *owner;

	enum probe_step step;
	bool tls_begin; /* the 234 is here */
	bool securing;
	bool prot;
	bool failed;	/* the connection is of no more use: nothing is said on it */
	struct event timer;
	struct ledger ledger;
	struct resolver_query *lookup;
	struct connect dial;
	struct control control;
	struct reply_reader replies;
	struct netaddr peer;

	unsigned ways_left; /* to make the data connection; bits by enum probe_step */
	struct connect data_dial;
	int listen_fd; /* -1: there is none */
	struct event on_accept;
	struct stream data;
	bool data_begun;
	bool data_securing;
	bool data_ended;  /* orderly */
	bool data_final;  /* the server says that all went well */
	uint64_t bytes;
	char text[PROBE_TEXT_MAX];
};

/* --- probe.c --- */

/* The verdict, then the leave. Nothing of the probe is touched by the caller afterwards but probe_is_leaving(). */
void probe_passed(struct probe *p);
void probe_failed(struct probe *p, const char *why);
void probe_void(struct probe *p, const char *why);

static inline bool probe_is_leaving(const struct probe *p)
{
	return p->step == PROBE_LEAVE;
}

/* Says a command line, and waits for what `step` is about. */
void probe_say(struct probe *p, enum probe_step step, const char *verb, const char *argument);
struct connect_options probe_dial_options(const struct probe *p);
/* Writes the PROXY header that says that the connection is our own. */
bool probe_send_header(struct probe *p, struct stream *stream);
const char *probe_tls_name(const struct probe *p);

/* --- probe_transfer.c --- */

void probe_transfer_begin(struct probe *p);
/* A reply to one of its steps. */
void probe_transfer_on_reply(struct probe *p, const struct reply *reply);
void probe_transfer_drop(struct probe *p);
/* The server's connection to our port is there; the descriptor is the probe's now. */
void probe_data_came(struct probe *p, int fd);

/* --- probe_listen.c --- */

/* Opens a port for the server: 0 or -errno. */
int probe_open_port(struct probe *p, struct netaddr *bound);
void probe_close_port(struct probe *p);

#endif

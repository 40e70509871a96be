// SPDX-License-Identifier: ISC
/*
 * The two data connections of one transfer: one with the client, one with the
 * server, each made either way (we listen, or we dial) and each on its own.
 * Then the relay between them.
 *
 * Knows the protocol's addresses but not its replies: the session says what is
 * to be done and is told what happened through data_ops. Thread: the session's
 * worker.
 */
#ifndef SALLYPORT_DATA_H
#define SALLYPORT_DATA_H

#include "sallyport/connect.h"
#include "sallyport/loop.h"
#include "sallyport/netaddr.h"
#include "sallyport/port_ledger.h"
#include "sallyport/port_registry.h"
#include "sallyport/proxy_reader.h"
#include "sallyport/relay.h"
#include "sallyport/stream.h"
#include "sallyport/tls.h"
#include "sallyport/transfer.h"

enum side { SIDE_CLIENT, SIDE_SERVER };

enum data_state {
	DATA_IDLE,	/* nothing arranged */
	DATA_LISTENING, /* our listener waits for the peer */
	DATA_ARRANGED,	/* the peer's address is known; not dialled yet */
	DATA_DIALLING,
	DATA_SECURING,	/* connected; its TLS handshake runs */
	DATA_OPEN,	/* connected, and protected where it is to be */
	DATA_CLOSED,	/* was open; closed orderly or broken */
	DATA_FAILED,	/* could not be made */
};

struct data;

/* Each is the last thing the caller does: the callee may free the data object. */
struct data_ops {
	/* A side's state has changed: it is open now, or it failed (`error`: errno). */
	void (*on_side)(void *owner, enum side side, int error);
	/* The relay is over. */
	void (*on_relay)(void *owner, enum relay_state how);
	/* Bytes moved; `tick` at most once a second. */
	void (*on_progress)(void *owner, bool tick);
};

/* Who may connect to a listener of ours. Ports are ignored. */
struct data_peers {
	struct netaddr peer;
	struct netaddr via;	  /* stands in for `peer`: the balancer that it came by; AF_UNSPEC: none */
	bool any;		  /* policy: other hosts may connect as well */
	/* Hosts in the same of these networks stand in for `peer`. Borrowed while the side listens. */
	const struct netblock *neighbours;
	size_t neighbours_n;
	/*
	 * A PROXY header comes first, from these networks only, and its source is
	 * who connects; `via` has no part in it. Borrowed while the side listens.
	 */
	bool header;
	const struct netblock *trusted;
	size_t trusted_n;
};

/* From where we dial. */
struct data_source {
	struct netaddr address; /* AF_UNSPEC: any; its port 0: any */
	bool transparent;	/* not an address of this host */
	bool nodelay;		/* something will be said there before the file: it must not wait (TCP_NODELAY) */
};

struct data_side {
	struct data *data;
	enum side side;
	enum data_state state;
	int listen_fd;		/* -1: none */
	struct port_ledger *ports; /* where the listener's port came from; NULL: the kernel */
	uint16_t listen_port;	/* to be given back to it */
	struct port_ticket ticket; /* of a pooled port, instead of a listener */
	struct event on_accept;
	struct data_peers peers; /* who may connect */
	struct netaddr target;	/* whom we dial */
	struct netaddr accepted; /* the other end of a connection whose header is awaited */
	struct proxy_reader header;
	struct connect dial;
	struct stream stream;
	bool tls_failed;	/* DATA_FAILED by its handshake */
	bool named;		/* its connection was told from others by the TLS session that it resumes */
};

struct data {
	struct loop *loop;
	struct ledger *ledger;
	struct session_id id;
	const struct data_ops *ops;
	void *owner;
	struct data_side sides[2]; /* by enum side */
	struct relay relay;
	int64_t told_ms;	   /* last on_progress */
};

/* NULL: no memory. */
struct data *data_new(struct loop *loop, struct ledger *ledger, struct session_id id,
		      const struct data_ops *ops, void *owner);

/* Breaks (RST) whatever is open and closes the listeners. */
void data_free(struct data **data);

/*
 * Opens a listener on `local` (its port is ignored) with a port out of `ports`
 * (NULL: any that the kernel gives), which gets it back when the listener is
 * closed; *bound gets address and port. 0, -EADDRINUSE when no port is free, or
 * another -errno. What the side had before is closed.
 */
SP_MUSTCHECK int data_listen(struct data *data, enum side side, const struct data_source *local,
			     struct port_ledger *ports, const struct data_peers *peers, struct netaddr *bound);

/*
 * The same for the client's side without a listener: reserves one of the pooled
 * ports first..last, on which connections from the peers (but for `any`: who
 * else would it be?) are delivered. 0, -EADDRINUSE or another -errno.
 */
struct data_pooled {
	uint16_t first, last;
	const struct door_terms *doors; /* where connections to them arrive */
	size_t doors_n;
	size_t names_n;			/* what the connection may say (port_registry.h) */
	struct port_name names[PORT_NAMES_MAX];
};
SP_MUSTCHECK int data_reserve(struct data *data, const struct data_pooled *ports, const struct data_peers *peers,
			      uint16_t *port);
/* The client's connection will be in clear: false when it could not be told from others' then. */
SP_MUSTCHECK bool data_go_unnamed(struct data *data);
/* A connection for the reservation of that number; false: there is no such one, and `fd` is still the caller's. */
SP_MUSTCHECK bool data_deliver(struct data *data, uint64_t number, int fd);

/* Notes whom to dial; data_dial() does it. What the side had before is closed. */
void data_arrange(struct data *data, enum side side, const struct netaddr *target);
/* Dials. The side must be DATA_ARRANGED. */
void data_dial(struct data *data, enum side side, const struct data_source *source);

/* How a side is protected: who we are on it is by RFC 4217 section 7, whoever dialled. */
struct data_tls {
	struct tls_context *context;
	uint64_t tag;			/* of tickets, towards a client */
	enum tls_use use;
	const char *name;		/* for verification, towards a server; towards a client, as in tls_accept() */
	const struct stream *control;	/* whose session is to be resumed, towards a server */
};

/*
 * The side is DATA_OPEN and not protected: starts its handshake; on_side says
 * how it went (-EPROTO: tls_error()). False: no memory.
 */
SP_MUSTCHECK bool data_secure(struct data *data, enum side side, const struct data_tls *tls);

/* Both sides are DATA_OPEN: starts the relay. on_relay may come before this returns. */
void data_relay(struct data *data, enum transfer_direction direction);

/* Orderly end of one side (FIN), broken end (RST), or nothing when it is not open; listener and dialling are cancelled. */
void data_close(struct data *data, enum side side);
void data_abort(struct data *data, enum side side);

#endif

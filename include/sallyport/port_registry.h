// SPDX-License-Identifier: ISC
/*
 * The registry of pooled ports: which session waits for a data connection from
 * which address on which of the ports that all sessions share. A place is one
 * port for one client address. As long as there is another port no two sessions
 * have the same one, so that a connection tells by its two ends whose it is.
 * Beyond that, sessions may have one together whose clients name them: by the
 * TLS session that the data connection resumes. From then on each of them gets
 * connections that name it, and no others, to the end of its reservation. A
 * locked core: a mutex a shard, each a leaf; what leaves it leaves by value.
 *
 * A reservation is made and given back by its session's worker alone. When its
 * connection never came, the place rests for a while: the one that was meant
 * for it may be on its way yet, and must not be taken for that of the next
 * transfer. A resting place is given out only when the address has no other;
 * then it is held (nobody gets in) until the reserver has refused all that had
 * come by then and says that it is open; and what another thread was accepting
 * meanwhile is refused as well: it asks for the epoch before it accepts.
 *
 * (What remains is a connection whose client takes it for made, has given it up
 * and said PASV again, and whose last packets come later than all that. It can
 * be had only where every port of the pool had such a failure within the last
 * minute, and only if the client's new connection is slower than it.)
 */
#ifndef SALLYPORT_PORT_REGISTRY_H
#define SALLYPORT_PORT_REGISTRY_H

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"

/* Ports of one `pooled:` range. */
#define POOLED_PORTS_MAX 64
/* How long a place rests whose connection never came: a SYN is repeated for about that long. */
#define PORT_REST_MS	 60000

/* Sessions of one address that have one port together. */
#define PORT_SHARERS_MAX 64

struct port_registry;

/* What a client can say for whom its connection is; equal numbers of different kinds are different names. */
enum port_name_kind {
	PORT_NAME_NONE,
	PORT_NAME_TAG,	  /* what its ticket carries */
	PORT_NAME_NUMBER, /* the number of the TLS session */
};

struct port_name {
	uint64_t kind; /* enum port_name_kind */
	uint64_t high;
	uint64_t low;
};

/* Of one session: its own tag, that of the session which it resumed, its number. */
#define PORT_NAMES_MAX 3

struct port_wish {
	struct session_id owner;
	struct netaddr client; /* from where the connection will come */
	struct netaddr via;    /* or from here; AF_UNSPEC: nowhere else */
	uint16_t first, last;
	uint32_t worker;       /* takes a port of its own (port % workers) rather than another's */
	uint32_t workers;
	uint64_t random;
	int64_t now_ms;
	size_t names_n;	       /* 0: it gets a port for itself, or none */
	struct port_name names[PORT_NAMES_MAX];
};

/* Zero: no reservation. */
struct port_ticket {
	uint64_t number; /* never the same again */
	uint16_t port;
	bool rested;	 /* it is held: port_registry_open() must follow */
	bool shared;	 /* others had it already */
	struct netaddr client;
	struct netaddr via;
};

/* Main. NULL: no memory. */
SP_MUSTCHECK struct port_registry *port_registry_new(uint64_t seed);
/* Nobody may use it any more. */
void port_registry_free(struct port_registry **registry);

/*
 * 0, -EADDRINUSE: the address has all of the ports already, and none of them can
 * be shared, or -ENOMEM. Any thread.
 */
SP_MUSTCHECK int port_registry_reserve(struct port_registry *registry, const struct port_wish *wish,
				       struct port_ticket *out) SP_EXCLUDES(sp_any_shard);
/* What had come by now for a place that rested has been refused: from now on it is ours. */
void port_registry_open(struct port_registry *registry, const struct port_ticket *ticket) SP_EXCLUDES(sp_any_shard);
/* It is for a connection that can name nobody: from now on nobody shares it. False: somebody does already. */
SP_MUSTCHECK bool port_registry_unshare(struct port_registry *registry, const struct port_ticket *ticket)
	SP_EXCLUDES(sp_any_shard);
/*
 * Gives it back, whatever has become of it, and makes *ticket zero. Nothing happens to a zero one.
 * True: its connection has come, and was its own by name.
 */
bool port_registry_release(struct port_registry *registry, struct port_ticket *ticket, int64_t now_ms)
	SP_EXCLUDES(sp_any_shard);

enum port_claim {
	PORT_CLAIMED,	 /* *out says for whom; the place is taken until its owner gives it back */
	PORT_AMBIGUOUS,	 /* of a transfer that is over, or a second one of the same */
	PORT_UNEXPECTED, /* nobody waits for it */
	PORT_SHARED,	 /* several do: port_registry_claim_named() when it has said a name */
};

struct port_owner {
	struct session_id id;
	uint64_t number; /* of its ticket */
};

/* To be asked before a connection is accepted. Takes no lock. Any thread. */
uint64_t port_registry_epoch(const struct port_registry *registry);

/* A connection from `from` was accepted on `port` in or after that epoch. Any thread. */
SP_MUSTCHECK enum port_claim port_registry_claim(struct port_registry *registry, uint16_t port,
						 const struct netaddr *from, uint64_t epoch,
						 struct port_owner *out) SP_EXCLUDES(sp_any_shard);

/*
 * The same for one that was told to be PORT_SHARED, and has said a name: with
 * PORT_UNEXPECTED when none of those who share the port has it. Any thread.
 */
SP_MUSTCHECK enum port_claim port_registry_claim_named(struct port_registry *registry, uint16_t port,
						       const struct netaddr *from, uint64_t epoch,
						       const struct port_name *name, struct port_owner *out)
	SP_EXCLUDES(sp_any_shard);

struct port_registry_stats {
	uint64_t reserved; /* reservations */
	uint64_t resting;  /* places that rest */
	unsigned most;	   /* ports of one range that one address had at once, so far */
};

/* Take no lock. Any thread. */
void port_registry_stats(const struct port_registry *registry, struct port_registry_stats *out);
uint64_t port_registry_reserved(const struct port_registry *registry, uint16_t first, uint16_t last);

#endif

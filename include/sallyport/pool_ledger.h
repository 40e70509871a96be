// SPDX-License-Identifier: ISC
/*
 * The pool ledger: how many sessions occupy which server of a pool, which
 * servers may be chosen, and who waits. One ledger a pool, kept across reloads
 * by the pool's name. A locked core: its mutex is a leaf, it calls only the
 * pure balance_choose(), and it wakes nobody: release and offer *return* whose
 * turn it is, and the caller posts the message when no lock is held.
 *
 * Sessions of old and of new configurations use one ledger at the same time,
 * and server 3 of one need not be server 3 of the other. So a server has a
 * *place* in the ledger, which belongs to its name for the life of the ledger.
 * Each configuration has the places of its servers (`places`, filled in by
 * pool_ledger_configure), asks with them, and gets answers in its own indices.
 */
#ifndef SALLYPORT_POOL_LEDGER_H
#define SALLYPORT_POOL_LEDGER_H

#include "sallyport/addresses.h"
#include "sallyport/balance.h"
#include "sallyport/base.h"
#include "sallyport/feature_memory.h"
#include "sallyport/health.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"

#define POOL_SERVERS_MAX 64   /* of one configuration */
#define POOL_PLACES_MAX	 1024 /* names that a ledger remembers; beyond, places of servers long gone are given anew */

/* A told waiter that has not come is told again after this, and those behind it are told as well. */
#define WAITER_REPEAT_MS 1000

/* Warm connections of one server. */
#define POOL_WARM_MAX 32

/* A session's place at a server; by value, held by the session, given back once. */
struct slot {
	bool held;
	bool trial;	 /* the one logon that may try a server that is down */
	uint16_t server; /* index in the asker's configuration of the pool */
	uint16_t place;	 /* the ledger's */
	bool warm;	 /* with it comes warm_fd, connected and greeted, which is the asker's now */
	int warm_fd;
	struct netaddr address; /* of a place that follows a name; AF_UNSPEC: the server's, as configured */
};

/* Whether a server is chosen, or why not. */
enum server_state {
	SERVER_UP,
	SERVER_DOWN,	    /* by its logons or its checks (health.h), or by order */
	SERVER_DRAIN,	    /* by order: gets no new sessions, and is checked */
	SERVER_MAINTENANCE, /* by order: gets no new sessions, and is left alone */
};
const char *server_state_name(enum server_state state);

/* What is configured of one server; by value. */
struct pool_server_terms {
	char name[32];
	uint32_t weight;	/* 1..; in a status: that of its address */
	uint32_t max_sessions;	/* 0: no limit */
	bool backup;
	enum server_state state; /* UP, DRAIN, MAINTENANCE */
	struct health_terms health;
	uint32_t warm;		/* connections to keep ready, at most POOL_WARM_MAX */
	int64_t warm_age_ms;	/* and how long */
	bool follows;		/* is one address of a name: pool_ledger_follow() says which */
	bool leads;		/* and is used with the name itself until the first answer is there */
	bool service;		/* its name is a domain's: there is nothing until the first answer is there */
	uint64_t identity;	/* stands for its address: another one is another server, of which nothing is known */
};

/* What the servers of a pool have taught us; kept here since all workers share it. */
enum server_lesson {
	LESSON_NO_EPSV = 1 << 0, /* answered EPSV with 5yz */
	LESSON_NO_PASV = 1 << 1,
	LESSON_NO_EPRT = 1 << 2,
};

struct pool_server_status {
	struct pool_server_terms terms;
	enum server_state state;
	bool configured;      /* false: gone from the configuration, still has sessions */
	unsigned lessons;
	uint32_t sessions;
	uint64_t logons;      /* slots given out in all */
	uint64_t failures;    /* pool_ledger_failed() */
	uint32_t failures_in_row;
	uint64_t checks;
	uint64_t checks_failed;
	unsigned share;	      /* of its weight, in percent (slow start) */
	uint32_t warm;	      /* connections that are ready */
	uint32_t reserved;    /* of max_sessions: for these, for those on their way, for a check */
	int64_t response_us;  /* smoothed; 0: not known */
	int64_t down_until_ms; /* while state is DOWN by failures: when it is tried again */
	int64_t changed_ms;    /* the last change of state; 0: none yet */
	bool vacant;	       /* follows a name that has no address for it */
	bool leaving;	       /* its name does not stand for its address any more */
	struct netaddr address; /* of a place that follows a name */
	uint64_t lookups_failed; /* of that name; of a place that leads */
	char reason[96];       /* of the last change of state */
	char check_text[96];   /* what the last check found */
};

/* Reasons of changes that a reload has made. */
#define POOL_REASON_CONFIGURED "configured"
#define POOL_REASON_MOVED      "another address"

struct pool_ledger;

/* NULL: no memory. Main. */
struct pool_ledger *pool_ledger_new(enum balance_algorithm algorithm);
/* All slots have been given back; waiters are forgotten. */
void pool_ledger_free(struct pool_ledger **ledger);

/*
 * (Re)states the servers: those of the same name keep their counts, and if they
 * keep their identity what is known of them: health, lessons, warm connections.
 * Sessions of servers that are gone are given back as usual. Fills places[n], which the configuration keeps beside its servers. Main, at start
 * and reload, before the configuration is in force; then offer until nobody is
 * left to be told. False: no memory or no place (nothing has changed).
 */
SP_MUSTCHECK bool pool_ledger_configure(struct pool_ledger *ledger, enum balance_algorithm algorithm,
					const struct pool_server_terms terms[], size_t n, uint16_t places[])
    SP_EXCLUDES(sp_any_shard);

enum pool_answer {
	POOL_GRANTED, /* *slot is held */
	POOL_FULL,    /* every server that could be chosen is at max_sessions, or promised to those who wait */
	POOL_NONE,    /* no server can be chosen: all down or already tried */
};

/* Everything a choice depends on; by value, but for `places`, borrowed for the call. */
struct pool_ask {
	struct session_id id; /* who asks: a waiter keeps its turn, others queue behind those who wait */
	const uint16_t *places;
	size_t places_n;      /* <= POOL_SERVERS_MAX */
	int64_t now_ms;
	uint64_t tried;	      /* bit i: server i (of places) has failed this logon already */
	uint64_t hash_user;
	uint64_t hash_source;
	uint64_t random;
};

/* A waiter that is granted a slot has left the queue. Its worker. */
SP_MUSTCHECK enum pool_answer pool_ledger_acquire(struct pool_ledger *ledger, const struct pool_ask *ask,
						  struct slot *slot) SP_EXCLUDES(sp_any_shard);

/*
 * Gives the slot back (slot->held becomes false; nothing happens when it was
 * not held). Returns the session that waits first for it, SESSION_ID_NONE when
 * nobody does: the caller posts MESSAGE_SLOT to it.
 */
SP_MUSTCHECK struct session_id pool_ledger_release(struct pool_ledger *ledger, struct slot *slot)
    SP_EXCLUDES(sp_any_shard);

/*
 * Joins or leaves the queue of waiters, in order of joining; joining twice
 * keeps the first place. False: no memory. A waiter that is told its turn
 * acquires again; while it is told and has not come, others are told too after
 * WAITER_REPEAT_MS: a lost message costs time, not a place. A session that
 * ends must leave.
 */
SP_MUSTCHECK bool pool_ledger_wait(struct pool_ledger *ledger, struct session_id id)
    SP_EXCLUDES(sp_any_shard);
/*
 * The same, before all of a lesser priority (below WAIT_QUEUE_PRIORITIES;
 * pool_ledger_wait() has 0), and only for the servers of `ask` that it has not
 * tried: room at others is not for it, and it holds up nobody there.
 */
SP_MUSTCHECK bool pool_ledger_wait_before(struct pool_ledger *ledger, const struct pool_ask *ask,
					  unsigned priority) SP_EXCLUDES(sp_any_shard);
void pool_ledger_leave(struct pool_ledger *ledger, struct session_id id) SP_EXCLUDES(sp_any_shard);
/* Takes no lock: cheap enough to ask before offering. */
size_t pool_ledger_waiting(struct pool_ledger *ledger);

/*
 * The next waiter to be told that there is room: one who has not been told, or
 * was WAITER_REPEAT_MS ago and has not come. The caller posts MESSAGE_SLOT and
 * asks again until it is SESSION_ID_NONE. For room that appears without a
 * release (a reload, a server that is up again), after leaving the queue, and
 * every second or so while pool_ledger_waiting(). Any thread.
 */
SP_MUSTCHECK struct session_id pool_ledger_offer(struct pool_ledger *ledger, int64_t now_ms)
    SP_EXCLUDES(sp_any_shard);

/*
 * The slot's server failed (or served) a logon before it was confirmed; the
 * slot is still held. What follows: health.h. `response_us`: how long it took
 * over the logon, 0: not measured. Returns true when this changed its state.
 * Served takes the lock only when the server has failed before.
 */
bool pool_ledger_failed(struct pool_ledger *ledger, struct slot *slot, int64_t now_ms, const char *reason)
    SP_EXCLUDES(sp_any_shard);
bool pool_ledger_served(struct pool_ledger *ledger, struct slot *slot, int64_t response_us)
    SP_EXCLUDES(sp_any_shard);

/*
 * Sets the state of the server of that name by order of the operator. UP
 * forgets earlier failures; DOWN, DRAIN and MAINTENANCE stay until the next
 * order, or until a reload configures another state than the one before it did.
 * True when this changed its state. Any thread.
 */
bool pool_ledger_set_state(struct pool_ledger *ledger, const char *name, enum server_state state,
			   const char *reason) SP_EXCLUDES(sp_any_shard);

/* --- names -------------------------------------------------------------------------
 *
 * A server that is all addresses of a name has as many places as it may have
 * addresses; the first one leads.
 */
#define POOL_ADDRESSES_MAX 16

/*
 * The name stands for these now. An address that is gone gets no
 * new logons, and its place is free when the last session there has ended; one
 * that is new is a server of which nothing is known. Offer afterwards.
 */
struct addresses_change pool_ledger_follow(struct pool_ledger *ledger, const uint16_t places[], size_t n,
					   const struct named_address now[], size_t now_n) SP_EXCLUDES(sp_any_shard);
/* The name could not be looked up; nothing changes. Returns how often in a row. */
unsigned pool_ledger_follow_failed(struct pool_ledger *ledger, uint16_t place) SP_EXCLUDES(sp_any_shard);
/* Whether the place is of a server that there is: not a vacant one, nor one that leaves. */
SP_MUSTCHECK bool pool_ledger_is_there(struct pool_ledger *ledger, uint16_t place) SP_EXCLUDES(sp_any_shard);

/* --- checks, and connections that are kept ready ----------------------------------
 *
 * Whoever looks after the servers (one thread for all workers) asks what is due
 * and has by that what it needs of max_sessions: it is *reserved*, never more
 * than there is, and never the last one that a logon could have, unless the
 * server is down anyway or has a single place and nobody on it. Each chore ends
 * with pool_ledger_warm_put(), or with pool_ledger_chore_done() when the
 * connection is closed on both sides.
 */
enum pool_chore_kind { CHORE_CHECK, CHORE_WARM };

struct pool_chore {
	enum pool_chore_kind kind;
	bool failed; /* CHORE_WARM: the server gave no connection; the next try a little later */
	uint16_t place;
	uint64_t identity; /* of the server that is at the place now; what is found of another one counts for nothing */
	char name[32]; /* of the server */
	struct netaddr address; /* like a slot's */
};

/* Behind a warm connection that could not be made. */
#define POOL_WARM_RETRY_MS 1000


/* Up to n chores that are due and have begun by this. */
SP_MUSTCHECK size_t pool_ledger_chores(struct pool_ledger *ledger, int64_t now_ms, struct pool_chore out[],
				       size_t n) SP_EXCLUDES(sp_any_shard);

enum check_verdict {
	VERDICT_PASSED,
	VERDICT_FAILED,
	VERDICT_FULL, /* it says that it has too many users: proves nothing while some are ours */
	VERDICT_VOID, /* the check could not be made; the fault is ours */
};

/*
 * The verdict of a CHORE_CHECK, before it is done. True: the server's state has
 * changed, to *state.
 */
bool pool_ledger_checked(struct pool_ledger *ledger, const struct pool_chore *chore,
			 enum check_verdict verdict, int64_t now_ms, const char *text,
			 enum server_state *state) SP_EXCLUDES(sp_any_shard);

/* Gives back what was reserved. Returns who is to be told, as pool_ledger_release() does. */
SP_MUSTCHECK struct session_id pool_ledger_chore_done(struct pool_ledger *ledger, const struct pool_chore *chore,
						      int64_t now_ms) SP_EXCLUDES(sp_any_shard);

/* A connection that is connected and greeted. */
struct warm {
	int fd;
	int64_t since_ms;
	uint64_t identity; /* the chore's */
};

/*
 * Ends a CHORE_WARM: the connection is ready, its descriptor the ledger's until
 * a logon has it. Returns who is to be told. False in *taken: it is not wanted
 * any more (the chore goes on, and the descriptor is still the caller's).
 */
SP_MUSTCHECK struct session_id pool_ledger_warm_put(struct pool_ledger *ledger, const struct pool_chore *chore,
						    const struct warm *warm, int64_t now_ms, bool *taken)
    SP_EXCLUDES(sp_any_shard);

/*
 * Takes all connections that wait for the place's server out of the ledger, to
 * look at them: each a CHORE_WARM of its own (*chore is that of all), to be put
 * back or done. *age_ms: how long they may wait. Returns how many. The caller
 * goes through places 0 .. pool_ledger_places().
 */
SP_MUSTCHECK size_t pool_ledger_warm_take(struct pool_ledger *ledger, uint16_t place, struct pool_chore *chore,
					  struct warm out[POOL_WARM_MAX], int64_t *age_ms)
    SP_EXCLUDES(sp_any_shard);
size_t pool_ledger_places(struct pool_ledger *ledger) SP_EXCLUDES(sp_any_shard);

/* Lessons are read on every logon: a relaxed atomic, no lock. A slot that was acquired once, held or not. */
unsigned pool_ledger_lessons(struct pool_ledger *ledger, const struct slot *slot);
/* Forgets them all. */
void pool_ledger_unlearn(struct pool_ledger *ledger, const struct slot *slot);
void pool_ledger_learn(struct pool_ledger *ledger, const struct slot *slot, enum server_lesson lesson);

/* What the servers answered to FEAT, by place; lives as long as the ledger. */
struct feature_memory *pool_ledger_features(struct pool_ledger *ledger);

/*
 * Copies the status of up to n servers, configured ones in order and then those
 * that are gone and still have sessions; returns how many there are. Any thread.
 */
size_t pool_ledger_status(struct pool_ledger *ledger, struct pool_server_status out[], size_t n)
    SP_EXCLUDES(sp_any_shard);
void pool_ledger_lock_stats(struct pool_ledger *ledger, struct lock_stats *out);

#endif

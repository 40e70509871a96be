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

#include "sallyport/balance.h"
#include "sallyport/base.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"

#define POOL_SERVERS_MAX 64   /* of one configuration */
#define POOL_PLACES_MAX	 1024 /* names that a ledger remembers; beyond, places of servers long gone are given anew */

/* A told waiter that has not come is told again after this, and those behind it are told as well. */
#define WAITER_REPEAT_MS 1000

/* This many failures in a row take a server out of the choice. */
#define POOL_FAILURES_MAX    3
#define POOL_DOWN_FIRST_MS   1000
#define POOL_DOWN_LONGEST_MS 30000

/* A session's place at a server; by value, held by the session, given back once. */
struct slot {
	bool held;
	bool trial;	 /* the one logon that may try a server that is down */
	uint16_t server; /* index in the asker's configuration of the pool */
	uint16_t place;	 /* the ledger's */
};

/* What is configured of one server; by value. */
struct pool_server_terms {
	char name[32];
	uint32_t weight;	/* 1.. */
	uint32_t max_sessions;	/* 0: no limit */
};

/* Why a server is not chosen at the moment. */
enum server_state { SERVER_UP, SERVER_DOWN, SERVER_DRAIN, SERVER_MAINTENANCE };

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
	int64_t response_us;  /* smoothed; 0: not known */
	int64_t down_until_ms; /* while state is DOWN by failures: when it is tried again */
	char reason[96];       /* of the last change of state */
};

struct pool_ledger;

/* NULL: no memory. Main. */
struct pool_ledger *pool_ledger_new(enum balance_algorithm algorithm);
/* All slots have been given back; waiters are forgotten. */
void pool_ledger_free(struct pool_ledger **ledger);

/*
 * (Re)states the servers: those of the same name keep their counts, lessons and
 * state; sessions of servers that are gone are given back as usual. Fills
 * places[n], which the configuration keeps beside its servers. Main, at start
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
 * slot is still held. POOL_FAILURES_MAX failures in a row take it out of the
 * choice for a growing while (1 s, 2 s, 4 s … 30 s), after which one logon may
 * try it. `response_us`: how long it took over the logon, 0: not measured.
 * Returns true when this changed its state. Served takes the lock only when the
 * server has failed before.
 */
bool pool_ledger_failed(struct pool_ledger *ledger, struct slot *slot, int64_t now_ms, const char *reason)
    SP_EXCLUDES(sp_any_shard);
bool pool_ledger_served(struct pool_ledger *ledger, struct slot *slot, int64_t response_us)
    SP_EXCLUDES(sp_any_shard);

/*
 * Sets the state of the server of that name by order of the operator or a
 * health check. UP forgets earlier failures; DOWN, DRAIN and MAINTENANCE stay
 * until the next order. True when this changed its state. Any thread.
 */
bool pool_ledger_set_state(struct pool_ledger *ledger, const char *name, enum server_state state,
			   const char *reason) SP_EXCLUDES(sp_any_shard);

/* Lessons are read on every logon: a relaxed atomic, no lock. A slot that was acquired once, held or not. */
unsigned pool_ledger_lessons(struct pool_ledger *ledger, const struct slot *slot);
/* Forgets them all. */
void pool_ledger_unlearn(struct pool_ledger *ledger, const struct slot *slot);
void pool_ledger_learn(struct pool_ledger *ledger, const struct slot *slot, enum server_lesson lesson);

/*
 * Copies the status of up to n servers, configured ones in order and then those
 * that are gone and still have sessions; returns how many there are. Any thread.
 */
size_t pool_ledger_status(struct pool_ledger *ledger, struct pool_server_status out[], size_t n)
    SP_EXCLUDES(sp_any_shard);
void pool_ledger_lock_stats(struct pool_ledger *ledger, struct lock_stats *out);

#endif

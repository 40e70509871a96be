// SPDX-License-Identifier: ISC
/*
 * The keys of TLS session tickets, one ring for all workers: the newest
 * encrypts, all of them decrypt. Keys go in and come out by value; what they
 * are used for is tls_tickets.c's.
 */
#ifndef SALLYPORT_TICKET_RING_H
#define SALLYPORT_TICKET_RING_H

#include "sallyport/base.h"
#include "sallyport/thread_safety.h"

#define TICKET_KEYS_MAX	   16
#define TICKET_NAME_BYTES  16
#define TICKET_KEY_BYTES   80 /* in a file: name, then hmac, then aes */

struct ticket_key {
	unsigned char name[TICKET_NAME_BYTES]; /* stands in the ticket, in clear */
	unsigned char hmac[32];
	unsigned char aes[32];
};

/* The first is the newest. */
struct ticket_keys {
	size_t n;
	struct ticket_key keys[TICKET_KEYS_MAX];
};

struct ticket_ring;

/* An empty one. `instance`: random, of this process; see ticket_ring_instance(). NULL: no memory. */
struct ticket_ring *ticket_ring_new(uint64_t instance);
/* Wipes the keys. Nobody may use it any more. */
void ticket_ring_free(struct ticket_ring **ring);

/*
 * Tells tickets of this process from those of others with the same keys: session
 * numbers are unique within a process alone. Constant; any thread.
 */
uint64_t ticket_ring_instance(const struct ticket_ring *ring);

/* Replaces all keys. n >= 1. */
void ticket_ring_set(struct ticket_ring *ring, const struct ticket_keys *keys) SP_EXCLUDES(sp_any_shard);

/* A new first key; the one that was first still decrypts, those before it are forgotten. */
void ticket_ring_rotate(struct ticket_ring *ring, const struct ticket_key *key) SP_EXCLUDES(sp_any_shard);

/* The key that encrypts. False: there is none. Any thread. */
SP_MUSTCHECK bool ticket_ring_first(struct ticket_ring *ring, struct ticket_key *out)
    SP_EXCLUDES(sp_any_shard);

/* Whether a key was found, and whether it still is the one that encrypts. */
enum ticket_found { TICKET_UNKNOWN, TICKET_OLD, TICKET_FIRST };

SP_MUSTCHECK enum ticket_found ticket_ring_find(struct ticket_ring *ring,
						const unsigned char name[TICKET_NAME_BYTES],
						struct ticket_key *out) SP_EXCLUDES(sp_any_shard);

void ticket_ring_lock_stats(const struct ticket_ring *ring, struct lock_stats *out);

#endif

// SPDX-License-Identifier: ISC
/*
 * A session: one client's control connection and all that hangs off it. It
 * lives and dies on one worker; nobody else ever holds a pointer to it.
 */
#ifndef SALLYPORT_SESSION_H
#define SALLYPORT_SESSION_H

#include "sallyport/end_reason.h"
#include "sallyport/loop.h"

struct session;

/*
 * Takes over the accepted, non-blocking descriptor `fd` and greets the client.
 * On failure the descriptor is closed (with a 421 where it can be said) and
 * nothing remains. Worker.
 */
void session_new(struct loop *loop, int fd, const struct netaddr *client, const struct listener_config *listener);

/*
 * The one way to end a session: idempotent, callable in any state. Says the
 * last words to client and server through farewells, gives everything back,
 * takes the record out of the table and puts the session on its worker's
 * graveyard. Worker.
 */
void session_end(struct session *s, enum end_reason reason) SP_EXCLUDES(sp_any_shard);

/* A notice, a kick, a granted slot: the worker found the id in its own map. Worker. */
void session_on_notice(struct session *s);
void session_on_kick(struct session *s, enum end_reason reason);
void session_on_slot(struct session *s);

/* Its data connection has come to a pooled port; takes `fd` over. `number`: of the ticket. Worker. */
void session_on_data(struct session *s, int fd, uint64_t number);

/* The worker drains: ends the session now unless a transfer runs; then when it ends. */
void session_on_drain(struct session *s);

/* Turns keep-alive on for sessions that live on; loop->on_young calls it. Worker. */
void session_tend_young(struct loop *loop);

/* Frees what is on the graveyard. After the loop's turn. */
void session_bury(struct loop *loop);

#endif

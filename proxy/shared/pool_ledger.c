// SPDX-License-Identifier: ISC
/*
 * The pool ledger: places of servers, and the queue of those who wait.
 *
 * Under the lock nothing runs but this file, balance_choose() and mem*; places
 * and waiters are allocated before it is taken and freed after it was dropped.
 * What is read on every logon beside the choice itself (lessons, whether a
 * server has failed lately) is atomic and read without the lock.
 */
#include "sallyport/pool_ledger.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/wait_queue.h"

#define RESPONSE_SMOOTHING 8 /* the newest response weighs one eighth */

_Static_assert(POOL_SERVERS_MAX <= BALANCE_ROWS_MAX, "a pool fits one choice");

/* One server, by name. */
struct place {
	struct pool_server_terms terms;
	bool configured;
	size_t index; /* in the latest configuration */
	enum server_state state;
	bool trial; /* a logon is trying it */
	uint32_t sessions;
	uint64_t logons;
	uint64_t failures;
	int64_t down_ms; /* how long it stays out at the next failure's turn; 0: has not been */
	int64_t down_until_ms; /* CLOCK_NEVER: until the next order */
	uint64_t name_hash;
	int64_t current; /* balance_choose()'s */
	char reason[sizeof(((struct pool_server_status *)0)->reason)];
	/* Any thread, without the lock. */
	_Atomic unsigned lessons;
	_Atomic uint32_t failures_in_row;
	_Atomic int64_t response_us;
};

struct pool_ledger {
	struct core_lock lock;
	enum balance_algorithm algorithm;
	size_t places_n;
	/* An entry is written once, before its number is known. */
	struct place *places[POOL_PLACES_MAX];
	struct wait_queue waiters;
};

struct pool_ledger *pool_ledger_new(enum balance_algorithm algorithm)
{
	struct pool_ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	core_lock_init(&ledger->lock);
	ledger->algorithm = algorithm;
	wait_queue_init(&ledger->waiters);
	return ledger;
}

void pool_ledger_free(struct pool_ledger **ledger)
{
	struct pool_ledger *l = *ledger;

	*ledger = NULL;
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->places_n; i++) {
		SP_ASSERT(l->places[i]->sessions == 0);
		free(l->places[i]);
	}
	for (struct waiter *w; (w = wait_queue_leave_first(&l->waiters)) != NULL;)
		free(w);
	core_lock_fini(&l->lock);
	free(l);
}

/* --- places -------------------------------------------------------------------- */

static struct place *place_at(struct pool_ledger *ledger, uint16_t place)
{
	SP_ASSERT(place < POOL_PLACES_MAX && ledger->places[place] != NULL);
	return ledger->places[place];
}

/* The place of a name, or ledger->places_n. */
static size_t find_place(const struct pool_ledger *ledger, const char *name)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t i = 0;

	while (i < ledger->places_n && strncmp(ledger->places[i]->terms.name, name,
	                                       sizeof(ledger->places[i]->terms.name)) != 0)
		i++;
	return i;
}

/* A place that can be given to another name; POOL_PLACES_MAX: none. */
static size_t find_reusable(const struct pool_ledger *ledger)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	for (size_t i = 0; i < ledger->places_n; i++) {
		if (!ledger->places[i]->configured && ledger->places[i]->sessions == 0)
			return i;
	}
	return POOL_PLACES_MAX;
}

static bool enough_places_locked(const struct pool_ledger *ledger,
                                 const struct pool_server_terms terms[], size_t n)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t wanted = 0;
	size_t free_places = POOL_PLACES_MAX - ledger->places_n;

	for (size_t i = 0; i < n; i++)
		wanted += find_place(ledger, terms[i].name) == ledger->places_n;
	for (size_t i = 0; i < ledger->places_n && free_places < wanted; i++)
		free_places += !ledger->places[i]->configured && ledger->places[i]->sessions == 0;
	return wanted <= free_places;
}

/* Gives a name its place: the one it has, a new one (takes *spare), or another's of long ago. */
static size_t settle_place(struct pool_ledger *ledger, const struct pool_server_terms *terms,
                           struct place **spare) SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t i = find_place(ledger, terms->name);

	if (i < ledger->places_n)
		return i;
	if (i < POOL_PLACES_MAX) {
		ledger->places[i] = *spare;
		*spare = NULL;
		ledger->places_n++;
		return i;
	}
	i = find_reusable(ledger);
	memset(ledger->places[i], 0, sizeof(struct place));
	return i;
}

static void configure_locked(struct pool_ledger *ledger, const struct pool_server_terms terms[],
                             size_t n, struct place *spares[], uint16_t places[])
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	/* First those that stay, so that no place of theirs is taken for reusable. */
	for (size_t i = 0; i < ledger->places_n; i++)
		ledger->places[i]->configured = false;
	for (size_t i = 0; i < n; i++) {
		size_t p = find_place(ledger, terms[i].name);

		if (p < ledger->places_n)
			ledger->places[p]->configured = true;
	}
	for (size_t i = 0; i < n; i++) {
		size_t p = settle_place(ledger, &terms[i], &spares[i]);
		struct place *place = ledger->places[p];

		place->terms = terms[i];
		place->terms.name[sizeof(place->terms.name) - 1] = '\0';
		place->name_hash = balance_hash(span_of(place->terms.name));
		place->configured = true;
		place->index = i;
		places[i] = (uint16_t)p;
	}
}

bool pool_ledger_configure(struct pool_ledger *ledger, enum balance_algorithm algorithm,
                           const struct pool_server_terms terms[], size_t n, uint16_t places[])
{
	struct place *spares[POOL_SERVERS_MAX] = { NULL };
	bool ok = true;

	SP_ASSERT_UNLOCKED();
	SP_ASSERT(n <= POOL_SERVERS_MAX);
	for (size_t i = 0; i < n && ok; i++) {
		spares[i] = calloc(1, sizeof(*spares[i]));
		ok = spares[i] != NULL;
	}
	if (ok) {
		core_lock_take(&ledger->lock, __func__);
		ok = enough_places_locked(ledger, terms, n);
		if (ok) {
			ledger->algorithm = algorithm;
			configure_locked(ledger, terms, n, spares, places);
		}
		core_lock_drop(&ledger->lock);
	}
	for (size_t i = 0; i < n; i++)
		free(spares[i]);
	return ok;
}

static bool is_eligible(const struct place *place, int64_t now_ms)
{
	if (!place->configured)
		return false;
	switch (place->state) {
	case SERVER_UP:
		return true;
	case SERVER_DOWN: /* its time is over: one logon may try it */
		return place->down_until_ms <= now_ms && !place->trial;
	case SERVER_DRAIN:
	case SERVER_MAINTENANCE:
		return false;
	}
	SP_UNREACHABLE("state of a server");
}

/* How many sessions it can take now. */
static size_t room_of(const struct place *place, int64_t now_ms)
{
	uint32_t max = place->terms.max_sessions;
	size_t room = max == 0 ? UINT32_MAX : max > place->sessions ? max - place->sessions : 0;

	if (!is_eligible(place, now_ms) || place->terms.weight == 0)
		return 0;
	return place->state == SERVER_DOWN && room > 1 ? 1 : room;
}

/* --- waiters ------------------------------------------------------------------- */

bool pool_ledger_wait(struct pool_ledger *ledger, struct session_id id)
{
	SP_ASSERT_UNLOCKED();

	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (waiter == NULL)
		return false;
	waiter->id = id;
	core_lock_take(&ledger->lock, __func__);
	if (wait_queue_join(&ledger->waiters, waiter))
		waiter = NULL;
	core_lock_drop(&ledger->lock);
	free(waiter); /* it waits already */
	return true;
}

void pool_ledger_leave(struct pool_ledger *ledger, struct session_id id)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	struct waiter *waiter = wait_queue_leave(&ledger->waiters, id);
	core_lock_drop(&ledger->lock);
	free(waiter);
}

size_t pool_ledger_waiting(struct pool_ledger *ledger)
{
	return wait_queue_length(&ledger->waiters);
}

/* Marks the next waiter as told and returns it. */
static struct session_id offer_locked(struct pool_ledger *ledger, int64_t now_ms)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t room = 0;

	for (size_t i = 0; i < ledger->places_n; i++)
		room += room_of(ledger->places[i], now_ms);
	return wait_queue_tell(&ledger->waiters, room, now_ms, WAITER_REPEAT_MS);
}

struct session_id pool_ledger_offer(struct pool_ledger *ledger, int64_t now_ms)
{
	SP_ASSERT_UNLOCKED();
	if (wait_queue_length(&ledger->waiters) == 0)
		return SESSION_ID_NONE;
	core_lock_take(&ledger->lock, __func__);
	struct session_id id = offer_locked(ledger, now_ms);
	core_lock_drop(&ledger->lock);
	return id;
}

/* --- slots --------------------------------------------------------------------- */

/* The rows of the choice, and the room that all those the asker has not tried have together. */
static size_t fill_rows(struct pool_ledger *ledger, const struct pool_ask *ask,
                        struct balance_row rows[]) SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t room = 0;

	for (size_t i = 0; i < ask->places_n; i++) {
		const struct place *place = place_at(ledger, ask->places[i]);

		rows[i] = (struct balance_row){
			.weight = place->terms.weight,
			.sessions = place->sessions,
			.max_sessions = place->terms.max_sessions,
			.eligible = is_eligible(place, ask->now_ms),
			.response_us =
			    atomic_load_explicit(&place->response_us, memory_order_relaxed),
			.name_hash = place->name_hash,
			.current = place->current,
		};
		if ((ask->tried >> i & 1) == 0)
			room += room_of(place, ask->now_ms);
	}
	return room;
}

static enum pool_answer choose_locked(struct pool_ledger *ledger, const struct pool_ask *ask,
                                      struct slot *slot) SP_REQUIRES(ledger->lock, sp_any_shard)
{
	struct balance_row rows[POOL_SERVERS_MAX];
	struct balance_ask terms = {
		.tried = ask->tried,
		.hash_user = ask->hash_user,
		.hash_source = ask->hash_source,
		.random = ask->random,
	};
	size_t room = fill_rows(ledger, ask, rows);

	if (room > 0 && !wait_queue_has_turn(&ledger->waiters, ask->id, room))
		return POOL_FULL;

	int chosen = balance_choose(ledger->algorithm, rows, ask->places_n, &terms);

	if (chosen == BALANCE_FULL)
		return POOL_FULL;
	if (chosen < 0)
		return POOL_NONE;
	for (size_t i = 0; i < ask->places_n; i++)
		ledger->places[ask->places[i]]->current = rows[i].current;

	struct place *place = ledger->places[ask->places[chosen]];

	place->sessions++;
	place->logons++;
	*slot = (struct slot){
		.held = true,
		.trial = place->state == SERVER_DOWN,
		.server = (uint16_t)chosen,
		.place = ask->places[chosen],
	};
	place->trial = slot->trial;
	return POOL_GRANTED;
}

/* A waiter that was granted leaves; one that came and got nothing holds up nobody any more. */
static struct waiter *after_answer_locked(struct pool_ledger *ledger, struct session_id id,
                                          enum pool_answer answer)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	if (wait_queue_length(&ledger->waiters) == 0)
		return NULL;
	if (answer == POOL_GRANTED)
		return wait_queue_leave(&ledger->waiters, id);
	wait_queue_came_in_vain(&ledger->waiters, id);
	return NULL;
}

enum pool_answer pool_ledger_acquire(struct pool_ledger *ledger, const struct pool_ask *ask,
                                     struct slot *slot)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(!slot->held && ask->places_n <= POOL_SERVERS_MAX);
	core_lock_take(&ledger->lock, __func__);

	enum pool_answer answer = choose_locked(ledger, ask, slot);
	struct waiter *waiter = after_answer_locked(ledger, ask->id, answer);

	core_lock_drop(&ledger->lock);
	free(waiter);
	return answer;
}

struct session_id pool_ledger_release(struct pool_ledger *ledger, struct slot *slot)
{
	SP_ASSERT_UNLOCKED();
	if (!slot->held)
		return SESSION_ID_NONE;

	int64_t now_ms = sp_now_ms();

	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, slot->place);

	SP_ASSERT(place->sessions > 0);
	place->sessions--;
	if (slot->trial)
		place->trial = false; /* it ended without a verdict: another one may try */

	struct session_id next = offer_locked(ledger, now_ms);

	core_lock_drop(&ledger->lock);
	slot->held = false;
	slot->trial = false;
	return next;
}

/* --- states -------------------------------------------------------------------- */

static void set_reason(struct place *place, const char *reason)
{
	(void)sp_copy(place->reason, sizeof(place->reason), reason);
}

/* Takes a server out for a while, twice as long as the last time. */
static void take_down(struct place *place, int64_t now_ms, const char *reason)
{
	place->down_ms = place->down_ms == 0 ? POOL_DOWN_FIRST_MS
	                                     : sp_min64(2 * place->down_ms, POOL_DOWN_LONGEST_MS);
	place->down_until_ms = now_ms + place->down_ms;
	place->state = SERVER_DOWN;
	set_reason(place, reason);
}

bool pool_ledger_failed(struct pool_ledger *ledger, struct slot *slot, int64_t now_ms,
                        const char *reason)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(slot->held);
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, slot->place);
	enum server_state before = place->state;
	uint32_t in_row = atomic_load_explicit(&place->failures_in_row, memory_order_relaxed) + 1;

	place->failures++;
	atomic_store_explicit(&place->failures_in_row, in_row, memory_order_relaxed);
	/* Of many logons that fail at once, those behind the first do not lengthen its time. */
	if (slot->trial ? before == SERVER_DOWN
	                : before == SERVER_UP && in_row >= POOL_FAILURES_MAX)
		take_down(place, now_ms, reason);
	if (slot->trial)
		place->trial = false;

	bool changed = place->state != before;

	core_lock_drop(&ledger->lock);
	slot->trial = false;
	return changed;
}

static void smooth_response(struct place *place, int64_t response_us)
{
	int64_t old = atomic_load_explicit(&place->response_us, memory_order_relaxed);
	int64_t smoothed = old == 0 ? response_us : old + (response_us - old) / RESPONSE_SMOOTHING;

	/* Two workers at once: one of the two figures is lost, which nobody will miss. */
	atomic_store_explicit(&place->response_us, sp_max64(smoothed, 1), memory_order_relaxed);
}

bool pool_ledger_served(struct pool_ledger *ledger, struct slot *slot, int64_t response_us)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(slot->held);

	struct place *place = place_at(ledger, slot->place);

	if (response_us > 0)
		smooth_response(place, response_us);
	if (!slot->trial &&
	    atomic_load_explicit(&place->failures_in_row, memory_order_relaxed) == 0)
		return false;
	core_lock_take(&ledger->lock, __func__);

	bool changed = place->state == SERVER_DOWN && place->down_until_ms != CLOCK_NEVER;

	atomic_store_explicit(&place->failures_in_row, 0, memory_order_relaxed);
	if (changed) {
		place->state = SERVER_UP;
		set_reason(place, "served a logon");
	}
	place->down_ms = 0;
	if (slot->trial)
		place->trial = false;
	core_lock_drop(&ledger->lock);
	slot->trial = false;
	return changed;
}

bool pool_ledger_set_state(struct pool_ledger *ledger, const char *name, enum server_state state,
                           const char *reason)
{
	bool changed = false;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);

	size_t i = find_place(ledger, name);

	if (i < ledger->places_n) {
		struct place *place = ledger->places[i];

		changed = place->state != state;
		place->state = state;
		place->down_until_ms = state == SERVER_DOWN ? CLOCK_NEVER : 0;
		if (state == SERVER_UP) {
			place->down_ms = 0;
			atomic_store_explicit(&place->failures_in_row, 0, memory_order_relaxed);
		}
		if (changed)
			set_reason(place, reason);
	}
	core_lock_drop(&ledger->lock);
	return changed;
}

unsigned pool_ledger_lessons(struct pool_ledger *ledger, const struct slot *slot)
{
	return atomic_load_explicit(&place_at(ledger, slot->place)->lessons, memory_order_relaxed);
}

void pool_ledger_learn(struct pool_ledger *ledger, const struct slot *slot,
                       enum server_lesson lesson)
{
	atomic_fetch_or_explicit(&place_at(ledger, slot->place)->lessons, lesson,
	                         memory_order_relaxed);
}

void pool_ledger_unlearn(struct pool_ledger *ledger, const struct slot *slot)
{
	atomic_store_explicit(&place_at(ledger, slot->place)->lessons, 0, memory_order_relaxed);
}

/* --- what the operator sees ------------------------------------------------------ */

static void copy_status(const struct place *place, struct pool_server_status *out)
{
	*out = (struct pool_server_status){
		.terms = place->terms,
		.state = place->state,
		.configured = place->configured,
		.lessons = atomic_load_explicit(&place->lessons, memory_order_relaxed),
		.sessions = place->sessions,
		.logons = place->logons,
		.failures = place->failures,
		.failures_in_row =
		    atomic_load_explicit(&place->failures_in_row, memory_order_relaxed),
		.response_us = atomic_load_explicit(&place->response_us, memory_order_relaxed),
		.down_until_ms = place->down_until_ms,
	};
	memcpy(out->reason, place->reason, sizeof(out->reason));
}

size_t pool_ledger_status(struct pool_ledger *ledger, struct pool_server_status out[], size_t n)
{
	size_t configured = 0;
	size_t all;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	for (size_t i = 0; i < ledger->places_n; i++) {
		const struct place *place = ledger->places[i];

		if (!place->configured)
			continue;
		configured++;
		if (place->index < n)
			copy_status(place, &out[place->index]);
	}
	all = configured;
	for (size_t i = 0; i < ledger->places_n; i++) {
		const struct place *place = ledger->places[i];

		if (place->configured || place->sessions == 0)
			continue;
		if (all < n)
			copy_status(place, &out[all]);
		all++;
	}
	core_lock_drop(&ledger->lock);
	return all;
}

void pool_ledger_lock_stats(struct pool_ledger *ledger, struct lock_stats *out)
{
	core_lock_stats(&ledger->lock, out);
}

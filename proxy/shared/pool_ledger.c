// SPDX-License-Identifier: ISC
/*
 * The pool ledger: places of servers, and the queue of those who wait.
 *
 * Under the lock nothing runs but this file, balance_choose() and mem*; places
 * and waiters are allocated before it is taken and freed after it was dropped.
 * What is read on every logon beside the choice itself (lessons, whether a
 * server has failed lately) is atomic and read without the lock.
 */
#include <stdlib.h>
#include <string.h>

#include "pool_place.h"
#include "sallyport/clock.h"

_Static_assert(POOL_SERVERS_MAX <= BALANCE_ROWS_MAX, "a pool fits one choice");
_Static_assert(POOL_PLACES_MAX <= WAIT_QUEUE_PLACES_MAX, "a place fits a set");

struct pool_ledger *pool_ledger_new(enum balance_algorithm algorithm)
{
	struct pool_ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	ledger->features = feature_memory_new(POOL_PLACES_MAX);
	if (ledger->features == NULL) {
		free(ledger);
		return NULL;
	}
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
		SP_ASSERT(l->places[i]->sessions == 0 && l->places[i]->reserved == 0);
		free(l->places[i]);
	}
	for (struct waiter *w; (w = wait_queue_leave_first(&l->waiters)) != NULL;)
		free(w);
	feature_memory_free(&l->features);
	core_lock_fini(&l->lock);
	free(l);
}

/* --- places -------------------------------------------------------------------- */

size_t pool_ledger_find(const struct pool_ledger *ledger, const char *name)
{
	size_t i = 0;

	while (i < ledger->places_n && strncmp(ledger->places[i]->terms.name, name,
	                                       sizeof(ledger->places[i]->terms.name)) != 0)
		i++;
	return i;
}

/* Nobody needs it any more. */
static bool is_reusable(const struct place *place)
{
	return !place->configured && place->sessions == 0 && place->reserved == 0 && !place->checking;
}

/* A place that can be given to another name; POOL_PLACES_MAX: none. */
static size_t find_reusable(const struct pool_ledger *ledger)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	for (size_t i = 0; i < ledger->places_n; i++) {
		if (is_reusable(ledger->places[i]))
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
		wanted += pool_ledger_find(ledger, terms[i].name) == ledger->places_n;
	for (size_t i = 0; i < ledger->places_n && free_places < wanted; i++)
		free_places += is_reusable(ledger->places[i]);
	return wanted <= free_places;
}

/* Gives a name its place: the one it has, a new one (takes *spare), or another's of long ago. */
static size_t settle_place(struct pool_ledger *ledger, const struct pool_server_terms *terms,
                           struct place **spare) SP_REQUIRES(ledger->lock, sp_any_shard)
{
	size_t i = pool_ledger_find(ledger, terms->name);

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

void pool_ledger_settle_server(struct place *place, int64_t now_ms, const char *reason)
{
	memset(&place->health, 0, sizeof(place->health));
	place->trial = false;
	place->warm_stale = place->warm_n;
	place->warm_at_ms = 0;
	place->changed_ms = now_ms;
	place->check_text[0] = '\0';
	(void)sp_copy(place->reason, sizeof(place->reason), reason);
	atomic_store_explicit(&place->lessons, 0, memory_order_relaxed);
	atomic_store_explicit(&place->failures_in_row, 0, memory_order_relaxed);
	atomic_store_explicit(&place->response_us, 0, memory_order_relaxed);
}

/* Which address of its name it has is not known (any more). */
static void forget_address(struct place *place)
{
	memset(&place->address, 0, sizeof(place->address));
	place->weight = 0;
	place->backup = false;
	place->leaving = false;
	place->told = false;
	place->lookups_failed_in_row = 0;
}

/* What the file says of its state is an order when it says something new. */
static void restate(struct place *place, const struct pool_server_terms *terms, int64_t now_ms)
{
	if (terms->state == place->terms.state)
		return;
	place->order = terms->state;
	place->changed_ms = now_ms;
	if (terms->state == SERVER_UP)
		health_begin(&place->health, now_ms);
	(void)sp_copy(place->reason, sizeof(place->reason), POOL_REASON_CONFIGURED);
}

static void configure_locked(struct pool_ledger *ledger, const struct pool_server_terms terms[],
                             size_t n, struct place *spares[], uint16_t places[])
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	int64_t now_ms = sp_now_ms();

	/* First those that stay, so that no place of theirs is taken for reusable. */
	for (size_t i = 0; i < ledger->places_n; i++)
		ledger->places[i]->configured = false;
	for (size_t i = 0; i < n; i++) {
		size_t p = pool_ledger_find(ledger, terms[i].name);

		if (p < ledger->places_n)
			ledger->places[p]->configured = true;
	}
	for (size_t i = 0; i < n; i++) {
		size_t p = settle_place(ledger, &terms[i], &spares[i]);
		struct place *place = ledger->places[p];
		bool known = place->terms.name[0] != '\0';
		bool same = place->terms.identity == terms[i].identity && place->terms.follows == terms[i].follows;

		if (known && !same)
			pool_ledger_settle_server(place, now_ms, POOL_REASON_MOVED);
		if (!same)
			forget_address(place);
		restate(place, &terms[i], now_ms);
		place->terms = terms[i];
		place->terms.name[sizeof(place->terms.name) - 1] = '\0';
		if (place->address.family == AF_UNSPEC)
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
			wait_queue_has_others(&ledger->waiters);
		}
		core_lock_drop(&ledger->lock);
	}
	for (size_t i = 0; i < n; i++) {
		free(spares[i]);
		if (ok && !terms[i].follows)
			feature_memory_settle(ledger->features, places[i], terms[i].identity);
	}
	return ok;
}

static bool is_eligible(const struct place *place, int64_t now_ms)
{
	if (!place->configured || !place_is_there(place))
		return false;
	switch (place_state(place)) {
	case SERVER_UP:
		return true;
	case SERVER_DOWN: /* its time is over: one logon may try it */
		return place->order == SERVER_UP && !place->trial &&
		       health_may_try(&place->health, &place->terms.health, now_ms);
	case SERVER_DRAIN:
	case SERVER_MAINTENANCE:
		return false;
	}
	SP_UNREACHABLE("state of a server");
}

/* What is reserved and cannot be had by a logon. */
static uint32_t kept_back(const struct place *place)
{
	return place->reserved - (uint32_t)place_warm(place);
}

/* How many sessions it can take now. */
static size_t room_of(const struct place *place, int64_t now_ms)
{
	uint32_t max = place->terms.max_sessions;
	uint32_t taken = place->sessions + kept_back(place);
	size_t room = max == 0 ? UINT32_MAX : max > taken ? max - taken : 0;

	if (!is_eligible(place, now_ms) || place_weight(place) == 0)
		return 0;
	return place_state(place) == SERVER_DOWN && room > 1 ? 1 : room;
}

static bool is_proper(const struct place *place, int64_t now_ms)
{
	return !place_is_backup(place) && is_eligible(place, now_ms) && place_weight(place) != 0;
}

/* Where there is room for whoever may be sent to the places `of`; NULL: to any, as those who wait decide. */
static void survey(const struct pool_ledger *ledger, const struct place_set *of, int64_t now_ms,
                   struct wait_room *room) SP_REQUIRES(ledger->lock, sp_any_shard)
{
	bool any_proper = false;

	memset(room, 0, sizeof(*room));
	room->places_n = ledger->places_n;
	for (size_t i = 0; i < ledger->places_n; i++) {
		const struct place *place = ledger->places[i];
		bool asked = of == NULL || (of->bits[i / 64] >> i % 64 & 1) != 0;
		bool proper = is_proper(place, now_ms);
		size_t n = room_of(place, now_ms);

		if (place->configured)
			place_set_add(&room->known, i);
		if (proper)
			place_set_add(&room->proper, i);
		any_proper = any_proper || (proper && asked);
		if (n == 0 || !asked)
			continue;
		place_set_add(&room->open, i);
		room->left[proper ? ROOM_PROPER : ROOM_BACKUP] += n;
	}
	if (of != NULL && any_proper)
		room->left[ROOM_BACKUP] = 0;
}

static struct place_set usable_for(const struct pool_ask *ask)
{
	struct place_set usable = { { 0 } };

	for (size_t i = 0; i < ask->places_n; i++) {
		if ((ask->tried >> i & 1) == 0)
			place_set_add(&usable, ask->places[i]);
	}
	return usable;
}

/* --- waiters ------------------------------------------------------------------- */

static bool join(struct pool_ledger *ledger, struct session_id id, unsigned priority,
                 const struct place_set *usable) SP_EXCLUDES(sp_any_shard)
{
	SP_ASSERT_UNLOCKED();

	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (waiter == NULL)
		return false;
	waiter->id = id;
	waiter->priority = priority;
	waiter->usable = *usable;
	core_lock_take(&ledger->lock, __func__);
	if (wait_queue_join(&ledger->waiters, waiter))
		waiter = NULL;
	core_lock_drop(&ledger->lock);
	free(waiter); /* it waits already */
	return true;
}

bool pool_ledger_wait(struct pool_ledger *ledger, struct session_id id)
{
	struct place_set all;

	memset(&all, 0xff, sizeof(all));
	return join(ledger, id, 0, &all);
}

bool pool_ledger_wait_before(struct pool_ledger *ledger, const struct pool_ask *ask, unsigned priority)
{
	const struct place_set usable = usable_for(ask);

	return join(ledger, ask->id, priority, &usable);
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

struct session_id pool_ledger_offer_locked(struct pool_ledger *ledger, int64_t now_ms)
{
	struct wait_room room;

	if (wait_queue_length(&ledger->waiters) == 0)
		return SESSION_ID_NONE;
	survey(ledger, NULL, now_ms, &room);
	return wait_queue_tell(&ledger->waiters, &room, now_ms, WAITER_REPEAT_MS);
}

struct session_id pool_ledger_offer(struct pool_ledger *ledger, int64_t now_ms)
{
	SP_ASSERT_UNLOCKED();
	if (wait_queue_length(&ledger->waiters) == 0)
		return SESSION_ID_NONE;
	core_lock_take(&ledger->lock, __func__);
	struct session_id id = pool_ledger_offer_locked(ledger, now_ms);
	core_lock_drop(&ledger->lock);
	return id;
}

/* --- slots --------------------------------------------------------------------- */

/* Weights are given in hundredths, so that a share of one percent is not nothing (slow start). */
static void fill_row(struct balance_row *row, const struct place *place, int64_t now_ms)
{
	unsigned share = health_share(&place->health, &place->terms.health, now_ms);
	uint32_t max = place->terms.max_sessions;

	*row = (struct balance_row){
		.weight = place_weight(place) * share,
		.sessions = place->sessions,
		.max_sessions = max,
		.eligible = is_eligible(place, now_ms),
		.backup = place_is_backup(place),
		.response_us = atomic_load_explicit(&place->response_us, memory_order_relaxed),
		.name_hash = place->name_hash,
		.current = place->current,
	};
	if (max != 0 && place->sessions + kept_back(place) >= max)
		row->sessions = max; /* full, since the rest is reserved */
}

/*
 * Whether those who wait leave room for the asker, who may be one of them.
 * Where all of it is theirs alone, the row is made full.
 */
static bool has_turn(const struct pool_ledger *ledger, const struct pool_ask *ask, struct balance_row rows[])
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	uint32_t claims[POOL_PLACES_MAX];
	struct place_set usable;
	struct wait_room room;

	if (wait_queue_length(&ledger->waiters) == 0)
		return true;
	usable = usable_for(ask);
	survey(ledger, &usable, ask->now_ms, &room);
	if (room.left[ROOM_PROPER] + room.left[ROOM_BACKUP] == 0)
		return true; /* for nothing: the choice says why */
	if (!wait_queue_has_turn(&ledger->waiters, ask->id, &room, claims))
		return false;
	for (size_t i = 0; i < ask->places_n; i++) {
		if (room_of(ledger->places[ask->places[i]], ask->now_ms) <= claims[ask->places[i]])
			rows[i].sessions = rows[i].max_sessions;
	}
	return true;
}

static void grant(struct place *place, uint16_t number, size_t server, struct slot *slot)
{
	place->sessions++;
	place->logons++;
	*slot = (struct slot){
		.held = true,
		.trial = place_state(place) == SERVER_DOWN,
		.server = (uint16_t)server,
		.place = number,
		.address = place->address,
	};
	place->trial = slot->trial;
	if (place_warm(place) == 0)
		return;
	/* The newest: the server closes the oldest first. */
	slot->warm = true;
	slot->warm_fd = place->warm[--place->warm_n].fd;
	place->reserved--;
}

/* Whoever comes before the first answer waits for it. */
static bool is_awaited(const struct pool_ledger *ledger, const struct pool_ask *ask)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	for (size_t i = 0; i < ask->places_n; i++) {
		if (place_is_awaited(ledger->places[ask->places[i]]))
			return true;
	}
	return false;
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

	for (size_t i = 0; i < ask->places_n; i++)
		fill_row(&rows[i], place_at(ledger, ask->places[i]), ask->now_ms);
	if (!has_turn(ledger, ask, rows))
		return POOL_FULL;

	int chosen = balance_choose(ledger->algorithm, rows, ask->places_n, &terms);

	if (chosen == BALANCE_FULL)
		return POOL_FULL;
	if (chosen < 0)
		return is_awaited(ledger, ask) ? POOL_FULL : POOL_NONE;
	for (size_t i = 0; i < ask->places_n; i++)
		ledger->places[ask->places[i]]->current = rows[i].current;

	grant(ledger->places[ask->places[chosen]], ask->places[chosen], (size_t)chosen, slot);
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

	SP_ASSERT(place->sessions > 0 && !slot->warm);
	place->sessions--;
	if (slot->trial)
		place->trial = false; /* it ended without a verdict: another one may try */
	wait_queue_has_news(&ledger->waiters);

	struct session_id next = pool_ledger_offer_locked(ledger, now_ms);

	core_lock_drop(&ledger->lock);
	slot->held = false;
	slot->trial = false;
	return next;
}

/* --- lessons ------------------------------------------------------------------- */

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

struct feature_memory *pool_ledger_features(struct pool_ledger *ledger)
{
	return ledger->features;
}

/* --- what the operator sees ------------------------------------------------------ */

static void copy_status(const struct place *place, int64_t now_ms, struct pool_server_status *out)
{
	*out = (struct pool_server_status){
		.terms = place->terms,
		.state = place_state(place),
		.configured = place->configured,
		.lessons = atomic_load_explicit(&place->lessons, memory_order_relaxed),
		.sessions = place->sessions,
		.logons = place->logons,
		.failures = place->failures,
		.failures_in_row =
		    atomic_load_explicit(&place->failures_in_row, memory_order_relaxed),
		.response_us = atomic_load_explicit(&place->response_us, memory_order_relaxed),
		.checks = place->checks,
		.checks_failed = place->checks_failed,
		.share = health_share(&place->health, &place->terms.health, now_ms),
		.warm = (uint32_t)place_warm(place),
		.reserved = place->reserved,
		.down_until_ms = place->order == SERVER_DOWN ? CLOCK_NEVER : place->health.out_until_ms,
		.changed_ms = place->changed_ms,
		.vacant = !place_is_there(place) && !place->leaving,
		.leaving = place->leaving,
		.address = place->address,
		.lookups_failed = place->lookups_failed,
	};
	out->terms.weight = place_weight(place);
	out->terms.backup = place_is_backup(place);
	memcpy(out->reason, place->reason, sizeof(out->reason));
	memcpy(out->check_text, place->check_text, sizeof(out->check_text));
}

size_t pool_ledger_status(struct pool_ledger *ledger, struct pool_server_status out[], size_t n)
{
	int64_t now_ms = sp_now_ms();
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
			copy_status(place, now_ms, &out[place->index]);
	}
	all = configured;
	for (size_t i = 0; i < ledger->places_n; i++) {
		const struct place *place = ledger->places[i];

		if (place->configured || place_taken(place) == 0)
			continue;
		if (all < n)
			copy_status(place, now_ms, &out[all]);
		all++;
	}
	core_lock_drop(&ledger->lock);
	return all;
}

void pool_ledger_lock_stats(struct pool_ledger *ledger, struct lock_stats *out)
{
	core_lock_stats(&ledger->lock, out);
}

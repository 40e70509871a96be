// SPDX-License-Identifier: ISC
/*
 * The pool ledger: the states of servers, by order, by their logons and by
 * their checks. What follows from what is health.h's; here it is locked.
 */
#include <string.h>

#include "pool_place.h"
#include "sallyport/clock.h"

#define RESPONSE_SMOOTHING 8 /* the newest response weighs one eighth */

const char *server_state_name(enum server_state state)
{
	switch (state) {
	case SERVER_UP:
		return "up";
	case SERVER_DOWN:
		return "down";
	case SERVER_DRAIN:
		return "drain";
	case SERVER_MAINTENANCE:
		return "maintenance";
	}
	SP_UNREACHABLE("enum server_state");
}

static void note_change(struct place *place, int64_t now_ms, const char *reason)
{
	place->changed_ms = now_ms;
	(void)sp_copy(place->reason, sizeof(place->reason), reason);
}

/* So that a server that is well is not locked for each of its logons. */
static void publish_failures(struct place *place)
{
	atomic_store_explicit(&place->failures_in_row, place->health.logons_failed, memory_order_relaxed);
}

/* --- what logons show --------------------------------------------------------------- */

bool pool_ledger_failed(struct pool_ledger *ledger, struct slot *slot, int64_t now_ms,
                        const char *reason)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(slot->held);
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, slot->place);
	bool changed = health_logon_failed(&place->health, &place->terms.health, now_ms, slot->trial);

	place->failures++;
	publish_failures(place);
	/* Under an order the state that is seen is the order's. */
	changed = changed && place->order == SERVER_UP;
	if (changed)
		note_change(place, now_ms, reason);
	if (slot->trial)
		place->trial = false;
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

	int64_t now_ms = sp_now_ms();

	core_lock_take(&ledger->lock, __func__);

	bool changed = health_logon_served(&place->health, &place->terms.health, now_ms) &&
	               place->order == SERVER_UP;

	publish_failures(place);
	if (changed) {
		note_change(place, now_ms, "it answered a logon");
		wait_queue_has_news(&ledger->waiters);
	}
	if (slot->trial)
		place->trial = false;
	core_lock_drop(&ledger->lock);
	slot->trial = false;
	return changed;
}

/* --- orders ----------------------------------------------------------------------------- */

static bool order(struct place *place, enum server_state state, int64_t now_ms, const char *reason)
{
	enum server_state before = place_state(place);

	place->order = state;
	/* A drained server was well all the time, so it gets its whole share at once. */
	if (state == SERVER_UP && (before == SERVER_DOWN || before == SERVER_MAINTENANCE))
		health_begin(&place->health, now_ms);
	else if (state == SERVER_UP)
		place->health.down = false;
	publish_failures(place);
	if (before != state)
		note_change(place, now_ms, reason);
	return before != state;
}

/* "files" stands for all of files, files/2, files/3, where these are the addresses of a name. */
static bool is_meant(const struct place *place, const char *name)
{
	size_t n = strlen(name);

	if (n >= sizeof(place->terms.name) || strncmp(place->terms.name, name, n) != 0)
		return false;
	return place->terms.name[n] == '\0' || (place->terms.follows && place->terms.name[n] == '/');
}

bool pool_ledger_set_state(struct pool_ledger *ledger, const char *name, enum server_state state,
                           const char *reason)
{
	int64_t now_ms = sp_now_ms();
	bool changed = false;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	for (size_t i = 0; i < ledger->places_n; i++) {
		if (is_meant(ledger->places[i], name) && order(ledger->places[i], state, now_ms, reason))
			changed = true;
	}
	wait_queue_has_news(&ledger->waiters);
	core_lock_drop(&ledger->lock);
	return changed;
}

/* --- checks ------------------------------------------------------------------------------- */

static bool apply_verdict(struct place *place, enum check_verdict verdict, int64_t now_ms)
{
	struct health *health = &place->health;
	const struct health_terms *terms = &place->terms.health;

	switch (verdict) {
	case VERDICT_PASSED:
		return health_check_passed(health, terms, now_ms);
	case VERDICT_FULL:
		if (place->sessions == 0)
			break; /* of whom then? nobody can log on */
		health_check_skipped(health, terms, now_ms);
		return false;
	case VERDICT_VOID:
		health_check_skipped(health, terms, now_ms);
		return false;
	case VERDICT_FAILED:
		break;
	}
	place->checks_failed++;
	return health_check_failed(health, terms, now_ms);
}

bool pool_ledger_checked(struct pool_ledger *ledger, const struct pool_chore *chore,
                         enum check_verdict verdict, int64_t now_ms, const char *text,
                         enum server_state *state)
{
	SP_ASSERT_UNLOCKED();
	SP_ASSERT(chore->kind == CHORE_CHECK);
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, chore->place);
	bool counts = chore->identity == place_identity(place);
	bool changed = counts && apply_verdict(place, verdict, now_ms) && place->order == SERVER_UP;

	place->checks++;
	publish_failures(place);
	if (counts)
		(void)sp_copy(place->check_text, sizeof(place->check_text), text);
	if (changed) {
		note_change(place, now_ms, text);
		wait_queue_has_news(&ledger->waiters);
	}
	*state = place_state(place);
	core_lock_drop(&ledger->lock);
	return changed;
}

/* --- what is due ------------------------------------------------------------------------------ */

/*
 * Whether a connection of ours beside the sessions may be made. Behind it one
 * more logon must find room; but a server that is down gets none, and one with
 * a single place could never be looked at otherwise.
 */
static bool reserve(struct pool_ledger *ledger, struct place *place)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	uint32_t max = place->terms.max_sessions;
	uint32_t taken = place_taken(place);
	bool last_is_free = place_state(place) != SERVER_UP ||
	                    (max == 1 && wait_queue_length(&ledger->waiters) == 0);

	if (max != 0 && (taken >= max || (max - taken == 1 && !last_is_free)))
		return false;
	place->reserved++;
	return true;
}

static bool begin_check(struct pool_ledger *ledger, struct place *place, int64_t now_ms)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	if (place->checking || place->order == SERVER_MAINTENANCE ||
	    !health_check_is_due(&place->health, &place->terms.health, now_ms))
		return false;
	if (!reserve(ledger, place)) {
		/* Its sessions show how it is. */
		health_check_skipped(&place->health, &place->terms.health, now_ms);
		(void)sp_copy(place->check_text, sizeof(place->check_text), "skipped: no place to spare");
		return false;
	}
	place->checking = true;
	return true;
}

/* A single place is for logons alone. */
static bool begin_warm(struct pool_ledger *ledger, struct place *place, int64_t now_ms)
    SP_REQUIRES(ledger->lock, sp_any_shard)
{
	if (place_state(place) != SERVER_UP || now_ms < place->warm_at_ms || place->terms.max_sessions == 1 ||
	    place_warm(place) + place->opening >= place->terms.warm || !reserve(ledger, place))
		return false;
	place->opening++;
	return true;
}

static void write_chore(struct pool_chore *to, enum pool_chore_kind kind, const struct place *place,
                        size_t number)
{
	to->kind = kind;
	to->failed = false;
	to->place = (uint16_t)number;
	to->identity = place_identity(place);
	memcpy(to->name, place->terms.name, sizeof(to->name));
	to->address = place->address;
}

size_t pool_ledger_chores(struct pool_ledger *ledger, int64_t now_ms, struct pool_chore out[], size_t n)
{
	size_t found = 0;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	for (size_t i = 0; i < ledger->places_n && found < n; i++) {
		struct place *place = ledger->places[i];

		if (!place->configured || !place_is_there(place))
			continue;
		if (begin_check(ledger, place, now_ms))
			write_chore(&out[found++], CHORE_CHECK, place, i);
		while (found < n && begin_warm(ledger, place, now_ms))
			write_chore(&out[found++], CHORE_WARM, place, i);
	}
	core_lock_drop(&ledger->lock);
	return found;
}

struct session_id pool_ledger_chore_done(struct pool_ledger *ledger, const struct pool_chore *chore,
                                         int64_t now_ms)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, chore->place);

	SP_ASSERT(place->reserved > 0);
	place->reserved--;
	wait_queue_has_news(&ledger->waiters);
	if (chore->kind == CHORE_CHECK) {
		place->checking = false;
	} else {
		SP_ASSERT(place->opening > 0);
		place->opening--;
		if (chore->failed)
			place->warm_at_ms = now_ms + POOL_WARM_RETRY_MS;
	}

	struct session_id next = pool_ledger_offer_locked(ledger, now_ms);

	core_lock_drop(&ledger->lock);
	return next;
}

/* --- connections that are kept ready ------------------------------------------------------------- */

struct session_id pool_ledger_warm_put(struct pool_ledger *ledger, const struct pool_chore *chore,
                                       const struct warm *warm, int64_t now_ms, bool *taken)
{
	struct session_id next = SESSION_ID_NONE;

	SP_ASSERT_UNLOCKED();
	SP_ASSERT(chore->kind == CHORE_WARM);
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, chore->place);

	/* A reload may have set a limit under what is there. */
	bool too_many = place->terms.max_sessions != 0 && place_taken(place) > place->terms.max_sessions;

	*taken = place->configured && place_is_there(place) && place_state(place) == SERVER_UP && !too_many &&
	         warm->identity == place_identity(place) && place_warm(place) < place->terms.warm &&
	         place->warm_n < POOL_WARM_MAX;
	if (*taken) {
		SP_ASSERT(place->opening > 0);
		place->opening--;
		place->warm[place->warm_n++] = *warm;
		next = pool_ledger_offer_locked(ledger, now_ms);
	}
	core_lock_drop(&ledger->lock);
	return next;
}

size_t pool_ledger_warm_take(struct pool_ledger *ledger, uint16_t number, struct pool_chore *chore,
                             struct warm out[POOL_WARM_MAX], int64_t *age_ms)
{
	size_t n;

	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, number);

	n = place->warm_n;
	memcpy(out, place->warm, n * sizeof(out[0]));
	place->warm_n = 0;
	place->warm_stale = 0;
	place->opening += (uint32_t)n;
	write_chore(chore, CHORE_WARM, place, number);
	*age_ms = place->terms.warm_age_ms;
	core_lock_drop(&ledger->lock);
	return n;
}

size_t pool_ledger_places(struct pool_ledger *ledger)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	size_t n = ledger->places_n;
	core_lock_drop(&ledger->lock);
	return n;
}

// SPDX-License-Identifier: ISC
/*
 * The pool ledger: places that follow the addresses of a name. Who comes and
 * who goes is addresses_follow()'s; here it is locked.
 */
#include <string.h>

#include "pool_place.h"
#include "sallyport/clock.h"

static void settle_address(struct place *place, int64_t now_ms)
{
	place->name_hash = addresses_hash(&place->address);
	pool_ledger_settle_server(place, now_ms, "an address of its name");
}

static void read_place(const struct place *place, struct address_place *row)
{
	row->address = place->address;
	row->weight = place->weight;
	row->backup = place->backup;
	row->leaving = place->leaving;
	row->busy = place_taken(place) > 0 || place->checking;
}

static void write_place(struct place *place, const struct address_place *row, int64_t now_ms)
{
	place->address = row->address;
	place->weight = row->weight;
	place->backup = row->backup;
	place->leaving = row->leaving;
	place->told = true;
	place->lookups_failed_in_row = 0;
	if (row->fresh)
		settle_address(place, now_ms);
}

struct addresses_change pool_ledger_follow(struct pool_ledger *ledger, const uint16_t places[], size_t n,
                                           const struct named_address now[], size_t now_n)
{
	struct address_place rows[POOL_ADDRESSES_MAX];
	uint64_t identities[POOL_ADDRESSES_MAX];
	int64_t now_ms = sp_now_ms();

	SP_ASSERT_UNLOCKED();
	SP_ASSERT(n <= POOL_ADDRESSES_MAX);
	core_lock_take(&ledger->lock, __func__);
	for (size_t i = 0; i < n; i++)
		read_place(place_at(ledger, places[i]), &rows[i]);

	struct addresses_change change = addresses_follow(rows, n, now, now_n);

	for (size_t i = 0; i < n; i++) {
		struct place *place = place_at(ledger, places[i]);

		write_place(place, &rows[i], now_ms);
		identities[i] = place->terms.identity ^ place->name_hash;
	}
	wait_queue_has_news(&ledger->waiters);
	core_lock_drop(&ledger->lock);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].fresh)
			feature_memory_settle(ledger->features, places[i], identities[i]);
	}
	return change;
}

unsigned pool_ledger_follow_failed(struct pool_ledger *ledger, uint16_t number)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);

	struct place *place = place_at(ledger, number);
	unsigned in_row = ++place->lookups_failed_in_row;

	place->lookups_failed++;
	core_lock_drop(&ledger->lock);
	return in_row;
}

bool pool_ledger_is_there(struct pool_ledger *ledger, uint16_t number)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&ledger->lock, __func__);
	bool there = place_is_there(place_at(ledger, number));
	core_lock_drop(&ledger->lock);
	return there;
}

// SPDX-License-Identifier: ISC
/*
 * The hash table of a map of users: open addressing, at most half full.
 */
#include "sallyport/user_map.h"

#include "sallyport/balance.h"

/* The slot of that name, or the free one where it belongs. */
static size_t find_slot(const struct user_map *map, struct span name)
{
	size_t at = (size_t)balance_hash(name) & (map->slots_n - 1);

	while (map->slots[at] != 0 && !span_eq(map->entries[map->slots[at] - 1].name, name))
		at = (at + 1) & (map->slots_n - 1);
	return at;
}

const struct user_map_entry *user_map_find(const struct user_map *map, struct span name)
{
	uint32_t entry;

	if (map->slots_n == 0)
		return NULL;
	entry = map->slots[find_slot(map, name)];
	return entry != 0 ? &map->entries[entry - 1] : NULL;
}

const struct user_map_entry *user_map_enter(struct user_map *map, size_t i)
{
	size_t at = find_slot(map, map->entries[i].name);

	if (map->slots[at] != 0)
		return &map->entries[map->slots[at] - 1];
	map->slots[at] = (uint32_t)i + 1;
	return NULL;
}

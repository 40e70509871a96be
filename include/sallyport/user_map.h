// SPDX-License-Identifier: ISC
/*
 * A map of users: who is in it, and where each of them goes. A hash table that
 * was made once, from a file, and does not change. Pure; any thread.
 */
#ifndef SALLYPORT_USER_MAP_H
#define SALLYPORT_USER_MAP_H

#include "sallyport/base.h"
#include "sallyport/span.h"

#define USER_MAP_NOWHERE SIZE_MAX

struct user_map_entry {
	struct span name; /* points into `text` of the map */
	size_t pool;	  /* USER_MAP_NOWHERE: where the route leads */
	size_t server;	  /* of that pool; USER_MAP_NOWHERE: any */
	unsigned line;	  /* of the file */
};

struct user_map {
	char *file;
	char *text;
	struct user_map_entry *entries; /* in the file's order */
	size_t n;
	uint32_t *slots; /* 1 + index of an entry; 0: free */
	size_t slots_n;	 /* a power of two, over twice n */
};

/* NULL: nobody of that name, in exactly these bytes. */
const struct user_map_entry *user_map_find(const struct user_map *map, struct span name);

/* Enters entries[i]; the one that has its name already, or NULL. There must be a free slot. */
const struct user_map_entry *user_map_enter(struct user_map *map, size_t i);

#endif

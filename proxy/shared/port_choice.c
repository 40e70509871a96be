// SPDX-License-Identifier: ISC
/*
 * Which of the pooled ports an address is given. Ports that nobody of the
 * address has come first, then those that rest, and only then, for sessions that
 * can be told apart by their TLS sessions, one that others of it have.
 */
#include "port_places.h"

static bool is_own(const struct port_wish *wish, uint16_t port)
{
	return port % wish->workers == wish->worker;
}

static void note_resting(const struct port_wish *wish, struct place *place, struct port_survey *out)
{
	bool own = is_own(wish, place->port);
	struct place **at = own ? &out->oldest_own : &out->oldest;

	out->resting |= UINT64_C(1) << (place->port - wish->first);
	if (*at == NULL || place->since_ms < (*at)->since_ms)
		*at = place;
}

/* Whether it is of that address, and one of the range. */
static bool is_of(const struct place *place, const struct spot *spot, const struct port_wish *wish)
{
	return place->port >= wish->first && place->port <= wish->last && same_host(&place->host, &spot->host);
}

/* Whether a ClientHello can tell them apart: what one of them could say the other could not. */
static bool can_be_told_apart(const struct port_wish *wish, const struct place *place)
{
	if (wish->names_n == 0 || place->names_n == 0)
		return false;
	for (size_t i = 0; i < wish->names_n; i++) {
		if (has_name(place, &wish->names[i]))
			return false;
	}
	return true;
}

void port_choice_survey(const struct spot *spot, const struct port_wish *wish, uint64_t excluded,
			struct port_survey *out)
{
	uint64_t closed = excluded;

	*out = (struct port_survey){ .taken = excluded };
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		unsigned i = (unsigned)p->port - wish->first;

		if (p->state == PLACE_RESTING || !is_of(p, spot, wish))
			continue;
		out->taken |= UINT64_C(1) << i;
		if (++out->sharers[i] >= PORT_SHARERS_MAX || !can_be_told_apart(wish, p))
			closed |= UINT64_C(1) << i;
	}
	out->open = out->taken & ~closed;
	/* One may rest where others wait: its session shared the port with them. */
	for (struct place *p = *spot->bucket; p != NULL; p = p->next) {
		if (p->state == PLACE_RESTING && is_of(p, spot, wish) && (out->taken >> (p->port - wish->first) & 1) == 0)
			note_resting(wish, p, out);
	}
}

/* One of those that are neither taken nor at rest, of the worker's own or not; 0: none. */
static uint16_t draw(const struct port_wish *wish, const struct port_survey *survey, bool own)
{
	uint16_t candidates[POOLED_PORTS_MAX];
	unsigned n = 0;

	for (unsigned port = wish->first; port <= wish->last; port++) {
		uint64_t bit = UINT64_C(1) << (port - wish->first);

		if (((survey->taken | survey->resting) & bit) == 0 && is_own(wish, (uint16_t)port) == own)
			candidates[n++] = (uint16_t)port;
	}
	return n > 0 ? candidates[wish->random % n] : 0;
}

/* The one of those that may be shared that the fewest have; 0: none may. */
static uint16_t least_shared(const struct port_wish *wish, const struct port_survey *survey)
{
	unsigned size = (unsigned)wish->last - wish->first + 1;
	unsigned from = (unsigned)(wish->random % size);
	unsigned least = UINT16_MAX;
	uint16_t port = 0;

	for (unsigned k = 0; k < size; k++) {
		unsigned i = (from + k) % size;

		if ((survey->open >> i & 1) == 0 || survey->sharers[i] >= least)
			continue;
		least = survey->sharers[i];
		port = (uint16_t)(wish->first + i);
	}
	return port;
}

/* Among the fresh ones and among the rested ones, those whose connections arrive at this worker come first. */
uint16_t port_choice_make(const struct port_wish *wish, const struct port_survey *survey, bool share)
{
	uint16_t port = draw(wish, survey, true);

	if (port == 0)
		port = draw(wish, survey, false);
	if (port == 0 && (survey->oldest_own != NULL || survey->oldest != NULL))
		port = survey->oldest_own != NULL ? survey->oldest_own->port : survey->oldest->port;
	if (port == 0 && share)
		port = least_shared(wish, survey);
	return port;
}

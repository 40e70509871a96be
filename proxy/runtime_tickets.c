// SPDX-License-Identifier: ISC
/*
 * The keys of session tickets over time. A key encrypts for one period and
 * decrypts for two: what was given out at its last moment is good for one more.
 */
#include "sallyport/runtime_tickets.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static bool draw(void *to, size_t n)
{
	ssize_t got;

	do {
		got = getrandom(to, n, 0);
	} while (got < 0 && errno == EINTR);
	return got == (ssize_t)n;
}

bool runtime_tickets_attach(struct runtime_tickets *tickets, struct config *config)
{
	uint64_t instance;

	if (tickets->ring == NULL) {
		if (!draw(&instance, sizeof(instance)))
			return false;
		tickets->ring = ticket_ring_new(instance);
	}
	if (tickets->ring != NULL && tickets->hellos == NULL)
		tickets->hellos = tls_hello_reader_new(tickets->ring);
	if (tickets->hellos == NULL)
		return false;
	for (size_t i = 0; i < config->listeners_n; i++) {
		struct tls_context *context = config->listeners[i].tls.context;

		if (context != NULL && !tls_context_set_tickets(context, tickets->ring))
			return false;
	}
	return true;
}

static bool rotate(struct runtime_tickets *tickets, int64_t now_ms)
{
	struct ticket_key key;
	bool drawn = draw(&key, sizeof(key));

	if (drawn) {
		ticket_ring_rotate(tickets->ring, &key);
		tickets->rotated_ms = now_ms;
	}
	explicit_bzero(&key, sizeof(key));
	return drawn;
}

bool runtime_tickets_take(struct runtime_tickets *tickets, const struct config *config)
{
	if (config->ticket_keys != NULL) {
		ticket_ring_set(tickets->ring, config->ticket_keys);
		tickets->rotated_ms = 0;
		return true;
	}
	/* Where there were the keys of a file, the newest of them still decrypts for a while. */
	return tickets->rotated_ms != 0 || rotate(tickets, sp_now_ms());
}

bool runtime_tickets_turn(struct runtime_tickets *tickets, const struct config *config, int64_t now_ms)
{
	if (config->ticket_keys != NULL || now_ms - tickets->rotated_ms < config->ticket_rotation_ms)
		return false;
	return rotate(tickets, now_ms);
}

void runtime_tickets_fini(struct runtime_tickets *tickets)
{
	tls_hello_reader_free(&tickets->hellos);
	ticket_ring_free(&tickets->ring);
}

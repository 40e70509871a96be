// SPDX-License-Identifier: ISC
/*
 * Answers to questions for SRV records: every target is a name that a host can
 * have, they come in order, and their addresses are each there once with a
 * share; what is refused leaves the result alone.
 */
#include <string.h>

#include "sallyport/services.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const char *host)
{
	size_t n = strlen(host);
	size_t label = 0;

	SP_ASSERT(n > 0 && n < SERVICE_HOST_MAX && host[n - 1] != '.');
	for (size_t i = 0; i < n; i++) {
		char c = host[i];

		label = c == '.' ? 0 : label + 1;
		SP_ASSERT(label <= 63);
		SP_ASSERT((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
			  c == '_' || (c == '.' && i > 0 && host[i - 1] != '.'));
	}
}

static void check_answer(const struct service_answer *answer, size_t size)
{
	SP_ASSERT(answer->n <= SERVICE_TARGETS_MAX && answer->ttl_s <= INT32_MAX);
	SP_ASSERT(!answer->not_offered || answer->n == 0);
	SP_ASSERT(answer->more == 0 || answer->n == SERVICE_TARGETS_MAX);
	SP_ASSERT((answer->n + answer->more) * 18 <= size); /* no record is shorter */
	for (size_t i = 0; i < answer->n; i++) {
		const struct service_target *target = &answer->targets[i];

		check_host(target->host);
		SP_ASSERT(target->port != 0);
		SP_ASSERT(i == 0 || target[-1].priority < target->priority ||
			  (target[-1].priority == target->priority && target[-1].weight >= target->weight));
	}
}

/* Some addresses for each target, some of them the same as others'. */
static void check_spread(const struct service_answer *answer)
{
	static struct service_host hosts[SERVICE_TARGETS_MAX];
	struct named_address spread[64];
	size_t n;

	for (size_t i = 0; i < answer->n; i++) {
		hosts[i].n = answer->targets[i].port % (SERVICE_HOSTS_ADDRESSES_MAX + 1);
		for (size_t k = 0; k < hosts[i].n; k++) {
			struct netaddr *address = &hosts[i].addresses[k];

			memset(address, 0, sizeof(*address));
			address->family = AF_INET;
			address->in.sin_addr.s_addr = htonl((uint32_t)(i / 2 * 64 + k));
		}
	}
	n = services_spread(answer, hosts, spread, 64);
	SP_ASSERT(n <= 64);
	for (size_t i = 0; i < n; i++) {
		SP_ASSERT(spread[i].weight >= 1 && spread[i].weight <= SERVICE_TARGETS_MAX * SERVICE_WEIGHT_MAX);
		for (size_t k = 0; k < i; k++)
			SP_ASSERT(!addresses_are_same(&spread[i].address, &spread[k].address));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct service_answer answer, untouched;

	memset(&untouched, 0xa5, sizeof(untouched));
	memset(&answer, 0xa5, sizeof(answer));
	if (!service_answer_parse(span_from((const char *)data, size), &answer)) {
		SP_ASSERT(memcmp(&answer, &untouched, sizeof(answer)) == 0);
		return 0;
	}
	check_answer(&answer, size);
	check_spread(&answer);
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * The ledgers of the listeners' passive ports. One is kept to the end even when
 * no listener has its range any more: sessions of an older configuration may
 * still give ports back to it.
 */
#include "sallyport/runtime_ports.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct named_ports {
	char name[NAME_MAX_LEN];
	struct port_range range;
	struct port_ledger *ledger;
};

static struct port_ledger *find(const struct runtime_ports *ports, const struct listener_config *listener)
{
	for (size_t i = 0; i < ports->n; i++) {
		const struct named_ports *named = &ports->v[i];

		if (named->range.first == listener->passive_ports.first &&
		    named->range.last == listener->passive_ports.last &&
		    strcmp(named->name, listener->name) == 0)
			return named->ledger;
	}
	return NULL;
}

uint64_t runtime_ports_seed(void)
{
	uint64_t x;

	/* Too early in the life of the machine: each port is still drawn at random later. */
	if (getrandom(&x, sizeof(x), GRND_NONBLOCK) != (ssize_t)sizeof(x))
		x = (uint64_t)sp_now_us();
	return x;
}

static struct port_ledger *add(struct runtime_ports *ports, const struct listener_config *listener)
{
	struct named_ports *grown = realloc(ports->v, (ports->n + 1) * sizeof(*grown));
	struct named_ports *named;

	if (grown == NULL)
		return NULL;
	ports->v = grown;
	named = &grown[ports->n];
	named->range = listener->passive_ports;
	named->ledger = port_ledger_new(named->range.first, named->range.last,
					runtime_ports_seed());
	if (named->ledger == NULL)
		return NULL;
	sp_copy(named->name, sizeof(named->name), listener->name);
	ports->n++;
	return named->ledger;
}

bool runtime_ports_attach(struct runtime_ports *ports, struct config *config)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		struct listener_config *listener = &config->listeners[i];

		if (listener->passive_ports.first == 0 || listener->passive_ports.pooled)
			continue;
		listener->ports = find(ports, listener);
		if (listener->ports == NULL)
			listener->ports = add(ports, listener);
		if (listener->ports == NULL)
			return false;
	}
	return true;
}

void runtime_ports_fini(struct runtime_ports *ports)
{
	for (size_t i = 0; i < ports->n; i++)
		port_ledger_free(&ports->v[i].ledger);
	free(ports->v);
	*ports = (struct runtime_ports){ 0 };
}

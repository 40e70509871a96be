// SPDX-License-Identifier: ISC
/*
 * Service lookup: one question for the SRV records, then one for each target at
 * the same time; the last answer concludes. Which share an address has is
 * services_spread()'s. Thread: the resolver's.
 */
#include "sallyport/service_lookup.h"

#include <stdlib.h>
#include <string.h>

#include "sallyport/clock.h"
#include "sallyport/dns.h"

struct target_look {
	struct service_lookup *lookup;
	struct resolver_query *query;
	struct service_host host;
	bool open;
};

struct service_lookup {
	struct resolver *resolver;
	enum address_family family;
	service_found_fn *done;
	void *owner;
	bool busy;
	struct dns_service_question *question;
	int64_t expires_at; /* of `answer` */
	struct service_answer answer;
	struct target_look targets[SERVICE_TARGETS_MAX];
	const char *error; /* of a target */
	bool fresh;	   /* some target's addresses are no old ones */
	struct service_found found;
	char name[];
};

static void tell(struct service_lookup *l, const char *error)
{
	l->busy = false;
	l->done(l->owner, &l->found, error);
}

static void conclude(struct service_lookup *l)
{
	struct service_host hosts[SERVICE_TARGETS_MAX];

	for (size_t i = 0; i < l->answer.n; i++)
		hosts[i] = l->targets[i].host;
	l->found.n = services_spread(&l->answer, hosts, l->found.addresses, SERVICE_ADDRESSES_MAX);
	l->found.more = l->answer.more;
	tell(l, l->found.n > 0 && l->fresh ? NULL
					   : l->error != NULL ? l->error
							      : "no target has an address that may be used");
}

static void settle(struct service_lookup *l)
{
	for (size_t i = 0; i < l->answer.n; i++) {
		if (l->targets[i].open)
			return;
	}
	conclude(l);
}

static void on_target(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct target_look *target = owner;
	struct service_lookup *l = target->lookup;
	struct service_host *host = &target->host;

	target->query = NULL;
	target->open = false;
	memcpy(host->addresses, addresses, n * sizeof(addresses[0]));
	host->n = addresses_prefer(l->family, host->addresses, n);
	if (error != NULL)
		l->error = error;
	else if (host->n > 0)
		l->fresh = true;
	settle(l);
}

static void ask_targets(struct service_lookup *l)
{
	l->error = NULL;
	l->fresh = false;
	for (size_t i = 0; i < l->answer.n; i++) {
		struct target_look *target = &l->targets[i];

		*target = (struct target_look){ .lookup = l };
		target->query = resolver_lookup(l->resolver, l->answer.targets[i].host, l->answer.targets[i].port,
						on_target, target);
		target->open = target->query != NULL;
		if (!target->open)
			l->error = "no memory";
	}
	settle(l); /* none is open: the service is not offered, or no memory */
}

static void on_services(void *owner, const struct dns_services *services)
{
	struct service_lookup *l = owner;

	l->found = (struct service_found){ 0 };
	if (services->status != DNS_OK) {
		tell(l, services->error);
		return;
	}
	l->answer = services->answer;
	l->expires_at = sp_now_ms() + resolver_keep_ms(l->resolver, (int64_t)l->answer.ttl_s * 1000);
	l->found.not_offered = l->answer.not_offered;
	if (l->answer.not_offered)
		tell(l, NULL);
	else
		ask_targets(l);
}

void service_lookup_ask(struct service_lookup *l)
{
	if (l->busy)
		return;
	l->busy = true;
	if (sp_now_ms() >= l->expires_at)
		dns_query_services(resolver_dns(l->resolver), l->name, on_services, l, &l->question);
	else if (l->answer.not_offered)
		tell(l, NULL);
	else
		ask_targets(l);
}

struct service_lookup *service_lookup_new(struct resolver *resolver, const char *domain,
					  enum address_family family, service_found_fn *done, void *owner)
{
	size_t prefix = strlen(SERVICE_PREFIX);
	size_t n = strlen(domain);
	struct service_lookup *l = calloc(1, sizeof(*l) + prefix + n + 1);

	if (l == NULL)
		return NULL;
	l->resolver = resolver;
	l->family = family;
	l->done = done;
	l->owner = owner;
	memcpy(l->name, SERVICE_PREFIX, prefix);
	memcpy(l->name + prefix, domain, n + 1);
	return l;
}

void service_lookup_free(struct service_lookup **lookup)
{
	struct service_lookup *l = *lookup;

	*lookup = NULL;
	if (l == NULL)
		return;
	dns_forget_services(&l->question);
	for (size_t i = 0; i < SERVICE_TARGETS_MAX; i++)
		resolver_forget(&l->targets[i].query);
	free(l);
}

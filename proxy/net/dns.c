// SPDX-License-Identifier: ISC
/*
 * DNS: c-ares on a worker's loop.
 *
 * c-ares says through a callback which of its sockets it wants watched, and
 * through ares_timeout() when it wants to be called in any case; here is one
 * event for each socket and one timer. Remembers nothing, sorts nothing beyond
 * what c-ares does. Thread: the worker's; a channel each.
 */
#include "sallyport/dns.h"

#include <ares.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "sallyport/fd_registry.h"

struct dns_socket {
	LIST_ENTRY(dns_socket) link;
	struct dns *dns;
	ares_socket_t fd;
	struct event event;
};

struct dns {
	struct event_base *base;
	ares_channel channel;
	struct event timer;
	LIST_HEAD(dns_sockets, dns_socket) sockets;
	size_t open; /* queries under way */
	bool closing;
};

struct dns_question {
	struct dns *dns;
	int family;
	dns_done_fn *done;
	void *owner;
};

/* --- c-ares on the loop ------------------------------------------------------ */

static void dns_arm_timer(struct dns *dns)
{
	struct timeval wait;

	if (ares_timeout(dns->channel, NULL, &wait) == NULL)
		event_del(&dns->timer);
	else
		event_add(&dns->timer, &wait);
}

static void on_timer(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct dns *dns = arg;

	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_arm_timer(dns);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct dns_socket *socket = arg;
	struct dns *dns = socket->dns;

	/* May free *socket. */
	ares_process_fd(dns->channel, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
	                (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	dns_arm_timer(dns);
}

static struct dns_socket *dns_find_socket(struct dns *dns, ares_socket_t fd)
{
	struct dns_socket *socket;

	LIST_FOREACH (socket, &dns->sockets, link) {
		if (socket->fd == fd)
			return socket;
	}
	return NULL;
}

static struct dns_socket *dns_add_socket(struct dns *dns, ares_socket_t fd)
{
	struct dns_socket *socket = calloc(1, sizeof(*socket));

	if (socket == NULL)
		return NULL;
	socket->dns = dns;
	socket->fd = fd;
	LIST_INSERT_HEAD(&dns->sockets, socket, link);
	return socket;
}

/*
 * From c-ares: from now on `fd` is to be watched for these; for neither just
 * before it is closed. A socket that cannot be watched, for want of memory, is
 * as a server that does not answer: the timer goes on to the next.
 */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = data;
	struct dns_socket *socket = dns_find_socket(dns, fd);
	short events = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

	if (socket != NULL)
		event_del(&socket->event);
	if (events == 0) {
		fd_registry_forget(fd);
		if (socket != NULL) {
			LIST_REMOVE(socket, link);
			free(socket);
		}
		return;
	}
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_LOOKUP, SP_HERE);
	if (socket == NULL)
		socket = dns_add_socket(dns, fd);
	if (socket == NULL)
		return;
	event_assign(&socket->event, dns->base, fd, (short)(events | EV_PERSIST), on_socket,
	             socket);
	(void)event_add(&socket->event, NULL);
}

struct dns *dns_new(struct event_base *base)
{
	struct ares_options options;
	char lookups[] =
	    "b"; /* the name servers only: /etc/hosts is asked apart, for both families */
	struct dns *dns = calloc(1, sizeof(*dns));

	if (dns == NULL)
		return NULL;
	dns->base = base;
	LIST_INIT(&dns->sockets);
	event_assign(&dns->timer, base, -1, 0, on_timer, dns);

	memset(&options, 0, sizeof(options));
	options.timeout = DNS_TIMEOUT_MS;
	options.tries = DNS_TRIES;
	options.lookups = lookups;
	options.sock_state_cb = on_socket_state;
	options.sock_state_cb_data = dns;
	if (ares_init_options(&dns->channel, &options,
	                      ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
	                          ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
		free(dns);
		return NULL;
	}
	return dns;
}

void dns_free(struct dns **dns)
{
	struct dns *d = *dns;

	*dns = NULL;
	if (d == NULL)
		return;
	d->closing = true;
	ares_destroy(d->channel); /* calls on_addresses or on_services for each open query */
	event_del(&d->timer);
	SP_ASSERT(d->open == 0 && LIST_EMPTY(&d->sockets));
	free(d);
}

int dns_set_servers(struct dns *dns, const char *servers)
{
	if (dns->open > 0)
		return -EBUSY;
	if (*servers == '\0')
		return -EINVAL; /* c-ares would take it for "none at all" */
	return ares_set_servers_ports_csv(dns->channel, servers) == ARES_SUCCESS ? 0 : -EINVAL;
}

/* --- questions and answers ----------------------------------------------------- */

static enum dns_status explain(int status, const char **error)
{
	switch (status) {
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		*error = "no such name";
		return DNS_NONE;
	case ARES_ENODATA:
		*error = "the name has no address";
		return DNS_NONE;
	case ARES_ETIMEOUT:
		*error = "no name server answered";
		break;
	case ARES_ESERVFAIL:
	case ARES_EREFUSED:
	case ARES_ECONNREFUSED: /* what c-ares makes of servers that all refuse or fail */
		*error = "the name servers failed or could not be reached";
		break;
	case ARES_ENOMEM:
		*error = "no memory";
		break;
	default:
		*error = "the name server's answer is no use";
		break;
	}
	return DNS_FAILED;
}

static void answer_fail(struct dns_answer *answer, int status)
{
	answer->status = explain(status, &answer->error);
}

static void answer_add(struct dns_answer *answer, struct netaddr address)
{
	netaddr_unmap(&address);
	for (size_t i = 0; i < answer->n; i++) {
		if (netaddr_same_host(&answer->addresses[i], &address))
			return;
	}
	if (answer->n < DNS_ADDRESSES_MAX)
		answer->addresses[answer->n++] = address;
}

static bool address_from_sockaddr(struct netaddr *out, const struct sockaddr *sa)
{
	memset(out, 0, sizeof(*out));
	if (sa->sa_family == AF_INET)
		memcpy(&out->in, sa, sizeof(out->in));
	else if (sa->sa_family == AF_INET6)
		memcpy(&out->in6, sa, sizeof(out->in6));
	else
		return false;
	return true;
}

static void answer_fill(struct dns_answer *answer, const struct ares_addrinfo *info)
{
	int ttl_s = INT32_MAX;

	for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next)
		ttl_s = c->ttl < ttl_s ? c->ttl : ttl_s;
	for (const struct ares_addrinfo_node *node = info->nodes; node != NULL;
	     node = node->ai_next) {
		struct netaddr address;

		if (!address_from_sockaddr(&address, node->ai_addr))
			continue;
		ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
		answer_add(answer, address);
	}
	if (answer->n == 0) {
		answer_fail(answer, ARES_ENODATA);
		return;
	}
	/* A TTL with its highest bit set counts as zero (RFC 2181 section 8). */
	answer->ttl_ms = ttl_s > 0 ? (int64_t)ttl_s * 1000 : 0;
}

static void on_addresses(void *arg, int status, int timeouts SP_UNUSED, struct ares_addrinfo *info)
{
	struct dns_question question = *(struct dns_question *)arg;
	struct dns_answer answer = { .status = DNS_OK };

	free(arg);
	question.dns->open--;
	if (status == ARES_SUCCESS && info != NULL)
		answer_fill(&answer, info);
	else
		answer_fail(&answer, status);
	if (info != NULL)
		ares_freeaddrinfo(info);
	if (!question.dns->closing)
		question.done(question.owner, question.family, &answer);
}

void dns_query(struct dns *dns, const char *host, int family, dns_done_fn *done, void *owner)
{
	struct ares_addrinfo_hints hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };
	struct dns_question *question = malloc(sizeof(*question));

	if (question == NULL) {
		struct dns_answer answer = { .status = DNS_OK };

		answer_fail(&answer, ARES_ENOMEM);
		done(owner, family, &answer);
		return;
	}
	*question = (struct dns_question){ dns, family, done, owner };
	dns->open++;
	ares_getaddrinfo(dns->channel, host, NULL, &hints, on_addresses, question);
	dns_arm_timer(dns);
}

bool dns_hosts(struct dns *dns, const char *host, int family, struct dns_answer *out)
{
	struct hostent *found = NULL;

	*out = (struct dns_answer){ .status = DNS_OK };
	if (ares_gethostbyname_file(dns->channel, host, family, &found) != ARES_SUCCESS)
		return false;
	for (char **p = found->h_addr_list; *p != NULL; p++) {
		struct netaddr address;

		memset(&address, 0, sizeof(address));
		address.family = (sa_family_t)found->h_addrtype;
		if (found->h_addrtype == AF_INET)
			memcpy(&address.in.sin_addr, *p, sizeof(address.in.sin_addr));
		else
			memcpy(&address.in6.sin6_addr, *p, sizeof(address.in6.sin6_addr));
		answer_add(out, address);
	}
	ares_free_hostent(found);
	return out->n > 0;
}

/* --- services -------------------------------------------------------------------- */

#define CLASS_IN 1
#define TYPE_SRV 33

struct dns_service_question {
	struct dns *dns;
	struct dns_service_question **handle; /* the asker's; NULL: he has forgotten it */
	dns_services_fn *done;
	void *owner;
};

static void services_fill(struct dns_services *out, int status, const unsigned char *message, int length)
{
	if (status != ARES_SUCCESS) {
		out->status = explain(status, &out->error);
		if (status == ARES_ENODATA)
			out->error = "the name names no server";
		return;
	}
	if (!service_answer_parse(span_from((const char *)message, (size_t)length), &out->answer)) {
		out->status = explain(ARES_EBADRESP, &out->error);
		return;
	}
	if (out->answer.n > 0 || out->answer.not_offered)
		return;
	out->status = DNS_NONE;
	out->error = "the name names no server that may be used";
}

static void on_services(void *arg, int status, int timeouts SP_UNUSED, unsigned char *message, int length)
{
	struct dns_service_question question = *(struct dns_service_question *)arg;
	struct dns_services services = { .status = DNS_OK };

	free(arg);
	question.dns->open--;
	if (question.handle == NULL)
		return;
	*question.handle = NULL;
	if (question.dns->closing)
		return;
	services_fill(&services, status, message, length);
	question.done(question.owner, &services);
}

void dns_query_services(struct dns *dns, const char *name, dns_services_fn *done, void *owner,
                        struct dns_service_question **handle)
{
	struct dns_service_question *question = malloc(sizeof(*question));

	*handle = question;
	if (question == NULL) {
		struct dns_services services = { 0 };

		services.status = explain(ARES_ENOMEM, &services.error);
		done(owner, &services);
		return;
	}
	*question = (struct dns_service_question){ dns, handle, done, owner };
	dns->open++;
	ares_query(dns->channel, name, CLASS_IN, TYPE_SRV, on_services, question);
	dns_arm_timer(dns);
}

void dns_forget_services(struct dns_service_question **handle)
{
	if (*handle != NULL)
		(*handle)->handle = NULL;
	*handle = NULL;
}

// SPDX-License-Identifier: ISC
/*
 * Values of the configuration: addresses, ports, servers. Names are looked up
 * when they are needed.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_text.h"
#include "sallyport/config_value_parts.h"

#define FTP_PORT 21
#define DNS_PORT 53
#define HOST_MAX 253
#define LABEL_MAX 63
#define NOT_A_SERVER "is not a server (like 192.0.2.7:21, [2001:db8::7]:21 or ftp.example.net:21)"

static bool is_multicast(const struct netaddr *a)
{
	if (a->family == AF_INET)
		return IN_MULTICAST(ntohl(a->in.sin_addr.s_addr));
	return IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
}

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/*
 * RFC 1123 section 2.1, and the underscore that real zones have. The last label
 * must not be a number: 10.0.0.300 is a mistyped address, not a name.
 */
static bool is_host_name(struct span name)
{
	size_t label = 0;
	bool numeric = true;

	if (name.n == 0 || name.n > HOST_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (c == '.') {
			if (label == 0 || name.p[i - 1] == '-')
				return false;
			label = 0;
			numeric = true;
			continue;
		}
		if (!is_letter_or_digit(c) && c != '_' && !(c == '-' && label > 0))
			return false;
		if (++label > LABEL_MAX)
			return false;
		if (c < '0' || c > '9')
			numeric = false;
	}
	return label > 0 && !numeric && name.p[name.n - 1] != '-';
}

/*
 * An IPv4 address that a reply to PASV can name, or a name that stands for one;
 * `words`: what may be said instead.
 */
static enum config_parsed parse_announced(const char *text, const char *words, struct netaddr *field,
                                          struct announced_name *name, struct config_why *why)
{
	struct netaddr a;

	if (!netaddr_parse(&a, span_of(text), 0)) {
		if (!is_host_name(span_of(text)))
			return config_wrong(why,
			                    "is neither an IPv4 address (like 192.0.2.1), nor a "
			                    "name (like ftp.example.net), nor %s",
			                    words);
		name->host = config_copy(text);
		return name->host != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
	}
	if (a.family == AF_INET6)
		return config_wrong(why, "is an IPv6 address, which a reply to PASV cannot name "
		                         "(and a reply to EPSV need not)");
	if (strchr(text, ':') != NULL)
		return config_wrong(why, "has a port, which does not belong here");
	if (netaddr_is_any(&a) || is_multicast(&a))
		return config_wrong(why, "is not the address of a host");
	*field = a;
	return CONFIG_PARSED;
}

enum config_parsed config_passive_parse(const char *text, struct listener_config *listener,
                                        struct config_why *why)
{
	listener->passive_by_proxy = strcmp(text, "proxy") == 0;
	listener->passive_address = (struct netaddr){ .family = AF_UNSPEC };
	if (listener->passive_by_proxy || strcmp(text, "auto") == 0)
		return CONFIG_PARSED;
	return parse_announced(text, "auto nor proxy", &listener->passive_address,
	                       &listener->passive_name, why);
}

enum config_parsed config_host_parse(const char *text, struct netaddr *field, struct config_why *why)
{
	struct netaddr a;

	if (!netaddr_parse(&a, span_of(text), 0))
		return config_wrong(why, "is not an address (like 192.0.2.9 or 2001:db8::9)");
	if (text[0] == '[' || netaddr_port(&a) != 0 || (a.family == AF_INET && strchr(text, ':') != NULL))
		return config_wrong(why, "has a port or brackets, which do not belong here");
	if (netaddr_is_any(&a) || is_multicast(&a))
		return config_wrong(why, "is not the address of a host");
	*field = a;
	return CONFIG_PARSED;
}

enum config_parsed config_server_parse(const char *text, struct server_config *server,
                                       struct config_why *why)
{
	char host[NETADDR_TEXT_MAX];
	const char *colon;
	int64_t port = FTP_PORT;

	if (netaddr_parse(&server->address, span_of(text), FTP_PORT)) {
		port = netaddr_port(&server->address);
		if (netaddr_is_any(&server->address) || is_multicast(&server->address))
			return config_wrong(why, "is not the address of a host");
		if (port == 0)
			return config_wrong(why, "has port 0, which nobody listens on");
		server->host = config_copy(netaddr_format_host(&server->address, host));
		server->port = (uint16_t)port;
		return server->host != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
	}
	colon = strchr(text, ':');
	if (colon == NULL)
		colon = text + strlen(text);
	else if (!config_number_parse(colon + 1, &port) || port < 1 || port > UINT16_MAX)
		return config_wrong(why, NOT_A_SERVER);
	if (!is_host_name(span_from(text, (size_t)(colon - text))))
		return config_wrong(why, NOT_A_SERVER);
	server->address = (struct netaddr){ .family = AF_UNSPEC };
	server->port = (uint16_t)port;
	server->host = config_copy_n(text, (size_t)(colon - text));
	return server->host != NULL ? CONFIG_PARSED : CONFIG_NO_MEMORY;
}

enum config_parsed config_ports_parse(const char *text, struct port_range *field,
                                      struct config_why *why)
{
	static const char pooled_word[] = "pooled:";
	bool pooled = strncmp(text, pooled_word, sizeof(pooled_word) - 1) == 0;
	const char *range = pooled ? text + sizeof(pooled_word) - 1 : text;
	const char *dash = strchr(range, '-');
	char first_text[8];
	int64_t first;
	int64_t last;

	if (strcmp(text, "any") == 0) {
		*field = (struct port_range){ 0, 0, false };
		return CONFIG_PARSED;
	}
	if (dash == NULL)
		dash = range + strlen(range);
	if (!span_copy(first_text, sizeof(first_text), span_from(range, (size_t)(dash - range))) ||
	    !config_number_parse(first_text, &first) ||
	    !config_number_parse(*dash != '\0' ? dash + 1 : first_text, &last))
		return config_wrong(why, "is neither a range of ports (like 50000-50999), nor pooled ports "
		                         "(like pooled:50000-50003), nor any");
	if (first < 1 || first > UINT16_MAX || last < 1 || last > UINT16_MAX)
		return config_wrong(why, "is out of range (1 to 65535)");
	if (first > last)
		return config_wrong(why, "ends before it begins");
	if (pooled && last - first >= POOLED_PORTS_MAX)
		return config_wrong(why, "has more than %d ports, and a few pooled ones serve all sessions",
		                    POOLED_PORTS_MAX);
	*field = (struct port_range){ (uint16_t)first, (uint16_t)last, pooled };
	return CONFIG_PARSED;
}

static enum config_parsed add_address(const struct netaddr *a, struct netaddr **v, size_t *n)
{
	struct netaddr *grown = realloc(*v, (*n + 1) * sizeof(*grown));

	if (grown == NULL)
		return CONFIG_NO_MEMORY;
	grown[*n] = *a;
	*v = grown;
	(*n)++;
	return CONFIG_PARSED;
}

enum config_parsed config_name_servers_add(const char *text, struct netaddr **v, size_t *n,
                                           struct config_why *why)
{
	struct netaddr a;

	if (!netaddr_parse(&a, span_of(text), DNS_PORT) || netaddr_port(&a) == 0)
		return config_wrong(why, "is not the address of a name server (like 192.0.2.53 or [2001:db8::53]:53)");
	if (netaddr_is_any(&a) || is_multicast(&a))
		return config_wrong(why, "is not the address of a host");
	return add_address(&a, v, n);
}

enum config_parsed config_listen_add(const char *text, struct netaddr **v, size_t *n,
                                     struct config_why *why)
{
	struct netaddr a;

	if (!netaddr_parse(&a, span_of(text), FTP_PORT))
		return config_wrong(why, "is not an address and port (like 0.0.0.0:21 or [::]:21)");
	if (netaddr_port(&a) == 0)
		return config_wrong(why, "has port 0 (1 to 65535 can be listened on)");
	if (is_multicast(&a))
		return config_wrong(why, "is not the address of a host");
	return add_address(&a, v, n);
}

/* Nearly right ones get a word more. */
static enum config_parsed wrong_network(const char *text, struct config_why *why)
{
	const char *slash = strchr(text, '/');
	struct netaddr host;
	int64_t bits;

	if (slash == NULL || !config_number_parse(slash + 1, &bits) ||
	    !netaddr_parse(&host, span_from(text, (size_t)(slash - text)), 0))
		return config_wrong(why, "is not a network (like 192.0.2.0/24 or 2001:db8::/32)");
	if (bits > (host.family == AF_INET ? 32 : 128))
		return config_wrong(why, "is not a network: the prefix is longer than the address");
	return config_wrong(why,
	                    "is not a network: bits of the address behind the first %lld are set",
	                    (long long)bits);
}

enum config_parsed config_networks_add(const char *text, struct netblock **v, size_t *n,
                                       struct config_why *why)
{
	struct netblock *grown;
	struct netblock net;

	if (!netblock_parse(&net, span_of(text)))
		return wrong_network(text, why);
	grown = realloc(*v, (*n + 1) * sizeof(*grown));
	if (grown == NULL)
		return CONFIG_NO_MEMORY;
	grown[*n] = net;
	*v = grown;
	(*n)++;
	return CONFIG_PARSED;
}

enum config_parsed config_addresses_for_add(const char *text, struct address_for **v, size_t *n,
                                            struct config_why *why)
{
	const char *equals = strchr(text, '=');
	struct address_for entry = { 0 };
	char network[NETADDR_TEXT_MAX + 4];
	struct address_for *grown;
	enum config_parsed parsed;

	if (equals == NULL ||
	    !span_copy(network, sizeof(network), span_from(text, (size_t)(equals - text))))
		return config_wrong(why, "is not a network and an address (like 10.0.0.0/8=10.0.0.5)");
	if (!netblock_parse(&entry.network, span_of(network)))
		return wrong_network(network, why);
	parsed = strcmp(equals + 1, "auto") == 0
		     ? CONFIG_PARSED
		     : parse_announced(equals + 1, "auto", &entry.address, &entry.name, why);
	if (parsed != CONFIG_PARSED)
		return parsed;
	grown = realloc(*v, (*n + 1) * sizeof(*grown));
	if (grown == NULL) {
		free(entry.name.host);
		return CONFIG_NO_MEMORY;
	}
	grown[*n] = entry;
	*v = grown;
	(*n)++;
	return CONFIG_PARSED;
}

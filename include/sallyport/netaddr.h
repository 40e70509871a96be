// SPDX-License-Identifier: ISC
/*
 * A socket address of IPv4 or IPv6 (and nothing else), and networks of them.
 * Pure values: parse, print, compare, match. 28 bytes.
 */
#ifndef SALLYPORT_NETADDR_H
#define SALLYPORT_NETADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "sallyport/base.h"
#include "sallyport/span.h"

struct netaddr {
	union {
		sa_family_t family; /* AF_INET, AF_INET6; AF_UNSPEC (0): no address */
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

/* Enough for "[ffff:...:255.255.255.255%4294967295]:65535" and its NUL. */
#define NETADDR_TEXT_MAX 72

/*
 * Numeric "192.0.2.1", "192.0.2.1:21", "[2001:db8::1]:21", "2001:db8::1", "*:21" is not
 * an address. The port is `default_port` when the text has none. False (and
 * *out untouched) when the text is not that. Never looks up names.
 */
SP_MUSTCHECK bool netaddr_parse(struct netaddr *out, struct span text, uint16_t default_port);

/* "192.0.2.1:21", "[2001:db8::1]:21", "-" for no address. Returns buf. */
const char *netaddr_format(const struct netaddr *a, char buf[NETADDR_TEXT_MAX]);
/* The same without brackets and port. */
const char *netaddr_format_host(const struct netaddr *a, char buf[NETADDR_TEXT_MAX]);

uint16_t netaddr_port(const struct netaddr *a);
void netaddr_set_port(struct netaddr *a, uint16_t port);
socklen_t netaddr_len(const struct netaddr *a);

/* ::ffff:192.0.2.1 becomes 192.0.2.1; everything else stays. */
void netaddr_unmap(struct netaddr *a);

/* Same host (an IPv4-mapped IPv6 address equals its IPv4 one); ports are not compared. */
bool netaddr_same_host(const struct netaddr *a, const struct netaddr *b);
bool netaddr_is_any(const struct netaddr *a);
bool netaddr_is_loopback(const struct netaddr *a);
/* RFC 1918, RFC 6598, RFC 4193, link-local: not routable on the Internet. Loopback too. */
bool netaddr_is_private(const struct netaddr *a);

/* A network: an address and how many leading bits count. */
struct netblock {
	struct netaddr base;
	uint8_t bits;
};

/* "192.0.2.0/24", "2001:db8::/32", a bare address (all bits). Host bits that are set make it false. */
SP_MUSTCHECK bool netblock_parse(struct netblock *out, struct span text);
bool netblock_contains(const struct netblock *net, const struct netaddr *a);
bool netblock_list_contains(const struct netblock *nets, size_t n, const struct netaddr *a);

#endif

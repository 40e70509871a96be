// SPDX-License-Identifier: ISC
/*
 * Addresses and networks as values. Text in and out goes through inet_pton and
 * inet_ntop, which know no names; an IPv6 zone is a number here, never the name
 * of an interface (that would be a question to the kernel).
 */
#include "sallyport/netaddr.h"

#include <arpa/inet.h>
#include <string.h>

#define PORT_DIGITS_MAX 5
#define SCOPE_DIGITS_MAX 10
#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS 96 /* ::ffff:0:0/96 */

/* All of `text` as a decimal number up to `max`; no sign, no blanks. */
static bool parse_number(struct span text, size_t digits_max, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;

	if (text.n == 0 || text.n > digits_max)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.p[i] - '0');
	}
	if (value > max)
		return false;
	*out = (uint32_t)value;
	return true;
}

/* inet_pton wants a C string: a NUL inside the span must not end it early. */
static bool to_c_string(char *to, size_t size, struct span text)
{
	if (text.n == 0 || memchr(text.p, '\0', text.n) != NULL)
		return false;
	return span_copy(to, size, text);
}

static bool parse_v4(struct netaddr *out, struct span host)
{
	char text[INET_ADDRSTRLEN];
	struct netaddr a;

	memset(&a, 0, sizeof(a)); /* all 28 bytes: addresses are copied and hashed whole */
	if (!to_c_string(text, sizeof(text), host) || inet_pton(AF_INET, text, &a.in.sin_addr) != 1)
		return false;
	a.in.sin_family = AF_INET;
	*out = a;
	return true;
}

static bool parse_v6(struct netaddr *out, struct span host)
{
	char text[INET6_ADDRSTRLEN];
	struct netaddr a;
	uint32_t scope = 0;
	const char *zone;

	if (host.n == 0)
		return false;
	zone = memchr(host.p, '%', host.n);
	if (zone != NULL) {
		size_t before = (size_t)(zone - host.p);

		if (!parse_number(span_from(zone + 1, host.n - before - 1), SCOPE_DIGITS_MAX,
		                  UINT32_MAX, &scope))
			return false;
		host.n = before;
	}
	memset(&a, 0, sizeof(a));
	if (!to_c_string(text, sizeof(text), host) ||
	    inet_pton(AF_INET6, text, &a.in6.sin6_addr) != 1)
		return false;
	a.in6.sin6_family = AF_INET6;
	a.in6.sin6_scope_id = scope;
	*out = a;
	return true;
}

/* "[host]" or "[host]:port". */
static bool parse_bracketed(struct netaddr *out, struct span text, uint32_t *port)
{
	const char *close = memchr(text.p, ']', text.n);
	size_t inside;

	if (close == NULL)
		return false;
	inside = (size_t)(close - text.p) - 1;
	if (!parse_v6(out, span_from(text.p + 1, inside)))
		return false;
	text = span_from(close + 1, text.n - inside - 2);
	if (text.n == 0)
		return true;
	return text.p[0] == ':' &&
	       parse_number(span_from(text.p + 1, text.n - 1), PORT_DIGITS_MAX, UINT16_MAX, port);
}

bool netaddr_parse(struct netaddr *out, struct span text, uint16_t default_port)
{
	struct netaddr a;
	uint32_t port = default_port;
	const char *colon;

	if (text.n == 0)
		return false;
	colon = memchr(text.p, ':', text.n);
	if (text.p[0] == '[') {
		if (!parse_bracketed(&a, text, &port))
			return false;
	} else if (colon == NULL) {
		if (!parse_v4(&a, text))
			return false;
	} else {
		size_t before = (size_t)(colon - text.p);
		struct span after = span_from(colon + 1, text.n - before - 1);

		/* One colon parts a port; an IPv6 address has at least two. */
		if (after.n > 0 && memchr(after.p, ':', after.n) != NULL) {
			if (!parse_v6(&a, text))
				return false;
		} else if (!parse_v4(&a, span_from(text.p, before)) ||
		           !parse_number(after, PORT_DIGITS_MAX, UINT16_MAX, &port)) {
			return false;
		}
	}
	netaddr_set_port(&a, (uint16_t)port);
	*out = a;
	return true;
}

/* Decimal digits of `value` at `to`, no NUL. Returns how many. */
static size_t write_number(char *to, uint32_t value)
{
	char digits[SCOPE_DIGITS_MAX];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	return n;
}

/* In each event and each list: so without the formatted printing of inet_ntop(). */
static size_t write_v4(uint32_t host, char to[NETADDR_TEXT_MAX])
{
	size_t n = 0;

	for (unsigned shift = V4_BITS; shift > 0; shift -= 8) {
		uint32_t byte = host >> (shift - 8) & 0xff;

		if (byte >= 100)
			to[n++] = (char)('0' + byte / 100);
		if (byte >= 10)
			to[n++] = (char)('0' + byte / 10 % 10);
		to[n++] = (char)('0' + byte % 10);
		to[n++] = '.';
	}
	to[--n] = '\0';
	return n;
}

/* The host at `to`, with NUL; returns its length. NETADDR_TEXT_MAX leaves room for all of it. */
static size_t write_host(const struct netaddr *a, char to[NETADDR_TEXT_MAX])
{
	size_t n;

	if (a->family == AF_INET)
		return write_v4(ntohl(a->in.sin_addr.s_addr), to);
	if (a->family != AF_INET6) {
		to[0] = '-';
		to[1] = '\0';
		return 1;
	}
	inet_ntop(AF_INET6, &a->in6.sin6_addr, to, NETADDR_TEXT_MAX);
	n = strlen(to);
	if (a->in6.sin6_scope_id != 0) {
		to[n++] = '%';
		n += write_number(to + n, a->in6.sin6_scope_id);
		to[n] = '\0';
	}
	return n;
}

const char *netaddr_format_host(const struct netaddr *a, char buf[NETADDR_TEXT_MAX])
{
	write_host(a, buf);
	return buf;
}

const char *netaddr_format(const struct netaddr *a, char buf[NETADDR_TEXT_MAX])
{
	char host[NETADDR_TEXT_MAX];
	bool v6 = a->family == AF_INET6;
	size_t host_n = write_host(a, host);
	size_t n = 0;

	if (v6)
		buf[n++] = '[';
	memcpy(buf + n, host, host_n);
	n += host_n;
	if (v6)
		buf[n++] = ']';
	if (a->family == AF_INET || v6) {
		buf[n++] = ':';
		n += write_number(buf + n, netaddr_port(a));
	}
	buf[n] = '\0';
	return buf;
}

uint16_t netaddr_port(const struct netaddr *a)
{
	if (a->family == AF_INET)
		return ntohs(a->in.sin_port);
	return a->family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void netaddr_set_port(struct netaddr *a, uint16_t port)
{
	if (a->family == AF_INET)
		a->in.sin_port = htons(port);
	else if (a->family == AF_INET6)
		a->in6.sin6_port = htons(port);
}

socklen_t netaddr_len(const struct netaddr *a)
{
	if (a->family == AF_INET)
		return sizeof(a->in);
	return a->family == AF_INET6 ? sizeof(a->in6) : 0;
}

void netaddr_unmap(struct netaddr *a)
{
	struct netaddr v4;

	if (a->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return;
	memset(&v4, 0, sizeof(v4));
	v4.in.sin_family = AF_INET;
	v4.in.sin_port = a->in6.sin6_port;
	memcpy(&v4.in.sin_addr, a->in6.sin6_addr.s6_addr + MAPPED_BITS / 8, sizeof(v4.in.sin_addr));
	*a = v4;
}

static struct netaddr unmapped(const struct netaddr *a)
{
	struct netaddr plain = *a;

	netaddr_unmap(&plain);
	return plain;
}

bool netaddr_same_host(const struct netaddr *a, const struct netaddr *b)
{
	struct netaddr x = unmapped(a);
	struct netaddr y = unmapped(b);

	if (x.family != y.family)
		return false;
	if (x.family == AF_INET)
		return x.in.sin_addr.s_addr == y.in.sin_addr.s_addr;
	if (x.family != AF_INET6 ||
	    memcmp(&x.in6.sin6_addr, &y.in6.sin6_addr, sizeof(x.in6.sin6_addr)) != 0)
		return false;
	/* EPRT cannot name a zone: an address without one is the same in any. */
	return x.in6.sin6_scope_id == y.in6.sin6_scope_id || x.in6.sin6_scope_id == 0 ||
	       y.in6.sin6_scope_id == 0;
}

bool netaddr_is_any(const struct netaddr *a)
{
	struct netaddr x = unmapped(a);

	if (x.family == AF_INET)
		return x.in.sin_addr.s_addr == htonl(INADDR_ANY);
	return x.family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&x.in6.sin6_addr);
}

/* `net`/`bits` of host-order IPv4. */
static bool v4_in(uint32_t host, uint32_t net, unsigned bits)
{
	return host >> (V4_BITS - bits) == net >> (V4_BITS - bits);
}

bool netaddr_is_loopback(const struct netaddr *a)
{
	struct netaddr x = unmapped(a);

	if (x.family == AF_INET)
		return v4_in(ntohl(x.in.sin_addr.s_addr), 0x7f000000, 8);
	return x.family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&x.in6.sin6_addr);
}

bool netaddr_is_private(const struct netaddr *a)
{
	struct netaddr x = unmapped(a);
	uint32_t host;

	if (netaddr_is_loopback(&x))
		return true;
	if (x.family == AF_INET6)
		return (x.in6.sin6_addr.s6_addr[0] & 0xfe) == 0xfc || /* RFC 4193: fc00::/7 */
		       IN6_IS_ADDR_LINKLOCAL(&x.in6.sin6_addr);
	if (x.family != AF_INET)
		return false;
	host = ntohl(x.in.sin_addr.s_addr);
	return v4_in(host, 0x0a000000, 8) ||  /* RFC 1918: 10.0.0.0/8 */
	       v4_in(host, 0xac100000, 12) || /* 172.16.0.0/12 */
	       v4_in(host, 0xc0a80000, 16) || /* 192.168.0.0/16 */
	       v4_in(host, 0x64400000, 10) || /* RFC 6598: 100.64.0.0/10 */
	       v4_in(host, 0xa9fe0000, 16);   /* RFC 3927: 169.254.0.0/16 */
}

static const uint8_t *address_bytes(const struct netaddr *a)
{
	if (a->family == AF_INET)
		return (const uint8_t *)&a->in.sin_addr;
	return a->in6.sin6_addr.s6_addr;
}

/* The bits of byte `i` that lie inside the first `bits` bits. */
static uint8_t byte_mask(unsigned bits, size_t i)
{
	size_t before = i * 8;

	if (bits >= before + 8)
		return 0xff;
	if (bits <= before)
		return 0;
	return (uint8_t)(0xff << (before + 8 - bits));
}

bool netblock_parse(struct netblock *out, struct span text)
{
	struct netblock net;
	const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
	struct span host = slash != NULL ? span_from(text.p, (size_t)(slash - text.p)) : text;
	uint32_t bits;
	size_t bytes;

	/* A zone says where a host is, which is not what a network is about. */
	if (!parse_v4(&net.base, host) &&
	    (!parse_v6(&net.base, host) || net.base.in6.sin6_scope_id != 0))
		return false;
	bits = net.base.family == AF_INET ? V4_BITS : V6_BITS;
	bytes = bits / 8;
	if (slash != NULL &&
	    !parse_number(span_from(slash + 1, text.n - host.n - 1), 3, bits, &bits))
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if ((address_bytes(&net.base)[i] & (uint8_t)~byte_mask(bits, i)) != 0)
			return false;
	}
	/* Clients are compared unmapped, so a network of mapped addresses is one of IPv4. */
	if (net.base.family == AF_INET6 && bits >= MAPPED_BITS) {
		netaddr_unmap(&net.base);
		if (net.base.family == AF_INET)
			bits -= MAPPED_BITS;
	}
	net.bits = (uint8_t)bits;
	*out = net;
	return true;
}

bool netblock_contains(const struct netblock *net, const struct netaddr *a)
{
	struct netaddr x = unmapped(a);
	size_t bytes;

	if (x.family != net->base.family)
		return false;
	if (x.family == AF_INET)
		bytes = sizeof(x.in.sin_addr);
	else if (x.family == AF_INET6)
		bytes = sizeof(x.in6.sin6_addr);
	else
		return false;
	for (size_t i = 0; i < bytes; i++) {
		uint8_t differ = address_bytes(&x)[i] ^ address_bytes(&net->base)[i];

		if ((differ & byte_mask(net->bits, i)) != 0)
			return false;
	}
	return true;
}

bool netblock_list_contains(const struct netblock *nets, size_t n, const struct netaddr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (netblock_contains(&nets[i], a))
			return true;
	}
	return false;
}

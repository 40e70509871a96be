// SPDX-License-Identifier: ISC
/*
 * Addresses in FTP's own notations, read and written. Not whether they are
 * allowed, and not the notations of the configuration (netaddr).
 */
#include "sallyport/ftp_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define OUT_OF_RANGE 0x10000u /* what any number over 65535 is read as */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_delimiter(char c)
{
	return c >= 33 && c <= 126;
}

/* The byte at i; NUL behind the end, which is in none of the grammars. */
static char byte_at(struct span s, size_t i)
{
	return i < s.n ? s.p[i] : '\0';
}

/* The decimal number at *at, moved behind it. At least one digit must stand there. */
static unsigned number_at(struct span s, size_t *at)
{
	unsigned value = 0;

	for (; is_digit(byte_at(s, *at)); ++*at) {
		value = value * 10 + (unsigned)(s.p[*at] - '0');
		if (value > UINT16_MAX)
			value = OUT_OF_RANGE;
	}
	return value;
}

static size_t skip_spaces(struct span s, size_t at)
{
	while (byte_at(s, at) == ' ')
		at++;
	return at;
}

static bool address_from_six(const unsigned v[6], struct netaddr *out)
{
	unsigned port = v[4] << 8 | v[5];

	for (size_t i = 0; i < 6; i++) {
		if (v[i] > 255)
			return false;
	}
	if (port == 0)
		return false;
	memset(out, 0, sizeof(*out));
	out->in.sin_family = AF_INET;
	out->in.sin_addr.s_addr = htonl(v[0] << 24 | v[1] << 16 | v[2] << 8 | v[3]);
	out->in.sin_port = htons((uint16_t)port);
	return true;
}

/* The numbers parted by commas from *at on, moved behind them; how many, of which v has six. */
static size_t numbers_at(struct span s, size_t *at, unsigned v[6])
{
	size_t n = 0;

	for (;;) {
		unsigned value = number_at(s, at);
		size_t comma = skip_spaces(s, *at);
		size_t next = skip_spaces(s, comma + 1);

		if (n < 6)
			v[n] = value;
		n++;
		if (byte_at(s, comma) != ',' || !is_digit(byte_at(s, next)))
			return n;
		*at = next;
	}
}

/* Nothing stands right around [from, to) that would make its ends parts of other things. */
static bool stands_alone(struct span s, size_t from, size_t to)
{
	char before = from > 0 ? s.p[from - 1] : '\0';
	char after = byte_at(s, to);

	if (before == '.' || before == '-')
		return false;
	return !is_letter(after) && !(after == '.' && is_digit(byte_at(s, to + 1)));
}

bool ftp_address_parse_227(struct span text, struct netaddr *out)
{
	size_t at = 0;

	while (at < text.n) {
		size_t from = at;
		unsigned v[6] = { 0 };

		if (!is_digit(text.p[at])) {
			at++;
			continue;
		}
		if (numbers_at(text, &at, v) == 6 && stands_alone(text, from, at))
			return address_from_six(v, out);
	}
	return false;
}

/* "<d><d><d>port<d>)". The delimiter may be a digit: the last one is where ")" follows. */
static bool port_of_229(struct span s, size_t at, uint16_t *port)
{
	char d = byte_at(s, at);
	size_t start = at + 3;

	if (!is_delimiter(d) || byte_at(s, at + 1) != d || byte_at(s, at + 2) != d)
		return false;
	for (size_t i = start; i <= start + 5; i++) {
		if (i > start && byte_at(s, i) == d && byte_at(s, i + 1) == ')') {
			struct span digits = span_from(s.p + start, i - start);
			size_t digit = 0;
			unsigned value = number_at(digits, &digit);

			if (value == 0 || value > UINT16_MAX)
				return false;
			*port = (uint16_t)value;
			return true;
		}
		if (!is_digit(byte_at(s, i)))
			return false;
	}
	return false;
}

bool ftp_address_parse_229(struct span text, uint16_t *port)
{
	for (size_t at = 0; at < text.n; at++) {
		if (text.p[at] == '(' && port_of_229(text, at + 1, port))
			return true;
	}
	return false;
}

bool ftp_address_parse_port(struct span argument, struct netaddr *out)
{
	unsigned v[6];
	size_t at = 0;

	for (size_t i = 0; i < 6; i++) {
		size_t from = at;

		v[i] = number_at(argument, &at);
		if (at == from || at - from > 3)
			return false;
		if (i < 5 && byte_at(argument, at++) != ',')
			return false;
	}
	return at == argument.n && address_from_six(v, out);
}

/* The field up to the next `d`, *at moved behind that; false when there is no `d`. */
static bool field_at(struct span s, size_t *at, char d, struct span *field)
{
	size_t from = *at;

	for (size_t i = from; i < s.n; i++) {
		if (s.p[i] == d) {
			*field = span_from(s.p + from, i - from);
			*at = i + 1;
			return true;
		}
	}
	return false;
}

static bool all_digits(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return false;
	}
	return s.n > 0;
}

static bool host_parse(struct span text, sa_family_t family, struct netaddr *out)
{
	char host[INET6_ADDRSTRLEN];

	if (memchr(text.p, '\0', text.n) != NULL || !span_copy(host, sizeof(host), text))
		return false;
	if (family == AF_INET) {
		out->in.sin_family = family;
		return inet_pton(family, host, &out->in.sin_addr) == 1;
	}
	out->in6.sin6_family = family;
	return inet_pton(family, host, &out->in6.sin6_addr) == 1;
}

enum eprt_result ftp_address_parse_eprt(struct span argument, struct netaddr *out)
{
	struct netaddr a;
	struct span protocol, host, port;
	char d = byte_at(argument, 0);
	size_t at = 1;
	size_t digit = 0;
	unsigned value;

	if (!is_delimiter(d) || !field_at(argument, &at, d, &protocol) || !all_digits(protocol))
		return EPRT_SYNTAX;
	if (protocol.n != 1 || (protocol.p[0] != '1' && protocol.p[0] != '2'))
		return EPRT_FAMILY;
	if (!field_at(argument, &at, d, &host) || !field_at(argument, &at, d, &port) ||
	    at != argument.n)
		return EPRT_SYNTAX;
	memset(&a, 0, sizeof(a));
	if (!host_parse(host, protocol.p[0] == '1' ? AF_INET : AF_INET6, &a))
		return EPRT_SYNTAX;
	if (!all_digits(port) || port.n > 5)
		return EPRT_SYNTAX;
	value = number_at(port, &digit);
	if (value == 0 || value > UINT16_MAX)
		return EPRT_SYNTAX;
	if (a.family == AF_INET)
		a.in.sin_port = htons((uint16_t)value);
	else
		a.in6.sin6_port = htons((uint16_t)value);
	*out = a;
	return EPRT_OK;
}

/* What snprintf says when it cannot fail: the length. */
static size_t written(int n)
{
	SP_ASSERT(n > 0 && n < FTP_ADDRESS_TEXT_MAX);
	return (size_t)n;
}

/* One of the six numbers at `to`; returns how many digits. */
static size_t write_byte(char *to, uint32_t value)
{
	size_t n = 0;

	if (value >= 100)
		to[n++] = (char)('0' + value / 100);
	if (value >= 10)
		to[n++] = (char)('0' + value / 10 % 10);
	to[n++] = (char)('0' + value % 10);
	return n;
}

/* With each transfer: so without formatted printing. */
size_t ftp_address_write_port(char to[FTP_ADDRESS_TEXT_MAX], const struct netaddr *a)
{
	uint32_t host;
	uint32_t port;
	size_t n = 0;

	to[0] = '\0';
	if (a->family != AF_INET)
		return 0;
	host = ntohl(a->in.sin_addr.s_addr);
	port = ntohs(a->in.sin_port);
	for (unsigned shift = 32; shift > 0; shift -= 8) {
		n += write_byte(to + n, host >> (shift - 8) & 255);
		to[n++] = ',';
	}
	n += write_byte(to + n, port >> 8);
	to[n++] = ',';
	n += write_byte(to + n, port & 255);
	to[n] = '\0';
	return n;
}

size_t ftp_address_write_eprt(char to[FTP_ADDRESS_TEXT_MAX], const struct netaddr *a)
{
	bool v4 = a->family == AF_INET;
	char host[INET6_ADDRSTRLEN];
	const void *from = v4 ? (const void *)&a->in.sin_addr : (const void *)&a->in6.sin6_addr;
	unsigned port = ntohs(v4 ? a->in.sin_port : a->in6.sin6_port);

	to[0] = '\0';
	if (inet_ntop(a->family, from, host, sizeof(host)) == NULL)
		return 0; /* neither IPv4 nor IPv6 */
	return written(snprintf(to, FTP_ADDRESS_TEXT_MAX, "|%d|%s|%u|", v4 ? 1 : 2, host, port));
}

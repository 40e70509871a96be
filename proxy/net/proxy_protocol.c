// SPDX-License-Identifier: ISC
/*
 * PROXY protocol: bytes to addresses and back, versions 1 (a line) and 2
 * (binary). The first byte tells which; nothing in FTP or TLS begins like
 * either. No sockets here. Pure; any thread.
 */
#include "sallyport/proxy_protocol.h"

#include <arpa/inet.h>
#include <string.h>

#define V1_PREFIX "PROXY "
#define V1_SHORTEST (sizeof("PROXY UNKNOWN\r\n") - 1)
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_HEAD 16 /* signature, version and command, family, length */
#define V2_IPV4 12 /* two addresses, two ports */
#define V2_IPV6 36
#define TLV_HEAD 3 /* type, length */

enum { COMMAND_LOCAL = 0x0, COMMAND_PROXY = 0x1 };
enum { FAMILY_UNSPEC = 0x0, FAMILY_INET = 0x1, FAMILY_INET6 = 0x2, FAMILY_UNIX = 0x3 };
enum { TRANSPORT_UNSPEC = 0x0, TRANSPORT_STREAM = 0x1, TRANSPORT_DGRAM = 0x2 };
enum { CLIENT_TLS = 0x01, CLIENT_CERTIFICATE = 0x02 };

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static unsigned char byte_at(struct span s, size_t at)
{
	return (unsigned char)s.p[at];
}

static size_t number_at(struct span s, size_t at)
{
	return (size_t)byte_at(s, at) << 8 | byte_at(s, at + 1);
}

static struct netaddr address_from(int family, const void *bytes, uint16_t port)
{
	struct netaddr a;

	memset(&a, 0, sizeof(a));
	a.family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&a.in.sin_addr, bytes, sizeof(a.in.sin_addr));
	else
		memcpy(&a.in6.sin6_addr, bytes, sizeof(a.in6.sin6_addr));
	netaddr_set_port(&a, port);
	netaddr_unmap(&a);
	return a;
}

/* --- version 1 ------------------------------------------------------------------ */

/* The word up to the next space, which is taken too; the last one ends with the line. */
static struct span next_word(struct span *line)
{
	const char *space = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
	size_t n = space != NULL ? (size_t)(space - line->p) : line->n;
	struct span word = span_from(line->p, n);
	size_t taken = space != NULL ? n + 1 : n;

	*line = span_from(line->p + taken, line->n - taken);
	return word;
}

/* Decimal, without sign or leading zeros. */
static bool parse_port(struct span word, uint16_t *out)
{
	unsigned value = 0;

	if (word.n == 0 || word.n > 5 || (word.n > 1 && word.p[0] == '0'))
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		value = value * 10 + (unsigned)(word.p[i] - '0');
	}
	*out = (uint16_t)value;
	return value <= UINT16_MAX;
}

static bool parse_host(struct span word, int family, unsigned char bytes[16])
{
	char text[INET6_ADDRSTRLEN];

	if (memchr(word.p, '\0', word.n) != NULL || !span_copy(text, sizeof(text), word))
		return false;
	return inet_pton(family, text, bytes) == 1;
}

/* "192.0.2.1 198.51.100.2 40000 21" */
static bool v1_parse_addresses(struct span line, int family, struct proxy_protocol_header *out)
{
	unsigned char source[16], destination[16];
	uint16_t source_port, destination_port;
	struct span word[4];

	for (size_t i = 0; i < SP_ARRAY_LEN(word); i++) {
		bool is_last = i == SP_ARRAY_LEN(word) - 1;

		if (!is_last && memchr(line.p, ' ', line.n) == NULL)
			return false;
		word[i] = is_last ? line : next_word(&line);
	}
	if (!parse_host(word[0], family, source) || !parse_host(word[1], family, destination) ||
	    !parse_port(word[2], &source_port) || !parse_port(word[3], &destination_port))
		return false;
	out->kind = PROXY_PROTOCOL_PROXIED;
	out->source = address_from(family, source, source_port);
	out->destination = address_from(family, destination, destination_port);
	return true;
}

static bool v1_parse_line(struct span line, struct proxy_protocol_header *out)
{
	struct span rest = span_from(line.p + strlen(V1_PREFIX), line.n - strlen(V1_PREFIX));
	struct span protocol = next_word(&rest);

	out->version = 1;
	if (span_eq(protocol, span_of("UNKNOWN"))) {
		out->kind = PROXY_PROTOCOL_UNKNOWN; /* whatever follows is to be ignored */
		return true;
	}
	if (span_eq(protocol, span_of("TCP4")))
		return v1_parse_addresses(rest, AF_INET, out);
	if (span_eq(protocol, span_of("TCP6")))
		return v1_parse_addresses(rest, AF_INET6, out);
	return false;
}

static enum proxy_protocol_result v1_parse(struct span in, size_t *length,
                                           struct proxy_protocol_header *out)
{
	size_t n = in.n < PROXY_PROTOCOL_V1_MAX ? in.n : PROXY_PROTOCOL_V1_MAX;
	size_t prefix = n < strlen(V1_PREFIX) ? n : strlen(V1_PREFIX);

	if (memcmp(in.p, V1_PREFIX, prefix) != 0)
		return PROXY_PROTOCOL_BAD;

	const char *end = memmem(in.p, n, "\r\n", 2);

	if (end == NULL) {
		size_t missing = in.p[n - 1] == '\r' ? 1 : 2;

		if (n + missing > PROXY_PROTOCOL_V1_MAX)
			return PROXY_PROTOCOL_BAD;
		*length = larger(V1_SHORTEST, n + missing);
		return PROXY_PROTOCOL_MORE;
	}
	*length = (size_t)(end - in.p) + 2;
	if (*length < V1_SHORTEST)
		return PROXY_PROTOCOL_BAD;
	return v1_parse_line(span_from(in.p, *length - 2), out) ? PROXY_PROTOCOL_OK
	                                                        : PROXY_PROTOCOL_BAD;
}

/* --- version 2 --------------------------------------------------------------------- */

/* What is left of `body` behind the addresses of this family; false when they do not fit. */
static bool v2_skip_addresses(struct span *body, unsigned family)
{
	static const size_t sizes[] = { [FAMILY_UNSPEC] = 0,
		                        [FAMILY_INET] = V2_IPV4,
		                        [FAMILY_INET6] = V2_IPV6,
		                        [FAMILY_UNIX] = 216 };

	if (body->n < sizes[family])
		return false;
	*body = span_from(body->p + sizes[family], body->n - sizes[family]);
	return true;
}

static void v2_take_addresses(struct span body, unsigned family, struct proxy_protocol_header *out)
{
	int af = family == FAMILY_INET ? AF_INET : AF_INET6;
	size_t n = family == FAMILY_INET ? 4 : 16;

	out->kind = PROXY_PROTOCOL_PROXIED;
	out->source = address_from(af, body.p, (uint16_t)number_at(body, 2 * n));
	out->destination = address_from(af, body.p + n, (uint16_t)number_at(body, 2 * n + 2));
}

/* Values that the specification does not have are refused, as it asks. */
static bool v2_parse_body(struct span head, struct span body, struct proxy_protocol_header *out)
{
	unsigned command = byte_at(head, 12) & 0x0f;
	unsigned family = byte_at(head, 13) >> 4;
	unsigned transport = byte_at(head, 13) & 0x0f;

	out->version = 2;
	if (command == COMMAND_LOCAL) {
		out->kind = PROXY_PROTOCOL_LOCAL; /* its family and addresses are to be ignored */
		return true;
	}
	if (command != COMMAND_PROXY || family > FAMILY_UNIX || transport > TRANSPORT_DGRAM)
		return false;
	out->kind = PROXY_PROTOCOL_UNKNOWN;
	out->tlvs = body;
	if (!v2_skip_addresses(&out->tlvs, family))
		return false;
	if (transport == TRANSPORT_STREAM && (family == FAMILY_INET || family == FAMILY_INET6))
		v2_take_addresses(body, family, out);
	return true;
}

static enum proxy_protocol_result v2_parse(struct span in, size_t *length,
                                           struct proxy_protocol_header *out)
{
	size_t signature = sizeof(V2_SIGNATURE) - 1;

	if (memcmp(in.p, V2_SIGNATURE, in.n < signature ? in.n : signature) != 0)
		return PROXY_PROTOCOL_BAD;
	if (in.n > signature && byte_at(in, signature) >> 4 != 2)
		return PROXY_PROTOCOL_BAD;
	if (in.n < V2_HEAD) {
		*length = V2_HEAD;
		return PROXY_PROTOCOL_MORE;
	}
	*length = V2_HEAD + number_at(in, 14);
	if (*length > PROXY_PROTOCOL_MAX)
		return PROXY_PROTOCOL_BAD;
	if (in.n < *length)
		return PROXY_PROTOCOL_MORE;
	return v2_parse_body(span_from(in.p, V2_HEAD), span_from(in.p + V2_HEAD, *length - V2_HEAD),
	                     out)
	           ? PROXY_PROTOCOL_OK
	           : PROXY_PROTOCOL_BAD;
}

enum proxy_protocol_result proxy_protocol_parse(struct span in, size_t *length,
                                                struct proxy_protocol_header *out)
{
	struct proxy_protocol_header header;
	enum proxy_protocol_result result;

	memset(&header, 0, sizeof(header));
	*length = V1_SHORTEST; /* the shorter of both */
	if (in.n == 0)
		return PROXY_PROTOCOL_MORE;
	if (in.p[0] == V1_PREFIX[0])
		result = v1_parse(in, length, &header);
	else
		result = v2_parse(in, length, &header);
	if (result == PROXY_PROTOCOL_BAD)
		*length = 0;
	if (result == PROXY_PROTOCOL_OK)
		*out = header;
	return result;
}

int proxy_protocol_next_tlv(struct span *tlvs, struct span *value)
{
	if (tlvs->n < TLV_HEAD)
		return -1;

	int type = byte_at(*tlvs, 0);
	size_t n = number_at(*tlvs, 1);

	if (n > tlvs->n - TLV_HEAD)
		return -1;
	*value = span_from(tlvs->p + TLV_HEAD, n);
	*tlvs = span_from(value->p + n, tlvs->n - TLV_HEAD - n);
	return type;
}

/* --- writing ----------------------------------------------------------------------------- */

/* Where the header is put together; `full` once something did not fit. */
struct writer {
	char *to;
	size_t size;
	size_t n;
	bool full;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
	if (w->full || n > w->size - w->n) {
		w->full = true;
		return;
	}
	if (n > 0)
		memcpy(w->to + w->n, bytes, n);
	w->n += n;
}

static void put_byte(struct writer *w, unsigned value)
{
	unsigned char byte = (unsigned char)value;

	put(w, &byte, 1);
}

static void put_number(struct writer *w, size_t value)
{
	put_byte(w, (unsigned)(value >> 8) & 0xff);
	put_byte(w, (unsigned)value & 0xff);
}

static void put_text(struct writer *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_decimal(struct writer *w, unsigned value)
{
	if (value >= 10)
		put_decimal(w, value / 10);
	put_byte(w, '0' + value % 10);
}

/* The family that can say both addresses; AF_UNSPEC: none can. */
static int common_family(const struct netaddr *a, const struct netaddr *b)
{
	if (a->family == AF_UNSPEC || b->family == AF_UNSPEC)
		return AF_UNSPEC;
	return a->family == AF_INET && b->family == AF_INET ? AF_INET : AF_INET6;
}

/* The bytes of an address as one of `family`; their number. */
static size_t address_bytes(const struct netaddr *a, int family, unsigned char bytes[16])
{
	if (family == AF_INET) {
		memcpy(bytes, &a->in.sin_addr, 4);
		return 4;
	}
	if (a->family == AF_INET6) {
		memcpy(bytes, &a->in6.sin6_addr, 16);
	} else {
		memset(bytes, 0, 10);
		memset(bytes + 10, 0xff, 2);
		memcpy(bytes + 12, &a->in.sin_addr, 4);
	}
	return 16;
}

static void put_host(struct writer *w, const struct netaddr *a, int family)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];

	address_bytes(a, family, bytes);
	if (inet_ntop(family, bytes, text, sizeof(text)) == NULL)
		w->full = true;
	else
		put_text(w, text);
	put_byte(w, ' ');
}

size_t proxy_protocol_write_v1(char *to, size_t size, const struct netaddr *source,
                               const struct netaddr *destination)
{
	struct writer w = { .to = to, .size = size };

	if (source == NULL) {
		put_text(&w, "PROXY UNKNOWN\r\n");
		return w.full ? 0 : w.n;
	}

	int family = common_family(source, destination);

	if (family == AF_UNSPEC)
		return 0;
	put_text(&w, family == AF_INET ? "PROXY TCP4 " : "PROXY TCP6 ");
	put_host(&w, source, family);
	put_host(&w, destination, family);
	put_decimal(&w, netaddr_port(source));
	put_byte(&w, ' ');
	put_decimal(&w, netaddr_port(destination));
	put_text(&w, "\r\n");
	return w.full ? 0 : w.n;
}

/* Nothing is written for an empty value. */
static void put_tlv(struct writer *w, enum proxy_protocol_type type, struct span value)
{
	if (value.n == 0)
		return;
	if (value.n > UINT16_MAX)
		w->full = true;
	put_byte(w, (unsigned)type);
	put_number(w, value.n);
	put(w, value.p, value.n);
}

/* Writes the length of what stands behind `at`, into the two bytes before it. */
static void set_length(struct writer *w, size_t at)
{
	size_t n = w->n - at;

	if (w->full || n > UINT16_MAX) {
		w->full = true;
		return;
	}
	w->to[at - 2] = (char)(n >> 8);
	w->to[at - 1] = (char)n;
}

static void put_tls(struct writer *w, const struct proxy_protocol_facts *facts)
{
	bool has_certificate = facts->tls_cn.n > 0 || facts->tls_verified;

	put_byte(w, PROXY_PROTOCOL_TYPE_SSL);
	put_number(w, 0);

	size_t at = w->n;

	put_byte(w, CLIENT_TLS | (has_certificate ? CLIENT_CERTIFICATE : 0));
	/* "verify": 32 bits, zero when the certificate was good. */
	put_number(w, 0);
	put_number(w, facts->tls_verified ? 0 : 1);
	put_tlv(w, PROXY_PROTOCOL_TYPE_SSL_VERSION, facts->tls_version);
	put_tlv(w, PROXY_PROTOCOL_TYPE_SSL_CN, facts->tls_cn);
	put_tlv(w, PROXY_PROTOCOL_TYPE_SSL_CIPHER, facts->tls_cipher);
	set_length(w, at);
}

static void put_facts(struct writer *w, const struct proxy_protocol_facts *facts)
{
	if (facts->unique_id.n > PROXY_PROTOCOL_UNIQUE_ID_MAX)
		w->full = true;
	put_tlv(w, PROXY_PROTOCOL_TYPE_ALPN, facts->alpn);
	put_tlv(w, PROXY_PROTOCOL_TYPE_AUTHORITY, facts->authority);
	put_tlv(w, PROXY_PROTOCOL_TYPE_UNIQUE_ID, facts->unique_id);
	if (facts->tls)
		put_tls(w, facts);
}

static void put_addresses(struct writer *w, const struct netaddr *source,
                          const struct netaddr *destination, int family)
{
	unsigned char bytes[16];
	size_t n = address_bytes(source, family, bytes);

	put(w, bytes, n);
	n = address_bytes(destination, family, bytes);
	put(w, bytes, n);
	put_number(w, netaddr_port(source));
	put_number(w, netaddr_port(destination));
}

size_t proxy_protocol_write_v2(char *to, size_t size, const struct netaddr *source,
                               const struct netaddr *destination,
                               const struct proxy_protocol_facts *facts)
{
	struct writer w = { .to = to, .size = size };
	int family = source != NULL ? common_family(source, destination) : AF_UNSPEC;
	unsigned code = family == AF_INET ? FAMILY_INET : FAMILY_INET6;

	if (source != NULL && family == AF_UNSPEC)
		return 0;
	put(&w, V2_SIGNATURE, sizeof(V2_SIGNATURE) - 1);
	put_byte(&w, 2u << 4 | (source != NULL ? COMMAND_PROXY : COMMAND_LOCAL));
	put_byte(&w, source != NULL ? code << 4 | TRANSPORT_STREAM : 0);
	put_number(&w, 0);
	if (source != NULL)
		put_addresses(&w, source, destination, family);
	if (facts != NULL)
		put_facts(&w, facts);
	set_length(&w, V2_HEAD);
	return w.full ? 0 : w.n;
}

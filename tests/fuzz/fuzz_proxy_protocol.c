// SPDX-License-Identifier: ISC
/*
 * The PROXY protocol: cutting the input anywhere gives the same result, and what
 * is read is written and read as the same, facts included.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_address(const struct netaddr *a, const struct netaddr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool same_header(const struct proxy_protocol_header *a,
                        const struct proxy_protocol_header *b)
{
	return a->kind == b->kind && a->version == b->version && span_eq(a->tlvs, b->tlvs) &&
	       same_address(&a->source, &b->source) &&
	       same_address(&a->destination, &b->destination);
}

/* A copy of exactly these bytes, so that the sanitizer sees a read beyond. */
static enum proxy_protocol_result parse_exactly(struct span in, size_t n, size_t *length,
                                                struct proxy_protocol_header *out)
{
	char *copy = malloc(n > 0 ? n : 1);

	SP_ASSERT(copy != NULL);
	if (n > 0)
		memcpy(copy, in.p, n);

	enum proxy_protocol_result result = proxy_protocol_parse(span_from(copy, n), length, out);

	if (result == PROXY_PROTOCOL_OK && out->tlvs.p != NULL)
		out->tlvs.p = in.p + (out->tlvs.p - copy);
	free(copy);
	return result;
}

static void check_cuts(struct span in, enum proxy_protocol_result whole, size_t whole_length,
                       const struct proxy_protocol_header *header)
{
	bool bad = false;

	for (size_t n = 0; n < in.n && n <= PROXY_PROTOCOL_MAX + 1; n++) {
		struct proxy_protocol_header part;
		size_t length;
		enum proxy_protocol_result result = parse_exactly(in, n, &length, &part);

		if (whole == PROXY_PROTOCOL_OK && n >= whole_length) {
			SP_ASSERT(result == PROXY_PROTOCOL_OK && length == whole_length);
			SP_ASSERT(same_header(header, &part));
			return; /* longer ones see the same bytes */
		}
		SP_ASSERT(result != PROXY_PROTOCOL_OK);
		if (result == PROXY_PROTOCOL_MORE)
			SP_ASSERT(!bad && length > n &&
			          (whole == PROXY_PROTOCOL_BAD || length <= whole_length));
		if (result == PROXY_PROTOCOL_BAD)
			SP_ASSERT(whole == PROXY_PROTOCOL_BAD && length == 0);
		bad = result == PROXY_PROTOCOL_BAD;
	}
}

static struct proxy_protocol_facts facts_of(struct span tlvs)
{
	struct proxy_protocol_facts facts = { .tls = false };
	struct span value;
	int type;

	while ((type = proxy_protocol_next_tlv(&tlvs, &value)) != -1) {
		if (type == PROXY_PROTOCOL_TYPE_ALPN)
			facts.alpn = value;
		else if (type == PROXY_PROTOCOL_TYPE_AUTHORITY)
			facts.authority = value;
		else if (type == PROXY_PROTOCOL_TYPE_UNIQUE_ID)
			facts.unique_id = value;
		else if (type == PROXY_PROTOCOL_TYPE_SSL_VERSION)
			facts.tls_version = value;
		else if (type == PROXY_PROTOCOL_TYPE_SSL_CN)
			facts.tls_cn = value;
		else if (type == PROXY_PROTOCOL_TYPE_SSL_CIPHER)
			facts.tls_cipher = value;
		if (type == PROXY_PROTOCOL_TYPE_SSL && value.n >= PROXY_PROTOCOL_SSL_HEAD) {
			facts.tls = true;
			facts.tls_verified = value.p[4] == 0;
			/* its parts come next */
			tlvs = span_from(value.p + PROXY_PROTOCOL_SSL_HEAD,
			                 value.n - PROXY_PROTOCOL_SSL_HEAD);
		}
	}
	return facts;
}

static void check_facts(const struct proxy_protocol_facts *a, const struct proxy_protocol_facts *b)
{
	SP_ASSERT(span_eq(a->alpn, b->alpn) && span_eq(a->authority, b->authority));
	SP_ASSERT(span_eq(a->unique_id, b->unique_id) && a->tls == b->tls);
	if (!a->tls)
		return;
	SP_ASSERT(span_eq(a->tls_version, b->tls_version) && span_eq(a->tls_cn, b->tls_cn));
	SP_ASSERT(span_eq(a->tls_cipher, b->tls_cipher) && a->tls_verified == b->tls_verified);
}

static void check_v1(const struct proxy_protocol_header *header)
{
	char text[PROXY_PROTOCOL_V1_MAX];
	struct proxy_protocol_header again;
	size_t length;
	size_t n =
	    proxy_protocol_write_v1(text, sizeof(text), &header->source, &header->destination);

	SP_ASSERT(n > 0);
	SP_ASSERT(proxy_protocol_parse(span_from(text, n), &length, &again) == PROXY_PROTOCOL_OK);
	SP_ASSERT(length == n && again.kind == PROXY_PROTOCOL_PROXIED && again.version == 1);
	SP_ASSERT(same_address(&again.source, &header->source));
	SP_ASSERT(same_address(&again.destination, &header->destination));
	SP_ASSERT(proxy_protocol_write_v1(text, n - 1, &header->source, &header->destination) == 0);
}

static void check_v2(const struct proxy_protocol_header *header)
{
	static char text[PROXY_PROTOCOL_MAX + 64];
	struct proxy_protocol_facts facts = facts_of(header->tlvs), facts_again;
	struct proxy_protocol_header again;
	size_t length;
	size_t n = proxy_protocol_write_v2(text, sizeof(text), &header->source,
	                                   &header->destination, &facts);

	if (facts.unique_id.n > PROXY_PROTOCOL_UNIQUE_ID_MAX) {
		SP_ASSERT(n == 0);
		return;
	}
	SP_ASSERT(n > 0);
	/* An IPv4-mapped address gets longer beside an IPv6 one: over the limit, perhaps. */
	if (n > PROXY_PROTOCOL_MAX)
		return;
	SP_ASSERT(proxy_protocol_parse(span_from(text, n), &length, &again) == PROXY_PROTOCOL_OK);
	SP_ASSERT(length == n && again.kind == PROXY_PROTOCOL_PROXIED && again.version == 2);
	SP_ASSERT(same_address(&again.source, &header->source));
	SP_ASSERT(same_address(&again.destination, &header->destination));
	facts_again = facts_of(again.tlvs);
	check_facts(&facts, &facts_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_from((const char *)data, size);
	struct proxy_protocol_header header;
	size_t length;
	enum proxy_protocol_result result = parse_exactly(in, in.n, &length, &header);

	if (result == PROXY_PROTOCOL_OK)
		SP_ASSERT(length <= in.n && length <= PROXY_PROTOCOL_MAX);
	check_cuts(in, result, length, &header);
	if (result != PROXY_PROTOCOL_OK)
		return 0;
	if (header.kind != PROXY_PROTOCOL_PROXIED) {
		SP_ASSERT(header.source.family == AF_UNSPEC &&
		          header.destination.family == AF_UNSPEC);
		return 0;
	}
	check_v1(&header);
	check_v2(&header);
	return 0;
}

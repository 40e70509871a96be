// SPDX-License-Identifier: ISC
/*
 * The PROXY protocol, versions 1 and 2 (doc/proxy-protocol.txt of HAProxy): what
 * a balancer says, in front of everything else, of whom a connection comes
 * from. Reading and writing it; pure, any thread.
 *
 * Who may say so is not decided here: a header from a peer that is not trusted
 * is a forged address.
 */
#ifndef SALLYPORT_PROXY_PROTOCOL_H
#define SALLYPORT_PROXY_PROTOCOL_H

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/span.h"

#define PROXY_PROTOCOL_V1_MAX 107  /* of the specification, with CRLF */
#define PROXY_PROTOCOL_MAX    4096 /* ours, for version 2; the wire could say 65,551 */

enum proxy_protocol_kind {
	PROXY_PROTOCOL_PROXIED, /* for a client whose addresses are known */
	PROXY_PROTOCOL_UNKNOWN, /* for a client whose addresses are not known, or not TCP's */
	PROXY_PROTOCOL_LOCAL,	/* the balancer's own connection, e.g. a health check */
};

struct proxy_protocol_header {
	enum proxy_protocol_kind kind;
	int version; /* 1 or 2 */
	/* AF_UNSPEC unless PROXIED. IPv4-mapped addresses are given as IPv4 ones. */
	struct netaddr source;	    /* the client */
	struct netaddr destination; /* where it connected to */
	struct span tlvs;	    /* version 2: borrowed from the input; not checked yet */
};

enum proxy_protocol_result {
	PROXY_PROTOCOL_OK,
	PROXY_PROTOCOL_MORE,
	PROXY_PROTOCOL_BAD,
};

/*
 * Reads the header at the beginning of `in`; the same bytes, cut anywhere and
 * given again with more, give the same result.
 *
 * OK: fills *out, *length is the header's; what follows belongs to the
 * connection. MORE: the header has at least *length bytes in all (more than
 * were given), so reading up to there never takes a byte of what follows. BAD:
 * it is no header, or over the limits; *length is 0. *out is set only when OK.
 */
SP_MUSTCHECK enum proxy_protocol_result
proxy_protocol_parse(struct span in, size_t *length, struct proxy_protocol_header *out);

/* The types of the specification that we know of. */
enum proxy_protocol_type {
	PROXY_PROTOCOL_TYPE_ALPN = 0x01,
	PROXY_PROTOCOL_TYPE_AUTHORITY = 0x02,
	PROXY_PROTOCOL_TYPE_UNIQUE_ID = 0x05,
	PROXY_PROTOCOL_TYPE_SSL = 0x20,
	/* Within SSL, behind its first 5 bytes: */
	PROXY_PROTOCOL_TYPE_SSL_VERSION = 0x21,
	PROXY_PROTOCOL_TYPE_SSL_CN = 0x22,
	PROXY_PROTOCOL_TYPE_SSL_CIPHER = 0x23,
};

#define PROXY_PROTOCOL_SSL_HEAD	     5
#define PROXY_PROTOCOL_UNIQUE_ID_MAX 128

/* Takes the next TLV from *tlvs: its type, its bytes in *value. -1: what is left is none. */
int proxy_protocol_next_tlv(struct span *tlvs, struct span *value);

/* What version 2 can say beside the addresses; all zero: nothing. */
struct proxy_protocol_facts {
	struct span alpn;
	struct span authority; /* SNI or HOST */
	struct span unique_id; /* at most PROXY_PROTOCOL_UNIQUE_ID_MAX bytes */
	bool tls;	       /* the client's connection is under TLS; then: */
	struct span tls_version;
	struct span tls_cipher;
	struct span tls_cn; /* of the client's certificate; empty: it gave none */
	bool tls_verified;  /* the certificate was good */
};

/*
 * Writes a header into to[size]. `source` NULL: the connection is our own
 * (version 1: UNKNOWN, version 2: LOCAL). An IPv4 address beside an IPv6 one is
 * written as an IPv4-mapped one. `facts` may be NULL. The length, or 0 when it
 * does not fit or cannot be said (an address of no family, a unique id or a
 * whole that is too long).
 */
size_t proxy_protocol_write_v1(char *to, size_t size, const struct netaddr *source,
			       const struct netaddr *destination);
size_t proxy_protocol_write_v2(char *to, size_t size, const struct netaddr *source,
			       const struct netaddr *destination,
			       const struct proxy_protocol_facts *facts);

#endif

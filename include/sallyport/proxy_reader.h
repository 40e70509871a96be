// SPDX-License-Identifier: ISC
/*
 * Taking the PROXY protocol's header off a connection that has just been
 * accepted, in whatever pieces it comes, and not one byte of what follows: that
 * may be the client's TLS handshake.
 */
#ifndef SALLYPORT_PROXY_READER_H
#define SALLYPORT_PROXY_READER_H

#include "sallyport/base.h"
#include "sallyport/proxy_protocol.h"
#include "sallyport/stream.h"

/* The bytes so far. Zero is a valid start; holds no memory before the first byte. */
struct proxy_reader {
	char *bytes; /* PROXY_PROTOCOL_MAX */
	size_t n;
};

/*
 * Reads from an open stream in clear what is there of the header. 0: it is
 * whole and *out is set (out->tlvs borrows from the reader). -EAGAIN: watch for
 * STREAM_READ and call again. -EPROTO: it is no header. -ENODATA: the peer
 * ended before its end. -ENOMEM or another -errno. Worker.
 */
SP_MUSTCHECK int proxy_reader_take(struct proxy_reader *reader, struct stream *stream,
				   struct proxy_protocol_header *out);

/* Releases what it holds; the reader is zero afterwards. */
void proxy_reader_fini(struct proxy_reader *reader);

#endif

// SPDX-License-Identifier: ISC
/*
 * The ClientHello of a connection that is nobody's yet: whose TLS session does
 * it resume? Answers are names for the registry of pooled ports. Nothing of a
 * handshake is begun: the bytes stay where they are, for the session's own.
 */
#ifndef SALLYPORT_TLS_HELLO_H
#define SALLYPORT_TLS_HELLO_H

#include "sallyport/port_registry.h"
#include "sallyport/ticket_ring.h"
#include "sallyport/tls.h"

/* No ClientHello that somebody means is as long. */
#define TLS_HELLO_MAX 16384

struct tls_hello_reader;

/* Opens tickets with the keys of `ring` (borrowed, to outlive it). NULL: no memory. Then any thread may use it. */
SP_MUSTCHECK struct tls_hello_reader *tls_hello_reader_new(struct ticket_ring *ring);
void tls_hello_reader_free(struct tls_hello_reader **reader);

/*
 * `bytes`: the first n of a connection, from its beginning. 0: *out is the name
 * that its ClientHello says, or of kind PORT_NAME_NONE; > n: so many bytes are
 * needed (at most TLS_HELLO_MAX); -EPROTO: it is none; -ENOMEM.
 */
SP_MUSTCHECK int tls_hello_read(const struct tls_hello_reader *reader, const void *bytes, size_t n,
				struct port_name *out);

/* What data connections of a control connection may say. How many. */
size_t tls_hello_names(const struct tls_memory *control, struct port_name out[PORT_NAMES_MAX]);
/* What this one has said; of kind PORT_NAME_NONE if it has resumed nothing. */
struct port_name tls_hello_said(const struct stream *data);

#endif

// SPDX-License-Identifier: ISC
/*
 * How a transfer can end, and what the client must then be told. One pure
 * table, tested row by row.
 */
#ifndef SALLYPORT_TRANSFER_H
#define SALLYPORT_TRANSFER_H

#include "sallyport/base.h"

enum transfer_direction { TRANSFER_DOWN /* server to client */, TRANSFER_UP /* client to server */ };

/* How the moving of the data ended. */
enum data_end {
	DATA_NEVER_STARTED,    /* no byte could be moved: not both data connections came about */
	DATA_COMPLETE,	       /* orderly end of the source, every byte delivered */
	DATA_SOURCE_FAILED,    /* the sending side broke off (RST, TLS without close_notify) */
	DATA_SINK_FAILED,      /* the receiving side broke off */
	DATA_STALLED,	       /* stall_timeout */
	DATA_ABORTED,	       /* ABOR, or the end of the session */
	DATA_CLIENT_NO_SHOW,   /* the client did not open its data connection in time, or could not be reached */
	DATA_SERVER_NO_SHOW,   /* the server did not open its data connection, or could not be reached */
	DATA_LOCAL_ERROR,      /* no descriptor, no memory here */
	DATA_TLS_CLIENT,       /* the handshake on the client's data connection failed */
	DATA_TLS_SERVER,       /* the handshake on the server's data connection failed */
	DATA_TLS_FOREIGN,      /* it succeeded, but not with the client of the control connection */
};

struct transfer_outcome {
	enum transfer_direction direction;
	enum data_end data;
	bool client_told; /* the client has seen a 1yz */
	int server_code;  /* the server's final reply; 0: none came (timeout or lost) */
};

struct transfer_reply {
	bool from_server; /* pass the server's own final reply on */
	int code;	  /* otherwise this one */
	const char *text; /* static */
	bool ok;	  /* counts as a completed transfer */
};

/*
 * The client's final reply. The rule: a 4yz or 5yz of the server is the truth
 * and is passed on; a 2yz is passed on only when the data are DATA_COMPLETE (a
 * truncated file must never look complete); otherwise 425 when no data
 * connection came about (522 when that was a TLS handshake with the client: RFC
 * 4217 section 10.2), 426 when one broke, 451 when the server never said.
 * Whether the client has seen a 1yz changes nothing: each of these may come
 * before or after one.
 */
struct transfer_reply transfer_reply_for(const struct transfer_outcome *outcome);

const char *data_end_name(enum data_end end);

#endif

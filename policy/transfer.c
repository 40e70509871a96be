// SPDX-License-Identifier: ISC
/*
 * How a transfer ends, in one table: (direction, end of the data) to what the
 * client is told when the server's own final reply may not be passed on.
 */
#include "sallyport/transfer.h"

struct ending {
	const char *name; /* for logs */
	int code;         /* 0: the server's own reply tells it */
	const char *down; /* texts for the client, by direction */
	const char *up;
};

// clang-format off
/* The timeouts are named as the configuration names them. */
static const struct ending endings[] = {
	[DATA_NEVER_STARTED] = {
		"never_started", 425,
		"No data connection came about; nothing was sent.",
		"No data connection came about; nothing was stored.",
	},
	[DATA_COMPLETE] = { "complete", 0, NULL, NULL },
	[DATA_SOURCE_FAILED] = {
		"source_failed", 426,
		"The server broke off the data connection; the file is incomplete.",
		"Your data connection broke off; the file is incomplete.",
	},
	[DATA_SINK_FAILED] = {
		"sink_failed", 426,
		"Your data connection was closed; transfer aborted.",
		"The server closed the data connection; transfer aborted.",
	},
	[DATA_STALLED] = {
		"stalled", 426,
		"No data moved for the stall_timeout; transfer aborted.",
		"No data moved for the stall_timeout; transfer aborted.",
	},
	[DATA_ABORTED] = {
		"aborted", 426,
		"Transfer aborted; data connection closed.",
		"Transfer aborted; data connection closed.",
	},
	[DATA_CLIENT_NO_SHOW] = {
		"client_no_show", 425,
		"No data connection from you in time, or your address cannot be reached.",
		"No data connection from you in time, or your address cannot be reached.",
	},
	[DATA_SERVER_NO_SHOW] = {
		"server_no_show", 425,
		"No data connection with the server in time.",
		"No data connection with the server in time.",
	},
	[DATA_LOCAL_ERROR] = {
		"local_error", 425,
		"Cannot open a data connection: out of resources here; try again later.",
		"Cannot open a data connection: out of resources here; try again later.",
	},
	/* RFC 4217 section 10.2 */
	[DATA_TLS_CLIENT] = {
		"tls_client", 522,
		"TLS negotiation failed on your data connection.",
		"TLS negotiation failed on your data connection.",
	},
	[DATA_TLS_SERVER] = {
		"tls_server", 425,
		"TLS negotiation failed on the server's data connection.",
		"TLS negotiation failed on the server's data connection.",
	},
	[DATA_TLS_FOREIGN] = {
		"tls_foreign", 522,
		"That data connection is not yours: it must resume the TLS session of this one.",
		"That data connection is not yours: it must resume the TLS session of this one.",
	},
};
// clang-format on

#define CODE_NO_FINAL_REPLY 451

struct transfer_reply transfer_reply_for(const struct transfer_outcome *outcome)
{
	const struct ending *e = &endings[outcome->data];
	int server = outcome->server_code;

	if (server >= 400 && server < 600)
		return (struct transfer_reply){ .from_server = true };
	if (outcome->data != DATA_COMPLETE)
		return (struct transfer_reply){
			.code = e->code,
			.text = outcome->direction == TRANSFER_DOWN ? e->down : e->up,
		};
	if (server >= 200 && server < 300)
		return (struct transfer_reply){ .from_server = true, .ok = true };
	return (struct transfer_reply){
		.code = CODE_NO_FINAL_REPLY,
		.text = server == 0
		            ? "All data moved, but the server never said whether it is well."
		            : "All data moved, but the server's answer says nothing of it.",
	};
}

const char *data_end_name(enum data_end end)
{
	SP_ASSERT((size_t)end < SP_ARRAY_LEN(endings));
	return endings[end].name;
}

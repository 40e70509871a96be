// SPDX-License-Identifier: ISC
/*
 * Why a session ended: the rows of tbl/end_reasons.def.
 */
#ifndef SALLYPORT_END_REASON_H
#define SALLYPORT_END_REASON_H

#include "sallyport/base.h"

enum end_reason {
#define END_REASON(id, name, is_error, code, text) END_##id,
#include "sallyport/tbl/end_reasons.def"
#undef END_REASON
	END_REASON_COUNT,
};

struct end_reason_row {
	const char *name;
	bool is_error;
	int code; /* of the last words to the client; 0: none */
	const char *text;
};

const struct end_reason_row *end_reason_row(enum end_reason reason);

#endif

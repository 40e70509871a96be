// SPDX-License-Identifier: ISC
/*
 * The ledger's kinds by name, and the assertion at a session's grave.
 */
#include "sallyport/ledger.h"

struct kind_row {
	const char *text;
	const char *none_left; /* what is asserted of it */
	bool is_fd;
};

static const struct kind_row kinds[] = {
#define LEDGER(id, text, is_fd) [LEDGER_##id] = { text, "the session left no " text, is_fd },
#include "sallyport/tbl/ledger.def"
#undef LEDGER
	[LEDGER_KINDS] = { "descriptor of the process", NULL, true },
};

const char *ledger_kind_name(enum ledger_kind kind)
{
	SP_ASSERT(kind <= LEDGER_KINDS);
	return kinds[kind].text;
}

bool ledger_kind_is_fd(enum ledger_kind kind)
{
	SP_ASSERT(kind <= LEDGER_KINDS);
	return kinds[kind].is_fd;
}

void ledger_assert_empty(const struct ledger *ledger)
{
	for (int kind = 0; kind < LEDGER_KINDS; kind++) {
		if (ledger_get(ledger, (enum ledger_kind)kind) != 0)
			sp_assert_failed(kinds[kind].none_left, __FILE__, __LINE__);
	}
}

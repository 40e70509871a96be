// SPDX-License-Identifier: ISC
/*
 * The ledger: what one session holds, counted by kind. The owner's worker is
 * its only writer; others read it in the session table's records. Sums shown
 * to an operator are made from these, never kept beside them.
 */
#ifndef SALLYPORT_LEDGER_H
#define SALLYPORT_LEDGER_H

#include <stdatomic.h>

#include "sallyport/base.h"

enum ledger_kind {
#define LEDGER(id, text, is_fd) LEDGER_##id,
#include "sallyport/tbl/ledger.def"
#undef LEDGER
	LEDGER_KINDS,
};

struct ledger {
	_Atomic uint16_t count[LEDGER_KINDS];
};

/* LEDGER_KINDS: "descriptor of the process". */
const char *ledger_kind_name(enum ledger_kind kind);
bool ledger_kind_is_fd(enum ledger_kind kind);

/* Owner's thread only. ledger_sub asserts that something was there. */
static inline void ledger_add(struct ledger *ledger, enum ledger_kind kind)
{
	uint16_t old = atomic_load_explicit(&ledger->count[kind], memory_order_relaxed);

	SP_ASSERT(old < UINT16_MAX);
	atomic_store_explicit(&ledger->count[kind], (uint16_t)(old + 1), memory_order_relaxed);
}

static inline void ledger_sub(struct ledger *ledger, enum ledger_kind kind)
{
	uint16_t old = atomic_load_explicit(&ledger->count[kind], memory_order_relaxed);

	SP_ASSERT(old > 0);
	atomic_store_explicit(&ledger->count[kind], (uint16_t)(old - 1), memory_order_relaxed);
}

static inline unsigned ledger_get(const struct ledger *ledger, enum ledger_kind kind)
{
	return atomic_load_explicit(&ledger->count[kind], memory_order_relaxed);
}

/* Asserts that every kind is zero: nothing leaks with the session. */
void ledger_assert_empty(const struct ledger *ledger);

#endif

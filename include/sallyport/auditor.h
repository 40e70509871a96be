// SPDX-License-Identifier: ISC
/*
 * The auditor: compares what the kernel says is open (/proc/self/fd), who noted
 * it (fd_registry.h), the session table with its ledgers, and the pools'
 * ledgers, and names what has no owner: orphans. It only looks; it ends and
 * closes nothing.
 *
 * One pass reads each of them once, by value, never holding a lock over a
 * system call. Since the world moves meanwhile, a pass yields suspicions; an
 * audit repeats passes AUDIT_GAP_MS apart until each suspicion has either gone
 * or been seen often enough (tbl/findings.def) to be a finding.
 *
 * The process' own descriptors are those that are noted without a session, and
 * those that were open when the auditor was made.
 */
#ifndef SALLYPORT_AUDITOR_H
#define SALLYPORT_AUDITOR_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/ledger.h"
#include "sallyport/metrics.h"
#include "sallyport/session_id.h"

#define AUDIT_PERIOD_MS	   60000
#define AUDIT_GAP_MS	   120
/* 24 of them outlast the farewells (close_timeout), which hold a slot until the server has closed. */
#define AUDIT_PASSES_MAX   26
#define AUDIT_FINDINGS_MAX 256 /* kept by name; more are counted */

enum finding_kind {
#define FINDING(id, name, passes, what) FINDING_##id,
#include "sallyport/tbl/findings.def"
#undef FINDING
	FINDING_KINDS,
};

const char *finding_name(enum finding_kind kind);
const char *finding_what(enum finding_kind kind);

/* A value. */
struct finding {
	enum finding_kind kind;
	struct session_id id; /* SESSION_ID_NONE: no session */
	int fd;		      /* -1: not about one descriptor */
	int64_t seen_ms;      /* sp_now_ms() when it was first suspected */
	char where[64];	      /* where it was made: "proxy/net/connect.c:120"; "": not known */
	char what[256];	      /* in words: which descriptor, whose, since when */
};

/* Both sides of the books, of the last pass: by kind of descriptor, and of slots. */
struct audit_sums {
	uint64_t open;			 /* descriptors of the process */
	uint64_t noted;			 /* of these, noted */
	uint64_t ledgers[LEDGER_KINDS];	 /* sessions' and farewells' ledgers */
	uint64_t notes[LEDGER_KINDS];	 /* descriptors noted for a session */
	uint64_t slots_held;		 /* sessions that hold a slot */
	uint64_t slots_given;		 /* sessions by the pools' ledgers */
	uint64_t ports_reserved;	 /* pooled ports by their registry */
};

struct auditor;

/*
 * Made by main when everything of the process' own is open. `sources` is
 * copied (its `auditor` is not used). With a base it audits every `period_ms`;
 * base NULL: only when auditor_pass() is called. NULL: no memory. Main's thread,
 * like all of the following.
 */
SP_MUSTCHECK struct auditor *auditor_new(struct event_base *base, const struct ops_sources *sources,
					 int64_t period_ms);
void auditor_free(struct auditor **auditor);

/*
 * Asks for an audit now. Returns the number that auditor_audits() will have
 * reached when an audit that began after this call is complete.
 */
uint64_t auditor_request(struct auditor *auditor);
/* Audits completed. */
uint64_t auditor_audits(const struct auditor *auditor);

/*
 * One pass. True: another one is wanted AUDIT_GAP_MS later; false: the audit is
 * complete. New findings have been emitted as ORPHAN events then. With a base
 * this is called by its timer.
 */
bool auditor_pass(struct auditor *auditor) SP_EXCLUDES(sp_any_shard);

/* Copies findings of the last complete audit from number `from` on; returns how many. */
size_t auditor_findings(const struct auditor *auditor, size_t from, struct finding out[], size_t n);

struct auditor_stats {
	uint64_t audits;
	uint64_t failed;	/* passes that could not be made: no memory, no /proc */
	size_t findings;	/* of the last complete audit, all of them */
	size_t by_kind[FINDING_KINDS];
	uint64_t ever;		/* different findings since the start */
	int64_t last_ms;	/* sp_now_ms() of the last complete audit; 0: none yet */
	struct audit_sums sums;
};
void auditor_stats(const struct auditor *auditor, struct auditor_stats *out);

#endif

// SPDX-License-Identifier: ISC
/*
 * One look of the auditor: reads /proc/self/fd, the descriptor registry, the
 * session table and the pools' ledgers once, and lists what does not fit
 * together at that moment. What a moment's disagreement is worth is decided in
 * auditor.c, which looks again. Main's thread.
 */
#ifndef SALLYPORT_AUDIT_SCAN_H
#define SALLYPORT_AUDIT_SCAN_H

#include "sallyport/auditor.h"
#include "sallyport/base.h"
#include "sallyport/metrics.h"
#include "sallyport/session_id.h"

/* Something that does not fit. What tells it from others is kind, id, fd, stamp and amount. */
struct suspicion {
	enum finding_kind kind;
	struct session_id id;
	/* Descriptor; kind (LEDGER, SUM); pool * POOL_SERVERS_MAX + server (SLOTS); or -1. */
	int fd;
	uint64_t stamp;	   /* moves with the session's activity, which ends a streak (LEDGER) */
	int64_t amount;	   /* which way, or by how much, two sides differ */
	int64_t left;	   /* the two sides, for people */
	int64_t right;
	const char *where; /* static; NULL: not known */
	int64_t first_ms;  /* the rest is auditor.c's */
	unsigned streak;
	bool told;
};

struct suspicion_list {
	struct suspicion *v;
	size_t n;
	size_t size;
};

/* The process' own descriptors that nobody noted, as they were at the start. */
struct audit_baseline {
	struct audit_known_fd *v;
	size_t n;
};

struct audit_known_fd {
	int fd;
	char link[64]; /* of /proc/self/fd: "socket:[12345]" */
};

/* What is open now and not noted. 0, -ENOMEM, or -errno of /proc. */
SP_MUSTCHECK int audit_baseline_take(struct audit_baseline *baseline);
void audit_baseline_fini(struct audit_baseline *baseline);

/* Fills *out (emptied first) and *sums. 0, -ENOMEM, or -errno of /proc; then *out is of no use. */
SP_MUSTCHECK int audit_scan(const struct ops_sources *sources,
			    const struct audit_baseline *baseline, struct suspicion_list *out,
			    struct audit_sums *sums) SP_EXCLUDES(sp_any_shard);
void suspicion_list_fini(struct suspicion_list *list);

/* Says it in words, as far as it is still there to look at. */
void audit_describe(const struct ops_sources *sources, const struct suspicion *s,
		    struct finding *out) SP_EXCLUDES(sp_any_shard);

/* close_timeout of the policies in force (the longest), or its default. */
int64_t audit_close_timeout(const struct ops_sources *sources);

#endif

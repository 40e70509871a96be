// SPDX-License-Identifier: ISC
/*
 * Who opened which descriptor, and where: an array by descriptor number, so
 * that the auditor can compare it with /proc/self/fd and name what has no
 * owner. Every descriptor of a session is noted when it is made and forgotten
 * just before it is closed. Lock-free; any thread.
 */
#ifndef SALLYPORT_FD_REGISTRY_H
#define SALLYPORT_FD_REGISTRY_H

#include "sallyport/ledger.h"
#include "sallyport/session_id.h"

struct fd_note {
	struct session_id owner;   /* SESSION_ID_NONE: the process itself */
	enum ledger_kind kind;	   /* LEDGER_KINDS: of the process' own, none of the ledger's kinds */
	const char *where;	   /* static: "file:line" of the maker */
};

/* Room for descriptors 0..max-1; those beyond are not noted. 0 or -ENOMEM. Once, from main. */
SP_MUSTCHECK int fd_registry_init(size_t max);
void fd_registry_fini(void);

#define SP_STRING2(x) #x
#define SP_STRING(x)  SP_STRING2(x)
#define SP_HERE	      __FILE__ ":" SP_STRING(__LINE__)

/* `where` is static: SP_HERE. A note that is still there is replaced. */
void fd_registry_note(int fd, struct session_id owner, enum ledger_kind kind, const char *where);
/* Before close(): behind it the number may be another thread's. */
void fd_registry_forget(int fd);
/* False when nothing is noted for it. The note is one that was true during the call. */
bool fd_registry_get(int fd, struct fd_note *out);

#endif

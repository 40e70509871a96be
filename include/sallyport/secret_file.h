// SPDX-License-Identifier: ISC
/*
 * Files with secrets in them: private keys, ticket keys, credentials. They are
 * read whole into memory that is wiped. Where the process has given up root and
 * may not open one, the keeper does it (secret_keeper.h). Main thread.
 */
#ifndef SALLYPORT_SECRET_FILE_H
#define SALLYPORT_SECRET_FILE_H

#include "sallyport/base.h"

#define SECRET_FILE_MAX	      (1024 * 1024) /* bytes */
#define SECRET_FILE_ERROR_MAX 192

/* Its bytes, with a NUL behind them that does not count. */
struct secret {
	char *p;
	size_t n;
};

enum secret_rules {
	SECRET_ANY_MODE,
	SECRET_OURS_ALONE, /* group and others may do nothing with it (0600 or less) */
};

/* False: `error` says why, without naming the file. */
SP_MUSTCHECK bool secret_file_read(const char *path, enum secret_rules rules, struct secret *out,
				   char error[SECRET_FILE_ERROR_MAX]);
/* Wipes and frees. */
void secret_free(struct secret *secret);

/* Whether users who are neither its owner nor of its group can read the file; false when it cannot be told. */
bool secret_file_is_open_to_all(const char *path);

#endif

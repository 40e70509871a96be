// SPDX-License-Identifier: ISC
/*
 * Reading a credentials file (credentials.h). Such a file holds passwords: it
 * must be of mode 0600 or less.
 */
#ifndef SALLYPORT_CONFIG_CREDENTIALS_H
#define SALLYPORT_CONFIG_CREDENTIALS_H

#include "sallyport/base.h"
#include "sallyport/credentials.h"

#define CREDENTIALS_ERROR_MAX 320

/* NULL: `error` names the file and the line, says what is wrong, and shows no byte of a secret. Main. */
SP_MUSTCHECK struct credentials *credentials_load(const char *path, char error[CREDENTIALS_ERROR_MAX]);
/* Wipes what it holds. */
void credentials_free(struct credentials **credentials);

#endif

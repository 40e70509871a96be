// SPDX-License-Identifier: ISC
/*
 * Giving up root: the process becomes the user of the configuration, keeps the
 * one capability that it needs for ports below 1024, and leaves behind a keeper
 * for its secrets (secret_keeper.h).
 */
#ifndef SALLYPORT_RUNTIME_USER_H
#define SALLYPORT_RUNTIME_USER_H

#include "sallyport/config.h"

#define RUNTIME_USER_ERROR_MAX 160

/* Before any other thread is made. Nothing happens without `user`. False: `error` says why. */
SP_MUSTCHECK bool runtime_user_become(const struct config *config, char error[RUNTIME_USER_ERROR_MAX]);

#endif

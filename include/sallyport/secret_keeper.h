// SPDX-License-Identifier: ISC
/*
 * The keeper of secrets: a process of ours that stays root while the rest of us
 * becomes somebody else (`user`). It opens, for reading, the files that it was
 * told of at the start and no others, hands over descriptors, and ends with us.
 * So a private key may be readable by root alone and still be renewed under a
 * process that is not root. Main thread.
 */
#ifndef SALLYPORT_SECRET_KEEPER_H
#define SALLYPORT_SECRET_KEEPER_H

#include "sallyport/base.h"

/*
 * Forks the keeper for these files (copied). To be called while we are root,
 * with no other thread in the process. 0 or -errno.
 */
SP_MUSTCHECK int secret_keeper_start(const char *const paths[], size_t n);

/* Ends it and waits for it. Nothing happens when there is none. */
void secret_keeper_stop(void);

/* A descriptor, or -errno: -EACCES when there is no keeper, or the file is none of its files. */
SP_MUSTCHECK int secret_keeper_open(const char *path);

#endif

// SPDX-License-Identifier: ISC
/*
 * What the files of the admin socket's commands share: admin_commands.c (the
 * table, and most of them), admin_pools.c (those about pools).
 */
#ifndef SALLYPORT_ADMIN_PRIVATE_H
#define SALLYPORT_ADMIN_PRIVATE_H

#include "sallyport/admin_commands.h"

/* Answers with an error; the job is done. */
enum admin_step admin_refuse(struct admin_job *job, const char *text);
/* True the first time: the report begins. */
bool admin_begin(struct admin_job *job);
enum admin_step admin_finish(struct admin_job *job);

enum admin_step admin_step_pools(struct admin_job *job, const struct ops_sources *sources);
enum admin_step admin_step_order(struct admin_job *job, const struct ops_sources *sources);

#endif

// SPDX-License-Identifier: ISC
/*
 * The file of ticket keys that several nodes share. One key a line, 160 hex
 * digits: 16 bytes of name, 32 of HMAC key, 32 of AES key. The first encrypts,
 * all decrypt; "#" begins a comment. It must be of mode 0600 or less.
 */
#ifndef SALLYPORT_CONFIG_TICKETS_H
#define SALLYPORT_CONFIG_TICKETS_H

#include "sallyport/base.h"
#include "sallyport/span.h"
#include "sallyport/ticket_ring.h"

#define TICKETS_ERROR_MAX 320

/* Wipe it with config_tickets_free(). NULL: `error` names file and line and shows nothing of a key. */
SP_MUSTCHECK struct ticket_keys *config_tickets_load(const char *path, char error[TICKETS_ERROR_MAX]);
void config_tickets_free(struct ticket_keys **keys);

/* The text of such a file. False: `error` says which line and why. */
SP_MUSTCHECK bool config_tickets_parse(struct span text, struct ticket_keys *out, char error[TICKETS_ERROR_MAX]);

#endif

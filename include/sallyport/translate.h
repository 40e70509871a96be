// SPDX-License-Identifier: ISC
/*
 * Texts that must be changed on their way. Pure; any thread.
 */
#ifndef SALLYPORT_TRANSLATE_H
#define SALLYPORT_TRANSLATE_H

#include "sallyport/base.h"
#include "sallyport/reply.h"
#include "sallyport/span.h"

#define FEAT_BYTES_MAX 4096

/*
 * The answer to FEAT (RFC 2389 section 3.2): what we do ourselves (EPRT, EPSV,
 * HOST, PASV, UTF8 …) and what the server does, less what we must not promise
 * (AUTH, PBSZ, PROT, CCC, MODE Z, LPRT …). `server`: its whole reply (REPLY.raw);
 * empty when it is not known or the server has no FEAT. Writes a whole reply into
 * to[size]; returns its length (lines that do not fit are left out). `tls`: the
 * listener offers AUTH TLS (RFC 4217 section 6).
 */
size_t translate_feat(char *to, size_t size, struct span server, bool tls);

/*
 * The file's name in a reply to STOU: behind "FILE: " (RFC 1123 section
 * 4.1.2.9) or in "(unique file name:NAME)". Empty: the text names none. `text`
 * is the reply's text without its code.
 */
struct span translate_stou_name(struct span text);

#endif

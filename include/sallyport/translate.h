// SPDX-License-Identifier: ISC
/*
 * Texts that must be changed on their way. Pure; any thread.
 */
#ifndef SALLYPORT_TRANSLATE_H
#define SALLYPORT_TRANSLATE_H

#include "sallyport/base.h"
#include "sallyport/span.h"

/*
 * The file's name in a reply to STOU: behind "FILE: " (RFC 1123 section
 * 4.1.2.9) or in "(unique file name:NAME)". Empty: the text names none. `text`
 * is the reply's text without its code.
 */
struct span translate_stou_name(struct span text);

#endif

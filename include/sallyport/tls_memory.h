// SPDX-License-Identifier: ISC
/*
 * Where OpenSSL has its buffers: those of handshakes and of records are large
 * and soon given back, so they lie in pools of blocks, apart from what stays.
 */
#ifndef SALLYPORT_TLS_MEMORY_H
#define SALLYPORT_TLS_MEMORY_H

#include "sallyport/base.h"

/*
 * To be called before anything else of OpenSSL; main's thread. Where there is no
 * address space for the pools, malloc serves it as before. Nothing happens under
 * a sanitizer, which is to see each buffer.
 */
void tls_memory_use(void);

/* Gives back the pages of buffers that are free. Once in a while; any thread. */
void tls_memory_tidy(void);

#endif

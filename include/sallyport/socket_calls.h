// SPDX-License-Identifier: ISC
/*
 * The system calls of the relay's hot path, as they are. The C library's
 * wrappers of the same are cancellation points (POSIX.1-2017, XSH 2.9.5.2) and
 * in a program with threads pay two atomic operations a call for it; no thread
 * of this one is ever cancelled. What they return and errno are the wrappers'.
 * Any thread.
 */
#ifndef SALLYPORT_SOCKET_CALLS_H
#define SALLYPORT_SOCKET_CALLS_H

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/base.h"

/* Sanitizers look at the buffers in the wrappers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SP_SOCKET_WRAPPERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SP_SOCKET_WRAPPERS 1
#endif
#endif

#ifdef SP_SOCKET_WRAPPERS

static inline ssize_t sp_recv(int fd, void *to, size_t n, int flags)
{
	return recv(fd, to, n, flags);
}

static inline ssize_t sp_send(int fd, const void *from, size_t n, int flags)
{
	return send(fd, from, n, flags);
}

static inline ssize_t sp_splice(int in, int out, size_t n, unsigned flags)
{
	return splice(in, NULL, out, NULL, n, flags);
}

static inline int sp_close(int fd)
{
	return close(fd);
}

#else

#include <sys/syscall.h>

static inline ssize_t sp_recv(int fd, void *to, size_t n, int flags)
{
	return syscall(SYS_recvfrom, fd, to, n, flags, NULL, NULL);
}

static inline ssize_t sp_send(int fd, const void *from, size_t n, int flags)
{
	return syscall(SYS_sendto, fd, from, n, flags, NULL, 0);
}

/* splice(2) without offsets: both are sockets or pipes. */
static inline ssize_t sp_splice(int in, int out, size_t n, unsigned flags)
{
	return syscall(SYS_splice, in, NULL, out, NULL, n, flags);
}

static inline int sp_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

#endif

#endif

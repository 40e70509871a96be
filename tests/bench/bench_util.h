// SPDX-License-Identifier: ISC
/*
 * What the benchmark's tools share: clock, options, loopback sockets, TLS
 * contexts. They fail loudly: a tool that cannot do what it was asked exits 2.
 * Not part of Sallyport: the tools know it by its sockets only.
 */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#define BENCH_CHUNK (256U * 1024U)

struct port_range {
	uint16_t first;
	uint16_t last;
};

/* Prints "program: message: errno's text" (the text when errno_value is not 0) and exits 2. */
__attribute__((noreturn, format(printf, 2, 3))) void bench_fail(int errno_value, const char *format,
                                                                ...);

/* Monotonic time in nanoseconds. */
int64_t bench_now_ns(void);

/* Options: each exits 2 when the text is not what the name says. */
uint64_t bench_parse_number(const char *option, const char *text, uint64_t max);
double bench_parse_seconds(const char *option, const char *text);
struct sockaddr_in bench_parse_address(const char *option, const char *text);
struct port_range bench_parse_ports(const char *option, const char *text);

/* Raises the limit of descriptors to the hard one and returns it. Ignores SIGPIPE. */
uint64_t bench_prepare_process(void);

/*
 * A non-blocking listening socket with SO_REUSEPORT and TCP_NODELAY (which the
 * accepted ones inherit). Exits 2 when the address cannot be had.
 */
int bench_listen(const struct sockaddr_in *address);

/*
 * Exits 2 when somebody listens on the address already: with SO_REUSEPORT, two
 * of a kind would share the connections without a word.
 */
void bench_claim(const struct sockaddr_in *address);

/* Epoll with `tag` as its data; exits 2 on failure. */
void bench_epoll_add(int epoll_fd, int fd, uint32_t events, void *tag);
void bench_epoll_modify(int epoll_fd, int fd, uint32_t events, void *tag);

/* The number of CPUs that this process may run on. */
unsigned int bench_cpus(void);

/* TLS 1.2 or later; full handshakes unless a session is set on a connection. Exit 2 on failure. */
SSL_CTX *bench_tls_client(void);
SSL_CTX *bench_tls_server(const char *certificate, const char *key);

#endif

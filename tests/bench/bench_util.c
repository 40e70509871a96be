// SPDX-License-Identifier: ISC
/*
 * What the benchmark's tools share; see bench_util.h.
 */
#include "bench_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

void bench_fail(int errno_value, const char *format, ...)
{
	va_list args;

	(void)fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	if (errno_value != 0)
		(void)fprintf(stderr, ": %s", strerror(errno_value));
	(void)fputc('\n', stderr);
	exit(2);
}

int64_t bench_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t bench_parse_number(const char *option, const char *text, uint64_t max)
{
	char *end = NULL;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || value > max)
		bench_fail(0, "--%s: \"%s\" is not a number up to %llu", option, text,
		           (unsigned long long)max);
	return value;
}

double bench_parse_seconds(const char *option, const char *text)
{
	char *end = NULL;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !isfinite(value) || value < 0.0)
		bench_fail(0, "--%s: \"%s\" is not a number of seconds", option, text);
	return value;
}

struct sockaddr_in bench_parse_address(const char *option, const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char host[INET_ADDRSTRLEN];
	const char *colon = strchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);

	if (length >= sizeof(host))
		bench_fail(0, "--%s: \"%s\" is not an IPv4 address", option, text);
	memcpy(host, text, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		bench_fail(0, "--%s: \"%s\" is not an IPv4 address", option, text);
	if (colon != NULL)
		address.sin_port =
		    htons((uint16_t)bench_parse_number(option, colon + 1, UINT16_MAX));
	return address;
}

struct port_range bench_parse_ports(const char *option, const char *text)
{
	struct port_range range;
	char first[8];
	const char *dash = strchr(text, '-');
	size_t length = dash != NULL ? (size_t)(dash - text) : 0;

	if (length == 0 || length >= sizeof(first))
		bench_fail(0, "--%s: \"%s\" is not a range of ports", option, text);
	memcpy(first, text, length);
	first[length] = '\0';
	range.first = (uint16_t)bench_parse_number(option, first, UINT16_MAX);
	range.last = (uint16_t)bench_parse_number(option, dash + 1, UINT16_MAX);
	if (range.first == 0 || range.first > range.last)
		bench_fail(0, "--%s: \"%s\" is not a range of ports", option, text);
	return range;
}

uint64_t bench_prepare_process(void)
{
	struct rlimit limit;

	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		bench_fail(errno, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		bench_fail(errno, "setrlimit");
	return limit.rlim_cur;
}

static void listen_failed(const struct sockaddr_in *address)
{
	bench_fail(errno, "cannot listen on %s:%u", inet_ntoa(address->sin_addr),
	           (unsigned int)ntohs(address->sin_port));
}

void bench_claim(const struct sockaddr_in *address)
{
	static const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		bench_fail(errno, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == -1)
		listen_failed(address);
	(void)close(fd);
}

int bench_listen(const struct sockaddr_in *address)
{
	static const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		bench_fail(errno, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == -1 ||
	    listen(fd, 4096) == -1)
		listen_failed(address);
	return fd;
}

static void epoll_change(int epoll_fd, int operation, int fd, uint32_t events, void *tag)
{
	struct epoll_event event = { .events = events, .data = { .ptr = tag } };

	if (epoll_ctl(epoll_fd, operation, fd, &event) == -1)
		bench_fail(errno, "epoll_ctl");
}

void bench_epoll_add(int epoll_fd, int fd, uint32_t events, void *tag)
{
	epoll_change(epoll_fd, EPOLL_CTL_ADD, fd, events, tag);
}

void bench_epoll_modify(int epoll_fd, int fd, uint32_t events, void *tag)
{
	epoll_change(epoll_fd, EPOLL_CTL_MOD, fd, events, tag);
}

unsigned int bench_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == -1)
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

static SSL_CTX *tls_context(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		bench_fail(0, "no TLS context");
	(void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
	                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                                    SSL_MODE_RELEASE_BUFFERS);
	return context;
}

SSL_CTX *bench_tls_client(void)
{
	SSL_CTX *context = tls_context(TLS_client_method());

	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	return context;
}

SSL_CTX *bench_tls_server(const char *certificate, const char *key)
{
	SSL_CTX *context = tls_context(TLS_server_method());

	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		bench_fail(0, "cannot use %s with %s", certificate, key);
	return context;
}

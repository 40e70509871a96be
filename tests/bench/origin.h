// SPDX-License-Identifier: ISC
/*
 * The origin's parts: sessions and loop (origin.c), data channel
 * (origin_data.c), commands (origin_command.c). A thread owns its sessions and
 * its passive ports; all functions are called on it.
 */
#ifndef BENCH_ORIGIN_H
#define BENCH_ORIGIN_H

#include "bench_util.h"

#include <pthread.h>

#define COMMAND_MAX 512U

enum handle_kind { HANDLE_LISTENER, HANDLE_PORT, HANDLE_CONTROL, HANDLE_DATA };

/* What epoll gives back: first member of what it stands for, or found from it by kind. */
struct handle {
	enum handle_kind kind;
	int fd;
};

struct session;

struct passive_port {
	struct handle handle;
	uint16_t port;
	struct session *owner; /* who was told this port and has not been connected to on it */
	struct passive_port *next_free;
};

enum transfer { TRANSFER_NONE, TRANSFER_SEND, TRANSFER_RECEIVE };

struct session {
	struct handle control;
	struct handle data; /* fd -1: none */
	struct thread *thread;
	struct session *next_dead;
	struct passive_port *port;
	struct sockaddr_in active; /* port 0: none */
	SSL *control_tls;
	SSL *data_tls;
	const char *source; /* NULL: the buffer, over and over */
	uint64_t left;
	uint32_t data_events; /* what epoll watches the data socket for; 0: nothing */
	enum transfer transfer;
	bool private_data;
	bool dead;
	size_t used;
	char in[COMMAND_MAX];
};

struct thread {
	pthread_t id;
	int epoll_fd;
	struct handle listener;
	struct passive_port *ports;
	struct passive_port *free_ports;
	struct session *dead;
};

/* Set once before the threads start. */
extern struct origin {
	struct sockaddr_in address;
	struct port_range ports;
	unsigned int threads;
	SSL_CTX *tls;
	char pasv_host[INET_ADDRSTRLEN]; /* h1,h2,h3,h4 */
	char *buffer;
} origin;

/* > 0 bytes; 0: would block, *events says on what; -1: the connection is lost. */
ssize_t tls_outcome(SSL *tls, int result, uint32_t *events);

/* Closes at once; the memory waits until the turn's events are done with. */
void session_end(struct session *s);
/* A session whose peer does not take it ends. */
void session_reply(struct session *s, const char *text);
/* One line without its end, which it may change. */
void session_command(struct session *s, char *line);

/* A passive port that the session alone is told, NULL: none is free. */
struct passive_port *port_take(struct session *s);
void port_release(struct session *s);
void data_close(struct session *s);
/* `source` NULL: the buffer, over and over. Answers 150 or 425. */
void transfer_begin(struct session *s, enum transfer transfer, const char *source, uint64_t size);
/* Moves what can be moved; called when something may have become possible. */
void transfer_run(struct session *s);
/* Ends a transfer with 226 or 426. */
void transfer_done(struct session *s, bool whole);

#endif

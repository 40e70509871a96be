// SPDX-License-Identifier: ISC
/*
 * The load generator's parts: one FTP client (load_client.c), what it does over
 * and over (load_worker.c), options and report (load.c).
 *
 * A worker is a thread with an epoll loop of its own; its clients are touched
 * by it alone.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench_util.h"
#include "histogram.h"

#include <pthread.h>

enum load_mode { MODE_LOGON, MODE_NOOP, MODE_RETR, MODE_STOR, MODE_IDLE, MODE_EXPIRE };

enum load_tls { LOAD_TLS_NONE, LOAD_TLS_EXPLICIT, LOAD_TLS_IMPLICIT };

struct load_options {
	enum load_mode mode;
	enum load_tls tls;
	struct sockaddr_in target;
	struct in_addr source; /* first of `sources` addresses that follow one another */
	unsigned int sources;
	unsigned int sessions;
	unsigned int others; /* expire: sessions that work meanwhile */
	unsigned int threads;
	uint64_t size;
	double duration;
	double warmup;
	double idle_timeout; /* expire: what the proxy is configured to */
	double limit;        /* no operation takes longer */
	double pace;         /* expire: between two NOOPs of one of the others */
	const char *user;
	const char *password;
	bool epsv;
	bool no_prot;    /* do not send PBSZ and PROT: data is TLS all the same */
	bool controlled; /* wait for a line on stdin before and after the measured part */
};

enum load_error {
	ERROR_CONNECT,   /* no connection, or none with a greeting */
	ERROR_LOST,      /* the connection ended in the middle */
	ERROR_REFUSED,   /* a 4xx or 5xx reply */
	ERROR_TIMEOUT,   /* longer than --limit */
	ERROR_TRUNCATED, /* a file with too few or too many bytes */
	ERROR_KINDS
};

/* Where a client is: mostly the command whose reply it waits for. */
enum step {
	STEP_CLOSED,
	STEP_GREETING,
	STEP_AUTH,
	STEP_HANDSHAKE,
	STEP_USER,
	STEP_PASS,
	STEP_PBSZ,
	STEP_PROT,
	STEP_TYPE,
	STEP_READY, /* logged on, nothing under way */
	STEP_NOOP,
	STEP_PASV,
	STEP_BEGIN, /* RETR or STOR sent, no reply yet */
	STEP_FINAL, /* its 150 has come */
	STEP_REST,  /* its 226 has come, its data has not ended */
	STEP_QUIT,
	STEP_CLOSING /* 221 has come, the end of the connection has not */
};

struct worker;
struct client;

/* What epoll gives back. */
struct channel {
	struct client *client;
	SSL *tls;
	int fd; /* -1: none */
	uint32_t events;
};

struct client {
	struct worker *worker;
	struct client *next_waiting;
	struct channel control;
	struct channel data;
	enum step step;
	unsigned int index;
	unsigned int failures; /* logons that failed one after the other */
	bool busy;             /* an operation (or, before it, a logon) is under way */
	bool waiting;          /* on the worker's list until `due` */
	bool told;             /* expire: the 421 has come */
	bool data_ended;
	bool up; /* counted as logged on */
	int64_t due;
	int64_t began; /* the operation */
	int64_t step_began;
	uint64_t moved;
	size_t used;
	char in[1024];
};

struct tally {
	struct histogram operations; /* ns */
	struct histogram logons;     /* ns from connect to 230 */
	struct histogram meanwhile;  /* expire, others: while sessions were being told */
	struct histogram late;       /* expire: ns after the deadline */
	uint64_t bytes;
	uint64_t told;
	uint64_t silent;
	uint64_t lingered;
	uint64_t errors[ERROR_KINDS];
	char first_error[256];
};

struct worker {
	pthread_t thread;
	unsigned int index;
	int epoll_fd;
	enum load_mode mode;
	struct client *clients;
	unsigned int count;
	unsigned int up;       /* clients that are logged on */
	unsigned int given_up; /* clients that will not be */
	unsigned int started;  /* clients whose first logon has begun */
	unsigned int busy;
	unsigned int connections; /* made so far: picks the source address */
	bool counting;            /* operations go into the tally */
	bool working;             /* clients that are ready begin another operation */
	int64_t now;
	int64_t next_due;
	int64_t next_scan;
	int64_t first_end; /* expire: first and last session that was told, or dropped */
	int64_t last_end;
	struct client *waiting;
	struct tally tally;
};

/* Set once before the workers start. */
extern struct load_options load;
extern SSL_CTX *load_tls_context;

/* expire: 0 before the first session was told, 1 while they are, 2 when all are. Any thread. */
int load_expire_phase(void);
void load_set_expire_phase(int phase);

/* --- load_client.c: all are called on the worker's thread -------------------------------- */

/* Connects; the worker hears of it by worker_client_ready or worker_client_failed. */
void client_connect(struct client *c);
/* Begins an operation of the worker's mode; the client must be at STEP_READY. */
void client_operate(struct client *c);
void client_noop(struct client *c);
void client_quit(struct client *c);
void client_close(struct client *c);
/* Something happened at a channel: reads, writes, goes on. */
void client_event(struct channel *channel);
const char *client_step_name(enum step step);

/* --- load_worker.c: what a client tells its worker ---------------------------------------- */

void worker_client_ready(struct client *c);  /* logged on, or an operation ended well */
void worker_client_closed(struct client *c); /* after QUIT, as it should be */
void worker_client_failed(struct client *c, enum load_error error, const char *text);
/* A command was refused; the session goes on. */
void worker_client_refused(struct client *c, const char *text);
/* An idle session was closed by the other side. True: that was expected. */
bool worker_client_expired(struct client *c);

/* The phases of a run, in this order. */
void worker_init(struct worker *w, unsigned int index, enum load_mode mode, unsigned int count);
void worker_prepare(struct worker *w);
void worker_measure(struct worker *w);
void worker_fini(struct worker *w);

#endif

// SPDX-License-Identifier: ISC
/*
 * A name server for tests: one thread, UDP and TCP on one free port of
 * 127.0.0.1, and a few names that the test can change while it runs. It can
 * also be silent, fail, cut its answers and lie.
 */
#ifndef SALLYPORT_TESTS_FAKE_DNS_H
#define SALLYPORT_TESTS_FAKE_DNS_H

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/base.h"

#define FAKE_NAMES 8
#define FAKE_ADDRESSES 40

enum fake_type { FAKE_A = 1, FAKE_AAAA = 28 };

enum fake_mode {
	FAKE_ANSWERS,
	FAKE_SILENT, /* no answer */
	FAKE_SERVFAIL,
	FAKE_REFUSED,
	FAKE_CUT,        /* the answer ends in the middle of a record */
	FAKE_GARBAGE,    /* the right id, then noise */
	FAKE_BAD_LENGTH, /* a record that says it is longer than the message */
	FAKE_WRONG_ID,   /* a forged answer first, then the true one */
	FAKE_TRUNCATED,  /* UDP says "ask by TCP", and TCP answers */
	FAKE_LOOP,       /* compression pointers that point at one another */
};

/* One name. An unknown name does not exist; a known one without addresses has no data. */
struct fake_name {
	const char *name;
	const char *v4[FAKE_ADDRESSES];
	const char *v6[FAKE_ADDRESSES];
	uint32_t ttl;
	const char *alias; /* not NULL: it is a CNAME of this, with `alias_ttl` */
	uint32_t alias_ttl;
	enum fake_mode mode_a, mode_aaaa;
	int asked_a, asked_aaaa;
};

struct fake_dns {
	pthread_t thread;
	pthread_mutex_t lock;
	int udp, tcp, stop[2];
	char address[32]; /* "127.0.0.1:5353" */
	int asked;        /* all questions */
	struct fake_name names[FAKE_NAMES];
};

static struct fake_dns fake;

struct fake_message {
	unsigned char b[4096];
	size_t n;
};

static void put16(struct fake_message *m, unsigned v)
{
	m->b[m->n++] = (unsigned char)(v >> 8);
	m->b[m->n++] = (unsigned char)v;
}

static void put32(struct fake_message *m, uint32_t v)
{
	put16(m, v >> 16);
	put16(m, v & 0xffff);
}

static void put_name(struct fake_message *m, const char *name)
{
	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		m->b[m->n++] = (unsigned char)n;
		memcpy(m->b + m->n, name, n);
		m->n += n;
		name += n + (name[n] == '.');
	}
	m->b[m->n++] = 0;
}

/* Reads the question's name and type; its end, or 0. */
static size_t read_question(const unsigned char *b, size_t n, char *name, size_t size, int *type)
{
	size_t at = 12, to = 0;

	while (at < n && b[at] != 0) {
		size_t label = b[at++];

		if (label > 63 || at + label >= n || to + label + 2 > size)
			return 0;
		memcpy(name + to, b + at, label);
		to += label;
		name[to++] = '.';
		at += label;
	}
	if (at + 5 > n)
		return 0;
	name[to > 0 ? to - 1 : 0] = '\0';
	*type = b[at + 1] << 8 | b[at + 2];
	return at + 5;
}

static void put_record(struct fake_message *m, bool aliased, const struct fake_name *name, int type,
                       const char *address)
{
	unsigned char bytes[16];
	size_t len = type == FAKE_A ? 4 : 16;

	inet_pton(type == FAKE_A ? AF_INET : AF_INET6, address, bytes);
	if (aliased)
		put_name(m, name->alias);
	else
		put16(m, 0xc00c);
	put16(m, (unsigned)type);
	put16(m, 1);
	put32(m, name->ttl);
	put16(m, (unsigned)len);
	memcpy(m->b + m->n, bytes, len);
	m->n += len;
}

static unsigned put_answers(struct fake_message *m, const struct fake_name *name, int type)
{
	const char *const *addresses = type == FAKE_A ? name->v4 : name->v6;
	unsigned count = 0;

	if (name->alias != NULL) {
		put16(m, 0xc00c);
		put16(m, 5);
		put16(m, 1);
		put32(m, name->alias_ttl);

		size_t length_at = m->n;

		put16(m, 0);
		put_name(m, name->alias);
		m->b[length_at + 1] = (unsigned char)(m->n - length_at - 2);
		count++;
	}
	for (; *addresses != NULL; addresses++, count++)
		put_record(m, name->alias != NULL, name, type, *addresses);
	return count;
}

static void spoil(struct fake_message *m, enum fake_mode mode, size_t question_end)
{
	if (mode == FAKE_CUT && m->n > question_end + 4)
		m->n -= 3;
	if (mode == FAKE_GARBAGE) {
		for (size_t i = 4; i < 64; i++)
			m->b[i] = (unsigned char)(i * 37 + 11);
		m->n = 64;
	}
	if (mode == FAKE_BAD_LENGTH && m->n > question_end + 12) {
		m->b[question_end + 10] = 0xff;
		m->b[question_end + 11] = 0xff;
	}
	if (mode == FAKE_LOOP && m->n > question_end + 2) {
		m->b[question_end] = (unsigned char)(0xc0 | (question_end >> 8));
		m->b[question_end + 1] = (unsigned char)question_end;
	}
}

/* Answers one question; false: silence. `mode` tells the sender the rest. */
static bool fake_answer(const unsigned char *question, size_t n, struct fake_message *m,
                        bool by_tcp, enum fake_mode *mode)
{
	char text[256];
	int type = 0;
	size_t end = n >= 17 ? read_question(question, n, text, sizeof(text), &type) : 0;
	struct fake_name *name = NULL;
	unsigned rcode = 3, count = 0;

	if (end == 0)
		return false;
	fake.asked++;
	*mode = FAKE_ANSWERS;
	for (size_t i = 0; i < FAKE_NAMES; i++) {
		if (fake.names[i].name != NULL && strcasecmp(fake.names[i].name, text) == 0)
			name = &fake.names[i];
	}
	memcpy(m->b, question, end);
	m->n = end;
	if (name != NULL) {
		*(type == FAKE_A ? &name->asked_a : &name->asked_aaaa) += 1;
		*mode = type == FAKE_A ? name->mode_a : name->mode_aaaa;
		rcode = *mode == FAKE_SERVFAIL ? 2 : *mode == FAKE_REFUSED ? 5 : 0;
		if (rcode == 0)
			count = put_answers(m, name, type);
	}
	if (*mode == FAKE_SILENT)
		return false;
	m->b[2] = 0x81;
	m->b[3] = (unsigned char)(0x80 | rcode);
	m->b[4] = 0;
	m->b[5] = 1;
	m->b[6] = (unsigned char)(count >> 8);
	m->b[7] = (unsigned char)count;
	memset(m->b + 8, 0, 4);
	if (*mode == FAKE_TRUNCATED && !by_tcp) {
		m->b[2] |= 0x02;
		m->b[7] = 0;
		m->n = end;
	}
	spoil(m, *mode, end);
	return true;
}

static void fake_serve_udp(void)
{
	unsigned char question[512];
	struct fake_message m;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	enum fake_mode mode;
	ssize_t n =
	    recvfrom(fake.udp, question, sizeof(question), 0, (struct sockaddr *)&from, &len);

	if (n <= 0)
		return;
	pthread_mutex_lock(&fake.lock);

	bool answers = fake_answer(question, (size_t)n, &m, false, &mode);

	pthread_mutex_unlock(&fake.lock);
	if (!answers)
		return;
	if (mode == FAKE_WRONG_ID) {
		m.b[0] ^= 0x55;
		m.b[m.n - 1] ^= 0x01; /* another address */
		sendto(fake.udp, m.b, m.n, 0, (struct sockaddr *)&from, len);
		m.b[0] ^= 0x55;
		m.b[m.n - 1] ^= 0x01;
	}
	sendto(fake.udp, m.b, m.n, 0, (struct sockaddr *)&from, len);
}

/* One connection, all its questions; c-ares may send several. */
static void fake_serve_tcp(void)
{
	int fd = accept(fake.tcp, NULL, NULL);
	struct timeval patience = { .tv_sec = 1 };
	unsigned char head[2], question[512];
	struct fake_message m;
	enum fake_mode mode;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (recv(fd, head, 2, MSG_WAITALL) == 2) {
		size_t n = (size_t)(head[0] << 8 | head[1]);

		if (n > sizeof(question) || recv(fd, question, n, MSG_WAITALL) != (ssize_t)n)
			break;
		pthread_mutex_lock(&fake.lock);

		bool answers = fake_answer(question, n, &m, true, &mode);

		pthread_mutex_unlock(&fake.lock);
		if (answers) {
			unsigned char out[2] = { (unsigned char)(m.n >> 8), (unsigned char)m.n };

			(void)!send(fd, out, 2, MSG_NOSIGNAL | MSG_MORE);
			(void)!send(fd, m.b, m.n, MSG_NOSIGNAL);
		}
	}
	close(fd);
}

static void *fake_run(void *unused SP_UNUSED)
{
	struct pollfd p[3] = { { .fd = fake.udp, .events = POLLIN },
		               { .fd = fake.tcp, .events = POLLIN },
		               { .fd = fake.stop[0], .events = POLLIN } };

	for (;;) {
		if (poll(p, 3, -1) == -1)
			continue;
		if (p[2].revents != 0)
			return NULL;
		if (p[0].revents != 0)
			fake_serve_udp();
		if (p[1].revents != 0)
			fake_serve_tcp();
	}
}

/* A port that is free for UDP and for TCP. */
static void fake_dns_start(void)
{
	for (int turn = 0; turn < 50; turn++) {
		struct sockaddr_in at;
		socklen_t len = sizeof(at);

		memset(&at, 0, sizeof(at));
		at.sin_family = AF_INET;
		at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fake.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		fake.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(bind(fake.udp, (struct sockaddr *)&at, sizeof(at)), 0);
		ck_assert_int_eq(getsockname(fake.udp, (struct sockaddr *)&at, &len), 0);
		if (bind(fake.tcp, (struct sockaddr *)&at, sizeof(at)) == 0) {
			snprintf(fake.address, sizeof(fake.address), "127.0.0.1:%u",
			         ntohs(at.sin_port));
			break;
		}
		close(fake.udp);
		close(fake.tcp);
	}
	ck_assert_int_ne(fake.address[0], '\0');
	ck_assert_int_eq(listen(fake.tcp, 4), 0);
	ck_assert_int_eq(pipe(fake.stop), 0);
	ck_assert_int_eq(pthread_mutex_init(&fake.lock, NULL), 0);
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, fake_run, NULL), 0);
}

static void fake_dns_stop(void)
{
	ck_assert_int_eq(write(fake.stop[1], "", 1), 1);
	pthread_join(fake.thread, NULL);
	pthread_mutex_destroy(&fake.lock);
	close(fake.udp);
	close(fake.tcp);
	close(fake.stop[0]);
	close(fake.stop[1]);
}

/* Replaces what is known of names[i]; its counts begin anew. */
static void fake_set(size_t i, struct fake_name name)
{
	pthread_mutex_lock(&fake.lock);
	fake.names[i] = name;
	pthread_mutex_unlock(&fake.lock);
}

/* How often names[i] was asked for this type. */
static int fake_asked(size_t i, enum fake_type type)
{
	pthread_mutex_lock(&fake.lock);

	int n = type == FAKE_A ? fake.names[i].asked_a : fake.names[i].asked_aaaa;

	pthread_mutex_unlock(&fake.lock);
	return n;
}

static int fake_asked_all(void)
{
	pthread_mutex_lock(&fake.lock);

	int n = fake.asked;

	pthread_mutex_unlock(&fake.lock);
	return n;
}

#endif

// SPDX-License-Identifier: ISC
/*
 * A probe's life: dial, greeting, TLS, logon, as deep as its task says; the
 * verdict; the leave.
 */
#include "probe_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/fd_registry.h"
#include "sallyport/logon_answer.h"
#include "sallyport/proxy_protocol.h"
#include "sallyport/tls.h"

#define READ_MAX 4096
#define LINE_MAX 512

static const char *step_name(const struct probe *p)
{
	static const char *const names[] = {
		[PROBE_LOOKUP] = "its name",
		[PROBE_DIAL] = "connecting",
		[PROBE_TLS] = "TLS",
		[PROBE_GREETING] = "greeting",
		[PROBE_AUTH] = "AUTH TLS",
		[PROBE_PBSZ] = "PBSZ",
		[PROBE_PROT] = "PROT P",
		[PROBE_USER] = "USER",
		[PROBE_PASS] = "PASS",
		[PROBE_TYPE] = "TYPE",
		[PROBE_EPSV] = "EPSV",
		[PROBE_PASV] = "PASV",
		[PROBE_EPRT] = "EPRT",
		[PROBE_PORT] = "PORT",
		[PROBE_DATA_DIAL] = "data connection",
		[PROBE_COMMAND] = "transfer",
		[PROBE_DATA] = "transfer",
		[PROBE_LEAVE] = "leaving",
	};

	return names[p->step];
}

/* --- the end --------------------------------------------------------------------- */

static void watch(struct probe *p)
{
	unsigned wants = STREAM_READ;

	if (!stream_is_open(&p->control.stream) || p->securing)
		return;
	if (control_flush(&p->control) == -EAGAIN)
		wants |= STREAM_WRITE;
	/* A connection that broke is found by reading. */
	stream_watch(&p->control.stream, wants);
}

/* Everything but the control connection. */
static void drop_attempts(struct probe *p)
{
	if (p->lookup != NULL)
		resolver_forget(&p->lookup);
	connect_cancel(&p->dial);
	probe_transfer_drop(p);
}

static void be_gone(struct probe *p)
{
	const struct timeval now = { 0, 0 };

	stream_close(&p->control.stream);
	event_add(&p->timer, &now); /* the owner frees it, and somebody may be using it still */
}

static void leave(struct probe *p)
{
	const struct timeval wait = { PROBE_CLOSE_MS / 1000, 0 };
	bool polite = p->step > PROBE_GREETING || p->task.kind >= CHECK_GREETING;

	drop_attempts(p);
	p->step = PROBE_LEAVE;
	if (!stream_is_open(&p->control.stream) || p->securing || p->failed) {
		be_gone(p);
		return;
	}
	if (polite && !control_send(&p->control, span_of("QUIT\r\n"))) {
		be_gone(p);
		return;
	}
	watch(p);
	if (!polite)
		(void)!stream_finish(&p->control.stream, true);
	event_add(&p->timer, &wait);
}

static void tell(struct probe *p, enum check_verdict verdict, const char *why)
{
	char text[PROBE_TEXT_MAX];

	if (verdict == VERDICT_PASSED)
		snprintf(text, sizeof(text), "check %s passed", check_kind_name(p->task.kind));
	else
		snprintf(text, sizeof(text), "check %s failed at %s: %s", check_kind_name(p->task.kind),
			 step_name(p), why);
	p->ops->found(p->owner, verdict, text, -1);
	leave(p);
}

/* The greeted connection changes hands; what is left of the probe goes. */
static void hand_over(struct probe *p)
{
	int fd = stream_take_fd(&p->control.stream);

	if (p->ops->found(p->owner, VERDICT_PASSED, "ready", fd)) {
		p->step = PROBE_LEAVE;
		be_gone(p);
		return;
	}
	fd_registry_forget(fd);
	close(fd);
	leave(p);
}

void probe_passed(struct probe *p)
{
	tell(p, VERDICT_PASSED, "");
}

void probe_failed(struct probe *p, const char *why)
{
	tell(p, VERDICT_FAILED, why);
}

void probe_void(struct probe *p, const char *why)
{
	tell(p, VERDICT_VOID, why);
}

/* --- saying ------------------------------------------------------------------------ */

const char *probe_tls_name(const struct probe *p)
{
	return p->task.server->tls.name != NULL ? p->task.server->tls.name : p->task.server->host;
}

struct connect_options probe_dial_options(const struct probe *p)
{
	return (struct connect_options){ .source = p->task.server->source, .nodelay = true };
}

bool probe_send_header(struct probe *p, struct stream *stream)
{
	char header[PROXY_PROTOCOL_V1_MAX];
	size_t n = p->task.server->proxy_protocol == SERVER_PROXY_V1
			   ? proxy_protocol_write_v1(header, sizeof(header), NULL, NULL)
			   : proxy_protocol_write_v2(header, sizeof(header), NULL, NULL, NULL);

	return n > 0 && stream_write(stream, header, n) == (ssize_t)n;
}

void probe_say(struct probe *p, enum probe_step step, const char *verb, const char *argument)
{
	char line[LINE_MAX + 16];
	int n = snprintf(line, sizeof(line), "%s%s%s\r\n", verb, argument[0] != '\0' ? " " : "", argument);
	bool said = n > 0 && (size_t)n < sizeof(line) && control_send(&p->control, span_from(line, (size_t)n));

	if (step == PROBE_PASS)
		explicit_bzero(line, sizeof(line));
	p->step = step;
	if (!said)
		probe_void(p, "out of memory, or a line that is too long");
}

/* --- the way to 230 ------------------------------------------------------------------ */

static bool wants_tls(const struct probe *p)
{
	switch (p->task.server->tls.mode) {
	case SERVER_TLS_NONE:
	case SERVER_TLS_CLIENT: /* works without, or plain clients could not use it */
		return false;
	case SERVER_TLS_EXPLICIT:
	case SERVER_TLS_IMPLICIT:
	case SERVER_TLS_AUTO:
		break;
	}
	return true;
}

static void log_on(struct probe *p)
{
	probe_say(p, PROBE_USER, "USER", p->task.health->user);
}

static void on_secured(void *owner, int result)
{
	struct probe *p = owner;

	p->securing = false;
	if (result != 0) {
		p->failed = true;
		probe_failed(p, tls_error());
		return;
	}
	if (p->task.server->tls.mode == SERVER_TLS_IMPLICIT)
		p->step = PROBE_GREETING;
	else
		probe_say(p, PROBE_PBSZ, "PBSZ", "0");
	watch(p);
}

static void secure(struct probe *p)
{
	p->tls_begin = false;
	p->securing = true;
	p->step = PROBE_TLS;
	if (tls_connect(&p->control.stream, p->task.server->tls.context, probe_tls_name(p), NULL, on_secured,
			p) != 0) {
		p->securing = false;
		p->failed = true;
		probe_void(p, "out of memory");
	}
}

/* The server's words, without what a terminal would obey. */
static const char *words_of(struct probe *p, const struct reply *reply)
{
	char *to = p->text;
	int head = snprintf(to, sizeof(p->text), "%03d ", reply->code);
	size_t n = head > 0 ? (size_t)head : 0;

	for (size_t i = 0; i < reply->text.n && n < sizeof(p->text) - 40; i++)
		to[n++] = reply->text.p[i] >= ' ' && reply->text.p[i] <= '~' ? reply->text.p[i] : '?';
	to[n] = '\0';
	return to;
}

static void refused(struct probe *p, const struct reply *reply)
{
	bool full = reply->code == 421 || logon_answer_of(reply->code, reply->raw) == LOGON_ANSWER_BUSY;

	tell(p, full ? VERDICT_FULL : VERDICT_FAILED, words_of(p, reply));
}

static void greeted(struct probe *p)
{
	if (p->task.keep)
		hand_over(p);
	else if (p->task.kind <= CHECK_GREETING)
		probe_passed(p);
	else if (!wants_tls(p))
		log_on(p);
	else if (stream_is_tls(&p->control.stream))
		probe_say(p, PROBE_PBSZ, "PBSZ", "0");
	else
		probe_say(p, PROBE_AUTH, "AUTH", "TLS");
}

static void on_auth_answer(struct probe *p, const struct reply *reply)
{
	const struct server_tls_config *tls = &p->task.server->tls;

	if (reply->code == 234)
		p->tls_begin = true;
	else if (tls->mode == SERVER_TLS_AUTO && tls->allow_plain && reply->code >= 500)
		log_on(p);
	else
		refused(p, reply);
}

static void logged_on(struct probe *p)
{
	if (p->task.kind == CHECK_TRANSFER)
		probe_transfer_begin(p);
	else
		probe_passed(p);
}

static void on_user_answer(struct probe *p, const struct reply *reply)
{
	if (reply_is_positive(reply->code))
		logged_on(p);
	else if (reply->code == 331)
		probe_say(p, PROBE_PASS, "PASS", p->task.health->password != NULL ? p->task.health->password : "");
	else
		refused(p, reply);
}

static void on_reply(struct probe *p, const struct reply *reply)
{
	switch (p->step) {
	case PROBE_GREETING:
		if (reply->code == 220)
			greeted(p);
		else if (reply->code != 120)
			refused(p, reply);
		return;
	case PROBE_AUTH:
		on_auth_answer(p, reply);
		return;
	case PROBE_PBSZ:
		probe_say(p, PROBE_PROT, "PROT", "P");
		return;
	case PROBE_PROT:
		p->prot = reply_is_positive(reply->code);
		if (p->prot)
			log_on(p);
		else
			refused(p, reply);
		return;
	case PROBE_USER:
		on_user_answer(p, reply);
		return;
	case PROBE_PASS:
		if (reply_is_positive(reply->code))
			logged_on(p);
		else
			refused(p, reply);
		return;
	case PROBE_TYPE:
	case PROBE_EPSV:
	case PROBE_PASV:
	case PROBE_EPRT:
	case PROBE_PORT:
	case PROBE_DATA_DIAL:
	case PROBE_COMMAND:
	case PROBE_DATA:
		probe_transfer_on_reply(p, reply);
		return;
	case PROBE_LOOKUP:
	case PROBE_DIAL:
	case PROBE_TLS:
	case PROBE_LEAVE:
		break;
	}
	probe_failed(p, words_of(p, reply));
}

/* --- bytes ---------------------------------------------------------------------------- */

static void feed(struct probe *p, struct span bytes)
{
	struct reply reply;

	while (!probe_is_leaving(p)) {
		switch (reply_next(&p->replies, &bytes, &reply)) {
		case REPLY_OK:
			if (p->task.keep && bytes.n > 0) {
				probe_failed(p, "it says more than a greeting");
				return;
			}
			on_reply(p, &reply);
			if (!probe_is_leaving(p) && p->tls_begin) {
				if (bytes.n > 0)
					probe_failed(p, "bytes in clear behind the 234");
				else
					secure(p);
				return;
			}
			break;
		case REPLY_MORE:
			return;
		case REPLY_BAD:
		case REPLY_TOO_LONG:
			probe_failed(p, "what it says is not a reply");
			return;
		case REPLY_NO_MEMORY:
			probe_void(p, "out of memory");
			return;
		}
	}
}

static void on_control_ready(void *owner, unsigned ready)
{
	struct probe *p = owner;
	char buffer[READ_MAX];
	ssize_t n = -EAGAIN;

	if (ready & STREAM_READ)
		n = stream_read(&p->control.stream, buffer, sizeof(buffer));
	if (n == 0 || (n < 0 && n != -EAGAIN)) {
		if (probe_is_leaving(p)) {
			be_gone(p);
			return;
		}
		p->failed = true;
		probe_failed(p, n == 0 ? "it closed the connection" : strerror((int)-n));
		return;
	}
	if (n > 0 && !probe_is_leaving(p))
		feed(p, span_from(buffer, (size_t)n));
	watch(p);
}

/* --- dialling --------------------------------------------------------------------------- */

static void on_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct probe *p = owner;
	const struct server_config *server = p->task.server;

	p->peer = *address;
	if (fd < 0) {
		if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS)
			probe_void(p, strerror(error));
		else
			probe_failed(p, strerror(error));
		return;
	}
	stream_open(&p->control.stream, p->base, fd, &p->ledger, LEDGER_CONTROL_FD, SESSION_ID_NONE, SP_HERE,
		    on_control_ready, p);
	if (server->proxy_protocol != SERVER_PROXY_NONE && !probe_send_header(p, &p->control.stream))
		probe_failed(p, "the PROXY header could not be sent");
	else if (p->task.kind == CHECK_CONNECT)
		probe_passed(p);
	else if (server->tls.mode == SERVER_TLS_IMPLICIT)
		secure(p);
	else
		p->step = PROBE_GREETING;
	watch(p);
}

static void dial(struct probe *p, const struct netaddr addresses[], size_t n)
{
	const struct connect_options options = probe_dial_options(p);

	p->step = PROBE_DIAL;
	connect_start(&p->dial, p->base, addresses, n, &options, &p->ledger, LEDGER_CONTROL_FD,
		      SESSION_ID_NONE, on_dialled, p);
}

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct probe *p = owner;
	struct netaddr usable[RESOLVER_ADDRESSES_MAX];

	p->lookup = NULL;
	memcpy(usable, addresses, n * sizeof(usable[0]));
	n = addresses_prefer(p->task.server->address_family, usable, n);
	if (n == 0)
		probe_failed(p, error != NULL ? error : "name has no address that may be used");
	else
		dial(p, usable, n);
}

/* Its time is over; or, behind the leave, it is gone. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	if (p->step == PROBE_LEAVE) {
		stream_close(&p->control.stream);
		p->ops->gone(p->owner);
		return;
	}
	if (connect_next(&p->dial)) {
		const struct timeval wait = { p->task.health->timeout_ms / 1000,
					      p->task.health->timeout_ms % 1000 * 1000 };

		event_add(&p->timer, &wait);
		return;
	}
	probe_failed(p, "no answer in time");
}

static struct probe *make(struct event_base *base, const struct probe_ops *ops, void *owner)
{
	struct probe *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->base = base;
	p->ops = ops;
	p->owner = owner;
	connect_init(&p->dial);
	connect_init(&p->data_dial);
	control_init(&p->control);
	stream_init(&p->data);
	p->listen_fd = -1;
	evtimer_assign(&p->timer, base, on_timer, p);
	return p;
}

struct probe *probe_new(struct event_base *base, struct resolver *resolver, const struct probe_task *task,
			const struct probe_ops *ops, void *owner)
{
	const struct timeval wait = { task->health->timeout_ms / 1000, task->health->timeout_ms % 1000 * 1000 };
	struct probe *p = make(base, ops, owner);

	if (p == NULL)
		return NULL;
	p->resolver = resolver;
	p->task = *task;
	if (event_add(&p->timer, &wait) != 0) {
		probe_free(&p);
		return NULL;
	}
	if (task->address.family != AF_UNSPEC || task->server->address.family != AF_UNSPEC) {
		dial(p, task->address.family != AF_UNSPEC ? &task->address : &task->server->address, 1);
		return p;
	}
	p->lookup = resolver_lookup(resolver, task->server->host, task->server->port, on_looked_up, p);
	if (p->lookup == NULL)
		probe_free(&p);
	return p;
}

struct probe *probe_new_leave(struct event_base *base, int fd, const struct probe_ops *ops, void *owner)
{
	struct probe *p = make(base, ops, owner);

	if (p == NULL) {
		fd_registry_forget(fd);
		close(fd);
		return NULL;
	}
	p->task.kind = CHECK_GREETING;
	stream_open(&p->control.stream, base, fd, &p->ledger, LEDGER_CONTROL_FD, SESSION_ID_NONE, SP_HERE,
		    on_control_ready, p);
	leave(p);
	return p;
}

void probe_free(struct probe **probe)
{
	struct probe *p = *probe;

	*probe = NULL;
	if (p == NULL)
		return;
	drop_attempts(p);
	stream_close(&p->control.stream);
	control_fini(&p->control);
	reply_fini(&p->replies);
	event_del(&p->timer);
	ledger_assert_empty(&p->ledger);
	free(p);
}

const struct netaddr *probe_peer(const struct probe *p)
{
	return &p->peer;
}

// SPDX-License-Identifier: ISC
/*
 * A probe's transfer: a listing or a file over a passive data connection, under
 * TLS with the control connection's session where that is protected. Dead data
 * channels are the usual failure of FTP servers behind firewalls, and nothing
 * on the control connection shows them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe_private.h"
#include "sallyport/fd_registry.h"
#include "sallyport/ftp_address.h"
#include "sallyport/tls.h"

#define READ_MAX 16384

static const char *verb_of(const struct probe *p)
{
	return p->task.health->probe != NULL ? "RETR" : "LIST";
}

static const char *argument_of(const struct probe *p)
{
	return p->task.health->probe != NULL ? p->task.health->probe : "";
}

void probe_transfer_drop(struct probe *p)
{
	connect_cancel(&p->data_dial);
	stream_abort(&p->data);
}

static void fail_with(struct probe *p, const struct reply *reply)
{
	snprintf(p->text, sizeof(p->text), "%s: %03d %.*s", verb_of(p), reply->code,
		 (int)(reply->text.n < 80 ? reply->text.n : 80), reply->text.p);
	for (char *c = p->text; *c != '\0'; c++)
		*c = *c >= ' ' && *c <= '~' ? *c : '?';
	probe_failed(p, p->text);
}

void probe_transfer_begin(struct probe *p)
{
	probe_say(p, PROBE_TYPE, "TYPE", p->task.health->probe != NULL ? "I" : "A");
}

/* --- the data connection ------------------------------------------------------------- */

/* Both must come: the end of the data, and the server's word that it was all. */
static void look_whether_done(struct probe *p)
{
	if (p->data_ended && p->data_final)
		probe_passed(p);
}

static void on_data_ready(void *owner, unsigned ready)
{
	struct probe *p = owner;
	char buffer[READ_MAX];
	ssize_t n = stream_read(&p->data, buffer, sizeof(buffer));

	(void)ready;
	if (n == -EAGAIN)
		return;
	if (n > 0) {
		p->bytes += (uint64_t)n;
		return;
	}
	if (n < 0) {
		snprintf(p->text, sizeof(p->text), "the data connection broke: %s", strerror((int)-n));
		probe_failed(p, p->text);
		return;
	}
	stream_close(&p->data);
	p->data_ended = true;
	look_whether_done(p);
}

static void on_data_secured(void *owner, int result)
{
	struct probe *p = owner;

	p->data_securing = false;
	if (result != 0) {
		snprintf(p->text, sizeof(p->text), "TLS on the data connection: %s", tls_error());
		probe_failed(p, p->text);
		return;
	}
	stream_watch(&p->data, STREAM_READ);
}

static void begin_data(struct probe *p)
{
	p->step = PROBE_DATA;
	if (!p->prot) {
		stream_watch(&p->data, STREAM_READ);
		return;
	}
	p->data_securing = true;
	if (tls_connect(&p->data, p->task.server->tls.context, probe_tls_name(p), &p->control.stream,
			on_data_secured, p) != 0)
		probe_void(p, "out of memory");
}

static void on_data_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct probe *p = owner;

	(void)address;
	if (fd < 0) {
		probe_failed(p, strerror(error));
		return;
	}
	stream_open(&p->data, p->base, fd, &p->ledger, LEDGER_DATA_FD, SESSION_ID_NONE, SP_HERE, on_data_ready, p);
	if (p->task.server->proxy_protocol_data && !probe_send_header(p, &p->data)) {
		probe_failed(p, "the PROXY header could not be sent");
		return;
	}
	probe_say(p, PROBE_COMMAND, verb_of(p), argument_of(p));
	if (!probe_is_leaving(p) && control_flush(&p->control) == -EAGAIN)
		stream_watch(&p->control.stream, STREAM_READ | STREAM_WRITE);
}

static void dial_data(struct probe *p, const struct netaddr *target)
{
	const struct connect_options options = probe_dial_options(p);

	p->step = PROBE_DATA_DIAL;
	connect_start(&p->data_dial, p->base, target, 1, &options, &p->ledger, LEDGER_DATA_FD, SESSION_ID_NONE,
		      on_data_dialled, p);
}

/* --- replies ------------------------------------------------------------------------------ */

static void ask_for_port(struct probe *p)
{
	bool pasv = p->task.server->data == DATA_PASV;

	probe_say(p, pasv ? PROBE_PASV : PROBE_EPSV, pasv ? "PASV" : "EPSV", "");
}

static void on_epsv_answer(struct probe *p, const struct reply *reply)
{
	struct netaddr target = p->peer;
	uint16_t port;

	if (reply->code == 229 && ftp_address_parse_229(reply->text, &port)) {
		netaddr_set_port(&target, port);
		dial_data(p, &target);
	} else if (reply->code >= 500 && p->task.server->data != DATA_EPSV) {
		probe_say(p, PROBE_PASV, "PASV", "");
	} else {
		fail_with(p, reply);
	}
}

static void on_pasv_answer(struct probe *p, const struct reply *reply)
{
	struct netaddr said;
	struct netaddr target = p->peer;

	if (reply->code != 227 || !ftp_address_parse_227(reply->text, &said)) {
		fail_with(p, reply);
		return;
	}
	netaddr_set_port(&target, netaddr_port(&said));
	dial_data(p, p->task.server->trust_pasv_address ? &said : &target);
}

static void on_command_answer(struct probe *p, const struct reply *reply)
{
	if (reply_is_preliminary(reply->code)) {
		if (p->step == PROBE_COMMAND)
			begin_data(p);
		return;
	}
	if (!reply_is_positive(reply->code)) {
		fail_with(p, reply);
		return;
	}
	/* Some say 226 without a 150 when there is nothing to send. */
	if (p->step == PROBE_COMMAND)
		begin_data(p);
	if (probe_is_leaving(p))
		return;
	p->data_final = true;
	look_whether_done(p);
}

void probe_transfer_on_reply(struct probe *p, const struct reply *reply)
{
	if (p->step == PROBE_EPSV)
		on_epsv_answer(p, reply);
	else if (p->step == PROBE_PASV)
		on_pasv_answer(p, reply);
	else if (p->step == PROBE_COMMAND || p->step == PROBE_DATA)
		on_command_answer(p, reply);
	else if (p->step == PROBE_TYPE && reply_is_positive(reply->code))
		ask_for_port(p);
	else
		fail_with(p, reply); /* TYPE is refused, or nobody asked */
}

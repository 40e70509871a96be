// SPDX-License-Identifier: ISC
/*
 * A probe's transfer: a listing or a file over a data connection made in the way
 * of the server's sessions, under TLS with the control connection's session where
 * that is protected. Dead data
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
	probe_close_port(p);
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

/* The server has said that it begins, and the connection is there. */
static void begin_data(struct probe *p)
{
	if (p->step != PROBE_DATA || p->data_begun || !stream_is_open(&p->data))
		return;
	p->data_begun = true;
	if (!p->prot) {
		stream_watch(&p->data, STREAM_READ);
		return;
	}
	p->data_securing = true;
	if (tls_connect(&p->data, p->task.server->tls.context, probe_tls_name(p), &p->control.stream,
			on_data_secured, p) != 0)
		probe_void(p, "out of memory");
}

static void open_data(struct probe *p, int fd)
{
	stream_open(&p->data, p->base, fd, &p->ledger, LEDGER_DATA_FD, SESSION_ID_NONE, SP_HERE, on_data_ready, p);
}

/* To be called where nothing flushes what was said. */
static void say_command(struct probe *p)
{
	probe_say(p, PROBE_COMMAND, verb_of(p), argument_of(p));
	if (!probe_is_leaving(p) && control_flush(&p->control) == -EAGAIN)
		stream_watch(&p->control.stream, STREAM_READ | STREAM_WRITE);
}

static void on_data_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct probe *p = owner;

	(void)address;
	if (fd < 0) {
		probe_failed(p, strerror(error));
		return;
	}
	open_data(p, fd);
	if (p->task.server->proxy_protocol_data && !probe_send_header(p, &p->data)) {
		probe_failed(p, "the PROXY header could not be sent");
		return;
	}
	say_command(p);
}

void probe_data_came(struct probe *p, int fd)
{
	open_data(p, fd);
	begin_data(p);
}

static void dial_data(struct probe *p, const struct netaddr *target)
{
	const struct connect_options options = probe_dial_options(p);

	p->step = PROBE_DATA_DIAL;
	connect_start(&p->data_dial, p->base, target, 1, &options, &p->ledger, LEDGER_DATA_FD, SESSION_ID_NONE,
		      on_data_dialled, p);
}

/* --- ways to make the data connection, in the order in which they are tried -------------- */

#define WAY(step) (1u << (step))

static unsigned ways_of(const struct probe *p)
{
	bool ipv4 = p->peer.family == AF_INET;

	switch (p->task.server->data) {
	case DATA_EPSV:
		return WAY(PROBE_EPSV);
	case DATA_PASV:
		return WAY(PROBE_PASV);
	case DATA_EPRT:
		return WAY(PROBE_EPRT);
	case DATA_PORT:
		return WAY(PROBE_PORT);
	case DATA_AUTO:
	case DATA_CLIENT:
		break;
	}
	return WAY(PROBE_EPSV) | WAY(PROBE_EPRT) | (ipv4 ? WAY(PROBE_PASV) | WAY(PROBE_PORT) : 0);
}

static void offer_port(struct probe *p, bool eprt)
{
	char address[FTP_ADDRESS_TEXT_MAX];
	struct netaddr bound;
	int result = probe_open_port(p, &bound);

	p->step = eprt ? PROBE_EPRT : PROBE_PORT;
	if (result != 0)
		probe_void(p, strerror(-result));
	else if ((eprt ? ftp_address_write_eprt(address, &bound) : ftp_address_write_port(address, &bound)) == 0)
		probe_failed(p, "our address there is not IPv4");
	else
		probe_say(p, p->step, eprt ? "EPRT" : "PORT", address);
}

static void try_next_way(struct probe *p)
{
	enum probe_step way = PROBE_EPSV;

	while (!(p->ways_left & WAY(way)))
		way++;
	p->ways_left &= ~WAY(way);
	if (way == PROBE_EPSV || way == PROBE_PASV)
		probe_say(p, way, way == PROBE_EPSV ? "EPSV" : "PASV", "");
	else
		offer_port(p, way == PROBE_EPRT);
}

/* "Not implemented" and the like lead to the next way; what goes wrong otherwise is what the check is for. */
static void refuse_way(struct probe *p, const struct reply *reply)
{
	probe_close_port(p);
	if (reply->code >= 500 && p->ways_left != 0)
		try_next_way(p);
	else
		fail_with(p, reply);
}

static void on_passive_answer(struct probe *p, const struct reply *reply)
{
	struct netaddr target = p->peer;
	struct netaddr said;
	uint16_t port;

	if (reply->code == 229 && ftp_address_parse_229(reply->text, &port)) {
		netaddr_set_port(&target, port);
	} else if (reply->code == 227 && ftp_address_parse_227(reply->text, &said)) {
		netaddr_set_port(&target, netaddr_port(&said));
		target = p->task.server->trust_pasv_address ? said : target;
	} else {
		refuse_way(p, reply);
		return;
	}
	dial_data(p, &target);
}

/* --- replies ------------------------------------------------------------------------------ */

static void on_command_answer(struct probe *p, const struct reply *reply)
{
	if (reply_is_preliminary(reply->code)) {
		p->step = PROBE_DATA;
		begin_data(p);
		return;
	}
	if (!reply_is_positive(reply->code)) {
		fail_with(p, reply);
		return;
	}
	/* Some say 226 without a 150 when there is nothing to send. */
	p->step = PROBE_DATA;
	begin_data(p);
	if (probe_is_leaving(p))
		return;
	p->data_final = true;
	look_whether_done(p);
}

void probe_transfer_on_reply(struct probe *p, const struct reply *reply)
{
	bool ok = reply_is_positive(reply->code);

	if (p->step == PROBE_EPSV || p->step == PROBE_PASV) {
		on_passive_answer(p, reply);
	} else if (p->step == PROBE_EPRT || p->step == PROBE_PORT) {
		if (ok)
			say_command(p);
		else
			refuse_way(p, reply);
	} else if (p->step == PROBE_COMMAND || p->step == PROBE_DATA) {
		on_command_answer(p, reply);
	} else if (p->step == PROBE_TYPE && ok) {
		p->ways_left = ways_of(p);
		try_next_way(p);
	} else {
		fail_with(p, reply); /* TYPE is refused, or nobody asked */
	}
}

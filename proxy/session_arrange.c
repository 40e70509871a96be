// SPDX-License-Identifier: ISC
/*
 * Arranging a transfer: from the client's PASV, EPSV, PORT or EPRT to its
 * answer. The server's side comes first, by a command of ours in the way that
 * this server is to be used; then the client's side; then the client is told.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "sallyport/ftp_address.h"
#include "session_private.h"

/*
 * Ways to arrange the server's side, in the order in which `auto` tries them;
 * but PASV is first for a client that says PASV or PORT itself.
 */
enum method { METHOD_EPSV, METHOD_PASV, METHOD_EPRT, METHOD_PORT, METHOD_COUNT };

#define METHOD_BIT(m) (1u << (m))

static const enum verb method_verbs[METHOD_COUNT] = {
	[METHOD_EPSV] = VERB_EPSV,
	[METHOD_PASV] = VERB_PASV,
	[METHOD_EPRT] = VERB_EPRT,
	[METHOD_PORT] = VERB_PORT,
};

static void try_next_method(struct session *s);

/* --- arranging: what the client asks for ---------------------------------------- */

void transfer_refuse(struct session *s, int code, const char *text)
{
	counter_add(s->loop->counters, COUNT_COMMANDS_BAD, 1);
	session_say(s, code, text);
	command_error(s);
}

/* RFC 2428 section 3 and 4. True: the client wants a port; otherwise it has been answered. */
static bool check_epsv(struct session *s, const struct command *command)
{
	int family = session_reached(s)->family;

	if (!command->has_argument || command->argument.n == 0)
		return true;
	if (span_eq_nocase(command->argument, span_of("ALL"))) {
		s->epsv_all = true;
		session_say(s, 200, "EPSV ALL: no other data command will be taken.");
		return false;
	}
	if (span_eq(command->argument, span_of(family == AF_INET6 ? "2" : "1")))
		return true;
	if (command->argument.n == 1 && command->argument.p[0] >= '0' && command->argument.p[0] <= '9')
		transfer_refuse(s, 522, family == AF_INET6 ? "Network protocol not supported, use (2)."
						  : "Network protocol not supported, use (1).");
	else
		transfer_refuse(s, 501, "EPSV takes a protocol number or ALL.");
	return false;
}

/* RFC 2577: only the client's own host, and no port that a service may hold. */
static bool check_target(struct session *s, const struct netaddr *target)
{
	if (!netaddr_same_host(target, &s->info.client) && !s->policy->pass_foreign_data) {
		transfer_refuse(s, 504, "Data connections go to the host of the control connection only.");
		return false;
	}
	if (netaddr_port(target) == 0) {
		transfer_refuse(s, 501, "Port 0 is nobody's.");
		return false;
	}
	if (netaddr_port(target) < 1024 && !s->policy->pass_low_ports) {
		transfer_refuse(s, 504, "Data connections to ports below 1024 are refused.");
		return false;
	}
	return true;
}

/* Reads what the client's command says; false: it has been answered. */
static bool read_client_side(struct session *s, const struct command *command, struct netaddr *target)
{
	if (command->verb != VERB_EPSV && s->epsv_all) {
		transfer_refuse(s, 503, "Only EPSV is taken after EPSV ALL.");
		return false;
	}
	switch ((int)command->verb) {
	case VERB_EPSV:
		return check_epsv(s, command);
	case VERB_PASV:
		if (announce_is_possible(s))
			return true;
		transfer_refuse(s, 425, "PASV is for IPv4; use EPSV.");
		return false;
	case VERB_PORT:
		if (ftp_address_parse_port(command->argument, target))
			return check_target(s, target);
		transfer_refuse(s, 501, "PORT takes six numbers: h1,h2,h3,h4,p1,p2.");
		return false;
	default:
		break;
	}
	switch (ftp_address_parse_eprt(command->argument, target)) {
	case EPRT_OK:
		return check_target(s, target);
	case EPRT_FAMILY:
		transfer_refuse(s, 522, "Network protocol not supported, use (1,2).");
		return false;
	case EPRT_SYNTAX:
		break;
	}
	transfer_refuse(s, 501, "EPRT takes |protocol|address|port|.");
	return false;
}

/* --- arranging: the server's side ------------------------------------------------ */

static const struct netaddr *server_local(struct session *s)
{
	if (s->server_local.family == AF_UNSPEC) {
		socklen_t n = sizeof(s->server_local);

		if (getsockname(s->server.stream.fd, &s->server_local.sa, &n) != 0)
			memset(&s->server_local, 0, sizeof(s->server_local));
	}
	return &s->server_local;
}

/* `data = client`: the client's own way, or its extended form where only that can name the address. */
static unsigned method_of_client(const struct session *s, enum verb verb)
{
	bool ipv6 = s->info.server.family == AF_INET6;

	if (verb == VERB_EPSV || (verb == VERB_PASV && ipv6))
		return METHOD_BIT(METHOD_EPSV);
	if (verb == VERB_PASV)
		return METHOD_BIT(METHOD_PASV);
	return verb == VERB_EPRT || ipv6 ? METHOD_BIT(METHOD_EPRT) : METHOD_BIT(METHOD_PORT);
}

static unsigned methods_of_server(struct session *s, enum verb client_verb)
{
	unsigned lessons;
	unsigned methods;

	switch (s->server_config->data) {
	case DATA_EPSV:
		return METHOD_BIT(METHOD_EPSV);
	case DATA_PASV:
		return METHOD_BIT(METHOD_PASV);
	case DATA_EPRT:
		return METHOD_BIT(METHOD_EPRT);
	case DATA_PORT:
		return METHOD_BIT(METHOD_PORT);
	case DATA_CLIENT:
		return method_of_client(s, client_verb);
	case DATA_AUTO:
		break;
	}
	lessons = pool_ledger_lessons(s->pool->ledger, &s->slot);
	methods = METHOD_BIT(METHOD_EPSV) | METHOD_BIT(METHOD_EPRT);
	if (s->info.server.family == AF_INET)
		methods |= METHOD_BIT(METHOD_PASV) | METHOD_BIT(METHOD_PORT);
	if (lessons & LESSON_NO_EPSV)
		methods &= ~METHOD_BIT(METHOD_EPSV);
	if (lessons & LESSON_NO_PASV)
		methods &= ~METHOD_BIT(METHOD_PASV);
	if (lessons & LESSON_NO_EPRT)
		methods &= ~METHOD_BIT(METHOD_EPRT);
	return methods;
}

/* A listener of ours for the server, and the command that tells it where. */
static bool offer_port(struct session *s, enum method method)
{
	const struct data_source local = { .address = *server_local(s), .transparent = s->server_config->transparent };
	const struct data_peers peers = { .peer = s->info.server };
	char address[FTP_ADDRESS_TEXT_MAX];
	char line[FTP_ADDRESS_TEXT_MAX + 8];
	struct netaddr bound;
	size_t n;

	if (data_listen(s->transfer->data, SIDE_SERVER, &local, NULL, &peers, &bound) != 0)
		return false;
	n = method == METHOD_PORT ? ftp_address_write_port(address, &bound)
				  : ftp_address_write_eprt(address, &bound);
	if (n == 0)
		return false;
	snprintf(line, sizeof(line), "%s %s", method == METHOD_PORT ? "PORT" : "EPRT", address);
	session_to_server(s, PURPOSE_PREPARE, method_verbs[method], span_of(line));
	s->facts.data_offered_ms = s->loop->now_ms;
	return true;
}

/*
 * What the client says is what it would have said to the server; one of its age
 * may know EPSV so little that it does not even answer it. METHOD_COUNT: none is left.
 */
static enum method next_method(const struct transfer *t)
{
	enum method m = METHOD_EPSV;

	if ((t->client_verb == VERB_PASV || t->client_verb == VERB_PORT) &&
	    (t->methods_left & METHOD_BIT(METHOD_PASV)))
		return METHOD_PASV;
	while (m < METHOD_COUNT && !(t->methods_left & METHOD_BIT(m)))
		m++;
	return m;
}

static void try_next_method(struct session *s)
{
	struct transfer *t = s->transfer;
	enum method m;

	while ((m = next_method(t)) != METHOD_COUNT) {
		t->methods_left &= ~METHOD_BIT(m);
		t->server_verb = method_verbs[m];
		if (m == METHOD_EPSV || m == METHOD_PASV) {
			session_to_server(s, PURPOSE_PREPARE, t->server_verb,
					  span_of(m == METHOD_EPSV ? "EPSV" : "PASV"));
			return;
		}
		if (offer_port(s, m))
			return;
	}
	/* What it refused it may take next time: a lesson must not outlive its use. */
	pool_ledger_unlearn(s->pool->ledger, &s->slot);
	session_answered(s);
	transfer_discard(s);
	session_say(s, 425, "The server takes none of the data modes it was offered.");
}

void transfer_prepare(struct session *s, const struct command *command)
{
	struct netaddr target = { 0 };

	if (!read_client_side(s, command, &target) || session_is_over(s) || !transfer_new(s))
		return;
	s->transfer->client_verb = command->verb;
	s->transfer->client_target = target;
	s->transfer->methods_left = methods_of_server(s, command->verb);
	try_next_method(s);
}

/*
 * The address that a 227 or 229 gives. RFC 2577: the server's own host and no
 * port that a service may hold, unless configured otherwise.
 */
static bool read_server_side(struct session *s, const struct reply *reply, struct netaddr *target)
{
	struct netaddr said;
	uint16_t port;

	*target = s->info.server;
	if (reply->code == 229 && ftp_address_parse_229(reply->text, &port)) {
		netaddr_set_port(target, port);
	} else if (reply->code == 227 && ftp_address_parse_227(reply->text, &said)) {
		if (s->server_config->trust_pasv_address)
			*target = said;
		else
			netaddr_set_port(target, netaddr_port(&said));
	} else {
		return false;
	}
	return netaddr_port(target) >= 1024 || s->policy->pass_low_ports;
}

static void learn(struct session *s, enum verb verb)
{
	enum server_lesson lesson = verb == VERB_EPSV ? LESSON_NO_EPSV
				    : verb == VERB_PASV ? LESSON_NO_PASV
							: LESSON_NO_EPRT;

	if (verb != VERB_PORT)
		pool_ledger_learn(s->pool->ledger, &s->slot, lesson);
}

/* --- arranging: the client's side, and its answer --------------------------------- */

static void answer_active(struct session *s)
{
	struct transfer *t = s->transfer;

	data_arrange(t->data, SIDE_CLIENT, &t->client_target);
	t->prepared = true;
	session_reply(s, 200, "%s command successful.", verb_row(t->client_verb)->name);
}

/* "Not implemented" and the like, as opposed to "not now". */
static bool means_never(int code)
{
	return code == 500 || code == 501 || code == 502 || code == 504 || code == 522;
}

void transfer_on_prepare_reply(struct session *s, const struct reply *reply)
{
	struct transfer *t = s->transfer;
	bool passive = t->server_verb == VERB_EPSV || t->server_verb == VERB_PASV;
	struct netaddr target;

	if (!verb_reply_fits(t->server_verb, reply->code)) {
		if (s->late_abor && (reply->code == 225 || reply->code == 226)) {
			s->late_abor = false;
			return;
		}
		session_desync(s, reply->code);
		return;
	}
	if (reply_is_preliminary(reply->code))
		return;
	if (passive ? !read_server_side(s, reply, &target) : !reply_is_positive(reply->code)) {
		if (means_never(reply->code) && s->server_config->data == DATA_AUTO)
			learn(s, t->server_verb);
		data_abort(t->data, SIDE_SERVER);
		try_next_method(s);
		return;
	}
	if (passive)
		data_arrange(t->data, SIDE_SERVER, &target);
	session_answered(s);
	if (t->client_verb == VERB_PASV || t->client_verb == VERB_EPSV)
		announce_passive(s);
	else
		answer_active(s);
}

void session_on_data(struct session *s, int fd, uint64_t number)
{
	struct transfer *t = s->transfer;

	if (session_is_over(s) || t == NULL || !data_deliver(t->data, number, fd))
		door_refuse(s->loop->counters, fd);
}

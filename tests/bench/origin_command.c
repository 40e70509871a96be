// SPDX-License-Identifier: ISC
/*
 * The origin's commands: a table of fixed answers and functions.
 */
#include "origin.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char listing[] = "-rw-r--r-- 1 ftp ftp       1024 Jan 01 00:00 b1024\r\n"
			      "-rw-r--r-- 1 ftp ftp    1048576 Jan 01 00:00 b1048576\r\n"
			      "-rw-r--r-- 1 ftp ftp 1073741824 Jan 01 00:00 b1073741824\r\n";

static bool file_size(const char *name, uint64_t *size)
{
	const char *slash = strrchr(name, '/');
	char *end = NULL;

	if (slash != NULL)
		name = slash + 1;
	if (name[0] != 'b' || name[1] < '0' || name[1] > '9')
		return false;
	*size = strtoull(name + 1, &end, 10);
	return *end == '\0';
}

static void command_pasv(struct session *s, const char *argument)
{
	struct passive_port *port = port_take(s);
	char text[96];

	(void)argument;
	data_close(s);
	if (port == NULL) {
		session_reply(s, "421 No passive port is free.\r\n");
		return;
	}
	(void)snprintf(text, sizeof(text), "227 Entering Passive Mode (%s,%u,%u).\r\n",
	               origin.pasv_host, port->port >> 8U, port->port & 255U);
	session_reply(s, text);
}

static void command_epsv(struct session *s, const char *argument)
{
	struct passive_port *port = port_take(s);
	char text[96];

	(void)argument;
	data_close(s);
	if (port == NULL) {
		session_reply(s, "421 No passive port is free.\r\n");
		return;
	}
	(void)snprintf(text, sizeof(text), "229 Entering Extended Passive Mode (|||%u|)\r\n",
	               (unsigned int)port->port);
	session_reply(s, text);
}

static void command_port(struct session *s, const char *argument)
{
	uint8_t number[6];
	const char *at = argument;
	char *end = NULL;
	size_t i;

	for (i = 0; i < sizeof(number); i++) {
		number[i] = (uint8_t)strtoul(at, &end, 10);
		if (end == at || *end != (i == 5 ? '\0' : ',')) {
			session_reply(s, "501 Not an address.\r\n");
			return;
		}
		at = end + 1;
	}
	data_close(s);
	port_release(s);
	s->active.sin_family = AF_INET;
	memcpy(&s->active.sin_addr, number, 4);
	memcpy(&s->active.sin_port, number + 4, 2);
	session_reply(s, "200 PORT done.\r\n");
}

static void command_eprt(struct session *s, const char *argument)
{
	char host[INET_ADDRSTRLEN];
	const char *end = strlen(argument) > 3 ? strchr(argument + 3, argument[0]) : NULL;
	size_t length = end != NULL ? (size_t)(end - argument) - 3 : sizeof(host);
	struct in_addr address;

	if (length >= sizeof(host) || argument[1] != '1') {
		session_reply(s, "522 Only (1) is spoken here.\r\n");
		return;
	}
	memcpy(host, argument + 3, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, &address) != 1) {
		session_reply(s, "501 Not an address.\r\n");
		return;
	}
	data_close(s);
	port_release(s);
	s->active.sin_family = AF_INET;
	s->active.sin_addr = address;
	s->active.sin_port = htons((uint16_t)strtoul(end + 1, NULL, 10));
	session_reply(s, "200 EPRT done.\r\n");
}

static void command_retr(struct session *s, const char *argument)
{
	uint64_t size;

	if (!file_size(argument, &size)) {
		session_reply(s, "550 Files are called by their size, like b1024.\r\n");
		return;
	}
	transfer_begin(s, TRANSFER_SEND, NULL, size);
}

static void command_stor(struct session *s, const char *argument)
{
	(void)argument;
	transfer_begin(s, TRANSFER_RECEIVE, NULL, 0);
}

static void command_list(struct session *s, const char *argument)
{
	(void)argument;
	transfer_begin(s, TRANSFER_SEND, listing, sizeof(listing) - 1);
}

static void command_size(struct session *s, const char *argument)
{
	char text[48];
	uint64_t size;

	if (!file_size(argument, &size)) {
		session_reply(s, "550 No such file.\r\n");
		return;
	}
	(void)snprintf(text, sizeof(text), "213 %llu\r\n", (unsigned long long)size);
	session_reply(s, text);
}

static void command_auth(struct session *s, const char *argument)
{
	SSL *tls;

	(void)argument;
	if (origin.tls == NULL || s->control_tls != NULL) {
		session_reply(s, "502 No TLS here.\r\n");
		return;
	}
	session_reply(s, "234 Go on.\r\n");
	tls = SSL_new(origin.tls);
	if (tls == NULL || SSL_set_fd(tls, s->control.fd) != 1)
		bench_fail(0, "no TLS connection");
	SSL_set_accept_state(tls);
	s->control_tls = tls;
	s->used = 0;
}

static void command_prot(struct session *s, const char *argument)
{
	bool private_data = argument[0] == 'P' || argument[0] == 'p';

	if (private_data && s->control_tls == NULL) {
		session_reply(s, "536 Not without AUTH.\r\n");
		return;
	}
	s->private_data = private_data;
	session_reply(s, "200 PROT done.\r\n");
}

static void command_abor(struct session *s, const char *argument)
{
	(void)argument;
	if (s->transfer != TRANSFER_NONE)
		transfer_done(s, false);
	data_close(s);
	port_release(s);
	session_reply(s, "226 Nothing runs.\r\n");
}

static void command_quit(struct session *s, const char *argument)
{
	(void)argument;
	session_reply(s, "221 Goodbye.\r\n");
	session_end(s);
}

/* A row has a fixed answer or a function. */
static const struct command {
	const char *verb;
	const char *answer;
	void (*run)(struct session *s, const char *argument);
} commands[] = {
	{ "NOOP", "200 Fine.\r\n", NULL },
	{ "USER", "331 Password, please.\r\n", NULL },
	{ "PASS", "230 Logged on.\r\n", NULL },
	{ "QUIT", NULL, command_quit },
	{ "PASV", NULL, command_pasv },
	{ "EPSV", NULL, command_epsv },
	{ "RETR", NULL, command_retr },
	{ "STOR", NULL, command_stor },
	{ "TYPE", "200 TYPE done.\r\n", NULL },
	{ "PORT", NULL, command_port },
	{ "EPRT", NULL, command_eprt },
	{ "LIST", NULL, command_list },
	{ "NLST", NULL, command_list },
	{ "SIZE", NULL, command_size },
	{ "SYST", "215 UNIX Type: L8\r\n", NULL },
	{ "FEAT", "211-Features:\r\n EPSV\r\n SIZE\r\n211 End\r\n", NULL },
	{ "PWD", "257 \"/\" is where you are.\r\n", NULL },
	{ "CWD", "250 CWD done.\r\n", NULL },
	{ "CDUP", "250 CDUP done.\r\n", NULL },
	{ "MODE", "200 MODE done.\r\n", NULL },
	{ "STRU", "200 STRU done.\r\n", NULL },
	{ "OPTS", "200 OPTS done.\r\n", NULL },
	{ "AUTH", NULL, command_auth },
	{ "PBSZ", "200 PBSZ=0\r\n", NULL },
	{ "PROT", NULL, command_prot },
	{ "ABOR", NULL, command_abor },
};

void session_command(struct session *s, char *line)
{
	char *argument = strchr(line, ' ');
	size_t i;

	if (argument != NULL)
		*argument++ = '\0';
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcasecmp(line, commands[i].verb) != 0)
			continue;
		if (commands[i].run != NULL)
			commands[i].run(s, argument != NULL ? argument : "");
		else
			session_reply(s, commands[i].answer);
		return;
	}
	session_reply(s, "500 Unknown.\r\n");
}

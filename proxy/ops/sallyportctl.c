// SPDX-License-Identifier: ISC
/*
 * sallyportctl: asks a running Sallyport on its admin socket and shows the
 * answer, as tables for people or as the JSON that came. It knows the protocol
 * (admin.h) and how to lay out values by the names of their columns; what there
 * is to ask, the server knows.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "sallyport/base.h"

#define DEFAULT_SOCKET "/run/sallyport/admin.sock"
#define ANSWER_SECONDS 30 /* how long the server may be silent */
#define CELL_MAX 1024
#define COLUMNS_MAX 32
#define NAME_WIDTH 44 /* of single values, so that theirs stand in a column */

enum exit_code { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_USAGE = 2 };

struct options {
	const char *socket;
	bool json;
	bool wide;
};

/* ---- values as text -------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s);
	size_t k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* 340ms, 12s, 3m12s, 2h05m, 3d04h. */
static void format_age(int64_t ms, char *buf, size_t size)
{
	const char *sign = ms < 0 ? "-" : "";
	unsigned long long v = ms < 0 ? 0ULL - (unsigned long long)ms : (unsigned long long)ms;
	unsigned long long s = v / 1000;

	if (v > 0 && s == 0)
		snprintf(buf, size, "%s%llums", sign, v);
	else if (s < 60)
		snprintf(buf, size, "%s%llus", sign, s);
	else if (s < 3600)
		snprintf(buf, size, "%s%llum%02llus", sign, s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%s%lluh%02llum", sign, s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%s%llud%02lluh", sign, s / 86400, s / 3600 % 24);
}

/* 512, 1.2K, 34M, 5.6G: powers of 1024. */
static void format_bytes(int64_t bytes, char *buf, size_t size)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, size, "%lld", (long long)bytes);
		return;
	}
	for (v /= 1024; v >= 1023.5 && unit + 2 < sizeof(units); unit++)
		v /= 1024;
	snprintf(buf, size, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[unit]);
}

static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* Length of the UTF-8 character at s, and its code. jansson has checked that it is valid. */
static size_t character(const unsigned char *s, uint32_t *code)
{
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	*code = length == 1 ? s[0] : s[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++)
		*code = *code << 6 | (s[i] & 0x3fu);
	return length;
}

/* What a name holds must not move the cursor of who looks at it. Cut to fit. */
static void copy_safe(const char *from, char *buf, size_t size)
{
	const unsigned char *s = (const unsigned char *)from;
	size_t n = 0;

	while (*s != '\0') {
		char escaped[16];
		uint32_t code;
		size_t length = character(s, &code);
		size_t k = length;

		if (is_unsafe(code))
			k = (size_t)snprintf(escaped, sizeof(escaped),
			                     code < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)code);
		if (n + k >= size)
			break;
		memcpy(buf + n, is_unsafe(code) ? (const void *)escaped : (const void *)s, k);
		n += k;
		s += length;
	}
	buf[n] = '\0';
}

/* The value of a column (or of a single name) as people read it. */
static void format_value(const char *name, const json_t *value, char buf[CELL_MAX])
{
	if (json_is_string(value))
		copy_safe(json_string_value(value), buf, CELL_MAX);
	else if (json_is_integer(value) && ends_with(name, "_ms"))
		format_age(json_integer_value(value), buf, CELL_MAX);
	else if (json_is_integer(value) && strncmp(name, "bytes_", 6) == 0)
		format_bytes(json_integer_value(value), buf, CELL_MAX);
	else if (json_is_integer(value))
		snprintf(buf, CELL_MAX, "%lld%s", (long long)json_integer_value(value),
		         ends_with(name, "_us") ? " us" : "");
	else if (json_is_boolean(value))
		snprintf(buf, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(buf, CELL_MAX, "-");
}

/* "age_ms" is shown as an age, so its title is "AGE". */
static void format_title(const char *name, char buf[CELL_MAX])
{
	copy_safe(name, buf, CELL_MAX);
	if (ends_with(buf, "_ms") || ends_with(buf, "_us"))
		buf[strlen(buf) - 3] = '\0';
	for (char *c = buf; *c != '\0'; c++) {
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
		else if (*c == '_')
			*c = ' ';
	}
}

/* Characters, not bytes. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_padded(const char *text, size_t width, bool right, bool last)
{
	size_t have = width_of(text);
	int pad = have < width ? (int)(width - have) : 0;

	if (right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Columns that fit a screen, for tables that have more; --wide shows all. */
static const struct {
	const char *table;
	const char *columns[16]; /* ends with NULL */
} narrow[] = {
	{ "sessions",
	  { "id", "client", "user", "server_name", "place", "verb", "age_ms", "idle_ms", "due_ms",
	    "bytes_up", "bytes_down", NULL } },
	{ "servers",
	  { "pool", "server", "state", "backup", "weight", "sessions", "max_sessions", "warm", "logons",
	    "failures", "down_for_ms", "changed_ms", "reason", NULL } },
};

struct table {
	const json_t *rows;
	const char *columns[COLUMNS_MAX];
	size_t columns_n;
	size_t width[COLUMNS_MAX];
	bool number[COLUMNS_MAX];
};

static void choose_columns(struct table *t, const char *name, bool wide)
{
	json_t *first = json_array_get(t->rows, 0);
	const char *key;
	json_t *value;

	t->columns_n = 0;
	for (size_t i = 0; !wide && i < SP_ARRAY_LEN(narrow); i++) {
		if (strcmp(narrow[i].table, name) != 0)
			continue;
		for (; narrow[i].columns[t->columns_n] != NULL; t->columns_n++)
			t->columns[t->columns_n] = narrow[i].columns[t->columns_n];
		return;
	}
	json_object_foreach(first, key, value)
	{
		if (t->columns_n < COLUMNS_MAX)
			t->columns[t->columns_n++] = key;
	}
}

/* A lock that nobody has taken says nothing. */
static bool is_shown(const json_t *row, bool wide)
{
	const json_t *taken = json_object_get(row, "taken");

	return wide || !json_is_integer(taken) || json_integer_value(taken) > 0;
}

static void measure(struct table *t, bool wide)
{
	char cell[CELL_MAX];
	json_t *row;
	size_t i;

	for (size_t c = 0; c < t->columns_n; c++) {
		format_title(t->columns[c], cell);
		t->width[c] = width_of(cell);
		t->number[c] = false;
	}
	json_array_foreach(t->rows, i, row)
	{
		for (size_t c = 0; c < t->columns_n && is_shown(row, wide); c++) {
			const json_t *value = json_object_get(row, t->columns[c]);
			size_t width;

			format_value(t->columns[c], value, cell);
			width = width_of(cell);
			if (width > t->width[c])
				t->width[c] = width;
			if (json_is_integer(value))
				t->number[c] = true;
		}
	}
}

static void print_table(const char *name, const json_t *rows, bool wide)
{
	struct table t = { .rows = rows };
	char cell[CELL_MAX];
	json_t *row;
	size_t i;

	if (json_array_size(rows) == 0) {
		printf("no %s\n", name);
		return;
	}
	choose_columns(&t, name, wide);
	measure(&t, wide);
	for (size_t c = 0; c < t.columns_n; c++) {
		format_title(t.columns[c], cell);
		print_padded(cell, t.width[c], t.number[c], c + 1 == t.columns_n);
	}
	json_array_foreach(rows, i, row)
	{
		for (size_t c = 0; c < t.columns_n && is_shown(row, wide); c++) {
			format_value(t.columns[c], json_object_get(row, t.columns[c]), cell);
			print_padded(cell, t.width[c], t.number[c], c + 1 == t.columns_n);
		}
	}
}

/* Lines of text that come as a table of one column. */
static bool print_lines(const json_t *rows)
{
	char cell[CELL_MAX];
	json_t *row;
	size_t i;

	if (json_object_size(json_array_get(rows, 0)) != 1 ||
	    json_object_get(json_array_get(rows, 0), "line") == NULL)
		return false;
	json_array_foreach(rows, i, row)
	{
		format_value("line", json_object_get(row, "line"), cell);
		puts(cell);
	}
	return true;
}

/* Members that are zero are left out, and with them whole groups. */
static void print_group(const char *name, const json_t *group, bool wide)
{
	char label[CELL_MAX];
	char title[2 * CELL_MAX + 4];
	char cell[CELL_MAX];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)group, key, value)
	{
		if (!wide && json_is_integer(value) && json_integer_value(value) == 0)
			continue;
		copy_safe(key, label, sizeof(label));
		snprintf(title, sizeof(title), "%s{%s}", name, label);
		format_value(name, value, cell);
		print_padded(title, NAME_WIDTH, false, false);
		puts(cell);
	}
}

static void print_scalar(const char *name, const json_t *value)
{
	char cell[CELL_MAX];

	format_value(name, value, cell);
	print_padded(name, NAME_WIDTH, false, false);
	puts(cell);
}

static void print_answer(const json_t *answer, bool wide)
{
	char name[CELL_MAX];
	bool above = false;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)answer, key, value)
	{
		copy_safe(key, name, sizeof(name));
		if (json_is_array(value)) {
			if (above)
				putchar('\n');
			if (!print_lines(value))
				print_table(name, value, wide);
		} else if (json_is_object(value)) {
			print_group(name, value, wide);
		} else {
			print_scalar(name, value);
		}
		above = true;
	}
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int complain(const char *socket, const char *what)
{
	const char *hint = "";

	if (errno == ENOENT || errno == ECONNREFUSED)
		hint = "; is sallyport running? (-s SOCKET: another socket)";
	else if (errno == EACCES || errno == EPERM)
		hint = "; it is for root and for the user that sallyport runs as";
	fprintf(stderr, "sallyportctl: %s: %s: %s%s\n", socket, what, strerror(errno), hint);
	return EXIT_ERROR;
}

/* A connected socket, or -1 when that has been complained about. */
static int dial(const char *path)
{
	struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		complain(path, "cannot connect");
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) == -1) {
		complain(path, "cannot connect");
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k == -1 && errno == EINTR)
			continue;
		if (k == -1)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* One line, without its end, to be freed; NULL: errno says why (EPROTO: it ended too early). */
static char *receive_line(int fd)
{
	size_t size = 65536;
	size_t n = 0;
	char *line = malloc(size);

	while (line != NULL) {
		ssize_t k = recv(fd, line + n, size - n - 1, 0);
		char *end;

		if (k == -1 && errno == EINTR)
			continue;
		if (k <= 0) {
			if (k == 0)
				errno = EPROTO;
			break;
		}
		end = memchr(line + n, '\n', (size_t)k);
		n += (size_t)k;
		if (end != NULL) {
			*end = '\0';
			return line;
		}
		if (n + 1 == size) {
			char *more = realloc(line, size *= 2);

			if (more == NULL)
				break;
			line = more;
		}
	}
	int error = errno;
	free(line);
	errno = error;
	return NULL;
}

/* The answer to one command, to be freed, or NULL when that has been complained about. */
static char *ask(const struct options *options, const char *command)
{
	int fd = dial(options->socket);
	char *line = NULL;

	if (fd == -1)
		return NULL;
	/* What the server says when it takes no more clients may stand there before anything is
	 * sent. */
	(void)send_all(fd, command, strlen(command));
	line = receive_line(fd);
	if (line == NULL && errno == EAGAIN)
		fprintf(stderr, "sallyportctl: %s: no answer within %d s\n", options->socket,
		        ANSWER_SECONDS);
	else if (line == NULL && errno == EPROTO)
		fprintf(
		    stderr,
		    "sallyportctl: %s: the connection was closed before the answer was complete\n",
		    options->socket);
	else if (line == NULL)
		complain(options->socket, "no answer");
	close(fd);
	return line;
}

static int show(const struct options *options, const char *line)
{
	json_error_t error;
	json_t *answer = json_loads(line, 0, &error);
	const char *refusal = json_string_value(json_object_get(answer, "error"));
	int code = EXIT_OK;
	char text[CELL_MAX];

	if (answer == NULL) {
		bool refused = strncmp(line, "error: ", 7) == 0;

		fprintf(stderr, "sallyportctl: %.200s\n",
		        refused ? line : "the answer is not JSON; is that sallyport?");
		return EXIT_ERROR;
	}
	if (refusal != NULL) {
		copy_safe(refusal, text, sizeof(text));
		fprintf(stderr, "sallyportctl: error: %s\n", text);
		code = EXIT_ERROR;
	}
	if (options->json)
		puts(line);
	else if (refusal == NULL)
		print_answer(answer, options->wide);
	json_decref(answer);
	if (fflush(stdout) == EOF) {
		perror("sallyportctl: standard output");
		code = EXIT_ERROR;
	}
	return code;
}

/* ---- the command line ------------------------------------------------------------------------ */

static void print_usage(FILE *to)
{
	static const char *const commands[][3] = {
#define ADMIN_COMMAND(id, words, argument, role, help) { words, #argument, help },
#include "sallyport/tbl/admin_commands.def"
#undef ADMIN_COMMAND
	};

	fprintf(to, "Usage: sallyportctl [OPTION]... COMMAND\n"
	            "Asks a running sallyport on its admin socket.\n\n"
	            "  -s, --socket=PATH  the socket (default " DEFAULT_SOCKET ")\n"
	            "  -j, --json         show the answer as JSON, as it came\n"
	            "  -w, --wide         show all columns, and what is zero\n"
	            "  -h, --help         show this\n"
	            "  -V, --version      show the version\n\n"
	            "Commands:\n");
	for (size_t i = 0; i < SP_ARRAY_LEN(commands); i++) {
		char name[64];
		const char *argument = strcmp(commands[i][1], "ID") == 0    ? " ID"
		                       : strcmp(commands[i][1], "NOW") == 0 ? " [--now]"
		                                                            : "";

		snprintf(name, sizeof(name), "%s%s", commands[i][0], argument);
		fprintf(to, "  %-22s %s\n", name, commands[i][2]);
	}
	fprintf(to, "\nExit status: 0 done, 1 refused or not reachable, 2 wrong usage.\n");
}

/* The words as one line with "json" behind; false: they are no command. */
static bool make_command(int n, char *words[], struct options *options, char *buf, size_t size)
{
	size_t at = 0;

	if (n > 0 && strcmp(words[n - 1], "json") == 0) {
		options->json = true;
		n--;
	}
	for (int i = 0; i < n; i++) {
		int k = snprintf(buf + at, size - at, "%s ", words[i]);

		if (k < 0 || (size_t)k >= size - at || words[i][strcspn(words[i], "\r\n")] != '\0')
			return false;
		at += (size_t)k;
	}
	return n > 0 && (size_t)snprintf(buf + at, size - at, "json\n") < size - at;
}

int main(int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' }, { "json", no_argument, NULL, 'j' },
		{ "wide", no_argument, NULL, 'w' },         { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },      { NULL, 0, NULL, 0 },
	};
	struct options options = { .socket = DEFAULT_SOCKET };
	char command[512];
	int c;

	/* "+": options end at the command, so that `show orphans --now` reaches the server. */
	while ((c = getopt_long(argc, argv, "+s:jwhV", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			options.socket = optarg;
			break;
		case 'j':
			options.json = true;
			break;
		case 'w':
			options.wide = true;
			break;
		case 'h':
			print_usage(stdout);
			return EXIT_OK;
		case 'V':
			puts("sallyportctl " SALLYPORT_VERSION);
			return EXIT_OK;
		default:
			fprintf(stderr, "Try: sallyportctl --help\n");
			return EXIT_USAGE;
		}
	}
	/* Options behind the command are as good as before it, but for those that the server knows.
	 */
	while (argc - optind > 1 &&
	       (strcmp(argv[argc - 1], "--json") == 0 || strcmp(argv[argc - 1], "--wide") == 0)) {
		if (strcmp(argv[argc - 1], "--json") == 0)
			options.json = true;
		else
			options.wide = true;
		argc--;
	}
	if (!make_command(argc - optind, argv + optind, &options, command, sizeof(command))) {
		fprintf(stderr, "sallyportctl: %s\nTry: sallyportctl --help\n",
		        argc == optind ? "no command" : "not a command");
		return EXIT_USAGE;
	}
	char *line = ask(&options, command);
	if (line == NULL)
		return EXIT_ERROR;
	c = show(&options, line);
	free(line);
	return c;
}

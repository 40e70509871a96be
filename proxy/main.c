// SPDX-License-Identifier: ISC
/*
 * sallyport: options, configuration, signals. The table of contents of the
 * program is runtime.c; the program is worker.c, listener.c, session*.c.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "sallyport/config.h"
#include "sallyport/route_query.h"
#include "sallyport/runtime.h"
#include "sallyport/runtime_names.h"
#include "sallyport/runtime_user.h"
#include "sallyport/secret_keeper.h"
#include "sallyport/tls_memory.h"

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_NO_ROUTE = 3 };

#define ADDRESSES_MAX 64

struct options {
	const char *file;
	bool check;
	const char *route; /* with check: the question about routes */
	const char *listens[ADDRESSES_MAX];
	size_t listens_n;
	const char *servers[ADDRESSES_MAX];
	size_t servers_n;
};

struct program {
	struct runtime *runtime;
	unsigned terminations; /* SIGTERM and SIGINT so far */
};

static void usage(FILE *to)
{
	fputs("usage: sallyport [-t [--route LOGON]] [-c FILE]\n"
	      "       sallyport [-t] --listen ADDRESS:PORT --server HOST:PORT\n"
	      "\n"
	      "An FTP proxy: relays clients to FTP servers, balances their logons and\n"
	      "ends sessions that idle. Runs in the foreground.\n"
	      "\n"
	      "  -c, --config FILE   configuration (default " CONFIG_DEFAULT_FILE ")\n"
	      "  -t, --test          check the configuration, say what it means, and exit\n"
	      "      --route LOGON   with -t: say which route, pool and policy a logon would get, and\n"
	      "                      why; LOGON: user=NAME,source=ADDRESS,listener=NAME,host=NAME,\n"
	      "                      time=\"mon 09:30\",certificate=SUBJECT, or some of these\n"
	      "      --listen ADDR   without a file: accept clients here (may be repeated)\n"
	      "      --server ADDR   without a file: relay to this server (may be repeated)\n"
	      "  -V, --version       print the version\n"
	      "  -h, --help          print this\n"
	      "\n"
	      "SIGHUP reloads the configuration and opens the log file again; SIGTERM and\n"
	      "SIGINT let transfers end (drain_timeout), a second one does not wait.\n"
	      "Exit status: 0, 1 (cannot run), 2 (usage or configuration), 3 (--route: refused).\n",
	      to);
}

static bool add_address(const char *list[], size_t *n)
{
	if (*n == ADDRESSES_MAX) {
		fprintf(stderr, "sallyport: at most %d addresses can be given\n", ADDRESSES_MAX);
		return false;
	}
	list[(*n)++] = optarg;
	return true;
}

/* -1: go on; otherwise the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' }, { "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },	    { "help", no_argument, NULL, 'h' },
		{ "listen", required_argument, NULL, 'l' }, { "server", required_argument, NULL, 's' },
		{ "route", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->file = optarg;
			break;
		case 't':
			o->check = true;
			break;
		case 'r':
			o->route = optarg;
			break;
		case 'V':
			puts("sallyport " SALLYPORT_VERSION);
			return EXIT_OK;
		case 'h':
			usage(stdout);
			return EXIT_OK;
		case 'l':
			if (!add_address(o->listens, &o->listens_n))
				return EXIT_USAGE;
			break;
		case 's':
			if (!add_address(o->servers, &o->servers_n))
				return EXIT_USAGE;
			break;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sallyport: %s: not an option\n", argv[optind]);
		usage(stderr);
		return EXIT_USAGE;
	}
	if (o->route != NULL && !o->check) {
		fprintf(stderr, "sallyport: --route goes together with -t\n");
		return EXIT_USAGE;
	}
	if ((o->listens_n > 0) != (o->servers_n > 0)) {
		fprintf(stderr, "sallyport: --listen and --server go together\n");
		return EXIT_USAGE;
	}
	if (o->listens_n > 0 && o->file != NULL) {
		fprintf(stderr, "sallyport: --listen and --server are instead of a configuration file\n");
		return EXIT_USAGE;
	}
	return -1;
}

static void print_lines(const char *prefix, const struct config_errors *list)
{
	for (size_t i = 0; i < list->n; i++)
		fprintf(stderr, "%s%s\n", prefix, list->lines[i]);
}

static struct config *load(const struct options *o)
{
	struct config_errors errors = { 0 };
	struct config_errors warnings = { 0 };
	struct config *config;

	if (o->listens_n > 0)
		config = config_from_command_line(o->listens, o->listens_n, o->servers, o->servers_n,
						  &errors);
	else
		config = config_load(o->file != NULL ? o->file : CONFIG_DEFAULT_FILE, &errors, &warnings);
	print_lines("warning: ", &warnings);
	print_lines("", &errors);
	config_errors_fini(&errors);
	config_errors_fini(&warnings);
	return config;
}

static void print_line(void *ctx, const char *text)
{
	fprintf(ctx, "%s\n", text);
}

static int check(const struct options *o, struct config *config)
{
	char error[ROUTE_QUERY_ERROR_MAX];

	if (o->route == NULL) {
		runtime_names_look_up(config);
		config_explain(config, print_line, stdout);
		return EXIT_OK;
	}
	switch (route_query(config, o->route, print_line, stdout, error)) {
	case ROUTE_ANSWER_POOL:
		return EXIT_OK;
	case ROUTE_ANSWER_REFUSED:
		return EXIT_NO_ROUTE;
	case ROUTE_ANSWER_BAD:
		fprintf(stderr, "sallyport: %s\n", error);
		return EXIT_USAGE;
	case ROUTE_ANSWER_NO_MEMORY:
		break;
	}
	fprintf(stderr, "sallyport: out of memory\n");
	return EXIT_RUNTIME;
}

static void on_terminate(evutil_socket_t number, short what, void *arg)
{
	struct program *program = arg;

	(void)number;
	(void)what;
	if (program->terminations++ == 0)
		runtime_drain(program->runtime);
	else
		runtime_stop_now(program->runtime);
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
	struct program *program = arg;

	(void)number;
	(void)what;
	if (program->terminations == 0)
		runtime_reload(program->runtime);
}

/* Signals are for main's loop: the threads that are made later inherit the mask. */
static void block_signals(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, old);
	signal(SIGPIPE, SIG_IGN);
}

static int serve(struct event_base *base, struct config *config)
{
	struct program program = { 0 };
	struct event *signals[3];
	char error[RUNTIME_ERROR_MAX] = "";
	sigset_t old;

	signals[0] = evsignal_new(base, SIGTERM, on_terminate, &program);
	signals[1] = evsignal_new(base, SIGINT, on_terminate, &program);
	signals[2] = evsignal_new(base, SIGHUP, on_hangup, &program);
	block_signals(&old);
	program.runtime = runtime_start(base, config, error);
	if (program.runtime != NULL) {
		for (size_t i = 0; i < SP_ARRAY_LEN(signals); i++) {
			if (signals[i] != NULL)
				event_add(signals[i], NULL);
		}
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		event_base_dispatch(base);
	} else {
		fprintf(stderr, "sallyport: %s\n", error);
	}
	for (size_t i = 0; i < SP_ARRAY_LEN(signals); i++) {
		if (signals[i] != NULL)
			event_free(signals[i]);
	}
	if (program.runtime == NULL)
		return EXIT_RUNTIME;
	runtime_free(&program.runtime);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int status = read_options(argc, argv, &options);
	char error[RUNTIME_USER_ERROR_MAX];
	struct config *config;
	struct event_base *base;

	if (status >= 0)
		return status;
	tls_memory_use();
	config = load(&options);
	if (config == NULL)
		return EXIT_USAGE;
	if (options.check) {
		status = check(&options, config);
		config_unref(&config);
		return status;
	}
	if (!runtime_user_become(config, error)) {
		fprintf(stderr, "sallyport: user: %s\n", error);
		config_unref(&config);
		return EXIT_RUNTIME;
	}
	base = event_base_new();
	if (base == NULL) {
		fprintf(stderr, "sallyport: cannot make an event loop\n");
		config_unref(&config);
		secret_keeper_stop();
		return EXIT_RUNTIME;
	}
	status = serve(base, config);
	secret_keeper_stop();
	event_base_free(base);
	libevent_global_shutdown();
	return status;
}

// SPDX-License-Identifier: ISC
/*
 * Load generator: options, the phases of a run, the report (one JSON object).
 *
 * A run logs on and warms up, says "ready", measures, prints the report and
 * says "done" before it lets go of its sessions, so that a driver can read
 * counters at both moments (--controlled: it answers each with a line).
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct load_options load = {
	.sessions = 1,
	.threads = 1,
	.size = 1024,
	.duration = 2.0,
	.warmup = 0.2,
	.limit = 10.0,
	.pace = 0.01,
	.idle_timeout = 10.0,
	.others = 32,
	.user = "bench",
	.password = "bench@example.net",
};
SSL_CTX *load_tls_context;

static pthread_barrier_t phase;

static const struct {
	const char *name;
	enum load_mode mode;
} modes[] = {
	{ "logon", MODE_LOGON }, { "noop", MODE_NOOP }, { "retr", MODE_RETR },
	{ "stor", MODE_STOR },   { "idle", MODE_IDLE }, { "expire", MODE_EXPIRE },
};

static const char *const error_names[ERROR_KINDS] = { "connect", "lost", "refused", "timeout",
	                                              "truncated" };

__attribute__((noreturn)) static void usage(void)
{
	(void)fputs(
	    "usage: bench_load --mode logon|noop|retr|stor|idle|expire --target ADDRESS:PORT\n"
	    "  --sessions N        at a time, in all threads together (1)\n"
	    "  --threads N         (1)\n"
	    "  --duration SECONDS  of the measured part (2); --warmup SECONDS before it (0.2)\n"
	    "  --size BYTES        of a file: RETR and STOR of b<size> (1024)\n"
	    "  --tls explicit|implicit, --no-prot, --epsv\n"
	    "  --user NAME, --password TEXT\n"
	    "  --source ADDRESS --sources N   connect from N addresses, from this one on\n"
	    "  --idle-timeout SECONDS, --others N, --pace SECONDS   for expire\n"
	    "  --limit SECONDS     no reply takes longer (10)\n"
	    "  --controlled        a line on stdin begins the measured part, another ends the "
	    "run\n",
	    stderr);
	exit(2);
}

static enum load_mode parse_mode(const char *text)
{
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, text) == 0)
			return modes[i].mode;
	}
	bench_fail(0, "--mode: \"%s\" is none", text);
}

static enum load_tls parse_tls(const char *text)
{
	if (strcmp(text, "none") == 0)
		return LOAD_TLS_NONE;
	if (strcmp(text, "explicit") == 0)
		return LOAD_TLS_EXPLICIT;
	if (strcmp(text, "implicit") == 0)
		return LOAD_TLS_IMPLICIT;
	bench_fail(0, "--tls: \"%s\" is not none, explicit or implicit", text);
}

// clang-format off
static void option_set(int option)
{
	switch (option) {
	case 'm': load.mode = parse_mode(optarg); return;
	case 'a': load.target = bench_parse_address("target", optarg); return;
	case 'n': load.sessions = (unsigned int)bench_parse_number("sessions", optarg, 1000000); return;
	case 't': load.threads = (unsigned int)bench_parse_number("threads", optarg, 256); return;
	case 'd': load.duration = bench_parse_seconds("duration", optarg); return;
	case 'w': load.warmup = bench_parse_seconds("warmup", optarg); return;
	case 'z': load.size = bench_parse_number("size", optarg, (uint64_t)1 << 50); return;
	case 'T': load.tls = parse_tls(optarg); return;
	case 'P': load.no_prot = true; return;
	case 'e': load.epsv = true; return;
	case 'u': load.user = optarg; return;
	case 'p': load.password = optarg; return;
	case 's': load.source = bench_parse_address("source", optarg).sin_addr; return;
	case 'S': load.sources = (unsigned int)bench_parse_number("sources", optarg, 65536); return;
	case 'i': load.idle_timeout = bench_parse_seconds("idle-timeout", optarg); return;
	case 'o': load.others = (unsigned int)bench_parse_number("others", optarg, 10000); return;
	case 'g': load.pace = bench_parse_seconds("pace", optarg); return;
	case 'l': load.limit = bench_parse_seconds("limit", optarg); return;
	case 'c': load.controlled = true; return;
	default: usage();
	}
}
// clang-format on

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "target", required_argument, NULL, 'a' },
		{ "sessions", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 't' },
		{ "duration", required_argument, NULL, 'd' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "size", required_argument, NULL, 'z' },
		{ "tls", required_argument, NULL, 'T' },
		{ "no-prot", no_argument, NULL, 'P' },
		{ "epsv", no_argument, NULL, 'e' },
		{ "user", required_argument, NULL, 'u' },
		{ "password", required_argument, NULL, 'p' },
		{ "source", required_argument, NULL, 's' },
		{ "sources", required_argument, NULL, 'S' },
		{ "idle-timeout", required_argument, NULL, 'i' },
		{ "others", required_argument, NULL, 'o' },
		{ "pace", required_argument, NULL, 'g' },
		{ "limit", required_argument, NULL, 'l' },
		{ "controlled", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	bool have_mode = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		have_mode = have_mode || option == 'm';
		option_set(option);
	}
	if (optind != argc || !have_mode || load.target.sin_port == 0 || load.sessions == 0 ||
	    load.threads == 0)
		usage();
	if (load.threads > load.sessions)
		load.threads = load.sessions;
}

/* --- phases ---------------------------------------------------------------------------- */

static void *worker_main(void *argument)
{
	struct worker *w = argument;

	worker_prepare(w);
	(void)pthread_barrier_wait(&phase); /* all are ready */
	(void)pthread_barrier_wait(&phase); /* go */
	worker_measure(w);
	(void)pthread_barrier_wait(&phase); /* all are done */
	(void)pthread_barrier_wait(&phase); /* let go */
	worker_fini(w);
	return NULL;
}

static void wait_for_driver(void)
{
	char line[16];

	if (load.controlled && fgets(line, sizeof(line), stdin) == NULL)
		exit(2); /* the driver has gone */
}

/* --- the report ------------------------------------------------------------------------ */

static void print_text(const char *name, const char *text)
{
	const char *p;

	(void)printf(", \"%s\": \"", name);
	for (p = text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			(void)printf("\\%c", *p);
		else if ((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f)
			(void)putchar(*p);
		else
			(void)putchar('?');
	}
	(void)putchar('"');
}

static void print_histogram(const char *name, const struct histogram *h)
{
	(void)printf(", \"%s\": {\"count\": %llu, \"mean_us\": %.3f, \"p50_us\": %.3f, "
	             "\"p90_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}",
	             name, (unsigned long long)h->count, histogram_mean(h) / 1e3,
	             (double)histogram_percentile(h, 0.5) / 1e3,
	             (double)histogram_percentile(h, 0.9) / 1e3,
	             (double)histogram_percentile(h, 0.99) / 1e3, (double)h->max / 1e3);
}

static void tally_merge(struct tally *into, const struct tally *from)
{
	int i;

	histogram_merge(&into->operations, &from->operations);
	histogram_merge(&into->logons, &from->logons);
	histogram_merge(&into->meanwhile, &from->meanwhile);
	histogram_merge(&into->late, &from->late);
	into->bytes += from->bytes;
	into->told += from->told;
	into->silent += from->silent;
	into->lingered += from->lingered;
	for (i = 0; i < ERROR_KINDS; i++)
		into->errors[i] += from->errors[i];
	if (into->first_error[0] == '\0')
		(void)snprintf(into->first_error, sizeof(into->first_error), "%s",
		               from->first_error);
}

static void report(const struct worker *workers, unsigned int count, const struct tally *prepared,
                   double wall)
{
	static struct tally all;
	unsigned int up = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		tally_merge(&all, &workers[i].tally);
		if (workers[i].mode == load.mode)
			up += workers[i].up;
	}
	(void)printf("{\"mode\": \"%s\", \"sessions\": %u, \"up\": %u, \"wall_s\": %.6f, "
	             "\"ops\": %llu, \"bytes\": %llu, \"lingered\": %llu",
	             modes[load.mode].name, load.sessions, up, wall,
	             (unsigned long long)all.operations.count, (unsigned long long)all.bytes,
	             (unsigned long long)all.lingered);
	print_histogram("latency", &all.operations);
	if (load.mode == MODE_LOGON)
		print_histogram("logged_on", &all.logons);
	if (load.mode == MODE_EXPIRE) {
		(void)printf(", \"told\": %llu, \"silent\": %llu, \"span_s\": %.3f",
		             (unsigned long long)all.told, (unsigned long long)all.silent,
		             (double)(workers[0].last_end - workers[0].first_end) / 1e9);
		print_histogram("late", &all.late);
		print_histogram("meanwhile", &all.meanwhile);
	}
	(void)printf(", \"errors\": {");
	for (i = 0; i < ERROR_KINDS; i++)
		(void)printf("%s\"%s\": %llu", i > 0 ? ", " : "", error_names[i],
		             (unsigned long long)all.errors[i]);
	(void)putchar('}');
	print_text("first_error",
	           all.first_error[0] != '\0' ? all.first_error : prepared->first_error);
	(void)puts("}");
	(void)fflush(stdout);
}

/* Errors before the measured part count only as the reason why there are fewer sessions. */
static struct tally *prepared_tally(const struct worker *workers, unsigned int count)
{
	struct tally *all = calloc(1, sizeof(*all));
	unsigned int i;

	if (all == NULL)
		bench_fail(errno, "no memory");
	for (i = 0; i < count; i++)
		tally_merge(all, &workers[i].tally);
	return all;
}

static void run(struct worker *workers, unsigned int count)
{
	struct tally *prepared;
	unsigned int up = 0;
	unsigned int i;
	int64_t began;

	if (pthread_barrier_init(&phase, NULL, count + 1U) != 0)
		bench_fail(0, "no barrier");
	for (i = 0; i < count; i++) {
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
			bench_fail(0, "no thread");
	}
	(void)pthread_barrier_wait(&phase);
	prepared = prepared_tally(workers, count);
	for (i = 0; i < count; i++)
		up += workers[i].mode == load.mode ? workers[i].up : 0;
	(void)printf("ready %u\n", up);
	(void)fflush(stdout);
	wait_for_driver();
	began = bench_now_ns();
	(void)pthread_barrier_wait(&phase);
	(void)pthread_barrier_wait(&phase);
	report(workers, count, prepared, (double)(bench_now_ns() - began) / 1e9);
	free(prepared);
	wait_for_driver();
	(void)pthread_barrier_wait(&phase);
	for (i = 0; i < count; i++)
		(void)pthread_join(workers[i].thread, NULL);
}

int main(int argc, char **argv)
{
	struct worker *workers;
	unsigned int count;
	unsigned int i;

	options_read(argc, argv);
	if (bench_prepare_process() < (uint64_t)load.sessions * 2U + 64U &&
	    (load.mode == MODE_RETR || load.mode == MODE_STOR))
		bench_fail(0, "the limit of descriptors is too low for %u sessions", load.sessions);
	if (load.tls != LOAD_TLS_NONE)
		load_tls_context = bench_tls_client();
	count = load.mode == MODE_EXPIRE ? 2U : load.threads;
	workers = calloc(count, sizeof(*workers));
	if (workers == NULL)
		bench_fail(errno, "no memory");
	if (load.mode == MODE_EXPIRE) {
		worker_init(&workers[0], 0, MODE_EXPIRE, load.sessions);
		worker_init(&workers[1], 1, MODE_NOOP, load.others);
	} else {
		for (i = 0; i < count; i++)
			worker_init(&workers[i], i, load.mode,
			            load.sessions / count + (i < load.sessions % count ? 1U : 0U));
	}
	run(workers, count);
	free(workers);
	SSL_CTX_free(load_tls_context);
	return 0;
}

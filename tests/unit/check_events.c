// SPDX-License-Identifier: ISC
/*
 * The event hub and its sinks: what is written, and that a sink which takes
 * nothing (a FIFO without a reader, a full pipe, a full disk, a syslog that is
 * away) costs its own events, counted, and holds up nobody.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/events.h"
#include "sallyport/json_line.h"

#define PATIENCE_MS 20000
#define LINES_MAX 40000

static char dir[64];
static struct event_queue *queue;
static struct event_hub *hub;

static void setup(void)
{
	sp_copy(dir, sizeof(dir), "/tmp/check_events.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	queue = event_queue_new(16384);
	ck_assert_ptr_nonnull(queue);
	hub = NULL;
}

static void teardown(void)
{
	char command[128];

	ck_assert(event_hub_stop(&hub));
	event_queue_free(&queue);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned at;
	char *path = paths[at++ % 4];

	snprintf(path, 128, "%s/%s", dir, name);
	return path;
}

static void nap(void)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	nanosleep(&t, NULL);
}

#define WAIT_UNTIL(cond)                                                                           \
	do {                                                                                       \
		int64_t wait_deadline = sp_now_ms() + PATIENCE_MS;                                 \
		while (!(cond)) {                                                                  \
			ck_assert_msg(sp_now_ms() < wait_deadline, "never: %s", #cond);            \
			nap();                                                                     \
		}                                                                                  \
	} while (0)

static void emit(int number)
{
	struct sp_event e;

	event_init(&e, EVENT_TRANSFER);
	snprintf(e.text, sizeof(e.text), "file %d", number);
	event_emit(queue, &e);
}

/* A hub whose only sinks are these. */
static void start(struct sink *a, struct sink *b)
{
	struct sink *sinks[2] = { a, b };

	ck_assert_ptr_nonnull(a);
	hub = event_hub_start_sinks(queue, sinks, b != NULL ? 2 : 1, LEVEL_DEBUG);
	ck_assert_ptr_nonnull(hub);
}

static struct sink *file_sink(const char *path)
{
	int error = 0;
	struct sink *sink = sink_file_new(path, SINK_JSON, &error);

	ck_assert_msg(sink != NULL, "%s: %s", path, strerror(-error));
	return sink;
}

static struct sink_stats stats_of(size_t i)
{
	struct sink_stats stats[SINKS_MAX];

	ck_assert_uint_lt(i, event_hub_sinks(hub, stats, SINKS_MAX));
	return stats[i];
}

/* ---- reading what was written ---------------------------------------------------------------- */

struct text {
	char *p;
	size_t n;
	size_t size;
};

static void text_add(struct text *t, const char *p, size_t n)
{
	if (t->size - t->n < n + 1) {
		t->size = 2 * t->size + n + 1;
		t->p = realloc(t->p, t->size);
		ck_assert_ptr_nonnull(t->p);
	}
	memcpy(t->p + t->n, p, n);
	t->n += n;
	t->p[t->n] = '\0';
}

static struct text read_file(const char *path)
{
	struct text t = { NULL, 0, 0 };
	char chunk[65536];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	text_add(&t, "", 0);
	ck_assert_int_ne(fd, -1);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		text_add(&t, chunk, (size_t)n);
	close(fd);
	return t;
}

/*
 * Reads lines as JSON objects: how many are "file N" with N rising, and the
 * text of `log` events. Every line must be whole.
 */
struct digest {
	size_t files;
	int last;
	size_t logs;
	char log[32][400];
};

static struct digest digest_of(const struct text *t)
{
	static struct digest d;
	char *at = t->p;

	d = (struct digest){ .last = -1 };
	while (at < t->p + t->n) {
		char *end = memchr(at, '\n', (size_t)(t->p + t->n - at));
		json_error_t error;

		if (end == NULL)
			ck_abort_msg("the last line has no end: %s", at);
		json_t *line = json_loadb(at, (size_t)(end - at), 0, &error);
		if (line == NULL)
			ck_abort_msg("%s: %.*s", error.text, (int)(end - at), at);
		const char *text = json_string_value(json_object_get(line, "text"));
		if (strcmp(json_string_value(json_object_get(line, "event")), "transfer") == 0) {
			int number = (int)strtol(text + strlen("file "), NULL, 10);

			if (number <= d.last)
				ck_abort_msg("%d behind %d", number, d.last);
			d.last = number;
			d.files++;
		} else if (d.logs < SP_ARRAY_LEN(d.log)) {
			sp_copy(d.log[d.logs++], sizeof(d.log[0]), text);
		}
		json_decref(line);
		at = end + 1;
	}
	return d;
}

static struct digest digest_file(const char *path)
{
	struct text t = read_file(path);
	struct digest d = digest_of(&t);

	free(t.p);
	return d;
}

static bool said(const struct digest *d, const char *part)
{
	for (size_t i = 0; i < d->logs; i++) {
		if (strstr(d->log[i], part) != NULL)
			return true;
	}
	return false;
}

/* The sum of "N events are lost: they could not be written to NAME". */
static unsigned long long lost_told(const struct digest *d, const char *name)
{
	unsigned long long sum = 0;

	for (size_t i = 0; i < d->logs; i++) {
		if (strstr(d->log[i], "events are lost: they could not be written to") != NULL &&
		    strstr(d->log[i], name) != NULL)
			sum += strtoull(d->log[i], NULL, 10);
	}
	return sum;
}

/* ---- files ----------------------------------------------------------------------------------- */

START_TEST(a_file_gets_every_event_in_order)
{
	const char *path = path_of("log");

	start(file_sink(path), NULL);
	for (int i = 0; i < 5000; i++)
		emit(i);
	ck_assert(event_hub_stop(&hub)); /* writes what is queued */
	struct digest d = digest_file(path);
	ck_assert_uint_eq(d.files, 5000);
	ck_assert_uint_eq(d.logs, 0);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0137, 0); /* nothing beyond 0640 */
}
END_TEST

START_TEST(levels_below_the_configured_one_are_not_written)
{
	char file[128];
	char error[EVENT_HUB_ERROR_MAX];
	struct log_config log = { .format = LOG_FORMAT_TEXT, .file = file, .level = LEVEL_NOTICE };

	sp_copy(file, sizeof(file), path_of("log"));
	hub = event_hub_start(queue, &log, error);
	ck_assert_ptr_nonnull(hub);
	log_write(queue, LEVEL_DEBUG, "one");
	log_write(queue, LEVEL_INFO, "two");
	log_write(queue, LEVEL_NOTICE, "three");
	log_write(queue, LEVEL_ERROR, "four");
	ck_assert(event_hub_stop(&hub));
	struct text t = read_file(file);
	ck_assert_ptr_null(strstr(t.p, "one"));
	ck_assert_ptr_null(strstr(t.p, "two"));
	ck_assert_ptr_nonnull(strstr(t.p, " notice  three\n"));
	ck_assert_ptr_nonnull(strstr(t.p, " error   four\n"));
	free(t.p);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_an_error_that_says_so)
{
	char file[] = "/nowhere/to/be/found.log";
	char error[EVENT_HUB_ERROR_MAX];
	struct log_config log = { .file = file };
	struct log_config syslog = { .syslog = true, .syslog_facility = (char[]){ "local9" } };

	ck_assert_ptr_null(event_hub_start(queue, &log, error));
	ck_assert_str_eq(error, "log file /nowhere/to/be/found.log: No such file or directory");
	ck_assert_ptr_null(event_hub_start(queue, &syslog, error));
	ck_assert_str_eq(error, "syslog facility local9: there is no such facility");
}
END_TEST

START_TEST(no_sink_at_all_is_fine)
{
	char none[] = "";
	char error[EVENT_HUB_ERROR_MAX];
	struct log_config log = { .file = none };

	hub = event_hub_start(queue, &log, error);
	ck_assert_ptr_nonnull(hub);
	for (int i = 0; i < 100; i++)
		emit(i);
	struct event_queue_stats stats;
	WAIT_UNTIL((event_queue_stats(queue, &stats), stats.length == 0));
	ck_assert_uint_eq(stats.dropped, 0);
}
END_TEST

START_TEST(a_file_that_was_moved_away_is_opened_again)
{
	const char *path = path_of("log");
	const char *old = path_of("log.1");

	start(file_sink(path), NULL);
	emit(1);
	WAIT_UNTIL(stats_of(0).written == 1);
	ck_assert_int_eq(rename(path, old), 0);
	emit(2);
	WAIT_UNTIL(stats_of(0).written == 2);
	event_hub_reopen(hub);
	WAIT_UNTIL(access(path, F_OK) == 0);
	emit(3);
	WAIT_UNTIL(stats_of(0).written == 3);
	struct digest before = digest_file(old);
	struct digest after = digest_file(path);
	ck_assert_uint_eq(before.files, 2);
	ck_assert_int_eq(before.last, 2);
	ck_assert_uint_eq(after.files, 1);
	ck_assert_int_eq(after.last, 3);
}
END_TEST

START_TEST(the_old_file_stays_when_the_new_one_cannot_be_opened)
{
	const char *path = path_of("log");
	const char *old = path_of("log.1");

	start(file_sink(path), NULL);
	emit(1);
	WAIT_UNTIL(stats_of(0).written == 1);
	ck_assert_int_eq(rename(path, old), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	event_hub_reopen(hub);
	struct digest d;
	WAIT_UNTIL((d = digest_file(old), d.logs > 0));
	ck_assert(said(&d, "cannot open"));
	ck_assert(said(&d, "the old one stays in use"));
	emit(2);
	WAIT_UNTIL(stats_of(0).written == 2);
	d = digest_file(old);
	ck_assert_uint_eq(d.files, 2);
}
END_TEST

/* ---- sinks that take nothing -------------------------------------------------------------------
 */

/* Emits from here while the hub has a sink that hangs: the emitter must not notice. */
static void emit_and_time(int from, int to)
{
	int64_t longest = 0;

	for (int i = from; i < to; i++) {
		int64_t start_us = sp_now_us();

		emit(i);
		longest = sp_max64(longest, sp_now_us() - start_us);
		if (i % 1000 == 0)
			nap();
	}
	/* A bound that a busy machine keeps too, and that a wait for a reader would not. */
	ck_assert_msg(longest < 2000000, "an emit took %lld us", (long long)longest);
}

START_TEST(a_fifo_without_a_reader_costs_events_and_says_how_many)
{
	const char *path = path_of("fifo");
	const char *other = path_of("log");

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	start(file_sink(path), file_sink(other));
	emit_and_time(0, 3000);
	WAIT_UNTIL(stats_of(1).written == 3000);
	ck_assert_uint_eq(stats_of(0).dropped, 3000);
	ck_assert_int_eq(stats_of(0).error, ENXIO);
	ck_assert_uint_eq(stats_of(1).dropped, 0);
	struct digest d = digest_file(other);
	ck_assert_uint_eq(d.files, 3000);
	ck_assert(said(&d, "nobody reads from it"));

	/* A reader comes: it is told what it missed, and gets what follows. */
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	ck_assert_int_ne(fd, -1);
	WAIT_UNTIL(stats_of(0).error == 0);
	emit(3000);
	WAIT_UNTIL(stats_of(0).written == 1);
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	ck_assert_int_gt(n, 0);
	struct text t = { NULL, 0, 0 };
	text_add(&t, chunk, (size_t)n);
	d = digest_of(&t);
	free(t.p);
	ck_assert_uint_eq(d.files, 1);
	ck_assert_int_eq(d.last, 3000);
	ck_assert_uint_eq(lost_told(&d, "fifo"), 3000);
	WAIT_UNTIL((d = digest_file(other), lost_told(&d, "fifo") == 3000));

	/* The reader goes: no signal kills us, and another one can come. */
	close(fd);
	emit(3001);
	WAIT_UNTIL(stats_of(0).dropped == 3001);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	WAIT_UNTIL(stats_of(0).error == 0);
	close(fd);
}
END_TEST

/* Reads the pipe until the hub has nothing more for it. */
static struct text drain(int fd)
{
	struct text t = { NULL, 0, 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char chunk[8192];

	text_add(&t, "", 0);
	while (poll(&p, 1, 1000) == 1) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n <= 0)
			break;
		text_add(&t, chunk, (size_t)n);
	}
	return t;
}

START_TEST(a_full_pipe_costs_its_own_events_and_tears_no_line)
{
	const char *other = path_of("log");
	int ends[2];
	int error;

	ck_assert_int_eq(pipe(ends), 0);
	start(sink_fd_new(ends[1], "pipe", SINK_JSON, &error), file_sink(other));
	emit_and_time(0, 9000); /* about a megabyte into a pipe of 64 KiB */
	WAIT_UNTIL(stats_of(1).written == 9000);
	ck_assert_uint_gt(stats_of(0).dropped, 0);
	ck_assert_uint_eq(stats_of(0).dropped + stats_of(0).written, 9000);
	ck_assert_int_eq(stats_of(0).error, EAGAIN);
	ck_assert_uint_eq(stats_of(1).dropped, 0);

	struct text t = drain(ends[0]);
	struct digest d = digest_of(&t); /* checks that every line is whole */
	free(t.p);
	ck_assert_uint_eq(d.files, stats_of(0).written);
	ck_assert_uint_eq(lost_told(&d, "pipe"), stats_of(0).dropped);
	ck_assert_int_eq(stats_of(0).error, 0);
	d = digest_file(other);
	ck_assert_uint_eq(d.files, 9000);
	ck_assert(said(&d, "not read fast enough"));
	/* The open file is others' too: its flags are as they were. */
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_pipe_that_cannot_be_opened_again_is_polled_instead)
{
	int ends[2];
	int error;

	if (geteuid() != 0)
		return; /* needs another user's pipe */
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	char again[32];
	snprintf(again, sizeof(again), "/proc/self/fd/%d", ends[1]);
	ck_assert_int_eq(open(again, O_WRONLY), -1); /* so it is as the test wants it */
	start(sink_fd_new(ends[1], "pipe", SINK_JSON, &error), NULL);
	ck_assert_int_eq(seteuid(0), 0);
	emit_and_time(0, 9000);
	WAIT_UNTIL(stats_of(0).dropped + stats_of(0).written == 9000);
	ck_assert_uint_gt(stats_of(0).dropped, 0);
	struct text t = drain(ends[0]);
	struct digest d = digest_of(&t);
	free(t.p);
	ck_assert_uint_eq(d.files, stats_of(0).written);
	ck_assert_uint_eq(lost_told(&d, "pipe"), stats_of(0).dropped);
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(a_socket_as_standard_output_is_not_waited_for)
{
	int ends[2];
	int error;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	start(sink_fd_new(ends[1], "socket", SINK_JSON, &error), NULL);
	emit_and_time(0, 9000);
	WAIT_UNTIL(stats_of(0).dropped + stats_of(0).written == 9000);
	ck_assert_uint_gt(stats_of(0).dropped, 0);
	struct text t = drain(ends[0]);
	struct digest d = digest_of(&t);
	free(t.p);
	ck_assert_uint_eq(d.files, stats_of(0).written);
	ck_assert_uint_eq(lost_told(&d, "socket"), stats_of(0).dropped);
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]); /* the peer goes: an error, no signal */
	emit(9000);
	WAIT_UNTIL(stats_of(0).error == EPIPE);
	close(ends[1]);
}
END_TEST

START_TEST(a_full_disk_costs_events_and_the_other_sink_says_why)
{
	const char *other = path_of("log");

	start(file_sink("/dev/full"), file_sink(other));
	emit_and_time(0, 200);
	WAIT_UNTIL(stats_of(0).dropped == 200);
	ck_assert_int_eq(stats_of(0).error, ENOSPC);
	struct digest d;
	WAIT_UNTIL((d = digest_file(other), d.logs > 0));
	ck_assert(said(&d, "/dev/full"));
	ck_assert(said(&d, "No space left on device"));
}
END_TEST

START_TEST(a_line_torn_by_a_full_disk_is_finished_when_there_is_room)
{
	const char *path = path_of("log");
	struct rlimit limit = { .rlim_cur = 10000, .rlim_max = RLIM_INFINITY };

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	start(file_sink(path), NULL);
	for (int i = 0; i < 1000; i++)
		emit(i);
	WAIT_UNTIL(stats_of(0).dropped + stats_of(0).written == 1000);
	ck_assert_uint_gt(stats_of(0).dropped, 0);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 10000);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	WAIT_UNTIL(stats_of(0).error == 0);
	emit(1000);
	ck_assert(event_hub_stop(&hub));
	struct digest d = digest_file(path); /* checks that every line is whole */
	ck_assert_int_eq(d.last, 1000);
	ck_assert_uint_eq(lost_told(&d, "log") + d.files, 1001);
}
END_TEST

/* ---- a sink that hangs as no sink should -------------------------------------------------------
 */

struct stuck_sink {
	struct sink sink;
	_Atomic bool let_go;
	_Atomic size_t got;
};

static size_t stuck_write(struct sink *sink, const struct sp_event events[] SP_UNUSED, size_t n)
{
	struct stuck_sink *stuck = (struct stuck_sink *)sink;

	while (!atomic_load(&stuck->let_go))
		nap();
	atomic_fetch_add(&stuck->got, n);
	return n;
}

static void stuck_free(struct sink *sink SP_UNUSED)
{
}

static const struct sink_ops stuck_ops = { .write = stuck_write, .free = stuck_free };
static struct stuck_sink stuck = { .sink = { .ops = &stuck_ops, .name = "stuck" } };

START_TEST(a_hub_that_hangs_fills_the_queue_and_later_says_what_was_lost)
{
	const char *path = path_of("log");
	struct event_queue_stats stats;

	event_queue_free(&queue);
	queue = event_queue_new(128);
	start(file_sink(path), &stuck.sink);
	emit_and_time(0, 3000);
	event_queue_stats(queue, &stats);
	ck_assert_uint_eq(stats.length, stats.capacity);
	ck_assert_uint_gt(stats.dropped, 0);
	atomic_store(&stuck.let_go, true);
	WAIT_UNTIL((event_queue_stats(queue, &stats), stats.length == 0));
	ck_assert(event_hub_stop(&hub));
	struct digest d = digest_file(path);
	ck_assert_uint_eq(d.files + stats.dropped, 3000);
	char expected[80];
	snprintf(expected, sizeof(expected), "%llu events are lost: the event queue was full",
	         (unsigned long long)stats.dropped);
	ck_assert_msg(said(&d, expected), "%s", expected);
}
END_TEST

START_TEST(stopping_leaves_a_thread_that_hangs_alone)
{
	static struct event_queue *kept; /* the thread goes on using it */

	start(&stuck.sink, NULL);
	emit(0);
	struct event_queue_stats stats;
	WAIT_UNTIL((event_queue_stats(queue, &stats), stats.length == 0));
	int64_t start_ms = sp_now_ms();
	ck_assert(!event_hub_stop(&hub));
	ck_assert_ptr_null(hub);
	ck_assert_int_lt(sp_now_ms() - start_ms, 10000);
	kept = queue;
	queue = NULL;
	ck_assert_ptr_nonnull(kept);
}
END_TEST

/* ---- syslog ------------------------------------------------------------------------------------
 */

static int listen_syslog(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	sp_copy(address.sun_path, sizeof(address.sun_path), path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void receive(int fd, char *buf, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
	ssize_t n = recv(fd, buf, size - 1, 0);
	ck_assert_int_gt(n, 0);
	buf[n] = '\0';
}

START_TEST(syslog_gets_datagrams_as_rfc_3164_has_them)
{
	const char *path = path_of("syslog");
	int fd = listen_syslog(path);
	char got[4096];
	char expected[256];
	int error;

	start(sink_syslog_new(path, "ftp", &error), NULL);
	struct sp_event e;
	event_init(&e, EVENT_LOGON);
	e.wall_ms = INT64_C(1770091506789);
	e.session = session_id_make(1, 1);
	sp_copy(e.user, sizeof(e.user), "bob\nroot");
	setenv("TZ", "UTC", 1);
	event_emit(queue, &e);
	receive(fd, got, sizeof(got));
	/* 11 (ftp) * 8 + 6 (info) */
	snprintf(
	    expected, sizeof(expected),
	    "<94>Feb  3 04:05:06 sallyport[%ld]: logon session=0100000000000001 user=bob\\nroot",
	    (long)getpid());
	ck_assert_str_eq(got, expected);
	log_write(queue, LEVEL_ERROR, "trouble");
	receive(fd, got, sizeof(got));
	ck_assert_int_eq(strncmp(got, "<91>", 4), 0);
	ck_assert_ptr_nonnull(strstr(got, "]: trouble"));
	close(fd);
}
END_TEST

START_TEST(a_syslog_that_is_away_costs_events_and_is_found_again)
{
	const char *path = path_of("syslog");
	const char *other = path_of("log");
	char got[4096];
	int error;

	start(sink_syslog_new(path, "daemon", &error), file_sink(other));
	emit_and_time(0, 100);
	WAIT_UNTIL(stats_of(0).dropped == 100);
	ck_assert_int_eq(stats_of(0).error, ENOENT);

	int fd = listen_syslog(path);
	receive(fd, got, sizeof(got));
	ck_assert_ptr_nonnull(
	    strstr(got, "100 events are lost: they could not be written to syslog"));
	emit(100);
	receive(fd, got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "file 100"));

	/* It is started again: the next event finds the new socket, and none is lost. */
	close(fd);
	ck_assert_int_eq(unlink(path), 0);
	fd = listen_syslog(path);
	emit(101);
	receive(fd, got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "file 101"));
	ck_assert_uint_eq(stats_of(0).dropped, 100);
	close(fd);
}
END_TEST

START_TEST(a_syslog_that_does_not_read_is_not_waited_for)
{
	const char *path = path_of("syslog");
	const char *other = path_of("log");
	int fd = listen_syslog(path);
	int error;

	start(sink_syslog_new(path, "daemon", &error), file_sink(other));
	emit_and_time(0, 5000);
	WAIT_UNTIL(stats_of(1).written == 5000);
	ck_assert_uint_gt(stats_of(0).dropped, 0);
	ck_assert_uint_eq(stats_of(0).dropped + stats_of(0).written, 5000);
	close(fd);
}
END_TEST

START_TEST(facilities_have_their_codes)
{
	ck_assert_int_eq(syslog_facility_code("kern"), 0);
	ck_assert_int_eq(syslog_facility_code("daemon"), 3 << 3);
	ck_assert_int_eq(syslog_facility_code("local7"), 23 << 3);
	ck_assert_int_eq(syslog_facility_code("Daemon"), -1);
	ck_assert_int_eq(syslog_facility_code(""), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("events");
	TCase *tcase = tcase_create("events");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_file_gets_every_event_in_order);
	tcase_add_test(tcase, levels_below_the_configured_one_are_not_written);
	tcase_add_test(tcase, a_file_that_cannot_be_opened_is_an_error_that_says_so);
	tcase_add_test(tcase, no_sink_at_all_is_fine);
	tcase_add_test(tcase, a_file_that_was_moved_away_is_opened_again);
	tcase_add_test(tcase, the_old_file_stays_when_the_new_one_cannot_be_opened);
	tcase_add_test(tcase, a_fifo_without_a_reader_costs_events_and_says_how_many);
	tcase_add_test(tcase, a_full_pipe_costs_its_own_events_and_tears_no_line);
	tcase_add_test(tcase, a_pipe_that_cannot_be_opened_again_is_polled_instead);
	tcase_add_test(tcase, a_socket_as_standard_output_is_not_waited_for);
	tcase_add_test(tcase, a_full_disk_costs_events_and_the_other_sink_says_why);
	tcase_add_test(tcase, a_line_torn_by_a_full_disk_is_finished_when_there_is_room);
	tcase_add_test(tcase, a_hub_that_hangs_fills_the_queue_and_later_says_what_was_lost);
	tcase_add_test(tcase, stopping_leaves_a_thread_that_hangs_alone);
	tcase_add_test(tcase, syslog_gets_datagrams_as_rfc_3164_has_them);
	tcase_add_test(tcase, a_syslog_that_is_away_costs_events_and_is_found_again);
	tcase_add_test(tcase, a_syslog_that_does_not_read_is_not_waited_for);
	tcase_add_test(tcase, facilities_have_their_codes);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

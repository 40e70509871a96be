// SPDX-License-Identifier: ISC
/*
 * The sink that speaks to syslog: RFC 3164 datagrams to a Unix socket, without
 * waiting. The C library's syslog(3) is not used, since it waits as long as the
 * daemon likes.
 */
#include "sallyport/sink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/fd_registry.h"
#include "sallyport/json_line.h"

struct sink_syslog {
	struct sink sink;
	struct sockaddr_un address;
	int fd;       /* connected, or -1 */
	int facility; /* shifted, as <syslog.h> has it */
};

static const struct {
	const char *name;
	int code;
} facilities[] = {
	{ "kern", LOG_KERN },     { "user", LOG_USER },         { "mail", LOG_MAIL },
	{ "daemon", LOG_DAEMON }, { "auth", LOG_AUTH },         { "syslog", LOG_SYSLOG },
	{ "lpr", LOG_LPR },       { "news", LOG_NEWS },         { "uucp", LOG_UUCP },
	{ "cron", LOG_CRON },     { "authpriv", LOG_AUTHPRIV }, { "ftp", LOG_FTP },
	{ "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },     { "local2", LOG_LOCAL2 },
	{ "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 },     { "local5", LOG_LOCAL5 },
	{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 },
};

int syslog_facility_code(const char *name)
{
	for (size_t i = 0; i < SP_ARRAY_LEN(facilities); i++) {
		if (strcmp(facilities[i].name, name) == 0)
			return facilities[i].code;
	}
	return -1;
}

static struct sink_syslog *syslog_of(struct sink *sink)
{
	return SP_CONTAINER_OF(sink, struct sink_syslog, sink);
}

static int severity(enum event_level level)
{
	switch (level) {
	case LEVEL_DEBUG:
		return LOG_DEBUG;
	case LEVEL_INFO:
		return LOG_INFO;
	case LEVEL_NOTICE:
		return LOG_NOTICE;
	case LEVEL_WARNING:
		return LOG_WARNING;
	case LEVEL_ERROR:
		return LOG_ERR;
	}
	return LOG_NOTICE;
}

/* "<30>Feb  3 04:05:06 sallyport[123]: " and the message. Returns the length. */
static size_t format_datagram(const struct sink_syslog *s, const struct sp_event *event, char *buf,
                              size_t size)
{
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)(event->wall_ms / 1000);
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	int n = snprintf(buf, size, "<%d>%s %2d %02d:%02d:%02d sallyport[%ld]: ",
	                 s->facility | severity(event->level), months[tm.tm_mon % 12], tm.tm_mday,
	                 tm.tm_hour, tm.tm_min, tm.tm_sec, (long)getpid());
	SP_ASSERT(n > 0 && (size_t)n < size);
	return (size_t)n + event_line_message(event, buf + n, size - (size_t)n);
}

static void disconnect(struct sink_syslog *s)
{
	if (s->fd == -1)
		return;
	fd_registry_forget(s->fd);
	close(s->fd);
	s->fd = -1;
}

/* 0 or an errno. */
static int reconnect(struct sink_syslog *s)
{
	disconnect(s);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd == -1)
		return errno;
	fd_registry_note(s->fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	if (connect(s->fd, (const struct sockaddr *)&s->address, sizeof(s->address)) == -1) {
		int error = errno;

		disconnect(s);
		return error;
	}
	return 0;
}

static bool wait_writable(int fd, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int64_t left = deadline_ms - sp_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* One datagram; 0 or the errno. A daemon that was started again is found by connecting once more.
 */
static int send_datagram(struct sink_syslog *s, const char *p, size_t n, int64_t deadline_ms)
{
	bool fresh = s->fd == -1;
	int error = fresh ? reconnect(s) : 0;

	while (error == 0 && send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) == -1) {
		error = errno;
		if (error == EINTR || (error == EAGAIN && wait_writable(s->fd, deadline_ms))) {
			error = 0;
		} else if (error != EAGAIN && error != ENOBUFS && error != EMSGSIZE && !fresh) {
			fresh = true;
			error = reconnect(s);
		}
	}
	return error;
}

static size_t syslog_write(struct sink *sink, const struct sp_event events[], size_t n)
{
	struct sink_syslog *s = syslog_of(sink);
	int64_t wait_ms = atomic_load(&sink->error) == 0 ? SINK_WAIT_MS : 0;
	int64_t deadline_ms = sp_now_ms() + wait_ms;
	char datagram[EVENT_LINE_MAX + 64];
	size_t written = 0;
	int error = 0;

	while (written < n && error == 0) {
		size_t length = format_datagram(s, &events[written], datagram, sizeof(datagram));

		error = send_datagram(s, datagram, length, deadline_ms);
		if (error == 0)
			written++;
	}
	atomic_store(&sink->error, error);
	return written;
}

static void syslog_free(struct sink *sink)
{
	struct sink_syslog *s = syslog_of(sink);

	disconnect(s);
	free(s);
}

static const struct sink_ops syslog_ops = {
	.write = syslog_write,
	.reopen = NULL,
	.free = syslog_free,
};

struct sink *sink_syslog_new(const char *path, const char *facility, int *error)
{
	int code = syslog_facility_code(facility);
	struct sink_syslog *s = NULL;

	if (code == -1 || strlen(path) >= sizeof(s->address.sun_path)) {
		*error = -EINVAL;
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		*error = -ENOMEM;
		return NULL;
	}
	s->sink.ops = &syslog_ops;
	sp_copy(s->sink.name, sizeof(s->sink.name), "syslog");
	s->address.sun_family = AF_UNIX;
	sp_copy(s->address.sun_path, sizeof(s->address.sun_path), path);
	s->fd = -1;
	s->facility = code;
	return &s->sink;
}

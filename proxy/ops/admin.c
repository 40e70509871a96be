// SPDX-License-Identifier: ISC
/*
 * The admin socket: accepting, reading lines, letting answers out as fast as
 * the client takes them. What is answered is admin_commands.c's business.
 *
 * A client's output is bounded by ADMIN_OUTPUT_MAX and one step more: the next
 * step of an answer, and the next command, wait until the client has taken
 * enough. All callbacks end with the call that may free the client.
 */
#include "sallyport/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/fd_registry.h"

#define ADMIN_OUTPUT_MAX (64 * 1024) /* no step is made while more than this waits */
#define ADMIN_OUTPUT_LOW (16 * 1024)
#define ADMIN_INPUT_MAX 4096
#define ADMIN_IDLE_MS 300000
#define ADMIN_WRITE_MS 30000
#define ADMIN_WAIT_MS 50    /* a command that waits is asked again */
#define ADMIN_PAUSE_MS 1000 /* accepting failed for want of descriptors: a rest */
#define ADMIN_BACKLOG 16

struct admin_client {
	struct admin *admin;
	LIST_ENTRY(admin_client) link;
	struct bufferevent *bev;
	struct event *wait; /* a job waits */
	enum admin_role role;
	long uid;
	bool busy;   /* job is under way */
	bool ending; /* closed when the output is out */
	bool eof;    /* the client has sent all it will */
	struct admin_job job;
};

struct admin {
	struct event_base *base;
	struct ops_sources sources;
	struct admin_limits limits;
	struct evconnlistener *listener;
	struct event *pause;
	LIST_HEAD(admin_clients, admin_client) clients;
	size_t clients_n;
	struct sockaddr_un address;
	dev_t device; /* of the socket's file, to remove no other */
	ino_t inode;
};

static struct timeval timeval_of(int64_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
}

/* ---- one client ------------------------------------------------------------------------------ */

static void client_free(struct admin_client *client)
{
	LIST_REMOVE(client, link);
	client->admin->clients_n--;
	fd_registry_forget(bufferevent_getfd(client->bev));
	bufferevent_free(client->bev);
	event_free(client->wait);
	free(client);
}

static struct evbuffer *client_output(const struct admin_client *client)
{
	return bufferevent_get_output(client->bev);
}

/* Nothing more will be read or answered; what is written goes out first. May free the client. */
static void client_end(struct admin_client *client)
{
	client->ending = true;
	client->busy = false;
	bufferevent_disable(client->bev, EV_READ);
	if (evbuffer_get_length(client_output(client)) == 0)
		client_free(client);
}

static void client_command(struct admin_client *client, struct span line)
{
	struct admin_request request;
	char error[ADMIN_ERROR_MAX];

	if (admin_request_parse(line, &request, error)) {
		client->busy = true;
		admin_job_start(&client->job, &request, client_output(client), client->role,
		                client->uid);
	} else {
		report_error(client_output(client), request.json, error);
	}
}

/* The next command, if a whole one is there. False: there is none. */
static bool client_next_command(struct admin_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->bev);
	char last[ADMIN_LINE_MAX];
	size_t n = 0;
	char *line = evbuffer_readln(input, &n, EVBUFFER_EOL_CRLF);

	if (line != NULL) {
		client_command(client, span_from(line, n));
		free(line);
		return true;
	}
	n = evbuffer_get_length(input);
	if (!client->eof || n == 0 || n > sizeof(last))
		return false;
	/* The last line lacks its end; it is a command all the same. */
	evbuffer_remove(input, last, n);
	client_command(client, span_from(last, n));
	return true;
}

/* One step of the answer. False: the client waits, or was freed. */
static bool client_step(struct admin_client *client)
{
	struct timeval wait = timeval_of(ADMIN_WAIT_MS);
	enum admin_step step = admin_job_step(&client->job, &client->admin->sources);

	if (client->job.report.failed) { /* half an answer must not look like a whole one */
		client_free(client);
		return false;
	}
	if (step == ADMIN_WAIT) {
		event_add(client->wait, &wait);
		return false;
	}
	if (step == ADMIN_DONE) {
		client->busy = false;
		if (client->job.request.verb == ADMIN_QUIT) {
			client_end(client);
			return false;
		}
	}
	return true;
}

/* Goes on as far as the client takes it. May free the client. */
static void client_work(struct admin_client *client)
{
	while (!client->ending && evbuffer_get_length(client_output(client)) < ADMIN_OUTPUT_MAX) {
		if (client->busy) {
			if (event_pending(client->wait, EV_TIMEOUT, NULL) || !client_step(client))
				return;
			continue;
		}
		if (client_next_command(client))
			continue;
		if (evbuffer_get_length(bufferevent_get_input(client->bev)) > ADMIN_LINE_MAX) {
			report_error(client_output(client), false, "the command is too long");
			client_end(client);
		} else if (client->eof) {
			client_end(client);
		}
		return;
	}
}

static void on_read(struct bufferevent *bev SP_UNUSED, void *arg)
{
	client_work(arg);
}

/* The output has fallen to ADMIN_OUTPUT_LOW; the end of a connection waits for all of it. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct admin_client *client = arg;

	if (!client->ending)
		client_work(client);
	else if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(client);
	else
		bufferevent_setwatermark(bev, EV_WRITE, 0, 0);
}

static void on_waited(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	client_work(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct admin_client *client = arg;
	bool waits = client->busy || evbuffer_get_length(client_output(client)) > 0;

	if ((what & BEV_EVENT_EOF) != 0) {
		client->eof = true;
		client_work(client);
		return;
	}
	if ((what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0 && waits) {
		bufferevent_enable(
		    bev, EV_READ); /* it is we who have not finished; the write limit watches */
		return;
	}
	client_free(client);
}

/* root, and who we are, may change things; a group that was let in by the file's mode may look. */
static enum admin_role role_of(int fd, long *uid)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	*uid = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == -1)
		return ADMIN_ROLE_READ;
	*uid = (long)peer.uid;
	return peer.uid == 0 || peer.uid == geteuid() ? ADMIN_ROLE_WRITE : ADMIN_ROLE_READ;
}

static struct admin_client *client_new(struct admin *admin, int fd)
{
	struct timeval idle = timeval_of(admin->limits.idle_ms);
	struct timeval slow = timeval_of(admin->limits.write_ms);
	struct admin_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->admin = admin;
	client->wait = event_new(admin->base, -1, 0, on_waited, client);
	client->bev = bufferevent_socket_new(admin->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->wait == NULL || client->bev == NULL) {
		if (client->wait != NULL)
			event_free(client->wait);
		if (client->bev != NULL) {
			bufferevent_setfd(client->bev, -1); /* the caller closes it */
			bufferevent_free(client->bev);
		}
		free(client);
		return NULL;
	}
	client->role = role_of(fd, &client->uid);
	bufferevent_setcb(client->bev, on_read, on_written, on_event, client);
	bufferevent_set_timeouts(client->bev, &idle, &slow);
	bufferevent_setwatermark(client->bev, EV_READ, 0, ADMIN_INPUT_MAX);
	bufferevent_setwatermark(client->bev, EV_WRITE, ADMIN_OUTPUT_LOW, 0);
	bufferevent_enable(client->bev, EV_READ | EV_WRITE);
	return client;
}

/* ---- the socket ------------------------------------------------------------------------------ */

static void on_accept(struct evconnlistener *listener SP_UNUSED, evutil_socket_t fd,
                      struct sockaddr *from SP_UNUSED, int length SP_UNUSED, void *arg)
{
	static const char full[] = "error: too many admin clients\n.\n";
	struct admin *admin = arg;
	struct admin_client *client = NULL;

	if (admin->clients_n >= ADMIN_CLIENTS_MAX)
		(void)send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		client = client_new(admin, fd);
	if (client == NULL) {
		close(fd);
		return;
	}
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	LIST_INSERT_HEAD(&admin->clients, client, link);
	admin->clients_n++;
}

/* Out of descriptors: the listener stays readable, so it rests instead of spinning. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct timeval pause = timeval_of(ADMIN_PAUSE_MS);
	struct admin *admin = arg;

	evconnlistener_disable(listener);
	event_add(admin->pause, &pause);
}

static void on_pause_over(evutil_socket_t fd SP_UNUSED, short what SP_UNUSED, void *arg)
{
	struct admin *admin = arg;

	evconnlistener_enable(admin->listener);
}

/* Somebody accepts connections on it (or would, were it not busy). */
static bool somebody_answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool answers;

	if (fd == -1)
		return true; /* not known: then better not removed */
	answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	          (errno != ECONNREFUSED && errno != ENOENT);
	close(fd);
	return answers;
}

/* Makes room for the socket's file; false: `error` says why not. */
static bool clear_path(const struct sockaddr_un *address, char error[ADMIN_ERROR_MAX])
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) == -1)
		return true; /* bind() will say what else may be wrong */
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %s: exists and is not a socket",
		         path);
		return false;
	}
	if (somebody_answers(address)) {
		snprintf(error, ADMIN_ERROR_MAX,
		         "admin socket %s: somebody answers on it; does another Sallyport run?",
		         path);
		return false;
	}
	if (unlink(path) == -1 && errno != ENOENT) {
		char why[64];

		snprintf(error, ADMIN_ERROR_MAX,
		         "admin socket %s: left over, and cannot be removed: %s", path,
		         strerror_r(errno, why, sizeof(why)));
		return false;
	}
	return true;
}

/* A listening socket at the path, or -errno. The mode is set before the file appears. */
static int open_socket(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd == -1)
		return -errno;
	if (fchmod(fd, 0600) == 0 &&
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
		if (chmod(address->sun_path, 0600) == 0 && listen(fd, ADMIN_BACKLOG) == 0)
			return fd;
		error = errno;
		unlink(address->sun_path);
	} else {
		error = errno;
	}
	close(fd);
	return -error;
}

static bool admin_listen(struct admin *admin, const char *path, char error[ADMIN_ERROR_MAX])
{
	char why[64];
	struct stat st;

	if (strlen(path) >= sizeof(admin->address.sun_path)) {
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %.100s…: longer than %zu bytes",
		         path, sizeof(admin->address.sun_path) - 1);
		return false;
	}
	admin->address.sun_family = AF_UNIX;
	sp_copy(admin->address.sun_path, sizeof(admin->address.sun_path), path);
	if (!clear_path(&admin->address, error))
		return false;
	int fd = open_socket(&admin->address);
	if (fd < 0) {
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %s: %s", path,
		         strerror_r(-fd, why, sizeof(why)));
		return false;
	}
	if (lstat(path, &st) == 0) {
		admin->device = st.st_dev;
		admin->inode = st.st_ino;
	}
	admin->listener = evconnlistener_new(admin->base, on_accept, admin,
	                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (admin->listener == NULL) {
		close(fd);
		unlink(path);
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %s: no memory", path);
		return false;
	}
	fd_registry_note(fd, SESSION_ID_NONE, LEDGER_KINDS, SP_HERE);
	evconnlistener_set_error_cb(admin->listener, on_accept_error);
	return true;
}

struct admin *admin_start(struct event_base *base, const struct ops_sources *sources,
                          const char *path, const struct admin_limits *limits,
                          char error[ADMIN_ERROR_MAX])
{
	struct admin *admin = calloc(1, sizeof(*admin));

	if (admin == NULL) {
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %s: no memory", path);
		return NULL;
	}
	admin->base = base;
	admin->sources = *sources;
	LIST_INIT(&admin->clients);
	if (limits != NULL)
		admin->limits = *limits;
	if (admin->limits.idle_ms == 0)
		admin->limits.idle_ms = ADMIN_IDLE_MS;
	if (admin->limits.write_ms == 0)
		admin->limits.write_ms = ADMIN_WRITE_MS;
	admin->pause = event_new(base, -1, 0, on_pause_over, admin);
	if (admin->pause == NULL) {
		snprintf(error, ADMIN_ERROR_MAX, "admin socket %s: no memory", path);
	} else if (admin_listen(admin, path, error)) {
		return admin;
	} else {
		event_free(admin->pause);
	}
	free(admin);
	return NULL;
}

void admin_stop(struct admin **admin)
{
	struct admin *a = *admin;
	struct stat st;

	*admin = NULL;
	if (a == NULL)
		return;
	while (!LIST_EMPTY(&a->clients))
		client_free(LIST_FIRST(&a->clients));
	/* Removed before it is closed: nobody can have found it dead and put another in its place.
	 */
	if (lstat(a->address.sun_path, &st) == 0 && st.st_dev == a->device && st.st_ino == a->inode)
		unlink(a->address.sun_path);
	fd_registry_forget(evconnlistener_get_fd(a->listener));
	evconnlistener_free(a->listener);
	event_free(a->pause);
	free(a);
}

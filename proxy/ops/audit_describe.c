// SPDX-License-Identifier: ISC
/*
 * What the auditor found, in words: which descriptor or session it is, and
 * where it was made.
 */
#include "sallyport/audit_scan.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/json_line.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/session_table.h"

static const struct {
	const char *name;
	const char *what;
} kinds[] = {
#define FINDING(id, name, passes, what) { #name, what },
#include "sallyport/tbl/findings.def"
#undef FINDING
};

const char *finding_name(enum finding_kind kind)
{
	return kind < FINDING_KINDS ? kinds[kind].name : "?";
}

const char *finding_what(enum finding_kind kind)
{
	return kind < FINDING_KINDS ? kinds[kind].what : "?";
}

/* The place in the source without the directory that it was built in. */
static void copy_where(char *to, size_t size, const char *where)
{
	static const char *const tops[] = { "/proxy/", "/tests/", "/policy/" };
	const char *from = where;

	for (size_t i = 0; where != NULL && i < SP_ARRAY_LEN(tops); i++) {
		const char *top = strstr(where, tops[i]);

		if (top != NULL)
			from = top + 1;
	}
	sp_copy(to, size, from);
}

/* " 127.0.0.1:21 -> 127.0.0.1:4000" for sockets of the Internet; as much as is known. */
static size_t describe_ends(int fd, char *buf, size_t size)
{
	struct netaddr here = { .family = AF_UNSPEC };
	struct netaddr there = { .family = AF_UNSPEC };
	socklen_t here_n = sizeof(here);
	socklen_t there_n = sizeof(there);
	char a[NETADDR_TEXT_MAX];
	char b[NETADDR_TEXT_MAX];
	int n = 0;

	if (getsockname(fd, &here.sa, &here_n) == -1 ||
	    (here.family != AF_INET && here.family != AF_INET6))
		return 0;
	if (getpeername(fd, &there.sa, &there_n) == 0)
		n = snprintf(buf, size, ", %s to %s", netaddr_format(&here, a),
		             netaddr_format(&there, b));
	else
		n = snprintf(buf, size, ", %s", netaddr_format(&here, a));
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void describe_descriptor(const struct suspicion *s, char *buf, size_t size)
{
	char path[32];
	char link[64];
	char ends[160];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	ends[describe_ends(s->fd, ends, sizeof(ends))] = '\0';
	snprintf(buf, size, "%s: %s%s", finding_what(s->kind), n > 0 ? link : "closed by now",
	         ends);
}

static void describe_session(const struct ops_sources *sources, const struct suspicion *s,
                             char *buf, size_t size)
{
	struct session_info info;
	char client[NETADDR_TEXT_MAX];
	char late[48] = "";

	if (sources->table == NULL || !session_table_get(sources->table, s->id, &info)) {
		snprintf(buf, size, "%s: gone by now", finding_what(s->kind));
		return;
	}
	if (s->kind == FINDING_OVERDUE)
		snprintf(late, sizeof(late), ", %lld s late",
		         (long long)((sp_now_ms() - info.deadline_ms) / 1000));
	snprintf(buf, size, "%s: worker %u, listener %s, client %s, %s%s", finding_what(s->kind),
	         (unsigned)session_id_worker(s->id), info.listener[0] != '\0' ? info.listener : "-",
	         netaddr_format(&info.client, client), session_place_name(info.place), late);
}

static void describe_slots(const struct ops_sources *sources, const struct suspicion *s, char *buf,
                           size_t size)
{
	const struct config *config = sources->config != NULL ? *sources->config : NULL;
	struct pool_server_status status[POOL_SERVERS_MAX];
	size_t pool = (size_t)s->fd / POOL_SERVERS_MAX;
	size_t server = (size_t)s->fd % POOL_SERVERS_MAX;

	if (config == NULL || pool >= config->pools_n ||
	    server >= pool_ledger_status(config->pools[pool].ledger, status, POOL_SERVERS_MAX)) {
		snprintf(buf, size, "%s: gone by now", finding_what(s->kind));
		return;
	}
	snprintf(buf, size, "%s: pool %s, server %s: %lld given out, %lld held by sessions",
	         finding_what(s->kind), config->pools[pool].name, status[server].terms.name,
	         (long long)s->left, (long long)s->right);
}

void audit_describe(const struct ops_sources *sources, const struct suspicion *s,
                    struct finding *out)
{
	*out = (struct finding){ .kind = s->kind, .id = s->id, .fd = -1, .seen_ms = s->first_ms };
	copy_where(out->where, sizeof(out->where), s->where);
	switch (s->kind) {
	case FINDING_UNNOTED:
	case FINDING_OWNERLESS:
	case FINDING_FAREWELL:
	case FINDING_STALE:
		out->fd = s->fd;
		describe_descriptor(s, out->what, sizeof(out->what));
		return;
	case FINDING_CLIENTLESS:
	case FINDING_ENDING:
	case FINDING_OVERDUE:
		describe_session(sources, s, out->what, sizeof(out->what));
		return;
	case FINDING_LEDGER:
	case FINDING_SUM:
		snprintf(out->what, sizeof(out->what), "%s: %s: %lld counted, %lld noted",
		         finding_what(s->kind), ledger_kind_name((enum ledger_kind)s->fd),
		         (long long)s->left, (long long)s->right);
		return;
	case FINDING_PORTS:
		snprintf(out->what, sizeof(out->what), "%s: %lld reserved, %lld held by sessions",
		         finding_what(s->kind), (long long)s->left, (long long)s->right);
		return;
	case FINDING_SLOTS:
		describe_slots(sources, s, out->what, sizeof(out->what));
		return;
	case FINDING_KINDS:
		break;
	}
	SP_UNREACHABLE("a suspicion has a kind");
}

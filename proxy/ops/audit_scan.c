// SPDX-License-Identifier: ISC
/*
 * One look of the auditor. The order matters: the registry is read before and
 * after the table, so that sums which only grew or shrank in between agree with
 * one of the two readings, or lie between them.
 */
#include "sallyport/audit_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sallyport/clock.h"
#include "sallyport/config.h"
#include "sallyport/fd_registry.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/session_table.h"

#define PAGE 64

/* ---- growing arrays -------------------------------------------------------------------------- */

/* Room for one more element; false: no memory, and the array is as it was. */
static bool grow(void **v, size_t n, size_t *size, size_t element)
{
	size_t want = *size == 0 ? 64 : *size * 2;
	void *more;

	if (n < *size)
		return true;
	more = realloc(*v, want * element);
	if (more == NULL)
		return false;
	*v = more;
	*size = want;
	return true;
}

struct fd_list {
	int *v;
	size_t n;
	size_t size;
};

struct session_note {
	struct session_id id;
	int fd;
	enum ledger_kind kind;
	const char *where;
	bool owned; /* its session is in the table */
};

struct note_list {
	struct session_note *v;
	size_t n;
	size_t size;
};

/* One server's slots: given out by the pool's ledger, and held by sessions. */
struct slot_count {
	const char *pool; /* the configuration's: borrowed for the scan */
	char server[NAME_MAX_LEN];
	int key; /* pool * POOL_SERVERS_MAX + server */
	int64_t given_before;
	int64_t given_after;
	int64_t held;
};

struct slot_list {
	struct slot_count *v;
	size_t n;
	size_t size;
};

/* All that one scan works with. */
struct scan {
	const struct ops_sources *sources;
	struct fd_list open;
	struct note_list notes;
	struct slot_list slots;
	struct suspicion_list *out;
	struct audit_sums *sums;
	uint64_t notes_after[LEDGER_KINDS];
	int64_t now_ms;
	bool no_memory;
};

static struct suspicion *suspect(struct scan *scan, enum finding_kind kind, struct session_id id,
                                 int fd)
{
	static struct suspicion nowhere;
	struct suspicion_list *list = scan->out;
	void *v = list->v;

	if (!grow(&v, list->n, &list->size, sizeof(*list->v))) {
		scan->no_memory = true;
		return &nowhere;
	}
	list->v = v;
	list->v[list->n] = (struct suspicion){ .kind = kind, .id = id, .fd = fd };
	return &list->v[list->n++];
}

void suspicion_list_fini(struct suspicion_list *list)
{
	free(list->v);
	*list = (struct suspicion_list){ NULL, 0, 0 };
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const int *x = a;
	const int *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * Like opendir, which ThreadSanitizer does not watch while it does watch closedir: it would take the descriptor for the
 * one that another thread had under this number before.
 */
static DIR *open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && dir == NULL) {
		int error = errno;

		close(fd);
		errno = error;
	}
	return dir;
}

/* The descriptors that are open, in order, but for the one that lists them. 0 or -errno. */
static int list_open(struct fd_list *out)
{
	DIR *dir = open_dir("/proc/self/fd");
	const struct dirent *entry;

	if (dir == NULL)
		return -errno;
	out->n = 0;
	while ((entry = readdir(dir)) != NULL) {
		void *v = out->v;
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end == entry->d_name || fd == dirfd(dir))
			continue;
		if (!grow(&v, out->n, &out->size, sizeof(*out->v))) {
			closedir(dir);
			return -ENOMEM;
		}
		out->v = v;
		out->v[out->n++] = (int)fd;
	}
	closedir(dir);
	qsort(out->v, out->n, sizeof(*out->v), by_number);
	return 0;
}

/* False: it is closed by now. */
static bool link_of(int fd, char *buf, size_t size)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, buf, size - 1);
	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

int audit_baseline_take(struct audit_baseline *baseline)
{
	struct fd_list open = { NULL, 0, 0 };
	int error = list_open(&open);

	*baseline = (struct audit_baseline){ NULL, 0 };
	if (error == 0 && open.n > 0) {
		baseline->v = calloc(open.n, sizeof(*baseline->v));
		error = baseline->v == NULL ? -ENOMEM : 0;
	}
	for (size_t i = 0; error == 0 && i < open.n; i++) {
		struct audit_known_fd *known = &baseline->v[baseline->n];
		struct fd_note note;

		if (fd_registry_get(open.v[i], &note) ||
		    !link_of(open.v[i], known->link, sizeof(known->link)))
			continue;
		known->fd = open.v[i];
		baseline->n++;
	}
	free(open.v);
	return error;
}

void audit_baseline_fini(struct audit_baseline *baseline)
{
	free(baseline->v);
	*baseline = (struct audit_baseline){ NULL, 0 };
}

static bool is_known(const struct audit_baseline *baseline, int fd, const char *link)
{
	for (size_t i = 0; i < baseline->n; i++) {
		if (baseline->v[i].fd == fd)
			return strcmp(baseline->v[i].link, link) == 0;
	}
	return false;
}

static bool add_note(struct note_list *list, int fd, const struct fd_note *note)
{
	void *v = list->v;

	if (!grow(&v, list->n, &list->size, sizeof(*list->v)))
		return false;
	list->v = v;
	list->v[list->n++] =
	    (struct session_note){ note->owner, fd, note->kind, note->where, false };
	return true;
}

/* Open descriptors: noted for a session, noted for the process, known from the start, or
 * suspicious. */
static void look_at_open(struct scan *scan, const struct audit_baseline *baseline)
{
	scan->sums->open = scan->open.n;
	for (size_t i = 0; i < scan->open.n; i++) {
		int fd = scan->open.v[i];
		struct fd_note note;
		char link[64];

		if (fd_registry_get(fd, &note)) {
			scan->sums->noted++;
			if (note.owner.v != 0 && !add_note(&scan->notes, fd, &note))
				scan->no_memory = true;
			continue;
		}
		if (link_of(fd, link, sizeof(link)) && !is_known(baseline, fd, link))
			suspect(scan, FINDING_UNNOTED, SESSION_ID_NONE, fd);
	}
}

/* Notes of descriptors that are not open, and how many notes there are by kind. */
static void look_at_notes(struct scan *scan)
{
	size_t at = 0;

	for (size_t i = 0; i < scan->sources->fd_max; i++) {
		struct fd_note note;
		int fd = (int)i;

		if (!fd_registry_get(fd, &note))
			continue;
		if (note.owner.v != 0 && note.kind < LEDGER_KINDS)
			scan->sums->notes[note.kind]++;
		while (at < scan->open.n && scan->open.v[at] < fd)
			at++;
		if (at < scan->open.n && scan->open.v[at] == fd)
			continue;
		suspect(scan, FINDING_STALE, note.owner, fd)->where = note.where;
	}
}

static void count_notes_again(struct scan *scan)
{
	for (size_t i = 0; i < scan->sources->fd_max; i++) {
		struct fd_note note;

		if (fd_registry_get((int)i, &note) && note.owner.v != 0 && note.kind < LEDGER_KINDS)
			scan->notes_after[note.kind]++;
	}
}

/* ---- slots ----------------------------------------------------------------------------------- */

static const struct config *config_of(const struct ops_sources *sources)
{
	return sources->config != NULL ? *sources->config : NULL;
}

static struct slot_count *slot_find(struct scan *scan, const char *pool, const char *server)
{
	for (size_t i = 0; i < scan->slots.n; i++) {
		struct slot_count *slot = &scan->slots.v[i];

		if (strcmp(slot->server, server) == 0 && strcmp(slot->pool, pool) == 0)
			return slot;
	}
	return NULL;
}

static struct slot_count *slot_add(struct scan *scan, size_t pool, const char *pool_name,
                                   size_t server, const char *name)
{
	struct slot_list *list = &scan->slots;
	void *v = list->v;

	if (!grow(&v, list->n, &list->size, sizeof(*list->v))) {
		scan->no_memory = true;
		return NULL;
	}
	list->v = v;
	struct slot_count *slot = &list->v[list->n++];
	*slot = (struct slot_count){ .pool = pool_name,
		                     .key = (int)(pool * POOL_SERVERS_MAX + server) };
	sp_copy(slot->server, sizeof(slot->server), name);
	return slot;
}

/* What the pools' ledgers say; before and after the table was read. */
static void count_given(struct scan *scan, bool before)
{
	const struct config *config = config_of(scan->sources);
	struct pool_server_status status[POOL_SERVERS_MAX];

	for (size_t i = 0; config != NULL && i < config->pools_n; i++) {
		const struct pool_config *pool = &config->pools[i];
		size_t n = pool->ledger != NULL
		               ? pool_ledger_status(pool->ledger, status, POOL_SERVERS_MAX)
		               : 0;

		for (size_t k = 0; k < n && k < POOL_SERVERS_MAX; k++) {
			struct slot_count *slot = slot_find(scan, pool->name, status[k].terms.name);

			if (slot == NULL && before)
				slot = slot_add(scan, i, pool->name, k, status[k].terms.name);
			if (slot == NULL)
				continue;
			if (before)
				slot->given_before = status[k].sessions;
			slot->given_after = status[k].sessions;
		}
	}
}

static void judge_slots(struct scan *scan)
{
	for (size_t i = 0; i < scan->slots.n; i++) {
		const struct slot_count *slot = &scan->slots.v[i];
		int64_t most = sp_max64(slot->given_before, slot->given_after);
		int64_t least = sp_min64(slot->given_before, slot->given_after);

		scan->sums->slots_given += (uint64_t)slot->given_after;
		if (slot->held >= least && slot->held <= most)
			continue;
		struct suspicion *s = suspect(scan, FINDING_SLOTS, SESSION_ID_NONE, slot->key);
		s->amount = slot->held < least ? 1 : -1;
		s->left = slot->given_after;
		s->right = slot->held;
	}
}

/* ---- pooled ports ---------------------------------------------------------------------------- */

static int64_t count_reserved(const struct ops_sources *sources)
{
	struct port_registry_stats stats = { 0 };

	if (sources->registry != NULL)
		port_registry_stats(sources->registry, &stats);
	return (int64_t)stats.reserved;
}

/* What the registry of pooled ports has, before and after the table was read, and what sessions have. */
static void judge_ports(struct scan *scan, int64_t before)
{
	int64_t after = count_reserved(scan->sources);
	int64_t held = (int64_t)scan->sums->ledgers[LEDGER_PORT];

	scan->sums->ports_reserved = (uint64_t)after;
	if (held >= sp_min64(before, after) && held <= sp_max64(before, after))
		return;
	struct suspicion *s = suspect(scan, FINDING_PORTS, SESSION_ID_NONE, -1);
	s->amount = held < after ? 1 : -1;
	s->left = after;
	s->right = held;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static int by_owner(const void *a, const void *b)
{
	const struct session_note *x = a;
	const struct session_note *y = b;

	if (x->id.v != y->id.v)
		return x->id.v < y->id.v ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

/* The first note of the session, and how many there are; n 0: none. */
static struct session_note *notes_of(struct note_list *list, struct session_id id, size_t *n)
{
	size_t low = 0;
	size_t high = list->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->v[middle].id.v < id.v)
			low = middle + 1;
		else
			high = middle;
	}
	*n = 0;
	while (low + *n < list->n && list->v[low + *n].id.v == id.v)
		(*n)++;
	return *n > 0 ? &list->v[low] : NULL;
}

/* The session's ledger against the notes in its name, kind by kind. */
static void judge_ledger(struct scan *scan, const struct session_info *info,
                         const struct session_note *notes, size_t n)
{
	int64_t noted[LEDGER_KINDS] = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (notes[i].kind < LEDGER_KINDS)
			noted[notes[i].kind]++;
	}
	for (size_t kind = 0; kind < LEDGER_KINDS; kind++) {
		/* A farewell is noted for the session and counted by its worker. */
		if (!ledger_kind_is_fd((enum ledger_kind)kind) || kind == LEDGER_FAREWELL_FD ||
		    noted[kind] == info->ledger[kind])
			continue;
		struct suspicion *s = suspect(scan, FINDING_LEDGER, info->id, (int)kind);
		s->amount = info->ledger[kind] - noted[kind];
		s->stamp = (uint64_t)info->transfers << 32 | info->commands;
		s->left = info->ledger[kind];
		s->right = noted[kind];
		s->where = n > 0 ? notes[0].where : NULL;
	}
}

static void judge_session(struct scan *scan, const struct session_info *info)
{
	size_t n;
	struct session_note *notes = notes_of(&scan->notes, info->id, &n);
	const char *where = n > 0 ? notes[0].where : NULL;
	struct slot_count *slot;

	for (size_t i = 0; i < n; i++)
		notes[i].owned = true;
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		scan->sums->ledgers[i] += info->ledger[i];
	if (info->ledger[LEDGER_CONTROL_FD] == 0)
		suspect(scan, FINDING_CLIENTLESS, info->id, -1)->where = where;
	if (info->place == PLACE_ENDING)
		suspect(scan, FINDING_ENDING, info->id, -1)->where = where;
	if (info->deadline_ms != CLOCK_NEVER &&
	    scan->now_ms - info->deadline_ms > 2 * NOTICE_REPEAT_MS)
		suspect(scan, FINDING_OVERDUE, info->id, -1)->where = where;
	judge_ledger(scan, info, notes, n);
	if (info->ledger[LEDGER_SLOT] == 0)
		return;
	scan->sums->slots_held += info->ledger[LEDGER_SLOT];
	slot = slot_find(scan, info->pool, info->server_name);
	if (slot != NULL)
		slot->held += info->ledger[LEDGER_SLOT];
}

static void look_at_sessions(struct scan *scan)
{
	struct table_cursor cursor = { 0, 0 };
	struct session_info page[PAGE];
	size_t n;

	if (scan->sources->table == NULL)
		return;
	while ((n = session_table_page(scan->sources->table, &cursor, page, PAGE)) > 0) {
		for (size_t i = 0; i < n; i++)
			judge_session(scan, &page[i]);
	}
}

/* Notes whose session was not in the table. */
static void judge_ownerless(struct scan *scan)
{
	for (size_t i = 0; i < scan->notes.n; i++) {
		const struct session_note *note = &scan->notes.v[i];
		bool farewell = note->kind == LEDGER_FAREWELL_FD;

		if (note->owned && !farewell)
			continue;
		suspect(scan, farewell ? FINDING_FAREWELL : FINDING_OWNERLESS, note->id, note->fd)
		    ->where = note->where;
	}
}

static void judge_sums(struct scan *scan)
{
	const struct ops_sources *sources = scan->sources;

	for (size_t i = 0; i < sources->workers && sources->farewells != NULL; i++) {
		for (size_t kind = 0; kind < LEDGER_KINDS; kind++)
			scan->sums->ledgers[kind] +=
			    ledger_get(sources->farewells[i], (enum ledger_kind)kind);
	}
	for (size_t kind = 0; kind < LEDGER_KINDS; kind++) {
		int64_t sum = (int64_t)scan->sums->ledgers[kind];
		int64_t before = (int64_t)scan->sums->notes[kind];
		int64_t after = (int64_t)scan->notes_after[kind];

		if (!ledger_kind_is_fd((enum ledger_kind)kind) ||
		    (sum >= sp_min64(before, after) && sum <= sp_max64(before, after)))
			continue;
		struct suspicion *s = suspect(scan, FINDING_SUM, SESSION_ID_NONE, (int)kind);
		s->amount = sum > before ? 1 : -1;
		s->left = sum;
		s->right = after;
	}
}

int audit_scan(const struct ops_sources *sources, const struct audit_baseline *baseline,
               struct suspicion_list *out, struct audit_sums *sums)
{
	struct scan scan = { .sources = sources, .out = out, .sums = sums, .now_ms = sp_now_ms() };
	int error = list_open(&scan.open);
	int64_t reserved = count_reserved(sources);

	out->n = 0;
	memset(sums, 0, sizeof(*sums));
	if (error == 0) {
		look_at_open(&scan, baseline);
		look_at_notes(&scan);
		if (scan.notes.n > 0)
			qsort(scan.notes.v, scan.notes.n, sizeof(*scan.notes.v), by_owner);
		count_given(&scan, true);
		look_at_sessions(&scan);
		judge_ownerless(&scan);
		count_notes_again(&scan);
		count_given(&scan, false);
		judge_slots(&scan);
		judge_ports(&scan, reserved);
		judge_sums(&scan);
		error = scan.no_memory ? -ENOMEM : 0;
	}
	free(scan.open.v);
	free(scan.notes.v);
	free(scan.slots.v);
	return error;
}

int64_t audit_close_timeout(const struct ops_sources *sources)
{
	const struct config *config = config_of(sources);
	int64_t longest = 0;

	for (size_t i = 0; config != NULL && i < config->policies_n; i++)
		longest = sp_max64(longest, config->policies[i].timeouts.close_timeout);
	return longest > 0 ? longest : timeouts_default().close_timeout;
}

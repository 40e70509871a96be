// SPDX-License-Identifier: ISC
/*
 * The session table, many threads: owners, the reaper and listings get along,
 * nothing is forgotten, and what a listing shows was true.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/mailbox.h"
#include "sallyport/reaper.h"
#include "sallyport/session_table.h"

#define RUN_MS 1500

/* A failure in another thread than the test's ends the process: libcheck reports that. */
#define MUST(cond) SP_ASSERT(cond)

static uint64_t any(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

static int64_t any_below(uint64_t *seed, int64_t n)
{
	return (int64_t)(any(seed) % (uint64_t)n);
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	MUST(pthread_create(thread, NULL, run, arg) == 0);
}

static void join(pthread_t thread)
{
	MUST(pthread_join(thread, NULL) == 0);
}

/* --- everybody at once ------------------------------------------------------------- */

#define OWNERS 3
#define SESSIONS 200 /* of one owner at a time */
#define STABLE 300   /* records that live through everything */
/* For a busy machine; below NOTICE_REPEAT_MS, since a repetition would be too late. */
#define PATIENCE_MS 4000

struct owned {
	struct session_id id;
	struct session_live *live; /* NULL: a free place */
	int64_t deadline_ms;
	unsigned version;
};

struct owner {
	uint32_t number;
	struct crowd *crowd;
	struct mailbox *mailbox;
	uint64_t seed;
	uint64_t sequence;
	uint64_t notices, ended, stale;
	struct owned owned[SESSIONS];
};

struct crowd {
	struct session_table *table;
	struct mailbox *mailboxes[OWNERS + 1];
	struct owner owners[OWNERS];
	_Atomic bool stop;
	_Atomic uint64_t listed;
};

/* user and server_name are always of one version. */
static struct session_info info_of(struct session_id id, unsigned version)
{
	struct session_info info = { .id = id, .started_ms = sp_now_ms() };

	snprintf(info.user, sizeof(info.user), "%016llx-%u", (unsigned long long)id.v, version);
	snprintf(info.server_name, sizeof(info.server_name), "s%u", version);
	return info;
}

static void check_info(const struct session_info *info)
{
	char user[64];
	unsigned version = 0;

	for (const char *p = info->server_name + 1; *p != '\0'; p++)
		version = version * 10 + (unsigned)(*p - '0');
	snprintf(user, sizeof(user), "%016llx-%u", (unsigned long long)info->id.v, version);
	MUST(info->server_name[0] == 's');
	MUST(strcmp(user, info->user) == 0);
}

/* What session_touch and rearm promise for a deadline that has not passed yet. */
static void check_turn(const struct owned *o)
{
	int64_t turn_ms = atomic_load(&o->live->turn_ms);

	MUST(turn_ms <= o->deadline_ms || o->deadline_ms <= sp_now_ms());
}

static void owner_insert(struct owner *w, struct owned *o)
{
	o->id = session_id_make(w->number, ++w->sequence);
	o->version = 0;
	o->deadline_ms = sp_now_ms() + any_below(&w->seed, 400);

	struct session_info info = info_of(o->id, o->version);

	o->live = session_table_insert(w->crowd->table, &info, o->deadline_ms);
	MUST(o->live != NULL);
}

static void owner_remove(struct owner *w, struct owned *o)
{
	struct session_info last;

	MUST(session_table_remove(w->crowd->table, o->id, &last));
	MUST(last.deadline_ms == o->deadline_ms);
	check_info(&last);
	o->live = NULL;
	w->ended++;
}

static void owner_move(struct owner *w, struct owned *o)
{
	o->deadline_ms = sp_now_ms() + any_below(&w->seed, 400);
	if (!session_touch(o->live, o->deadline_ms))
		session_table_rearm(w->crowd->table, o->id, o->deadline_ms);
	check_turn(o);
}

static void owner_act(struct owner *w)
{
	struct owned *o = &w->owned[any(&w->seed) % SESSIONS];
	struct session_info info;

	if (o->live == NULL) {
		owner_insert(w, o);
		return;
	}
	/* Nothing is forgotten: so long past its deadline, its notice would have ended it. */
	MUST(sp_now_ms() < o->deadline_ms + PATIENCE_MS);
	switch (any(&w->seed) % 8) {
	case 0:
		owner_remove(w, o);
		break;
	case 1:
		info = info_of(o->id, ++o->version);
		session_table_update(w->crowd->table, &info);
		break;
	case 2:
		MUST(session_table_get(w->crowd->table, o->id, &info));
		check_info(&info);
		break;
	case 3:
		o->deadline_ms = sp_now_ms() + any_below(&w->seed, 400);
		session_table_rearm(w->crowd->table, o->id, o->deadline_ms);
		check_turn(o);
		break;
	default:
		if (o->deadline_ms > sp_now_ms())
			owner_move(w, o);
	}
}

/* A notice is a hint: look again, and only then end it. */
static void owner_on_notice(struct owner *w, const struct message *message)
{
	w->notices++;
	for (size_t i = 0; i < SESSIONS; i++) {
		struct owned *o = &w->owned[i];

		if (o->live == NULL || !session_id_eq(o->id, message->id))
			continue;
		if (o->deadline_ms <= sp_now_ms())
			owner_remove(w, o);
		else
			w->stale++;
		return;
	}
	w->stale++;
}

static void *owner_run(void *arg)
{
	struct owner *w = arg;
	struct message messages[16];

	while (!atomic_load(&w->crowd->stop)) {
		for (int i = 0; i < 20; i++)
			owner_act(w);

		size_t n = mailbox_take(w->mailbox, messages, SP_ARRAY_LEN(messages));

		for (size_t i = 0; i < n; i++)
			owner_on_notice(w, &messages[i]);
		poll(NULL, 0, 1);
	}
	for (size_t i = 0; i < SESSIONS; i++) {
		if (w->owned[i].live != NULL)
			owner_remove(w, &w->owned[i]);
	}
	return NULL;
}

static void *lister_run(void *arg)
{
	struct crowd *crowd = arg;

	while (!atomic_load(&crowd->stop)) {
		struct table_cursor cursor = { 0 };
		struct session_info page[50];
		unsigned seen[STABLE + 1] = { 0 };
		size_t n;

		while ((n = session_table_page(crowd->table, &cursor, page, SP_ARRAY_LEN(page))) >
		       0) {
			for (size_t i = 0; i < n; i++) {
				check_info(&page[i]);
				if (session_id_worker(page[i].id) == OWNERS)
					seen[page[i].id.v & 0xffffffff]++;
			}
		}
		for (size_t i = 1; i <= STABLE; i++)
			MUST(seen[i] == 1);
		MUST(session_table_count(crowd->table) >= STABLE);
		atomic_fetch_add(&crowd->listed, 1);
	}
	return NULL;
}

static void crowd_insert_stable(struct crowd *crowd)
{
	for (uint64_t i = 1; i <= STABLE; i++) {
		struct session_info info = info_of(session_id_make(OWNERS, i), 0);

		/* Some of them due at once: their notices are refused or never taken. */
		MUST(session_table_insert(crowd->table, &info,
		                          i % 3 == 0 ? sp_now_ms() : CLOCK_NEVER) != NULL);
	}
}

START_TEST(owners_reaper_and_listings_get_along)
{
	static struct crowd crowd;
	pthread_t threads[OWNERS], listers[2];
	uint64_t notices = 0, ended = 0;
	struct reaper_stats stats;

	memset(&crowd, 0, sizeof(crowd));
	crowd.table = session_table_new(_i == 0 ? 1 : 8);
	for (size_t i = 0; i <= OWNERS; i++)
		crowd.mailboxes[i] = mailbox_new(i < OWNERS ? 100000 : 10);
	crowd_insert_stable(&crowd);

	struct reaper *reaper = reaper_start(crowd.table, crowd.mailboxes, OWNERS + 1);

	for (uint32_t i = 0; i < OWNERS; i++) {
		crowd.owners[i] = (struct owner){
			.number = i, .crowd = &crowd, .mailbox = crowd.mailboxes[i], .seed = i
		};
		start(&threads[i], owner_run, &crowd.owners[i]);
	}
	start(&listers[0], lister_run, &crowd);
	start(&listers[1], lister_run, &crowd);
	poll(NULL, 0, RUN_MS);
	atomic_store(&crowd.stop, true);
	for (uint32_t i = 0; i < OWNERS; i++) {
		join(threads[i]);
		notices += crowd.owners[i].notices;
		ended += crowd.owners[i].ended;
	}
	join(listers[0]);
	join(listers[1]);
	reaper_stats(reaper, &stats);
	reaper_stop(&reaper);

	ck_assert_uint_gt(notices, 100);
	ck_assert_uint_gt(ended, 100);
	ck_assert_uint_gt(atomic_load(&crowd.listed), 3);
	ck_assert_uint_gt(stats.ticks, 3);
	ck_assert_uint_gt(stats.refused, 0);
	ck_assert_uint_eq(session_table_count(crowd.table), STABLE);
	for (uint64_t i = 1; i <= STABLE; i++)
		ck_assert(session_table_remove(crowd.table, session_id_make(OWNERS, i), NULL));
	for (size_t i = 0; i <= OWNERS; i++)
		mailbox_free(&crowd.mailboxes[i]);
	session_table_free(&crowd.table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_table_threads");
	TCase *tcase = tcase_create("session_table_threads");

	tcase_add_loop_test(tcase, owners_reaper_and_listings_get_along, 0, 2);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

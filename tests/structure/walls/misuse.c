// SPDX-License-Identifier: ISC
/*
 * Walls 4 and 5 at run time: does, against all rules, what its argument says.
 * Must abort with a message; "none" does nothing wrong and ends well.
 */
#include <stdio.h>
#include <string.h>

#include "sallyport/event.h"
#include "sallyport/mailbox.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/session_table.h"

static struct core_lock lock, other;
static struct mailbox *mailbox;
static struct event_queue *queue;
static struct session_table *table;
static struct pool_ledger *ledger;

static void none(void)
{
}

static void post(void)
{
	if (!mailbox_post(mailbox, (struct message){ .kind = MESSAGE_KICK }))
		puts("refused");
}

static void take_message(void)
{
	struct message message;

	mailbox_take(mailbox, &message, 1);
}

static void emit(void)
{
	struct sp_event event;

	event_init(&event, EVENT_LOG);
	event_emit(queue, &event);
}

static void log_line(void)
{
	log_write(queue, LEVEL_INFO, "here");
}

static void relock(void) SP_NO_THREAD_SAFETY
{
	core_lock_take(&lock, __func__);
}

/* As if the counter did not exist: then the mutex itself must know. */
static void relock_uncounted(void) SP_NO_THREAD_SAFETY
{
	sp_locks_held = 0;
	core_lock_take(&lock, __func__);
}

static void two_locks(void) SP_NO_THREAD_SAFETY
{
	core_lock_take(&other, __func__);
}

static void insert(void)
{
	struct session_info info = { .id = { 1 } };

	if (session_table_insert(table, &info, CLOCK_NEVER) == NULL)
		puts("no memory");
}

static void remove_record(void)
{
	session_table_remove(table, (struct session_id){ 1 }, NULL);
}

static void page(void)
{
	struct table_cursor cursor = { 0 };
	struct session_info out;

	session_table_page(table, &cursor, &out, 1);
}

static void expire(void)
{
	static struct notice_batch batch;

	session_table_expire(table, 0, &batch);
}

static void release(void)
{
	struct slot slot = { 0 };

	if (pool_ledger_release(ledger, &slot).v != 0)
		puts("somebody waits");
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
	{ "none", none },
	{ "post", post },
	{ "take_message", take_message },
	{ "emit", emit },
	{ "log", log_line },
	{ "relock", relock },
	{ "relock_uncounted", relock_uncounted },
	{ "two_locks", two_locks },
	{ "insert", insert },
	{ "remove", remove_record },
	{ "page", page },
	{ "expire", expire },
	{ "release", release },
};

/* The analysis does not see through the pointer, which is why the tables' headers have none. */
static void act_under_lock(void (*act)(void))
{
	core_lock_take(&lock, __func__);
	act();
	core_lock_drop(&lock);
}

int main(int argc, char **argv)
{
	core_lock_init(&lock);
	core_lock_init(&other);
	mailbox = mailbox_new(4);
	queue = event_queue_new(4);
	table = session_table_new(1);
	ledger = pool_ledger_new(BALANCE_FIRST);
	for (size_t i = 0; argc == 2 && i < SP_ARRAY_LEN(acts); i++) {
		if (strcmp(acts[i].name, argv[1]) == 0) {
			act_under_lock(acts[i].act);
			return 0;
		}
	}
	for (size_t i = 0; i < SP_ARRAY_LEN(acts); i++)
		puts(acts[i].name);
	return 2;
}

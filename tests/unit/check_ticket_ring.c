// SPDX-License-Identifier: ISC
/*
 * Keys of session tickets: the ring, their change by the clock and by a file,
 * and the file itself.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport/config_tickets.h"
#include "sallyport/runtime_tickets.h"

static struct ticket_key key_of(unsigned char fill)
{
	struct ticket_key key;

	memset(&key, fill, sizeof(key));
	return key;
}

static enum ticket_found find(struct ticket_ring *ring, unsigned char fill)
{
	struct ticket_key wanted = key_of(fill);
	struct ticket_key got;
	enum ticket_found found = ticket_ring_find(ring, wanted.name, &got);

	if (found != TICKET_UNKNOWN)
		ck_assert_int_eq(memcmp(&got, &wanted, sizeof(got)), 0);
	return found;
}

START_TEST(a_key_encrypts_for_one_turn_and_decrypts_for_two)
{
	struct ticket_ring *ring = ticket_ring_new(7);
	struct ticket_key key;

	ck_assert_uint_eq(ticket_ring_instance(ring), 7);
	ck_assert(!ticket_ring_first(ring, &key));
	ck_assert_int_eq(find(ring, 1), TICKET_UNKNOWN);
	for (unsigned char i = 1; i < 40; i++) {
		struct ticket_key fresh = key_of(i);

		ticket_ring_rotate(ring, &fresh);
		ck_assert(ticket_ring_first(ring, &key));
		ck_assert_int_eq(memcmp(&key, &fresh, sizeof(key)), 0);
		ck_assert_int_eq(find(ring, i), TICKET_FIRST);
		if (i > 1)
			ck_assert_int_eq(find(ring, (unsigned char)(i - 1)), TICKET_OLD);
		if (i > 2)
			ck_assert_int_eq(find(ring, (unsigned char)(i - 2)), TICKET_UNKNOWN);
	}
	ticket_ring_free(&ring);
	ck_assert_ptr_null(ring);
}
END_TEST

START_TEST(keys_that_are_set_replace_all_others)
{
	struct ticket_ring *ring = ticket_ring_new(7);
	struct ticket_keys keys = { .n = TICKET_KEYS_MAX };
	struct ticket_key fresh = key_of(99);

	for (unsigned char i = 0; i < TICKET_KEYS_MAX; i++)
		keys.keys[i] = key_of((unsigned char)(i + 1));
	ticket_ring_rotate(ring, &fresh);
	ticket_ring_set(ring, &keys);
	ck_assert_int_eq(find(ring, 99), TICKET_UNKNOWN);
	ck_assert_int_eq(find(ring, 1), TICKET_FIRST);
	for (unsigned char i = 2; i <= TICKET_KEYS_MAX; i++)
		ck_assert_int_eq(find(ring, i), TICKET_OLD);
	/* and when the file is given up, the newest of its keys goes on for a while */
	ticket_ring_rotate(ring, &fresh);
	ck_assert_int_eq(find(ring, 99), TICKET_FIRST);
	ck_assert_int_eq(find(ring, 1), TICKET_OLD);
	ck_assert_int_eq(find(ring, 2), TICKET_UNKNOWN);
	ticket_ring_free(&ring);
}
END_TEST

START_TEST(the_clock_changes_random_keys_and_leaves_those_of_a_file)
{
	struct runtime_tickets tickets = { 0 };
	struct config config = { .ticket_rotation_ms = 1000 };
	struct ticket_keys keys = { .n = 1 };
	struct ticket_key one;
	struct ticket_key two;
	int64_t now;

	ck_assert(runtime_tickets_attach(&tickets, &config));
	ck_assert(runtime_tickets_take(&tickets, &config));
	ck_assert(ticket_ring_first(tickets.ring, &one));
	now = tickets.rotated_ms;
	ck_assert(!runtime_tickets_turn(&tickets, &config, now + 999));
	ck_assert(runtime_tickets_turn(&tickets, &config, now + 1000));
	ck_assert(!runtime_tickets_turn(&tickets, &config, now + 1999));
	ck_assert(ticket_ring_first(tickets.ring, &two));
	ck_assert_int_ne(memcmp(&one, &two, sizeof(one)), 0);
	ck_assert_int_eq(ticket_ring_find(tickets.ring, one.name, &two), TICKET_OLD);
	/* a reload alone changes nothing */
	ck_assert(runtime_tickets_attach(&tickets, &config));
	ck_assert(runtime_tickets_take(&tickets, &config));
	ck_assert_int_eq(ticket_ring_find(tickets.ring, one.name, &two), TICKET_OLD);
	keys.keys[0] = key_of(5);
	config.ticket_keys = &keys;
	ck_assert(runtime_tickets_take(&tickets, &config));
	ck_assert_int_eq(find(tickets.ring, 5), TICKET_FIRST);
	ck_assert(!runtime_tickets_turn(&tickets, &config, now + 1000000));
	config.ticket_keys = NULL;
	ck_assert(runtime_tickets_take(&tickets, &config));
	ck_assert_int_eq(find(tickets.ring, 5), TICKET_OLD);
	runtime_tickets_fini(&tickets);
}
END_TEST

/* --- the file -------------------------------------------------------------------------- */

/* "<fill>" × 80 in hex. */
static const char *line_of(unsigned char fill)
{
	static char line[2 * TICKET_KEY_BYTES + 1];

	for (size_t i = 0; i < TICKET_KEY_BYTES; i++)
		snprintf(line + 2 * i, 3, i % 2 == 0 ? "%02x" : "%02X", fill);
	return line;
}

static bool parse(const char *text, struct ticket_keys *keys, char error[TICKETS_ERROR_MAX])
{
	return config_tickets_parse(span_of(text), keys, error);
}

START_TEST(a_file_of_keys)
{
	struct ticket_keys keys;
	char error[TICKETS_ERROR_MAX] = "";
	char text[4096];
	struct ticket_key wanted = key_of(0xab);

	snprintf(text, sizeof(text), "# keys\r\n\n  %s\t\r\n", line_of(0xab));
	strncat(text, line_of(1), sizeof(text) - strlen(text) - 1);
	ck_assert_msg(parse(text, &keys, error), "%s", error);
	ck_assert_uint_eq(keys.n, 2);
	ck_assert_int_eq(memcmp(&keys.keys[0], &wanted, sizeof(wanted)), 0);
	ck_assert(!parse("", &keys, error));
	ck_assert_str_eq(error, "there is no key in it");
	ck_assert(!parse("# nothing\n", &keys, error));
}
END_TEST

START_TEST(a_mistake_in_it_is_named_and_not_shown)
{
	struct ticket_keys keys;
	char error[TICKETS_ERROR_MAX];
	char text[8192];

	snprintf(text, sizeof(text), "%s0\n", line_of(3));
	ck_assert(!parse(text, &keys, error));
	ck_assert_ptr_nonnull(strstr(error, "line 1: a key is 160 hex digits"));
	ck_assert_ptr_null(strstr(error, "0303"));
	snprintf(text, sizeof(text), "\n%s", line_of(3));
	text[20] = 'g';
	ck_assert(!parse(text, &keys, error));
	ck_assert_ptr_nonnull(strstr(error, "line 2"));
	snprintf(text, sizeof(text), "%s\n", line_of(3));
	strncat(text, line_of(3), sizeof(text) - strlen(text) - 1);
	ck_assert(!parse(text, &keys, error));
	ck_assert_ptr_nonnull(strstr(error, "line 2: two keys"));
	text[0] = '\0';
	for (unsigned char i = 0; i <= TICKET_KEYS_MAX; i++) {
		strncat(text, line_of(i), sizeof(text) - strlen(text) - 1);
		strncat(text, "\n", sizeof(text) - strlen(text) - 1);
	}
	ck_assert(!parse(text, &keys, error));
	ck_assert_ptr_nonnull(strstr(error, "line 17: there may be 16"));
}
END_TEST

START_TEST(its_mode_is_looked_at)
{
	char path[] = "/tmp/check_ticket_ring.XXXXXX";
	char error[TICKETS_ERROR_MAX];
	struct ticket_keys *keys;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, line_of(9), 160), 160);
	ck_assert_int_eq(fchmod(fd, 0640), 0);
	ck_assert_ptr_null(config_tickets_load(path, error));
	ck_assert_ptr_nonnull(strstr(error, "0600"));
	ck_assert_ptr_nonnull(strstr(error, path));
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	keys = config_tickets_load(path, error);
	ck_assert_msg(keys != NULL, "%s", error);
	ck_assert_uint_eq(keys->n, 1);
	config_tickets_free(&keys);
	close(fd);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ticket_ring");
	TCase *tcase = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, a_key_encrypts_for_one_turn_and_decrypts_for_two);
	tcase_add_test(tcase, keys_that_are_set_replace_all_others);
	tcase_add_test(tcase, the_clock_changes_random_keys_and_leaves_those_of_a_file);
	tcase_add_test(tcase, a_file_of_keys);
	tcase_add_test(tcase, a_mistake_in_it_is_named_and_not_shown);
	tcase_add_test(tcase, its_mode_is_looked_at);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

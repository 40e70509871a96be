// SPDX-License-Identifier: ISC
/*
 * Health: the machine step by step, from tables; and what must hold whatever
 * comes: never down before `fall`, never up before `rise`, times out that grow
 * to their bound, a share between 1 and 100.
 */
#include <check.h>
#include <stdlib.h>

#include "sallyport/health.h"

#define T0 1000000

enum what { LOGON_FAILED, LOGON_SERVED, TRIAL_FAILED, CHECK_FAILED, CHECK_PASSED, CHECK_SKIPPED };

struct step {
	enum what what;
	int64_t after_ms; /* of the step before */
	bool changed;
	bool down;
	int64_t check_in_ms; /* -1: not looked at */
};

#define STEPS_MAX 12

struct story {
	const char *name;
	struct health_terms terms;
	struct step steps[STEPS_MAX];
};

static const struct health_terms unchecked = { .fall = 3, .rise = 2 };
#define CHECKED { .checked = true, .fall = 3, .rise = 2, .every_ms = 5000 }

static const struct story stories[] = {
	{ "logons that fail take it down, the third of a row",
	  { .fall = 3 },
	  { { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_SERVED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, true, true, -1 },
	    { LOGON_FAILED, 0, false, true, -1 },
	    { LOGON_SERVED, 1000, true, false, -1 } } },
	{ "zero is the default",
	  { 0 },
	  { { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, true, true, -1 } } },
	{ "checks that fail take it down; two that pass bring it up",
	  CHECKED,
	  { { CHECK_FAILED, 0, false, false, 1000 },
	    { CHECK_FAILED, 1000, false, false, 1000 },
	    { CHECK_FAILED, 1000, true, true, 5000 },
	    { CHECK_FAILED, 5000, false, true, 5000 },
	    { CHECK_PASSED, 5000, false, true, 1000 },
	    { CHECK_FAILED, 1000, false, true, 5000 },
	    { CHECK_PASSED, 5000, false, true, 1000 },
	    { CHECK_PASSED, 1000, true, false, 5000 },
	    { CHECK_FAILED, 5000, false, false, 1000 },
	    { CHECK_PASSED, 1000, false, false, 5000 } } },
	{ "a logon does not overrule a check",
	  CHECKED,
	  { { CHECK_FAILED, 0, false, false, -1 },
	    { CHECK_FAILED, 0, false, false, -1 },
	    { CHECK_FAILED, 0, true, true, -1 },
	    { LOGON_SERVED, 0, false, true, -1 } } },
	{ "a check does not end the time out that logons have brought",
	  CHECKED,
	  { { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { LOGON_FAILED, 0, true, true, -1 },
	    { CHECK_PASSED, 10, false, true, 1000 },
	    { CHECK_PASSED, 10, false, true, 1000 },
	    { CHECK_PASSED, 10, false, true, 1000 },
	    { CHECK_PASSED, 970, true, false, 5000 } } },
	{ "a check that passes says nothing of logons, only that they are to be watched",
	  CHECKED,
	  { { LOGON_FAILED, 0, false, false, -1 },
	    { CHECK_PASSED, 0, false, false, 1000 },
	    { LOGON_FAILED, 0, false, false, -1 },
	    { CHECK_PASSED, 0, false, false, 1000 },
	    { LOGON_FAILED, 0, true, true, -1 } } },
	{ "a logon that failed is not looked into for ever",
	  CHECKED,
	  { { LOGON_FAILED, 0, false, false, -1 },
	    { CHECK_PASSED, 1000, false, false, 1000 },
	    { CHECK_PASSED, 1000, false, false, 5000 },
	    { LOGON_FAILED, 100, false, false, -1 },
	    { CHECK_PASSED, 1000, false, false, 1000 },
	    { CHECK_PASSED, 1000, false, false, 5000 },
	    { CHECK_PASSED, 5000, false, false, 5000 } } },
	{ "a check that was left out changes nothing",
	  CHECKED,
	  { { CHECK_FAILED, 0, false, false, -1 },
	    { CHECK_FAILED, 0, false, false, -1 },
	    { CHECK_SKIPPED, 0, false, false, 1000 },
	    { CHECK_FAILED, 0, true, true, -1 },
	    { CHECK_PASSED, 0, false, true, -1 },
	    { CHECK_SKIPPED, 0, false, true, 1000 },
	    { CHECK_PASSED, 0, true, false, -1 } } },
	{ "every faster than soon stays as fast",
	  { .checked = true, .fall = 2, .rise = 1, .every_ms = 200 },
	  { { CHECK_PASSED, 0, false, false, 200 },
	    { CHECK_FAILED, 200, false, false, 200 },
	    { CHECK_FAILED, 200, true, true, 200 },
	    { CHECK_PASSED, 200, true, false, 200 } } },
};

static bool apply(struct health *h, const struct health_terms *terms, enum what what, int64_t now_ms)
{
	switch (what) {
	case LOGON_FAILED:
		return health_logon_failed(h, terms, now_ms, false);
	case TRIAL_FAILED:
		return health_logon_failed(h, terms, now_ms, true);
	case LOGON_SERVED:
		return health_logon_served(h, terms, now_ms);
	case CHECK_FAILED:
		return health_check_failed(h, terms, now_ms);
	case CHECK_PASSED:
		return health_check_passed(h, terms, now_ms);
	case CHECK_SKIPPED:
		health_check_skipped(h, terms, now_ms);
		return false;
	}
	return false;
}

/* Behind the last step of a story the table is zero: LOGON_FAILED that says nothing of the check. */
static bool is_end(const struct step *step)
{
	return step->what == LOGON_FAILED && !step->changed && !step->down && step->check_in_ms == 0;
}

START_TEST(stories_go_as_told)
{
	const struct story *story = &stories[_i];
	struct health h = { 0 };
	int64_t now = T0;

	for (size_t i = 0; i < STEPS_MAX && !is_end(&story->steps[i]); i++) {
		const struct step *step = &story->steps[i];

		now += step->after_ms;
		ck_assert_msg(apply(&h, &story->terms, step->what, now) == step->changed, "%s: step %zu",
			      story->name, i + 1);
		ck_assert_msg(h.down == step->down, "%s: step %zu", story->name, i + 1);
		if (step->check_in_ms >= 0)
			ck_assert_int_eq(h.check_at_ms - now, step->check_in_ms);
	}
}
END_TEST

START_TEST(time_out_grows_and_ends_with_a_trial)
{
	static const int64_t times[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct health h = { 0 };
	int64_t now = T0;

	for (int i = 0; i < 3; i++)
		ck_assert(health_logon_failed(&h, &unchecked, now, false) == (i == 2));
	for (size_t i = 0; i < SP_ARRAY_LEN(times); i++) {
		ck_assert(!health_may_try(&h, &unchecked, now + times[i] - 1));
		now += times[i];
		ck_assert(health_may_try(&h, &unchecked, now));
		/* Those that failed beside it do not count. */
		ck_assert(!health_logon_failed(&h, &unchecked, now, false));
		ck_assert(health_may_try(&h, &unchecked, now));
		ck_assert(!health_logon_failed(&h, &unchecked, now, true));
	}
	ck_assert(health_logon_served(&h, &unchecked, now));
	ck_assert(!h.down && h.out_ms == 0);
}
END_TEST

START_TEST(with_checks_no_logon_is_a_trial)
{
	const struct health_terms terms = CHECKED;
	struct health h = { 0 };

	for (int i = 0; i < 3; i++)
		ck_assert(health_logon_failed(&h, &terms, T0, false) == (i == 2));
	ck_assert(!health_may_try(&h, &terms, T0 + 3600000));
	ck_assert(health_may_try(&h, &unchecked, T0 + 3600000));
}
END_TEST

START_TEST(failing_logon_is_looked_into_at_once_and_once)
{
	const struct health_terms terms = CHECKED;
	struct health h = { 0 };

	ck_assert(health_check_is_due(&h, &terms, T0));
	ck_assert(!health_check_is_due(&h, &unchecked, T0));
	ck_assert(!health_check_passed(&h, &terms, T0));
	ck_assert(!health_check_is_due(&h, &terms, T0 + 4999));
	ck_assert(health_check_is_due(&h, &terms, T0 + 5000));
	(void)!health_logon_failed(&h, &terms, T0 + 2000, false);
	ck_assert(health_check_is_due(&h, &terms, T0 + 2000));
	ck_assert(!health_check_passed(&h, &terms, T0 + 2000));
	for (int i = 0; i < 1000; i++)
		(void)!health_logon_failed(&h, &terms, T0 + 2001, false);
	ck_assert(!health_check_is_due(&h, &terms, T0 + 2999));
	ck_assert(health_check_is_due(&h, &terms, T0 + 3000));
}
END_TEST

START_TEST(share_grows_from_one_to_all)
{
	struct health_terms terms = { .slow_start_ms = 10000 };
	struct health h = { 0 };
	unsigned last = 0;

	ck_assert_uint_eq(health_share(&h, &terms, T0), 100); /* it never was down */
	health_begin(&h, T0);
	for (int64_t ms = 0; ms <= 12000; ms += 7) {
		unsigned share = health_share(&h, &terms, T0 + ms);

		ck_assert_uint_ge(share, 1);
		ck_assert_uint_le(share, 100);
		ck_assert_uint_ge(share, last);
		last = share;
	}
	ck_assert_uint_eq(health_share(&h, &terms, T0), 1);
	ck_assert_uint_eq(health_share(&h, &terms, T0 + 5000), 50);
	ck_assert_uint_eq(last, 100);
	terms.slow_start_ms = 0;
	ck_assert_uint_eq(health_share(&h, &terms, T0), 100);
}
END_TEST

/* Anything in any order: the header's rules, kept beside it by simple counting. */
START_TEST(rules_hold_whatever_happens)
{
	const struct health_terms terms = { .checked = true, .fall = 3, .rise = 2, .every_ms = 700 };
	struct health h = { 0 };
	uint32_t logons = 0, failed = 0, passed = 0;
	int64_t now = T0;

	srand(1);
	for (int i = 0; i < 200000; i++) {
		enum what what = (enum what)(rand() % 6);
		bool was_down = h.down;
		bool changed;

		if (what == TRIAL_FAILED)
			continue; /* there are none with checks */
		now += rand() % 600;
		logons = what == LOGON_FAILED ? logons + 1 : what == LOGON_SERVED ? 0 : logons;
		failed = what == CHECK_FAILED ? failed + 1 : what == CHECK_PASSED ? 0 : failed;
		passed = what == CHECK_PASSED && was_down ? passed + 1 : what == CHECK_FAILED ? 0 : passed;
		changed = apply(&h, &terms, what, now);
		ck_assert(changed == (h.down != was_down));
		if (changed && h.down)
			ck_assert(what == CHECK_FAILED ? failed >= 3 : what == LOGON_FAILED && logons >= 3);
		if (changed && !h.down)
			ck_assert(what == CHECK_PASSED && passed >= 2 && now >= h.out_until_ms);
		if (!h.down)
			ck_assert(h.logons_failed < 3 && h.checks_failed < 3);
		if (changed) {
			passed = 0;
			if (!h.down)
				logons = failed = 0;
		}
		ck_assert_int_le(h.out_until_ms - now, HEALTH_OUT_LONGEST_MS);
		ck_assert_int_le(h.check_at_ms - now, 700);
	}
}
END_TEST

START_TEST(kinds_have_names)
{
	static const char *const names[] = { "none", "connect", "greeting", "logon", "transfer", "pool" };

	for (size_t i = 0; i < SP_ARRAY_LEN(names); i++)
		ck_assert_str_eq(check_kind_name((enum check_kind)i), names[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health");
	TCase *tc = tcase_create("health");
	SRunner *runner = srunner_create(suite);

	tcase_add_loop_test(tc, stories_go_as_told, 0, SP_ARRAY_LEN(stories));
	tcase_add_test(tc, time_out_grows_and_ends_with_a_trial);
	tcase_add_test(tc, with_checks_no_logon_is_a_trial);
	tcase_add_test(tc, failing_logon_is_looked_into_at_once_and_once);
	tcase_add_test(tc, share_grows_from_one_to_all);
	tcase_add_test(tc, rules_hold_whatever_happens);
	tcase_add_test(tc, kinds_have_names);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: ISC
/*
 * The resolver against a name server that behaves, fails, is silent and lies.
 * resolver.c and dns.c are included: their clock, their times, their room and
 * their memory are the test's.
 */
#include "fake_dns.h"
#include "net_test.h"

#include <ares.h>

#include "sallyport/dns.h"
#include "sallyport/resolver.h"

static int64_t clock_ahead_ms;
static int allocations;  /* made so far */
static int fail_at = -1; /* this one fails; -1: none */
static int dns_timeout_ms = 400;

static int64_t shifted_now_ms(void)
{
	return sp_now_ms() + clock_ahead_ms;
}

static void *counted_malloc(size_t n)
{
	return allocations++ == fail_at ? NULL : malloc(n);
}

static void *counted_calloc(size_t n, size_t size)
{
	return allocations++ == fail_at ? NULL : calloc(n, size);
}

static void *counted_realloc(void *p, size_t n)
{
	return allocations++ == fail_at ? NULL : realloc(p, n);
}

#undef DNS_TIMEOUT_MS
#undef RESOLVER_STALE_WAIT_MS
#undef RESOLVER_FAMILY_WAIT_MS
#undef RESOLVER_NAMES_MAX
#define DNS_TIMEOUT_MS dns_timeout_ms
#define RESOLVER_STALE_WAIT_MS 100
#define RESOLVER_FAMILY_WAIT_MS 100
#define RESOLVER_NAMES_MAX 4

#define sp_now_ms shifted_now_ms
#define malloc counted_malloc
#define calloc counted_calloc
#include "../../proxy/net/dns.c"
#include "../../proxy/net/resolver.c"
#undef sp_now_ms
#undef malloc
#undef calloc

/* Of a fake name server and c-ares with one server: tries of 400 and 800 ms. */
#define BOUND_MS 2500

static struct resolver *resolver;

struct outcome {
	int calls;
	size_t n;
	const char *error;
	int64_t at_ms;
	struct netaddr addresses[RESOLVER_ADDRESSES_MAX];
	void (*act)(struct outcome *o);
	struct resolver_query *query;
};

static void on_done(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct outcome *o = owner;

	o->calls++;
	o->n = n;
	o->error = error;
	o->at_ms = sp_now_ms();
	if (n > 0)
		memcpy(o->addresses, addresses, n * sizeof(addresses[0]));
	ck_assert(n > 0 || error != NULL);
	if (o->act != NULL)
		o->act(o);
	else
		o->query = NULL;
}

static void setup(void)
{
	fake_dns_start();
	resolver = resolver_new(test_base);
	ck_assert_ptr_nonnull(resolver);
	ck_assert_int_eq(resolver_set_servers(resolver, fake.address), 0);
}

static void teardown(void)
{
	resolver_free(&resolver);
	ck_assert_ptr_null(resolver);
	resolver_free(&resolver);
	fake_dns_stop();
}

static void lookup(struct outcome *o, const char *host)
{
	o->calls = 0;
	o->query = resolver_lookup(resolver, host, 21, on_done, o);
	ck_assert_ptr_nonnull(o->query);
	ck_assert_int_eq(o->calls, 0);
}

static struct outcome resolve(const char *host)
{
	struct outcome o = { 0 };

	lookup(&o, host);
	RUN_UNTIL(o.calls > 0);
	ck_assert_int_eq(o.calls, 1);
	return o;
}

/* The addresses as one text: "192.0.2.1:21 [2001:db8::1]:21". */
static const char *text_of(const struct outcome *o)
{
	static char text[RESOLVER_ADDRESSES_MAX * NETADDR_TEXT_MAX];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < o->n; i++) {
		char one[NETADDR_TEXT_MAX];
		int n = snprintf(text + at, sizeof(text) - at, "%s%s", i > 0 ? " " : "",
		                 netaddr_format(&o->addresses[i], one));

		at += (size_t)n;
	}
	return text;
}

static void expect(const char *host, const char *addresses)
{
	struct outcome o = resolve(host);

	ck_assert_str_eq(text_of(&o), addresses);
}

static void expect_error(const char *host, const char *error)
{
	struct outcome o = resolve(host);

	ck_assert_uint_eq(o.n, 0);
	ck_assert_str_eq(o.error, error);
}

static struct fake_name v4(const char *name, const char *address, uint32_t ttl)
{
	return (struct fake_name){ .name = name, .v4 = { address }, .ttl = ttl };
}

/* --- answers --------------------------------------------------------------------------- */

START_TEST(addresses_of_one_family)
{
	fake_set(0, v4("four.test", "192.0.2.1", 60));
	fake_set(1, (struct fake_name){ .name = "six.test", .v6 = { "2001:db8::1" }, .ttl = 60 });
	expect("four.test", "192.0.2.1:21");
	expect("six.test", "[2001:db8::1]:21");
}
END_TEST

static int family_of(const struct outcome *o, size_t i)
{
	return o->addresses[i].family;
}

START_TEST(both_families_take_turns)
{
	struct outcome o;

	fake_set(0, (struct fake_name){ .name = "both.test",
	                                .v4 = { "127.0.0.1", "127.0.0.2", "127.0.0.3" },
	                                .v6 = { "2001:db8::1" },
	                                .ttl = 60 });
	o = resolve("both.test");
	ck_assert_uint_eq(o.n, 4);
	ck_assert_int_ne(family_of(&o, 0), family_of(&o, 1));
	ck_assert_int_eq(family_of(&o, 2), AF_INET);
	ck_assert_int_eq(family_of(&o, 3), AF_INET);
}
END_TEST

/* Loopback comes before what has no route or a worse label, whichever family it is of. */
START_TEST(what_can_be_reached_comes_first)
{
	struct outcome o;

	fake_set(0,
	         (struct fake_name){
		     .name = "four.test", .v4 = { "127.0.0.1" }, .v6 = { "fd00::1" }, .ttl = 60 });
	o = resolve("four.test");
	ck_assert_uint_eq(o.n, 2);
	ck_assert_int_eq(family_of(&o, 0), AF_INET);

	struct netaddr six = { .in6 = { .sin6_family = AF_INET6,
		                        .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
	struct netaddr from;

	if (!source_address(&six, &from))
		return; /* a host without IPv6 */
	fake_set(1, (struct fake_name){
			.name = "six.test", .v4 = { "127.0.0.1" }, .v6 = { "::1" }, .ttl = 60 });
	o = resolve("six.test");
	ck_assert_uint_eq(o.n, 2);
	ck_assert_int_eq(family_of(&o, 0), AF_INET6);
}
END_TEST

START_TEST(as_many_as_fit_and_each_once)
{
	struct fake_name name = { .name = "many.test", .ttl = 60 };
	static char texts[30][16];
	struct outcome o;

	for (int i = 0; i < 30; i++) {
		snprintf(texts[i], sizeof(texts[i]), "192.0.2.%d", i < 5 ? 1 : i);
		name.v4[i] = texts[i];
	}
	name.mode_a = FAKE_TRUNCATED; /* they are too many for a datagram */
	fake_set(0, name);
	o = resolve("many.test");
	ck_assert_uint_eq(o.n, RESOLVER_ADDRESSES_MAX);
	for (size_t i = 0; i < o.n; i++) {
		for (size_t j = 0; j < i; j++)
			ck_assert(!netaddr_same_host(&o.addresses[i], &o.addresses[j]));
	}
}
END_TEST

START_TEST(each_waiter_gets_his_port)
{
	struct outcome ftp = { 0 }, ftps = { 0 };

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	ftp.query = resolver_lookup(resolver, "a.test", 21, on_done, &ftp);
	ftps.query = resolver_lookup(resolver, "a.test", 990, on_done, &ftps);
	RUN_UNTIL(ftp.calls > 0 && ftps.calls > 0);
	ck_assert_str_eq(text_of(&ftp), "192.0.2.1:21");
	ck_assert_str_eq(text_of(&ftps), "192.0.2.1:990");
}
END_TEST

START_TEST(there_is_no_such_name)
{
	expect_error("no.test", "no such name");

	int asked = fake_asked_all();

	/* Not asked again at once; then it is, and it exists. */
	fake_set(0, v4("no.test", "192.0.2.1", 60));
	expect_error("no.test", "no such name");
	ck_assert_int_eq(fake_asked_all(), asked);
	clock_ahead_ms += RESOLVER_NEGATIVE_MS + 100;
	expect("no.test", "192.0.2.1:21");
}
END_TEST

START_TEST(a_name_without_address)
{
	fake_set(0, (struct fake_name){ .name = "empty.test" });
	expect_error("empty.test", "the name has no address");
}
END_TEST

START_TEST(an_empty_name_and_a_long_one)
{
	static char longest[1000];

	memset(longest, 'a', sizeof(longest) - 1);
	ck_assert_uint_eq(resolve("").n, 0);
	ck_assert_uint_eq(resolve(longest).n, 0);
	ck_assert_uint_eq(resolve("a..test").n, 0);
}
END_TEST

/* --- remembering ----------------------------------------------------------------------------- */

START_TEST(an_answer_is_kept_for_its_ttl)
{
	fake_set(0, v4("a.test", "192.0.2.1", 60));
	expect("a.test", "192.0.2.1:21");
	expect("A.Test", "192.0.2.1:21");
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
	ck_assert_int_eq(fake_asked(0, FAKE_AAAA), 1);
	fake_set(0, v4("a.test", "192.0.2.2", 60));
	expect("a.test", "192.0.2.1:21");
	clock_ahead_ms += 60 * 1000 + 100;
	expect("a.test", "192.0.2.2:21");
}
END_TEST

static const struct {
	uint32_t ttl, alias_ttl;
	const char *alias;
	int64_t kept_ms;
} ttls[] = {
	{ 0, 0, NULL, RESOLVER_TTL_FLOOR_MS },
	{ 86400, 0, NULL, RESOLVER_TTL_CEIL_MS },
	{ 0xffffffff, 0, NULL, RESOLVER_TTL_FLOOR_MS },
	{ 200, 40, "b.test", 40 * 1000 },
	{ 30, 200, "b.test", 30 * 1000 },
};

START_TEST(a_ttl_is_bounded)
{
	struct fake_name name = v4("a.test", "192.0.2.1", ttls[_i].ttl);

	name.alias = ttls[_i].alias;
	name.alias_ttl = ttls[_i].alias_ttl;
	fake_set(0, name);
	expect("a.test", "192.0.2.1:21");

	int64_t left = resolver_find(resolver, "a.test")->fresh_until - shifted_now_ms();

	ck_assert_int_le(left, ttls[_i].kept_ms);
	ck_assert_int_ge(left, ttls[_i].kept_ms - 500);
}
END_TEST

START_TEST(a_used_answer_is_renewed_before_it_is_needed)
{
	fake_set(0, v4("a.test", "192.0.2.1", 100));
	expect("a.test", "192.0.2.1:21");
	clock_ahead_ms += 70 * 1000;
	expect("a.test", "192.0.2.1:21");
	loop_settle();
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
	fake_set(0, v4("a.test", "192.0.2.2", 100));
	clock_ahead_ms += 10 * 1000;
	expect("a.test", "192.0.2.1:21"); /* nobody waits for it */
	RUN_UNTIL(fake_asked(0, FAKE_A) == 1 && fake_asked(0, FAKE_AAAA) == 1);
	RUN_UNTIL(!name_is_open(resolver_find(resolver, "a.test")));
	clock_ahead_ms += 30 * 1000;
	expect("a.test", "192.0.2.2:21");
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
}
END_TEST

START_TEST(the_bounds_of_a_ttl_may_be_others)
{
	resolver_use_ttl(resolver, 5000, 8000);
	for (unsigned ttl = 1; ttl <= 60; ttl += 59) {
		const char *name = ttl == 1 ? "short.test" : "long.test";

		fake_set(0, v4(name, "192.0.2.1", ttl));
		expect(name, "192.0.2.1:21");
		fake_set(0, v4(name, "192.0.2.2", ttl));
		clock_ahead_ms += 3000;
		expect(name, "192.0.2.1:21");
		clock_ahead_ms += 6000;
		expect(name, "192.0.2.2:21");
	}
}
END_TEST

START_TEST(only_so_many_names_are_remembered)
{
	struct outcome waiting = { 0 };
	char host[32];

	fake_set(0, (struct fake_name){
			.name = "slow.test", .mode_a = FAKE_SILENT, .mode_aaaa = FAKE_SILENT });
	lookup(&waiting, "slow.test");
	for (int i = 0; i < 3 * RESOLVER_NAMES_MAX; i++) {
		snprintf(host, sizeof(host), "n%d.test", i);
		(void)resolve(host);
		ck_assert_uint_le(resolver->n, RESOLVER_NAMES_MAX);
	}
	/* Who waits is not forgotten with the name. */
	RUN_UNTIL(waiting.calls > 0);
	ck_assert_str_eq(waiting.error, "no name server answered");
}
END_TEST

START_TEST(more_names_are_known_while_they_are_waited_for)
{
	struct outcome waiting[RESOLVER_NAMES_MAX + 2] = { 0 };
	char host[32];

	dns_timeout_ms = 100;
	resolver_free(&resolver);
	resolver = resolver_new(test_base);
	ck_assert_int_eq(resolver_set_servers(resolver, fake.address), 0);
	for (int i = 0; i < RESOLVER_NAMES_MAX + 2; i++) {
		snprintf(host, sizeof(host), "n%d.test", i);
		lookup(&waiting[i], host);
	}
	ck_assert_uint_eq(resolver->n, RESOLVER_NAMES_MAX + 2);
	for (int i = 0; i < RESOLVER_NAMES_MAX + 2; i++)
		RUN_UNTIL(waiting[i].calls == 1);
	(void)resolve("another.test");
	ck_assert_uint_le(resolver->n, RESOLVER_NAMES_MAX);
}
END_TEST

START_TEST(the_hosts_file_is_the_truth)
{
	FILE *file = fopen("/etc/hosts", "r");
	char line[512];
	bool has = false;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		has |= strncmp(line, "127.0.0.1", 9) == 0 && strstr(line, "localhost") != NULL;
	if (file != NULL)
		fclose(file);
	if (!has)
		return;
	fake_set(0, (struct fake_name){ .name = "localhost",
	                                .v4 = { "192.0.2.66" },
	                                .v6 = { "2001:db8::66" },
	                                .ttl = 60 });

	struct outcome o = resolve("localhost");

	for (size_t i = 0; i < o.n; i++)
		ck_assert(netaddr_is_loopback(&o.addresses[i]));
	ck_assert_int_eq(fake_asked_all(), 0);
}
END_TEST

/* --- failures ------------------------------------------------------------------------------------
 */

static const struct {
	enum fake_mode mode;
	const char *error; /* NULL: any */
} failures[] = {
	{ FAKE_SERVFAIL, "the name servers failed or could not be reached" },
	{ FAKE_REFUSED, "the name servers failed or could not be reached" },
	{ FAKE_SILENT, "no name server answered" },
	{ FAKE_CUT, NULL },
	{ FAKE_GARBAGE, NULL },
	{ FAKE_BAD_LENGTH, NULL },
	{ FAKE_LOOP, NULL },
};

static struct fake_name failing(const char *host, enum fake_mode mode)
{
	return (struct fake_name){ .name = host,
		                   .v4 = { "192.0.2.9" },
		                   .v6 = { "2001:db8::9" },
		                   .ttl = 60,
		                   .mode_a = mode,
		                   .mode_aaaa = mode };
}

START_TEST(a_failure_is_told_in_time)
{
	int64_t began = sp_now_ms();
	struct outcome o;

	fake_set(0, failing("bad.test", failures[_i].mode));
	o = resolve("bad.test");
	ck_assert_uint_eq(o.n, 0);
	if (failures[_i].error != NULL)
		ck_assert_str_eq(o.error, failures[_i].error);
	ck_assert_int_le(sp_now_ms() - began, BOUND_MS);
	/* And it is asked again, not at once but soon. */
	fake_set(0, v4("bad.test", "192.0.2.1", 60));
	ck_assert_uint_eq(resolve("bad.test").n, 0);
	clock_ahead_ms += RESOLVER_NEGATIVE_MS + 100;
	expect("bad.test", "192.0.2.1:21");
}
END_TEST

START_TEST(the_last_good_answer_outlives_a_failure)
{
	int64_t began;

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	expect("a.test", "192.0.2.1:21");
	fake_set(0, failing("a.test", failures[_i].mode));
	clock_ahead_ms += 100 * 1000;
	began = sp_now_ms();
	expect("a.test", "192.0.2.1:21");
	/* Also when the failure takes its time. */
	ck_assert_int_lt(sp_now_ms() - began, 2 * dns_timeout_ms);
	RUN_UNTIL(!name_is_open(resolver_find(resolver, "a.test")));
	/* Whoever wants to know is told that it is an old one. */
	ck_assert_ptr_nonnull(resolve("a.test").error);
	clock_ahead_ms += 100 * 1000;
	fake_set(0, v4("a.test", "192.0.2.2", 60));
	expect("a.test", "192.0.2.2:21");
}
END_TEST

START_TEST(a_name_that_is_gone_is_gone)
{
	fake_set(0, v4("a.test", "192.0.2.1", 60));
	expect("a.test", "192.0.2.1:21");
	fake_set(0, (struct fake_name){ .name = "other.test" });
	clock_ahead_ms += 61 * 1000;
	expect_error("a.test", "no such name");
}
END_TEST

START_TEST(one_family_may_fail)
{
	struct fake_name name = failing("half.test", FAKE_ANSWERS);
	int64_t began = sp_now_ms();

	if (_i % 2 == 0)
		name.mode_a = _i < 2 ? FAKE_SERVFAIL : FAKE_SILENT;
	else
		name.mode_aaaa = _i < 2 ? FAKE_SERVFAIL : FAKE_SILENT;
	fake_set(0, name);
	expect("half.test", _i % 2 == 0 ? "[2001:db8::9]:21" : "192.0.2.9:21");
	ck_assert_int_lt(sp_now_ms() - began, 2 * dns_timeout_ms);
}
END_TEST

START_TEST(a_late_family_is_added)
{
	struct fake_name name = failing("late.test", FAKE_ANSWERS);

	name.mode_aaaa = FAKE_SILENT;
	fake_set(0, name);
	expect("late.test", "192.0.2.9:21");
	fake_set(0, failing("late.test", FAKE_ANSWERS)); /* the second try is answered */
	RUN_UNTIL(!name_is_open(resolver_find(resolver, "late.test")));
	ck_assert_uint_eq(resolve("late.test").n, 2);
	ck_assert_int_eq(fake_asked(0, FAKE_A), 0);
}
END_TEST

/* Its AAAA never comes and its TTL is short: each new look-up gets the new A, without waiting for
 * the old AAAA. */
START_TEST(a_silent_family_delays_nobody)
{
	struct fake_name name = v4("short.test", "192.0.2.1", 1);
	int64_t began = sp_now_ms();

	name.mode_aaaa = FAKE_SILENT;
	fake_set(0, name);
	expect("short.test", "192.0.2.1:21");
	name.v4[0] = "192.0.2.2";
	fake_set(0, name);
	clock_ahead_ms += 1100;
	expect("short.test", "192.0.2.2:21");
	ck_assert_int_lt(sp_now_ms() - began, 2 * dns_timeout_ms);
	ck_assert(name_is_open(resolver_find(resolver, "short.test")));
	ck_assert_uint_eq(resolver->dns->open, 1);
}
END_TEST

START_TEST(a_forged_answer_is_not_believed)
{
	struct fake_name name = v4("a.test", "192.0.2.1", 60);

	name.mode_a = FAKE_WRONG_ID;
	fake_set(0, name);
	expect("a.test", "192.0.2.1:21");
}
END_TEST

START_TEST(a_truncated_answer_is_asked_for_by_tcp)
{
	struct fake_name name = v4("a.test", "192.0.2.1", 60);

	name.mode_a = FAKE_TRUNCATED;
	fake_set(0, name);
	expect("a.test", "192.0.2.1:21");
	ck_assert_int_eq(fake_asked(0, FAKE_A), 2);
}
END_TEST

START_TEST(no_server_at_all)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char servers[32];

	memset(&at, 0, sizeof(at));
	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	close(fd);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(at.sin_port));
	ck_assert_int_eq(resolver_set_servers(resolver, servers), 0);
	expect_error("a.test", "the name servers failed or could not be reached");
}
END_TEST

START_TEST(servers_are_checked)
{
	struct outcome o = { 0 };

	ck_assert_int_eq(resolver_set_servers(resolver, ""), -EINVAL);
	ck_assert_int_eq(resolver_set_servers(resolver, "no address"), -EINVAL);
	ck_assert_int_eq(resolver_set_servers(resolver, fake.address), 0);
	fake_set(0, failing("slow.test", FAKE_SILENT));
	lookup(&o, "slow.test");
	ck_assert_int_eq(resolver_set_servers(resolver, fake.address), -EBUSY);
	resolver_forget(&o.query);
}
END_TEST

/* --- promises
 * ------------------------------------------------------------------------------------- */

START_TEST(many_wait_for_one_query)
{
	struct outcome o[5] = { 0 };

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	for (int i = 0; i < 5; i++)
		lookup(&o[i], i % 2 == 0 ? "a.test" : "A.TEST");
	for (int i = 0; i < 5; i++) {
		RUN_UNTIL(o[i].calls > 0);
		ck_assert_str_eq(text_of(&o[i]), "192.0.2.1:21");
	}
	loop_settle();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(o[i].calls, 1);
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
	ck_assert_int_eq(fake_asked(0, FAKE_AAAA), 1);
}
END_TEST

/* One who comes while one family has answered and the other has not. */
START_TEST(who_comes_late_waits_with_the_others)
{
	struct fake_name name = v4("half.test", "192.0.2.1", 60);
	struct outcome first = { 0 }, late = { 0 };

	name.mode_aaaa = FAKE_SILENT;
	fake_set(0, name);
	lookup(&first, "half.test");
	RUN_UNTIL(!resolver_find(resolver, "half.test")->family[IPV4].open);
	lookup(&late, "half.test");
	RUN_UNTIL(first.calls > 0 && late.calls > 0);
	ck_assert_str_eq(text_of(&late), "192.0.2.1:21");
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
}
END_TEST

START_TEST(the_forgotten_are_not_called)
{
	struct outcome o[3] = { 0 };

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	if (_i == 1) /* known: they are due already */
		(void)resolve("a.test");
	for (int i = 0; i < 3; i++)
		lookup(&o[i], "a.test");
	resolver_forget(&o[1].query);
	ck_assert_ptr_null(o[1].query);
	resolver_forget(&o[1].query);
	RUN_UNTIL(o[0].calls > 0 && o[2].calls > 0);
	loop_settle();
	ck_assert_int_eq(o[1].calls, 0);
	ck_assert(name_is_idle(resolver_find(resolver, "a.test")));
}
END_TEST

START_TEST(a_query_that_all_forgot_is_still_remembered)
{
	struct outcome o = { 0 };

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	lookup(&o, "a.test");
	resolver_forget(&o.query);
	RUN_UNTIL(!name_is_open(resolver_find(resolver, "a.test")));
	ck_assert_int_eq(o.calls, 0);
	expect("a.test", "192.0.2.1:21");
	ck_assert_int_eq(fake_asked(0, FAKE_A), 1);
}
END_TEST

static struct outcome others[2];

static void act_forget_self_and_other(struct outcome *o)
{
	resolver_forget(&o->query);
	resolver_forget(&others[1].query);
}

START_TEST(forgetting_from_within_a_call)
{
	memset(others, 0, sizeof(others));
	fake_set(0, v4("a.test", "192.0.2.1", 60));
	if (_i == 1)
		(void)resolve("a.test");
	others[0].act = act_forget_self_and_other;
	lookup(&others[0], "a.test");
	lookup(&others[1], "a.test");
	RUN_UNTIL(others[0].calls > 0);
	loop_settle();
	ck_assert_int_eq(others[0].calls, 1);
	ck_assert_int_eq(others[1].calls, 0);
	ck_assert_ptr_null(others[0].query);
	ck_assert_ptr_null(others[1].query);
}
END_TEST

static int again;

static void act_look_up_again(struct outcome *o)
{
	o->query = NULL;
	if (again-- > 0) {
		int calls = o->calls;

		o->query = resolver_lookup(resolver, "a.test", 21, on_done, o);
		ck_assert_ptr_nonnull(o->query);
		ck_assert_int_eq(o->calls, calls);
	} else {
		others[1].query = resolver_lookup(resolver, "b.test", 21, on_done, &others[1]);
		ck_assert_ptr_nonnull(others[1].query);
		ck_assert_int_eq(others[1].calls, 0);
	}
}

START_TEST(looking_up_from_within_a_call)
{
	memset(others, 0, sizeof(others));
	fake_set(0, v4("a.test", "192.0.2.1", 60));
	fake_set(1, v4("b.test", "192.0.2.2", 60));
	again = 3;
	others[0].act = act_look_up_again;
	lookup(&others[0], "a.test");
	RUN_UNTIL(others[1].calls > 0);
	ck_assert_int_eq(others[0].calls, 4);
	ck_assert_str_eq(text_of(&others[1]), "192.0.2.2:21");
}
END_TEST

/* Who asks for ever for what is known does not stop the loop. */
static void act_for_ever(struct outcome *o)
{
	lookup(o, "a.test");
}

START_TEST(the_loop_goes_on_between_rounds)
{
	struct outcome o = { 0 };

	fake_set(0, v4("a.test", "192.0.2.1", 60));
	o.act = act_for_ever;
	lookup(&o, "a.test");
	for (int i = 0; i < 200; i++)
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	RUN_UNTIL(!name_is_open(resolver_find(resolver, "a.test")));
	for (int i = 0; i < 200; i++)
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}
END_TEST

START_TEST(freeing_with_open_queries)
{
	struct outcome o[4] = { 0 };
	size_t before;

	resolver_free(&resolver);
	before = open_descriptors();
	resolver = resolver_new(test_base);
	ck_assert_int_eq(resolver_set_servers(resolver, fake.address), 0);
	fake_set(0, failing("slow.test", FAKE_SILENT));
	fake_set(1, v4("a.test", "192.0.2.1", 60));
	(void)resolve("a.test");
	lookup(&o[0], "slow.test");
	lookup(&o[1], "slow.test");
	lookup(&o[2], "a.test");
	lookup(&o[3], "b.test");
	if (_i == 1)
		event_base_loop(test_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);

	int calls = o[2].calls + o[3].calls; /* these may have been answered */

	resolver_free(&resolver);
	loop_settle();
	ck_assert_int_eq(o[0].calls + o[1].calls, 0);
	ck_assert_int_eq(o[2].calls + o[3].calls, calls);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(sockets_are_noted_as_the_processes_own)
{
	struct outcome o = { 0 };
	struct fd_note note;
	int noted = 0;

	fake_set(0, failing("slow.test", FAKE_SILENT));
	lookup(&o, "slow.test");
	for (int fd = 0; fd < 1024; fd++) {
		if (!fd_registry_get(fd, &note))
			continue;
		noted++;
		ck_assert(session_id_eq(note.owner, SESSION_ID_NONE));
		ck_assert_int_ne(fcntl(fd, F_GETFD), -1);
	}
	ck_assert_int_ge(noted, 1);
	resolver_free(&resolver);
	for (int fd = 0; fd < 1024; fd++)
		ck_assert(!fd_registry_get(fd, &note));
}
END_TEST

/* --- without memory
 * ----------------------------------------------------------------------------------- */

/* One life, from new to free, in which the n-th allocation fails. True: it came that far. */
static bool live_with_failure(int n)
{
	struct outcome o = { 0 };

	allocations = 0;
	fail_at = n;
	resolver = resolver_new(test_base);
	if (resolver == NULL)
		return true;
	if (resolver_set_servers(resolver, fake.address) == 0) {
		o.query = resolver_lookup(resolver, "a.test", 21, on_done, &o);
		if (o.query != NULL)
			RUN_UNTIL(o.calls > 0);
	}
	resolver_free(&resolver);
	fail_at = -1;
	return allocations > n;
}

START_TEST(memory_may_fail_anywhere)
{
	int n = 0;

	dns_timeout_ms = 60;
	fake_set(0, (struct fake_name){
			.name = "a.test", .v4 = { "127.0.0.1" }, .v6 = { "::1" }, .ttl = 60 });
	resolver_free(&resolver);
	if (_i == 1) /* also within c-ares */
		ck_assert_int_eq(
		    ares_library_init_mem(ARES_LIB_INIT_ALL, counted_malloc, free, counted_realloc),
		    ARES_SUCCESS);
	while (live_with_failure(n))
		n++;
	ck_assert_int_ge(n, 5);
	if (_i == 1)
		ares_library_cleanup();
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, addresses_of_one_family);
	tcase_add_test(tests, both_families_take_turns);
	tcase_add_test(tests, what_can_be_reached_comes_first);
	tcase_add_test(tests, as_many_as_fit_and_each_once);
	tcase_add_test(tests, each_waiter_gets_his_port);
	tcase_add_test(tests, there_is_no_such_name);
	tcase_add_test(tests, a_name_without_address);
	tcase_add_test(tests, an_empty_name_and_a_long_one);
	tcase_add_test(tests, an_answer_is_kept_for_its_ttl);
	tcase_add_loop_test(tests, a_ttl_is_bounded, 0, (int)SP_ARRAY_LEN(ttls));
	tcase_add_test(tests, a_used_answer_is_renewed_before_it_is_needed);
	tcase_add_test(tests, the_bounds_of_a_ttl_may_be_others);
	tcase_add_test(tests, only_so_many_names_are_remembered);
	tcase_add_test(tests, more_names_are_known_while_they_are_waited_for);
	tcase_add_test(tests, the_hosts_file_is_the_truth);
	tcase_add_loop_test(tests, a_failure_is_told_in_time, 0, (int)SP_ARRAY_LEN(failures));
	tcase_add_loop_test(tests, the_last_good_answer_outlives_a_failure, 0,
	                    (int)SP_ARRAY_LEN(failures));
	tcase_add_test(tests, a_name_that_is_gone_is_gone);
	tcase_add_loop_test(tests, one_family_may_fail, 0, 4);
	tcase_add_test(tests, a_late_family_is_added);
	tcase_add_test(tests, a_silent_family_delays_nobody);
	tcase_add_test(tests, a_forged_answer_is_not_believed);
	tcase_add_test(tests, a_truncated_answer_is_asked_for_by_tcp);
	tcase_add_test(tests, no_server_at_all);
	tcase_add_test(tests, servers_are_checked);
	tcase_add_test(tests, many_wait_for_one_query);
	tcase_add_test(tests, who_comes_late_waits_with_the_others);
	tcase_add_loop_test(tests, the_forgotten_are_not_called, 0, 2);
	tcase_add_test(tests, a_query_that_all_forgot_is_still_remembered);
	tcase_add_loop_test(tests, forgetting_from_within_a_call, 0, 2);
	tcase_add_test(tests, looking_up_from_within_a_call);
	tcase_add_test(tests, the_loop_goes_on_between_rounds);
	tcase_add_loop_test(tests, freeing_with_open_queries, 0, 2);
	tcase_add_test(tests, sockets_are_noted_as_the_processes_own);
	tcase_add_loop_test(tests, memory_may_fail_anywhere, 0, 2);
}

int main(void)
{
	return net_test_run("resolver", add_tests);
}

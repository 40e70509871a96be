// SPDX-License-Identifier: ISC
/*
 * The configuration: what texts become which values, one by one and in whole
 * files (config/good/).
 */
#include "config_test.h"

#include "sallyport/config_keys.h"
#include "sallyport/config_value.h"
#include "sallyport/session_id.h"

/* --- texts ---------------------------------------------------------------------- */

static const struct {
	const char *text;
	int64_t ms; /* -1: not a duration */
	const char *shown;
} durations[] = {
	{ "0", 0, "0" },
	{ "off", 0, "0" },
	{ "0s", 0, "0" },
	{ "1ms", 1, "1ms" },
	{ "500ms", 500, "500ms" },
	{ "1000ms", 1000, "1s" },
	{ "30s", 30000, "30s" },
	{ "60s", 60000, "1m" },
	{ "90s", 90000, "90s" },
	{ "5m", 300000, "5m" },
	{ "2h", 7200000, "2h" },
	{ "7d", 604800000, "7d" },
	{ "106751991167d", INT64_C(9223372036828800000), "106751991167d" },
	{ "106751991168d", -1, NULL },
	{ "9223372036854775807ms", INT64_MAX, "9223372036854775807ms" },
	{ "9223372036854775808ms", -1, NULL },
	{ "", -1, NULL },
	{ "30", -1, NULL },
	{ "s", -1, NULL },
	{ "-1s", -1, NULL },
	{ "+1s", -1, NULL },
	{ "1 s", -1, NULL },
	{ " 1s", -1, NULL },
	{ "1s ", -1, NULL },
	{ "1S", -1, NULL },
	{ "1.5s", -1, NULL },
	{ "1h30m", -1, NULL },
	{ "0x10s", -1, NULL },
};

START_TEST(durations_are_read_and_shown)
{
	int64_t ms = 77;
	bool good = config_duration_parse(durations[_i].text, &ms);

	ck_assert(good == (durations[_i].ms >= 0));
	if (!good) {
		ck_assert_int_eq(ms, 77);
		return;
	}
	ck_assert_int_eq(ms, durations[_i].ms);
	ck_assert_str_eq(config_duration_show(ms).text, durations[_i].shown);
}
END_TEST

static const struct {
	const char *text;
	int64_t bytes;
	const char *shown;
} sizes[] = {
	{ "0", 0, "0" },
	{ "1", 1, "1" },
	{ "1000", 1000, "1000" },
	{ "1024", 1024, "1K" },
	{ "64K", 65536, "64K" },
	{ "10M", 10485760, "10M" },
	{ "3G", INT64_C(3221225472), "3G" },
	{ "1T", INT64_C(1099511627776), "1T" },
	{ "8388607T", INT64_C(9223370937343148032), "8388607T" },
	{ "8388608T", -1, NULL },
	{ "64k", -1, NULL },
	{ "64KB", -1, NULL },
	{ "K", -1, NULL },
	{ "-1", -1, NULL },
	{ "", -1, NULL },
};

START_TEST(sizes_are_read_and_shown)
{
	int64_t bytes = 77;
	bool good = config_size_parse(sizes[_i].text, &bytes);

	ck_assert(good == (sizes[_i].bytes >= 0));
	if (!good)
		return;
	ck_assert_int_eq(bytes, sizes[_i].bytes);
	ck_assert_str_eq(config_size_show(bytes).text, sizes[_i].shown);
}
END_TEST

static const struct {
	const char *wanted;
	const char *found; /* NULL: nothing is close */
} misspelt[] = {
	{ "idle_timout", "idle_timeout" },
	{ "idletimeout", "idle_timeout" },
	{ "IDLE_TIMEOUT", "idle_timeout" },
	{ "idel_timeout", "idle_timeout" },
	{ "timeout_idle", NULL },
	{ "max_errorss", "max_errors" },
	{ "deny_comands", "deny_commands" },
	{ "conect_timeout", "connect_timeout" },
	{ "x", NULL },
	{ "", NULL },
	{ "an_extraordinarily_long_name_of_a_key_that_nobody_has", NULL },
};

START_TEST(a_misspelt_key_finds_the_nearest_one)
{
	const char *found = config_nearest_key(SECTION_POLICY, misspelt[_i].wanted);

	if (misspelt[_i].found == NULL)
		ck_assert_ptr_null(found);
	else
		ck_assert_str_eq(found, misspelt[_i].found);
}
END_TEST

START_TEST(a_key_finds_itself)
{
	const struct config_key *key = &config_keys[_i];

	ck_assert_ptr_eq(config_key_find(key->section, key->name), key);
	ck_assert_str_eq(config_nearest_key(key->section, key->name), key->name);
	ck_assert(!(key->required && key->fallback != NULL));
}
END_TEST

/* --- values ------------------------------------------------------------------- */

START_TEST(a_minimal_file_gets_all_defaults)
{
	struct config *config = load_good("minimal.conf");
	const struct timeouts defaults = timeouts_default();
	const struct server_config *server = &config->pools[0].servers[0];

	ck_assert_uint_ge(config->workers, 1);
	ck_assert_uint_le(config->workers, SESSION_WORKERS_MAX);
	ck_assert_uint_eq(config->shards, 64);
	ck_assert_uint_eq(config->max_sessions, 0);
	ck_assert_int_eq(config->drain_timeout_ms, 30000);
	ck_assert_str_eq(config->admin.socket, "/run/sallyport/admin.sock");
	ck_assert_str_eq(config->log.file, "-");
	ck_assert_int_eq(config->log.format, LOG_FORMAT_JSON);
	ck_assert_int_eq(config->log.level, LEVEL_INFO);
	ck_assert(!config->log.syslog);
	ck_assert_uint_eq(config->listeners_n, 1);
	ck_assert_str_eq(config->listeners[0].greeting, "FTP service ready.");
	ck_assert_uint_eq(config->dns_servers_n, 0);
	ck_assert_ptr_null(config->listeners[0].passive_name.host);
	ck_assert_int_eq(config->listeners[0].passive_address.family, AF_UNSPEC);
	ck_assert_uint_eq(config->listeners[0].passive_ports.first, 0);
	ck_assert_uint_eq(config->listeners[0].passive_address_for_n, 0);
	ck_assert(!config->listeners[0].strict_eol);
	ck_assert_int_eq(config->pools[0].balance, BALANCE_ROUND_ROBIN);
	ck_assert_int_eq(config->pools[0].queue_timeout_ms, 30000);
	ck_assert_uint_eq(config->pools[0].tries, 0);
	ck_assert(!config->pools[0].early_connect);
	ck_assert_ptr_null(config->pools[0].ledger);
	ck_assert_uint_eq(server->weight, 1);
	ck_assert_uint_eq(server->max_sessions, 0);
	ck_assert_int_eq(server->data, DATA_AUTO);
	ck_assert_uint_eq(server->port, 21);
	ck_assert_str_eq(server->host, "127.0.0.1");
	assert_address(&server->address, "127.0.0.1:21");
	ck_assert(!server->trust_pasv_address && !server->escape_iac && !server->drop_repeats && server->ask_features);
	ck_assert_int_eq(server->abor, ABOR_PLAIN);
	ck_assert_uint_eq(config->policies_n, 1);
	ck_assert_str_eq(config->policies[0].name, "default");
	ck_assert_mem_eq(&config->policies[0].timeouts, &defaults, sizeof(defaults));
	ck_assert_uint_eq(config->policies[0].max_errors, 20);
	ck_assert_int_eq(config->policies[0].idle_resets, IDLE_RESETS_ANY);
	ck_assert_ptr_null(config->policies[0].deny_commands);
	ck_assert_ptr_null(config->policies[0].allow_commands);
	ck_assert_uint_eq(config->routes_n, 1);
	ck_assert(config->route_implied && !config->routes[0].reject);
	ck_assert_uint_eq(config->routes[0].pool, 0);
	ck_assert_uint_eq(config->routes[0].policy, 0);
	config_unref(&config);
}
END_TEST

START_TEST(every_key_reaches_its_field)
{
	struct config *config = load_good("everything.conf");
	const struct listener_config *listener = &config->listeners[0];

	ck_assert_uint_eq(config->workers, 3);
	ck_assert_uint_eq(config->shards, 128);
	ck_assert_uint_eq(config->max_sessions, 5000);
	ck_assert_int_eq(config->drain_timeout_ms, 90000);
	ck_assert_str_eq(config->admin.socket, "/run/x/y.sock");
	ck_assert_int_eq(config->log.format, LOG_FORMAT_TEXT);
	ck_assert_str_eq(config->log.file, "");
	ck_assert_int_eq(config->log.level, LEVEL_DEBUG);
	ck_assert(config->log.syslog);
	ck_assert_str_eq(config->log.syslog_facility, "local3");
	ck_assert_uint_eq(config->listeners_n, 2);
	ck_assert_str_eq(listener->name, "public");
	ck_assert_uint_eq(listener->binds_n, 3);
	assert_address(&listener->binds[0], "0.0.0.0:21");
	assert_address(&listener->binds[1], "[2001:db8::1]:2121");
	assert_address(&listener->binds[2], "198.51.100.1:21");
	ck_assert_str_eq(listener->greeting, "Welcome, \"friend\".");
	ck_assert_uint_eq(config->dns_servers_n, 1);
	assert_address(&config->dns_servers[0], "127.0.0.1:5353");
	assert_address(&listener->passive_address, "203.0.113.10:0");
	ck_assert_uint_eq(config->listeners[0].passive_address_for_n, 2);
	ck_assert_uint_eq(listener->active_source_port, 20);
	ck_assert_int_eq(config->listeners[0].passive_address_for[0].address.family, AF_UNSPEC);
	ck_assert_uint_eq(config->listeners[0].passive_address_for[0].network.bits, 8);
	ck_assert_uint_eq(ntohl(config->listeners[0].passive_address_for[1].address.in.sin_addr.s_addr), 0xc0a80005u);
	ck_assert_uint_eq(listener->passive_ports.first, 50000);
	ck_assert_uint_eq(listener->passive_ports.last, 50999);
	ck_assert(listener->strict_eol);
	ck_assert_uint_eq(config->listeners[1].passive_ports.first, 51000);
	ck_assert_uint_eq(config->listeners[1].passive_ports.last, 51000);
	config_unref(&config);
}
END_TEST

START_TEST(every_key_of_pools_and_servers_reaches_its_field)
{
	struct config *config = load_good("everything.conf");
	const struct pool_config *pool = &config->pools[0];
	const struct server_config *s = pool->servers;

	ck_assert_uint_eq(config->pools_n, 2);
	ck_assert_str_eq(pool->name, "legacy");
	ck_assert_int_eq(pool->balance, BALANCE_HASH_SOURCE);
	ck_assert_int_eq(pool->queue_timeout_ms, 45000);
	ck_assert_uint_eq(pool->tries, 2);
	ck_assert(!pool->early_connect && config->pools[1].early_connect);
	ck_assert_uint_eq(pool->servers_n, 4);
	ck_assert_str_eq(s[0].name, "old1");
	assert_address(&s[0].address, "10.0.0.5:2121");
	ck_assert_uint_eq(s[0].weight, 7);
	ck_assert_uint_eq(s[0].max_sessions, 50);
	ck_assert_int_eq(s[0].data, DATA_PASV);
	ck_assert(s[0].trust_pasv_address && s[0].escape_iac && s[0].drop_repeats && !s[0].ask_features);
	ck_assert_int_eq(s[0].abor, ABOR_TELNET);
	ck_assert_str_eq(s[1].host, "FTP2.example.net");
	ck_assert_uint_eq(s[1].port, 21);
	ck_assert_int_eq(s[1].address.family, AF_UNSPEC);
	ck_assert_str_eq(s[2].host, "2001:db8::7");
	ck_assert_uint_eq(s[2].port, 990);
	ck_assert_int_eq(s[2].data, DATA_EPSV);
	ck_assert_str_eq(s[3].host, "ftp.example.org");
	ck_assert_uint_eq(s[3].port, 8021);
	config_unref(&config);
}
END_TEST

START_TEST(every_key_of_policies_reaches_its_field)
{
	struct config *config = load_good("everything.conf");
	const struct policy *p = &config->policies[0];
	const struct timeouts wanted = {
		.login_timeout = 61000,
		.command_timeout = 31000,
		.tls_timeout = 16000,
		.idle_timeout = 3600000,
		.no_transfer_timeout = 7200000,
		.data_accept_timeout = 62000,
		.data_connect_timeout = 17000,
		.stall_timeout = 0,
		.final_reply_timeout = 180000,
		.reply_timeout = 240000,
		.connect_timeout = 6000,
		.session_timeout = 86400000,
		.close_timeout = 500,
	};

	ck_assert_uint_eq(config->policies_n, 2);
	ck_assert_mem_eq(&p->timeouts, &wanted, sizeof(wanted));
	ck_assert_int_eq(p->idle_resets, IDLE_RESETS_USEFUL);
	ck_assert_uint_eq(p->max_errors, 0);
	ck_assert(p->pass_unknown_commands && p->pass_foreign_data && p->pass_low_ports);
	ck_assert_str_eq(p->deny_commands[0], "DELE");
	ck_assert_str_eq(p->deny_commands[1], "RMD");
	ck_assert_str_eq(p->deny_commands[2], "XYZZY");
	ck_assert_str_eq(p->deny_commands[3], "SITE EXEC");
	ck_assert_ptr_null(p->deny_commands[4]);
	ck_assert_ptr_null(p->allow_commands);
	/* Nothing is taken from the policy default. */
	ck_assert_int_eq(p[1].timeouts.idle_timeout, 300000);
	ck_assert_int_eq(p[1].idle_resets, IDLE_RESETS_TRANSFER);
	ck_assert_str_eq(p[1].allow_commands[8], "PWD");
	ck_assert_ptr_null(p[1].allow_commands[9]);
	ck_assert_ptr_null(p[1].deny_commands);
	config_unref(&config);
}
END_TEST

START_TEST(every_key_of_routes_reaches_its_field)
{
	struct config *config = load_good("everything.conf");
	const struct route_rule *r = config->routes;
	char text[ROUTE_TEXT_MAX];

	ck_assert_uint_eq(config->routes_n, 4);
	ck_assert(!config->route_implied);
	ck_assert_str_eq(r[0].listeners[1], "inside");
	ck_assert_ptr_null(r[0].listeners[2]);
	ck_assert_uint_eq(r[0].sources_n, 2);
	ck_assert_uint_eq(r[0].sources[1].bits, 32);
	ck_assert_str_eq(r[0].hosts[0], "*.example.com");
	ck_assert_uint_eq(r[0].times_n, 2);
	ck_assert_uint_eq(r[0].times[0].from, 480);
	ck_assert_str_eq(r[0].users[0], "acme-*");
	ck_assert_str_eq(config->pools[r[0].pool].name, "legacy");
	ck_assert_str_eq(config->policies[r[0].policy].name, "read_only");
	ck_assert(r[1].reject);
	ck_assert_str_eq(r[1].users[0], "root");
	ck_assert_uint_eq(r[2].sources_n, 1);
	ck_assert_str_eq(config->pools[r[2].pool].name, "other");
	ck_assert_str_eq(config->policies[r[2].policy].name, "default");
	ck_assert_str_eq(route_describe(&r[3], text, sizeof(text)), "everything");
	config_unref(&config);
}
END_TEST

START_TEST(all_of_the_syntax_is_understood)
{
	struct config *config = load_good("syntax.conf");
	const struct listener_config *listener = &config->listeners[0];

	ck_assert_uint_eq(config->workers, 2);
	ck_assert_str_eq(listener->name, "main");
	ck_assert_uint_eq(listener->binds_n, 4);
	assert_address(&listener->binds[1], "127.0.0.2:2121");
	assert_address(&listener->binds[3], "127.0.0.4:2121");
	ck_assert_str_eq(listener->greeting, "a \"b\" AB $5 and on");
	ck_assert_int_eq(config->pools[0].balance, BALANCE_FIRST);
	assert_address(&config->pools[0].servers[0].address, "127.0.0.1:2100");
	assert_address(&config->pools[0].servers[1].address, "127.0.0.2:2102");
	ck_assert_uint_eq(config->routes_n, 3);
	ck_assert_str_eq(config->routes[0].users[0], "it's");
	ck_assert_str_eq(config->routes[0].users[1], "it's");
	ck_assert_str_eq(config->routes[0].users[2], "a\\b");
	ck_assert_str_eq(config->routes[1].users[0], "#1");
	ck_assert_str_eq(config->routes[1].users[1], "//");
	ck_assert_str_eq(config->routes[1].users[2], "/*");
	config_unref(&config);
}
END_TEST

START_TEST(included_files_take_the_place_of_their_statement)
{
	struct config *config = load_good("includes.conf");

	ck_assert_uint_eq(config->shards, 8);
	assert_address(&config->listeners[0].binds[0], "127.0.0.1:2121");
	ck_assert_uint_eq(config->pools_n, 2);
	ck_assert_str_eq(config->pools[0].name, "one");
	ck_assert_str_eq(config->pools[1].servers[0].host, "127.0.0.1");
	ck_assert_uint_eq(config->routes_n, 2);
	ck_assert_uint_eq(config->routes[0].pool, 1);
	config_unref(&config);
}
END_TEST

START_TEST(a_file_is_found_from_anywhere_with_what_it_includes)
{
	const char *path = source_path("tests/unit/config/good/includes.conf");
	struct config_errors errors;
	struct config *config;

	ck_assert_int_eq(chdir("/"), 0);
	config = config_load(path, &errors, NULL);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_uint_eq(config->pools_n, 2);
	config_unref(&config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config values");
	TCase *tcase = tcase_create("values");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_loop_test(tcase, durations_are_read_and_shown, 0, (int)SP_ARRAY_LEN(durations));
	tcase_add_loop_test(tcase, sizes_are_read_and_shown, 0, (int)SP_ARRAY_LEN(sizes));
	tcase_add_loop_test(tcase, a_misspelt_key_finds_the_nearest_one, 0,
	                    (int)SP_ARRAY_LEN(misspelt));
	tcase_add_loop_test(tcase, a_key_finds_itself, 0, (int)config_keys_n);
	tcase_add_test(tcase, a_minimal_file_gets_all_defaults);
	tcase_add_test(tcase, every_key_reaches_its_field);
	tcase_add_test(tcase, every_key_of_pools_and_servers_reaches_its_field);
	tcase_add_test(tcase, every_key_of_policies_reaches_its_field);
	tcase_add_test(tcase, every_key_of_routes_reaches_its_field);
	tcase_add_test(tcase, all_of_the_syntax_is_understood);
	tcase_add_test(tcase, included_files_take_the_place_of_their_statement);
	tcase_add_test(tcase, a_file_is_found_from_anywhere_with_what_it_includes);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

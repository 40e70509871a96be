// SPDX-License-Identifier: ISC
/*
 * The table of configuration keys. Order is that of the reference.
 */
#include "sallyport/config_keys.h"

#include <string.h>

#include "sallyport/session_id.h"
#include "sallyport/session_table.h"
#include "sallyport/wait_queue.h"

#define DAY_MS INT64_C(86400000)
#define WEEK_MS (7 * DAY_MS)
#define HOUR_MS INT64_C(3600000)
#define SUN_PATH_LEN 107 /* of a Unix socket's path, without the NUL */

static const struct config_section sections[] = {
	[SECTION_ROOT] = { "", SECTION_ROOT, false, false, "The file itself." },
	[SECTION_ADMIN] = { "admin", SECTION_ROOT, false, false,
	                    "Control of the running process." },
	[SECTION_LOG] = { "log", SECTION_ROOT, false, false, "Where events are written." },
	[SECTION_LISTENER] = { "listener", SECTION_ROOT, true, true,
	                       "Addresses that clients are accepted on." },
	[SECTION_CERTIFICATE] = { "certificate_for", SECTION_LISTENER, true, true,
	                          "A further certificate of a listener, chosen by SNI." },
	[SECTION_POOL] = { "pool", SECTION_ROOT, true, true,
	                   "Servers among which logons are balanced." },
	[SECTION_HEALTH] = { "health", SECTION_POOL, false, false, "Health checks of a pool's servers." },
	[SECTION_SERVER] = { "server", SECTION_POOL, true, true, "One server of a pool." },
	[SECTION_POLICY] = { "policy", SECTION_ROOT, true, true,
	                     "Timeouts, limits and permissions of a session." },
	[SECTION_ROUTE] = { "route", SECTION_ROOT, false, true,
	                    "Which logons get which pool and policy; the first match wins." },
};

static const struct config_word log_formats[] = {
	{ "json", LOG_FORMAT_JSON },
	{ "text", LOG_FORMAT_TEXT },
	{ NULL, 0 },
};
static const struct config_word log_levels[] = {
	{ "debug", LEVEL_DEBUG },     { "info", LEVEL_INFO },   { "notice", LEVEL_NOTICE },
	{ "warning", LEVEL_WARNING }, { "error", LEVEL_ERROR }, { NULL, 0 },
};
static const struct config_word balance_words[] = {
	{ "round_robin", BALANCE_ROUND_ROBIN },
	{ "least_sessions", BALANCE_LEAST_SESSIONS },
	{ "random", BALANCE_RANDOM },
	{ "first", BALANCE_FIRST },
	{ "hash_user", BALANCE_HASH_USER },
	{ "hash_source", BALANCE_HASH_SOURCE },
	{ "least_response_time", BALANCE_LEAST_RESPONSE_TIME },
	{ NULL, 0 },
};
static const struct config_word sticky_words[] = {
	{ "none", STICKY_NONE },
	{ "user", STICKY_USER },
	{ "source", STICKY_SOURCE },
	{ NULL, 0 },
};
static const struct config_word data_words[] = {
	{ "auto", DATA_AUTO },
	{ "epsv", DATA_EPSV },
	{ "pasv", DATA_PASV },
	{ "eprt", DATA_EPRT },
	{ "port", DATA_PORT },
	{ "client", DATA_CLIENT },
	{ NULL, 0 },
};
static const struct config_word resolve_words[] = {
	{ "first", RESOLVE_FIRST },
	{ "all", RESOLVE_ALL },
	{ "srv", RESOLVE_SERVICE },
	{ NULL, 0 },
};
static const struct config_word address_family_words[] = {
	{ "any", ADDRESS_FAMILY_ANY },
	{ "ipv4_first", ADDRESS_FAMILY_IPV4_FIRST },
	{ "ipv6_first", ADDRESS_FAMILY_IPV6_FIRST },
	{ "ipv4", ADDRESS_FAMILY_IPV4 },
	{ "ipv6", ADDRESS_FAMILY_IPV6 },
	{ NULL, 0 },
};
static const struct config_word abor_words[] = {
	{ "plain", ABOR_PLAIN },
	{ "telnet", ABOR_TELNET },
	{ NULL, 0 },
};
static const struct config_word unknown_user_words[] = {
	{ "deny", UNKNOWN_USER_DENY },
	{ "reject", UNKNOWN_USER_REJECT },
	{ NULL, 0 },
};
static const struct config_word tls_words[] = {
	{ "none", TLS_NONE },	      { "explicit", TLS_EXPLICIT }, { "required", TLS_REQUIRED },
	{ "implicit", TLS_IMPLICIT }, { NULL, 0 },
};
static const struct config_word server_tls_words[] = {
	{ "none", SERVER_TLS_NONE },
	{ "explicit", SERVER_TLS_EXPLICIT },
	{ "implicit", SERVER_TLS_IMPLICIT },
	{ "auto", SERVER_TLS_AUTO },
	{ "client", SERVER_TLS_CLIENT },
	{ NULL, 0 },
};
static const struct config_word server_proxy_words[] = {
	{ "none", SERVER_PROXY_NONE },
	{ "v1", SERVER_PROXY_V1 },
	{ "v2", SERVER_PROXY_V2 },
	{ NULL, 0 },
};
static const struct config_word check_words[] = {
	{ "none", CHECK_NONE },	  { "connect", CHECK_CONNECT },	  { "greeting", CHECK_GREETING },
	{ "logon", CHECK_LOGON }, { "transfer", CHECK_TRANSFER }, { NULL, 0 },
};
static const struct config_word server_check_words[] = {
	{ "pool", CHECK_AS_POOL },	{ "none", CHECK_NONE },	  { "connect", CHECK_CONNECT },
	{ "greeting", CHECK_GREETING }, { "logon", CHECK_LOGON }, { "transfer", CHECK_TRANSFER },
	{ NULL, 0 },
};
static const struct config_word state_words[] = {
	{ "up", SERVER_UP },
	{ "drain", SERVER_DRAIN },
	{ "maintenance", SERVER_MAINTENANCE },
	{ NULL, 0 },
};
static const struct config_word end_sessions_words[] = {
	{ "never", END_SESSIONS_NEVER },
	{ "maintenance", END_SESSIONS_MAINTENANCE },
	{ "down", END_SESSIONS_DOWN },
	{ NULL, 0 },
};
static const struct config_word tls_versions[] = {
	{ "1.2", TLS_VERSION_1_2 },
	{ "1.3", TLS_VERSION_1_3 },
	{ NULL, 0 },
};
static const struct config_word client_certificate_words[] = {
	{ "none", TLS_CLIENT_NONE },
	{ "optional", TLS_CLIENT_OPTIONAL },
	{ "required", TLS_CLIENT_REQUIRED },
	{ NULL, 0 },
};
static const struct config_word idle_words[] = {
	{ "any", IDLE_RESETS_ANY },
	{ "useful", IDLE_RESETS_USEFUL },
	{ "transfer", IDLE_RESETS_TRANSFER },
	{ NULL, 0 },
};

/*
 * The offset of a field, refused by the compiler when the field is not of the
 * type that the row's kind writes.
 */
// clang-format off
#define AT(type, structure, field) \
	(offsetof(structure, field) + 0 * sizeof(_Generic(&((structure *)0)->field, type *: 1)))

#define NUMBER(sec, key, structure, field, fallback, min, max, text)                               \
	{ sec, key, CONFIG_KIND_NUMBER, fallback, false, { min, max, NULL },                       \
	  AT(unsigned, structure, field), 0, NULL, text }
#define DURATION(sec, key, structure, field, fallback, min, max, text)                             \
	{ sec, key, CONFIG_KIND_DURATION, fallback, false, { min, max, NULL },                     \
	  AT(int64_t, structure, field), 0, NULL, text }
#define BOOL(sec, key, structure, field, fallback, text)                                           \
	{ sec, key, CONFIG_KIND_BOOL, fallback, false, { 0, 0, NULL },                             \
	  AT(bool, structure, field), 0, NULL, text }
#define WORD(sec, key, type, structure, field, fallback, words, text)                              \
	{ sec, key, CONFIG_KIND_WORD, fallback, false, { 0, 0, words },                            \
	  AT(type, structure, field), 0, NULL, text }
/* TEXT, PATH, OUTPUT */
#define STRING(sec, key, kind, structure, field, fallback, max, text)                              \
	{ sec, key, CONFIG_KIND_##kind, fallback, false, { 1, max, NULL },                         \
	  AT(char *, structure, field), 0, NULL, text }
#define NAME(sec, key, structure, field, fallback, text)                                           \
	{ sec, key, CONFIG_KIND_NAME, fallback, false, { 0, 0, NULL },                             \
	  AT(char *, structure, field), 0, NULL, text }
/* A list of structs with its count in <field>_n. */
#define LIST(sec, key, kind, type, structure, field, required, option, text)                       \
	{ sec, key, CONFIG_KIND_##kind, NULL, required, { 0, 0, NULL },                            \
	  AT(type *, structure, field), AT(size_t, structure, field##_n), option, text }
/* PATTERNS, NAMES, VERBS */
#define STRINGS(sec, key, kind, structure, field, text)                                            \
	{ sec, key, CONFIG_KIND_##kind, NULL, false, { 0, 0, NULL },                               \
	  AT(char **, structure, field), 0, NULL, text }

const struct config_key config_keys[] = {
	NUMBER(SECTION_ROOT, "workers", struct config, workers, "0", 0, SESSION_WORKERS_MAX,
	       "Threads that serve sessions; 0: one per CPU."),
	NUMBER(SECTION_ROOT, "shards", struct config, shards, "64", 1, SESSION_SHARDS_MAX,
	       "Parts of the session table, each with its own lock; rounded up to a power of two."),
	NUMBER(SECTION_ROOT, "max_sessions", struct config, max_sessions, "0", 0, 1000000,
	       "Sessions at the same time; 0: as many as there are descriptors for."),
	DURATION(SECTION_ROOT, "drain_timeout", struct config, drain_timeout_ms, "30s", 0, DAY_MS,
		 "How long running transfers may go on when the process is told to stop."),
	NUMBER(SECTION_ROOT, "max_handshakes", struct config, max_handshakes, "0", 0, 1000000,
	       "TLS handshakes with clients at the same time; over it AUTH gets 431; 0: any number."),
	DURATION(SECTION_ROOT, "ticket_rotation", struct config, ticket_rotation_ms, "12h", 1000, WEEK_MS,
		 "How often the key of TLS session tickets changes; a ticket is good until the second change."),
	STRING(SECTION_ROOT, "ticket_keys", PATH, struct config, ticket_keys_file, NULL, 4095,
	       "File of ticket keys that several nodes share; without it the keys are random and change by themselves."),
	STRING(SECTION_ROOT, "user", TEXT, struct config, user, NULL, 64,
	       "User that the process becomes when it is started as root; none when not given."),

	LIST(SECTION_ROOT, "dns_servers", NAME_SERVERS, struct netaddr, struct config, dns_servers, false, NULL,
	     "Name servers to ask, in order; without a port: 53; those of /etc/resolv.conf when not given."),
	DURATION(SECTION_ROOT, "dns_ttl_min", struct config, dns_ttl_min_ms, "1s", 1000, HOUR_MS,
		 "An answer of a name server is used for so long at least, whatever its TTL."),
	DURATION(SECTION_ROOT, "dns_ttl_max", struct config, dns_ttl_max_ms, "5m", 1000, DAY_MS,
		 "And for so long at most."),

	STRING(SECTION_ADMIN, "socket", PATH, struct admin_config, socket, "/run/sallyport/admin.sock",
	       SUN_PATH_LEN, "Unix socket that sallyportctl talks to; none: there is none."),

	WORD(SECTION_LOG, "format", enum log_format, struct log_config, format, "json", log_formats,
	     "How an event is written to the file: a JSON object or words, one line each."),
	STRING(SECTION_LOG, "file", OUTPUT, struct log_config, file, "-", 4095,
	       "File that events are appended to; -: standard output; none: no file."),
	WORD(SECTION_LOG, "level", enum event_level, struct log_config, level, "info", log_levels,
	     "Events below this level are not written."),
	{ SECTION_LOG, "syslog", CONFIG_KIND_SYSLOG, "no", false, { 0, 0, NULL }, 0, 0, NULL,
	  "Whether events go to syslog too, and with which facility; yes: daemon." },

	LIST(SECTION_LISTENER, "bind", LISTEN, struct netaddr, struct listener_config, binds, true,
	     "--listen", "Addresses and ports that clients connect to; without a port: 21."),
	STRING(SECTION_LISTENER, "greeting", TEXT, struct listener_config, greeting,
	       "FTP service ready.", 400, "Text of the 220 that a client is greeted with."),
	{ SECTION_LISTENER, "passive_address", CONFIG_KIND_PASSIVE, "auto", false, { 0, 0, NULL }, 0, 0, NULL,
	  "IPv4 address, or a name for one, in replies to PASV; auto: the one connected to; proxy: as the PROXY header says." },
	LIST(SECTION_LISTENER, "passive_address_for", ADDRESSES_FOR, struct address_for, struct listener_config,
	     passive_address_for, false, NULL,
	     "What clients of a network are told instead, as network=address; the first match wins."),
	{ SECTION_LISTENER, "passive_ports", CONFIG_KIND_PORTS, "any", false, { 0, 0, NULL },
	  AT(struct port_range, struct listener_config, passive_ports), 0, NULL,
	  "Ports for the clients' passive data connections; any: what the kernel gives; pooled: shared by all." },
	LIST(SECTION_LISTENER, "passive_from", NETWORKS, struct netblock, struct listener_config, passive_from, false, NULL,
	     "Networks of clients whose passive data connections may come from other addresses of the same one."),
	NUMBER(SECTION_LISTENER, "active_source_port", struct listener_config, active_source_port, "0", 0, UINT16_MAX,
	       "Our port of data connections to clients that said PORT or EPRT; 0: any; 20 is the traditional one."),
	BOOL(SECTION_LISTENER, "proxy_protocol", struct listener_config, proxy_protocol, "no",
	     "Clients come through a balancer, which sends a PROXY header (version 1 or 2) first."),
	LIST(SECTION_LISTENER, "proxy_trusted", NETWORKS, struct netblock, struct listener_config, proxy_trusted,
	     false, NULL, "Networks that PROXY headers are taken from; others are refused."),
	BOOL(SECTION_LISTENER, "proxy_protocol_data", struct listener_config, proxy_protocol_data, "no",
	     "Passive data connections of clients begin with a PROXY header as well."),
	LIST(SECTION_LISTENER, "proxy_data_trusted", NETWORKS, struct netblock, struct listener_config,
	     proxy_data_trusted, false, NULL, "Networks that PROXY headers of data connections are taken from."),
	BOOL(SECTION_LISTENER, "strict_eol", struct listener_config, strict_eol, "no",
	     "Refuse command lines that end in LF without CR."),
	WORD(SECTION_LISTENER, "unknown_user", enum unknown_user, struct listener_config, unknown_user, "deny",
	     unknown_user_words, "Users that no route is for: deny (530 to USER), reject (as if the password were wrong)."),
	DURATION(SECTION_LISTENER, "reject_delay", struct listener_config, reject_delay_ms, "3s", 0, 60000,
		 "With unknown_user = reject: from PASS to the 530, for whoever is refused."),
	WORD(SECTION_LISTENER, "tls", enum tls_mode, struct listener_config, tls.mode, "none", tls_words,
	     "TLS with clients: explicit (AUTH TLS, if they want), required (AUTH TLS before USER), implicit."),
	STRING(SECTION_LISTENER, "certificate", PATH, struct listener_config, tls.certificate, NULL, 4095,
	       "PEM file: the certificate that clients see, and its chain."),
	STRING(SECTION_LISTENER, "private_key", PATH, struct listener_config, tls.private_key, NULL, 4095,
	       "PEM file: the key of the certificate."),
	WORD(SECTION_LISTENER, "tls_min", enum tls_version, struct listener_config, tls.min_version, "1.2",
	     tls_versions, "Oldest version of TLS that clients may use."),
	STRING(SECTION_LISTENER, "tls_ciphers", TEXT, struct listener_config, tls.ciphers, NULL, 4095,
	       "Ciphers of TLS 1.2, in OpenSSL's notation; Mozilla's intermediate list when not given."),
	STRING(SECTION_LISTENER, "tls_ciphersuites", TEXT, struct listener_config, tls.ciphersuites, NULL, 4095,
	       "Cipher suites of TLS 1.3, in OpenSSL's notation; Mozilla's intermediate list when not given."),
	STRING(SECTION_LISTENER, "tls_groups", TEXT, struct listener_config, tls.groups, NULL, 4095,
	       "Groups of the key exchange, in order; X25519:P-256:P-384 when not given."),
	WORD(SECTION_LISTENER, "client_certificates", enum tls_client_certificates, struct listener_config,
	     tls.client_certificates, "none", client_certificate_words,
	     "Whether clients are asked for a certificate, and must have one."),
	STRING(SECTION_LISTENER, "client_ca", PATH, struct listener_config, tls.client_ca, NULL, 4095,
	       "PEM file: the authorities that clients' certificates must come from."),
	STRING(SECTION_LISTENER, "client_crl", PATH, struct listener_config, tls.client_crl, NULL, 4095,
	       "PEM file: revoked certificates of these authorities."),
	BOOL(SECTION_LISTENER, "required_data", struct listener_config, tls.required_data, "no",
	     "Refuse transfers whose data connection is not protected (PROT P)."),
	BOOL(SECTION_LISTENER, "require_tls_reuse", struct listener_config, tls.require_reuse, "no",
	     "Refuse data connections that do not resume the TLS session of their control connection."),
	BOOL(SECTION_LISTENER, "lenient_close", struct listener_config, tls.lenient_close, "no",
	     "Take an upload that ends without close_notify for whole."),

	STRINGS(SECTION_CERTIFICATE, "hosts", PATTERNS, struct certificate_config, hosts,
		"Patterns for the names (SNI) that it is used for."),
	STRING(SECTION_CERTIFICATE, "certificate", PATH, struct certificate_config, certificate, NULL, 4095,
	       "PEM file: the certificate and its chain."),
	STRING(SECTION_CERTIFICATE, "private_key", PATH, struct certificate_config, private_key, NULL, 4095,
	       "PEM file: its key."),

	WORD(SECTION_POOL, "balance", enum balance_algorithm, struct pool_config, balance, "round_robin",
	     balance_words, "How the server of a logon is chosen."),
	DURATION(SECTION_POOL, "queue_timeout", struct pool_config, queue_timeout_ms, "30s", 0, HOUR_MS,
		 "How long a logon waits when all servers are at their max_sessions; 0: not at all."),
	NUMBER(SECTION_POOL, "tries", struct pool_config, tries, "0", 0, BALANCE_ROWS_MAX,
	       "Servers tried for one logon when they fail; 0: all of them."),
	WORD(SECTION_POOL, "sticky", enum sticky, struct pool_config, sticky, "none", sticky_words,
	     "Whose logons go to the same server again, if it can take them: a user's, or a client address's."),
	DURATION(SECTION_POOL, "sticky_for", struct pool_config, sticky_for_ms, "30m", 1, WEEK_MS,
		 "How long after the last logon."),
	DURATION(SECTION_POOL, "refused_cache", struct pool_config, refused_cache_ms, "0", 0, DAY_MS,
		 "How long a user is refused here with the very password that a server has refused; 0: not at all."),
	BOOL(SECTION_POOL, "early_connect", struct pool_config, early_connect, "no",
	     "Connect to a server before USER comes, where every user would get the same route."),

	DURATION(SECTION_POOL, "slow_start", struct pool_config, slow_start_ms, "0", 0, HOUR_MS,
		 "How long a server that has come up takes to get its whole share of the logons; 0: no time."),
	WORD(SECTION_POOL, "end_sessions", enum end_sessions, struct pool_config, end_sessions, "never",
	     end_sessions_words,
	     "Whether sessions end when their server is put into maintenance, or also when it is down."),

	WORD(SECTION_HEALTH, "check", enum check_kind, struct pool_config, health.check, "none", check_words,
	     "How deep each server is looked into; each word includes those before it."),
	DURATION(SECTION_HEALTH, "every", struct pool_config, health.every_ms, "5s", 100, HOUR_MS,
		 "Time between two checks of a server; when something is in doubt, at most a second."),
	DURATION(SECTION_HEALTH, "timeout", struct pool_config, health.timeout_ms, "5s", 10, HOUR_MS,
		 "How long a whole check may take."),
	NUMBER(SECTION_HEALTH, "fall", struct pool_config, health.fall, "3", 1, 1000,
	       "Checks, or logons, that fail in a row until a server is down."),
	NUMBER(SECTION_HEALTH, "rise", struct pool_config, health.rise, "2", 1, 1000,
	       "Checks that pass in a row until it is up again."),
	STRING(SECTION_HEALTH, "user", TEXT, struct pool_config, health.user, NULL, 255,
	       "Who checks log on as."),
	STRING(SECTION_HEALTH, "password_file", PATH, struct pool_config, health.password_file, NULL, 4095,
	       "File whose first line is the password; nobody but its owner may read it."),
	STRING(SECTION_HEALTH, "probe", TEXT, struct pool_config, health.probe, NULL, 255,
	       "File that a transfer check fetches; a listing when not given."),

	{ SECTION_SERVER, "address", CONFIG_KIND_SERVER, NULL, true, { 0, 0, NULL }, 0, 0, "--server",
	  "Address or name of the server, and its port; without a port: 21." },
	WORD(SECTION_SERVER, "resolve", enum resolve, struct server_config, resolve, "first", resolve_words,
	     "A name: its first address that can be reached is the server, or each of all is a server of its own, "
	     "or each that the SRV records of its _ftp._tcp name."),
	NUMBER(SECTION_SERVER, "max_addresses", struct server_config, max_addresses, "16", 1, POOL_ADDRESSES_MAX,
	       "So many addresses of the name at the same time, where each is a server of its own."),
	WORD(SECTION_SERVER, "address_family", enum address_family, struct server_config, address_family, "any",
	     address_family_words, "Which addresses of its name are used, and which are tried first."),
	NUMBER(SECTION_SERVER, "weight", struct server_config, weight, "1", 1, 1000,
	       "Its share of the logons, compared with the other servers of the pool."),
	NUMBER(SECTION_SERVER, "max_sessions", struct server_config, max_sessions, "0", 0, 1000000,
	       "Sessions at the server at the same time; 0: no limit."),
	BOOL(SECTION_SERVER, "backup", struct server_config, backup, "no",
	     "Gets logons only when no other server of the pool can be used."),
	WORD(SECTION_SERVER, "state", enum server_state, struct server_config, state, "up", state_words,
	     "Whether it gets logons: up, drain (no new ones), maintenance (no checks either)."),
	WORD(SECTION_SERVER, "check", enum check_kind, struct server_config, check, "pool", server_check_words,
	     "How it is checked, when not as the pool's health section says."),
	NUMBER(SECTION_SERVER, "warm", struct server_config, warm, "0", 0, POOL_WARM_MAX,
	       "Connections that are kept ready for logons, connected and greeted."),
	DURATION(SECTION_SERVER, "warm_age", struct server_config, warm_age_ms, "45s", 1000, HOUR_MS,
		 "How long a connection is kept ready; less than the server waits for USER."),
	WORD(SECTION_SERVER, "data", enum data_mode, struct server_config, data, "auto", data_words,
	     "How data connections with the server are made; auto: EPSV, PASV, EPRT, PORT, the first that it takes."),
	BOOL(SECTION_SERVER, "trust_pasv_address", struct server_config, trust_pasv_address, "no",
	     "Connect where its reply to PASV says, even when that is another host."),
	WORD(SECTION_SERVER, "abor", enum abor_form, struct server_config, abor, "plain", abor_words,
	     "How it is told to abort a transfer: in plain, or with Telnet's urgent interrupt before it."),
	BOOL(SECTION_SERVER, "escape_iac", struct server_config, escape_iac, "no",
	     "Double the byte 0xFF in commands, for a server that speaks Telnet there."),
	BOOL(SECTION_SERVER, "drop_repeats", struct server_config, drop_repeats, "no",
	     "Of replies with the same code that come at once take the first and drop the others."),
	BOOL(SECTION_SERVER, "ask_features", struct server_config, ask_features, "yes",
	     "Ask it once, after its first logon, what it can do (FEAT), so that clients hear it before theirs."),
	WORD(SECTION_SERVER, "proxy_protocol", enum server_proxy, struct server_config, proxy_protocol, "none",
	     server_proxy_words, "The server is told the client's address by a PROXY header of this version."),
	BOOL(SECTION_SERVER, "proxy_protocol_data", struct server_config, proxy_protocol_data, "no",
	     "Data connections to the server begin with a PROXY header as well."),
	{ SECTION_SERVER, "source", CONFIG_KIND_HOST, NULL, false, { 0, 0, NULL },
	  AT(struct netaddr, struct server_config, source), 0, NULL,
	  "Our address on connections to the server; the kernel chooses when not given." },
	BOOL(SECTION_SERVER, "transparent", struct server_config, transparent, "no",
	     "The server sees the client's address as the source of connections (IP_TRANSPARENT)."),
	WORD(SECTION_SERVER, "tls", enum server_tls, struct server_config, tls.mode, "none", server_tls_words,
	     "TLS with the server: explicit (AUTH TLS), implicit, auto (AUTH TLS if it can), client (as the client came)."),
	BOOL(SECTION_SERVER, "allow_plain", struct server_config, tls.allow_plain, "no",
	     "With tls = auto: use the server in clear when it knows no TLS."),
	BOOL(SECTION_SERVER, "tls_verify", struct server_config, tls.verify, "yes",
	     "Verify the server's certificate: its authorities and its name."),
	STRING(SECTION_SERVER, "tls_ca", PATH, struct server_config, tls.ca, NULL, 4095,
	       "PEM file: the authorities that its certificate must come from; the system's when not given."),
	STRING(SECTION_SERVER, "tls_name", TEXT, struct server_config, tls.name, NULL, 255,
	       "The name in its certificate, and for SNI; the host of its address when not given."),
	STRING(SECTION_SERVER, "tls_fingerprint", TEXT, struct server_config, tls.fingerprint, NULL, 128,
	       "SHA-256 of its certificate, in hex: no other is accepted."),
	STRING(SECTION_SERVER, "tls_certificate", PATH, struct server_config, tls.certificate, NULL, 4095,
	       "PEM file: our certificate for the server."),
	STRING(SECTION_SERVER, "tls_private_key", PATH, struct server_config, tls.private_key, NULL, 4095,
	       "PEM file: the key of our certificate."),
	WORD(SECTION_SERVER, "tls_min", enum tls_version, struct server_config, tls.min_version, "1.2",
	     tls_versions, "Oldest version of TLS to use with the server."),
	BOOL(SECTION_SERVER, "lenient_close", struct server_config, tls.lenient_close, "yes",
	     "Take a download that ends without close_notify for whole when the server says that it is."),

#define CLOCK(id, key, default_ms, may_be_off, text)                                               \
	DURATION(SECTION_POLICY, #key, struct policy, timeouts.key, #default_ms "ms",              \
		 (may_be_off) ? 0 : 1, WEEK_MS, text),
#include "sallyport/tbl/clocks.def"
#undef CLOCK
	WORD(SECTION_POLICY, "idle_resets", enum idle_resets, struct policy, idle_resets, "any", idle_words,
	     "What counts as activity for idle_timeout."),
	NUMBER(SECTION_POLICY, "queue_priority", struct policy, queue_priority, "0", 0, WAIT_QUEUE_PRIORITIES - 1,
	       "Of logons that wait for a server, those of a greater number go first."),
	DURATION(SECTION_POLICY, "queue_keepalive", struct policy, queue_keepalive_ms, "0", 0, HOUR_MS,
		 "How often a client whose logon waits for a server gets a line of text; 0: never."),
	NUMBER(SECTION_POLICY, "max_errors", struct policy, max_errors, "20", 0, 1000000,
	       "Refused commands until the session ends; 0: any number."),
	BOOL(SECTION_POLICY, "pass_unknown_commands", struct policy, pass_unknown_commands, "no",
	     "Send commands that Sallyport does not know to the server."),
	BOOL(SECTION_POLICY, "pass_foreign_data", struct policy, pass_foreign_data, "no",
	     "Accept data connections from other hosts than the client (FXP)."),
	BOOL(SECTION_POLICY, "pass_low_ports", struct policy, pass_low_ports, "no",
	     "Make data connections to ports below 1024 when a client or a server names them."),
	BOOL(SECTION_POLICY, "allow_ccc", struct policy, allow_ccc, "no",
	     "Let clients take the protection from their control connection again (CCC)."),
	STRING(SECTION_POLICY, "certificate_logons", PATH, struct policy, certificate_logons, NULL, 4095,
	       "File of users and passwords for clients whose certificate stands for the password."),
	STRINGS(SECTION_POLICY, "deny_commands", VERBS, struct policy, deny_commands,
		"Commands that are refused with 550."),
	STRINGS(SECTION_POLICY, "allow_commands", VERBS, struct policy, allow_commands,
		"When given, all other commands are refused with 550, but for those of a logon and QUIT."),

	STRINGS(SECTION_ROUTE, "listeners", NAMES, struct config_route, rule.listeners,
		"Names of the listeners that the client came through."),
	LIST(SECTION_ROUTE, "sources", NETWORKS, struct netblock, struct config_route, rule.sources,
	     false, NULL, "Networks that the client is in."),
	STRINGS(SECTION_ROUTE, "hosts", PATTERNS, struct config_route, rule.hosts,
		"Patterns for the name that the client gave with HOST, without case."),
	STRINGS(SECTION_ROUTE, "certificates", PATTERNS, struct config_route, rule.certificates,
		"Patterns for the subject of the client's verified certificate (RFC 2253)."),
	LIST(SECTION_ROUTE, "times", TIMES, struct route_window, struct config_route, rule.times,
	     false, NULL, "Parts of the week, in local time."),
	STRINGS(SECTION_ROUTE, "users", PATTERNS, struct config_route, rule.users,
		"Patterns for the user's name."),
	STRING(SECTION_ROUTE, "user_map", PATH, struct config_route, user_map, NULL, 4095,
	       "File with the names of users, a line each, and where each goes: USER, USER POOL or USER POOL/SERVER."),
	BOOL(SECTION_ROUTE, "reject", struct config_route, rule.reject, "no",
	     "Refuse these logons with 530; no server is touched."),
	BOOL(SECTION_ROUTE, "strip_domain", struct config_route, rule.strip_domain, "no",
	     "The server is told user, of user@domain."),
	STRING(SECTION_ROUTE, "credentials", PATH, struct config_route, credentials, NULL, 4095,
	       "File of mode 0600: by which user and password those in it are logged on at the server."),
	NAME(SECTION_ROUTE, "pool", struct config_route, pool, NULL,
	     "Name of the pool that these logons get, unless user_map knows another one."),
	NAME(SECTION_ROUTE, "policy", struct config_route, policy, CONFIG_DEFAULT_POLICY,
	     "Name of the policy that they get."),
};
// clang-format on

const size_t config_keys_n = SP_ARRAY_LEN(config_keys);

_Static_assert(SP_ARRAY_LEN(sections) == SECTION_COUNT, "a section has no row");
_Static_assert(SP_ARRAY_LEN(config_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX is too small");
_Static_assert(sizeof(uint32_t) == sizeof(unsigned), "NUMBER writes an unsigned");

const struct config_section *config_section_row(enum config_section_id id)
{
	return &sections[id];
}

const struct config_key *config_key_find(enum config_section_id section, const char *name)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		if (config_keys[i].section == section && strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

enum config_section_id config_section_find(enum config_section_id parent, const char *name)
{
	for (int i = SECTION_ROOT + 1; i < SECTION_COUNT; i++) {
		if (sections[i].parent == parent && strcmp(sections[i].name, name) == 0)
			return (enum config_section_id)i;
	}
	return SECTION_ROOT;
}

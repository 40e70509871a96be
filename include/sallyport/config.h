// SPDX-License-Identifier: ISC
/*
 * The configuration: an immutable snapshot, reference-counted. A session holds
 * a reference to the one that its policy came from until it ends; a reload
 * makes a whole new snapshot, and any error leaves the old one in force.
 */
#ifndef SALLYPORT_CONFIG_H
#define SALLYPORT_CONFIG_H

#include "sallyport/balance.h"
#include "sallyport/base.h"
#include "sallyport/doors.h"
#include "sallyport/event.h"
#include "sallyport/memo.h"
#include "sallyport/netaddr.h"
#include "sallyport/policy.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/port_ledger.h"
#include "sallyport/port_registry.h"
#include "sallyport/route.h"
#include "sallyport/tls.h"

#define CONFIG_DEFAULT_FILE   SALLYPORT_SYSCONFDIR "/sallyport/sallyport.conf"
#define CONFIG_DEFAULT_POLICY "default" /* exists without being configured */

enum tls_mode { TLS_NONE, TLS_EXPLICIT, TLS_REQUIRED, TLS_IMPLICIT };

/* TLS towards a server. CLIENT: as the client came. */
enum server_tls { SERVER_TLS_NONE, SERVER_TLS_EXPLICIT, SERVER_TLS_IMPLICIT, SERVER_TLS_AUTO, SERVER_TLS_CLIENT };

/* A further certificate of a listener, chosen by SNI. */
struct certificate_config {
	char name[NAME_MAX_LEN];
	char **hosts;
	char *certificate;
	char *private_key;
};

/* TLS of a listener, as configured; `context` is what it became. */
struct listener_tls {
	enum tls_mode mode;
	char *certificate;
	char *private_key;
	struct certificate_config *more;
	size_t more_n;
	enum tls_version min_version;
	char *ciphers;
	char *ciphersuites;
	char *groups;
	enum tls_client_certificates client_certificates;
	char *client_ca;
	char *client_crl;
	bool required_data;	/* transfers need PROT P */
	bool require_reuse;	/* data connections must resume the control connection's session */
	bool lenient_close;	/* an upload that ends without close_notify is whole */
	struct tls_context *context;
};

/* TLS towards a server, as configured. */
struct server_tls_config {
	enum server_tls mode;
	bool allow_plain;	/* AUTO: a server without TLS is used in clear */
	bool verify;
	char *ca;
	char *name;		/* for SNI and verification; empty: the server's host */
	char *fingerprint;
	char *certificate;
	char *private_key;
	enum tls_version min_version;
	bool lenient_close;	/* a download that ends without close_notify is whole if the server says so */
	struct tls_context *context;
};

/* Whether a server is told by a PROXY header who the client is. */
enum server_proxy { SERVER_PROXY_NONE, SERVER_PROXY_V1, SERVER_PROXY_V2 };

/* How we make data connections with a server. */
enum data_mode { DATA_AUTO, DATA_EPSV, DATA_PASV, DATA_PORT, DATA_EPRT, DATA_CLIENT };

/* How an ABOR in a transfer is said. TELNET: behind an Interrupt Process and an urgent Data Mark (RFC 959 section 4.1.3). */
enum abor_form { ABOR_PLAIN, ABOR_TELNET };

/* What a user gets that no route is for. REJECT: what anybody gets whose password is wrong. */
enum unknown_user { UNKNOWN_USER_DENY, UNKNOWN_USER_REJECT };

struct port_range {
	uint16_t first; /* 0: any port the kernel gives */
	uint16_t last;
	bool pooled;	/* open all the time, shared by the listener's sessions: at most POOLED_PORTS_MAX */
};

/* An address that clients are told, by a name that is looked up when one is to be told. */
struct announced_name {
	char *host;		/* NULL: there is no name */
	struct netaddr now;	/* for -t: what it stands for at the moment; AF_UNSPEC: nothing, and `error` says why */
	const char *error;
};

/* What clients of a network are told in replies to PASV. */
struct address_for {
	struct netblock network;
	struct netaddr address; /* AF_UNSPEC and no name: the address the client reached us by */
	struct announced_name name;
};

struct listener_config {
	char name[NAME_MAX_LEN];
	struct netaddr *binds;
	size_t binds_n;
	char *greeting;			/* text of the 220 */
	struct netaddr passive_address; /* AF_UNSPEC and no name: the address the client reached us by */
	struct announced_name passive_name;
	bool passive_by_proxy;		/* with it AF_UNSPEC: the one that the PROXY header names */
	struct address_for *passive_address_for; /* the first whose network has the client goes before it */
	size_t passive_address_for_n;
	struct port_range passive_ports;
	struct port_ledger *ports;	/* of that range, NULL: any, or pooled; runtime state, attached like a pool's; not owned */
	struct door_terms *doors;	/* of the pooled ports; runtime state, whose array is the snapshot's own */
	size_t doors_n;
	unsigned active_source_port;	/* our port when we connect to a client (PORT, EPRT); 0: any */
	bool proxy_protocol;		/* clients come through a balancer that sends PROXY headers */
	struct netblock *proxy_trusted;	/* who may send them */
	size_t proxy_trusted_n;
	bool proxy_protocol_data;	/* the same for passive data connections */
	struct netblock *passive_from; /* within each of these, hosts stand in for each other on passive ports */
	size_t passive_from_n;
	struct netblock *proxy_data_trusted;
	size_t proxy_data_trusted_n;
	enum unknown_user unknown_user;
	int64_t reject_delay_ms;	/* from PASS to the 530, with UNKNOWN_USER_REJECT */
	bool strict_eol;
	struct listener_tls tls;
	const struct policy *policy;	/* applies until a route is known: the one named "default" */
};

/* Health checks of a pool's servers. */
struct health_config {
	enum check_kind check;
	int64_t every_ms;
	int64_t timeout_ms;	/* of a whole check, and of making a warm connection */
	unsigned fall;
	unsigned rise;
	char *user;		/* of CHECK_LOGON and CHECK_TRANSFER; NULL: not given */
	char *password_file;
	char *password;		/* what was in it; NULL: none */
	char *probe;		/* path of a file to fetch; NULL: a listing */
};

/* Whether the sessions at a server end with its being taken out of service. */
enum end_sessions { END_SESSIONS_NEVER, END_SESSIONS_MAINTENANCE, END_SESSIONS_DOWN };

/* FIRST: the first address that can be reached; ALL: each is a server of its own; SERVICE: so is each of its SRV records. */
enum resolve { RESOLVE_FIRST, RESOLVE_ALL, RESOLVE_SERVICE };

/* For -t: what a server's name stands for at the moment; none: `error` says why. */
struct server_addresses {
	struct named_address now[POOL_ADDRESSES_MAX];
	size_t n;
	bool not_offered; /* the domain has no such service */
	const char *error; /* NULL as well: it was not looked up */
};

/*
 * A server: a numeric address, or a name that is looked up. Not with RESOLVE_FIRST: the
 * check of the configuration puts copies of it behind the last server of its
 * pool, so that there are max_addresses of it; all but the name and the number
 * of a copy are the original's, and freed with it.
 */
struct server_config {
	char name[NAME_MAX_LEN]; /* of a copy: with its number, "files/2" */
	unsigned nth;		/* 0: the original */
	size_t lead;		/* index of the original; its own if it is one */
	enum resolve resolve;
	unsigned max_addresses;
	enum address_family address_family;
	struct server_addresses addresses;
	char *host;		/* as configured, without port */
	uint16_t port;
	struct netaddr address; /* AF_UNSPEC when host is a name */
	uint32_t weight;
	uint32_t max_sessions;	/* 0: no limit */
	enum data_mode data;
	bool trust_pasv_address; /* connect where its 227 says, even to another host */
	enum abor_form abor;
	bool escape_iac;	/* double 0xFF in commands (Telnet) */
	bool drop_repeats;	/* of replies of one code at once, the first is the one */
	bool ask_features;	/* FEAT after its first logon */
	enum server_proxy proxy_protocol;
	bool proxy_protocol_data; /* on the data connections that we dial, too */
	struct netaddr source;	/* of our connections; AF_UNSPEC: the kernel chooses */
	bool transparent;	/* the client's address is their source */
	bool backup;		/* used when no other server of the pool can be */
	enum server_state state; /* UP, DRAIN, MAINTENANCE: until somebody orders otherwise */
	enum check_kind check;	/* CHECK_AS_POOL: as in the pool's health section */
	unsigned warm;		/* connections that are kept ready */
	int64_t warm_age_ms;
	struct server_tls_config tls;
};

/* Whose logons go to the same server again. */
enum sticky { STICKY_NONE, STICKY_USER, STICKY_SOURCE };

/* Stands for its address: what is known of one server is not said of another. */
static inline uint64_t server_identity(const struct server_config *server)
{
	return balance_hash(span_of(server->host)) * 31 + server->port;
}

struct pool_config {
	char name[NAME_MAX_LEN];
	enum balance_algorithm balance;
	struct server_config *servers;
	size_t servers_n;	/* 1..POOL_SERVERS_MAX */
	size_t named_n;		/* of them, those that are configured and no copies; they come first */
	int64_t queue_timeout_ms;
	unsigned tries;		/* servers tried for one logon; 0: all */
	int64_t slow_start_ms;	/* until a server that has come up has its whole share */
	enum end_sessions end_sessions;
	struct health_config health;
	bool early_connect;	/* connect before USER where the route cannot depend on it */
	enum sticky sticky;
	int64_t sticky_for_ms;	/* since the last logon */
	int64_t refused_cache_ms; /* how long a refused password is remembered; 0: not at all */
	struct memo *memo;	/* runtime state, attached like `ledger` where one of these needs it */
	struct pool_ledger *ledger; /* runtime state; attached before the snapshot is in force; not owned */
	uint16_t places[POOL_SERVERS_MAX]; /* of the servers in the ledger */
};

/* The servers that are meant when the one of this index is: a bit for each, itself and its copies. */
static inline uint64_t pool_server_group(const struct pool_config *pool, size_t server)
{
	uint64_t group = 0;

	for (size_t i = 0; i < pool->servers_n; i++) {
		if (pool->servers[i].lead == pool->servers[server].lead)
			group |= UINT64_C(1) << i;
	}
	return group;
}

enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

struct log_config {
	enum log_format format;
	char *file;		/* "-": standard output; "": none */
	enum event_level level;
	bool syslog;
	char *syslog_facility;	/* "daemon", "ftp", "local0" … */
};

struct admin_config {
	char *socket;		/* path of the Unix socket; "": none */
};

struct config {
	_Atomic unsigned refs;
	char *file;		/* where it came from; "(command line)" for the one-liner */
	unsigned workers;	/* 1..SESSION_WORKERS_MAX; 0 in the file became the number of CPUs */
	unsigned shards;
	unsigned max_sessions;	/* process-wide; 0: as many as descriptors allow */
	int64_t drain_timeout_ms;
	struct netaddr *dns_servers; /* none: those of /etc/resolv.conf */
	size_t dns_servers_n;
	int64_t dns_ttl_min_ms;	/* bounds of the time for which an answer is used */
	int64_t dns_ttl_max_ms;
	unsigned max_handshakes; /* TLS handshakes with clients at the same time; 0: any number */
	int64_t ticket_rotation_ms; /* how often the key of session tickets changes */
	char *ticket_keys_file;	/* that several nodes share; NULL: keys of our own */
	struct ticket_keys *ticket_keys; /* what is in it; NULL without a file */
	char *user;		/* whom the process becomes when it was started as root; NULL: nobody else */
	struct admin_config admin;
	struct log_config log;
	struct listener_config *listeners;
	size_t listeners_n;
	struct pool_config *pools;
	size_t pools_n;
	struct policy *policies;
	size_t policies_n;
	struct route_rule *routes;
	size_t routes_n;
	bool route_implied;	/* no route was configured: the only one there is leads to the only pool */
	bool routes_use_time;	/* some route has `times` */
};

/* Errors of a file, all of them, in order. Each is one line "file:line: key: what and why". */
struct config_errors {
	char **lines;
	size_t n;
};
void config_errors_fini(struct config_errors *errors);

/*
 * Loads and checks `file`. NULL with at least one error when it cannot be
 * used; otherwise a snapshot with one reference. *warnings (may be NULL) gets
 * what is allowed and probably not meant. Both are overwritten; free them with
 * config_errors_fini(). libconfuse's scanner is global: one thread at a time,
 * the same holds for config_from_command_line(). Main.
 */
SP_MUSTCHECK struct config *config_load(const char *file, struct config_errors *errors,
					struct config_errors *warnings);

/*
 * The one-liner: one listener "main", one pool "main" with these servers, one
 * route, no admin socket; everything else at its default.
 */
SP_MUSTCHECK struct config *config_from_command_line(const char *const listens[], size_t listens_n,
						     const char *const servers[], size_t servers_n,
						     struct config_errors *errors);

/* Any thread; the last unref frees. */
struct config *config_ref(struct config *config);
void config_unref(struct config **config);

/* Stands for the state of all files of TLS that it names: another number, another certificate. Reads the disk. */
uint64_t config_tls_stamp(const struct config *config);

/* How a server of the pool is checked. */
enum check_kind config_check_kind(const struct pool_config *pool, const struct server_config *server);

/* What the configuration means, for `-t`: listeners, routes in order, pools with their servers, policies. */
void config_explain(const struct config *config, void (*line)(void *ctx, const char *text), void *ctx);

#endif

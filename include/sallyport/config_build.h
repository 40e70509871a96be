// SPDX-License-Identifier: ISC
/*
 * A snapshot in the making: from texts to values (config_build.c), then what
 * the values say of one another (config_check*.c).
 */
#ifndef SALLYPORT_CONFIG_BUILD_H
#define SALLYPORT_CONFIG_BUILD_H

#include "sallyport/config.h"
#include "sallyport/config_keys.h"
#include "sallyport/config_report.h"
#include "sallyport/config_tree.h"

/* What a route refers to, until it is looked up; NULL: not given. */
struct config_references {
	char *pool;
	char *policy;
	char *user_map; /* files */
	char *credentials;
};

struct config_build {
	struct config *config;
	struct config_report *report;
	struct config_tree tree;
	struct config_references *routes; /* by route */
	bool command_line;		  /* messages name options, not keys */
};

/*
 * Fills build->config from build->tree. Where a value is wrong, or there is no
 * memory for it, the default stands, or nothing (NULL, AF_UNSPEC) where there
 * is none: the checks can go on.
 */
void config_build_all(struct config_build *build);
void config_build_fini(struct config_build *build);

/* References, existence, order; they become indexes. */
void config_check_all(struct config_build *build);
/* Addresses and ports among one another; called by it. */
void config_check_net(struct config_build *build);
/* Policies: commands and clocks; called by it. */
void config_check_policies(struct config_build *build);
/* PROXY protocol and sources: which keys go together; called by it. */
void config_check_proxy(struct config_build *build);

/* Health checks and warm connections: which keys go together; reads password files. Called by it. */
void config_check_health(struct config_build *build);
void config_health_free(struct health_config *health);

/* Looking names up; in config_names.c. */
void config_check_names(struct config_build *build);
/* When nothing is wrong: makes room for all addresses of names, by copies of their servers. */
void config_expand_names(struct config_build *build);

/* TLS: which keys go together; then files and settings become contexts. Called by it, last. */
void config_check_tls(struct config_build *build);
void config_tls_free_listener(struct listener_tls *tls);
void config_tls_free_server(struct server_tls_config *tls);

/*
 * Reads a map of users; `at`: where it is named, for messages. Its own mistakes
 * are told with its own lines. NULL: no memory (noted).
 */
struct user_map *config_user_map_load(struct config_build *build, struct config_position at, const char *file,
				      bool needs_pool);
void config_user_map_free(struct user_map **map);

/* Ticket keys and credentials, read when nothing else is wrong; `user`. Called by it, after config_check_tls(). */
void config_check_secrets(struct config_build *build);
void config_secrets_free(struct config *config);
void config_secrets_free_policy(struct policy *policy);

/* Does the file say this of the i-th section of a kind, whether rightly or not? */
bool config_build_has(const struct config_build *build, enum config_section_id id, size_t i, const char *key);

/* Places for messages: of the i-th section of a kind at the top level, and of a value in it. */
struct config_position config_build_place(const struct config_build *build,
					  enum config_section_id id, size_t i);
struct config_position config_build_value_place(const struct config_build *build,
						enum config_section_id id, size_t i,
						const char *key, size_t value);

/*
 * Why a server of the pool cannot be connected to before USER, as a phrase
 * behind the server's name (*server; NULL, also where `server` is: behind
 * nothing). NULL: it can.
 */
const char *config_why_not_early(const struct pool_config *pool, const struct server_config **server);
/* The same for a server of a pool. */
struct config_position config_build_server_place(const struct config_build *build, size_t pool,
						 size_t server, const char *key);

/* What a message calls a key: its name, or the option that stands for it. */
const char *config_build_label(const struct config_build *build, enum config_section_id id,
			       const char *key);

/* "pool legacy": what a message is about. */
struct config_label {
	char text[64];
};
struct config_label config_section_label(enum config_section_id id, const char *name);

/* Releases what a snapshot that is not shared (any more) holds, and itself. */
void config_free(struct config **config);

#endif

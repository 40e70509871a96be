// SPDX-License-Identifier: ISC
/*
 * Health in a configuration: which keys go together, and the password of the
 * checks, which stands in a file of its own so that the configuration can be
 * shown to anybody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_build.h"
#include "sallyport/secret_file.h"

#define PASSWORD_MAX 255

void config_health_free(struct health_config *health)
{
	if (health->password != NULL)
		explicit_bzero(health->password, strlen(health->password));
	free(health->password);
	free(health->user);
	free(health->password_file);
	free(health->probe);
}

static struct cfg_t *section_of(const struct config_build *build, size_t pool)
{
	struct cfg_t *section = config_tree_section(build->tree.root, SECTION_POOL, pool);

	return section != NULL ? config_tree_section(section, SECTION_HEALTH, 0) : NULL;
}

static void health_error(struct config_build *build, size_t pool, const char *key, const char *text)
{
	struct config_position at = config_build_place(build, SECTION_POOL, pool);
	struct cfg_t *section = section_of(build, pool);

	if (section != NULL)
		at = config_tree_value_place(&build->tree, section, config_key_find(SECTION_HEALTH, key), 0);
	config_error(build->report, at, key, "%s", text);
}

static void server_error(struct config_build *build, size_t pool, size_t server, const char *key,
			 const char *text)
{
	config_error(build->report, config_build_server_place(build, pool, server, key), key, "%s", text);
}

/* --- the password -------------------------------------------------------------------- */

static bool is_text(const char *line)
{
	for (const char *c = line; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ')
			return false;
	}
	return true;
}

/* The first line of a secret file, copied; NULL: `why` says why not. */
static char *read_password(const char *path, char why[SECRET_FILE_ERROR_MAX])
{
	struct secret text;
	char *password = NULL;
	size_t n;

	if (!secret_file_read(path, SECRET_OURS_ALONE, &text, why))
		return NULL;
	n = strcspn(text.p, "\r\n");
	text.p[n] = '\0';
	if (n > PASSWORD_MAX || !is_text(text.p)) {
		snprintf(why, SECRET_FILE_ERROR_MAX, "its first line is too long, or not text");
	} else {
		password = strdup(text.p);
		if (password == NULL)
			snprintf(why, SECRET_FILE_ERROR_MAX, "out of memory");
	}
	secret_free(&text);
	return password;
}

static void load_password(struct config_build *build, size_t i)
{
	struct health_config *health = &build->config->pools[i].health;
	char why[SECRET_FILE_ERROR_MAX];
	char text[512];

	if (health->password_file == NULL || health->password_file[0] == '\0')
		return;
	health->password = read_password(health->password_file, why);
	if (health->password != NULL)
		return;
	snprintf(text, sizeof(text), "\"%s\": %s", health->password_file, why);
	health_error(build, i, "password_file", text);
}

/* --- what goes together ------------------------------------------------------------------ */

static enum check_kind deepest(const struct pool_config *pool)
{
	enum check_kind found = CHECK_NONE;

	for (size_t j = 0; j < pool->servers_n; j++) {
		enum check_kind kind = config_check_kind(pool, &pool->servers[j]);

		if (kind > found)
			found = kind;
	}
	return found;
}

static void check_pool(struct config_build *build, size_t i)
{
	const struct pool_config *pool = &build->config->pools[i];
	const struct health_config *health = &pool->health;
	enum check_kind kind = deepest(pool);

	if (kind >= CHECK_LOGON && health->user == NULL)
		health_error(build, i, "check", "logon and transfer need a user: health { user = \"NAME\" }");
	if (kind < CHECK_LOGON && health->user != NULL)
		health_error(build, i, "user", "has no effect unless a check is logon or transfer");
	if (health->user == NULL && health->password_file != NULL)
		health_error(build, i, "password_file", "goes with user");
	if (kind < CHECK_TRANSFER && health->probe != NULL)
		health_error(build, i, "probe", "has no effect unless a check is transfer");
}

static void check_server(struct config_build *build, size_t i, size_t j)
{
	const struct pool_config *pool = &build->config->pools[i];
	const struct server_config *server = &pool->servers[j];

	if (server->warm == 0)
		return;
	if (server->proxy_protocol != SERVER_PROXY_NONE || server->transparent)
		server_error(build, i, j, "warm",
			     "a connection made before its client is known cannot say who it is: "
			     "not with proxy_protocol or transparent");
	else if (server->tls.mode == SERVER_TLS_IMPLICIT)
		server_error(build, i, j, "warm", "does not go with tls = implicit");
	else if (server->max_sessions != 0 && server->warm >= server->max_sessions)
		server_error(build, i, j, "warm", "must be less than max_sessions");
}

void config_check_health(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->pools_n; i++) {
		check_pool(build, i);
		for (size_t j = 0; j < config->pools[i].servers_n; j++)
			check_server(build, i, j);
		load_password(build, i);
	}
}

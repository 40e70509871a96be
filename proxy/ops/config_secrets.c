// SPDX-License-Identifier: ISC
/*
 * Secrets in a configuration: ticket keys, credentials, and who may read
 * private keys; and the user that the process becomes.
 */
#include <pwd.h>
#include <stdlib.h>

#include "sallyport/config_build.h"
#include "sallyport/config_credentials.h"
#include "sallyport/config_tickets.h"
#include "sallyport/secret_file.h"

/* `none` says that there is no file: the same as not giving the key. */
static void forget_none(char **path)
{
	if (*path == NULL || (*path)[0] != '\0')
		return;
	free(*path);
	*path = NULL;
}

static struct config_position root_place(const struct config_build *build, const char *key)
{
	return config_tree_value_place(&build->tree, build->tree.root, config_key_find(SECTION_ROOT, key), 0);
}

static void load_ticket_keys(struct config_build *build)
{
	struct config *config = build->config;
	char error[TICKETS_ERROR_MAX];

	if (config->ticket_keys_file == NULL)
		return;
	config->ticket_keys = config_tickets_load(config->ticket_keys_file, error);
	if (config->ticket_keys == NULL)
		config_error(build->report, root_place(build, "ticket_keys"), "ticket_keys", "%s", error);
}

static void load_credentials(struct config_build *build, size_t i)
{
	struct policy *policy = &build->config->policies[i];
	char error[CREDENTIALS_ERROR_MAX];

	if (policy->certificate_logons == NULL)
		return;
	policy->certificate_credentials = credentials_load(policy->certificate_logons, error);
	if (policy->certificate_credentials == NULL)
		config_error(build->report,
			     config_build_value_place(build, SECTION_POLICY, i, "certificate_logons", 0),
			     "certificate_logons", "%s", error);
}

/* No listener asks for a certificate: it could never stand for anything. */
static void check_certificate_logons(struct config_build *build, size_t i)
{
	const struct config *config = build->config;

	if (config->policies[i].certificate_logons == NULL)
		return;
	for (size_t j = 0; j < config->listeners_n; j++) {
		if (config->listeners[j].tls.client_certificates != TLS_CLIENT_NONE)
			return;
	}
	config_warning(build->report, config_build_value_place(build, SECTION_POLICY, i, "certificate_logons", 0),
		       "certificate_logons", "has no effect: no listener asks for client_certificates");
}

static void check_user(struct config_build *build)
{
	const char *user = build->config->user;

	if (user != NULL && getpwnam(user) == NULL)
		config_error(build->report, root_place(build, "user"), "user", "there is no user \"%s\"",
			     config_quote(user).text);
}

static void warn_of_key(struct config_build *build, struct config_position at, const char *key, const char *path)
{
	if (path != NULL && secret_file_is_open_to_all(path))
		config_warning(build->report, at, key, "%s can be read by every user of this machine", path);
}

static void check_private_keys(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_tls *tls = &config->listeners[i].tls;

		warn_of_key(build, config_build_value_place(build, SECTION_LISTENER, i, "private_key", 0),
			    "private_key", tls->private_key);
		for (size_t j = 0; j < tls->more_n; j++)
			warn_of_key(build, config_build_place(build, SECTION_LISTENER, i),
				    config_section_label(SECTION_CERTIFICATE, tls->more[j].name).text,
				    tls->more[j].private_key);
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++)
			warn_of_key(build, config_build_server_place(build, i, j, "tls_private_key"),
				    "tls_private_key", config->pools[i].servers[j].tls.private_key);
	}
}

void config_check_secrets(struct config_build *build)
{
	struct config *config = build->config;

	forget_none(&config->ticket_keys_file);
	for (size_t i = 0; i < config->policies_n; i++)
		forget_none(&config->policies[i].certificate_logons);
	check_user(build);
	if (!config_report_is_clean(build->report))
		return;
	load_ticket_keys(build);
	for (size_t i = 0; i < config->policies_n; i++) {
		check_certificate_logons(build, i);
		load_credentials(build, i);
	}
	check_private_keys(build);
}

void config_secrets_free(struct config *config)
{
	config_tickets_free(&config->ticket_keys);
	free(config->ticket_keys_file);
	free(config->user);
}

void config_secrets_free_policy(struct policy *policy)
{
	credentials_free(&policy->certificate_credentials);
	free(policy->certificate_logons);
}

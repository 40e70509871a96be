// SPDX-License-Identifier: ISC
/*
 * TLS in a configuration: which keys go together, and the contexts that files
 * and settings become. Made at loading, so that a wrong key file is an error
 * of the configuration and not of the first client.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport/config_build.h"
#include "sallyport/secret_file.h"
#include "sallyport/secret_keeper.h"
#include "sallyport/tls.h"

static void free_strings(char **strings)
{
	for (size_t i = 0; strings != NULL && strings[i] != NULL; i++)
		free(strings[i]);
	free(strings);
}

void config_tls_free_listener(struct listener_tls *tls)
{
	tls_context_free(&tls->context);
	free(tls->certificate);
	free(tls->private_key);
	free(tls->ciphers);
	free(tls->ciphersuites);
	free(tls->groups);
	free(tls->client_ca);
	free(tls->client_crl);
	for (size_t i = 0; i < tls->more_n; i++) {
		free_strings(tls->more[i].hosts);
		free(tls->more[i].certificate);
		free(tls->more[i].private_key);
	}
	free(tls->more);
}

void config_tls_free_server(struct server_tls_config *tls)
{
	tls_context_free(&tls->context);
	free(tls->ca);
	free(tls->name);
	free(tls->fingerprint);
	free(tls->certificate);
	free(tls->private_key);
}

/* --- listeners ------------------------------------------------------------------ */

static void listener_error(struct config_build *build, size_t i, const char *key, const char *text)
{
	config_error(build->report, config_build_value_place(build, SECTION_LISTENER, i, key, 0), key, "%s",
		     text);
}

static void check_more(struct config_build *build, size_t i)
{
	const struct listener_tls *tls = &build->config->listeners[i].tls;

	for (size_t j = 0; j < tls->more_n; j++) {
		const struct certificate_config *more = &tls->more[j];

		if (more->hosts == NULL || more->certificate == NULL || more->private_key == NULL)
			config_error(build->report, config_build_place(build, SECTION_LISTENER, i),
				     config_section_label(SECTION_CERTIFICATE, more->name).text,
				     "needs hosts, certificate and private_key");
	}
}

static void check_listener(struct config_build *build, size_t i)
{
	const struct listener_tls *tls = &build->config->listeners[i].tls;

	if (tls->mode == TLS_NONE) {
		if (tls->certificate != NULL || tls->private_key != NULL || tls->more_n > 0)
			listener_error(build, i, tls->certificate != NULL ? "certificate" : "private_key",
				       "has no effect while tls is none; tls is one of explicit, required, implicit");
		return;
	}
	if (tls->certificate == NULL)
		listener_error(build, i, "tls", "needs a certificate: certificate = \"FILE\"");
	if (tls->private_key == NULL)
		listener_error(build, i, "tls", "needs the certificate's key: private_key = \"FILE\"");
	if (tls->client_certificates != TLS_CLIENT_NONE && tls->client_ca == NULL)
		listener_error(build, i, "client_certificates", "needs client_ca = \"FILE\"");
	if (tls->client_certificates == TLS_CLIENT_NONE && tls->client_ca != NULL)
		listener_error(build, i, "client_ca", "has no effect while client_certificates is none");
	check_more(build, i);
}

static void make_listener(struct config_build *build, size_t i)
{
	struct listener_tls *tls = &build->config->listeners[i].tls;
	struct tls_identity *identities;
	struct tls_listener_settings settings = {
		.name = build->config->listeners[i].name,
		.identities_n = 1 + tls->more_n,
		.min_version = tls->min_version,
		.ciphers = tls->ciphers,
		.ciphersuites = tls->ciphersuites,
		.groups = tls->groups,
		.client_certificates = tls->client_certificates,
		.client_ca = tls->client_ca,
		.client_crl = tls->client_crl,
		.lenient_close = tls->lenient_close,
	};
	char error[TLS_ERROR_MAX];

	if (tls->mode == TLS_NONE)
		return;
	identities = calloc(settings.identities_n, sizeof(*identities));
	if (identities == NULL) {
		build->report->no_memory = true;
		return;
	}
	identities[0] = (struct tls_identity){ tls->certificate, tls->private_key, NULL };
	for (size_t j = 0; j < tls->more_n; j++)
		identities[j + 1] = (struct tls_identity){ tls->more[j].certificate,
							   tls->more[j].private_key, tls->more[j].hosts };
	settings.identities = identities;
	tls->context = tls_context_for_clients(&settings, error);
	free(identities);
	if (tls->context == NULL)
		listener_error(build, i, "tls", error);
}

/* --- servers --------------------------------------------------------------------- */

static void server_error(struct config_build *build, size_t pool, size_t server, const char *key,
			 const char *text)
{
	config_error(build->report, config_build_server_place(build, pool, server, key), key, "%s", text);
}

static void check_server(struct config_build *build, size_t i, size_t j)
{
	const struct server_tls_config *tls = &build->config->pools[i].servers[j].tls;

	if (tls->allow_plain && tls->mode != SERVER_TLS_AUTO)
		server_error(build, i, j, "allow_plain", "goes with tls = auto");
	if ((tls->certificate == NULL) != (tls->private_key == NULL))
		server_error(build, i, j, tls->certificate != NULL ? "tls_certificate" : "tls_private_key",
			     "tls_certificate and tls_private_key go together");
	if (tls->mode == SERVER_TLS_NONE && (tls->ca != NULL || tls->fingerprint != NULL))
		server_error(build, i, j, tls->ca != NULL ? "tls_ca" : "tls_fingerprint",
			     "has no effect while tls is none");
}

static void make_server(struct config_build *build, size_t i, size_t j)
{
	struct server_tls_config *tls = &build->config->pools[i].servers[j].tls;
	const struct tls_server_settings settings = {
		.verify = tls->verify,
		.ca = tls->ca,
		.fingerprint = tls->fingerprint,
		.certificate = tls->certificate,
		.private_key = tls->private_key,
		.min_version = tls->min_version,
		.lenient_close = tls->lenient_close,
	};
	char error[TLS_ERROR_MAX];

	if (tls->mode == SERVER_TLS_NONE)
		return;
	tls->context = tls_context_for_servers(&settings, error);
	if (tls->context == NULL)
		server_error(build, i, j, "tls", error);
}

/* `none` says that there is no file: the same as not giving the key. */
static void forget_none(char **path)
{
	if (*path == NULL || (*path)[0] != '\0')
		return;
	free(*path);
	*path = NULL;
}

static void forget_nones(struct config *config)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		struct listener_tls *tls = &config->listeners[i].tls;

		forget_none(&tls->certificate);
		forget_none(&tls->private_key);
		forget_none(&tls->client_ca);
		forget_none(&tls->client_crl);
		for (size_t j = 0; j < tls->more_n; j++) {
			forget_none(&tls->more[j].certificate);
			forget_none(&tls->more[j].private_key);
		}
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			struct server_tls_config *tls = &config->pools[i].servers[j].tls;

			forget_none(&tls->ca);
			forget_none(&tls->certificate);
			forget_none(&tls->private_key);
		}
	}
}

/* --- changes ----------------------------------------------------------------------- */

static void stamp_add(uint64_t *stamp, uint64_t value)
{
	*stamp = (*stamp ^ value) * UINT64_C(0x100000001b3); /* FNV-1a, by words */
}

/* In a folder of root's, after root has been given up, the keeper helps. */
static bool stat_file(const char *path, struct stat *st)
{
	bool known;
	int fd;

	if (stat(path, st) == 0)
		return true;
	fd = errno == EACCES ? secret_keeper_open(path) : -1;
	if (fd < 0)
		return false;
	known = fstat(fd, st) == 0;
	close(fd);
	return known;
}

static void stamp_file(uint64_t *stamp, const char *path)
{
	struct stat st;

	if (path == NULL)
		return;
	if (!stat_file(path, &st)) {
		stamp_add(stamp, 1);
		return;
	}
	stamp_add(stamp, (uint64_t)st.st_ino);
	stamp_add(stamp, (uint64_t)st.st_size);
	stamp_add(stamp, (uint64_t)st.st_mtim.tv_sec);
	stamp_add(stamp, (uint64_t)st.st_mtim.tv_nsec);
}

uint64_t config_tls_stamp(const struct config *config)
{
	uint64_t stamp = UINT64_C(0xcbf29ce484222325);

	stamp_file(&stamp, config->ticket_keys_file);
	for (size_t i = 0; i < config->policies_n; i++)
		stamp_file(&stamp, config->policies[i].certificate_logons);
	for (size_t i = 0; i < config->routes_n; i++) {
		if (config->routes[i].credentials != NULL)
			stamp_file(&stamp, config->routes[i].credentials->file);
	}
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_tls *tls = &config->listeners[i].tls;

		stamp_file(&stamp, tls->certificate);
		stamp_file(&stamp, tls->private_key);
		stamp_file(&stamp, tls->client_ca);
		stamp_file(&stamp, tls->client_crl);
		for (size_t j = 0; j < tls->more_n; j++) {
			stamp_file(&stamp, tls->more[j].certificate);
			stamp_file(&stamp, tls->more[j].private_key);
		}
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		stamp_file(&stamp, config->pools[i].health.password_file);
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			const struct server_tls_config *tls = &config->pools[i].servers[j].tls;

			stamp_file(&stamp, tls->ca);
			stamp_file(&stamp, tls->certificate);
			stamp_file(&stamp, tls->private_key);
		}
	}
	return stamp;
}

void config_check_tls(struct config_build *build)
{
	struct config *config = build->config;

	forget_nones(config);
	for (size_t i = 0; i < config->listeners_n; i++)
		check_listener(build, i);
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++)
			check_server(build, i, j);
	}
	/* Files are read when nothing else is wrong: one mistake, one message. */
	if (!config_report_is_clean(build->report))
		return;
	for (size_t i = 0; i < config->listeners_n; i++)
		make_listener(build, i);
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++)
			make_server(build, i, j);
	}
}

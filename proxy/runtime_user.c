// SPDX-License-Identifier: ISC
/*
 * From root to somebody else. The files with secrets that the configuration
 * names now are the only ones that the keeper will open later.
 */
#include "sallyport/runtime_user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sallyport/secret_keeper.h"

static bool fail(char error[RUNTIME_USER_ERROR_MAX], const char *what, const char *why)
{
	snprintf(error, RUNTIME_USER_ERROR_MAX, "%s: %s", what, why);
	return false;
}

/* --- what the keeper is told of ------------------------------------------------------ */

struct paths {
	const char **v; /* NULL: they are only counted */
	size_t n;
};

static void add(struct paths *paths, const char *path)
{
	if (path == NULL)
		return;
	if (paths->v != NULL)
		paths->v[paths->n] = path;
	paths->n++;
}

static void add_all(struct paths *paths, const struct config *config)
{
	add(paths, config->ticket_keys_file);
	for (size_t i = 0; i < config->policies_n; i++)
		add(paths, config->policies[i].certificate_logons);
	for (size_t i = 0; i < config->routes_n; i++) {
		if (config->routes[i].credentials != NULL)
			add(paths, config->routes[i].credentials->file);
	}
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_tls *tls = &config->listeners[i].tls;

		add(paths, tls->certificate);
		add(paths, tls->private_key);
		for (size_t j = 0; j < tls->more_n; j++) {
			add(paths, tls->more[j].certificate);
			add(paths, tls->more[j].private_key);
		}
	}
	for (size_t i = 0; i < config->pools_n; i++) {
		add(paths, config->pools[i].health.password_file);
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			add(paths, config->pools[i].servers[j].tls.certificate);
			add(paths, config->pools[i].servers[j].tls.private_key);
		}
	}
}

static int start_keeper(const struct config *config)
{
	struct paths paths = { NULL, 0 };
	int result;

	add_all(&paths, config);
	if (paths.n == 0)
		return 0;
	paths.v = calloc(paths.n, sizeof(char *));
	if (paths.v == NULL)
		return -ENOMEM;
	paths.n = 0;
	add_all(&paths, config);
	result = secret_keeper_start(paths.v, paths.n);
	free(paths.v);
	return result;
}

/* --- who we become ------------------------------------------------------------------- */

static bool is_transparent(const struct config *config)
{
	for (size_t i = 0; i < config->pools_n; i++) {
		for (size_t j = 0; j < config->pools[i].servers_n; j++) {
			if (config->pools[i].servers[j].transparent)
				return true;
		}
	}
	return false;
}

/* Listeners that a reload adds, active_source_port = 20, transparent: these go on to work. */
static bool keep_capabilities(const struct config *config)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint32_t kept = UINT32_C(1) << CAP_NET_BIND_SERVICE;

	if (is_transparent(config))
		kept |= UINT32_C(1) << CAP_NET_RAW;
	memset(data, 0, sizeof(data));
	data[0].effective = kept;
	data[0].permitted = kept;
	return syscall(SYS_capset, &header, data) == 0;
}

static bool become(const struct passwd *who)
{
	return initgroups(who->pw_name, who->pw_gid) == 0 && setresgid(who->pw_gid, who->pw_gid, who->pw_gid) == 0 &&
	       setresuid(who->pw_uid, who->pw_uid, who->pw_uid) == 0;
}

bool runtime_user_become(const struct config *config, char error[RUNTIME_USER_ERROR_MAX])
{
	const struct passwd *who;
	int result;

	if (config->user == NULL)
		return true;
	who = getpwnam(config->user);
	if (who == NULL)
		return fail(error, config->user, "there is no such user");
	if (geteuid() != 0)
		return who->pw_uid == geteuid() || fail(error, config->user, "only root can become this user");
	if (who->pw_uid == 0)
		return true;
	result = start_keeper(config);
	if (result != 0)
		return fail(error, "cannot start the keeper of secrets", strerror(-result));
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || !become(who) || !keep_capabilities(config) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		(void)fail(error, config->user, strerror(errno));
		secret_keeper_stop();
		return false;
	}
	return true;
}

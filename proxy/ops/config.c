// SPDX-License-Identifier: ISC
/*
 * The configuration: loading a file, or making one from the command line, and
 * the life of a snapshot. The way: files → outline (what is there, in which
 * order) → libconfuse → values → checks.
 */
#include "sallyport/config.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_build.h"
#include "sallyport/config_outline.h"
#include "sallyport/config_report.h"
#include "sallyport/config_text.h"
#include "sallyport/config_tree.h"
#include "sallyport/session_id.h"

#define COMMAND_LINE "(command line)"

/* The CPUs that this process may use; a container may have fewer than the machine. */
static unsigned count_cpus(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	if (n < 1)
		return 1;
	return (unsigned)n < SESSION_WORKERS_MAX ? (unsigned)n : SESSION_WORKERS_MAX;
}

static struct config *config_new(const char *file)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL)
		return NULL;
	config->file = config_copy(file);
	if (config->file == NULL)
		config_free(&config);
	else
		atomic_init(&config->refs, 1);
	return config;
}

/* From an outline to a snapshot; whatever is wrong with it is in the report. */
static struct config *make_config(const struct config_outline *outline, const char *file,
                                  bool command_line, struct config_report *report)
{
	struct config_build build = { .report = report, .command_line = command_line };

	if (!config_tree_read(&build.tree, outline, report)) {
		config_tree_fini(&build.tree);
		return NULL;
	}
	build.config = config_new(file);
	if (build.config == NULL) {
		report->no_memory = true;
	} else {
		config_build_all(&build);
		if (!report->no_memory)
			config_check_all(&build);
		if (build.config->workers == 0)
			build.config->workers = count_cpus();
	}
	config_build_fini(&build);
	if (!config_report_is_clean(report))
		config_free(&build.config);
	return build.config;
}

/* Hands the report out; NULL instead of a snapshot that has errors. */
static struct config *finish(struct config *config, struct config_report *report,
                             struct config_errors *errors, struct config_errors *warnings)
{
	config_report_give(report, errors, warnings);
	if (!config_report_is_clean(report))
		config_free(&config);
	config_report_fini(report);
	return config;
}

struct config *config_load(const char *file, struct config_errors *errors,
                           struct config_errors *warnings)
{
	struct config_report report = { 0 };
	struct config_outline outline = { 0 };
	struct config *config = NULL;

	config_outline_read(&outline, file, &report);
	/* A file that was not read has no outline, and its emptiness is no error of its own. */
	if (!report.no_memory && (outline.places_n > 0 || report.errors.n == 0))
		config = make_config(&outline, file, false, &report);
	config_outline_fini(&outline);
	return finish(config, &report, errors, warnings);
}

/* In single quotes, where libconfuse takes all but \ and ' as they are. */
static void quote_argument(struct config_text *to, const char *argument)
{
	config_text_add(to, "'");
	for (; *argument != '\0'; argument++) {
		if (*argument == '\'' || *argument == '\\')
			config_text_add(to, "\\");
		config_text_bytes(to, argument, 1);
	}
	config_text_add(to, "'");
}

/* The one-liner as an outline, so that its values take the same way as those of a file. */
static void outline_command_line(struct config_outline *outline, const char *const listens[],
                                 size_t listens_n, const char *const servers[], size_t servers_n)
{
	const struct config_position at = { 0, 0 };
	struct config_text quoted = { 0 };
	struct config_text name = { 0 };

	/* Whoever tries it out can seldom write to the usual place of the socket. */
	config_outline_open(outline, "admin", NULL, at);
	config_outline_value(outline, "socket", span_of("none"), at);
	config_outline_close(outline, at);
	config_outline_open(outline, "listener", "main", at);
	config_outline_list(outline, "bind", false, at);
	for (size_t i = 0; i < listens_n; i++) {
		quoted.n = 0;
		quote_argument(&quoted, listens[i]);
		config_outline_element(outline, span_from(config_text_get(&quoted), quoted.n),
		                       i == 0, at);
	}
	config_outline_list_end(outline, at);
	config_outline_close(outline, at);
	config_outline_open(outline, "pool", "main", at);
	for (size_t i = 0; i < servers_n; i++) {
		quoted.n = 0;
		name.n = 0;
		quote_argument(&quoted, servers[i]);
		config_text_add(&name, "server%zu", i + 1);
		config_outline_open(outline, "server", config_text_get(&name), at);
		config_outline_value(outline, "address",
		                     span_from(config_text_get(&quoted), quoted.n), at);
		config_outline_close(outline, at);
	}
	config_outline_close(outline, at);
	outline->failed = outline->failed || quoted.failed || name.failed;
	config_text_fini(&quoted);
	config_text_fini(&name);
}

struct config *config_from_command_line(const char *const listens[], size_t listens_n,
                                        const char *const servers[], size_t servers_n,
                                        struct config_errors *errors)
{
	const struct config_position at = { 0, 0 };
	struct config_report report = { 0 };
	struct config_outline outline = { 0 };
	struct config *config = NULL;

	if (config_report_add_file(&report, COMMAND_LINE) == -1)
		return finish(NULL, &report, errors, NULL);
	if (listens_n == 0)
		config_error(&report, at, "--listen",
		             "is missing: at least one address to listen on");
	if (servers_n == 0)
		config_error(&report, at, "--server", "is missing: at least one FTP server");
	if (config_report_is_clean(&report)) {
		outline_command_line(&outline, listens, listens_n, servers, servers_n);
		if (outline.failed || outline.text.failed)
			report.no_memory = true;
		else
			config = make_config(&outline, COMMAND_LINE, true, &report);
	}
	config_outline_fini(&outline);
	return finish(config, &report, errors, NULL);
}

struct config *config_ref(struct config *config)
{
	unsigned before = atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);

	SP_ASSERT(before > 0);
	return config;
}

void config_unref(struct config **config_p)
{
	struct config *config = *config_p;
	unsigned before;

	*config_p = NULL;
	if (config == NULL)
		return;
	before = atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel);
	SP_ASSERT(before > 0);
	if (before == 1)
		config_free(&config);
}

enum check_kind config_check_kind(const struct pool_config *pool, const struct server_config *server)
{
	return server->check == CHECK_AS_POOL ? pool->health.check : server->check;
}

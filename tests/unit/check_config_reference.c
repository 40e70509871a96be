// SPDX-License-Identifier: ISC
/*
 * The example file and the manual pages say what the tables of the program say:
 * every key once, with its default, its range, its words and its line of text;
 * every command of sallyportctl.
 */
#include "config_test.h"

#include "sallyport/config_keys.h"
#include "sallyport/config_text.h"
#include "sallyport/config_value.h"
#include "sallyport/metrics.h"

#define EXAMPLE "deploy/sallyport.conf"
#define MANUAL "deploy/man/sallyport.conf.5"

/* The default as people write it: durations in their shortest form, quotes where they are needed.
 */
static const char *shown_default(const struct config_key *key, bool quotes)
{
	static char text[256];
	int64_t ms;

	if (key->kind == CONFIG_KIND_DURATION) {
		ck_assert(config_duration_parse(key->fallback, &ms));
		snprintf(text, sizeof(text), "%s", config_duration_show(ms).text);
	} else if (quotes && strpbrk(key->fallback, " /") != NULL) {
		snprintf(text, sizeof(text), "\"%s\"", key->fallback);
	} else {
		snprintf(text, sizeof(text), "%s", key->fallback);
	}
	return text;
}

/* --- the example file --------------------------------------------------------------- */

/* A key as it stands in the example: "#name = value" or "name = value", and the comment above it.
 */
struct example_key {
	enum config_section_id section;
	char name[64];
	char value[256];
	bool active;
	char comment[512];
};

#define EXAMPLE_KEYS_MAX (2 * CONFIG_KEYS_MAX)

static struct example_key example[EXAMPLE_KEYS_MAX];
static size_t example_n;

/* "listener public {" and "#certificate_for partner {": goes into that section. */
static bool opens_section(const char *line, enum config_section_id *at)
{
	char name[64];
	size_t n;

	if (line[0] == '#')
		line++;
	n = strcspn(line, " ");
	if (n == 0 || line[strlen(line) - 1] != '{')
		return false;
	ck_assert_uint_lt(n, sizeof(name));
	memcpy(name, line, n);
	name[n] = '\0';
	*at = config_section_find(*at, name);
	ck_assert_msg(*at != SECTION_ROOT, "%s: %s is not a section here", EXAMPLE, line);
	return true;
}

/* "name = value", with or without a "#" before it. */
static bool is_key(const char *line, struct example_key *key)
{
	const char *equals = strstr(line, " = ");
	size_t n;

	key->active = line[0] != '#';
	if (!key->active)
		line++;
	if (equals == NULL || line[0] == ' ')
		return false;
	n = (size_t)(equals - line);
	if (strspn(line, "abcdefghijklmnopqrstuvwxyz_") != n)
		return false;
	ck_assert_uint_lt(n, sizeof(key->name));
	memcpy(key->name, line, n);
	key->name[n] = '\0';
	snprintf(key->value, sizeof(key->value), "%s", equals + 3);
	return true;
}

static void read_example(void)
{
	char *text = read_text(source_path(EXAMPLE));
	enum config_section_id at = SECTION_ROOT;
	struct example_key next = { .comment = "" };
	char *rest = text;
	char *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		line += strspn(line, "\t");
		if (is_key(line, &next)) {
			ck_assert_uint_lt(example_n, EXAMPLE_KEYS_MAX);
			next.section = at;
			example[example_n++] = next;
			next.comment[0] = '\0';
		} else if (strcmp(line, "}") == 0 || strcmp(line, "#}") == 0) {
			at = config_section_row(at)->parent;
		} else if (line[0] == '\0' || opens_section(line, &at)) {
			next.comment[0] = '\0';
		} else {
			size_t used = strlen(next.comment);

			ck_assert_msg(strncmp(line, "# ", 2) == 0 || strcmp(line, "#") == 0,
			              "%s: what is this? %s", EXAMPLE, line);
			snprintf(next.comment + used, sizeof(next.comment) - used, "%s\n",
			         line[1] != '\0' ? line + 2 : "");
		}
	}
	ck_assert_int_eq(at, SECTION_ROOT);
	free(text);
}

static const struct example_key *example_of(const struct config_key *key)
{
	const struct example_key *found = NULL;

	for (size_t i = 0; i < example_n; i++) {
		if (example[i].section != key->section || strcmp(example[i].name, key->name) != 0)
			continue;
		ck_assert_msg(found == NULL, "%s: %s is there twice", EXAMPLE, key->name);
		found = &example[i];
	}
	ck_assert_msg(found != NULL, "%s: %s of %s is missing", EXAMPLE, key->name,
	              config_section_row(key->section)->name);
	return found;
}

START_TEST(the_example_has_each_key_with_its_default_and_text)
{
	const struct config_key *key = &config_keys[_i];
	const struct example_key *there = example_of(key);

	ck_assert_msg(strstr(there->comment, key->text) != NULL, "%s: %s has the comment:\n%s",
	              EXAMPLE, key->name, there->comment);
	if (key->required)
		ck_assert_msg(there->active, "%s: %s must be given", EXAMPLE, key->name);
	if (key->fallback != NULL) {
		ck_assert_str_eq(there->value, shown_default(key, true));
		ck_assert_msg(!there->active, "%s: %s stands with its default", EXAMPLE, key->name);
	}
	for (const struct config_word *w = key->range.words; w != NULL && w->word != NULL; w++)
		ck_assert_msg(strstr(there->comment, w->word) != NULL, "%s: %s: %s", EXAMPLE,
		              key->name, w->word);
}
END_TEST

START_TEST(the_example_has_no_key_that_is_not_in_the_table)
{
	for (size_t i = 0; i < example_n; i++)
		ck_assert_msg(config_key_find(example[i].section, example[i].name) != NULL,
		              "%s: %s", EXAMPLE, example[i].name);
	ck_assert_uint_eq(example_n, config_keys_n);
}
END_TEST

static struct config *load_quietly(const char *path)
{
	struct config_errors errors;
	struct config_errors warnings;
	struct config *config = config_load(path, &errors, &warnings);

	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_msg(warnings.n == 0, "%s", warnings.n > 0 ? warnings.lines[0] : "?");
	config_errors_fini(&errors);
	config_errors_fini(&warnings);
	return config;
}

static void add_line(void *ctx, const char *text)
{
	config_text_add(ctx, "%s\n", text);
}

/* All that it means but for the name of the file. */
static char *meaning_of(const char *path)
{
	struct config *config = load_quietly(path);
	struct config_text text = { 0 };
	char *meaning;

	config_explain(config, add_line, &text);
	meaning = strdup(strchr(config_text_get(&text), '\n'));
	config_text_fini(&text);
	config_unref(&config);
	return meaning;
}

/* The example with the "#" taken from all keys that have a default. */
static void write_uncommented(const char *to)
{
	char *text = read_text(source_path(EXAMPLE));
	FILE *file = fopen(to, "w");
	char *rest = text;
	char *line;

	ck_assert_ptr_nonnull(file);
	while ((line = strsep(&rest, "\n")) != NULL) {
		char *p = line + strspn(line, "\t");
		struct example_key there;
		bool fallback = false;

		if (is_key(p, &there)) {
			for (size_t i = 0; i < config_keys_n; i++)
				fallback =
				    fallback || (strcmp(config_keys[i].name, there.name) == 0 &&
				                 config_keys[i].fallback != NULL);
		}
		fprintf(file, "%s\n", fallback && *p == '#' ? p + 1 : line);
	}
	ck_assert_int_eq(fclose(file), 0);
	free(text);
}

START_TEST(the_example_means_the_same_with_its_defaults_written_out)
{
	char path[] = "/tmp/check_config.XXXXXX";
	int fd = mkstemp(path);
	char *as_it_is = meaning_of(source_path(EXAMPLE));
	char *written_out;

	ck_assert_int_ge(fd, 0);
	close(fd);
	write_uncommented(path);
	written_out = meaning_of(path);
	unlink(path);
	ck_assert_str_eq(as_it_is, written_out);
	free(as_it_is);
	free(written_out);
}
END_TEST

/* --- the manual ----------------------------------------------------------------------- */

static char *manual; /* MANUAL without escapes, each line end a blank */

static void read_manual(void)
{
	size_t n = 0;

	manual = read_text(source_path(MANUAL));
	for (const char *p = manual; *p != '\0'; p++) {
		if (strncmp(p, "\\&", 2) == 0)
			p++;
		else
			manual[n++] = *p == '\n' ? ' ' : *p;
	}
	manual[n] = '\0';
}

/* The manual's text on a key: from its item to the next one, or to the next subsection. Caller
 * frees. */
static char *manual_entry(const struct config_key *key)
{
	const char *section = config_section_row(key->section)->name;
	char *heading = NULL;
	char *item = NULL;
	char *from;
	char *subsection_end;
	const char *to;

	ck_assert_int_gt(
	    asprintf(&heading, " .Ss %s ", section[0] != '\0' ? section : "The top level"), 0);
	ck_assert_int_gt(asprintf(&item, " .It Ic %s = ", key->name), 0);
	from = strstr(manual, heading);
	ck_assert_msg(from != NULL, "%s: %s is missing", MANUAL, heading);
	subsection_end = strstr(from + 1, " .Ss ");
	from = strstr(from, item);
	ck_assert_msg(from != NULL && (subsection_end == NULL || from < subsection_end),
	              "%s: %s of %s is missing", MANUAL, key->name, heading);
	to = strstr(from + 1, " .It Ic ");
	if (to == NULL || (subsection_end != NULL && to > subsection_end))
		to = subsection_end != NULL ? subsection_end : from + strlen(from);
	free(heading);
	free(item);
	return strndup(from, (size_t)(to - from));
}

static void assert_says(const struct config_key *key, const char *entry, const char *format, ...)
    SP_PRINTF(3, 4);

static void assert_says(const struct config_key *key, const char *entry, const char *format, ...)
{
	char *wanted = NULL;
	va_list ap;

	va_start(ap, format);
	ck_assert_int_gt(vasprintf(&wanted, format, ap), 0);
	va_end(ap);
	ck_assert_msg(strstr(entry, wanted) != NULL, "%s: %s does not say \"%s\":\n%s", MANUAL,
	              key->name, wanted, entry);
	free(wanted);
}

START_TEST(the_manual_has_each_key_with_its_default_range_and_text)
{
	const struct config_key *key = &config_keys[_i];
	char *entry = manual_entry(key);

	assert_says(key, entry, "%s", key->text);
	for (const struct config_word *w = key->range.words; w != NULL && w->word != NULL; w++)
		assert_says(key, entry, "Cm %s ", w->word);
	if (key->required)
		assert_says(key, entry, "It must be given.");
	if (key->fallback != NULL && strchr(shown_default(key, false), ' ') != NULL)
		assert_says(key, entry, "The default is .Ql \"%s\" .", shown_default(key, false));
	else if (key->fallback != NULL)
		assert_says(key, entry, "The default is .Ql %s .", shown_default(key, false));
	if (key->kind == CONFIG_KIND_NUMBER)
		assert_says(key, entry, "From %lld to %lld.", (long long)key->range.min,
		            (long long)key->range.max);
	if (key->kind == CONFIG_KIND_DURATION && key->range.min > 0)
		assert_says(key, entry, "From %s to %s.", config_duration_show(key->range.min).text,
		            config_duration_show(key->range.max).text);
	else if (key->kind == CONFIG_KIND_DURATION)
		assert_says(key, entry, "At most %s", config_duration_show(key->range.max).text);
	if (config_kind_is_list(key->kind))
		assert_says(key, entry, "= Brq Ar ");
	free(entry);
}
END_TEST

START_TEST(the_manual_has_no_key_that_is_not_in_the_table)
{
	size_t n = 0;

	for (const char *p = manual; (p = strstr(p, " .It Ic ")) != NULL; p++)
		n++;
	ck_assert_uint_eq(n, config_keys_n);
}
END_TEST

/* --- events and figures ----------------------------------------------------------------- */

/* Calls `known` for what each ".It Li" of a manual names; there are some. */
static void each_item(const char *path, bool (*known)(const char *name))
{
	char *text = read_text(source_path(path));
	size_t items = 0;

	for (const char *p = text; (p = strstr(p, "\n.It Li ")) != NULL; items++) {
		char name[64];
		size_t n;

		p += strlen("\n.It Li ");
		n = strcspn(p, " {\n");
		ck_assert_uint_lt(n, sizeof(name));
		memcpy(name, p, n);
		name[n] = '\0';
		ck_assert_msg(known(name), "%s: there is no %s", path, name);
	}
	ck_assert_uint_gt(items, 20);
	free(text);
}

static bool is_event(const char *name)
{
	static const char *const names[] = {
#define EVENT(id, name, level, what) #name,
#include "sallyport/tbl/events.def"
#undef EVENT
	};

	for (size_t i = 0; i < SP_ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static bool is_figure(const char *name)
{
	static struct metric_sample samples[METRIC_SAMPLES_MAX];
	static struct metrics all;
	static size_t n;

	if (n == 0) {
		all.passive_n = 2; /* one of each kind */
		all.passive[0].pooled = true;
		all.sinks_n = 1;
		n = metrics_samples(&all, samples);
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(samples[i].family, name) == 0)
			return true;
	}
	return false;
}

START_TEST(the_manuals_tell_of_events_and_figures_that_there_are)
{
	each_item("deploy/man/sallyport.8", is_event);
	each_item("deploy/man/sallyportctl.1", is_figure);
}
END_TEST

/* --- sallyportctl ----------------------------------------------------------------------- */

START_TEST(the_manual_of_sallyportctl_has_each_command)
{
	static const char *const commands[] = {
#define ADMIN_COMMAND(id, words, argument, role, help) words,
#include "sallyport/tbl/admin_commands.def"
#undef ADMIN_COMMAND
	};
	char *text = read_text(source_path("deploy/man/sallyportctl.1"));
	size_t items = 0;

	for (size_t i = 0; i < SP_ARRAY_LEN(commands); i++) {
		char item[64];
		const char *found;

		snprintf(item, sizeof(item), ".It Cm %s", commands[i]);
		found = strstr(text, item);
		ck_assert_msg(found != NULL, "%s is missing", commands[i]);
		ck_assert(found[strlen(item)] == '\n' || found[strlen(item)] == ' ');
	}
	for (const char *p = text; (p = strstr(p, ".It Cm ")) != NULL; p++)
		items++;
	ck_assert_uint_eq(items, SP_ARRAY_LEN(commands));
	free(text);
}
END_TEST

/* The words of the table are those of the modules that they belong to. */
START_TEST(the_words_of_balance_are_the_names_of_its_algorithms)
{
	const struct config_key *key = config_key_find(SECTION_POOL, "balance");

	for (const struct config_word *w = key->range.words; w->word != NULL; w++)
		ck_assert_str_eq(w->word, balance_algorithm_name((enum balance_algorithm)w->value));
}
END_TEST

START_TEST(the_words_of_level_are_the_names_of_the_levels)
{
	const struct config_key *key = config_key_find(SECTION_LOG, "level");

	for (const struct config_word *w = key->range.words; w->word != NULL; w++)
		ck_assert_str_eq(w->word, event_level_name((enum event_level)w->value));
}
END_TEST

static void set_up_reference(void)
{
	read_example();
	read_manual();
}

static void tear_down_reference(void)
{
	free(manual);
}

int main(void)
{
	Suite *suite = suite_create("config reference");
	TCase *tcase = tcase_create("reference");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, set_up_reference, tear_down_reference);
	tcase_add_loop_test(tcase, the_example_has_each_key_with_its_default_and_text, 0,
	                    (int)config_keys_n);
	tcase_add_test(tcase, the_example_has_no_key_that_is_not_in_the_table);
	tcase_add_test(tcase, the_example_means_the_same_with_its_defaults_written_out);
	tcase_add_loop_test(tcase, the_manual_has_each_key_with_its_default_range_and_text, 0,
	                    (int)config_keys_n);
	tcase_add_test(tcase, the_manual_has_no_key_that_is_not_in_the_table);
	tcase_add_test(tcase, the_manual_of_sallyportctl_has_each_command);
	tcase_add_test(tcase, the_manuals_tell_of_events_and_figures_that_there_are);
	tcase_add_test(tcase, the_words_of_balance_are_the_names_of_its_algorithms);
	tcase_add_test(tcase, the_words_of_level_are_the_names_of_the_levels);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

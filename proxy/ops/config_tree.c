// SPDX-License-Identifier: ISC
/*
 * The only file that knows libconfuse. Its options are generated from the table
 * of keys. All of them are of its pointer type: what it keeps for us is the
 * text of a value, unquoted, and the line that it stood on.
 */
#include "sallyport/config_tree.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_text.h"

struct value {
	int line;
	char text[];
};

/* libconfuse's error callback has no context argument; see the header on threads. */
static struct {
	struct config_report *report;
	const struct config_outline *outline;
} now_reading;

/* A cfg_callback_t: makes the value that libconfuse keeps and frees. */
static int keep_value(cfg_t *section, cfg_opt_t *option, const char *text, void *result)
{
	size_t n = strlen(text);
	struct value *value = malloc(sizeof(*value) + n + 1);

	(void)option;
	if (value == NULL) {
		now_reading.report->no_memory = true;
		return -1;
	}
	value->line = section->line;
	memcpy(value->text, text, n + 1);
	*(struct value **)result = value;
	return 0;
}

/*
 * A cfg_errfunc_t. The outline should have seen to it that this is not called;
 * when it is, libconfuse's words are better than none.
 */
SP_PRINTF(2, 0)
static void note_error(cfg_t *section, const char *format, va_list ap)
{
	struct config_text text = { 0 };

	config_text_vadd(&text, format, ap);
	config_error(now_reading.report, config_outline_place(now_reading.outline, section->line),
	             "libconfuse", "%s", config_text_get(&text));
	config_text_fini(&text);
}

#define OPTIONS_MAX (CONFIG_KEYS_MAX + SECTION_COUNT + 1)

/* Templates of all sections; libconfuse makes copies of them. */
struct options {
	cfg_opt_t v[SECTION_COUNT][OPTIONS_MAX];
};

static cfg_flag_t section_flags(const struct config_section *row)
{
	return (row->many ? CFGF_MULTI : CFGF_NONE) | (row->named ? CFGF_TITLE : CFGF_NONE);
}

static void make_options(struct options *options)
{
	static const cfg_opt_t end = CFG_END();

	for (int id = SECTION_ROOT; id < SECTION_COUNT; id++) {
		cfg_opt_t *to = options->v[id];

		for (size_t i = 0; i < config_keys_n; i++) {
			const struct config_key *key = &config_keys[i];
			cfg_opt_t one =
			    CFG_PTR_CB(key->name, NULL, CFGF_NODEFAULT, keep_value, free);

			if ((int)key->section != id)
				continue;
			if (config_kind_is_list(key->kind))
				one.flags |= CFGF_LIST;
			*to++ = one;
		}
		for (int sub = SECTION_ROOT + 1; sub < SECTION_COUNT; sub++) {
			const struct config_section *row =
			    config_section_row((enum config_section_id)sub);
			cfg_opt_t one = CFG_SEC(row->name, options->v[sub], section_flags(row));

			if ((int)row->parent == id)
				*to++ = one;
		}
		*to = end;
	}
}

bool config_tree_read(struct config_tree *tree, const struct config_outline *outline,
                      struct config_report *report)
{
	struct options *options = calloc(1, sizeof(*options));
	size_t errors = report->errors.n;
	int result;

	*tree = (struct config_tree){ .outline = outline };
	if (options != NULL) {
		make_options(options);
		tree->root = cfg_init(options->v[SECTION_ROOT], CFGF_NONE);
		free(options);
	}
	if (tree->root == NULL) {
		report->no_memory = true;
		return false;
	}
	now_reading.report = report;
	now_reading.outline = outline;
	cfg_set_error_function(tree->root, note_error);
	result = cfg_parse_buf(tree->root, config_text_get(&outline->text));
	if (result != CFG_SUCCESS && report->errors.n == errors)
		report->no_memory = true; /* the one thing that it says nothing about */
	return result == CFG_SUCCESS;
}

void config_tree_fini(struct config_tree *tree)
{
	if (tree->root != NULL)
		cfg_free(tree->root);
	*tree = (struct config_tree){ 0 };
}

size_t config_tree_sections_n(struct cfg_t *parent, enum config_section_id id)
{
	return cfg_size(parent, config_section_row(id)->name);
}

struct cfg_t *config_tree_section(struct cfg_t *parent, enum config_section_id id, size_t i)
{
	return cfg_getnsec(parent, config_section_row(id)->name, (unsigned)i);
}

const char *config_tree_name(const struct cfg_t *section)
{
	return section->title != NULL ? section->title : "";
}

size_t config_tree_values_n(struct cfg_t *section, const struct config_key *key)
{
	return cfg_size(section, key->name);
}

static const struct value *get_value(struct cfg_t *section, const struct config_key *key, size_t i)
{
	return cfg_getnptr(section, key->name, (unsigned)i);
}

const char *config_tree_value(struct cfg_t *section, const struct config_key *key, size_t i)
{
	return get_value(section, key, i)->text;
}

struct config_position config_tree_section_place(const struct config_tree *tree,
                                                 const struct cfg_t *section)
{
	return config_outline_place(tree->outline, section->line);
}

struct config_position config_tree_value_place(const struct config_tree *tree,
                                               struct cfg_t *section, const struct config_key *key,
                                               size_t i)
{
	if (i >= config_tree_values_n(section, key))
		return config_tree_section_place(tree, section);
	return config_outline_place(tree->outline, get_value(section, key, i)->line);
}

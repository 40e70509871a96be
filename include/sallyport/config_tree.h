// SPDX-License-Identifier: ISC
/*
 * What libconfuse makes of an outline: sections with their values, as texts,
 * each with its place in the files. libconfuse has one scanner a process, so
 * only one thread may be here at a time.
 */
#ifndef SALLYPORT_CONFIG_TREE_H
#define SALLYPORT_CONFIG_TREE_H

#include "sallyport/base.h"
#include "sallyport/config_keys.h"
#include "sallyport/config_outline.h"
#include "sallyport/config_report.h"

struct cfg_t; /* libconfuse's: a section */

struct config_tree {
	struct cfg_t *root;
	const struct config_outline *outline; /* borrowed */
};

/* False: complained about. */
SP_MUSTCHECK bool config_tree_read(struct config_tree *tree, const struct config_outline *outline,
				   struct config_report *report);
void config_tree_fini(struct config_tree *tree);

/* Sections of a kind within `parent`, in the order of the file. */
size_t config_tree_sections_n(struct cfg_t *parent, enum config_section_id id);
struct cfg_t *config_tree_section(struct cfg_t *parent, enum config_section_id id, size_t i);
/* The section's name; "" when its kind has none. */
const char *config_tree_name(const struct cfg_t *section);

/* Values of a key that were given in this section; 0: none. */
size_t config_tree_values_n(struct cfg_t *section, const struct config_key *key);
/* Borrowed from the tree. */
const char *config_tree_value(struct cfg_t *section, const struct config_key *key, size_t i);

/* Where a section begins, where a value stands; the section's when the key was not given. */
struct config_position config_tree_section_place(const struct config_tree *tree,
						 const struct cfg_t *section);
struct config_position config_tree_value_place(const struct config_tree *tree, struct cfg_t *section,
					       const struct config_key *key, size_t i);

#endif

// SPDX-License-Identifier: ISC
/*
 * Writing libconfuse's input, with the place in the files that each of its
 * lines comes from.
 */
#include <stdlib.h>

#include "sallyport/config_outline.h"

/* Ends the lines that were written since the last call: they come from `at`. */
static void end_line(struct config_outline *outline, struct config_position at, size_t lines)
{
	config_text_bytes(&outline->text, "\n", 1);
	if (outline->places_n + lines > outline->places_size) {
		size_t size = 2 * outline->places_size + lines + 64;
		struct config_position *places = realloc(outline->places, size * sizeof(*places));

		if (places == NULL) {
			outline->failed = true;
			return;
		}
		outline->places = places;
		outline->places_size = size;
	}
	for (size_t i = 0; i < lines; i++)
		outline->places[outline->places_n++] = at;
}

/* A string may go on in the next line. */
static size_t lines_of(struct span raw)
{
	size_t lines = 1;

	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\n')
			lines++;
	}
	return lines;
}

void config_outline_open(struct config_outline *outline, const char *section, const char *name,
                         struct config_position at)
{
	if (name != NULL)
		config_text_add(&outline->text, "%s \"%s\" {", section, name);
	else
		config_text_add(&outline->text, "%s {", section);
	end_line(outline, at, 1);
}

void config_outline_close(struct config_outline *outline, struct config_position at)
{
	config_text_add(&outline->text, "}");
	end_line(outline, at, 1);
}

void config_outline_value(struct config_outline *outline, const char *key, struct span raw,
                          struct config_position at)
{
	config_text_add(&outline->text, "%s = ", key);
	config_text_bytes(&outline->text, raw.p, raw.n);
	end_line(outline, at, lines_of(raw));
}

void config_outline_list(struct config_outline *outline, const char *key, bool append,
                         struct config_position at)
{
	config_text_add(&outline->text, "%s %s {", key, append ? "+=" : "=");
	end_line(outline, at, 1);
}

void config_outline_element(struct config_outline *outline, struct span raw, bool first,
                            struct config_position at)
{
	config_text_add(&outline->text, first ? " " : ",");
	config_text_bytes(&outline->text, raw.p, raw.n);
	end_line(outline, at, lines_of(raw));
}

void config_outline_list_end(struct config_outline *outline, struct config_position at)
{
	config_text_add(&outline->text, "}");
	end_line(outline, at, 1);
}

struct config_position config_outline_place(const struct config_outline *outline, int line)
{
	if (line < 1 || (size_t)line > outline->places_n)
		return (struct config_position){ 0, 0 };
	return outline->places[line - 1];
}

void config_outline_fini(struct config_outline *outline)
{
	config_text_fini(&outline->text);
	free(outline->places);
	*outline = (struct config_outline){ 0 };
}

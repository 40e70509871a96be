// SPDX-License-Identifier: ISC
/*
 * Collecting what is wrong with a configuration, and giving it out as lines.
 * What is wrong is decided elsewhere.
 */
#include "sallyport/config_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/config_text.h"

/* For the moment when there is no memory even to say so; never freed. */
static char out_of_memory[] = "out of memory while the configuration was read";
static char *out_of_memory_lines[] = { out_of_memory };

static void complaints_fini(struct config_complaints *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i].text);
	free(list->v);
	*list = (struct config_complaints){ 0 };
}

void config_report_fini(struct config_report *report)
{
	for (size_t i = 0; i < report->files_n; i++)
		free(report->files[i]);
	free(report->files);
	complaints_fini(&report->errors);
	complaints_fini(&report->warnings);
	*report = (struct config_report){ 0 };
}

int config_report_add_file(struct config_report *report, const char *name)
{
	char **files = realloc(report->files, (report->files_n + 1) * sizeof(*files));
	char *copy;

	if (files == NULL) {
		report->no_memory = true;
		return -1;
	}
	report->files = files;
	copy = config_copy(name);
	if (copy == NULL) {
		report->no_memory = true;
		return -1;
	}
	files[report->files_n] = copy;
	return (int)report->files_n++;
}

SP_PRINTF(5, 0)
static void complain(struct config_report *report, struct config_complaints *list,
                     struct config_position at, const char *key, const char *format, va_list ap)
{
	struct config_text text = { 0 };

	if (list->n == CONFIG_COMPLAINTS_MAX) {
		list->dropped++;
		return;
	}
	if (list->n == list->size) {
		size_t size = list->size > 0 ? 2 * list->size : 8;
		struct config_complaint *v = realloc(list->v, size * sizeof(*v));

		if (v == NULL) {
			report->no_memory = true;
			return;
		}
		list->v = v;
		list->size = size;
	}
	if (key != NULL)
		config_text_add(&text, "%s: ", key);
	config_text_vadd(&text, format, ap);
	list->v[list->n].at = at;
	list->v[list->n].order = (unsigned)list->n;
	list->v[list->n].text = config_text_take(&text);
	if (list->v[list->n].text == NULL)
		report->no_memory = true;
	else
		list->n++;
}

void config_error(struct config_report *report, struct config_position at, const char *key,
                  const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(report, &report->errors, at, key, format, ap);
	va_end(ap);
}

void config_warning(struct config_report *report, struct config_position at, const char *key,
                    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(report, &report->warnings, at, key, format, ap);
	va_end(ap);
}

bool config_report_is_clean(const struct config_report *report)
{
	return report->errors.n == 0 && !report->no_memory;
}

struct config_place config_place(const struct config_report *report, struct config_position at,
                                 struct config_position from)
{
	struct config_place place;

	if (at.file == from.file || at.file >= report->files_n)
		snprintf(place.text, sizeof(place.text), "line %u", at.line);
	else
		snprintf(place.text, sizeof(place.text), "%s:%u", report->files[at.file], at.line);
	return place;
}

struct config_quoted config_quote(const char *value)
{
	static const char digits[] = "0123456789abcdef";
	struct config_quoted q;
	size_t n = 0;

	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if (n + sizeof("\\xNN...") > sizeof(q.text)) {
			memcpy(q.text + n, "...", 3);
			n += 3;
			break;
		}
		if (c >= 0x20 && c != 0x7f) {
			q.text[n++] = *value;
			continue;
		}
		q.text[n++] = '\\';
		q.text[n++] = 'x';
		q.text[n++] = digits[c >> 4];
		q.text[n++] = digits[c & 15];
	}
	q.text[n] = '\0';
	return q;
}

/* By file, then line; what is about a whole file comes behind its lines. */
static int compare_complaints(const void *left, const void *right)
{
	const struct config_complaint *a = left;
	const struct config_complaint *b = right;
	unsigned a_line = a->at.line - 1; /* 0 becomes the largest */
	unsigned b_line = b->at.line - 1;

	if (a->at.file != b->at.file)
		return a->at.file < b->at.file ? -1 : 1;
	if (a_line != b_line)
		return a_line < b_line ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static char *complaint_line(const struct config_report *report, const struct config_complaint *c)
{
	const char *file = c->at.file < report->files_n ? report->files[c->at.file] : "?";
	struct config_text line = { 0 };

	if (c->at.line > 0)
		config_text_add(&line, "%s:%u: %s", file, c->at.line, c->text);
	else
		config_text_add(&line, "%s: %s", file, c->text);
	return config_text_take(&line);
}

/* False: no memory; *out holds as many as there was memory for. */
static bool give(const struct config_report *report, struct config_complaints *list,
                 struct config_errors *out)
{
	size_t n = list->n + (list->dropped > 0 ? 1 : 0);
	struct config_text more = { 0 };

	*out = (struct config_errors){ 0 };
	if (n == 0)
		return true;
	qsort(list->v, list->n, sizeof(*list->v), compare_complaints);
	out->lines = calloc(n, sizeof(*out->lines));
	if (out->lines == NULL)
		return false;
	for (size_t i = 0; i < list->n; i++) {
		out->lines[out->n] = complaint_line(report, &list->v[i]);
		if (out->lines[out->n] == NULL)
			return false;
		out->n++;
	}
	if (list->dropped == 0)
		return true;
	config_text_add(&more, "%s: %zu more are not shown", report->files[0], list->dropped);
	out->lines[out->n] = config_text_take(&more);
	if (out->lines[out->n] == NULL)
		return false;
	out->n++;
	return true;
}

void config_report_give(struct config_report *report, struct config_errors *errors,
                        struct config_errors *warnings)
{
	if (warnings != NULL && !give(report, &report->warnings, warnings))
		report->no_memory = true;
	if (errors == NULL)
		return;
	if (!give(report, &report->errors, errors))
		report->no_memory = true;
	if (!report->no_memory || errors->n > 0)
		return;
	config_errors_fini(errors);
	errors->lines = out_of_memory_lines;
	errors->n = 1;
}

void config_errors_fini(struct config_errors *errors)
{
	if (errors->lines != out_of_memory_lines) {
		for (size_t i = 0; i < errors->n; i++)
			free(errors->lines[i]);
		free(errors->lines);
	}
	*errors = (struct config_errors){ 0 };
}

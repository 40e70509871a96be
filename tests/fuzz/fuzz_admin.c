// SPDX-License-Identifier: ISC
/*
 * The admin socket's command line, and what is said about it. A line is either
 * taken, and then the same request written out in full is taken as the same, or
 * refused with a reason that is one line of printable ASCII and fits; with NUL,
 * other control characters or bytes beyond ASCII it is always refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/admin_commands.h"
#include "sallyport/json_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool printable(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((p[i] < ' ' || p[i] > '~') && p[i] != '\t')
			return false;
	}
	return true;
}

/* The request's argument with a blank before it, or nothing. */
static void write_argument(const struct admin_request *request, char *out, size_t size)
{
	char id[SESSION_ID_TEXT_MAX];
	int n = 0;

	switch (admin_command_row(request->verb)->argument) {
	case ADMIN_ARGUMENT_NONE:
		break;
	case ADMIN_ARGUMENT_NOW:
		n = snprintf(out, size, "%s", request->now ? " --now" : "");
		break;
	case ADMIN_ARGUMENT_ID:
		session_id_format(request->id, id);
		n = snprintf(out, size, " %s", id);
		break;
	case ADMIN_ARGUMENT_SERVER:
		n = snprintf(out, size, " %s/%s", request->pool, request->server);
		break;
	}
	SP_ASSERT(n >= 0 && (size_t)n < size);
}

static void check_again(const struct admin_request *request)
{
	const struct admin_command_row *row = admin_command_row(request->verb);
	char argument[2 * NAME_MAX_LEN + 2] = "";
	char line[ADMIN_LINE_MAX];
	char error[ADMIN_ERROR_MAX];
	struct admin_request again;
	int n;

	write_argument(request, argument, sizeof(argument));
	n = snprintf(line, sizeof(line), "%s%s%s", row->words, argument,
	             request->json ? " json" : "");
	SP_ASSERT(n > 0 && (size_t)n < sizeof(line));
	SP_ASSERT(admin_request_parse(span_of(line), &again, error));
	SP_ASSERT(again.verb == request->verb && again.json == request->json &&
	          again.now == request->now && session_id_eq(again.id, request->id) &&
	          strcmp(again.pool, request->pool) == 0 &&
	          strcmp(again.server, request->server) == 0);
}

/* The refusal as the client gets it: one line, then the end. */
static void check_refusal(const char *error)
{
	struct evbuffer *out = evbuffer_new();
	size_t length;

	SP_ASSERT(out != NULL);
	SP_ASSERT(strlen(error) > 0 && strlen(error) < ADMIN_ERROR_MAX &&
	          printable(error, strlen(error)));
	report_error(out, false, error);
	char *line = evbuffer_readln(out, &length, EVBUFFER_EOL_LF);
	SP_ASSERT(line != NULL && strncmp(line, "error: ", 7) == 0);
	SP_ASSERT(evbuffer_get_length(out) == 2);
	free(line);
	evbuffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span line = span_from((const char *)data, size);
	struct admin_request request;
	char error[ADMIN_ERROR_MAX];

	memset(error, 0, sizeof(error));
	if (admin_request_parse(line, &request, error)) {
		SP_ASSERT(size <= ADMIN_LINE_MAX && printable(line.p, line.n));
		SP_ASSERT(request.verb < ADMIN_VERB_COUNT);
		SP_ASSERT((request.id.v != 0) == (request.verb == ADMIN_KICK));
		SP_ASSERT((request.server[0] != '\0') ==
		          (admin_command_row(request.verb)->argument == ADMIN_ARGUMENT_SERVER));
		check_again(&request);
	} else {
		check_refusal(error);
	}
	return 0;
}

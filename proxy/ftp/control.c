// SPDX-License-Identifier: ISC
/*
 * The outgoing half of a control channel: collect, write, keep the rest.
 */
#include "sallyport/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 512u

void control_init(struct control *c)
{
	memset(c, 0, sizeof(*c));
	stream_init(&c->stream);
}

/* A password may be among what was said. */
static void drop_buffer(struct control *c)
{
	if (c->out != NULL)
		explicit_bzero(c->out, c->out_n);
	free(c->out);
	c->out = NULL;
	c->out_n = 0;
	c->out_at = 0;
	c->out_cap = 0;
}

void control_fini(struct control *c)
{
	SP_ASSERT(!stream_is_open(&c->stream));
	drop_buffer(c);
}

bool control_send(struct control *c, struct span bytes)
{
	size_t need = c->out_n + bytes.n;

	if (bytes.n == 0)
		return true;
	if (need > UINT32_MAX / 2)
		return false;
	if (need > c->out_cap) {
		size_t cap = sp_grow_secret(&c->out, c->out_n,
		                            c->out_cap > 0 ? c->out_cap : FIRST_CAP, need);

		if (cap == 0)
			return false;
		c->out_cap = (uint32_t)cap;
	}
	memcpy(c->out + c->out_n, bytes.p, bytes.n);
	c->out_n = (uint32_t)need;
	return true;
}

typedef ssize_t write_fn(struct stream *s, const void *from, size_t n);

static int flush_by(struct control *c, write_fn *write_out)
{
	if (c->broken != 0)
		return c->broken;
	while (c->out_at < c->out_n) {
		ssize_t n = write_out(&c->stream, c->out + c->out_at, c->out_n - c->out_at);

		if (n < 0 && n != -EAGAIN)
			c->broken = (int)n;
		if (n < 0)
			return (int)n;
		c->out_at += (uint32_t)n;
	}
	if (c->out != NULL)
		drop_buffer(c);
	return 0;
}

int control_flush(struct control *c)
{
	return flush_by(c, stream_write);
}

int control_flush_last(struct control *c)
{
	return flush_by(c, stream_write_more);
}

struct span control_pending(const struct control *c)
{
	if (c->out == NULL)
		return span_from("", 0);
	return span_from(c->out + c->out_at, c->out_n - c->out_at);
}

// SPDX-License-Identifier: ISC
/*
 * Proxy reader: looks at what has come before it takes it. What the parser
 * finds too short to be a header all belongs to the header and is taken (left
 * in the socket it would be reported for ever); of what is longer than the
 * header only the header is.
 */
#include "sallyport/proxy_reader.h"

#include <errno.h>
#include <stdlib.h>

void proxy_reader_fini(struct proxy_reader *reader)
{
	free(reader->bytes);
	*reader = (struct proxy_reader){ NULL, 0 };
}

/* Takes `n` bytes that are known to be there. */
static int take(struct proxy_reader *reader, struct stream *stream, size_t n)
{
	ssize_t got = stream_read(stream, reader->bytes + reader->n, n);

	if (got < 0)
		return (int)got;
	reader->n += (size_t)got;
	return (size_t)got == n ? 0 : -ENODATA;
}

int proxy_reader_take(struct proxy_reader *reader, struct stream *stream, struct proxy_protocol_header *out)
{
	size_t length;
	ssize_t seen;
	int rc;

	if (reader->bytes == NULL)
		reader->bytes = malloc(PROXY_PROTOCOL_MAX);
	if (reader->bytes == NULL)
		return -ENOMEM;
	for (;;) {
		/* There is room: the parser wants no more than PROXY_PROTOCOL_MAX bytes. */
		seen = stream_peek(stream, reader->bytes + reader->n, PROXY_PROTOCOL_MAX - reader->n);
		if (seen <= 0)
			return seen == 0 ? -ENODATA : (int)seen;
		switch (proxy_protocol_parse(span_from(reader->bytes, reader->n + (size_t)seen), &length, out)) {
		case PROXY_PROTOCOL_OK:
			return take(reader, stream, length - reader->n);
		case PROXY_PROTOCOL_BAD:
			return -EPROTO;
		case PROXY_PROTOCOL_MORE:
			break;
		}
		rc = take(reader, stream, (size_t)seen);
		if (rc != 0)
			return rc;
	}
}

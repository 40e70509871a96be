// SPDX-License-Identifier: ISC
/*
 * The ClientHello of a connection that is nobody's: whoever feeds it as much as
 * it asks for gets what the whole gives, and cutting it anywhere makes it ask
 * for more or say the same. A tag is said by a ticket of our key alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/tls_hello.h"

#define CUTS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whose the tickets of the corpus are. */
static const struct tls_tag tag = { 0x1122334455667788, 42 };

static struct tls_hello_reader *make_reader(void)
{
	struct ticket_ring *ring = ticket_ring_new(tag.instance);
	struct ticket_keys keys = { .n = 1 };

	memset(&keys.keys[0], 3, sizeof(keys.keys[0]));
	memcpy(keys.keys[0].name, "our ticket's key", sizeof(keys.keys[0].name));
	SP_ASSERT(ring != NULL);
	ticket_ring_set(ring, &keys);
	return tls_hello_reader_new(ring);
}

/* A copy of exactly these bytes, so that the sanitizer sees a read beyond. */
static int read_exactly(const struct tls_hello_reader *reader, const uint8_t *data, size_t n, struct port_name *out)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);
	int result;

	SP_ASSERT(copy != NULL);
	if (n > 0)
		memcpy(copy, data, n);
	memset(out, 0, sizeof(*out));
	result = tls_hello_read(reader, copy, n, out);
	free(copy);
	SP_ASSERT(result == 0 || result == -EPROTO || result == -ENOMEM ||
		  (result > (int)n && result <= TLS_HELLO_MAX));
	if (out->kind == PORT_NAME_TAG)
		SP_ASSERT(out->high == tag.instance && out->low == tag.session);
	return result;
}

static bool is_same(int a, const struct port_name *x, int b, const struct port_name *y)
{
	return a == b && (a != 0 || memcmp(x, y, sizeof(*x)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tls_hello_reader *reader;
	struct port_name whole_name;
	struct port_name name;
	size_t have = 0;
	int whole;
	int result;

	if (reader == NULL)
		reader = make_reader();
	SP_ASSERT(reader != NULL);
	if (size > TLS_HELLO_MAX)
		size = TLS_HELLO_MAX;
	whole = read_exactly(reader, data, size, &whole_name);
	while ((result = read_exactly(reader, data, have, &name)) > 0 && (size_t)result <= size)
		have = (size_t)result;
	/* Of the header of a record that it asks for as a whole, the first byte may have said already that it is none. */
	SP_ASSERT(is_same(result, &name, whole, &whole_name) || (result > (int)size && whole == -EPROTO));
	for (size_t n = 0; n < size; n += 1 + size / CUTS) {
		result = read_exactly(reader, data, n, &name);
		SP_ASSERT(result > 0 || is_same(result, &name, whole, &whole_name));
	}
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * Addresses in FTP's notations: what is read is written and read as the same,
 * and what is refused leaves the result alone.
 */
#include <string.h>

#include "sallyport/ftp_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const struct netaddr *a)
{
	char text[FTP_ADDRESS_TEXT_MAX];
	struct netaddr b;
	size_t n;

	SP_ASSERT(a->family == AF_INET || a->family == AF_INET6);
	n = ftp_address_write_eprt(text, a);
	SP_ASSERT(n > 0 && strlen(text) == n);
	SP_ASSERT(ftp_address_parse_eprt(span_from(text, n), &b) == EPRT_OK);
	SP_ASSERT(memcmp(a, &b, sizeof(b)) == 0);

	n = ftp_address_write_port(text, a);
	SP_ASSERT(strlen(text) == n && (n > 0) == (a->family == AF_INET));
	if (n == 0)
		return;
	SP_ASSERT(a->in.sin_port != 0);
	SP_ASSERT(ftp_address_parse_port(span_from(text, n), &b));
	SP_ASSERT(memcmp(a, &b, sizeof(b)) == 0);
	SP_ASSERT(ftp_address_parse_227(span_from(text, n), &b));
	SP_ASSERT(memcmp(a, &b, sizeof(b)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_from((const char *)data, size);
	struct netaddr none, a, b;
	uint16_t port = 0;

	memset(&none, 0xa5, sizeof(none));
	a = none;
	if (ftp_address_parse_227(text, &a)) {
		SP_ASSERT(a.family == AF_INET);
		check_address(&a);
	} else {
		SP_ASSERT(memcmp(&a, &none, sizeof(a)) == 0);
	}

	b = none;
	if (ftp_address_parse_port(text, &b)) {
		check_address(&b);
		/* the generous reading sees what the exact one sees */
		SP_ASSERT(memcmp(&a, &b, sizeof(a)) == 0);
	} else {
		SP_ASSERT(memcmp(&b, &none, sizeof(b)) == 0);
	}

	b = none;
	if (ftp_address_parse_eprt(text, &b) == EPRT_OK)
		check_address(&b);
	else
		SP_ASSERT(memcmp(&b, &none, sizeof(b)) == 0);

	SP_ASSERT(ftp_address_parse_229(text, &port) == (port != 0));
	return 0;
}

// SPDX-License-Identifier: ISC
/*
 * Addresses as FTP writes them: PORT and 227 (RFC 959; read as RFC 1123
 * section 4.1.2.6 says), EPRT and 229 (RFC 2428). Pure; any thread.
 *
 * What a server says is read generously, what a client says exactly: it knows
 * the grammar, and a refusal reaches it. Whether an address may be used is not
 * asked here. On false and on any result but EPRT_OK nothing is written.
 */
#ifndef SALLYPORT_FTP_ADDRESS_H
#define SALLYPORT_FTP_ADDRESS_H

#include "sallyport/netaddr.h"

/*
 * The address in the text of a 227: the first run of exactly six decimal
 * numbers parted by commas (spaces around these allowed), with or without
 * parentheses, "=", "::ffff:" or other text around; not right behind '.' or
 * '-', nor right before a letter, a digit or a fraction. False when there is
 * none, one of the six is over 255, or the port is 0. Leading zeros mean nothing.
 */
SP_MUSTCHECK bool ftp_address_parse_227(struct span text, struct netaddr *out);

/*
 * The port in the text of a 229: the first "(<d><d><d>port<d>)" in it, any
 * delimiter of 33..126. Port 1..65535, at most five digits.
 */
SP_MUSTCHECK bool ftp_address_parse_229(struct span text, uint16_t *port);

/* PORT's argument: exactly six numbers 0..255 of at most three digits, no spaces; port not 0. */
SP_MUSTCHECK bool ftp_address_parse_port(struct span argument, struct netaddr *out);

enum eprt_result {
	EPRT_OK,
	EPRT_SYNTAX, /* 501 */
	EPRT_FAMILY, /* 522: the protocol is a number, but not 1 or 2; the rest was not looked at */
};

/*
 * EPRT's argument "<d>1|2<d>address<d>port<d>". Addresses are numeric, without
 * a scope; names are EPRT_SYNTAX. An IPv4-mapped IPv6 address stays one.
 */
SP_MUSTCHECK enum eprt_result ftp_address_parse_eprt(struct span argument, struct netaddr *out);

/* Longest text any of the writers makes, with the NUL. */
#define FTP_ADDRESS_TEXT_MAX 96

/* "192,0,2,1,195,80" of an IPv4 address; 0 when it is not one. Returns the length. */
size_t ftp_address_write_port(char to[FTP_ADDRESS_TEXT_MAX], const struct netaddr *a);
/* "|1|192.0.2.1|50000|", "|2|2001:db8::1|50000|"; 0 of no address. Returns the length. */
size_t ftp_address_write_eprt(char to[FTP_ADDRESS_TEXT_MAX], const struct netaddr *a);

#endif

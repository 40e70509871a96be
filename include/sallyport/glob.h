// SPDX-License-Identifier: ISC
/*
 * Patterns for names: "acme-*", "user?", "[a-m]*", "[!0-9]*", "\*". They match
 * bytes, all of the text, and know no separators. Pure; any thread.
 */
#ifndef SALLYPORT_GLOB_H
#define SALLYPORT_GLOB_H

#include "sallyport/base.h"
#include "sallyport/span.h"

/*
 * `*` any bytes, also none; `?` one byte; `[a-z_]` one of a set, `[!a-z]` one
 * that is not in it ("]" counts as a member where it stands first, "-" where it
 * stands first or last); a backslash takes the special meaning from the byte
 * behind it, in sets too. What is not a pattern (see glob_is_valid) matches
 * itself: an open "[" is a "[".
 * The time of a valid pattern is at most proportional to the product of the lengths.
 */
bool glob_match(struct span pattern, struct span text);

/* The same; ASCII letters match without case, in sets too. For host names. */
bool glob_match_nocase(struct span pattern, struct span text);

/*
 * False when the pattern is surely not meant so: empty, a set without its end,
 * a range from high to low, a backslash at the end.
 */
bool glob_is_valid(struct span pattern);

#endif

// SPDX-License-Identifier: ISC
/*
 * SRV records: the message is read byte by byte, each read against its end; a
 * pointer of a compressed name leads only backwards, so that no name is endless.
 */
#include "sallyport/services.h"

#include <string.h>

#define TYPE_SRV   33
#define CLASS_IN   1
#define HEADER_LEN 12
#define LABEL_MAX  63
#define POINTER	   0xc0

struct reader {
	struct span message;
	size_t at;
};

static bool has(const struct reader *r, size_t n)
{
	return n <= r->message.n - r->at;
}

static unsigned byte_at(const struct reader *r, size_t at)
{
	return (unsigned char)r->message.p[at];
}

static bool read_16(struct reader *r, uint16_t *out)
{
	if (!has(r, 2))
		return false;
	*out = (uint16_t)(byte_at(r, r->at) << 8 | byte_at(r, r->at + 1));
	r->at += 2;
	return true;
}

static bool read_32(struct reader *r, uint32_t *out)
{
	uint16_t high, low;

	if (!read_16(r, &high) || !read_16(r, &low))
		return false;
	*out = (uint32_t)high << 16 | low;
	return true;
}

/* A name as text; "" for the root. `usable`: a host can have it. */
struct name {
	char text[SERVICE_HOST_MAX];
	size_t n;
	bool usable;
};

static bool is_of_host(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_number(struct span label)
{
	for (size_t i = 0; i < label.n; i++) {
		if (label.p[i] < '0' || label.p[i] > '9')
			return false;
	}
	return true;
}

static bool add_label(struct name *name, struct span label)
{
	if (name->n + (name->n > 0) + label.n >= sizeof(name->text))
		return false;
	if (name->n > 0)
		name->text[name->n++] = '.';
	for (size_t i = 0; i < label.n; i++) {
		name->usable = name->usable && is_of_host(label.p[i]);
		name->text[name->n++] = label.p[i];
	}
	name->text[name->n] = '\0';
	return true;
}

/* The name at r->at, which is put behind it. */
static bool read_name(struct reader *r, struct name *name)
{
	struct reader here = *r;
	size_t before = r->at; /* where a pointer may lead: before all that was read */
	bool jumped = false;
	bool numeric = false;

	*name = (struct name){ .usable = true };
	for (;;) {
		unsigned length;

		if (!has(&here, 1))
			return false;
		length = byte_at(&here, here.at);
		if (length >= POINTER) {
			uint16_t to;

			if (!read_16(&here, &to) || (to & 0x3fff) >= before)
				return false;
			if (!jumped)
				r->at = here.at;
			jumped = true;
			here.at = before = to & 0x3fff;
			continue;
		}
		here.at++;
		if (length > LABEL_MAX || !has(&here, length))
			return false;
		if (length == 0)
			break;
		struct span label = span_from(here.message.p + here.at, length);

		if (!add_label(name, label))
			return false;
		numeric = is_number(label);
		here.at += length;
	}
	if (!jumped)
		r->at = here.at;
	name->usable = name->usable && name->n > 0 && !numeric;
	return true;
}

static bool comes_before(const struct service_target *a, const struct service_target *b)
{
	return a->priority != b->priority ? a->priority < b->priority : a->weight > b->weight;
}

static void add_target(struct service_answer *answer, const struct service_target *target)
{
	size_t at = answer->n;

	while (at > 0 && comes_before(target, &answer->targets[at - 1]))
		at--;
	if (answer->n == SERVICE_TARGETS_MAX) {
		answer->more++;
		if (at == SERVICE_TARGETS_MAX)
			return;
		answer->n--;
	}
	memmove(&answer->targets[at + 1], &answer->targets[at], (answer->n - at) * sizeof(*target));
	answer->targets[at] = *target;
	answer->n++;
}

/* The data of an SRV record, which must be all of `end`. */
static bool read_target(struct reader *r, size_t end, struct service_answer *answer, bool *named)
{
	struct service_target target = { 0 };
	struct name name;

	if (!read_16(r, &target.priority) || !read_16(r, &target.weight) || !read_16(r, &target.port) ||
	    !read_name(r, &name) || r->at != end)
		return false;
	if (name.n == 0) {
		answer->not_offered = true;
		return true;
	}
	*named = true;
	if (!name.usable || target.port == 0)
		return true;
	memcpy(target.host, name.text, name.n + 1);
	add_target(answer, &target);
	return true;
}

static bool read_record(struct reader *r, struct service_answer *answer, bool *named)
{
	uint16_t type, class, length;
	struct name owner;
	uint32_t ttl_s;

	if (!read_name(r, &owner) || !read_16(r, &type) || !read_16(r, &class) || !read_32(r, &ttl_s) ||
	    !read_16(r, &length) || !has(r, length))
		return false;

	size_t end = r->at + length;

	/* A TTL with its highest bit set counts as zero (RFC 2181 section 8). */
	ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s;
	answer->ttl_s = ttl_s < answer->ttl_s ? ttl_s : answer->ttl_s;
	if (type == TYPE_SRV && class == CLASS_IN && !read_target(r, end, answer, named))
		return false;
	r->at = end;
	return true;
}

bool service_answer_parse(struct span message, struct service_answer *out)
{
	struct reader r = { .message = message };
	struct service_answer answer = { .ttl_s = INT32_MAX };
	uint16_t ignored, questions, answers;
	bool named = false;

	if (!read_16(&r, &ignored) || !read_16(&r, &ignored) || !read_16(&r, &questions) || !read_16(&r, &answers) ||
	    !has(&r, HEADER_LEN - r.at) || answers == 0)
		return false;
	r.at = HEADER_LEN;
	for (unsigned i = 0; i < questions; i++) {
		struct name name;

		if (!read_name(&r, &name) || !read_16(&r, &ignored) || !read_16(&r, &ignored))
			return false;
	}
	for (unsigned i = 0; i < answers; i++) {
		if (!read_record(&r, &answer, &named))
			return false;
	}
	answer.not_offered = answer.not_offered && !named;
	*out = answer;
	return true;
}

/* --- shares ------------------------------------------------------------------------ */

static bool is_backup(const struct service_answer *answer, size_t i)
{
	return answer->targets[i].priority != answer->targets[0].priority;
}

/* Weight 0 is the smallest share, not none (RFC 2782). */
static uint32_t share_of(const struct service_answer *answer, size_t target)
{
	uint32_t weight = answer->targets[target].weight;
	uint32_t heaviest = 0;

	for (size_t i = 0; i < answer->n; i++) {
		if (is_backup(answer, i) == is_backup(answer, target) && answer->targets[i].weight > heaviest)
			heaviest = answer->targets[i].weight;
	}
	return heaviest == 0 ? SERVICE_WEIGHT_MAX : weight * SERVICE_WEIGHT_MAX / heaviest;
}

static struct named_address *find(struct named_address list[], size_t n, const struct netaddr *address)
{
	for (size_t i = 0; i < n; i++) {
		if (addresses_are_same(&list[i].address, address))
			return &list[i];
	}
	return NULL;
}

static uint32_t at_least_one(uint32_t weight)
{
	return weight > 0 ? weight : 1;
}

size_t services_spread(const struct service_answer *answer, const struct service_host hosts[],
		       struct named_address out[], size_t max)
{
	size_t n = 0;

	for (size_t nth = 0; nth < SERVICE_HOSTS_ADDRESSES_MAX; nth++) {
		for (size_t i = 0; i < answer->n; i++) {
			uint32_t weight;
			struct named_address *known;

			if (nth >= hosts[i].n)
				continue;
			weight = at_least_one(share_of(answer, i) / (uint32_t)hosts[i].n);
			known = find(out, n, &hosts[i].addresses[nth]);
			if (known != NULL && known->backup == is_backup(answer, i)) {
				known->weight += weight; /* two targets, one server */
			} else if (known != NULL) {
				if (known->backup)
					*known = (struct named_address){ known->address, weight, false };
			} else if (n < max) {
				out[n++] = (struct named_address){ hosts[i].addresses[nth], weight, is_backup(answer, i) };
			}
		}
	}
	return n;
}

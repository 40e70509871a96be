// SPDX-License-Identifier: ISC
/*
 * The relay over the four pairs plain/TLS x plain/TLS, both ways: sockets with
 * tiny buffers, and between relay and stream a shim that makes operations short
 * or has them say "would block" at random. What comes out is what went in, and
 * its end is an orderly one.
 */
#include "net_test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "sallyport/counters.h"
#include "sallyport/loop.h"
#include "sallyport/relay.h"
#include "sallyport/tls.h"

#define SMALL_BUFFER 4096
#define CHUNK	     30011 /* what a peer writes at once */

static const size_t sizes[] = { 0, 1, 16384, 16385, 131073, 700001, 2097152 };

/* --- chance ---------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned chance(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % n);
}

/* The byte at a place of the file: no two stretches are alike. */
static unsigned char byte_at(size_t at)
{
	return (unsigned char)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

/* --- the shim: in front of the operations that a stream has ------------------------------- */

static const struct stream_ops *under_plain, *under_tls;
static unsigned long shim_short, shim_blocked;

static const struct stream_ops *under(const struct stream *s)
{
	return stream_is_tls(s) ? under_tls : under_plain;
}

static size_t shorten(size_t n)
{
	if (chance(3) != 0)
		return n;
	shim_short++;
	return 1 + chance(n > 4096 ? 4096 : (unsigned)n);
}

static ssize_t shim_read(struct stream *s, void *to, size_t n)
{
	if (chance(4) == 0) {
		shim_blocked++;
		return -EAGAIN;
	}
	return under(s)->read(s, to, shorten(n));
}

static const struct stream *owing;
static size_t owed;

static ssize_t shim_write(struct stream *s, const void *from, size_t n)
{
	ssize_t put;

	if (chance(4) == 0) {
		shim_blocked++;
		return -EAGAIN;
	}
	/* What a TLS write could not finish must be offered again, no shorter. */
	if (s != owing) {
		n = shorten(n);
		owed = n;
	}
	put = under(s)->write(s, from, owed);
	owing = put == -EAGAIN ? s : NULL;
	return put;
}

static bool shim_pending(const struct stream *s)
{
	return under(s)->pending(s);
}

static int shim_finish(struct stream *s)
{
	return chance(2) == 0 ? -EAGAIN : under(s)->finish(s);
}

static void shim_free(struct stream *s)
{
	under(s)->free(s);
}

static const struct stream_ops shim_ops = { shim_read, shim_write, shim_pending, shim_finish, shim_free };

static void put_shim(struct stream *s)
{
	if (stream_is_tls(s))
		under_tls = s->ops;
	else
		under_plain = s->ops;
	s->ops = &shim_ops;
}

/* --- certificates --------------------------------------------------------------------------- */

static struct tls_context *for_clients, *for_servers;

static void write_identity(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	FILE *file = fopen(path, "w");

	ck_assert(key != NULL && certificate != NULL && file != NULL);
	ck_assert_int_eq(X509_set_version(certificate, 2), 1);
	ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1), 1);
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
	ck_assert_int_eq(X509_set_pubkey(certificate, key), 1);
	ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
	ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
	ck_assert_int_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void make_contexts(enum tls_version version)
{
	char path[] = "/tmp/check_relay_tls.XXXXXX";
	char error[TLS_ERROR_MAX];
	const struct tls_identity identity = { path, path, NULL };
	const struct tls_listener_settings clients = {
		.identities = &identity, .identities_n = 1, .min_version = version
	};
	const struct tls_server_settings servers = { .min_version = version };
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	write_identity(path);
	for_clients = tls_context_for_clients(&clients, error);
	ck_assert_msg(for_clients != NULL, "%s", error);
	for_servers = tls_context_for_servers(&servers, error);
	ck_assert_msg(for_servers != NULL, "%s", error);
	unlink(path);
}

/* --- a relay between two peers ---------------------------------------------------------------- */

struct peer {
	struct stream stream;
	size_t size; /* of the file */
	size_t at;
	bool wrong;
	bool ended;
	int error;
};

static struct loop loop;
static struct counters counters;
static struct relay relay;
static struct stream near_source, near_sink;
static struct peer far_source, far_sink;
static enum relay_state state;
static int secured, failed;

static void on_secured(void *owner SP_UNUSED, int result)
{
	secured++;
	failed += result != 0;
}

/* The end is passed on as the session does it: close_notify, then FIN. */
static void finish_sink(void)
{
	int rc = stream_finish(&near_sink, true);

	ck_assert_int_le(rc, 0);
	ck_assert(rc == 0 || rc == -EAGAIN);
	stream_watch(&near_sink, rc == -EAGAIN ? STREAM_WRITE : 0);
}

static void on_near(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
	if (state == RELAY_COMPLETE)
		finish_sink();
	if (!relay.running)
		return;
	state = relay_pump(&relay);
	if (state == RELAY_COMPLETE)
		finish_sink();
}

/* The peer that sends: as fast as its socket takes it, with a pause now and then. */
static void on_far_source(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
	struct peer *p = &far_source;
	unsigned char chunk[CHUNK];
	size_t n = p->size - p->at;
	ssize_t put;

	n = n > sizeof(chunk) ? sizeof(chunk) : n;
	for (size_t i = 0; i < n; i++)
		chunk[i] = byte_at(p->at + i);
	put = n > 0 ? stream_write(&p->stream, chunk, n) : 0;
	if (put > 0)
		p->at += (size_t)put;
	else if (put < 0 && put != -EAGAIN)
		p->error = (int)put;
	if (p->at < p->size || p->error != 0 || p->ended)
		return;
	p->ended = stream_finish(&p->stream, true) == 0;
	stream_watch(&p->stream, p->ended ? 0 : STREAM_WRITE);
}

static void on_far_sink(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
	struct peer *p = &far_sink;
	unsigned char chunk[7001];
	ssize_t got = stream_read(&p->stream, chunk, 1 + chance(sizeof(chunk)));

	if (got == -EAGAIN)
		return;
	for (ssize_t i = 0; i < got; i++)
		p->wrong |= chunk[i] != byte_at(p->at + (size_t)i);
	if (got > 0) {
		p->at += (size_t)got;
		return;
	}
	p->ended = true;
	p->error = (int)got;
	stream_watch(&p->stream, 0);
}

static void open_pair(struct stream *near, struct peer *far, stream_ready_fn *on_far)
{
	const int small = SMALL_BUFFER;
	int fds[2];

	/* Not TCP: its windows this small wait for timers. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	for (int i = 0; i < 2; i++) {
		set_nonblocking(fds[i]);
		ck_assert_int_eq(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
		ck_assert_int_eq(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	}
	memset(far, 0, sizeof(*far));
	stream_open(near, test_base, fds[0], &test_ledger, LEDGER_DATA_FD, test_id, SP_HERE, on_near, NULL);
	stream_open(&far->stream, test_base, fds[1], &test_ledger, LEDGER_DATA_FD, test_id, SP_HERE, on_far, NULL);
}

/* We are TLS server to a client and TLS client to a server, whichever of them sends. */
static void protect(struct stream *near, struct peer *far, bool is_client)
{
	struct stream *accepts = is_client ? near : &far->stream;
	struct stream *connects = is_client ? &far->stream : near;
	int before = secured;

	ck_assert_int_eq(tls_accept(accepts, for_clients, NULL, 1, TLS_FOR_UPLOAD, on_secured, NULL), 0);
	ck_assert_int_eq(tls_connect(connects, for_servers, "localhost", NULL, on_secured, NULL), 0);
	RUN_UNTIL(secured == before + 2);
	ck_assert_int_eq(failed, 0);
}

/* Bit 0: the client's side is under TLS; 1: the server's; 2: upload; 3: clear pairs by scratch, not by pipe. */
static void relay_one(unsigned how, size_t size)
{
	bool up = (how & 4) != 0;

	open_pair(&near_source, &far_source, on_far_source);
	open_pair(&near_sink, &far_sink, on_far_sink);
	if (how & (up ? 1u : 2u))
		protect(&near_source, &far_source, up);
	if (how & (up ? 2u : 1u))
		protect(&near_sink, &far_sink, !up);
	put_shim(&near_source);
	put_shim(&near_sink);
	far_source.size = size;
	state = RELAY_RUNNING;
	owing = NULL;
	relay_start(&relay, &loop, &near_source, &near_sink, &test_ledger, test_id);
	if (relay.spliced && (how & 8)) {
		pipe_pool_put(&loop.pipes, &relay.pipe, true, &test_ledger);
		relay.spliced = false;
	}
	stream_watch(&far_source.stream, STREAM_WRITE);
	stream_watch(&far_sink.stream, STREAM_READ);
	on_near(NULL, 0);
	RUN_UNTIL(far_sink.ended || state > RELAY_COMPLETE);
	ck_assert_int_eq(far_sink.error, 0);
	ck_assert_int_eq(state, RELAY_COMPLETE);
	ck_assert_uint_eq(far_sink.at, size);
	ck_assert(!far_sink.wrong);
	ck_assert_uint_eq(relay.moved, size);
	stream_close(&near_source);
	stream_close(&near_sink);
	stream_close(&far_source.stream);
	stream_close(&far_sink.stream);
}

static void relay_all(unsigned how)
{
	memset(&loop, 0, sizeof(loop));
	loop.base = test_base;
	loop.counters = &counters;
	loop.scratch = malloc(LOOP_SCRATCH_BYTES);
	ck_assert_ptr_nonnull(loop.scratch);
	pipe_pool_init(&loop.pipes, 1);
	pacer_init(&loop.pacer, loop.base, loop.counters);
	for (size_t i = 0; i < SP_ARRAY_LEN(sizes); i++) {
		random_state = 88172645463325252u + how * 1000 + i;
		loop.now_ms = sp_now_ms();
		relay_one(how, sizes[i]);
	}
	ck_assert(how == 0 || how == 4 || (shim_short > 0 && shim_blocked > 0));
	pacer_fini(&loop.pacer);
	pipe_pool_fini(&loop.pipes);
	free(loop.scratch);
	tls_context_free(&for_clients);
	tls_context_free(&for_servers);
}

START_TEST(bytes_survive_every_pair_under_tls_1_2)
{
	make_contexts(TLS_VERSION_1_2);
	relay_all((unsigned)_i);
}
END_TEST

START_TEST(bytes_survive_every_pair_under_tls_1_3)
{
	make_contexts(TLS_VERSION_1_3);
	relay_all((unsigned)_i);
}
END_TEST

/* A source that ends without close_notify is no end, unless it may be. */
START_TEST(a_torn_source_fails_the_relay)
{
	make_contexts(TLS_VERSION_1_3);
	loop.base = test_base;
	loop.counters = &counters;
	loop.scratch = malloc(LOOP_SCRATCH_BYTES);
	ck_assert_ptr_nonnull(loop.scratch);
	open_pair(&near_source, &far_source, on_far_source);
	open_pair(&near_sink, &far_sink, on_far_sink);
	protect(&near_source, &far_source, true);
	relay_start(&relay, &loop, &near_source, &near_sink, &test_ledger, test_id);
	state = relay_pump(&relay);
	ck_assert_int_eq(state, RELAY_RUNNING);
	ck_assert_int_eq(stream_write(&far_source.stream, "tail", 4), 4);
	ck_assert_int_eq(shutdown(far_source.stream.fd, SHUT_WR), 0);
	RUN_UNTIL(state != RELAY_RUNNING);
	ck_assert_int_eq(state, RELAY_SOURCE_FAILED);
	ck_assert_uint_eq(relay.moved, 4);
	stream_abort(&near_source);
	stream_abort(&near_sink);
	stream_abort(&far_source.stream);
	stream_abort(&far_sink.stream);
	free(loop.scratch);
	tls_context_free(&for_clients);
	tls_context_free(&for_servers);
}
END_TEST

/* A socket tells its error once, then an end. Bytes that were read with it must not hide it. */
START_TEST(a_reset_behind_bytes_is_no_end_even_where_ends_may_be_cut)
{
	make_contexts(TLS_VERSION_1_3);
	memset(&loop, 0, sizeof(loop));
	loop.base = test_base;
	loop.counters = &counters;
	loop.scratch = malloc(LOOP_SCRATCH_BYTES);
	ck_assert_ptr_nonnull(loop.scratch);
	open_pair(&near_source, &far_source, on_far_source);
	open_pair(&near_sink, &far_sink, on_far_sink);
	protect(&near_source, &far_source, false); /* a server may end without close_notify */
	relay_start(&relay, &loop, &near_source, &near_sink, &test_ledger, test_id);
	state = relay_pump(&relay);
	ck_assert_int_eq(state, RELAY_RUNNING);
	ck_assert_int_eq(stream_write(&far_source.stream, "tail", 4), 4);
	ck_assert_int_eq(stream_write(&near_source, "unread", 6), 6); /* closing over it is a reset */
	stream_abort(&far_source.stream);
	RUN_UNTIL(state != RELAY_RUNNING);
	ck_assert_int_eq(state, RELAY_SOURCE_FAILED);
	ck_assert_int_eq(relay.error, ECONNRESET);
	ck_assert_uint_eq(relay.moved, 4);
	stream_abort(&near_source);
	stream_abort(&near_sink);
	stream_abort(&far_sink.stream);
	free(loop.scratch);
	tls_context_free(&for_clients);
	tls_context_free(&for_servers);
}
END_TEST

static void ignore(void *owner SP_UNUSED, unsigned ready SP_UNUSED)
{
}

/* Records wait for room when the transfer is given up: their bytes may arrive, an orderly end may not. */
START_TEST(a_large_write_that_is_given_up_has_no_orderly_end)
{
	static char bytes[LOOP_SCRATCH_BYTES];
	char got[4096];
	ssize_t n = 1;

	make_contexts(TLS_VERSION_1_3);
	open_pair(&near_sink, &far_sink, ignore);
	protect(&near_sink, &far_sink, false); /* a server's end is strict about how its peer ends */
	while (n > 0)
		n = stream_write(&near_sink, bytes, sizeof(bytes));
	ck_assert_int_eq(n, -EAGAIN);
	ck_assert_int_lt(stream_finish(&near_sink, false), 0);
	stream_close(&near_sink);
	do {
		n = stream_read(&far_sink.stream, got, sizeof(got));
	} while (n > 0);
	ck_assert_int_eq(n, -ECONNABORTED);
	ck_assert(tls_was_cut(&far_sink.stream));
	stream_abort(&far_sink.stream);
	tls_context_free(&for_clients);
	tls_context_free(&for_servers);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_loop_test(tests, bytes_survive_every_pair_under_tls_1_2, 0, 8);
	tcase_add_loop_test(tests, bytes_survive_every_pair_under_tls_1_3, 0, 16);
	tcase_add_test(tests, a_torn_source_fails_the_relay);
	tcase_add_test(tests, a_reset_behind_bytes_is_no_end_even_where_ends_may_be_cut);
	tcase_add_test(tests, a_large_write_that_is_given_up_has_no_orderly_end);
}

int main(void)
{
	return net_test_run("relay under TLS", add);
}

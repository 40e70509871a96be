// SPDX-License-Identifier: ISC
/*
 * TLS in a configuration: what it means in words, what is wrong with it in exact
 * words, and that a change of any of its files is seen. Certificates and the
 * like are made for the occasion.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "config_test.h"
#include "sallyport/config_text.h"

static char folder[32];

static const char *in_folder(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static FILE *create(const char *name, mode_t mode)
{
	FILE *file = fopen(in_folder(name), "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fchmod(fileno(file), mode), 0);
	return file;
}

static void write_text(const char *name, const char *text, mode_t mode)
{
	FILE *file = create(name, mode);

	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void write_pair(const char *certificate_name, const char *key_name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	FILE *file;

	ck_assert_ptr_nonnull(key);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	ck_assert_int_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0), 1);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
	file = create(certificate_name, 0644);
	ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
	fclose(file);
	file = create(key_name, 0600);
	ck_assert_int_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void make_folder(void)
{
	char key[161];

	sp_copy(folder, sizeof(folder), "/tmp/check_tls.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	setenv("SALLYPORT_TEST_TLS", folder, 1);
	write_pair("cert.pem", "key.pem");
	write_pair("other.pem", "other.key");
	write_text("garbage.pem", "this is no PEM\n", 0600);
	write_text("logons", "CN=a a secret\nCN=b b \"two words\"\n", 0600);
	write_text("open.logons", "CN=a a secret\n", 0644);
	memset(key, '7', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	write_text("ticket.keys", key, 0600);
}

static void remove_folder(void)
{
	static const char *const names[] = { "cert.pem", "key.pem", "other.pem", "other.key", "garbage.pem",
					     "logons", "open.logons", "ticket.keys", "test.conf", "open.key" };

	for (size_t i = 0; i < SP_ARRAY_LEN(names); i++)
		(void)unlink(in_folder(names[i]));
	ck_assert_int_eq(rmdir(folder), 0);
}

/* --- in words -------------------------------------------------------------------------- */

/* The folder is shown as it stands in the file. */
static void add_line(void *ctx, const char *text)
{
	const char *at;

	while ((at = strstr(text, folder)) != NULL) {
		config_text_bytes(ctx, text, (size_t)(at - text));
		config_text_add(ctx, "${SALLYPORT_TEST_TLS}");
		text = at + strlen(folder);
	}
	config_text_add(ctx, "%s\n", text);
}

START_TEST(the_explanation_is_as_it_was_written_down)
{
	static const char *const names[] = { "everything", "simple" };
	struct config_errors errors;
	struct config_errors warnings;
	struct config_text got = { 0 };
	struct config *config;
	char path[64];
	char *wanted;

	go_to("tests/unit/config/tls");
	snprintf(path, sizeof(path), "%s.conf", names[_i]);
	config = config_load(path, &errors, &warnings);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_uint_eq(warnings.n, 0);
	config_explain(config, add_line, &got);
	snprintf(path, sizeof(path), "%s.txt", names[_i]);
	wanted = read_text(path);
	ck_assert_msg(strcmp(wanted, config_text_get(&got)) == 0, "%s: got:\n%.3000s", path, config_text_get(&got));
	free(wanted);
	config_text_fini(&got);
	config_unref(&config);
	config_errors_fini(&errors);
	config_errors_fini(&warnings);
}
END_TEST

/* --- mistakes --------------------------------------------------------------------------- */

#define TLS_ON "tls = explicit certificate = \"$/cert.pem\" private_key = \"$/key.pem\" "

// clang-format off
/* "$" is the folder. One mistake, one message; the line is the one that the key stands on. */
static const struct {
	const char *top;
	const char *listener;
	const char *server;
	const char *policy;
	const char *message; /* behind "test.conf:" */
} mistakes[] = {
	{ "", "tls = explicit", "", "",
	  "3: tls: needs a certificate: certificate = \"FILE\"\n3: tls: needs the certificate's key: private_key = \"FILE\"" },
	{ "", "certificate = \"$/cert.pem\"", "", "",
	  "3: certificate: has no effect while tls is none; tls is one of explicit, required, implicit" },
	{ "", "tls = required certificate = \"$/nowhere.pem\" private_key = \"$/key.pem\"", "", "",
	  "3: tls: cannot use certificate $/nowhere.pem: No such file or directory" },
	{ "", "tls = required certificate = \"$/cert.pem\" private_key = \"$/nowhere.key\"", "", "",
	  "3: tls: cannot use private key $/nowhere.key: No such file or directory" },
	{ "", "tls = required certificate = \"$/garbage.pem\" private_key = \"$/key.pem\"", "", "",
	  "3: tls: cannot use certificate $/garbage.pem: no start line" },
	{ "", "tls = required certificate = \"$/cert.pem\" private_key = \"$/other.key\"", "", "",
	  "3: tls: cannot use private key $/other.key: key values mismatch" },
	{ "", TLS_ON "client_certificates = required", "", "",
	  "3: client_certificates: needs client_ca = \"FILE\"" },
	{ "", TLS_ON "client_ca = \"$/cert.pem\"", "", "",
	  "3: client_ca: has no effect while client_certificates is none" },
	{ "", TLS_ON "tls_ciphers = \"NONSENSE\"", "", "",
	  "3: tls: tls_ciphers: no cipher of the list is known: NONSENSE: no cipher match" },
	{ "", TLS_ON "tls_groups = \"P-1\"", "", "",
	  "3: tls: tls_groups: not a list of groups: P-1: passed invalid argument" },
	{ "", "", "allow_plain = yes", "", "6: allow_plain: goes with tls = auto" },
	{ "", "", "tls_ca = \"$/cert.pem\"", "", "6: tls_ca: has no effect while tls is none" },
	{ "", "", "tls = explicit tls_certificate = \"$/cert.pem\"", "",
	  "6: tls_certificate: tls_certificate and tls_private_key go together" },
	{ "", "", "tls = explicit tls_fingerprint = \"00:11\"", "",
	  "6: tls: tls_fingerprint: not 64 hex digits (SHA-256): 00:11" },
	{ "ticket_keys = \"$/nowhere\"", "", "", "",
	  "1: ticket_keys: $/nowhere: No such file or directory" },
	{ "ticket_keys = \"$/garbage.pem\"", "", "", "",
	  "1: ticket_keys: $/garbage.pem: line 1: a key is 160 hex digits (openssl rand -hex 80)" },
	{ "ticket_rotation = 999ms", "", "", "", "1: ticket_rotation: \"999ms\" is out of range (1s to 7d)" },
	{ "user = \"no such user\"", "", "", "", "1: user: there is no user \"no such user\"" },
	{ "", "", "", "certificate_logons = \"$/open.logons\"",
	  "9: certificate_logons: $/open.logons: it holds secrets and must be of mode 0600, readable by its owner alone; its mode is 0644" },
	{ "", "", "", "certificate_logons = \"$/garbage.pem\"",
	  "9: certificate_logons: $/garbage.pem: there is no entry in it" },
};
// clang-format on

/* With the folder for "$". */
static char *filled(const char *text)
{
	struct config_text out = { 0 };
	char *copy;

	for (; *text != '\0'; text++) {
		if (*text == '$')
			config_text_add(&out, "%s", folder);
		else
			config_text_bytes(&out, text, 1);
	}
	copy = strdup(config_text_get(&out));
	config_text_fini(&out);
	return copy;
}

static void write_conf(const char *top, const char *listener, const char *server, const char *policy)
{
	char text[4096];
	char *full;

	snprintf(text, sizeof(text),
		 "%s\nlistener l { bind = \"127.0.0.1:2121\"\n%s\n}\npool p { server s { address = \"10.1.0.1\"\n%s\n} }\n"
		 "policy default {\n%s\n}\n", top, listener, server, policy);
	full = filled(text);
	write_text("test.conf", full, 0644);
	free(full);
}

START_TEST(each_mistake_gets_its_exact_words)
{
	struct config_errors errors;
	struct config_text got = { 0 };
	char *wanted = filled(mistakes[_i].message);
	struct config *config;

	write_text("garbage.pem", strstr(mistakes[_i].policy, "garbage") != NULL ? "# nothing\n" : "no PEM\n", 0600);
	write_conf(mistakes[_i].top, mistakes[_i].listener, mistakes[_i].server, mistakes[_i].policy);
	config = config_load(in_folder("test.conf"), &errors, NULL);
	ck_assert_ptr_null(config);
	for (size_t i = 0; i < errors.n; i++)
		config_text_add(&got, "%s%s", i > 0 ? "\n" : "",
				errors.lines[i] + strlen(in_folder("test.conf")) + 1);
	ck_assert_str_eq(config_text_get(&got), wanted);
	config_text_fini(&got);
	config_errors_fini(&errors);
	free(wanted);
}
END_TEST

START_TEST(what_is_allowed_and_probably_not_meant_is_warned_of)
{
	struct config_errors errors;
	struct config_errors warnings;
	struct config *config;

	write_pair("other.pem", "open.key");
	ck_assert_int_eq(chmod(in_folder("open.key"), 0644), 0);
	write_conf("", "tls = explicit certificate = \"$/other.pem\" private_key = \"$/open.key\"", "",
		   "certificate_logons = \"$/logons\"");
	config = config_load(in_folder("test.conf"), &errors, &warnings);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	ck_assert_uint_eq(warnings.n, 2);
	ck_assert_ptr_nonnull(strstr(warnings.lines[0], "open.key can be read by every user of this machine"));
	ck_assert_ptr_nonnull(strstr(warnings.lines[1], "no listener asks for client_certificates"));
	config_unref(&config);
	config_errors_fini(&errors);
	config_errors_fini(&warnings);
}
END_TEST

/* --- changes ------------------------------------------------------------------------------ */

START_TEST(a_change_of_any_of_its_files_is_seen)
{
	static const char *const names[] = { "cert.pem", "key.pem", "logons", "ticket.keys" };
	struct config_errors errors;
	struct config *config;

	go_to("tests/unit/config/tls");
	config = config_load("everything.conf", &errors, NULL);
	ck_assert_msg(config != NULL, "%s", errors.n > 0 ? errors.lines[0] : "?");
	for (size_t i = 0; i < SP_ARRAY_LEN(names); i++) {
		uint64_t before = config_tls_stamp(config);
		FILE *file;

		ck_assert(config_tls_stamp(config) == before);
		file = fopen(in_folder(names[i]), "a");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_ge(fputs("\n# and more\n", file), 0);
		fclose(file);
		ck_assert_msg(config_tls_stamp(config) != before, "%s", names[i]);
		before = config_tls_stamp(config);
		ck_assert_int_eq(unlink(in_folder(names[i])), 0);
		ck_assert_msg(config_tls_stamp(config) != before, "%s", names[i]);
	}
	config_unref(&config);
	config_errors_fini(&errors);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config_tls");
	TCase *tcase = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, make_folder, remove_folder);
	tcase_add_loop_test(tcase, the_explanation_is_as_it_was_written_down, 0, 2);
	tcase_add_loop_test(tcase, each_mistake_gets_its_exact_words, 0, (int)SP_ARRAY_LEN(mistakes));
	tcase_add_test(tcase, what_is_allowed_and_probably_not_meant_is_warned_of);
	tcase_add_test(tcase, a_change_of_any_of_its_files_is_seen);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

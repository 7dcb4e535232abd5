/* SPDX-License-Identifier: Apache-2.0 */
/* The URL that links in answers begin with. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gatewayd/gw.h"

static void
test_base(void **state)
{
	static const struct {
		const char *public_url;
		bool tls;
		const char *host, *proto, *forwarded;
		const char *url; /* NULL: none */
	} cases[] = {
		{ NULL, false, "api.example.com", NULL, NULL, "http://api.example.com" },
		{ NULL, true, "api.example.com", NULL, NULL, "https://api.example.com" },
		{ NULL, false, "127.0.0.1:8080", NULL, NULL, "http://127.0.0.1:8080" },
		{ NULL, true, "[2001:db8::1]:8443", NULL, NULL, "https://[2001:db8::1]:8443" },
		{ NULL, false, "[::1]", NULL, NULL, "http://[::1]" },
		{ NULL, false, "my_host-1", NULL, NULL, "http://my_host-1" },
		{ NULL, false, "inside:80", "https", "outside.example", "https://outside.example" },
		{ NULL, false, "inside", "HTTPS, http", "outside:444 , inside", "https://outside:444" },
		{ NULL, true, "inside", "http", NULL, "http://inside" },
		{ NULL, true, "inside", "gopher", "a b", "https://inside" },
		{ "https://api.example.com/", false, "evil", "http", "evil", "https://api.example.com" },
		{ "http://x/ai//", true, NULL, NULL, NULL, "http://x/ai" },
		{ NULL, false, NULL, NULL, NULL, NULL },
		{ NULL, false, "", NULL, NULL, NULL },
		{ NULL, false, "a/b", NULL, NULL, NULL },
		{ NULL, false, "a@b", NULL, NULL, NULL },
		{ NULL, false, "a\"b", NULL, NULL, NULL },
		{ NULL, false, "a,b", NULL, NULL, NULL },
		{ NULL, false, ":80", NULL, NULL, NULL },
		{ NULL, false, "a:", NULL, NULL, NULL },
		{ NULL, false, "a:0", NULL, NULL, NULL },
		{ NULL, false, "a:65536", NULL, NULL, NULL },
		{ NULL, false, "a:1:2", NULL, NULL, NULL },
		{ NULL, false, "[::1", NULL, NULL, NULL },
		{ NULL, false, "[]", NULL, NULL, NULL },
		{ NULL, false, "[::1]x", NULL, NULL, NULL },
		{ NULL, false, "[::g]", NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct gw_url_facts f = { .tls = cases[i].tls, .host = tf_cspan(cases[i].host),
			.forwarded_proto = tf_cspan(cases[i].proto), .forwarded_host = tf_cspan(cases[i].forwarded) };
		struct tf_buf out = { 0 };
		int rc = gw_url_base(cases[i].public_url, &f, &out);

		if (rc != (cases[i].url != NULL ? 0 : TF_E_NOENT))
			fail_msg("case %zu: %d", i, rc);
		if (cases[i].url != NULL && !tf_span_is(tf_buf_span(&out), cases[i].url))
			fail_msg("case %zu: %.*s", i, (int)out.n, out.p);
		tf_buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_base) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

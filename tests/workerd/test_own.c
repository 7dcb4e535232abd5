/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses that a runtime gives are its own: nothing else is ever fetched. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "workerd/wk.h"

static const char *
own(const char *base, const char *url)
{
	static char target[64];

	return wk_upstream_own(base, tf_cspan(url), target, sizeof target) == 0 ? target : "";
}

static void
test_own(void **state)
{
	static const char base[] = "http://127.0.0.1:8000/v1";

	(void)state;
	assert_string_equal(own(base, "http://127.0.0.1:8000/files/a.png?x=1#y"), "/files/a.png?x=1");
	assert_string_equal(own(base, "HTTP://127.0.0.1:8000/v1/a"), "/v1/a");
	assert_string_equal(own(base, "http://127.0.0.1:8000"), "/");
	assert_string_equal(own(base, "http://127.0.0.1:8000?a"), "/?a");
	assert_string_equal(own(base, "/a.png"), "/a.png");
	assert_string_equal(own("unix:/run/x", "/a.png"), "/a.png");
	assert_string_equal(own("http://[::1]:8000", "http://[::1]:8000/a"), "/a");
	assert_string_equal(own("http://[::1]", "http://[::1]:80/a"), "/a");
	assert_string_equal(own("https://Runtime.test/v1", "https://runtime.TEST:443/a"), "/a");
	assert_string_equal(own("http://r.test", "http://r.test:/a"), "/a");
}

static void
test_others(void **state)
{
	static const char base[] = "http://127.0.0.1:8000/v1";
	static const char *const urls[] = { "", "a.png", "//x.test/a", "/\\x.test/a", "http://127.0.0.1/a",
		"http://127.0.0.1:80000/a", "http://127.0.0.1:8001/a", "https://127.0.0.1:8000/a", "http://127.0.0.2:8000/a",
		"http://127.0.0.1.x.test:8000/a", "http://127.0.0.1:8000@x.test/a", "http://x@127.0.0.1:8000/a",
		"http://127.0.0.1:8000\\@x.test/a", "http:///a", "http://", "http://:8000/a", "http://x.test:8000/127.0.0.1",
		"file:///etc/passwd", "unix:/run/x", "ftp://127.0.0.1:8000/a", "http://127.0.0.1:8000/a b",
		"http://127.0.0.1:8000/a\r\nx: y", "http://127.0.0.1:8000/\xc3\xa4", "http://[::1]:8000/a",
		"http://127.0.0.1:8000x/a", "http://127.0.0.1:-8000/a" };

	(void)state;
	for (size_t i = 0; i < TF_LEN(urls); i++)
		if (own(base, urls[i])[0] != '\0')
			fail_msg("%s is taken for the runtime's own", urls[i]);
	assert_string_equal(own("unix:/run/x", "unix:/run/x"), "");
	assert_string_equal(own("http://[::1]:8000", "http://[::2]:8000/a"), "");
	assert_string_equal(own("http://[::1]:8000", "http://[::1]/a"), "");
	/* longer than there is room for */
	assert_string_equal(own(base, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

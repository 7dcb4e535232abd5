/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of clients on their way to errors and logs: nothing that looks like a key is left in them, all else is as
 * it was, and whatever is checked as a key is decided without looking beyond its end.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

static bool
is_key_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static void
check_hidden(const char *before, const char *after)
{
	size_t n = strlen(before), run = 0;

	CHECK(strlen(after) == n);
	for (size_t i = 0; i < n; i++) {
		CHECK(after[i] == before[i] || (after[i] == '*' && is_key_char(before[i])));
		run = is_key_char(after[i]) ? run + 1 : 0;
		/* that many in a row are enough for a key, and none begins with the first of them */
		if (run >= TF_APIKEY_MIN) {
			const char *word = after + i + 1 - TF_APIKEY_MIN;

			CHECK(memcmp(word, "tf-", 3) != 0 && memcmp(word, "sk-", 3) != 0);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *before = malloc(n + 1), *after = malloc(n + 1);

	CHECK(before != NULL && after != NULL);
	if (n > 0)
		memcpy(before, data, n);
	before[n] = '\0';
	memcpy(after, before, n + 1);
	(void)tf_apikey_check(tf_span(before, n));
	tf_apikey_hide(after);
	check_hidden(before, after);
	memcpy(before, after, n + 1);
	tf_apikey_hide(after);
	CHECK(memcmp(before, after, n + 1) == 0); /* once is enough */
	free(before);
	free(after);
	return 0;
}

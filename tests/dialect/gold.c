/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files and what is done with all of them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/gold.h"

const char *
gold_root(void)
{
	static char root[1024];
	const char *top = getenv("top_srcdir");

	if (root[0] == '\0')
		snprintf(root, sizeof root, "%s/tests/golden", top != NULL ? top : ".");
	return root;
}

static void
path_of(char *out, size_t cap, const char *dir, const char *name, const char *suffix)
{
	int n = snprintf(out, cap, "%s/%s%s%s%s", gold_root(), dir, dir[0] != '\0' ? "/" : "", name, suffix);

	assert_true(n > 0 && (size_t)n < cap);
}

bool
gold_read(const char *dir, const char *name, const char *suffix, struct tf_buf *out)
{
	char path[2048], block[4096];
	size_t n;
	FILE *f;

	path_of(path, sizeof path, dir, name, suffix);
	f = fopen(path, "rb");
	if (f == NULL)
		return false;
	while ((n = fread(block, 1, sizeof block, f)) > 0)
		assert_int_equal(tf_buf_append(out, block, n), 0);
	fclose(f);
	return true;
}

static void
write_file(const char *path, struct tf_span got)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(got.p, 1, got.n, f), got.n);
	fclose(f);
}

void
gold_check(const char *dir, const char *name, const char *suffix, struct tf_span got)
{
	struct tf_buf want = { 0 };
	char path[2048];

	if (getenv("GOLDEN_UPDATE") != NULL) {
		path_of(path, sizeof path, dir, name, suffix);
		write_file(path, got);
		return;
	}
	if (!gold_read(dir, name, suffix, &want))
		fail_msg("%s%s is missing, got\n%.*s", name, suffix, (int)got.n, got.p);
	if (!tf_span_eq(tf_buf_span(&want), got))
		fail_msg("%s%s differs\n--- want\n%.*s\n--- got\n%.*s", name, suffix, (int)want.n, want.p, (int)got.n, got.p);
	tf_buf_free(&want);
}

int
gold_scan(struct dl_scan *s, enum dl_dialect surface, struct tf_span body)
{
	struct dl_scan t;
	char *copy = malloc(body.n);
	int r = 0;

	assert_non_null(copy);
	dl_scan_init(s, surface, 0, 0);
	dl_scan_init(&t, surface, 0, 0);
	for (size_t i = 1; r == 0 && i <= body.n; i++) {
		memcpy(copy, body.p, i);
		r = i < body.n ? dl_scan_feed(&t, copy, i) : dl_scan_end(&t, copy, i);
	}
	assert_int_equal(dl_scan_end(s, body.p, body.n), r);
	assert_string_equal(s->fault.message, t.fault.message);
	assert_string_equal(s->fault.param, t.fault.param);
	if (r == 0)
		assert_int_equal(s->head.prompt_bytes, t.head.prompt_bytes);
	free(copy);
	return r;
}

void
gold_fault(const struct dl_fault *f, struct tf_buf *out)
{
	assert_int_equal(tf_buf_printf(out, "%s param=%s message=%s\n", tf_err_row(f->err)->code, f->param, f->message), 0);
}

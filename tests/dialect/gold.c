/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files and what is done with all of them.
 */
#include "config.h"

#include <dirent.h>
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

/* ---- every file of a folder --------------------------------------------------------------- */

int
gold_each(const char *dir, gold_case_fn *fn)
{
	struct dirent **e;
	char path[2048];
	int n, seen = 0;

	path_of(path, sizeof path, dir, "", "");
	n = scandir(path, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		char *dot = strrchr(e[i]->d_name, '.'), suffix[32];

		if (dot != NULL && e[i]->d_name[0] != '.') {
			snprintf(suffix, sizeof suffix, "%s", dot);
			*dot = '\0';
			seen += fn(e[i]->d_name, suffix);
		}
		free(e[i]);
	}
	free(e);
	return seen;
}

int
gold_chat_upstreams(size_t most, gold_upstream_fn *fn)
{
	struct dirent **e;
	char path[2048];
	int n, seen = 0;

	path_of(path, sizeof path, "openai_chat", "", "");
	n = scandir(path, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		struct tf_buf up = { 0 };

		if (e[i]->d_name[0] != '.' && strncmp(e[i]->d_name, "err_", 4) != 0 &&
		    gold_read("openai_chat", e[i]->d_name, "/upstream", &up) && up.n > 0 && up.n < most)
			seen += fn(e[i]->d_name, &up);
		tf_buf_free(&up);
		free(e[i]);
	}
	free(e);
	return seen;
}

/* ---- attempts ----------------------------------------------------------------------------- */

struct dl_xlate *
gold_attempt(const struct dl_scan *s, struct dl_xlate_conf conf)
{
	struct dl_xlate *x;

	conf.surface = s->head.surface;
	conf.check = true;
	conf.asked = tf_span(s->head.model, s->head.model_len);
	conf.model = TF_SPAN("runtime-model");
	memset(conf.rid.b, 7, sizeof conf.rid.b);
	x = dl_xlate_new(&conf, &s->head);
	assert_non_null(x);
	return x;
}

int
gold_answer(struct dl_xlate *x, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	char *piece;
	int err;

	dl_xlate_head(x, 200, TF_SPAN(""), 0);
	if (cut > 0) {
		/* its own memory, so that a sanitizer sees one byte too many */
		piece = malloc(cut);
		assert_non_null(piece);
		memcpy(piece, up->p, cut);
		assert_int_equal(dl_xlate_feed(x, piece, cut, out), 0);
		free(piece);
	}
	if (cut < up->n)
		assert_int_equal(dl_xlate_feed(x, up->p + cut, up->n - cut, out), 0);
	assert_int_equal(dl_xlate_end(x, out), 0);
	err = dl_xlate_facts(x)->fault.err;
	assert_true((err == 0) == dl_xlate_facts(x)->complete);
	return err;
}

void
gold_request(enum dl_dialect surface, const char *name, gold_tell_fn *tell)
{
	const char *dir = dl_dialect_name(surface);
	struct tf_buf body = { 0 }, sent = { 0 }, said = { 0 };
	struct dl_xlate *x = NULL;
	struct dl_scan s;
	const struct dl_fault *f = &s.fault;
	int r;

	assert_true(gold_read(dir, name, ".request", &body));
	r = gold_scan(&s, surface, tf_buf_span(&body));
	if (strstr(name, "blind") != NULL)
		s.head.flags |= DL_HEAD_BLIND;
	if (r == 0) {
		x = gold_attempt(&s, (struct dl_xlate_conf){ .runtime = DL_OPENAI_CHAT, .quirks = DL_Q_TEMPLATE_THINKING });
		r = dl_xlate_request(x, tf_buf_span(&body), &sent);
		f = &dl_xlate_facts(x)->fault;
	}
	if (r == 0) {
		assert_int_equal(js_valid(tf_buf_span(&sent)), 0);
		tf_buf_addspan(&sent, TF_SPAN("\n"));
		tell(&s, x, &sent);
		gold_check(dir, name, ".sent", tf_buf_span(&sent));
	} else {
		gold_fault(f, &said);
		gold_check(dir, name, ".fault", tf_buf_span(&said));
	}
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&said);
}

/* ---- clients ------------------------------------------------------------------------------ */

static void
judge(const char *name, const char *bad, const struct tf_buf *out)
{
	if (bad != NULL)
		fail_msg("%s: a client says: %s\n%.*s", name, bad, (int)out->n, out->p);
}

void
gold_both(const struct gold_clients *c, const char *name, const struct tf_buf *up, const char *const ask[static 2])
{
	struct tf_buf whole = { 0 }, stream = { 0 }, cut = { 0 }, made = { 0 }, made2 = { 0 };
	int err = c->answer(ask[0], up, up->n, &whole);

	assert_int_equal(c->answer(ask[1], up, up->n, &stream), err);
	/* a broken stream has given its beginning; a broken whole answer nothing */
	judge(name, c->stream(ask[1], tf_buf_span(&stream), err == 0, &made), &stream);
	if (err == 0) {
		judge(name, c->json(tf_buf_span(&whole), &made2), &whole);
		if (!tf_span_eq(tf_buf_span(&made), tf_buf_span(&made2)) &&
		    (c->excuse == NULL || memmem(made.p, made.n, c->excuse, strlen(c->excuse)) == NULL))
			fail_msg("%s: stream and whole differ\n%.*s\n---\n%.*s", name, (int)made.n, made.p, (int)made2.n, made2.p);
	} else {
		assert_int_equal(whole.n, 0);
	}
	for (size_t i = 0; i < up->n; i++) {
		tf_buf_reset(&cut);
		assert_int_equal(c->answer(ask[1], up, i, &cut), err);
		if (!tf_span_eq(tf_buf_span(&stream), tf_buf_span(&cut)))
			fail_msg("%s: a cut at %zu gives other bytes", name, i);
	}
	tf_buf_free(&whole);
	tf_buf_free(&stream);
	tf_buf_free(&cut);
	tf_buf_free(&made);
	tf_buf_free(&made2);
}

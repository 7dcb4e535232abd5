/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator as a filter, for tests that are easier to write in another language: each line of the
 * input is one attempt, each line of the output what became of it. Fields are separated by blanks,
 * "-" stands for an empty one, bytes are hexadecimal.
 *   in:  surface runtime kind canonical max status content-type end|broken request cuts upstream
 *        max: output cap to enforce, 0 none. cuts: offsets in upstream, comma separated, growing
 *   out: scan|request|answer error param message sent dropped client finish complete prompt cache_read
 *        cache_write completion reasoning estimated
 *        error: the code of a refusal or fault
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"

enum { SURFACE, RUNTIME, KIND, CANONICAL, MAX, STATUS, TYPE, END, REQUEST, CUTS, UPSTREAM, FIELDS };

struct attempt {
	char *field[FIELDS];
	struct dl_scan scan;
	struct tf_buf request, upstream, sent, client;
	struct dl_xlate *x;
};

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int
unhex(const char *s, struct tf_buf *out)
{
	if (strcmp(s, "-") == 0)
		return 0;
	for (; s[0] != '\0'; s += 2) {
		int hi = digit(s[0]), lo = hi < 0 ? -1 : digit(s[1]);
		char c;

		if (lo < 0)
			return TF_E_INVAL;
		c = (char)(hi * 16 + lo);
		if (tf_buf_append(out, &c, 1) < 0)
			return TF_E_NOMEM;
	}
	return 0;
}

static void
put_hex(struct tf_span s)
{
	if (s.n == 0)
		fputs(" -", stdout);
	else
		putchar(' ');
	for (size_t i = 0; i < s.n; i++)
		printf("%02x", (unsigned char)s.p[i]);
}

static void
put_u64(uint64_t v)
{
	printf(" %llu", (unsigned long long)v);
}

static void
report(const struct attempt *a, const char *stage, const struct dl_fault *f)
{
	static const struct dl_facts none;
	const struct dl_facts *facts = a->x != NULL ? dl_xlate_facts(a->x) : &none;

	printf("%s %s", stage, f->err > 0 ? tf_err_row(f->err)->code : "-");
	put_hex(tf_cspan(f->param));
	put_hex(tf_cspan(f->message));
	put_hex(tf_buf_span(&a->sent));
	put_hex(a->x != NULL ? dl_xlate_dropped(a->x) : (struct tf_span){ 0 });
	put_hex(tf_buf_span(&a->client));
	printf(" %s %d", facts->finish != NULL ? facts->finish : "-", facts->complete);
	put_u64(facts->usage.prompt);
	put_u64(facts->usage.cache_read);
	put_u64(facts->usage.cache_write);
	put_u64(facts->usage.completion);
	put_u64(facts->usage.reasoning);
	printf(" %d\n", facts->estimated);
}

/* Each piece in memory of its own, so that a sanitizer sees a byte too many. */
static int
feed(struct attempt *a, size_t from, size_t to)
{
	size_t n = to - from;
	char *piece = malloc(n > 0 ? n : 1);
	int r;

	if (piece == NULL)
		return TF_E_NOMEM;
	memcpy(piece, a->upstream.p + from, n);
	r = n > 0 ? dl_xlate_feed(a->x, piece, n, &a->client) : 0;
	free(piece);
	return r;
}

static int
answer(struct attempt *a)
{
	char *cut, *save = NULL;
	size_t at = 0;
	int r = 0;

	dl_xlate_head(a->x, (int)strtol(a->field[STATUS], NULL, 10), tf_cspan(a->field[TYPE]), 0);
	for (cut = strtok_r(a->field[CUTS], ",", &save); r == 0 && cut != NULL; cut = strtok_r(NULL, ",", &save)) {
		size_t to = strtoul(cut, NULL, 10);

		if (strcmp(cut, "-") == 0 || to < at || to > a->upstream.n)
			continue;
		r = feed(a, at, to);
		at = to;
	}
	if (r == 0)
		r = feed(a, at, a->upstream.n);
	if (r != 0)
		return r;
	return strcmp(a->field[END], "broken") == 0
	    ? dl_xlate_broken(a->x, TF_E_UPSTREAM_ERROR, &a->client)
	    : dl_xlate_end(a->x, &a->client);
}

static int
attempt(struct attempt *a)
{
	struct dl_xlate_conf conf = { .check = true, .model = TF_SPAN("runtime-model") };
	struct dl_fault none = { 0 };

	conf.surface = dl_dialect_by_name(tf_cspan(a->field[SURFACE]));
	conf.runtime = dl_dialect_by_name(tf_cspan(a->field[RUNTIME]));
	if (conf.surface == DL_NONE || conf.runtime == DL_NONE || dl_quirk_kind(tf_cspan(a->field[KIND]), &conf.quirks) != 0)
		return TF_E_INVAL;
	conf.canonical = a->field[CANONICAL][0] == '1';
	conf.max_output = strtoull(a->field[MAX], NULL, 10);
	memset(conf.rid.b, 7, sizeof conf.rid.b);
	if (unhex(a->field[REQUEST], &a->request) != 0 || unhex(a->field[UPSTREAM], &a->upstream) != 0)
		return TF_E_INVAL;
	dl_scan_init(&a->scan, conf.surface, 0, 0);
	if (dl_scan_end(&a->scan, a->request.p, a->request.n) != 0) {
		report(a, "scan", &a->scan.fault);
		return 0;
	}
	conf.asked = tf_span(a->scan.head.model, a->scan.head.model_len);
	a->x = dl_xlate_new(&conf, &a->scan.head);
	if (a->x == NULL)
		return TF_E_NOMEM;
	if (dl_xlate_request(a->x, tf_buf_span(&a->request), &a->sent) != 0) {
		report(a, "request", &dl_xlate_facts(a->x)->fault);
		return 0;
	}
	if (a->upstream.n > 0 && answer(a) != 0)
		return TF_E_NOMEM;
	report(a, "answer", a->upstream.n > 0 ? &dl_xlate_facts(a->x)->fault : &none);
	return 0;
}

static int
line_of(char *line)
{
	static struct attempt a;
	char *save = NULL, *word = strtok_r(line, " \n", &save);
	int r;

	memset(&a, 0, sizeof a);
	for (unsigned i = 0; i < FIELDS; i++) {
		if (word == NULL)
			return TF_E_INVAL;
		a.field[i] = word;
		word = strtok_r(NULL, " \n", &save);
	}
	r = attempt(&a);
	dl_xlate_free(&a.x);
	tf_buf_free(&a.request);
	tf_buf_free(&a.upstream);
	tf_buf_free(&a.sent);
	tf_buf_free(&a.client);
	return r;
}

int
main(void)
{
	char *line = NULL;
	size_t cap = 0;
	int r = 0;

	if (dl_init() < 0)
		return 1;
	while (r == 0 && getline(&line, &cap, stdin) > 0) {
		r = line_of(line);
		fflush(stdout);
	}
	free(line);
	dl_fini();
	if (r != 0)
		fprintf(stderr, "xlate_pipe: cannot do this line (%s)\n", tf_err_text(r));
	return r != 0;
}

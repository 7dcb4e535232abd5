/* SPDX-License-Identifier: Apache-2.0 */
/* common/conf: every type, every refusal with its place, files, dump, diff, secrets. */
#include "config.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/conf/parse.h"

static void
test_defaults(void **state)
{
	struct conf *c = good("");

	(void)state;
	assert_string_equal(c->common.run_dir, "/run/tokenfactory");
	assert_int_equal(c->common.heartbeat, 500);
	assert_int_equal(c->gatewayd.body_max, 32 << 20);
	assert_int_equal(c->gatewayd.listen.n, 1);
	assert_string_equal(c->gatewayd.listen.v[0].host, "127.0.0.1");
	assert_int_equal(c->gatewayd.listen.v[0].port, 8080);
	assert_int_equal(c->gatewayd.listen_tls.n, 0);
	assert_null(c->gatewayd.tls_cert);
	assert_false(c->gatewayd.serve_unmetered);
	assert_string_equal(c->common.log_level, "info");
	assert_int_equal(c->model_n, 0);
	assert_int_equal(c->worker_n, 0);
	conf_free(&c);
	assert_null(c);
	conf_free(&c);
}

static void
test_plans(void **state)
{
	static const struct {
		const char *name;
		int64_t rpm, tpm;
		const char *window;
		uint64_t hours;
		int64_t tokens;
	} published[] = {
		{ "test", 30, 10000, "first-use", 24, 1000000 },
		{ "token-pro", 120, 100000, "first-use", 5, 3000000 },
		{ "token-max", 500, 500000, "first-use", 5, 5000000 },
		{ "token-ultra", 2000, 2000000, "month", 24, 20000000 },
	};
	struct conf *c = good("[plan token-pro]\nrpm = 121\n[plan mine]\ntpm = 5\n");
	const struct conf_plan *p;

	(void)state;
	for (size_t i = 0; i < TF_LEN(published); i++) {
		p = conf_find_plan(c, tf_cspan(published[i].name));
		assert_non_null(p);
		assert_string_equal(p->name, published[i].name);
		assert_int_equal(p->rpm, published[i].rpm + (i == 1));
		assert_int_equal(p->tpm, published[i].tpm);
		assert_string_equal(p->window, published[i].window);
		assert_int_equal(p->window_length, published[i].hours * 3600000);
		assert_int_equal(p->window_tokens, published[i].tokens);
		assert_true(p->concurrency == 0 && p->models.n == 0 && p->endpoints.n == 0);
	}
	p = conf_find_plan(c, TF_SPAN("local"));
	assert_non_null(p);
	assert_true(p->rpm >= 1000000 && p->tpm >= 1000000000);
	assert_string_equal(p->window, "none");
	p = conf_find_plan(c, TF_SPAN("mine"));
	assert_non_null(p);
	assert_int_equal(p->rpm, 0);
	assert_int_equal(p->tpm, 5);
	assert_null(conf_find_plan(c, TF_SPAN("Test")));
	assert_int_equal(c->plan_n, 6);
	conf_free(&c);
}

static void
test_types(void **state)
{
	struct conf *c = good("\xef\xbb\xbf; comment\r\n# comment\r\n\r\n"
			      "[gatewayd] ; all of it\r\n"
			      "   body-max = 1k   ; one\r\n"
			      "body-memory=2g # two\r\n"
			      "head-timeout : 250ms\r\n"
			      "idle-timeout = 2m\n"
			      "drain-timeout = 0\n"
			      "listen = *:0, [::1]:81 ,unix:/tmp/x.sock\n"
			      "serve-unmetered = on\n"
			      "[model a/b#c;d]\n"
			      "display-name = \xc3\x84 = x\n"
			      "aliases = one,  \"two\" ,three*\n"
			      "[worker w-1]\n"
			      "runtime = managed\n"
			      "command = run --it\n"
			      "env = A=1, \"B=x,\\\"y\\\\\", C=\n"
			      "models = a/b#c;d =  their name\n");
	const struct conf_worker *w = conf_find_worker(c, TF_SPAN("w-1"));
	struct tf_span theirs;

	(void)state;
	assert_int_equal(c->gatewayd.body_max, 1024);
	assert_int_equal(c->gatewayd.body_memory, (uint64_t)2 << 30);
	assert_int_equal(c->gatewayd.head_timeout, 250);
	assert_int_equal(c->gatewayd.idle_timeout, 120000);
	assert_int_equal(c->gatewayd.drain_timeout, 0);
	assert_int_equal(c->gatewayd.listen.n, 3);
	assert_string_equal(c->gatewayd.listen.v[0].host, "");
	assert_int_equal(c->gatewayd.listen.v[0].port, 0);
	assert_string_equal(c->gatewayd.listen.v[1].host, "::1");
	assert_int_equal(c->gatewayd.listen.v[1].port, 81);
	assert_string_equal(c->gatewayd.listen.v[2].unix_path, "/tmp/x.sock");
	assert_null(c->gatewayd.listen.v[2].host);
	assert_true(c->gatewayd.serve_unmetered);
	assert_string_equal(c->model[0].name, "a/b#c;d");
	assert_string_equal(c->model[0].display_name, "\xc3\x84 = x");
	assert_int_equal(c->model[0].aliases.n, 3);
	assert_string_equal(c->model[0].aliases.v[1], "two");
	assert_ptr_equal(w, &c->worker[0]);
	assert_int_equal(w->env.n, 3);
	assert_string_equal(w->env.v[1], "B=x,\"y\\");
	assert_string_equal(w->env.v[2], "C=");
	assert_ptr_equal(conf_worker_model(c, w, 0, &theirs), &c->model[0]);
	assert_true(tf_span_is(theirs, "their name"));
	conf_free(&c);
}

/* The library alone would cut these at 200 and 50 bytes. */
static void
test_long(void **state)
{
	char id[CF_MODEL_MAX + 1], text[9000], words[4001];
	struct conf *c;

	(void)state;
	memset(id, 'm', CF_MODEL_MAX);
	id[CF_MODEL_MAX] = '\0';
	memset(words, 'w', 4000);
	for (int i = 7; i < 4000; i += 8)
		words[i] = ' ';
	words[3999] = 'w';
	words[4000] = '\0';
	snprintf(text, sizeof text, "[model %s]\ndisplay-name =   %s   ; %s\n", id, words, words);
	c = good(text);
	assert_string_equal(c->model[0].name, id);
	assert_string_equal(c->model[0].display_name, words);
	conf_free(&c);
	snprintf(text, sizeof text, "[gatewayd]\n%s = 1\n", words);
	bad(text, "t.conf:2: neither [section] nor key = value");
	for (size_t n = 100; n < 260; n++) {
		snprintf(text, sizeof text, "[model %s]\ndisplay-name = %.*s\n", id, (int)n, words);
		c = good(text);
		assert_int_equal(strlen(c->model[0].display_name), n - ((n & 7) == 0 ? 1 : 0));
		conf_free(&c);
	}
}

#define M "[model m]\n"
#define W M "[worker w]\nmodels = m\n"
static const struct {
	const char *text, *error;
} refusals[] = {
	/* lines */
	{ "[gatewayd]\nthreads\n", "t.conf:2: neither [section] nor key = value" },
	{ "[gatewayd]\n= 3\n", "t.conf:2: [gatewayd] : unknown key" },
	{ "threads = 1\nx = 2\n", "t.conf:1: a key outside of any section" },
	{ "[gatewayd\nthreads = 1\n", "t.conf:1: the section header has no ]" },
	{ "[gatewayd] x\n", "t.conf:1: text behind the section header" },
	{ "[gatewayd]\nname = a\x01 b\n", "t.conf:2: the line holds a control character" },
	{ "[gatewayd]\nname = a\xc3( b\n", "t.conf:2: the line is not UTF-8" },
	{ "[gatewayd]\nname = \xed\xa0\x80\n", "t.conf:2: the line is not UTF-8" },
	/* sections and keys */
	{ "[gateway]\nthreads = 1\nrubbish = 2\n", "t.conf:1: [gateway]: unknown section" },
	{ "[gatewayd x]\n", "t.conf:1: [gatewayd]: this section takes no name" },
	{ "[model]\n", "t.conf:1: [model]: needs a name, as in [model NAME]" },
	{ "[worker a/b]\n",
	    "t.conf:1: [worker]: a name is 1 to 64 letters, digits, . _ or -, and begins with a letter or digit" },
	{ "[model a b]\n",
	    "t.conf:1: [model]: an id is 1 to 128 printable ASCII characters without space , = \" ] *" },
	{ "[gatewayd]\nthread = 1\n", "t.conf:2: [gatewayd] thread: unknown key" },
	{ "[gatewayd]\nbody_max = 1k\n", "t.conf:2: [gatewayd] body_max: unknown key" },
	{ "[gatewayd]\nthreads = 1\n\n[gatewayd]\nthreads = 2\n",
	    "t.conf:5: [gatewayd] threads: set already on line 2" },
	/* values */
	{ "[gatewayd]\nthreads = 0\n", "t.conf:2: [gatewayd] threads: 0 is out of range: 1 to 64" },
	{ "[gatewayd]\nthreads = 65\n",
	    "t.conf:2: [gatewayd] threads: 65 is out of range: 1 to 64" },
	{ "[gatewayd]\nthreads = -1\n",
	    "t.conf:2: [gatewayd] threads: -1 is out of range: 1 to 64" },
	{ "[gatewayd]\nthreads = 99999999999999999999\n",
	    "t.conf:2: [gatewayd] threads: 99999999999999999999 is out of range: 1 to 64" },
	{ "[gatewayd]\nthreads = two\n",
	    "t.conf:2: [gatewayd] threads: \"two\" is not a whole number" },
	{ "[gatewayd]\nthreads =\n", "t.conf:2: [gatewayd] threads: needs a value" },
	{ "[gatewayd]\nbody-max = 1t\n",
	    "t.conf:2: [gatewayd] body-max: \"1t\" is not a size (bytes, or with k, m, g behind)" },
	{ "[gatewayd]\nbody-max = 1023\n",
	    "t.conf:2: [gatewayd] body-max: 1023 is out of range: 1k to 512m" },
	{ "[gatewayd]\nhead-timeout = 15\n",
	    "t.conf:2: [gatewayd] head-timeout: \"15\" is not a time (a number and ms, s, m, h or d)" },
	{ "[plan p]\nwindow = month\n", "t.conf:1: [plan p] window-tokens: must be set for window = month" },
	{ "[plan p]\nwindow-tokens = 5\n", "t.conf:2: [plan p] window-tokens: has no meaning for window = none" },
	{ "[plan p]\nmodels = large*, small\n", "t.conf:2: [plan p] models: \"small\": there is no [model] of that id" },
	{ "[gatewayd]\nhead-timeout = 99ms\n",
	    "t.conf:2: [gatewayd] head-timeout: 99ms is out of range: 100ms to 10m" },
	{ "[gatewayd]\nserve-unmetered = maybe\n",
	    "t.conf:2: [gatewayd] serve-unmetered: \"maybe\" is neither yes nor no" },
	{ "[common]\nlog-level = loud\n",
	    "t.conf:2: [common] log-level: \"loud\" is not one of error|warn|info|debug" },
	{ "[common]\nlog-level = error|warn\n",
	    "t.conf:2: [common] log-level: \"error|warn\" is not one of error|warn|info|debug" },
	{ "[common]\nrun-dir = run\n", "t.conf:2: [common] run-dir: must be an absolute path" },
	{ "[common]\nrun-dir =\n", "t.conf:2: [common] run-dir: must not be empty" },
	{ "[gatewayd]\ntls-key = hunter2\n",
	    "t.conf:2: [gatewayd] tls-key: must be an absolute path" },
	{ "[gatewayd]\nlisten = 8080\n",
	    "t.conf:2: [gatewayd] listen: \"8080\" is not HOST:PORT, [v6]:PORT or unix:PATH" },
	{ "[gatewayd]\nlisten = tcp://*:5555\n",
	    "t.conf:2: [gatewayd] listen: \"tcp://*:5555\": no scheme here, only HOST:PORT, [v6]:PORT or unix:PATH" },
	{ "[gatewayd]\nlisten = ::1:80\n",
	    "t.conf:2: [gatewayd] listen: \"::1:80\": an IPv6 address needs brackets" },
	{ "[gatewayd]\nlisten = :80\n",
	    "t.conf:2: [gatewayd] listen: \":80\": no host; write * for every address" },
	{ "[gatewayd]\nlisten = a:65536\n",
	    "t.conf:2: [gatewayd] listen: \"a:65536\" is not HOST:PORT, [v6]:PORT or unix:PATH" },
	{ "[gatewayd]\nlisten = unix:x\n",
	    "t.conf:2: [gatewayd] listen: \"unix:x\": the path of a UNIX socket must be absolute" },
	{ "[gatewayd]\nlisten = a:1,a:1\n", "t.conf:2: [gatewayd] listen: names \"a:1\" twice" },
	{ "[gatewayd]\npublic-url = api.example.com\n",
	    "t.conf:2: [gatewayd] public-url: must begin with http:// or https://" },
	{ "[model m]\naliases = a,,b\n", "t.conf:2: [model m] aliases: has an empty entry" },
	{ "[model m]\naliases = a,\n", "t.conf:2: [model m] aliases: has an empty entry" },
	{ "[model m]\naliases = \"a\n",
	    "t.conf:2: [model m] aliases: a quoted entry does not end" },
	{ "[model m]\naliases = \"a\"b\n",
	    "t.conf:2: [model m] aliases: a comma must follow a quoted entry" },
	{ "[model m]\naliases = a,b,a\n",
	    "t.conf:2: [model m] aliases: names an entry twice (number 3)" },
	{ "[model m]\ncapabilities = chat, magic\n",
	    "t.conf:2: [model m] capabilities: \"magic\" is not one of chat|completions|tools|json|vision|audio|files|thinking|"
	    "streaming|embeddings|images|speech|transcription|rerank" },
	/* between options */
	{ "[gatewayd]\ntls-cert = /c\n", "t.conf:2: [gatewayd] tls-cert: needs tls-key beside it" },
	{ "[gatewayd]\ntls-key = /c\n", "t.conf:2: [gatewayd] tls-key: needs tls-cert beside it" },
	{ "[gatewayd]\nlisten-tls = a:443\n",
	    "t.conf:2: [gatewayd] listen-tls: needs tls-cert and tls-key" },
	{ "[gatewayd]\nlisten=a:1\nlisten-tls = a:1\ntls-cert=/c\ntls-key=/k\n",
	    "t.conf:3: [gatewayd] listen-tls: \"a:1\" stands in listen too" },
	{ "[gatewayd]\nbody-max=4m\nbody-memory=2m\n",
	    "t.conf:3: [gatewayd] body-memory: must be at least body-max" },
	{ "[model m]\ncontext = 10\nmax-output = 11\n",
	    "t.conf:3: [model m] max-output: is more than context" },
	{ "[model m]\naliases = n\n[model n]\n",
	    "t.conf:2: [model m] aliases: \"n\" names another model already" },
	{ "[model m]\naliases = x*\n[model n]\naliases = x*\n",
	    "t.conf:4: [model n] aliases: \"x*\" names another model already" },
	{ "[model m]\naliases = a*b\n",
	    "t.conf:2: [model m] aliases: \"a*b\" is not a name: printable ASCII without space , = \" ], a * only at its end" },
	/* workers */
	{ "[worker w]\nurl = http://a\n", "t.conf:1: [worker w] models: must be set" },
	{ "[worker w]\nurl = http://a\nmodels = nope\n",
	    "t.conf:3: [worker w] models: \"nope\": there is no [model] of that id" },
	{ "[model m]\naliases = al\n[worker w]\nurl = http://a\nmodels = al\n",
	    "t.conf:5: [worker w] models: \"al\": there is no [model] of that id" },
	{ M "[worker w]\nurl = http://a\nmodels = m=\n",
	    "t.conf:4: [worker w] models: \"m=\": no name behind the =" },
	{ M "[worker w]\nurl = http://a\nmodels = m=x, m=y\n",
	    "t.conf:4: [worker w] models: names \"m\" twice" },
	{ W, "t.conf:2: [worker w] url: must be set for runtime = upstream" },
	{ W "runtime = managed\n",
	    "t.conf:2: [worker w] command: must be set for runtime = managed" },
	{ W "url = http://a\ncommand = x\n",
	    "t.conf:5: [worker w] command: has no meaning for runtime = upstream" },
	{ W "runtime=managed\ncommand = x\nproxy = http://p:1\n",
	    "t.conf:6: [worker w] proxy: has no meaning for runtime = managed" },
	{ W "runtime=managed\ncommand = x\nenv = A\n",
	    "t.conf:6: [worker w] env: entry 1 is not NAME=VALUE" },
	{ W "runtime=managed\ncommand = x\nurl = https://127.0.0.1:1\n",
	    "t.conf:6: [worker w] url: must begin with http://" },
	{ W "url = tcp://a:1\n", "t.conf:4: [worker w] url: must begin with http:// or https://" },
	{ W "url = http://\n", "t.conf:4: [worker w] url: has no host" },
	{ W "url = http://a:0/v1\n", "t.conf:4: [worker w] url: has a bad port" },
	{ W "url = http://a:x\n", "t.conf:4: [worker w] url: has a bad port" },
	{ W "url = http://[::1\n", "t.conf:4: [worker w] url: has a [ without ]" },
	{ W "url = http://u:secret@a/\n",
	    "t.conf:4: [worker w] url: must not hold a user or password" },
	{ W "url = http://a/v1?x=1\n",
	    "t.conf:4: [worker w] url: must not have a query or a fragment" },
	{ W "url = unix:x\n",
	    "t.conf:4: [worker w] url: the path of a UNIX socket must be absolute" },
	{ W "url = http://a\nproxy = http://p:1/x\n",
	    "t.conf:5: [worker w] proxy: must not have a path" },
	{ W "url = unix:/x\nproxy = http://p:1\n",
	    "t.conf:5: [worker w] proxy: a UNIX socket is not reached through a proxy" },
	{ W "url = http://a\nprobe-path = health\n",
	    "t.conf:5: [worker w] probe-path: must begin with /" },
	/* instance names */
	{ "[routerd]\nname = gatewayd\n",
	    "t.conf:2: [routerd] name: another daemon has this name" },
	{ M "[worker routerd]\nurl=http://a\nmodels=m\n",
	    "t.conf:2: [worker routerd] another daemon has this name" },
	{ "[gatewayd]\nname = billingd\n",
	    "t.conf:2: [gatewayd] name: billingd is the name of the ledger's daemon" },
	{ "[gatewayd]\nname = a b\n",
	    "t.conf:2: [gatewayd] name: a name is 1 to 64 letters, digits, . _ or -, and begins with a letter or digit" },
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(refusals); i++)
		bad(refusals[i].text, refusals[i].error);
}

static void
test_long_run_dir(void **state)
{
	char text[300];

	(void)state;
	snprintf(text, sizeof text, "[common]\nrun-dir = /%0*d\n", 83, 7);
	conf_free(&(struct conf *){ good(text) });
	snprintf(text, sizeof text, "[common]\nrun-dir = /%0*d\n[routerd]\nname = a\n", 88, 7);
	bad(text, "[gatewayd] name: too long for a socket below run-dir");
}

/* Every error is collected, the first twenty are kept, the others counted. */
static void
test_many_errors(void **state)
{
	struct conf_errors e = { 0 };
	struct tf_buf b = { 0 };
	struct conf_text t = { "t.conf", { 0 } };
	struct conf *c;

	(void)state;
	tf_buf_addstr(&b, "[gatewayd]\n");
	for (int i = 0; i < 22; i++)
		tf_buf_printf(&b, "bad%d = 1\n", i);
	tf_buf_addstr(&b, "threads = x\n[nope]\n");
	t.text = tf_buf_span(&b);
	assert_int_equal(conf_parse(&t, 1, &c, &e), TF_E_INVAL);
	assert_int_equal(e.n, CONF_ERRORS_MAX);
	assert_int_equal(e.more, 4);
	assert_string_equal(e.v[0], "t.conf:2: [gatewayd] bad0: unknown key");
	assert_string_equal(e.v[19], "t.conf:21: [gatewayd] bad19: unknown key");
	conf_errors_free(&e);
	tf_buf_free(&b);
}

/* ---- showing ------------------------------------------------------------------------------ */

static void
test_rows(void **state)
{
	struct conf *c = good(
	    "[worker w]\nurl = http://a\nmodels = m\n[model m]\n[gatewayd]\nthreads = 2 ; two\n");
	struct conf_row r;
	size_t pos = 0, n = 0, set = 0;

	(void)state;
	while (conf_row_next(c, &pos, &r)) {
		n++;
		set += r.file != NULL;
		assert_non_null(r.value);
		assert_true(r.help[0] != '\0');
		assert_null(strchr(r.key, '_'));
		if (strcmp(r.key, "threads") == 0) {
			assert_string_equal(r.section, "gatewayd");
			assert_string_equal(r.value, "2");
			assert_string_equal(r.file, "t.conf");
			assert_int_equal(r.line, 6);
			assert_false(r.reloadable);
		} else if (strcmp(r.key, "body-max") == 0) {
			assert_string_equal(r.value, "32m");
			assert_null(r.file);
			assert_int_equal(r.line, 0);
			assert_true(r.reloadable);
		} else if (strcmp(r.key, "url") == 0) {
			assert_string_equal(r.section, "worker w");
		}
	}
	assert_int_equal(set, 3);
	assert_int_equal(n, CF_OPTIONS + 4 * cf_sections[CF_plan].n);
	conf_free(&c);
}

static void
count_rows(void *arg, const struct conf_row *before, const struct conf_row *after, bool restart)
{
	(void)before;
	(void)after;
	(void)restart;
	++*(size_t *)arg;
}

/* What is dumped loads again to the same, in both forms. */
static void
test_dump(void **state)
{
	struct conf *c = good(
	    "[gatewayd]\nlisten = *:1, unix:/x\ntls-key = /secret/path\ntls-cert = /c\n"
	    "[model m]\naliases = \"x\" , y*\n[worker w]\nruntime=managed\ncommand = a \"b; c\"\n"
	    "env = \"A=,\"\nmodels = m\n[plan local]\nrpm = 7\n");
	struct tf_buf b = { 0 };
	struct conf *again;
	size_t differ = 0;

	(void)state;
	for (int all = 0; all < 2; all++) {
		tf_buf_reset(&b);
		assert_int_equal(conf_dump(c, all, &b), 0);
		again = good(tf_buf_cstr(&b));
		assert_int_equal(conf_diff(c, again, count_rows, &differ), 0);
		assert_int_equal(differ, 0);
		assert_true((strstr(b.p, "\nthreads = 1\n") != NULL) == all);
		assert_true((strstr(b.p, "\n#threads = 1\n") != NULL) == !all);
		assert_non_null(strstr(b.p, "\nrpm = 7\n"));
		conf_free(&again);
	}
	tf_buf_free(&b);
	conf_free(&c);
}

struct seen {
	size_t n, restarts;
	char text[1024];
};

static void
note(void *arg, const struct conf_row *before, const struct conf_row *after, bool restart)
{
	struct seen *s = arg;
	const struct conf_row *r = before != NULL ? before : after;
	size_t used = strlen(s->text);

	s->n++;
	s->restarts += restart;
	if (strcmp(r->section, "model new") == 0 || strcmp(r->section, "model old") == 0)
		return;
	snprintf(s->text + used, sizeof s->text - used, "%s.%s:%s>%s;", r->section, r->key,
	    before ? before->value : "-", after ? after->value : "-");
}

static void
test_diff(void **state)
{
	struct conf *a = good(
	    "[gatewayd]\nthreads = 1\nhead-timeout = 60s\nqueue-timeout = 5s\nlisten = *:1\n[model old]\n");
	struct conf *b = good(
	    "[gatewayd]\nthreads = 4\nhead-timeout = 1m\nqueue-timeout = 6s\nlisten = *:2\n[model new]\n");
	struct seen s = { 0 };

	(void)state;
	assert_int_equal(conf_diff(a, b, note, &s), 2);
	assert_string_equal(
	    s.text, "gatewayd.listen:*:1>*:2;gatewayd.queue-timeout:5s>6s;gatewayd.threads:1>4;");
	assert_int_equal(s.restarts, 2);
	assert_int_equal(s.n, 3 + 2 * cf_sections[CF_model].n);
	assert_int_equal(conf_diff(a, a, NULL, NULL), 0);
	conf_free(&a);
	conf_free(&b);
}

/* ---- the table itself ---------------------------------------------------------------------- */

static void
test_table(void **state)
{
	(void)state;
	for (size_t s = 0; s < CF_SECTIONS; s++) {
		assert_true(cf_sections[s].n > 0);
		assert_true(s == 0 || strcmp(cf_sections[s - 1].name, cf_sections[s].name) < 0);
		for (size_t k = 0; k < cf_sections[s].n; k++) {
			const struct cf_option *o = &cf_options[cf_sections[s].first + k];

			assert_true(k == 0 || strcmp(o[-1].field, o->field) < 0);
			assert_true(
			    ((o->flags & CONF_RELOAD) != 0) != ((o->flags & CONF_RESTART) != 0));
			assert_true(o->offset < cf_sections[s].size);
		}
	}
}

/* ---- files -------------------------------------------------------------------------------- */

static char dir[] = "/tmp/tf-conf-XXXXXX";

static void
file(const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void
test_load(void **state)
{
	struct conf_errors e = { 0 };
	char path[256], want[600];
	struct conf_row r;
	struct conf *c;
	size_t pos = 0;

	(void)state;
	snprintf(path, sizeof path, "%s/main.conf", dir);
	assert_int_equal(conf_load(path, &c, &e), TF_E_IO);
	snprintf(want, sizeof want, "%s: No such file or directory", path);
	assert_string_equal(e.v[0], want);
	conf_errors_free(&e);

	file("main.conf", "[gatewayd]\nthreads = 2\nretries = 1\n[model m]\n", 0644);
	assert_int_equal(conf_load(path, &c, &e), 0);
	conf_free(&c);

	snprintf(want, sizeof want, "%s/conf.d", dir);
	assert_int_equal(mkdir(want, 0755), 0);
	file("conf.d/20-b.conf", "[gatewayd]\nthreads = 5\n", 0644);
	file("conf.d/10-a.conf", "[gatewayd]\nthreads = 4\n[model m]\ncontext = 9\n[model n]\n",
	    0644);
	file("conf.d/30-no.conf.bak", "rubbish", 0644);
	file("conf.d/.hidden.conf", "rubbish", 0644);
	assert_int_equal(conf_load(path, &c, &e), 0);
	assert_int_equal(c->gatewayd.threads, 5);
	assert_int_equal(c->gatewayd.retries, 1);
	assert_int_equal(c->model_n, 2);
	assert_int_equal(c->model[0].context, 9);
	while (conf_row_next(c, &pos, &r) && strcmp(r.key, "threads") != 0)
		;
	snprintf(want, sizeof want, "%s/conf.d/20-b.conf", dir);
	assert_string_equal(r.file, want);
	assert_int_equal(r.line, 2);
	conf_free(&c);

	file("conf.d/40-bad.conf", "[gatewayd]\nthreads = 0\nthreads = 3\n", 0644);
	assert_int_equal(conf_load(path, &c, &e), TF_E_INVAL);
	snprintf(want, sizeof want,
	    "%s/conf.d/40-bad.conf:3: [gatewayd] threads: set already on line 2", dir);
	assert_string_equal(e.v[0], want);
	conf_errors_free(&e);
}

/* What is installed as an example is right. */
static void
test_example(void **state)
{
	const char *top = getenv("top_srcdir");
	struct conf_errors e = { 0 };
	char path[1024];
	struct conf *c;

	(void)state;
	snprintf(path, sizeof path, "%s/packaging/conf/tokenfactory.conf", top != NULL ? top : ".");
	assert_int_equal(conf_load(path, &c, &e), 0);
	assert_true(c->worker_n > 0 && c->model_n > 0);
	conf_free(&c);
}

static void
test_secret(void **state)
{
	struct tf_buf b = { 0 };
	char path[256], what[512] = "";

	(void)state;
	snprintf(path, sizeof path, "%s/secret", dir);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), TF_E_IO);
	assert_non_null(strstr(what, "No such file"));
	file("secret", "hunter2\n", 0640);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), 0);
	assert_true(tf_span_is(tf_buf_span(&b), "hunter2"));
	file("secret", "two\n\n", 0600);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), 0);
	assert_true(tf_span_is(tf_buf_span(&b), "two\n"));
	file("secret", "0123456789abcdef\n", 0600);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), 0);
	assert_int_equal(b.n, 16);
	assert_int_equal(conf_read_secret(path, 15, &b, what, sizeof what), TF_E_INVAL);
	assert_int_equal(b.n, 0);
	assert_non_null(strstr(what, "longer than 15 bytes"));
	assert_null(strstr(what, "0123"));
	file("secret", "0123456789abcdefghijklmnopqrstuvwxyz", 0600);
	assert_int_equal(conf_read_secret(path, 15, &b, what, sizeof what), TF_E_INVAL);
	file("secret", "\n", 0600);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), TF_E_INVAL);
	assert_non_null(strstr(what, "empty"));
	file("secret", "hunter2\n", 0644);
	assert_int_equal(conf_read_secret(path, 16, &b, what, sizeof what), TF_E_INVAL);
	assert_non_null(strstr(what, "every user can read this secret"));
	assert_non_null(strstr(what, "chmod o= "));
	assert_int_equal(conf_read_secret(dir, 16, &b, what, sizeof what), TF_E_INVAL);
	assert_non_null(strstr(what, "not a regular file"));
	tf_buf_free(&b);
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	static const char *const names[] = { "conf.d/10-a.conf", "conf.d/20-b.conf",
		"conf.d/30-no.conf.bak", "conf.d/.hidden.conf", "conf.d/40-bad.conf", "conf.d",
		"main.conf", "secret", "" };
	char path[256];

	(void)state;
	for (size_t i = 0; i < TF_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		remove(path);
	}
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_plans),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_long_run_dir),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

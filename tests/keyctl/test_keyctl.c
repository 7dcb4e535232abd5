/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyctl from its command line to the request a daemon gets, and from rows to what is
 * printed. The daemons are control servers in a thread that answer what a test lays out
 * and keep what they were asked.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/event/event.h"
#include "keyctl/kc.h"

static char dir[] = "/tmp/tf-kc-XXXXXX";

/* ---- scripted daemons --------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	struct ev_loop *loop;
	struct ctl *billingd, *routerd;
	pthread_mutex_t lock;
	char asked[2048];    /* words and arguments of the last request */
	const char *rows[4]; /* what it answers */
	enum ctl_err err;
	const char *message;
} srv = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
note(struct ctl_req *req, const struct ctl_arg *args, size_t n, struct tf_buf *b)
{
	for (size_t i = 0; i < n; i++) {
		if (!ctl_has(req, args[i].name))
			continue;
		tf_buf_printf(b, " %s=", args[i].name);
		if (args[i].type == CTL_STR)
			tf_buf_addspan(b, ctl_str(req, args[i].name));
		else if (args[i].type == CTL_INT)
			tf_buf_printf(b, "%lld", (long long)ctl_int(req, args[i].name, -1));
		else if (args[i].type == CTL_BOOL)
			tf_buf_printf(b, "%d", ctl_bool(req, args[i].name, false));
		for (size_t k = 0; args[i].type == CTL_LIST && k < ctl_list_n(req, args[i].name);
		     k++)
			tf_buf_printf(
			    b, "<" TF_SPAN_FMT ">", TF_SPAN_ARG(ctl_list(req, args[i].name, k)));
	}
}

/* Every argument that any command of billingd takes. */
#define A(name, type) { name, CTL_##type, false, "" }
static const struct ctl_arg args[] = {
	A("action", STR), A("all", BOOL), A("audio_seconds", STR), A("before", INT), A("budget", STR),
	A("by", STR), A("concurrency", STR), A("endpoint", LIST), A("env", STR), A("expires", INT),
	A("form", STR), A("full_name", STR), A("grace", INT), A("images", STR), A("key", STR), A("key_file", STR),
	A("limit", INT), A("model", LIST), A("money", STR), A("name", STR), A("network", LIST),
	A("note", STR), A("period", STR), A("plan", STR), A("prefix", STR), A("role", STR), A("rpm", STR),
	A("scope", LIST), A("since", INT), A("tokens", STR), A("tpm", STR), A("user", STR),
	A("worker", STR), A("workspace", STR),
};

/* Those of deployments, of which a model is one and no list. */
static const struct ctl_arg deployment_args[] = {
	A("deployment", STR), A("gpus", INT), A("model", STR), A("price", STR), A("workspace", STR),
};

static void
answer_with(struct ctl_req *req, const struct ctl_arg *taken, size_t n)
{
	struct tf_buf b = { 0 };

	pthread_mutex_lock(&srv.lock);
	note(req, taken, n, &b);
	snprintf(srv.asked, sizeof srv.asked, "%s", b.n > 0 ? tf_buf_cstr(&b) : "");
	tf_buf_free(&b);
	for (size_t i = 0; i < TF_LEN(srv.rows) && srv.rows[i] != NULL; i++) {
		struct js_w *w = ctl_row(req);
		struct tf_span key, value;
		struct js_iter it;

		js_iter_init(&it, tf_cspan(srv.rows[i]));
		while (js_iter_next(&it, &key, &value)) {
			js_w_keyn(w, tf_span(key.p + 1, key.n - 2));
			js_w_raw(w, value);
		}
		ctl_row_end(req);
	}
	if (srv.err != CTL_OK)
		ctl_fail(req, srv.err, "%s", srv.message);
	else
		ctl_end(req);
	pthread_mutex_unlock(&srv.lock);
}

static void
answer(void *arg, struct ctl_req *req)
{
	(void)arg;
	answer_with(req, args, TF_LEN(args));
}

static void
answer_deployment(void *arg, struct ctl_req *req)
{
	(void)arg;
	answer_with(req, deployment_args, TF_LEN(deployment_args));
}

static void
router_workers(void *arg, struct ctl_req *req)
{
	(void)arg;
	for (int i = 0; i < 2; i++) {
		struct js_w *w = ctl_row(req);

		js_w_kcstr(w, "name", i == 0 ? "gpu-0" : "lpu-long-name");
		js_w_ki64(w, "slots", i == 0 ? 64 : 8);
		js_w_ki64(w, "in_flight", 100 * i);
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
router_status(void *arg, struct ctl_req *req)
{
	struct js_w *w = ctl_row(req);

	(void)arg;
	js_w_kcstr(w, "state", "up");
	js_w_ki64(w, "queued", 3);
	ctl_row_end(req);
	w = ctl_row(req);
	js_w_ki64(w, "n", 1);
	js_w_kcstr(w, "kind", "own");
	ctl_row_end(req);
	ctl_end(req);
}

static void
quit(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_end(req);
	ev_loop_stop(srv.loop);
}

#define ROW(words) { words, answer, CTL_READ, "", args, TF_LEN(args) }
static const struct ctl_cmd cmds[] = {
	ROW("audit"), ROW("key import"), ROW("key limit"), ROW("key list"), ROW("key mint"), ROW("key revoke"),
	ROW("key rotate"), ROW("key show"), ROW("member add"), ROW("member list"), ROW("member remove"),
	ROW("member role"), ROW("plan list"), ROW("topup"), ROW("topup list"), ROW("usage"), ROW("user add"),
	ROW("user list"), ROW("user remove"), ROW("workspace budget"), ROW("workspace cap"), ROW("workspace create"),
	ROW("workspace list"), ROW("workspace set-plan"), ROW("workspace show"),
	{ "deployment list", answer_deployment, CTL_READ, "", deployment_args, TF_LEN(deployment_args) },
	{ "deployment start", answer_deployment, CTL_READ, "", deployment_args, TF_LEN(deployment_args) },
	{ "deployment stop", answer_deployment, CTL_READ, "", deployment_args, TF_LEN(deployment_args) },
	{ "quit", quit, CTL_ADMIN, "", NULL, 0 },
};
static const struct ctl_arg drain_args[] = { { "worker", CTL_STR, true, "" } };
static const struct ctl_cmd router_cmds[] = {
	{ "drain worker", answer, CTL_ADMIN, "", drain_args, TF_LEN(drain_args) },
	{ "status", router_status, CTL_READ, "", NULL, 0 },
	{ "workers", router_workers, CTL_READ, "", NULL, 0 },
};

static void *
serve(void *arg)
{
	(void)arg;
	ev_loop_run(srv.loop);
	ctl_close(&srv.billingd);
	ctl_close(&srv.routerd);
	ev_loop_free(&srv.loop);
	return NULL;
}

static int
setup(void **state)
{
	struct ctl_options b = { .run_dir = dir,
		.name = "billingd",
		.daemon = "billingd",
		.wire = "1.0",
		.cmds = cmds,
		.ncmds = TF_LEN(cmds) };
	struct ctl_options r = { .run_dir = dir,
		.name = "routerd",
		.daemon = "routerd",
		.wire = "1.0",
		.cmds = router_cmds,
		.ncmds = TF_LEN(router_cmds) };

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	tf_log_init("test", TF_ERROR, false);
	srv.loop = ev_loop_new();
	if (srv.loop == NULL || ctl_open(srv.loop, &b, &srv.billingd) != 0 ||
	    ctl_open(srv.loop, &r, &srv.routerd) != 0)
		return -1;
	return pthread_create(&srv.thread, NULL, serve, NULL);
}

/* ---- running ------------------------------------------------------------------------------ */

#define WORDS_MAX 32

static struct {
	char *out, *err;
	size_t nout, nerr;
} got;

/* keyctl with these words; DIR stands for the directory of the sockets. */
static int
keyctl(const char *line)
{
	char *copy = strdup(line), *argv[WORDS_MAX], *save = NULL;
	FILE *out, *err;
	int argc = 0, r;

	free(got.out);
	free(got.err);
	argv[argc++] = strdup("keyctl");
	for (char *w = strtok_r(copy, " ", &save); w != NULL && argc < WORDS_MAX - 1;
	     w = strtok_r(NULL, " ", &save))
		argv[argc++] = strdup(strcmp(w, "DIR") == 0 ? dir : w);
	argv[argc] = NULL;
	out = open_memstream(&got.out, &got.nout);
	err = open_memstream(&got.err, &got.nerr);
	r = kc_main(argc, argv, out, err);
	fclose(out);
	fclose(err);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	free(copy);
	return r;
}

static void
script(const char *row0, const char *row1)
{
	pthread_mutex_lock(&srv.lock);
	memset(srv.rows, 0, sizeof srv.rows);
	srv.rows[0] = row0;
	srv.rows[1] = row1;
	srv.err = CTL_OK;
	pthread_mutex_unlock(&srv.lock);
}

static void
refuse(enum ctl_err err, const char *message)
{
	script(NULL, NULL);
	srv.err = err;
	srv.message = message;
}

#define WS \
	"{\"id\":\"01ABC\",\"name\":\"main\",\"plan\":\"test\",\"created\":1700000000,\"keys\":2}"
#define KEYROW "{\"id\":\"01K\",\"key\":\"tf-prod-secret\",\"name\":null}"

/* What each command line sends. */
static void
test_requests(void **state)
{
	static const struct {
		const char *line, *asked, *row;
	} cases[] = {
		{ "workspace create main", " name=main", WS },
		{ "workspace create --plan=token-pro main", " name=main plan=token-pro", WS },
		{ "workspace list", "", WS },
		{ "workspace show main", " workspace=main", WS },
		{ "workspace set-plan main token-max", " plan=token-max workspace=main", WS },
		{ "key list", "", NULL },
		{ "key list --workspace main", " workspace=main", NULL },
		{ "key mint --workspace main", " workspace=main", KEYROW },
		{ "key mint --workspace=main --name ci --form sk-oais --env dev --model a/b --model c/d",
		    " env=dev form=sk-oais model=<a/b><c/d> name=ci workspace=main", KEYROW },
		{ "key mint --workspace main --expires 2100-01-02T03:04:05+02:00",
		    " expires=4102535045 workspace=main", KEYROW },
		{ "key mint --workspace main --expires 2100-01-01",
		    " expires=4102444800 workspace=main", KEYROW },
		{ "key show 01K", " key=01K", "{\"id\":\"01K\"}" },
		{ "key revoke 01K", " key=01K", "{\"id\":\"01K\"}" },
		{ "key revoke --prefix tf-prod-Ab3 --all", " all=1 prefix=tf-prod-Ab3", NULL },
		{ "key mint --workspace main --rpm 5 --tpm none --budget 0.5 --scope usage:read --network 10.0.0.0/8 "
		  "--expires none",
		    " budget=0.5 expires=0 network=<10.0.0.0/8> rpm=5 scope=<usage:read> tpm=none workspace=main", KEYROW },
		{ "key limit 01K --concurrency 2 --endpoint chat --endpoint embeddings --model none",
		    " concurrency=2 endpoint=<chat><embeddings> key=01K model=<none>", WS },
		{ "workspace cap main --tokens 5 --audio-seconds none", " audio_seconds=none tokens=5 workspace=main", WS },
		{ "workspace budget main 12.5", " budget=12.5 workspace=main", WS },
		{ "topup main --money -3 --tokens=7 --note x", " money=-3 note=x tokens=7 workspace=main", WS },
		{ "deployment start main --model a/b --gpus 2 --price 2.5", " gpus=2 model=a/b price=2.5 workspace=main", WS },
		{ "deployment stop 01K", " deployment=01K", WS },
		{ "deployment list", "", NULL },
		{ "topup list --workspace main", " workspace=main", NULL },
		{ "user add ann@example.com --full-name Ann", " full_name=Ann name=ann@example.com", WS },
		{ "user list", "", NULL },
		{ "user remove ann@example.com", " user=ann@example.com", WS },
		{ "member add main ann@example.com --role owner",
		    " role=owner user=ann@example.com workspace=main", WS },
		{ "member role main ann@example.com viewer",
		    " role=viewer user=ann@example.com workspace=main", WS },
		{ "member remove main ann@example.com", " user=ann@example.com workspace=main", WS },
		{ "member list --user ann@example.com", " user=ann@example.com", NULL },
		{ "audit --since 2026-01-31 --limit 5 --before 17 --action key",
		    " action=key before=17 limit=5 since=1769817600", NULL },
		{ "key rotate 01K --grace 1h", " grace=3600 key=01K", KEYROW },
		{ "key rotate --grace 0s -- -01K", " grace=0 key=-01K", KEYROW },
		{ "usage", "", "{\"requests\":1}" },
		{ "usage --workspace main --period day --by key",
		    " by=key period=day workspace=main", "{\"requests\":1}" },
		{ "plan list", "", NULL },
		{ "drain worker gpu-0", " worker=gpu-0", NULL },
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		script(cases[i].row, NULL);
		snprintf(line, sizeof line, "--run-dir DIR %s", cases[i].line);
		assert_int_equal(keyctl(line), 0);
		assert_string_equal(srv.asked, cases[i].asked);
	}
	script(KEYROW, NULL);
	assert_int_equal(keyctl("--run-dir DIR key mint --workspace main --expires 30d"), 0);
	assert_in_range(strtoll(strstr(srv.asked, "expires=") + 8, NULL, 10),
	    tf_wall_s() + 30 * 86400 - 60, tf_wall_s() + 30 * 86400 + 1);
}

static void
test_usage_errors(void **state)
{
	static const struct {
		const char *line, *err;
	} cases[] = {
		{ "", "keyctl: no command; see keyctl --help\n" },
		{ "rubbish", "keyctl: no command rubbish; see keyctl --help\n" },
		{ "workspace",
		    "keyctl: which? workspace budget, workspace cap, workspace create, "
		    "workspace list, workspace set-plan, workspace show\n" },
		{ "key forge",
		    "keyctl: which? key import, key limit, key list, key mint, key revoke, key rotate, key show\n" },
		{ "key mint",
		    "keyctl: key mint: --workspace is missing; see keyctl key mint --help\n" },
		{ "key show", "keyctl: key show: KEY-ID is missing; see keyctl key show --help\n" },
		{ "key show a b", "keyctl: key show: one argument too many: b\n" },
		{ "key list --nope", "keyctl: key list: unknown option --nope\n" },
		{ "key list -x", "keyctl: key list: unknown option -x\n" },
		{ "key list --workspace", "keyctl: --workspace needs a value: WORKSPACE\n" },
		{ "key list --workspace a --workspace b", "keyctl: --workspace is given twice\n" },
		{ "key list --workspace=", "keyctl: --workspace: \"\" is not a name\n" },
		{ "key mint --workspace a --form x", "keyctl: --form: \"x\" is not tf|sk-oais\n" },
		{ "key mint --workspace a --form tf|sk-oais",
		    "keyctl: --form: \"tf|sk-oais\" is not tf|sk-oais\n" },
		{ "key mint --workspace a --expires 2001-01-01",
		    "keyctl: --expires: \"2001-01-01\" is not in the future\n" },
		{ "key mint --workspace a --expires 2100-02-30",
		    "keyctl: --expires: \"2100-02-30\" is not a time, like 30d or 2030-01-31T00:00:00Z\n" },
		{ "key rotate k --grace soon",
		    "keyctl: --grace: \"soon\" is not a span of time, like 90s, 30m, 12h or 7d\n" },
		{ "config show --set=1", "keyctl: --set takes no value\n" },
		{ "log routerd loud", "keyctl: level: \"loud\" is not error|warn|info|debug\n" },
		{ "log ../x info", "keyctl: ../x: no name of a daemon\n" },
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		snprintf(line, sizeof line, "--run-dir DIR %s", cases[i].line);
		assert_int_equal(keyctl(line), CTL_USAGE);
		assert_string_equal(got.err, cases[i].err);
		assert_string_equal(got.out, "");
	}
}

static void
test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1: refused */
	} dates[] = {
		{ "1970-01-01", 0 },
		{ "2000-02-29T00:00:00Z", 951782400 },
		{ "2000-02-29 00:00:00z", 951782400 },
		{ "2000-02-29T00:00:00-01:30", 951787800 },
		{ "2001-02-29", -1 },
		{ "2001-13-01", -1 },
		{ "2001-00-01", -1 },
		{ "2001-01-01T24:00:00Z", -1 },
		{ "2001-01-01T00:60:00Z", -1 },
		{ "2001-01-01T00:00:00", -1 },
		{ "2001-01-01T00:00:00Zx", -1 },
		{ "2001-1-1", -1 },
		{ "10s", 1010 },
		{ "2w", 1000 + 14 * 86400 },
		{ "36525d", 1000 + (int64_t)36525 * 86400 },
		{ "36526d", -1 },
		{ "5", -1 },
		{ "", -1 },
		{ "s", -1 },
		{ "-5s", -1 },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(dates); i++) {
		int64_t v = -1;

		assert_int_equal(
		    kc_parse_until(dates[i].text, 1000, &v), dates[i].want < 0 ? TF_E_INVAL : 0);
		assert_int_equal(v, dates[i].want);
	}
	for (size_t i = 0; i < 2; i++) {
		int64_t v = -1;

		assert_int_equal(kc_parse_since(i == 0 ? "10s" : "2w", 1000, &v), 0);
		assert_int_equal(v, i == 0 ? 990 : 0);
	}
}

/* What no command line should hold: the first line of a file. */
static void
test_key_file(void **state)
{
	char path[128], line[256];
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s/key", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("sk-made-elsewhere\r\nand more\n", f);
	fclose(f);
	snprintf(line, sizeof line, "--run-dir DIR key import --workspace main --key-file %s", path);
	script(WS, NULL);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(srv.asked, " key_file=sk-made-elsewhere workspace=main");
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(keyctl(line), CTL_USAGE);
	assert_non_null(strstr(got.err, "holds no line"));
	unlink(path);
	assert_int_equal(keyctl(line), CTL_USAGE);
	assert_non_null(strstr(got.err, "No such file"));
}

/* ---- output ------------------------------------------------------------------------------- */

static void
test_table(void **state)
{
	(void)state;
	script(
	    "{\"id\":\"1\",\"name\":\"m\xc3\xa4in\",\"plan\":\"test\",\"created\":0,\"keys\":12}",
	    "{\"id\":\"22\",\"name\":\"a\\u001b[31m\\u009b\\nb\",\"plan\":null,\"created\":null,"
	    "\"keys\":3}");
	assert_int_equal(keyctl("--run-dir DIR workspace list"), 0);
	assert_string_equal(got.out,
	    "ID  NAME       PLAN  CREATED               KEYS\n"
	    "1   m\xc3\xa4in       test  1970-01-01T00:00:00Z    12\n"
	    "22  a?[31m??b  -     -                        3\n");
	assert_string_equal(got.err, "");
	/* nothing there: the headings alone */
	script(NULL, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace list"), 0);
	assert_string_equal(got.out, "ID  NAME  PLAN  CREATED  KEYS\n");
	/* a column that no row has is left out */
	script("{\"requests\":5,\"input_tokens\":1,\"total_tokens\":2,\"cost\":\"0.25\",\"group\":"
	       "null}",
	    NULL);
	assert_int_equal(keyctl("--run-dir DIR usage"), 0);
	assert_string_equal(
	    got.out, "REQUESTS  INPUT  TOTAL  COST\n       5      1      2  0.25\n");
	/* what most models do not count shows up with the first one that does */
	script("{\"group\":\"a\",\"images\":0,\"audio_seconds\":0,\"characters\":0}",
	    "{\"group\":\"b\",\"images\":0,\"audio_seconds\":1.5,\"characters\":0}");
	assert_int_equal(keyctl("--run-dir DIR usage --by model"), 0);
	assert_string_equal(got.out, "GROUP  AUDIO-S\na            0\nb          1.5\n");
	/* one row stands upright */
	script(
	    "{\"id\":\"1\",\"name\":\"main\",\"plan\":\"test\",\"created\":0,\"keys\":12}", NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace show main"), 0);
	assert_string_equal(got.out,
	    "ID       1\nNAME     main\nPLAN     test\nCREATED  1970-01-01T00:00:00Z\nKEYS     12\n");
	script("{\"id\":\"1\",\"models\":[\"a\",\"b\"],\"last_used\":null}", NULL);
	assert_int_equal(keyctl("--run-dir DIR key list"), 0);
	assert_string_equal(got.out, "ID  MODELS\n1   a,b\n");
}

static void
test_json(void **state)
{
	(void)state;
	script(WS, "{\"id\":1.50}");
	assert_int_equal(keyctl("--run-dir DIR --json workspace list"), 0);
	assert_string_equal(got.out, "[\n" WS ",\n{\"id\":1.50}\n]\n");
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	script(NULL, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace list --json"), 0);
	assert_string_equal(got.out, "[]\n");
	script(WS, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace show main --json"), 0);
	assert_string_equal(got.out, WS "\n");
}

/* The key alone on stdout, everything else beside it. */
static void
test_key(void **state)
{
	(void)state;
	script(KEYROW, NULL);
	assert_int_equal(keyctl("--run-dir DIR key mint --workspace main"), 0);
	assert_string_equal(got.out, "tf-prod-secret\n");
	assert_string_equal(got.err, "key 01K; its text is shown this once\n");
	assert_int_equal(keyctl("--run-dir DIR key rotate 01K --json"), 0);
	assert_string_equal(got.out, KEYROW "\n");
	assert_string_equal(got.err, "");
}

static void
test_status_codes(void **state)
{
	static const enum ctl_err errs[] = { CTL_FAILED, CTL_USAGE, CTL_NOT_FOUND, CTL_CONFLICT,
		CTL_FORBIDDEN };

	(void)state;
	for (size_t i = 0; i < TF_LEN(errs); i++) {
		refuse(errs[i], "no, because");
		assert_int_equal(keyctl("--run-dir DIR workspace list"), errs[i]);
		assert_string_equal(got.out, "");
		assert_string_equal(got.err, "keyctl: no, because\n");
	}
	assert_int_equal(keyctl("--run-dir /nonexistent workspace list"), CTL_UNREACHABLE);
	assert_string_equal(
	    got.err, "keyctl: /nonexistent/billingd.ctl: No such file or directory\n");
	assert_int_equal(keyctl("-c /nonexistent model list"), CTL_FAILED);
	assert_string_equal(got.err, "keyctl: /nonexistent: No such file or directory\n");
	/* two rows where one is due */
	script(WS, WS);
	assert_int_equal(keyctl("--run-dir DIR workspace show main"), CTL_FAILED);
	assert_string_equal(got.out, "");
}

static void
test_status(void **state)
{
	(void)state;
	assert_int_equal(
	    keyctl("--run-dir DIR status"), CTL_UNREACHABLE); /* gatewayd is not there */
	assert_memory_equal(got.out, "NAME      DAEMON    STATE        VERSION  WIRE", 45);
	assert_non_null(strstr(got.out, "\ngatewayd  -         unreachable  -"));
	assert_non_null(strstr(got.out, "\nrouterd   routerd   up           " PACKAGE_VERSION));
	assert_non_null(strstr(got.out,
	    "\nrouterd\nSTATE  QUEUED\nup          3\n"
	    "\nown\nN\n1\n"
	    "\nworker\n"
	    "NAME           SLOTS  RUNNING\n"
	    "gpu-0             64        0\n"
	    "lpu-long-name      8      100\n"));
	assert_non_null(strstr(got.err, "gatewayd.ctl: No such file"));
	assert_int_equal(keyctl("--run-dir DIR status --json"), CTL_UNREACHABLE);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_non_null(strstr(got.out,
	    "\"rows\":[{\"kind\":\"routerd\",\"state\":\"up\",\"queued\":3},{\"n\":1,\"kind\":\"own\"},"
	    "{\"kind\":\"worker\",\"name\":\"gpu-0\",\"slots\":64,\"in_flight\":0},"));
}

static void
test_daemon_commands(void **state)
{
	(void)state;
	assert_int_equal(keyctl("--run-dir DIR log routerd error"), 0);
	assert_int_equal(keyctl("--run-dir DIR metrics routerd"), 0);
	assert_memory_equal(got.out, "# ", 2);
	assert_non_null(strstr(got.out, "\ntf_router_workers "));
	assert_null(strstr(got.out, "tf_gateway_"));
	assert_int_equal(keyctl("--run-dir DIR config show --daemon routerd"), CTL_FAILED);
	assert_string_equal(got.err, "keyctl: this daemon has no configuration\n");
}

/* ---- the file ----------------------------------------------------------------------------- */

static const char *
conf_file(const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/t.conf", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static void
test_config(void **state)
{
	char line[512], want[512], text[256];
	const char *path;

	(void)state;
	snprintf(text, sizeof text, "[common]\nrun-dir = %s\n[gatewayd]\nname = front\n", dir);
	path = conf_file(text);
	snprintf(line, sizeof line, "-c %s config check", path);
	snprintf(want, sizeof want, "%s: fine\n", path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out, want);
	snprintf(line, sizeof line, "--config=%s config show --set --json", path);
	snprintf(want, sizeof want,
	    "[\n{\"section\":\"common\",\"key\":\"run-dir\",\"value\":\"%s\",\"source\":\"%s:2\","
	    "\"applies\":\"restart\"},\n"
	    "{\"section\":\"gatewayd\",\"key\":\"name\",\"value\":\"front\",\"source\":\"%s:4\","
	    "\"applies\":\"restart\"}\n]\n",
	    dir, path, path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out, want);
	snprintf(line, sizeof line, "-c %s config show", path);
	assert_int_equal(keyctl(line), 0);
	assert_memory_equal(got.out, "SECTION ", 8);
	assert_non_null(strstr(got.out, "\ngatewayd          body-max "));
	/* the sockets are found through the file; the gateway goes by the name it has there */
	snprintf(line, sizeof line, "-c %s status", path);
	assert_int_equal(keyctl(line), CTL_UNREACHABLE);
	assert_memory_equal(strchr(got.out, '\n'), "\nfront ", 7);
	assert_non_null(strstr(got.out, "\nbillingd  billingd  up "));

	conf_file("[model a/b]\naliases = x, y*\nprice-input = 0.15\ncontext = 4096\n[model c]\nprice-input = 0\n"
		  "[worker w]\nurl = http://h\nmodels = c=d\n");
	snprintf(line, sizeof line, "-c %s model list", path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out,
	    "ID   STATUS  MODALITY  CONTEXT  INPUT  ALIASES  WORKERS\n"
	    "a/b  live    text         4096   0.15  x,y*     -\n"
	    "c    live    text            -      0  -        w\n");
	snprintf(line, sizeof line, "-c %s model list --json", path);
	assert_int_equal(keyctl(line), 0);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_non_null(strstr(got.out, "\"currency\":\"USD\",\"price_input\":\"0\",\"price_cached_input\":null"));

	conf_file("[gatewayd]\nthreads = 0\nx = 1\n");
	snprintf(line, sizeof line, "-c %s config check", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	snprintf(want, sizeof want,
	    "%s:3: [gatewayd] x: unknown key\n%s:2: [gatewayd] threads: 0 is out of range: 1 to 64\n",
	    path, path);
	assert_string_equal(got.err, want);
	snprintf(line, sizeof line, "-c %s config check --json", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_string_equal(got.err, "");
	snprintf(line, sizeof line, "-c %s workspace list", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	unlink(path);
}

/* --run-dir, then -c, then the environment. */
static void
test_run_dir(void **state)
{
	(void)state;
	script(WS, NULL);
	setenv("TOKENFACTORY_RUN_DIR", dir, 1);
	assert_int_equal(keyctl("workspace list"), 0);
	setenv("TOKENFACTORY_RUN_DIR", "/nonexistent", 1);
	assert_int_equal(keyctl("workspace list"), CTL_UNREACHABLE);
	assert_int_equal(keyctl("workspace list --run-dir DIR"), 0);
	assert_int_equal(keyctl("workspace list -c /nonexistent/x"), CTL_FAILED);
	unsetenv("TOKENFACTORY_RUN_DIR");
}

static void
test_help(void **state)
{
	const struct kc_line *c, *l;

	(void)state;
	assert_int_equal(keyctl("--help"), 0);
	KC_EACH_CMD(c) {
		assert_non_null(strstr(got.out, c->name));
		assert_non_null(strstr(got.out, c->help));
	}
	assert_int_equal(keyctl("key mint --help"), 0);
	assert_memory_equal(got.out, "usage: keyctl key mint [--budget AMOUNT] [--conc", 46);
	KC_EACH(kc_table, l)
		assert_true(l->kind != KC_CMD);
	assert_int_equal(keyctl("-V"), 0);
	assert_string_equal(got.out, "keyctl (Token Factory) " PACKAGE_VERSION "\n");
	assert_int_equal(keyctl("rubbish --help"), CTL_USAGE);
}

/* The shipped completion is the one that this keyctl prints. */
static void
test_completion(void **state)
{
	const char *top = getenv("top_srcdir");
	char path[1024], *shipped;
	FILE *f;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/packaging/bash-completion/keyctl", top != NULL ? top : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	shipped = calloc(1, 65536);
	assert_non_null(shipped);
	n = fread(shipped, 1, 65535, f);
	fclose(f);
	assert_true(n > 0);
	assert_int_equal(keyctl("--completion bash"), 0);
	assert_string_equal(got.out, shipped);
	free(shipped);
	assert_int_equal(keyctl("--completion fish"), CTL_USAGE);
}

/* A reader that is gone is a failure. */
static void
test_full(void **state)
{
	char *argv[] = { (char[]){ "keyctl" }, (char[]){ "--help" }, NULL };
	FILE *full = fopen("/dev/full", "w"), *err = fopen("/dev/null", "w");

	(void)state;
	assert_non_null(full);
	assert_int_equal(kc_main(2, argv, full, err), CTL_FAILED);
	fclose(full);
	fclose(err);
}

static int
teardown(void **state)
{
	static const char *const left[] = { "billingd.ctl.lock", "routerd.ctl.lock" };
	struct ctl_call call = { NULL, "quit", { 0 }, 5000, NULL, NULL };
	char path[128], message[256];

	(void)state;
	free(got.out);
	free(got.err);
	if (ctl_path(dir, "billingd", path, sizeof path) != 0)
		return -1;
	call.path = path;
	if (ctl_ask(&call, message, sizeof message) != CTL_OK ||
	    pthread_join(srv.thread, NULL) != 0)
		return -1;
	for (size_t i = 0; i < TF_LEN(left); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, left[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_usage_errors),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_key_file), cmocka_unit_test(test_table),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_status_codes),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_daemon_commands),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_run_dir),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_full),
	};

	unsetenv("TOKENFACTORY_RUN_DIR");
	return cmocka_run_group_tests(tests, setup, teardown);
}

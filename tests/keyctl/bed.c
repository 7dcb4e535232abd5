/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemons that keyctl talks to: control servers in a thread that answer what a test lays out and keep
 * what they were asked.
 */
#include "config.h"

#include <pthread.h>
#include <sys/stat.h>

#include "common/event/event.h"
#include "tests/keyctl/bed.h"

char bed_dir[] = "/tmp/tf-kc-XXXXXX";
char bed_asked[2048];

/* ---- scripted daemons --------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	struct ev_loop *loop;
	struct ctl *billingd, *routerd;
	pthread_mutex_t lock;
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
	snprintf(bed_asked, sizeof bed_asked, "%s", b.n > 0 ? tf_buf_cstr(&b) : "");
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

int
bed_setup(void **state)
{
	struct ctl_options b = { .run_dir = bed_dir,
		.name = "billingd",
		.daemon = "billingd",
		.wire = "1.0",
		.cmds = cmds,
		.ncmds = TF_LEN(cmds) };
	struct ctl_options r = { .run_dir = bed_dir,
		.name = "routerd",
		.daemon = "routerd",
		.wire = "1.0",
		.cmds = router_cmds,
		.ncmds = TF_LEN(router_cmds) };

	(void)state;
	if (mkdtemp(bed_dir) == NULL)
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

struct bed_got got;

int
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
		argv[argc++] = strdup(strcmp(w, "DIR") == 0 ? bed_dir : w);
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

void
script(const char *row0, const char *row1)
{
	pthread_mutex_lock(&srv.lock);
	memset(srv.rows, 0, sizeof srv.rows);
	srv.rows[0] = row0;
	srv.rows[1] = row1;
	srv.err = CTL_OK;
	pthread_mutex_unlock(&srv.lock);
}

void
refuse(enum ctl_err err, const char *message)
{
	script(NULL, NULL);
	srv.err = err;
	srv.message = message;
}

/* ---- the end ------------------------------------------------------------------------------ */

int
bed_teardown(void **state)
{
	static const char *const left[] = { "billingd.ctl.lock", "routerd.ctl.lock" };
	struct ctl_call call = { NULL, "quit", { 0 }, 5000, NULL, NULL };
	char path[128], message[256];

	(void)state;
	free(got.out);
	free(got.err);
	if (ctl_path(bed_dir, "billingd", path, sizeof path) != 0)
		return -1;
	call.path = path;
	if (ctl_ask(&call, message, sizeof message) != CTL_OK ||
	    pthread_join(srv.thread, NULL) != 0)
		return -1;
	for (size_t i = 0; i < TF_LEN(left); i++) {
		snprintf(path, sizeof path, "%s/%s", bed_dir, left[i]);
		unlink(path);
	}
	return rmdir(bed_dir);
}

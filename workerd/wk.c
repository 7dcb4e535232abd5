/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workerd as a daemon: the hooks. --worker NAME picks the [worker NAME] section.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/daemon/daemon.h"
#include "workerd/wk.h"
#include "workerd/workerd.h"

static const struct dmn_option wk_options[] = {
	{ "worker", "NAME", "the [worker NAME] section to serve", true },
};

static int
wk_quirks(const struct conf_worker *w, uint32_t *quirks, char *why, size_t size)
{
	if (dl_quirk_kind(tf_cspan(w->runtime_kind), quirks) != 0) {
		snprintf(why, size, "[worker %s] runtime-kind: unknown", w->name);
		return TF_E_INVAL;
	}
	for (size_t i = 0; i < w->quirks.n; i++) {
		if (dl_quirk_apply(tf_cspan(w->quirks.v[i]), quirks) != 0) {
			snprintf(why, size, "[worker %s] quirks: no quirk is called \"%s\"", w->name, w->quirks.v[i]);
			return TF_E_INVAL;
		}
	}
	return 0;
}

static int
wk_check(struct dmn *d, const struct conf *conf, char *why, size_t size)
{
	const char *name = dmn_option(d, "worker");
	const struct conf_worker *w = conf_find_worker(conf, tf_cspan(name));
	struct tf_buf key = { 0 };
	uint32_t quirks;
	char reason[256];
	int rc;

	if (w == NULL) {
		snprintf(why, size, "there is no section [worker %s]", name);
		return TF_E_NOENT;
	}
	if (w->key_file != NULL) {
		rc = conf_read_secret(w->key_file, 4096, &key, reason, sizeof reason);
		if (key.p != NULL)
			tf_wipe(key.p, key.cap);
		tf_buf_free(&key);
		if (rc != 0) {
			snprintf(why, size, "[worker %s] key-file: %s", name, reason);
			return rc;
		}
	}
	if (conf->common.seal_file != NULL) {
		rc = wk_seal_load(conf, false, &key, reason, sizeof reason);
		wk_seal_free(&key);
		if (rc != 0) {
			snprintf(why, size, "[common] seal-file: %s", reason);
			return rc;
		}
	}
	return wk_quirks(w, &quirks, why, size);
}

static const char *
wk_instance(struct dmn *d, const struct conf *conf)
{
	(void)conf;
	return dmn_option(d, "worker");
}

static void
wk_models_free(struct wk_model *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].id);
		free(v[i].runtime);
	}
	free(v);
}

/* "ID" or "ID=NAME", blanks around either allowed. TF_E_NOENT: the catalogue does not have it. */
static int
wk_model_load(const struct conf *catalogue, const char *text, struct wk_model *out)
{
	const char *eq = strchr(text, '=');
	size_t n = eq ? (size_t)(eq - text) : strlen(text);
	const struct conf_model *m;

	while (n > 0 && text[n - 1] == ' ')
		n--;
	m = conf_find_model_id(catalogue, tf_span(text, n));
	if (m == NULL)
		return TF_E_NOENT;
	out->id = tf_span_dup(tf_cspan(m->name));
	out->runtime = tf_span_dup(tf_cspan(eq ? eq + 1 + strspn(eq + 1, " ") : m->name));
	out->context = (uint64_t)m->context;
	out->max_output = (uint64_t)m->max_output;
	out->needs = dl_need_always();
	for (size_t k = 0; k < m->capabilities.n; k++)
		out->needs |= dl_need_by_capability(tf_cspan(m->capabilities.v[k]));
	return out->id != NULL && out->runtime != NULL ? 0 : TF_E_NOMEM;
}

/* What we serve, as this catalogue describes it. What it does not have any more is not announced. */
static int
wk_models_load(struct wk *wk, const struct conf *catalogue)
{
	const struct conf_list *list = &wk->w->models;
	struct wk_model *v = calloc(list->n + 1, sizeof *v);
	size_t n = 0;

	if (v == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < list->n; i++) {
		int rc = wk_model_load(catalogue, list->v[i], &v[n]);

		if (rc == TF_E_NOENT)
			continue;
		n++;
		if (rc != 0) {
			wk_models_free(v, n);
			return rc;
		}
	}
	wk_models_free(wk->models, wk->nmodels);
	wk->models = v;
	wk->nmodels = n;
	return n > 0 ? 0 : TF_E_NOENT;
}

static int
wk_setup(struct wk *wk)
{
	char why[256];
	int rc;

	wk->dialect = dl_dialect_by_name(tf_cspan(wk->w->dialect));
	wk->slots = (uint64_t)wk->w->slots;
	if ((rc = wk_quirks(wk->w, &wk->quirks, why, sizeof why)) != 0 || (rc = wk_models_load(wk, wk->conf)) != 0 ||
	    (rc = wk_upstream_key(wk)) != 0)
		return rc;
	wk->recall = dl_recall_wanted(wk->dialect, wk->quirks);
	/* the secret that is shared is a convenience: without it reasoning is given, but not sealed */
	if (wk_seal_load(wk->conf, true, &wk->seal, why, sizeof why) != 0) {
		tf_log(TF_WARN, "daemon", NULL, "reasoning is not sealed reason=%s", tf_log_q(tf_cspan(why)));
		wk_seal_free(&wk->seal);
	}
	if (strcmp(wk->w->runtime, "managed") == 0)
		rc = wk_runtime_start(wk);
	else
		rc = wk_upstream_open(wk, wk->w->url);
	if (rc == 0)
		rc = wk_probe_start(wk);
	if (rc == 0)
		rc = wk_link_open(wk);
	return rc;
}

static int
wk_init(struct dmn *d)
{
	struct wk *wk = calloc(1, sizeof *wk);
	int rc;

	if (wk == NULL || dl_init() != 0) {
		free(wk);
		return TF_E_NOMEM;
	}
	dmn_set_data(d, wk);
	wk->dmn = d;
	wk->loop = dmn_loop(d);
	wk->conf = dmn_conf(d);
	wk->w = wk->now = conf_find_worker(wk->conf, tf_cspan(dmn_option(d, "worker")));
	wk->boot = tf_random_u64();
	tf_list_init(&wk->gateways);
	for (int s = 0; s < WK_S_COUNT; s++)
		tf_list_init(&wk->state[s]);
	ev_turn_init(&wk->reap, wk_attempts_reap, wk);
	wk->zctx = ev_zctx_new(1);
	rc = wk->zctx == NULL ? TF_E_NOMEM : wk_setup(wk);
	if (rc != 0)
		tf_log(TF_ERROR, "daemon", NULL, "cannot start error=%s", tf_err_text(rc));
	return rc;
}

static void
wk_reload(struct dmn *d, const struct conf *before)
{
	struct wk *wk = dmn_data(d);

	(void)before;
	/* rows that need a restart are still read from the first one */
	conf_free(&wk->fresh);
	wk->fresh = (struct conf *)(uintptr_t)dmn_conf(d);
	wk->now = conf_find_worker(wk->fresh, tf_cspan(dmn_option(d, "worker")));
	(void)wk_upstream_key(wk);
	if (wk_models_load(wk, wk->fresh) != 0)
		tf_log(TF_ERROR, "daemon", NULL, "the catalogue has none of our models");
	wk_link_ready(wk);
}

static void
wk_runtime_gone(void *arg)
{
	struct wk *wk = arg;

	dmn_drained(wk->dmn);
}

void
wk_drain_check(struct wk *wk)
{
	if (!wk->draining || wk->drained || wk->attempts.n > 0)
		return;
	wk->drained = true;
	wk_probe_stop(wk);
	wk_runtime_stop(wk, wk_runtime_gone, wk);
}

static void
wk_drain(struct dmn *d)
{
	struct wk *wk = dmn_data(d);

	wk->draining = true;
	wk->drain_until = tf_mono_ms() + wk->now->drain_timeout;
	wk_link_ready(wk);
	wk_drain_check(wk);
}

static uint64_t
wk_drain_ms(struct dmn *d)
{
	struct wk *wk = dmn_data(d);

	return wk->now->drain_timeout + wk->w->stop_timeout;
}

static void
wk_stop(struct dmn *d)
{
	struct wk *wk = dmn_data(d);
	struct conf *first;

	if (wk == NULL)
		return;
	wk_link_close(wk);
	wk_probe_stop(wk);
	for (int s = 0; s < WK_S_COUNT; s++)
		while (wk->state[s].n > 0 && s != WK_S_DONE)
			wk_attempt_to(TF_CONTAINER(tf_list_first(&wk->state[s]), struct wk_attempt, node), WK_S_DONE);
	wk->drained = true;
	wk_attempts_reap(wk);
	ev_turn_disarm(wk->loop, &wk->reap);
	wk_runtime_free(wk);
	wk_upstream_close(wk);
	wk_seal_free(&wk->seal);
	if (wk->zctx != NULL)
		ev_zctx_free(&wk->zctx);
	tf_map_free(&wk->attempts);
	wk_models_free(wk->models, wk->nmodels);
	dl_fini();
	first = (struct conf *)(uintptr_t)wk->conf;
	conf_free(&wk->fresh);
	conf_free(&first);
	free(wk);
	dmn_set_data(d, NULL);
}

static void
wk_dump(struct dmn *d)
{
	const struct wk *wk = dmn_data(d);
	char states[256] = "";
	size_t n = 0;

	for (int i = 0; i < WK_S_DONE && n < sizeof states; i++)
		n += (size_t)snprintf(states + n, sizeof states - n, " %s=%zu", wk_state_name((enum wk_state)i), wk->state[i].n);
	tf_log(TF_INFO, "daemon", NULL, "state up=%d draining=%d slots=%llu active=%llu gateways=%zu routerd=%d%s", wk->up,
	    dmn_draining(d), (unsigned long long)wk->slots, (unsigned long long)wk->active, wk->gateways.n,
	    wire_dial_peer(wk->router) != NULL, states);
}

static void
wk_ctl_status(void *arg, struct ctl_req *req)
{
	struct wk *wk = dmn_data(arg);
	struct js_w *w = ctl_row(req);

	js_w_kcstr(w, "name", wk->w->name);
	js_w_kcstr(w, "role", "workerd");
	js_w_kcstr(w, "version", PACKAGE_VERSION);
	js_w_ku64(w, "wire", WIRE_MAJOR);
	js_w_kcstr(w, "class", wk->w->class);
	js_w_kcstr(w, "runtime", wk->w->runtime);
	js_w_kbool(w, "up", wk->up);
	js_w_kbool(w, "draining", dmn_draining(wk->dmn));
	js_w_ku64(w, "slots", wk->slots);
	js_w_ku64(w, "active", wk->active);
	js_w_ki64(w, "runtime_pid", wk_runtime_pid(wk));
	js_w_ku64(w, "first_token_us", wk->avg_first_us);
	js_w_ku64(w, "milli_tokens_per_s", wk->avg_mtps);
	ctl_row_end(req);
	ctl_end(req);
}

static void
wk_ctl_attempts(void *arg, struct ctl_req *req)
{
	struct wk *wk = dmn_data(arg);

	for (int s = 0; s < WK_S_COUNT; s++) {
		struct tf_node *e, *tmp;

		TF_LIST_EACH(&wk->state[s], e, tmp) {
			const struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);
			struct js_w *w = ctl_row(req);
			char id[TF_ID_TEXT + 1];

			tf_id_text(a->id, id);
			js_w_kcstr(w, "request", id);
			js_w_ku64(w, "attempt", a->number);
			js_w_kcstr(w, "state", wk_state_name((enum wk_state)s));
			js_w_kbool(w, "slot", a->slot);
			js_w_ku64(w, "sent", a->tx.sent);
			ctl_row_end(req);
		}
	}
	ctl_end(req);
}

static const struct ctl_cmd wk_cmds[] = {
	{ "attempts", wk_ctl_attempts, CTL_READ, "attempts and their state", NULL, 0 },
	{ "status", wk_ctl_status, CTL_READ, "the worker, its runtime and its load", NULL, 0 },
};

const struct dmn_hooks workerd = {
	.name = "workerd",
	.summary = "runs one runtime, translates what the two sides say differently",
	.options = wk_options,
	.noptions = TF_LEN(wk_options),
	.check = wk_check,
	.instance = wk_instance,
	.init = wk_init,
	.reload = wk_reload,
	.drain = wk_drain,
	.drain_ms = wk_drain_ms,
	.stop = wk_stop,
	.dump = wk_dump,
	.cmds = wk_cmds,
	.ncmds = TF_LEN(wk_cmds),
	.owns_conf = true, /* see wk_reload */
};

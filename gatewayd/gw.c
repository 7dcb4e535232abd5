/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd as a daemon: the hooks. The main thread listens, reloads, drains; everything about a
 * request happens in the threads.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/daemon/daemon.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gatewayd.h"

static int
gw_check(struct dmn *d, const struct conf *conf, char *why, size_t size)
{
	struct tf_buf codex = { 0 };
	int rc = gw_codex_read(conf, &codex, why, size);

	(void)d;
	tf_buf_free(&codex);
	if (rc != 0)
		return rc;
	if (conf->gatewayd.listen_tls.n > 0 && conf->gatewayd.tls_cert != NULL) {
		struct ssl_ctx_st *tls = http_tls_server_new(conf->gatewayd.tls_cert, conf->gatewayd.tls_key, why, size);

		if (tls == NULL)
			return TF_E_INVAL;
		http_tls_free(&tls);
	}
	for (size_t i = 0; i < conf->model_n; i++) {
		const struct conf_list *caps = &conf->model[i].capabilities;

		for (size_t k = 0; k < caps->n; k++) {
			if (gw_capability_known(caps->v[k]))
				continue;
			snprintf(why, size, "[model %s] capabilities: no capability is called \"%s\"", conf->model[i].name,
			    caps->v[k]);
			return TF_E_INVAL;
		}
	}
	return 0;
}

static const char *
gw_instance(struct dmn *d, const struct conf *conf)
{
	(void)d;
	return conf->gatewayd.name;
}

/* Leaves gw->tls as it was when the new files cannot be used. */
static int
gw_tls_load(struct gw *gw)
{
	const struct conf_gatewayd *c = &gw->conf->c->gatewayd;
	struct ssl_ctx_st *tls;
	char why[256];

	if (c->tls_cert == NULL || c->tls_key == NULL)
		return 0;
	tls = http_tls_server_new(c->tls_cert, c->tls_key, why, sizeof why);
	if (tls == NULL) {
		tf_log(TF_ERROR, "tls", NULL, "cannot use the certificate reason=%s", tf_log_q(tf_cspan(why)));
		return TF_E_INVAL;
	}
	if (gw->tls != NULL)
		http_tls_free(&gw->tls);
	gw->tls = tls;
	return 0;
}

static int
gw_init(struct dmn *d)
{
	struct gw *gw = calloc(1, sizeof *gw);
	int rc;

	if (gw == NULL || dl_init() != 0) {
		free(gw);
		return TF_E_NOMEM;
	}
	dmn_set_data(d, gw);
	gw->dmn = d;
	gw->loop = dmn_loop(d);
	/* dmn gives its configurations to us: threads may use one long after the next is in force */
	gw->conf = gw_conf_new((struct conf *)(uintptr_t)dmn_conf(d));
	gw->addrs = gw_addrs_new();
	gw->zctx = ev_zctx_new(1);
	if (gw->conf == NULL || gw->addrs == NULL || gw->zctx == NULL)
		return TF_E_NOMEM;
	/* a file that may not grow is a full disk, not the end */
	(void)signal(SIGXFSZ, SIG_IGN);
	rc = gw_tls_load(gw);
	if (rc == 0)
		rc = gw_keeper_new(gw);
	if (rc == 0)
		rc = gw_threads_start(gw);
	if (rc == 0)
		rc = gw_keeper_start(gw);
	if (rc == 0)
		rc = gw_listen_start(gw);
	if (rc != 0)
		tf_log(TF_ERROR, "daemon", NULL, "cannot start error=%s", tf_err_text(rc));
	return rc;
}

static void
gw_reload(struct dmn *d, const struct conf *before)
{
	struct gw *gw = dmn_data(d);
	struct gw_conf *next = gw_conf_new((struct conf *)(uintptr_t)dmn_conf(d));

	(void)before; /* goes with the last request that began under it */
	if (next == NULL)
		return;
	gw_conf_unref(&gw->conf);
	gw->conf = next;
	(void)gw_tls_load(gw);
	gw_keeper_reload(gw);
	gw_threads_reload(gw);
}

void
gw_drained(void *arg)
{
	struct gw *gw = arg;

	dmn_drained(gw->dmn);
}

void
gw_broken(void *arg)
{
	struct gw *gw = arg;

	dmn_fail(gw->dmn);
}

static void
gw_drain(struct dmn *d)
{
	struct gw *gw = dmn_data(d);

	gw_listen_stop(gw, true);
	gw_threads_drain(gw);
}

static uint64_t
gw_drain_ms(struct dmn *d)
{
	return dmn_conf(d)->gatewayd.drain_timeout;
}

static void
gw_stop(struct dmn *d)
{
	struct gw *gw = dmn_data(d);

	if (gw == NULL)
		return;
	gw_listen_stop(gw, false);
	gw_threads_stop(gw);
	gw_keeper_free(gw);
	if (gw->zctx != NULL)
		ev_zctx_free(&gw->zctx);
	gw_addrs_free(&gw->addrs);
	gw_conf_unref(&gw->conf);
	if (gw->tls != NULL)
		http_tls_free(&gw->tls);
	dl_fini();
	free(gw);
	dmn_set_data(d, NULL);
}

static void
gw_dump(struct dmn *d)
{
	gw_threads_dump(dmn_data(d));
}

const struct dmn_hooks gatewayd = {
	.name = "gatewayd",
	.summary = "serves the API over HTTP: checks keys, admits, relays, meters",
	.check = gw_check,
	.instance = gw_instance,
	.init = gw_init,
	.reload = gw_reload,
	.drain = gw_drain,
	.drain_ms = gw_drain_ms,
	.stop = gw_stop,
	.dump = gw_dump,
	.cmds = gw_cmds,
	.ncmds = GW_CMDS,
	.owns_conf = true,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the configuration file, which need no running daemon. */
#include "config.h"

#include "keyctl/kc.h"

/* Every error as a row for scripts, as a line on stderr for people. */
static int
config_check(struct kc *k)
{
	struct conf_errors e = { 0 };
	struct tf_buf row = { 0 };
	int r = conf_load(kc_conf_path(k), &k->conf, &e);
	struct js_w w;

	for (size_t i = 0; i < e.n; i++) {
		if (!k->json) {
			fprintf(k->err, "%s\n", e.v[i]);
			continue;
		}
		tf_buf_reset(&row);
		js_w_init(&w, &row);
		js_w_object(&w);
		js_w_kcstr(&w, "error", e.v[i]);
		js_w_object_end(&w);
		if (js_w_done(&w) != 0 || kc_rows_add(&k->rows, tf_buf_span(&row)) != 0)
			r = TF_E_NOMEM;
	}
	if (e.more > 0)
		fprintf(k->err, "and %zu more\n", e.more);
	conf_errors_free(&e);
	tf_buf_free(&row);
	if (k->json)
		kc_show(k);
	else if (r == 0)
		fprintf(k->out, "%s: fine\n", kc_conf_path(k));
	return r == 0 ? CTL_OK : CTL_FAILED;
}

static int
config_show(struct kc *k)
{
	struct tf_span ignored, args = tf_buf_span(&k->args);
	bool set = js_member(args, "set", &ignored);
	struct conf_row option;
	struct tf_buf row = { 0 };
	char message[1024] = "";
	size_t pos = 0;
	struct js_w w;
	int r = 0;

	if (k->daemon != NULL) {
		r = kc_ask(k, k->daemon, k->cmd->name, &k->rows, message, sizeof message);
		if (r != 0)
			return kc_fail(k, r, "%s", message);
	} else if ((r = kc_load_conf(k)) != 0) {
		return r;
	}
	while (k->daemon == NULL && r == 0 && conf_row_next(k->conf, &pos, &option)) {
		if (set && option.file == NULL)
			continue;
		tf_buf_reset(&row);
		js_w_init(&w, &row);
		js_w_object(&w);
		ctl_write_option(&w, &option);
		js_w_object_end(&w);
		r = js_w_done(&w) != 0 ? TF_E_NOMEM : kc_rows_add(&k->rows, tf_buf_span(&row));
	}
	tf_buf_free(&row);
	if (r != 0)
		return kc_fail(k, CTL_FAILED, "out of memory");
	kc_show(k);
	return CTL_OK;
}

int
kc_local(struct kc *k)
{
	static const struct {
		const char *words;
		int (*fn)(struct kc *k);
	} commands[] = {
		{ "config check", config_check },
		{ "config show", config_show },
		{ "ledger rebuild", kc_ledger },
		{ "ledger verify", kc_ledger },
		{ "metrics", kc_metrics },
		{ "model list", kc_models },
		{ "status", kc_status },
		{ "usage export", kc_export },
	};

	for (size_t i = 0; i < TF_LEN(commands); i++)
		if (strcmp(commands[i].words, k->cmd->name) == 0)
			return commands[i].fn(k);
	return kc_fail(k, CTL_FAILED, "%s: not implemented by this keyctl", k->cmd->name);
}

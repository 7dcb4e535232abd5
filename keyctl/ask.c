/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemons' sockets are, and the rows they answer. */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "keyctl/kc.h"

int
kc_rows_add(struct kc_rows *rows, struct tf_span json)
{
	char **v = tf_grow(rows->v, rows->n, &rows->cap, sizeof *v, 16);

	if (v == NULL)
		return TF_E_NOMEM;
	rows->v = v;
	v[rows->n] = tf_span_dup(json);
	if (v[rows->n] == NULL)
		return TF_E_NOMEM;
	rows->n++;
	return 0;
}

void
kc_rows_free(struct kc_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		tf_wipe(rows->v[i], strlen(rows->v[i])); /* a minted key may be in it */
		free(rows->v[i]);
	}
	free(rows->v);
	*rows = (struct kc_rows){ 0 };
}

static int
on_row(void *arg, struct tf_span row)
{
	return kc_rows_add(arg, row);
}

/* ---- where -------------------------------------------------------------------------------- */

const char *
kc_conf_path(const struct kc *k)
{
	return k->conf_path != NULL ? k->conf_path : TF_CONF_FILE;
}

int
kc_load_conf(struct kc *k)
{
	struct conf_errors e = { 0 };
	int r;

	if (k->conf != NULL)
		return 0;
	r = conf_load(kc_conf_path(k), &k->conf, &e);
	for (size_t i = 0; i < e.n; i++)
		fprintf(k->err, "keyctl: %s\n", e.v[i]);
	if (e.more > 0)
		fprintf(k->err, "keyctl: and %zu more\n", e.more);
	if (r == TF_E_NOMEM)
		fprintf(k->err, "keyctl: out of memory\n");
	conf_errors_free(&e);
	return r == 0 ? 0 : CTL_FAILED;
}

/*
 * --run-dir, then the file of -c, then the environment, then the system's file, then the default.
 */
const char *
kc_run_dir(struct kc *k)
{
	const char *env = getenv("TOKENFACTORY_RUN_DIR");

	if (k->run_dir != NULL)
		return k->run_dir;
	if (k->conf_path == NULL && env != NULL && env[0] != '\0')
		return env;
	if (k->conf_path == NULL && access(TF_CONF_FILE, F_OK) != 0)
		return "/run/tokenfactory";
	return kc_load_conf(k) == 0 ? k->conf->common.run_dir : NULL;
}

static unsigned
patience(const struct kc *k)
{
	const struct kc_line *l;

	if (k->cmd != NULL)
		KC_EACH(k->cmd, l)
			if (l->kind == KC_SLOW)
				return KC_SLOW_MS;
	return KC_TIMEOUT_MS;
}

int
kc_ask(struct kc *k, const char *instance, const char *cmd, struct kc_rows *rows, char *message,
    size_t size)
{
	const char *dir = kc_run_dir(k);
	struct ctl_call call = { .cmd = cmd,
		.args = tf_buf_span(&k->args),
		.timeout_ms = patience(k),
		.fn = on_row,
		.arg = rows };
	char path[256];
	int r;

	if (dir == NULL) {
		snprintf(message, size,
		    "the configuration says where the sockets are, and it cannot be used");
		return CTL_FAILED;
	}
	if (strchr(instance, '/') != NULL || ctl_path(dir, instance, path, sizeof path) != 0) {
		snprintf(message, size, "%s: no name of a daemon", instance);
		return CTL_USAGE;
	}
	call.path = path;
	r = (int)ctl_ask(&call, message, size);
	if (r == CTL_OK && message[0] != '\0')
		fprintf(k->err, "keyctl: %s\n", message); /* it was done, but */
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What server and client both need; no loop, so that keyctl links none. */
#include "config.h"

#include <stdio.h>
#include <sys/un.h>

#include "common/conf/conf.h"
#include "common/ctl/ctl.h"

const char *
ctl_err_code(enum ctl_err err)
{
	switch (err) {
	case CTL_OK:
		break;
#define CTL_ERR(sym, number, code, help) \
	case CTL_##sym: \
		return code;
#include "common/ctl/err.def"
#undef CTL_ERR
	}
	return "ok";
}

int
ctl_path(const char *run_dir, const char *name, char *out, size_t size)
{
	struct sockaddr_un sun;
	int n = snprintf(out, size, "%s/%s.ctl", run_dir, name);

	return n < 0 || (size_t)n >= size || (size_t)n >= sizeof sun.sun_path ? TF_E_RANGE : 0;
}

void
ctl_write_option(struct js_w *w, const struct conf_row *row)
{
	char source[4096];

	if (row->file != NULL)
		snprintf(source, sizeof source, "%s:%u", row->file, row->line);
	js_w_kcstr(w, "section", row->section);
	js_w_kcstr(w, "key", row->key);
	js_w_kcstr(w, "value", row->value);
	js_w_kcstr(w, "source", row->file != NULL ? source : "default");
	js_w_kcstr(w, "applies", row->reloadable ? "reload" : "restart");
}

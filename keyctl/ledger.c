/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "ledger verify" and "ledger rebuild": billingd checks, signs of life are left out, and what is wrong is the status. What
 * gateways of this host have written down and billingd does not have yet is looked at here, in their directory.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/spool/spool.h"
#include "keyctl/kc.h"

/* One more row, when this host has such a directory and we may read it. */
static int
spool_row(struct kc *k, uint64_t *wrong)
{
	struct sp_sizes sizes;
	struct tf_buf row = { 0 };
	struct js_w w;
	int r;

	if (k->conf == NULL && (access(kc_conf_path(k), R_OK) != 0 || kc_load_conf(k) != 0))
		return 0;
	if (sp_dir_sizes(k->conf->gatewayd.spool_dir, &sizes) != 0)
		return 0;
	*wrong += sizes.bad;
	js_w_init(&w, &row);
	js_w_object(&w);
	js_w_kcstr(&w, "check", "spool");
	js_w_kcstr(&w, "holds", sizes.bad == 0 ? "yes" : "no");
	js_w_ku64(&w, "looked", sizes.segments + sizes.bad);
	js_w_ku64(&w, "wrong", sizes.bad);
	js_w_ku64(&w, "skipped", 0);
	js_w_kcstr(&w, "first", sizes.bad == 0 ? NULL : k->conf->gatewayd.spool_dir);
	js_w_kcstr(&w, "what", "no file of what is charged and not yet in the ledger is damaged");
	js_w_ku64(&w, "bytes", sizes.bytes);
	js_w_object_end(&w);
	r = js_w_done(&w) != 0 ? TF_E_NOMEM : kc_rows_add(&k->rows, tf_buf_span(&row));
	tf_buf_free(&row);
	return r == 0 ? 0 : kc_fail(k, CTL_FAILED, "out of memory");
}

int
kc_ledger(struct kc *k)
{
	bool verify = strcmp(k->cmd->name, "ledger verify") == 0;
	struct kc_rows all = { 0 };
	char message[1024] = "";
	uint64_t wrong = 0, n;
	struct tf_span v;
	int r = kc_ask(k, "billingd", k->cmd->name, &all, message, sizeof message);

	if (r != 0)
		(void)kc_fail(k, r, "%s", message);
	for (size_t i = 0; i < all.n && r == 0; i++) {
		if (js_member(tf_cspan(all.v[i]), "progress", &v))
			continue;
		if (verify && js_member(tf_cspan(all.v[i]), "wrong", &v) && js_get_u64(v, &n) == 0)
			wrong += n;
		if (kc_rows_add(&k->rows, tf_cspan(all.v[i])) != 0)
			r = kc_fail(k, CTL_FAILED, "out of memory");
	}
	kc_rows_free(&all);
	if (r == 0 && verify)
		r = spool_row(k, &wrong);
	if (r != 0)
		return r;
	kc_show(k);
	return wrong == 0 ? CTL_OK : kc_fail(k, CTL_FAILED, "the ledger does not add up");
}

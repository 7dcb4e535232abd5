/* SPDX-License-Identifier: Apache-2.0 */
/* "ledger verify" and "ledger rebuild": billingd checks, signs of life are left out, and what is wrong is the status. */
#include "config.h"

#include <stdlib.h>

#include "keyctl/kc.h"

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
	if (r != 0)
		return r;
	kc_show(k);
	return wrong == 0 ? CTL_OK : kc_fail(k, CTL_FAILED, "the ledger does not add up");
}

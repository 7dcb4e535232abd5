/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A response as a gateway puts it: whatever is accepted becomes items that are valid JSON objects
 * with the id that their row has.
 */
#include "config.h"

#include <stdlib.h>

#include "common/json/json.h"
#include "stored/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct st_response r;
	struct tf_span id;

	if (st_response_read(tf_span(data, n), &r) == 0) {
		if (r.id.n == 0 || js_type(r.object) != JS_OBJECT)
			abort();
		for (size_t i = 0; i < r.n_items; i++) {
			const struct st_item *row = &r.items[i];

			if (js_valid(row->json) == TF_E_INVAL || js_type(row->json) != JS_OBJECT || row->id.n == 0 ||
			    row->id.n > ST_NAME_MAX || !js_member(row->json, "id", &id) || !js_str_eqn(id, row->id))
				abort();
		}
	}
	st_response_fini(&r);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codex (OpenAI's coding agent) asks its provider for {"models":[...]} with descriptions of its own
 * format, and reports a listing without that member as broken. So the member is always there; it has
 * entries only when the operator supplies them, for an entry's base_instructions replace the
 * agent's own, and one entry that lacks a member voids the whole list.
 */
#include "config.h"

#include <stdio.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_models.h"

#define GW_CODEX_MAX (4u << 20) /* bytes of the file */

/* The catalogue's model of an entry; NULL when its slug is none. */
static const struct conf_model *
gw_codex_model(const struct conf *c, struct tf_span entry)
{
	struct tf_buf scratch = { 0 };
	const struct conf_model *m = NULL;
	struct tf_span slug;

	if (js_type(entry) == JS_OBJECT && js_member(entry, "slug", &slug) && js_type(slug) == JS_STRING &&
	    js_str(slug, &scratch, &slug) == 0)
		m = conf_find_model(c, CONF_SIDE_OPENAI, slug);
	tf_buf_free(&scratch);
	return m;
}

int
gw_codex_read(const struct conf *c, struct tf_buf *out, char *why, size_t size)
{
	const char *path = c->gatewayd.codex_models_file;
	struct tf_span entry;
	struct js_iter it;
	size_t n = 0;
	int rc;

	if (path == NULL)
		return 0;
	rc = conf_read_file(path, GW_CODEX_MAX, out, why, size);
	if (rc != 0)
		return rc;
	if (js_valid(tf_buf_span(out)) != 0 || js_type(tf_buf_span(out)) != JS_ARRAY) {
		snprintf(why, size, "[gatewayd] codex-models-file: %s: not a JSON array", path);
		rc = TF_E_INVAL;
	}
	js_iter_init(&it, tf_buf_span(out));
	while (rc == 0 && js_iter_next(&it, NULL, &entry)) {
		n++;
		if (gw_codex_model(c, entry) == NULL) {
			snprintf(why, size, "[gatewayd] codex-models-file: %s: entry %zu has no slug that names a model",
			    path, n);
			rc = TF_E_INVAL;
		}
	}
	if (rc != 0)
		tf_buf_free(out);
	return rc;
}

/* Only Codex says its version, so that others are not sent what may be long. */
static bool
gw_codex_asks(const struct gw_req *req)
{
	struct tf_span query = http_req_query(req->http), name, value;
	size_t pos = 0;

	while (http_query_next(query, &pos, &name, &value))
		if (tf_span_is(name, "client_version"))
			return true;
	return false;
}

void
gw_codex_write(struct js_w *w, const struct gw_req *req)
{
	struct tf_span entry;
	struct js_iter it;

	js_w_key(w, "models");
	js_w_array(w);
	if (req->conf->codex.n > 0 && gw_codex_asks(req)) {
		js_iter_init(&it, tf_buf_span(&req->conf->codex));
		while (js_iter_next(&it, NULL, &entry)) {
			const struct conf_model *m = gw_codex_model(req->conf->c, entry);

			if (m != NULL && gw_may_model(req, m->name) == GW_ALLOWED)
				js_w_compact(w, entry);
		}
	}
	js_w_array_end(w);
}

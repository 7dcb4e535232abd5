/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue as clients see it, and what routerd says of live workers. Listings come from the
 * configuration, limited to what the key may use; the members beyond the vendors' are the product's own.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_op.h"

static void
gw_live_free(struct gw_thread *t)
{
	for (size_t i = 0; i < t->nlive; i++)
		free(t->live[i].id);
	free(t->live);
	t->live = NULL;
	t->nlive = 0;
}

void
gw_models_live(struct gw_thread *t, const struct wire_models *m)
{
	struct wire_rep it;
	struct tf_span s;

	gw_live_free(t);
	if (m == NULL)
		return;
	it = m->model;
	while (wire_next(&it, &s)) {
		struct wire_live_rec rec;
		struct gw_live *v;

		if (wire_dec_live_rec(s, &rec) != 0)
			return;
		v = realloc(t->live, (t->nlive + 1) * sizeof *v);
		if (v == NULL)
			return;
		t->live = v;
		v[t->nlive] = (struct gw_live){ .id = tf_span_dup(rec.id), .workers = rec.workers, .needs = rec.needs };
		if (v[t->nlive].id == NULL)
			return;
		t->nlive++;
	}
}

uint64_t
gw_models_live_needs(const struct gw_thread *t, const char *id)
{
	for (size_t i = 0; i < t->nlive; i++)
		if (strcmp(t->live[i].id, id) == 0)
			return t->live[i].workers > 0 ? t->live[i].needs : 0;
	return 0;
}

bool
gw_models_is_live(const struct gw_thread *t, const char *id)
{
	for (size_t i = 0; i < t->nlive; i++)
		if (strcmp(t->live[i].id, id) == 0)
			return t->live[i].workers > 0;
	return false;
}

bool
gw_models_any_live(const struct gw_thread *t)
{
	for (size_t i = 0; i < t->nlive; i++)
		if (t->live[i].workers > 0)
			return true;
	return false;
}

static struct tf_span
gw_model_provider(const struct conf_model *m)
{
	const char *slash = strchr(m->name, '/');

	if (m->provider != NULL)
		return tf_cspan(m->provider);
	return slash ? tf_span(m->name, (size_t)(slash - m->name)) : tf_cspan("system");
}

/* Names are those of conf.def's help; each is a member, so that a client can test for it. */
static const char *const gw_capability_names[] = {
	"chat", "completions", "tools", "json", "vision", "audio", "files", "thinking", "streaming", "embeddings", "images",
	"speech", "transcription", "rerank",
};

bool
gw_capability_known(const char *name)
{
	for (size_t i = 0; i < TF_LEN(gw_capability_names); i++)
		if (strcmp(gw_capability_names[i], name) == 0)
			return true;
	return dl_need_by_capability(tf_cspan(name)) != 0;
}

bool
gw_model_has(const struct conf_model *m, const char *capability)
{
	for (size_t i = 0; i < m->capabilities.n; i++)
		if (strcmp(m->capabilities.v[i], capability) == 0)
			return true;
	return false;
}

static void
gw_model_length(struct js_w *w, const char *name, int64_t v)
{
	if (v > 0)
		js_w_ki64(w, name, v);
	else
		js_w_knull(w, name);
}

/* ---- prices -------------------------------------------------------------------------------- */

/* An amount, or what applies when it is not set. */
static int64_t
gw_price(int64_t amount, int64_t instead)
{
	return amount != CONF_NO_AMOUNT ? amount : instead;
}

static void
gw_price_write(struct js_w *w, const char *name, int64_t amount)
{
	if (amount == CONF_NO_AMOUNT) {
		js_w_knull(w, name);
		return;
	}
	js_w_key(w, name);
	js_w_nano(w, amount);
}

/* Of one token, as text: clients of several hosted catalogues expect it under these names. */
static void
gw_price_token(struct js_w *w, const char *name, int64_t per_million)
{
	const int64_t unit = INT64_C(1000000000000000); /* nano-units of a million are 10^-15 of one */
	char text[40];
	int n;

	if (per_million == CONF_NO_AMOUNT) {
		js_w_knull(w, name);
		return;
	}
	n = snprintf(text, sizeof text, "%" PRId64 ".%015" PRId64, per_million / unit, per_million % unit);
	while (text[n - 1] == '0')
		n--;
	js_w_kstr(w, name, tf_span(text, (size_t)(text[n - 1] == '.' ? n - 1 : n)));
}

/* Of images by size, or by size and quality. */
static void
gw_price_images(struct js_w *w, const struct conf_model *m)
{
	if (m->price_image_sizes.n == 0)
		return;
	js_w_key(w, "image_sizes");
	js_w_object(w);
	for (size_t i = 0; i < m->price_image_sizes.n; i++) {
		struct tf_span what;
		int64_t amount = conf_image_size(m, i, &what);

		js_w_keyn(w, what);
		js_w_nano(w, amount);
	}
	js_w_object_end(w);
}

static void
gw_pricing(struct js_w *w, const struct conf *c, const struct conf_model *m)
{
	const int64_t all[] = { m->price_input, m->price_cached_input, m->price_cache_write, m->price_output,
		m->price_reasoning, m->price_audio_hour, m->price_characters, m->price_image };
	bool none = m->price_image_sizes.n == 0;

	for (size_t i = 0; i < TF_LEN(all); i++)
		none = none && all[i] == CONF_NO_AMOUNT;
	if (none) {
		js_w_knull(w, "pricing");
		return;
	}
	js_w_key(w, "pricing");
	js_w_object(w);
	js_w_kcstr(w, "currency", c->common.currency);
	gw_price_write(w, "input", m->price_input);
	gw_price_write(w, "cached_input", gw_price(m->price_cached_input, m->price_input));
	gw_price_write(w, "cache_write", gw_price(m->price_cache_write, m->price_input));
	gw_price_write(w, "output", m->price_output);
	gw_price_write(w, "reasoning", gw_price(m->price_reasoning, m->price_output));
	gw_price_write(w, "audio_hour", m->price_audio_hour);
	gw_price_write(w, "characters", m->price_characters);
	gw_price_write(w, "image", m->price_image);
	gw_price_images(w, m);
	gw_price_token(w, "prompt", m->price_input);
	gw_price_token(w, "completion", m->price_output);
	js_w_object_end(w);
}

/* ---- one model ----------------------------------------------------------------------------- */

static void
gw_model_names(struct js_w *w, const struct conf_list *names)
{
	for (size_t i = 0; i < names->n; i++)
		js_w_cstr(w, names->v[i]);
}

void
gw_model_extras(struct js_w *w, const struct gw_req *req, const struct conf_model *m)
{
	js_w_kcstr(w, "name", m->display_name ? m->display_name : m->name);
	js_w_kstr(w, "provider", gw_model_provider(m));
	js_w_kcstr(w, "modality", m->modality);
	js_w_kcstr(w, "status", m->status);
	js_w_kbool(w, "ultrafast", m->ultrafast);
	gw_model_length(w, "tokens_per_second", m->speed);
	gw_model_length(w, "context_length", m->context);
	gw_model_length(w, "max_model_len", m->context);
	gw_model_length(w, "max_output_tokens", m->max_output ? m->max_output : m->context);
	gw_pricing(w, req->conf->c, m);
	js_w_key(w, "aliases");
	js_w_array(w);
	gw_model_names(w, &m->aliases);
	gw_model_names(w, gw_side(req) == CONF_SIDE_ANTHROPIC ? &m->aliases_anthropic : &m->aliases_openai);
	js_w_array_end(w);
}

void
gw_model_capabilities(struct js_w *w, const struct conf_model *m, void (*write)(struct js_w *w, const char *name, bool yes))
{
	for (size_t i = 0; i < TF_LEN(gw_capability_names); i++)
		write(w, gw_capability_names[i], gw_model_has(m, gw_capability_names[i]));
}

static void
gw_model_write(struct js_w *w, const struct gw_req *req, const struct conf_model *m)
{
	js_w_object(w);
	js_w_kcstr(w, "id", m->name);
	js_w_kcstr(w, "object", "model");
	js_w_ki64(w, "created", m->created);
	js_w_kstr(w, "owned_by", gw_model_provider(m));
	gw_model_extras(w, req, m);
	js_w_key(w, "capabilities");
	js_w_object(w);
	gw_model_capabilities(w, m, js_w_kbool);
	js_w_object_end(w);
	js_w_object_end(w);
}

void
gw_models_reply(struct gw_req *req, struct js_w *w, struct tf_buf *out)
{
	if (js_w_done(w) != 0)
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	else
		gw_req_json(req, 200, out);
	tf_buf_free(out);
}

int
gw_op_models(struct gw_req *req)
{
	const struct conf *c = req->conf->c;
	struct tf_buf out = { 0 };
	struct js_w w;

	if (req->anthropic)
		return gw_models_anthropic(req);
	js_w_init(&w, &out);
	js_w_object(&w);
	js_w_kcstr(&w, "object", "list");
	js_w_key(&w, "data");
	js_w_array(&w);
	for (size_t i = 0; i < c->model_n; i++)
		if (gw_may_model(req, c->model[i].name) == GW_ALLOWED)
			gw_model_write(&w, req, &c->model[i]);
	js_w_array_end(&w);
	gw_codex_write(&w, req);
	js_w_object_end(&w);
	gw_models_reply(req, &w, &out);
	return 0;
}

void
gw_model_unknown(struct dl_fault *f, struct tf_span asked)
{
	dl_fault_set(f, TF_E_MODEL_NOT_FOUND, "model",
	    "The model %s does not exist or this key has no access to it. GET /v1/models lists the models.",
	    tf_log_q(asked));
}

int
gw_op_model(struct gw_req *req)
{
	const struct conf_model *m = conf_find_model(req->conf->c, gw_side(req), tf_cspan(req->rest));
	struct tf_buf out = { 0 };
	struct dl_fault f;
	struct js_w w;

	if (m == NULL || gw_may_model(req, m->name) != GW_ALLOWED) {
		gw_model_unknown(&f, tf_cspan(req->rest));
		gw_req_fail(req, f.err, f.param, f.message, 0);
		return 0;
	}
	if (req->anthropic)
		return gw_model_anthropic(req, m);
	js_w_init(&w, &out);
	gw_model_write(&w, req, m);
	gw_models_reply(req, &w, &out);
	return 0;
}

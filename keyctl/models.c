/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue as the configuration file states it, with the workers that serve each model. */
#include "config.h"

#include "keyctl/kc.h"

static void
write_amount(struct js_w *w, const char *name, int64_t nano)
{
	if (nano == CONF_NO_AMOUNT) {
		js_w_knull(w, name);
		return;
	}
	js_w_key(w, name);
	js_w_nano(w, nano);
}

static void
write_count(struct js_w *w, const char *name, int64_t n)
{
	if (n > 0)
		js_w_ki64(w, name, n);
	else
		js_w_knull(w, name);
}

static void
write_names(struct js_w *w, const char *name, const struct conf_list *list)
{
	js_w_key(w, name);
	js_w_array(w);
	for (size_t i = 0; i < list->n; i++)
		js_w_cstr(w, list->v[i]);
	js_w_array_end(w);
}

static void
write_workers(struct js_w *w, const struct conf *c, const struct conf_model *m)
{
	js_w_key(w, "workers");
	js_w_array(w);
	for (size_t i = 0; i < c->worker_n; i++)
		for (size_t k = 0; k < c->worker[i].models.n; k++)
			if (conf_worker_model(c, &c->worker[i], k, NULL) == m)
				js_w_cstr(w, c->worker[i].name);
	js_w_array_end(w);
}

static void
write_model(struct js_w *w, const struct conf *c, const struct conf_model *m)
{
	js_w_object(w);
	js_w_kcstr(w, "id", m->name);
	js_w_kcstr(w, "name", m->display_name);
	js_w_kcstr(w, "modality", m->modality);
	js_w_kcstr(w, "status", m->status);
	js_w_kbool(w, "ultrafast", m->ultrafast);
	write_count(w, "context", m->context);
	write_count(w, "max_output", m->max_output ? m->max_output : m->context);
	js_w_kcstr(w, "currency", c->common.currency);
	write_amount(w, "price_input", m->price_input);
	write_amount(w, "price_cached_input", m->price_cached_input);
	write_amount(w, "price_cache_write", m->price_cache_write);
	write_amount(w, "price_output", m->price_output);
	write_amount(w, "price_reasoning", m->price_reasoning);
	write_amount(w, "price_audio_hour", m->price_audio_hour);
	write_amount(w, "price_characters", m->price_characters);
	write_amount(w, "price_image", m->price_image);
	write_amount(w, "price_gpu_hour", m->price_gpu_hour);
	write_names(w, "price_image_sizes", &m->price_image_sizes);
	write_names(w, "capabilities", &m->capabilities);
	write_names(w, "aliases", &m->aliases);
	write_names(w, "aliases_openai", &m->aliases_openai);
	write_names(w, "aliases_anthropic", &m->aliases_anthropic);
	write_workers(w, c, m);
	js_w_object_end(w);
}

int
kc_models(struct kc *k)
{
	struct tf_buf row = { 0 };
	struct js_w w;
	int r = kc_load_conf(k);

	if (r != 0)
		return r;
	for (size_t i = 0; r == 0 && i < k->conf->model_n; i++) {
		tf_buf_reset(&row);
		js_w_init(&w, &row);
		write_model(&w, k->conf, &k->conf->model[i]);
		r = js_w_done(&w) != 0 ? TF_E_NOMEM : kc_rows_add(&k->rows, tf_buf_span(&row));
	}
	tf_buf_free(&row);
	if (r != 0)
		return kc_fail(k, CTL_FAILED, "out of memory");
	kc_show(k);
	return CTL_OK;
}

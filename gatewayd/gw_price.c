/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call costs: the prices of its model are taken once, at admission, so that a reload while it runs changes
 * neither what it may spend nor what it is charged.
 */
#include "config.h"

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"

/* What a request says of its images: the characters of a JSON string, or a form's text. Empty: nothing. */
static struct tf_span
gw_price_word(const struct gw_req *req, struct dl_range at, struct tf_buf *scratch)
{
	struct tf_span text;

	if (at.end == 0 || at.end > req->body_len || at.start > at.end)
		return tf_span("", 0);
	text = tf_span(req->body + at.start, at.end - at.start);
	if (req->content_type == NULL && js_str(text, scratch, &text) != 0)
		return tf_span("", 0); /* null */
	return text;
}

static int64_t
gw_price_image(const struct gw_req *req)
{
	const struct dl_scan_image *said = &req->scan->image;
	struct tf_buf size = { 0 }, quality = { 0 };
	int64_t price;

	price = conf_image_price(req->model, gw_price_word(req, said->size, &size), gw_price_word(req, said->quality, &quality));
	tf_buf_free(&size);
	tf_buf_free(&quality);
	return price;
}

void
gw_price_take(struct gw_req *req)
{
	const struct conf_model *m = req->model;
	int64_t *v = req->price.v;

#define PRICE(sym, field, units, what) v[TF_P_##sym] = m->price_##field;
#include "common/base/price.def"
#undef PRICE
	if (v[TF_P_CACHED_INPUT] == CONF_NO_AMOUNT)
		v[TF_P_CACHED_INPUT] = m->price_input;
	if (v[TF_P_CACHE_WRITE] == CONF_NO_AMOUNT)
		v[TF_P_CACHE_WRITE] = m->price_input;
	if (v[TF_P_REASONING] == CONF_NO_AMOUNT)
		v[TF_P_REASONING] = m->price_output;
	if (m->price_image_sizes.n > 0 && req->scan != NULL)
		v[TF_P_IMAGE] = gw_price_image(req);
}

void
gw_price_usage(const struct gw_req *req, struct wire_usage *m)
{
#define PRICE(sym, field, units, what)                                                             \
	if (req->price.v[TF_P_##sym] != TF_NO_PRICE)                                               \
		wire_set(m, USAGE, price_##field, (uint64_t)req->price.v[TF_P_##sym]);
#include "common/base/price.def"
#undef PRICE
}

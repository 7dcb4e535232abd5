/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ZeroMQ message as a peer may send it: frames back to back, decoded with their records.
 * What decodes must encode, and decode again to the same bytes.
 */
#include "config.h"

#include <stdlib.h>

#include "common/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
walk(struct wire_rep r)
{
	struct wire_gateway_rec gateway;
	struct wire_model_rec model;
	struct wire_live_rec live;
	struct tf_span e;

	while (wire_next(&r, &e)) {
		if (wire_dec_model_rec(e, &model) == 0 && model.id.n > WIRE_TEXT_MAX)
			abort();
		if (wire_dec_gateway_rec(e, &gateway) == 0 && !(gateway.has & 2))
			abort();
		if (wire_dec_live_rec(e, &live) == 0 && live.id.p == NULL)
			abort();
	}
}

static void
one_frame(const struct wire_frame *f)
{
	struct tf_buf a = { 0 }, b = { 0 };
	struct wire_frame again;
	union wire_any m;
	size_t used;

	if (wire_dec(f, &m) != 0)
		return;
	if (f->verb == WIRE_READY)
		walk(m.ready.model);
	else if (f->verb == WIRE_GATEWAYS)
		walk(m.gateways.gateway);
	else if (f->verb == WIRE_MODELS)
		walk(m.models.model);
	if (wire_enc(&a, f->verb, &f->id, f->attempt, &m, f->payload) != 0)
		abort();
	if (wire_frame_read(tf_buf_span(&a), &again, &used) != 0 || used != a.n ||
	    wire_dec(&again, &m) != 0)
		abort();
	if (wire_enc(&b, again.verb, &again.id, again.attempt, &m, again.payload) != 0 ||
	    !tf_span_eq(tf_buf_span(&a), tf_buf_span(&b)))
		abort();
	tf_buf_free(&a);
	tf_buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tf_span in = tf_span(data, n);
	struct wire_frame f;
	size_t used;

	while (in.n > 0 && wire_frame_read(in, &f, &used) == 0) {
		one_frame(&f);
		in = tf_span(in.p + used, in.n - used);
	}
	return 0;
}

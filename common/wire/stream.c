/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte offsets and cumulative credit of a stream that crosses a link. ZeroMQ drops what
 * it cannot deliver, so the receiver checks that every byte follows the last one. Used by
 * gatewayd and workerd for answers and request bodies.
 */
#include "config.h"

#include "common/wire/wire.h"

int
wire_rx_data(struct wire_rx *r, uint64_t offset, size_t n)
{
	if (offset != r->next || n > r->limit - r->next)
		return TF_E_PROTO;
	r->next += n;
	return 0;
}

bool
wire_rx_credit(struct wire_rx *r, uint64_t held)
{
	uint64_t limit;

	if (held >= r->window)
		return false;
	limit = r->next + (r->window - held);
	if (limit <= r->limit || limit - r->limit < r->window / 2)
		return false;
	r->limit = limit;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks as operators and proxies write them: what is read is written back the same. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tf_network a, b;
	uint8_t address[TF_ADDRESS];
	char text[TF_NETWORK_TEXT];

	if (tf_network_parse(tf_span(data, n), &a) == 0) {
		CHECK(a.bits <= 128 && tf_network_has(&a, a.address));
		tf_network_text(&a, text);
		CHECK(tf_network_parse(tf_cspan(text), &b) == 0);
		CHECK(a.bits == b.bits && memcmp(a.address, b.address, TF_ADDRESS) == 0);
	}
	if (tf_address_parse(tf_span(data, n), address) == 0)
		CHECK(n >= 2); /* :: is the shortest */
	return 0;
}

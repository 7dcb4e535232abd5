/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recordings: any bytes are told apart and measured without a read beyond them, and never longer than a year or,
 * where the container does not say, than their size allows.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/media.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const names[] = { "", "a.mp3", "a.wav", "a.m4a", "a.ogg", "a.flac", "a.webm", "a.mpga", "a.aac" };
	struct dl_media m;

	if (n < 1)
		return 0;
	dl_media_probe(tf_span(data + 1, n - 1), tf_cspan(names[data[0] % TF_LEN(names)]), &m);
	CHECK(m.ms <= 1000ull * 3600 * 24 * 366);
	CHECK(m.exact || m.ms == (n - 1) / 8);
	CHECK(!m.exact || m.kind != DL_MEDIA_NONE);
	return 0;
}

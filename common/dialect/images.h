/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the surfaces that answer images share: the answer, whole or as events. Private to this folder.
 */
#ifndef TF_DIALECT_IMAGES_H
#define TF_DIALECT_IMAGES_H

#include "common/dialect/field.h"
#include "common/dialect/plain.h"
#include "common/dialect/split.h"

#define IMAGES_MAX 10         /* of one answer */
#define IMAGES_PROMPT_MAX 32000 /* characters */
#define IMAGES_EVENT_MAX ((size_t)96 << 20)

struct images { /* the state of an attempt */
	const char *event; /* prefix of the events: "image_generation" */
	bool url;          /* the client wants addresses */
	char content_type[80]; /* of the runtime's request, when it is made of JSON; else "" */
	struct dl_split split;
	struct tf_buf image[IMAGES_MAX]; /* entries for the client */
	struct tf_buf address[IMAGES_MAX]; /* of those that the runtime has still to be asked for, characters */
	uint32_t n;
	size_t held;
};

enum dl_way images_begin(struct dl_job *j, struct tf_span content_type);
int images_bytes(struct dl_job *j, struct tf_span piece, struct tf_buf *out);
int images_event(struct dl_job *j, struct tf_span event, struct tf_span data, struct tf_buf *out);
int images_end(struct dl_job *j, struct tf_buf *out);
bool images_wants(const struct dl_job *j, struct tf_span *url);
int images_fetched(struct dl_job *j, struct tf_span bytes);
void images_fini(struct dl_job *j);

/* "WIDTHxHEIGHT" or "auto"? s: a JSON string's characters. */
bool images_size_ok(struct tf_span s);
/* Members of a request in JSON that are strings, for the scan. */
int images_on_prompt(struct dl_scan *s, const struct dl_value *v);
int images_on_size(struct dl_scan *s, const struct dl_value *v);
int images_on_format(struct dl_scan *s, const struct dl_value *v);
/* "data:image/png;base64,AAAA" holds bytes: *b64 is AAAA. False for any other address. */
bool images_data_url(struct tf_span url, struct tf_span *b64);
/* By its first bytes: media type and extension, static. False: none that is known; then those of any bytes. */
bool images_kind(struct tf_span bytes, const char **type, const char **ext);
/* Is what the runtime makes to be asked for as bytes, though the client wants an address? */
bool images_ask_bytes(const struct dl_job *j, bool url);

/* ---- edits in JSON (image_edits_json.c) -------------------------------------------------- */

#define IMAGES_SOURCES_MAX 16

extern const struct dl_fields image_edits_fields;
/* As request of struct dl_plain. Open runtimes get a form, which is what they know; hosted ones the JSON. */
int image_edits_json(struct dl_job *j, struct tf_span body, struct tf_buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times the hot paths of common/json on the bodies the gateway sees, beside json-c parsing and
 * serialising the same. Prints and judges nothing; build with -O2 before reading the figures.
 */
#include "config.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json/json.h"

static const struct js_path request_paths[] = {
	{ "model", 1, JS_UNIQUE },
	{ "stream", 2, JS_UNIQUE },
	{ "messages", 3, JS_UNIQUE },
	{ "messages[*].role", 4, 0 },
	{ "messages[*].content[*].type", 5, 0 },
	{ "messages[*].content[*].image_url.url", 6, JS_NO_TEXT },
	{ "stream_options.include_usage", 7, JS_UNIQUE },
	{ "max_tokens", 8, JS_UNIQUE },
	{ "max_completion_tokens", 9, JS_UNIQUE },
	{ "n", 10, JS_UNIQUE },
	{ "tools", 11, JS_UNIQUE },
	{ "response_format.type", 12, JS_UNIQUE },
	{ "temperature", 13, 0 },
	{ "top_p", 14, 0 },
	{ "stop", 15, 0 },
	{ "seed", 16, 0 },
	{ "logprobs", 17, 0 },
	{ "chat_template", 18, 0 },
	{ "priority", 19, 0 },
	{ "cache_salt", 20, 0 },
	{ "id_slot", 21, 0 },
};

static const struct js_path chunk_paths[] = {
	{ "model", 1, 0 },
	{ "usage.*", 2, 0 },
	{ "choices[*].finish_reason", 3, 0 },
	{ "choices[*].delta.content", 4, 0 },
	{ "error", 5, 0 },
};

static const char chunk_text[] =
	"{\"id\":\"chatcmpl-01hzx3v9q7k2m4n6p8r0s2t4v6\",\"object\":\"chat.completion.chunk\","
	"\"created\":1732184512,\"model\":\"small-model\",\"system_fingerprint\":\"fp_44709d6fcb\","
	"\"choices\":[{\"index\":0,\"delta\":{\"content\":\" hello\"},\"logprobs\":null,"
	"\"finish_reason\":null}]}";

struct job {
	struct tf_span doc;
	const struct js_interest *in;
	struct tf_buf out;
	struct js_hit model;
};

static int
on_hit(void *arg, const struct js_hit *h)
{
	struct job *j = arg;

	if (h->id == 1)
		j->model = *h;
	return 0;
}

static int
scan(struct job *j)
{
	struct js_scan s;

	js_scan_init(&s, j->in, on_hit, j);
	return js_scan_end(&s, j->doc.p, j->doc.n);
}

static int
scan_splice(struct job *j)
{
	struct js_edit v[2];
	struct js_edits e;

	if (scan(j) < 0)
		return -1;
	js_edits_init(&e, v, 2);
	js_edit_replace(&e, j->model.start, j->model.end, TF_SPAN("\"the-runtimes-own-name\""));
	js_edit_insert_last(&e, j->doc.n, TF_SPAN("\"stream_options\":{\"include_usage\":true}"));
	tf_buf_reset(&j->out);
	return js_splice(j->doc, &e, &j->out);
}

static int
jsonc_both(struct job *j)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *t;
	size_t n = 0;

	if (tok == NULL)
		return -1;
	t = json_tokener_parse_ex(tok, j->doc.p, (int)j->doc.n);
	if (t != NULL)
		json_object_to_json_string_length(t, JSON_C_TO_STRING_PLAIN, &n);
	json_object_put(t);
	json_tokener_free(tok);
	return n > 0 ? 0 : -1;
}

/* The best of seven rounds, in microseconds a call. */
static void
measure(const char *what, struct job *j, int (*fn)(struct job *), unsigned times)
{
	uint64_t best = UINT64_MAX;

	for (unsigned round = 0; round < 7; round++) {
		uint64_t t0 = tf_mono_ns(), t;

		for (unsigned i = 0; i < times; i++)
			if (fn(j) != 0)
				abort();
		t = tf_mono_ns() - t0;
		best = t < best ? t : best;
	}
	printf("%-36s %8zu bytes %10.3f us\n", what, j->doc.n, (double)best / times / 1e3);
}

static void
add(struct tf_buf *b, const char *s)
{
	if (tf_buf_addstr(b, s) < 0)
		abort();
}

static void
chat_body(struct tf_buf *b)
{
	add(b, "{\"model\":\"small-model\","
	       "\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"}");
	for (unsigned i = 0; i < 3; i++) {
		add(b, ",{\"role\":\"user\",\"content\":\"");
		for (unsigned k = 0; k < 14; k++)
			add(b, "Some words of a question about life, etc.\\n ");
		add(b, "\"}");
	}
	add(b, "],\"temperature\":0.7,\"max_tokens\":256,\"stream\":true}");
}

static void
image_body(struct tf_buf *b)
{
	add(b, "{\"model\":\"small-model\","
	       "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
	       "\"image_url\":{\"url\":\"data:image/png;base64,");
	for (unsigned i = 0; i < 2000000 / 64; i++)
		add(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	add(b, "\"}}]}],\"stream\":true}");
}

int
main(void)
{
	struct job chat = { 0 }, image = { 0 }, chunk = { 0 };
	struct tf_buf a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
	struct js_interest *request, *event;

	if (js_interest_new(request_paths, TF_LEN(request_paths), &request) < 0 ||
	    js_interest_new(chunk_paths, TF_LEN(chunk_paths), &event) < 0)
		return 1;
	chat_body(&a);
	image_body(&b);
	chat.in = image.in = request;
	chat.doc = tf_buf_span(&a);
	image.doc = tf_buf_span(&b);
	chunk.in = event;
	chunk.doc = tf_cspan(chunk_text);
	measure("request: scan", &chat, scan, 100000);
	measure("request: scan, splice", &chat, scan_splice, 100000);
	measure("request: json-c parse, serialise", &chat, jsonc_both, 10000);
	measure("image: scan", &image, scan, 100);
	measure("image: scan, splice", &image, scan_splice, 100);
	measure("image: json-c parse, serialise", &image, jsonc_both, 10);
	measure("stream event: scan", &chunk, scan, 200000);
	measure("stream event: json-c parse, serialise", &chunk, jsonc_both, 20000);
	tf_buf_free(&chat.out);
	tf_buf_free(&image.out);
	tf_buf_free(&a);
	tf_buf_free(&b);
	js_interest_free(&request);
	js_interest_free(&event);
	return 0;
}

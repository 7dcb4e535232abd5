/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images surface: requests, answers with bytes and addresses, hosting, streams.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/attempt.h"
#include "tests/dialect/group.h"

#define IMG DL_OPENAI_IMAGES
#define DRAW(more) "{\"model\":\"m\",\"prompt\":\"a quay\"" more "}"
#define PNG64 "iVBORw0KGgoAAAA="
#define MADE "{\"created\":17,\"data\":["

static void
test_images_scan(void **state)
{
	static const char *const characters[] = { "\\ud83d\\ude00", "\xe2\x82\xac", "\\n" };
	struct tf_buf long_one = { 0 };

	(void)state;
	assert_true(accepts(IMG, DRAW("")));
	assert_int_equal(scan.head.needs, DL_NEED_IMAGES);
	assert_int_equal(scan.head.n, 1);
	assert_int_equal(scan.head.prompt_bytes, 6);
	assert_true(accepts(IMG, DRAW(",\"n\":10,\"size\":\"1024x768\",\"response_format\":\"b64_json\",\"stream\":true,"
		"\"quality\":\"hd\",\"output_compression\":100,\"partial_images\":3,\"seed\":7,\"negative_prompt\":\"x\"")));
	assert_int_equal(scan.head.n, 10);
	assert_true(scan.head.stream);
	assert_true(accepts(IMG, DRAW(",\"n\":null,\"size\":null,\"response_format\":null,\"stream\":null")));
	refuses(IMG, "{\"prompt\":\"x\"}", "model", "required");
	refuses(IMG, "{\"model\":\"m\"}", "prompt", "required");
	refuses(IMG, "{\"model\":\"m\",\"prompt\":\"\"}", "prompt", "empty");
	refuses(IMG, DRAW(",\"n\":0"), "n", "between 1 and 10");
	refuses(IMG, DRAW(",\"n\":11"), "n", "between 1 and 10");
	refuses(IMG, DRAW(",\"size\":\"big\""), "size", "WIDTHxHEIGHT");
	refuses(IMG, DRAW(",\"size\":\"1024x\""), "size", "WIDTHxHEIGHT");
	refuses(IMG, DRAW(",\"size\":\"1x1x1\""), "size", "WIDTHxHEIGHT");
	refuses(IMG, DRAW(",\"response_format\":\"png\""), "response_format", "url or b64_json");
	refuses(IMG, DRAW(",\"output_compression\":101"), "output_compression", "between 0 and 100");
	refuses(IMG, DRAW(",\"partial_images\":4"), "partial_images", "between 0 and 3");
	refuses(IMG, DRAW(",\"stream\":1"), "stream", "true or false");
	for (int n = 32000; n <= 32001; n++) {
		tf_buf_reset(&long_one);
		assert_int_equal(tf_buf_addstr(&long_one, "{\"model\":\"m\",\"prompt\":\""), 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(tf_buf_addstr(&long_one, characters[i % 3]), 0);
		assert_int_equal(tf_buf_addstr(&long_one, "\"}"), 0);
		dl_scan_init(&scan, IMG, 0, 0);
		assert_int_equal(dl_scan_end(&scan, long_one.p, long_one.n), n == 32000 ? 0 : TF_E_INVAL);
	}
	assert_string_equal(scan.fault.param, "prompt");
	tf_buf_free(&long_one);
}

static void
begin_hosting(struct attempt *a, const char *body, const char *base, uint32_t quirks)
{
	struct dl_xlate_conf conf = { .surface = IMG, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"), .model = TF_SPAN("r"),
		.base_url = tf_cspan(base), .quirks = quirks };

	memset(a, 0, sizeof *a);
	assert_true(accepts(IMG, body));
	a->x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(a->x);
	a->f = dl_xlate_facts(a->x);
	assert_int_equal(dl_xlate_request(a->x, tf_cspan(body), &a->sent), 0);
}

static void
test_images(void **state)
{
	static const char asked64[] = DRAW(",\"n\":2,\"response_format\":\"b64_json\"");
	struct attempt a;

	(void)state;
	becomes(IMG, asked64, "{\"created\":17,\"model\":\"r\",\"data\":[{\"b64_json\":\"" PNG64 "\",\"revised_prompt\":\"p\"},"
			      "{\"url\":\"data:image\\/png;base64," PNG64 "\"}],\"size\":\"1x1\"}",
	    MADE "{\"b64_json\":\"" PNG64 "\",\"revised_prompt\":\"p\"},{\"b64_json\":\"" PNG64 "\"}],\"size\":\"1x1\"}");
	becomes(IMG, DRAW(""), MADE "{\"url\":\"https:\\/\\/x.test\\/1.png\"}]}",
	    MADE "{\"url\":\"https:\\/\\/x.test\\/1.png\"}]}");
	/* more than was asked for is left out */
	becomes(IMG, DRAW(",\"response_format\":\"b64_json\""), MADE "{\"b64_json\":\"AAAA\"},{\"b64_json\":\"BBBB\"}]}",
	    MADE "{\"b64_json\":\"AAAA\"}]}");
	fails(IMG, asked64, MADE "]}", TF_E_UPSTREAM_ERROR, "");
	fails(IMG, asked64, MADE "{}]}", TF_E_UPSTREAM_ERROR, "");
	fails(IMG, asked64, MADE "{\"b64_json\":\"A\"}]}", TF_E_UPSTREAM_ERROR, "");
	fails(IMG, asked64, MADE "{\"b64_json\":\"\"}]}", TF_E_UPSTREAM_ERROR, "");
	fails(IMG, asked64, MADE "{\"url\":\"http://x.test/1.png\"}]}", TF_E_UPSTREAM_ERROR, "response_format");
	fails(IMG, asked64, "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}", TF_E_BAD_REQUEST, "");

	begin(&a, IMG, asked64);
	answer(&a, json, MADE "{\"b64_json\":\"AAAA\"},{\"b64_json\":\"BBBB\"}],"
			      "\"usage\":{\"input_tokens\":11,\"output_tokens\":900,\"total_tokens\":911}}", 5);
	assert_int_equal(a.f->units.images, 2);
	assert_int_equal(a.f->usage.prompt, 11);
	assert_int_equal(dl_usage_out(&a.f->usage), 0);
	assert_string_equal(dl_xlate_path(a.x), "/images/generations");
	end(&a);
}

/* A client that wants an address of a runtime that gives bytes. */
static void
test_images_hosted(void **state)
{
	static const char base[] = "https://api.test";
	static const char made[] = MADE "{\"b64_json\":\"" PNG64 "\"},{\"b64_json\":\"/9j/AA==\"}]}";
	struct dl_kept kept[2];
	struct attempt a;
	char want[512];

	(void)state;
	begin_hosting(&a, DRAW(",\"n\":2"), base, 0);
	assert_string_equal(tf_buf_cstr(&a.sent),
	    "{\"model\":\"r\",\"prompt\":\"a quay\",\"n\":2,\"response_format\":\"b64_json\"}");
	for (int times = 0; times < 2; times++) { /* another try forgets what the first one kept */
		dl_xlate_head(a.x, 200, tf_cspan(json), 0);
		if (times == 0) {
			assert_int_equal(dl_xlate_feed(a.x, made, strlen(made) - 1, &a.out), 0);
			continue;
		}
		assert_int_equal(dl_xlate_feed(a.x, made, strlen(made), &a.out), 0);
		assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
	}
	assert_int_equal(a.f->fault.err, 0);
	for (size_t i = 0; i < 2; i++)
		assert_true(dl_xlate_kept(a.x, i, &kept[i]));
	assert_false(dl_xlate_kept(a.x, 2, &kept[0]));
	assert_true(dl_xlate_kept(a.x, 0, &kept[0]));
	assert_true(tf_span_is(kept[0].content_type, "image/png") && tf_span_is(kept[1].content_type, "image/jpeg"));
	assert_memory_equal(kept[0].bytes.p, "\x89PNG\r\n\x1a\n", 8);
	assert_int_equal(kept[0].name.n, 44);
	assert_false(tf_span_eq(kept[0].name, kept[1].name));
	snprintf(want, sizeof want, MADE "{\"url\":\"%s/v1/images/hosted/%.*s\"},{\"url\":\"%s/v1/images/hosted/%.*s\"}]}",
	    base, TF_SPAN_ARG(kept[0].name), base, TF_SPAN_ARG(kept[1].name));
	assert_string_equal(tf_buf_cstr(&a.out), want);
	end(&a);

	/* what the client says is replaced; a hosted provider's addresses are good for anybody */
	begin_hosting(&a, DRAW(",\"response_format\":\"url\""), base, 0);
	assert_string_equal(tf_buf_cstr(&a.sent), "{\"model\":\"r\",\"prompt\":\"a quay\",\"response_format\":\"b64_json\"}");
	end(&a);
	begin_hosting(&a, DRAW(",\"response_format\":\"url\""), base, DL_Q_HOSTED);
	assert_string_equal(tf_buf_cstr(&a.sent), "{\"model\":\"r\",\"prompt\":\"a quay\",\"response_format\":\"url\"}");
	answer(&a, json, MADE "{\"b64_json\":\"" PNG64 "\"}]}", 9);
	assert_true(dl_xlate_kept(a.x, 0, &kept[0]));
	end(&a);

	/* nobody can host: said, not given in another form */
	begin_hosting(&a, DRAW(""), "", 0);
	assert_string_equal(tf_buf_cstr(&a.sent), "{\"model\":\"r\",\"prompt\":\"a quay\"}");
	answer(&a, json, MADE "{\"b64_json\":\"" PNG64 "\"}]}", 9);
	assert_int_equal(a.f->fault.err, TF_E_OVERLOADED);
	assert_string_equal(a.f->fault.param, "response_format");
	assert_false(a.f->fault.retryable);
	end(&a);
}

#define EV(name, more) "event: image_generation." name "\ndata: {\"type\":\"image_generation." name "\"," more "}\n\n"

/* A runtime that answers with addresses, of which the caller fetches what is the runtime's own. */
static void
test_images_fetched(void **state)
{
	static const char made[] = MADE "{\"url\":\"http:\\/\\/r:8\\/1.png\",\"revised_prompt\":\"p\"},"
					"{\"b64_json\":\"" PNG64 "\"},{\"url\":\"http://r:8/2.png\"}]}";
	static const char png[] = "\x89PNG\r\n\x1a\nAB";
	struct dl_kept kept[3];
	struct tf_span url;
	struct attempt a;

	(void)state;
	for (int good = 0; good < 2; good++) {
		begin(&a, IMG, DRAW(",\"n\":3,\"response_format\":\"b64_json\""));
		dl_xlate_head(a.x, 200, tf_cspan(json), 0);
		assert_int_equal(dl_xlate_feed(a.x, made, strlen(made), &a.out), 0);
		assert_false(dl_xlate_wants(a.x, &url));
		assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
		assert_true(!a.f->complete && a.f->fault.err == 0 && dl_xlate_wants(a.x, &url));
		assert_true(tf_span_is(url, "http://r:8/1.png"));
		assert_int_equal(dl_xlate_fetched(a.x, tf_cspan(png), &a.out), 0);
		assert_true(!a.f->complete && dl_xlate_wants(a.x, &url) && tf_span_is(url, "http://r:8/2.png"));
		assert_int_equal(dl_xlate_fetched(a.x, good ? tf_cspan(png) : TF_SPAN("<html>no such file"), &a.out), 0);
		assert_false(dl_xlate_wants(a.x, &url));
		assert_int_equal(a.f->complete, good);
		if (good)
			assert_string_equal(tf_buf_cstr(&a.out),
			    MADE "{\"b64_json\":\"iVBORw0KGgpBQg==\",\"revised_prompt\":\"p\"},{\"b64_json\":\"" PNG64 "\"},"
				 "{\"b64_json\":\"iVBORw0KGgpBQg==\"}]}");
		else
			assert_string_equal(a.f->fault.param, "response_format");
		end(&a);
	}
	/* a client that wants addresses gets ours, or the runtime's for want of it */
	begin_hosting(&a, DRAW(",\"n\":3"), "https://api.test", 0);
	dl_xlate_head(a.x, 200, tf_cspan(json), 0);
	assert_int_equal(dl_xlate_feed(a.x, made, strlen(made), &a.out), 0);
	assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
	assert_int_equal(dl_xlate_fetched(a.x, tf_cspan(png), &a.out), 0);
	assert_int_equal(dl_xlate_fetched(a.x, tf_span(NULL, 0), &a.out), 0);
	assert_true(a.f->complete && dl_xlate_kept(a.x, 1, &kept[1]) && !dl_xlate_kept(a.x, 2, &kept[2]));
	assert_true(tf_span_is(kept[1].bytes, png));
	assert_non_null(strstr(tf_buf_cstr(&a.out), ",{\"url\":\"http://r:8/2.png\"}]}"));
	assert_int_equal(a.f->units.images, 3);
	end(&a);
}

static void
test_images_stream(void **state)
{
	static const char partial[] = EV("partial_image", "\"b64_json\":\"AAAA\",\"partial_image_index\":0"),
			  last[] = EV("completed", "\"b64_json\":\"BBBB\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}");
	char text[1024];
	struct attempt a;

	(void)state;
	for (size_t step = 1; step < 100; step += 9) {
		begin(&a, IMG, DRAW(",\"stream\":true,\"partial_images\":1"));
		assert_true(dl_xlate_streams(a.x));
		snprintf(text, sizeof text, "%sdata: nonsense\n\n%s%sdata: [DONE]\n\n", partial, last, last);
		answer(&a, "text/event-stream", text, step);
		snprintf(text, sizeof text, "%s%s", partial, last);
		assert_string_equal(tf_buf_cstr(&a.out), text);
		assert_int_equal(a.f->units.images, 1);
		assert_int_equal(a.f->skipped, 1);
		assert_int_equal(a.f->usage.prompt, 5);
		assert_string_equal(dl_xlate_content_type(a.x), "text/event-stream; charset=utf-8");
		end(&a);
	}
	/* one that calls all that it makes by one name */
	begin(&a, IMG, DRAW(",\"stream\":true"));
	answer(&a, "text/event-stream", "data: {\"b64_json\":\"BBBB\", \"type\": \"image_edit.completed\" }\n\n", 5);
	assert_string_equal(tf_buf_cstr(&a.out), "event: image_generation.completed\n"
						 "data: {\"b64_json\":\"BBBB\", \"type\": \"image_generation.completed\" }\n\n");
	assert_int_equal(a.f->units.images, 1);
	end(&a);
	/* a runtime that does not stream */
	begin(&a, IMG, DRAW(",\"stream\":true"));
	answer(&a, json, "{\"created\":17,\n \"data\":[{\"b64_json\": \"" PNG64 "\",\"x\":[1,\n2],\"type\":\"image\"}],\n"
			 " \"size\":\"1x1\",\"type\":\"list\",\"usage\":{\"input_tokens\":5}}", 3);
	assert_string_equal(tf_buf_cstr(&a.out),
	    EV("completed", "\"created_at\":17,\"b64_json\":\"" PNG64 "\",\"x\":[1,2],\"size\":\"1x1\","
			    "\"usage\":{\"input_tokens\":5}"));
	assert_int_equal(a.f->units.images, 1);
	end(&a);
	/* errors: before anything it is a status, afterwards the stream ends with it */
	begin(&a, IMG, DRAW(",\"stream\":true"));
	answer(&a, "text/event-stream",
	    "data: {\"type\":\"error\",\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n", 7);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_ERROR);
	assert_true(a.f->fault.retryable);
	end(&a);
	begin(&a, IMG, DRAW(",\"stream\":true"));
	dl_xlate_head(a.x, 200, TF_SPAN("text/event-stream"), 0);
	assert_int_equal(dl_xlate_feed(a.x, partial, strlen(partial), &a.out), 0);
	assert_true(a.f->content && a.f->boundary && dl_xlate_live(a.x) && !a.f->finished);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_ERROR, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_ERROR);
	assert_false(a.f->fault.retryable);
	end(&a);
	/* the connection breaks behind the last event: nothing is missing */
	begin(&a, IMG, DRAW(",\"stream\":true"));
	dl_xlate_head(a.x, 200, TF_SPAN("text/event-stream"), 0);
	assert_int_equal(dl_xlate_feed(a.x, last, strlen(last), &a.out), 0);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_ERROR, &a.out), 0);
	assert_true(a.f->complete && a.f->fault.err == 0);
	end(&a);
}

/* ---- edits ------------------------------------------------------------------------------- */

#define BOUNDARY "multipart/form-data; boundary=xx"
#define PNG "\x89PNG\r\n\x1a\nabc"
#define TEXT(name, value) "--xx\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_AS(name, value) \
	"--xx\r\nContent-Disposition: form-data; name=\"" name "\"; filename=\"a.png\"\r\n" \
	"Content-Type: image/png\r\n\r\n" value "\r\n"
#define LAST "--xx--\r\n"

static bool
takes(const char *body)
{
	dl_scan_init(&scan, DL_OPENAI_IMAGE_EDITS, 0, 0);
	return dl_scan_form(&scan, TF_SPAN(BOUNDARY)) == 0 && dl_scan_end(&scan, body, strlen(body)) == 0;
}

static void
wont(const char *body, const char *param, const char *says)
{
	assert_false(takes(body));
	if (scan.fault.err != TF_E_BAD_REQUEST || strcmp(scan.fault.param, param) != 0 || strstr(scan.fault.message, says) == NULL)
		fail_msg("%s: %s", scan.fault.param, scan.fault.message);
}

static void
test_edits_scan(void **state)
{
	struct tf_buf many = { 0 };

	(void)state;
	assert_true(takes(FILE_AS("image[]", PNG) FILE_AS("image[]", "\xff\xd8\xff") FILE_AS("mask", PNG) TEXT("n", "2")
		TEXT("prompt", "h\xc3\xa4t") TEXT("stream", "true") TEXT("strength", "0.5") TEXT("model", "m") LAST));
	assert_int_equal(scan.head.needs, DL_NEED_IMAGES);
	assert_int_equal(scan.head.images, 3);
	assert_int_equal(scan.head.n, 2);
	assert_int_equal(scan.head.prompt_bytes, 4);
	assert_true(scan.head.stream);
	assert_string_equal(scan.head.model, "m");
	wont(TEXT("model", "m") TEXT("prompt", "x") LAST, "image", "required");
	wont(FILE_AS("image", PNG) TEXT("prompt", "x") LAST, "model", "required");
	wont(FILE_AS("image", PNG) TEXT("model", "m") LAST, "prompt", "required");
	wont(FILE_AS("image", "GARBAGE") TEXT("model", "m") LAST, "image", "supported format");
	wont(FILE_AS("image", PNG) FILE_AS("mask", "x") LAST, "mask", "supported format");
	wont(TEXT("image", "https://x.test/a.png") LAST, "image", "must be a file");
	wont(TEXT("n", "11") LAST, "n", "between 1 and 10");
	wont(TEXT("size", "huge") LAST, "size", "WIDTHxHEIGHT");
	wont(TEXT("response_format", "png") LAST, "response_format", "url or b64_json");
	wont(TEXT("stream", "perhaps") LAST, "stream", "true or false");
	wont(TEXT("model", "m") TEXT("model", "n") LAST, "model", "twice");
	for (int n = 16; n <= 17; n++) {
		tf_buf_reset(&many);
		for (int i = 0; i < n; i++)
			assert_int_equal(tf_buf_addstr(&many, FILE_AS("image[]", PNG)), 0);
		assert_int_equal(tf_buf_addstr(&many, TEXT("model", "m") TEXT("prompt", "x") LAST), 0);
		assert_int_equal(takes(tf_buf_cstr(&many)), n == 16);
	}
	assert_string_equal(scan.fault.param, "image");
	tf_buf_free(&many);
}

static void
test_edits(void **state)
{
	static const char body[] = TEXT("model", "m") FILE_AS("image", PNG) TEXT("priority", "1") TEXT("prompt", "x")
	    TEXT("response_format", "url") LAST;
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_IMAGE_EDITS, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"),
		.model = TF_SPAN("local/r"), .content_type = TF_SPAN(BOUNDARY), .base_url = TF_SPAN("https://api.test") };
	static const char made[] = MADE "{\"b64_json\":\"" PNG64 "\"}]}";
	struct tf_buf sent = { 0 }, out = { 0 };
	struct dl_kept kept;
	struct dl_xlate *x;

	(void)state;
	assert_true(takes(body));
	x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(x);
	assert_int_equal(dl_xlate_request(x, TF_SPAN(body), &sent), 0);
	assert_string_equal(tf_buf_cstr(&sent), TEXT("model", "local/r") FILE_AS("image", PNG) TEXT("prompt", "x")
	    TEXT("response_format", "b64_json") LAST);
	assert_string_equal(dl_xlate_path(x), "/images/edits");
	assert_string_equal(dl_xlate_request_type(x), BOUNDARY);
	assert_true(tf_span_is(dl_xlate_dropped(x), "priority"));
	dl_xlate_head(x, 200, tf_cspan(json), 0);
	assert_int_equal(dl_xlate_feed(x, made, strlen(made), &out), 0);
	assert_int_equal(dl_xlate_end(x, &out), 0);
	assert_true(dl_xlate_facts(x)->complete && dl_xlate_kept(x, 0, &kept));
	assert_int_equal(dl_xlate_facts(x)->units.images, 1);
	dl_xlate_free(&x);
	tf_buf_free(&sent);
	tf_buf_free(&out);
}

#define EDIT DL_OPENAI_IMAGE_EDITS
#define URL(kind, b64) "{\"image_url\":\"data:image/" kind ";base64," b64 "\"}"
#define CHANGE(images, more) "{\"model\":\"m\",\"prompt\":\"x\",\"images\":[" images "]" more "}"
#define REMOTE "{\"image_url\":\"https://x.test/a.png\"}"

/* A request of n members. */
static void
members(int n, struct tf_buf *body)
{
	tf_buf_reset(body);
	assert_int_equal(tf_buf_addstr(body, "{\"model\":\"m\",\"prompt\":\"x\",\"images\":[" REMOTE "]"), 0);
	for (int i = 3; i < n; i++)
		assert_int_equal(tf_buf_printf(body, ",\"m%d\":1", i), 0);
	assert_int_equal(tf_buf_addc(body, '}'), 0);
}

static void
test_edits_json_scan(void **state)
{
	struct tf_buf many = { 0 };

	(void)state;
	assert_true(accepts(EDIT, CHANGE(URL("png", PNG64) "," REMOTE, ",\"mask\":" URL("png", PNG64) ",\"n\":2,"
		"\"size\":\"auto\",\"quality\":\"high\",\"stream\":true,\"response_format\":null,\"strength\":0.5")));
	assert_int_equal(scan.head.images, 3);
	assert_int_equal(scan.head.n, 2);
	assert_int_equal(scan.head.needs, DL_NEED_IMAGES);
	assert_true(scan.head.stream && scan.image.quality.end > 0);
	refuses(EDIT, "{\"model\":\"m\",\"prompt\":\"x\"}", "images", "required");
	refuses(EDIT, "{\"prompt\":\"x\",\"images\":[" REMOTE "]}", "model", "required");
	refuses(EDIT, "{\"model\":\"m\",\"images\":[" REMOTE "]}", "prompt", "required");
	refuses(EDIT, CHANGE("", ""), "images", "");
	refuses(EDIT, CHANGE("{}", ""), "images[0]", "no image_url");
	refuses(EDIT, CHANGE(REMOTE ",{\"image_url\":\"\"}", ""), "images[1].image_url", "");
	refuses(EDIT, CHANGE("{\"image_url\":\"http://10.0.0.1/a\"}", ""), "images[0].image_url", "data URL");
	refuses(EDIT, CHANGE("{\"image_url\":\"file:///etc/passwd\"}", ""), "images[0].image_url", "data URL");
	refuses(EDIT, CHANGE("{\"file_id\":\"file-1\"}", ""), "images[0].file_id", "stored file");
	refuses(EDIT, CHANGE(REMOTE, ",\"mask\":{}"), "mask", "no image_url");
	refuses(EDIT, CHANGE(REMOTE, ",\"mask\":{\"image_url\":\"x\"}"), "mask.image_url", "data URL");
	refuses(EDIT, CHANGE(REMOTE, ",\"image\":\"x\""), "image", "forms");
	refuses(EDIT, CHANGE(REMOTE, ",\"size\":\"big\""), "size", "WIDTHxHEIGHT");
	refuses(EDIT, CHANGE(REMOTE, ",\"response_format\":\"png\""), "response_format", "url or b64_json");
	assert_int_equal(tf_buf_addstr(&many, "{\"model\":\"m\",\"prompt\":\"x\",\"images\":[" REMOTE), 0);
	for (int n = 2; n <= 17; n++)
		assert_int_equal(tf_buf_addstr(&many, "," REMOTE), 0);
	assert_int_equal(tf_buf_addstr(&many, "]}"), 0);
	refuses(EDIT, tf_buf_cstr(&many), "images", "16");
	for (int n = 240; n <= 241; n++) {
		members(n, &many);
		if (n == 240)
			assert_true(accepts(EDIT, tf_buf_cstr(&many)));
		else
			refuses(EDIT, tf_buf_cstr(&many), "", "240 members");
	}
	tf_buf_free(&many);
}

/* Sends it to a runtime with these quirks; type: as what. False: refused, see scan.fault. */
static bool
asked(const char *body, uint32_t quirks, char type[static 96], struct tf_buf *sent)
{
	struct dl_xlate_conf conf = { .surface = EDIT, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"),
		.model = TF_SPAN("local/r"), .quirks = quirks, .base_url = TF_SPAN("https://api.test") };
	struct dl_xlate *x;
	int r;

	tf_buf_reset(sent);
	assert_true(accepts(EDIT, body));
	x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(x);
	r = dl_xlate_request(x, tf_cspan(body), sent);
	scan.fault = dl_xlate_facts(x)->fault;
	snprintf(type, 96, "%s", dl_xlate_request_type(x));
	dl_xlate_free(&x);
	return r == 0;
}

static bool
holds(const struct tf_buf *b, const char *text)
{
	return memmem(b->p, b->n, text, strlen(text)) != NULL;
}

#define NAME16 "abcdefghijklmnop"
#define NAME128 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16

static void
test_edits_json(void **state)
{
	struct tf_buf sent = { 0 };
	char type[96];

	(void)state;
	/* bytes that are no image */
	assert_false(asked(CHANGE(URL("png", "QUJD"), ""), 0, type, &sent));
	assert_int_equal(scan.fault.err, TF_E_BAD_REQUEST);
	assert_string_equal(scan.fault.param, "images[0].image_url");
	assert_false(asked(CHANGE(REMOTE, ""), 0, type, &sent));
	assert_string_equal(scan.fault.param, "images[0].image_url");
	assert_non_null(strstr(scan.fault.message, "does not fetch"));

	assert_true(asked(CHANGE(URL("png", PNG64) "," URL("jpeg", "/9j/AA=="), ",\"mask\":" URL("png", PNG64) ",\"n\":2,"
		"\"user\":null,\"deep\":{\"a\":[1]},\"priority\":1,\"text\":\"a\\nb\",\"bad name\":1,\"\":2,\"" NAME128
		"\":3,\"" NAME128 "q\":4"), 0, type, &sent));
	assert_non_null(strstr(type, "multipart/form-data; boundary=form"));
	assert_true(holds(&sent, "name=\"image[]\"; filename=\"file.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG"));
	assert_true(holds(&sent, "name=\"model\"\r\n\r\nlocal/r\r\n"));
	assert_true(holds(&sent, "name=\"n\"\r\n\r\n2\r\n"));
	assert_true(holds(&sent, "name=\"deep\"\r\n\r\n{\"a\":[1]}\r\n"));
	assert_true(holds(&sent, "name=\"text\"\r\n\r\na\nb\r\n"));
	assert_false(holds(&sent, "priority"));
	assert_false(holds(&sent, "bad name"));
	assert_false(holds(&sent, "name=\"\""));
	assert_true(holds(&sent, "name=\"" NAME128 "\"\r\n\r\n3\r\n"));
	assert_false(holds(&sent, "name=\"" NAME128 "q"));
	assert_false(holds(&sent, "\"user\""));
	assert_true(asked(CHANGE(URL("jpeg", "/9j/QUFB"), ""), 0, type, &sent));
	assert_true(holds(&sent, "name=\"image\"; filename=\"file.jpg\""));
	assert_true(holds(&sent, "name=\"response_format\"\r\n\r\nb64_json\r\n"));
	/* the provider takes JSON, and fetches */
	assert_true(asked(CHANGE(REMOTE, ""), DL_Q_HOSTED, type, &sent));
	assert_string_equal(tf_buf_cstr(&sent), "{\"model\":\"local/r\",\"prompt\":\"x\",\"images\":[" REMOTE "]}");
	assert_string_equal(type, "application/json");
	tf_buf_free(&sent);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images_scan),
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_images_hosted),
		cmocka_unit_test(test_images_fetched),
		cmocka_unit_test(test_images_stream),
		cmocka_unit_test(test_edits_scan),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_edits_json_scan),
		cmocka_unit_test(test_edits_json),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call needs of its limits at most. Admission reserves it, so that no call can ever cost more than was
 * there; what it does not use comes back when it ends. Called by gw_infer.c and gw_admit.c.
 */
#include "config.h"

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_stored.h"

/* Tokens a template adds at most for each message, tool and piece of media, beside its text. */
#define GW_TOKENS_MESSAGE 16
#define GW_TOKENS_MEDIA 4096
#define GW_SMALL_PART 16   /* of a limit: one call may reserve that without having asked */
#define GW_UNKNOWN_OUTPUT 131072 /* tokens that an answer may have when the catalogue does not say */
#define GW_GUESSED_PARTS 4 /* a length judged by the size of the file may be so many times longer: 16 kbit/s */
#define GW_SHRINKS 3       /* times that one call is cut to what is left, which others take meanwhile */

static int64_t
gw_dearest(const struct tf_price *p, enum tf_priced a, enum tf_priced b)
{
	return p->v[a] > p->v[b] ? p->v[a] : p->v[b];
}

/* Which kinds its tokens will be of is not known before: each side counts as the dearest that it can be. */
static uint64_t
gw_need_money(const struct gw_req *req, uint64_t prompt, uint64_t output, bool rest)
{
	const struct tf_price *p = &req->price;
	struct tf_price dear = *p;
	uint64_t n[TF_P_COUNT] = { [TF_P_INPUT] = prompt, [TF_P_OUTPUT] = output };

	dear.v[TF_P_INPUT] = gw_dearest(&dear, TF_P_INPUT, TF_P_CACHED_INPUT);
	dear.v[TF_P_INPUT] = gw_dearest(&dear, TF_P_INPUT, TF_P_CACHE_WRITE);
	dear.v[TF_P_OUTPUT] = gw_dearest(&dear, TF_P_OUTPUT, TF_P_REASONING);
	if (rest) {
		n[TF_P_AUDIO_HOUR] = tf_billed_audio_ms(req->need.v[GW_U_AUDIO_MS]);
		n[TF_P_CHARACTERS] = req->head->characters;
		n[TF_P_IMAGE] = req->need.v[GW_U_IMAGES];
	}
	return tf_cost(&dear, n);
}

/* Calls that make images, hear or speak draw on the limits of those, and on none of tokens. */
static bool
gw_need_no_tokens(const struct gw_req *req)
{
	return req->need.v[GW_U_IMAGES] > 0 || req->need.v[GW_U_AUDIO_MS] > 0 || req->head->characters > 0;
}

static void
gw_need_sum(struct gw_req *req)
{
	req->need.v[GW_U_TOKENS] = gw_need_no_tokens(req) ? 0 : req->need_prompt + req->need_output;
	req->need.v[GW_U_MONEY] = gw_need_money(req, req->need_prompt, req->need_output, true);
}

/* The longest answer to be reckoned with, tokens. */
static uint64_t
gw_need_longest(const struct gw_req *req)
{
	uint64_t most = gw_most_output(req->model), asked = req->head->max_output;

	if (asked != 0)
		return most != 0 && asked > most ? most : asked;
	return most != 0 ? most : GW_UNKNOWN_OUTPUT;
}

bool
gw_need_partial(const struct gw_req *req)
{
	return req->shrunk == 0 && !dl_dialect_plain(req->head->surface) &&
	    req->need_output < gw_need_longest(req) * req->head->n;
}

/* Limits of tokens that the key and its workspace are known to have; 0: none. */
struct gw_caps {
	uint64_t v[3];
};
static struct gw_caps
gw_need_caps(const struct gw_req *req)
{
	const struct gw_key *k = req->key;
	const struct conf_plan *plan = conf_find_plan(req->conf->c, tf_cspan(k->plan));

	return (struct gw_caps){ { k->tpm, k->own_tpm, plan != NULL ? (uint64_t)plan->window_tokens : 0 } };
}

/* The least of them; 0: none. */
static uint64_t
gw_need_least(const struct gw_caps *caps)
{
	uint64_t least = 0;

	for (size_t i = 0; i < TF_LEN(caps->v); i++)
		if (caps->v[i] != 0 && (least == 0 || caps->v[i] < least))
			least = caps->v[i];
	return least;
}

/*
 * Output tokens to reserve for one answer: what was asked for, at most what the model can; without a wish all it can
 * when nobody notices that, else a piece that grows while it is generated.
 */
static uint64_t
gw_need_cap(const struct gw_req *req, uint64_t limit)
{
	uint64_t longest = gw_need_longest(req);
	bool small = limit == 0 || req->need_prompt + longest * req->head->n <= limit / GW_SMALL_PART;

	return req->head->max_output != 0 || small ? longest : GW_TRANCHE;
}

/* Every byte of text may be a token. */
static void
gw_need_tokens(struct gw_req *req)
{
	const struct dl_head *h = req->head;
	const struct gw_caps caps = gw_need_caps(req);
	uint64_t limit = gw_need_least(&caps), cap;

	req->need_prompt = h->prompt_bytes + gw_recall_back(req).n + (uint64_t)req->model->prompt_overhead +
	    GW_TOKENS_MESSAGE * ((uint64_t)h->messages + h->tools) +
	    GW_TOKENS_MEDIA * ((uint64_t)h->images + h->audios + h->files);
	if (dl_dialect_plain(h->surface)) {
		req->need_output = req->most_output = 0;
		return;
	}
	cap = gw_need_cap(req, limit) * h->n;
	/* a cap that a whole window cannot hold is reserved piece by piece, like none */
	if (limit != 0 && req->need_prompt + cap > limit)
		cap = (uint64_t)GW_TRANCHE * h->n < cap ? (uint64_t)GW_TRANCHE * h->n : cap;
	if (limit != 0 && req->need_prompt + cap > limit && req->need_prompt < limit)
		cap = limit - req->need_prompt;
	req->need_output = cap;
	req->most_output = h->max_output ? gw_need_longest(req) * h->n : UINT64_MAX;
}

void
gw_need(struct gw_req *req)
{
	const struct dl_head *h = req->head;

	req->need = (struct gw_amount){ { [GW_U_REQUESTS] = 1, [GW_U_SLOTS] = 1 } };
	if (h->surface == DL_OPENAI_IMAGES || h->surface == DL_OPENAI_IMAGE_EDITS)
		req->need.v[GW_U_IMAGES] = h->n;
	req->need.v[GW_U_AUDIO_MS] = h->audio_ms * (h->flags & DL_HEAD_GUESSED ? GW_GUESSED_PARTS : 1);
	gw_need_tokens(req);
	gw_need_sum(req);
}

struct gw_amount
gw_need_output(const struct gw_req *req, uint64_t tokens)
{
	struct gw_amount more = { { [GW_U_TOKENS] = tokens } };

	more.v[GW_U_MONEY] = gw_need_money(req, 0, tokens, false);
	return more;
}

/* The most output, up to high, that with that prompt costs no more than money; rest: beside all else that is priced. */
static uint64_t
gw_need_affordable(const struct gw_req *req, uint64_t prompt, uint64_t high, bool rest, uint64_t money)
{
	uint64_t low = 0;

	if (gw_need_money(req, prompt, high, rest) <= money)
		return high;
	while (low < high) {
		uint64_t mid = low + (high - low + 1) / 2;

		if (gw_need_money(req, prompt, mid, rest) <= money)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

uint64_t
gw_need_fit(const struct gw_req *req, uint64_t output, uint64_t tokens, uint64_t money)
{
	return gw_need_affordable(req, 0, output < tokens ? output : tokens, false, money);
}

bool
gw_need_modest(struct gw_req *req)
{
	uint64_t piece;

	if (req->light)
		return false;
	piece = (uint64_t)GW_TRANCHE * req->head->n;
	if (req->head->max_output != 0 || req->need_output <= piece)
		return false;
	req->need_output = piece;
	gw_need_sum(req);
	return true;
}

bool
gw_need_shrink(struct gw_req *req, uint64_t tokens, uint64_t money)
{
	uint64_t output = tokens > req->need_prompt ? tokens - req->need_prompt : 0;

	if (req->light)
		return false;
	if (output > req->need_output)
		output = req->need_output;
	output = gw_need_affordable(req, req->need_prompt, output, true, money);
	output -= output % req->head->n;
	if (output == 0 || output >= req->need_output || req->shrunk >= GW_SHRINKS)
		return false;
	req->shrunk++;
	req->need_output = req->most_output = output;
	gw_need_sum(req);
	return true;
}

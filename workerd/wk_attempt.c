/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an attempt: taken from routerd, accepted towards its gateway, run, answered under
 * credit (wk_answer.c), and kept until its END is acknowledged. wk_attempt_to alone moves it between lists. The
 * slot goes back as soon as the runtime is done, however slowly the client reads.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "workerd/wk.h"

static const char *const wk_state_names[] = {
#define STATE(sym, name, whom) name,
#include "workerd/state.def"
#undef STATE
};

const char *
wk_state_name(enum wk_state state)
{
	return wk_state_names[state];
}

void
wk_attempt_to(struct wk_attempt *a, enum wk_state state)
{
	struct wk *wk = a->wk;

	tf_list_remove(&wk->state[a->state], &a->node);
	a->state = state;
	a->since = tf_mono_ms();
	tf_list_append(&wk->state[state], &a->node);
	if (state == WK_S_DONE)
		ev_turn_arm(wk->loop, &wk->reap);
}

static void
wk_attempt_key(const struct wire_frame *f, uint8_t key[static 20])
{
	memcpy(key, f->id.b, 16);
	memcpy(key + 16, &f->attempt, 4);
}

static struct wk_attempt *
wk_attempt_find(struct wk *wk, const struct wire_frame *f)
{
	uint8_t key[20];

	wk_attempt_key(f, key);
	return tf_map_get(&wk->attempts, tf_span(key, sizeof key));
}

static void
wk_attempt_free(struct wk_attempt *a)
{
	struct wk *wk = a->wk;

	tf_map_del(&wk->attempts, tf_span(a->key, sizeof a->key));
	ev_timer_del(&a->timer);
	wk_call_stop(a);
	dl_xlate_free(&a->x);
	free(a->api_version);
	free(a->api_beta);
	tf_buf_free(&a->body);
	tf_buf_free(&a->out);
	tf_buf_free(&a->fetched);
	tf_list_remove(&wk->state[WK_S_DONE], &a->node);
	free(a);
}

void
wk_attempts_reap(void *arg)
{
	struct wk *wk = arg;
	struct tf_node *e;

	while ((e = tf_list_first(&wk->state[WK_S_DONE])) != NULL)
		wk_attempt_free(TF_CONTAINER(e, struct wk_attempt, node));
	wk_drain_check(wk);
}

/* ---- the end -------------------------------------------------------------------------------- */

static enum wire_outcome
wk_attempt_outcome(const struct wk_attempt *a, const struct dl_facts *facts)
{
	/* whole, whether or not anybody still wants it */
	if (a->fault.err == 0 && facts->complete)
		return WIRE_OUTCOME_SERVED;
	/* what was generated is charged, also when the answer never became whole */
	return facts->content ? WIRE_OUTCOME_PARTIAL : WIRE_OUTCOME_FAILED;
}

static void
wk_attempt_measure(struct wk_attempt *a, enum wire_outcome outcome, uint64_t total_us)
{
	struct wk *wk = a->wk;
	const char *labels[1] = { wire_outcome_text(outcome) };
	const struct dl_facts *facts = dl_xlate_facts(a->x);
	bool upstream_fault = a->fault.err == TF_E_UPSTREAM_ERROR || a->fault.err == TF_E_UPSTREAM_TIMEOUT;

	tf_metric_add_l(TF_M_WK_ATTEMPTS, 1, labels);
	wk->errors_ppm = (wk->errors_ppm * 15 + (upstream_fault ? 1000000 : 0)) / 16;
	if (a->first_us == 0)
		return;
	wk->avg_first_us = wk->avg_first_us == 0 ? a->first_us : (wk->avg_first_us * 7 + a->first_us) / 8;
	/* an answer that came in one piece says nothing of speed: its first byte is its last */
	if (dl_xlate_live(a->x) && total_us >= a->first_us + WK_SPEED_US && facts->out_tokens > 1) {
		uint64_t mtps = facts->out_tokens * 1000000000u / (total_us - a->first_us);

		wk->avg_mtps = wk->avg_mtps == 0 ? mtps : (wk->avg_mtps * 7 + mtps) / 8;
	}
}

static void
wk_end_send(struct wk_attempt *a)
{
	struct wire_peer *p = wk_gateway_peer(a->gateway);

	a->since = tf_mono_ms();
	if (p != NULL)
		(void)wire_send_end(p, &a->id, a->number, &a->end, (struct tf_span){ 0 });
}

static void
wk_end_fill(struct wk_attempt *a)
{
	const struct dl_facts *facts = dl_xlate_facts(a->x);
	uint64_t total_us = (tf_mono_ns() - a->began) / 1000;
	struct wire_end *m = &a->end;

	*m = (struct wire_end){
		.total = a->tx.sent, .outcome = wk_attempt_outcome(a, facts), .first_us = a->first_us,
		.total_us = total_us, .worker = tf_cspan(a->wk->w->name),
	};
	if (m->outcome != WIRE_OUTCOME_FAILED) {
		m->prompt = facts->usage.prompt;
		m->cache_read = facts->usage.cache_read;
		m->cache_write = facts->usage.cache_write;
		m->completion = facts->usage.completion;
		m->reasoning = facts->usage.reasoning;
		m->images = facts->units.images;
		m->audio_ms = facts->units.audio_ms;
		m->characters = facts->units.characters;
		m->estimated = facts->estimated;
		m->finish = tf_cspan(facts->finish);
	}
	if (a->fault.err > 0) {
		m->code = tf_cspan(tf_err_row(a->fault.err)->code);
		m->message = tf_cspan(a->fault.message);
		m->param = tf_cspan(a->fault.param);
		m->retry_after_s = a->fault.retry_after_s;
		m->retryable = a->fault.retryable && a->tx.sent == 0;
	}
	wk_attempt_measure(a, (enum wire_outcome)m->outcome, total_us);
}

void
wk_attempt_finish(struct wk_attempt *a)
{
	ev_timer_del(&a->timer);
	tf_buf_free(&a->out);
	wk_end_fill(a);
	a->ended = tf_mono_ms();
	wk_attempt_to(a, WK_S_ENDED);
	wk_end_send(a);
}

static void
wk_reject(struct wk *wk, const struct tf_id *id, uint32_t number, const char *code)
{
	struct wire_peer *router = wire_dial_peer(wk->router);
	struct wire_reject m = { .code = tf_cspan(code), .lost = strcmp(code, "busy") == 0 };

	if (router == NULL)
		return;
	(void)wire_send_reject(router, id, number, &m, (struct tf_span){ 0 });
	wk_slot_issue(wk); /* the credit it came with is spent */
}

/*
 * Is what waits in `out` still to be sent? Nobody wants the rest of a cancelled answer: END says where
 * it stopped. Of a failed one only what follows content that was given: before any, another attempt may do.
 */
static bool
wk_attempt_wanted(const struct wk_attempt *a)
{
	if (a->cancelled)
		return a->reason == WIRE_CANCEL_LENGTH;
	return a->fault.err == 0 || (dl_xlate_live(a->x) && dl_xlate_facts(a->x)->content);
}

void
wk_attempt_end(struct wk_attempt *a)
{
	ev_timer_del(&a->timer);
	if (a->accepted && !a->complete)
		wk_answer_keep(a);
	/* of a whole answer only the end of the exchange is due: it is waited for, so that the connection can be used again */
	if (a->fault.err != 0 || !dl_xlate_facts(a->x)->complete || dl_xlate_facts(a->x)->early)
		wk_call_stop(a);
	tf_buf_free(&a->body);
	if (a->slot) {
		a->slot = false;
		a->wk->active--;
		if (a->state == WK_S_LINK)
			wk_reject(a->wk, &a->id, a->number, "busy"); /* routerd still counts on us */
		else
			wk_slot_issue(a->wk);
		tf_metric_set(TF_M_WK_ACTIVE, a->wk->active);
	}
	a->complete = true;
	if (!a->accepted) {
		wk_attempt_to(a, WK_S_DONE);
		return;
	}
	if (a->state != WK_S_SEND)
		wk_attempt_to(a, WK_S_SEND);
	if (!wk_attempt_wanted(a))
		tf_buf_reset(&a->out);
	wk_answer_flush(a);
}

void
wk_attempt_credit(struct wk *wk, const struct wire_frame *f, const struct wire_credit *m)
{
	struct wk_attempt *a = wk_attempt_find(wk, f);

	if (a != NULL && wire_tx_credit(&a->tx, m->limit) && (a->state == WK_S_CALL || a->state == WK_S_SEND))
		wk_answer_flush(a);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static struct wk_gateway *
wk_gateway_of(struct wk *wk, const struct wire_dispatch *m)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&wk->gateways, e, tmp) {
		struct wk_gateway *g = TF_CONTAINER(e, struct wk_gateway, node);

		if (tf_span_is(m->gateway, g->name) && g->boot == m->gateway_boot)
			return g;
	}
	return NULL;
}

static const struct wk_model *
wk_model_of(const struct wk *wk, struct tf_span id)
{
	for (size_t i = 0; i < wk->nmodels; i++)
		if (tf_span_is(id, wk->models[i].id))
			return &wk->models[i];
	return NULL;
}

static int
wk_attempt_xlate(struct wk_attempt *a, const struct wire_dispatch *m, const struct wk_model *model)
{
	struct wk *wk = a->wk;
	struct dl_head *head = malloc(sizeof *head);
	struct dl_xlate_conf xc = {
		.runtime = wk->dialect, .can = (uint32_t)model->needs, .quirks = wk->quirks,
		.asked = m->asked, .model = tf_cspan(model->runtime),
		.content_type = m->content_type, .base_url = m->base_url,
		.recall = wk->recall, .recall_model = tf_cspan(model->id),
		.joined = m->progress != 0,
		.max_output = m->max_output, .model_output = model->max_output, .model_context = model->context,
		.rid = a->id,
	};
	int rc;

	if (head == NULL)
		return TF_E_NOMEM;
	if (m->recalled.n <= DL_RECALL_ALL)
		xc.recalled = m->recalled;
	xc.seal = wk_seal_key(wk, m->workspace, model->id, xc.seal_key);
	rc = dl_head_decode(m->head, m->body_len, head);
	if (rc == 0) {
		xc.surface = head->surface;
		a->x = dl_xlate_new(&xc, head);
		rc = a->x == NULL ? TF_E_NOMEM : 0;
	}
	tf_wipe(xc.seal_key, sizeof xc.seal_key);
	free(head);
	return rc;
}

static void
wk_accept(struct wk_attempt *a, struct wire_peer *p)
{
	struct wire_peer *router = wire_dial_peer(a->wk->router);
	struct wire_accept m = {
		.secret = tf_span(a->secret, sizeof a->secret), .worker = tf_cspan(a->wk->w->name), .boot = a->wk->boot,
	};

	a->accepted = true;
	a->began = tf_mono_ns();
	(void)wire_send_accept(p, &a->id, a->number, &m, (struct tf_span){ 0 });
	if (router != NULL)
		(void)wire_send_lazy(router, WIRE_TAKEN, &a->id, a->number, &(struct wire_taken){ 0 }, (struct tf_span){ 0 });
	if (a->body.n < a->body_len) {
		struct wire_pull pull;

		a->rx = (struct wire_rx){ .limit = WK_BODY_WINDOW, .window = WK_BODY_WINDOW };
		pull = (struct wire_pull){ .limit = a->rx.limit };
		wk_attempt_to(a, WK_S_PULL);
		(void)wire_send_pull(p, &a->id, a->number, &pull, (struct tf_span){ 0 });
		return;
	}
	wk_attempt_to(a, WK_S_CALL);
	wk_call_start(a);
}

/* Accepts once the link is there, and is with the boot that asked. */
static void
wk_attempt_linked(struct wk_attempt *a)
{
	struct wire_peer *p = wk_gateway_peer(a->gateway);

	if (p != NULL && p->boot == a->gateway_boot)
		wk_accept(a, p);
}

#define WK_API_MAX 4096 /* longest field of a client that is passed on, bytes */

/* What the client says of its API reaches a runtime that speaks the same one. */
static int
wk_attempt_api(struct wk_attempt *a, const struct wire_dispatch *m)
{
	if (a->wk->dialect != DL_ANTHROPIC_MESSAGES || !tf_span_is(m->surface, dl_dialect_name(a->wk->dialect)))
		return 0;
	if (m->api_version.n > 0 && m->api_version.n <= WK_API_MAX &&
	    (a->api_version = tf_span_dup(m->api_version)) == NULL)
		return TF_E_NOMEM;
	if (m->api_beta.n > 0 && m->api_beta.n <= WK_API_MAX && (a->api_beta = tf_span_dup(m->api_beta)) == NULL)
		return TF_E_NOMEM;
	return 0;
}

static struct wk_attempt *
wk_attempt_new(struct wk *wk, const struct wire_frame *f, const struct wire_dispatch *m, const struct wk_model *model)
{
	struct wk_attempt *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->wk = wk;
	a->id = f->id;
	a->number = f->attempt;
	wk_attempt_key(f, a->key);
	memcpy(a->secret, m->secret.p, sizeof a->secret);
	a->first_ms = m->first_ms;
	a->idle_ms = m->idle_ms;
	a->tx.limit = m->credit;
	a->tail = UINT64_MAX;
	a->keep = m->keep != 0;
	a->progress = m->progress != 0;
	a->body_len = m->body_len;
	a->strict = m->strict != 0;
	if (wk_attempt_xlate(a, m, model) != 0 || wk_attempt_api(a, m) != 0 || tf_buf_reserve(&a->body, m->body_len) != 0 ||
	    tf_buf_addspan(&a->body, f->payload) != 0 ||
	    tf_map_put(&wk->attempts, tf_span(a->key, sizeof a->key), a) != 0) {
		dl_xlate_free(&a->x);
		free(a->api_version);
		free(a->api_beta);
		tf_buf_free(&a->body);
		free(a);
		return NULL;
	}
	a->state = WK_S_LINK;
	a->since = tf_mono_ms();
	tf_list_append(&wk->state[WK_S_LINK], &a->node);
	a->slot = true;
	wk->active++;
	tf_metric_set(TF_M_WK_ACTIVE, wk->active);
	return a;
}

void
wk_attempt_dispatch(struct wk *wk, const struct wire_frame *f, const struct wire_dispatch *m)
{
	const struct wk_model *model = wk_model_of(wk, m->model);
	struct wk_gateway *g = wk_gateway_of(wk, m);
	struct wk_attempt *a;

	if (m->secret.n != WIRE_SECRET || m->body_len > DL_BODY_MAX || f->payload.n > m->body_len ||
	    (m->body_len <= WIRE_INLINE_BODY && f->payload.n != m->body_len)) {
		wk_reject(wk, &f->id, f->attempt, "server_error");
		return;
	}
	if (wk->draining || !wk->up || model == NULL || g == NULL || wk->active >= wk->slots) {
		wk_reject(wk, &f->id, f->attempt, "busy");
		return;
	}
	if (wk_attempt_find(wk, f) != NULL) {
		wk_reject(wk, &f->id, f->attempt, "conflict");
		return;
	}
	a = wk_attempt_new(wk, f, m, model);
	if (a == NULL) {
		wk_reject(wk, &f->id, f->attempt, "server_error");
		return;
	}
	a->gateway = g;
	a->gateway_boot = m->gateway_boot;
	wk_attempt_linked(a);
}

void
wk_attempt_body(struct wk *wk, const struct wire_frame *f, const struct wire_body *m)
{
	struct wk_attempt *a = wk_attempt_find(wk, f);
	struct wire_peer *p;

	if (a == NULL || a->state != WK_S_PULL)
		return;
	p = wk_gateway_peer(a->gateway);
	if (wire_rx_data(&a->rx, m->offset, f->payload.n) != 0 || a->body.n + f->payload.n > a->body_len ||
	    tf_buf_addspan(&a->body, f->payload) != 0) {
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, "The request body was damaged on its way.");
		a->fault.retryable = true;
		wk_attempt_end(a);
		return;
	}
	if (a->body.n == a->body_len) {
		wk_attempt_to(a, WK_S_CALL);
		wk_call_start(a);
	} else if (wire_rx_credit(&a->rx, 0) && p != NULL) {
		struct wire_pull pull = { .limit = a->rx.limit };

		(void)wire_send_pull(p, &a->id, a->number, &pull, (struct tf_span){ 0 });
	}
}

/* ---- what others do to it ------------------------------------------------------------------- */

void
wk_attempt_cancel(struct wk *wk, const struct wire_frame *f, uint64_t reason)
{
	struct wk_attempt *a = wk_attempt_find(wk, f);

	if (a == NULL || a->cancelled || a->state == WK_S_ENDED || a->state == WK_S_DONE)
		return;
	a->cancelled = true;
	a->reason = (enum wire_cancel_reason)reason;
	if (reason == WIRE_CANCEL_LENGTH && a->state == WK_S_CALL) {
		/* the limits leave no room for more: the answer ends here, as if the cap had been reached */
		wk_call_stop(a);
		if (dl_xlate_cut(a->x, &a->out) != 0)
			dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
		else
			a->fault = dl_xlate_facts(a->x)->fault;
	}
	wk_attempt_end(a);
}

void
wk_attempt_acked(struct wk *wk, const struct wire_frame *f)
{
	struct wk_attempt *a = wk_attempt_find(wk, f);

	if (a == NULL || a->state != WK_S_ENDED)
		return;
	a->acked = true;
	if (a->call == NULL)
		wk_attempt_to(a, WK_S_DONE);
}

void
wk_attempt_gateway_up(struct wk *wk, struct wk_gateway *g)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&wk->state[WK_S_LINK], e, tmp) {
		struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);

		if (a->gateway == g)
			wk_attempt_linked(a);
	}
}

void
wk_attempt_gateway_down(struct wk *wk, struct wk_gateway *g, bool for_good)
{
	static const char *const lost[] = { "lost" };

	/* those that wait for the link wait for the next one */
	for (int s = for_good ? 0 : WK_S_LINK + 1; s < WK_S_DONE; s++) {
		struct tf_node *e, *tmp;

		TF_LIST_EACH(&wk->state[s], e, tmp) {
			struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);

			if (a->gateway != g)
				continue;
			/* nobody is left to tell: its slot goes back, its runtime stops */
			a->gateway = NULL;
			a->cancelled = true;
			a->reason = WIRE_CANCEL_GATEWAY_LOST;
			a->accepted = false;
			if (s == WK_S_ENDED) {
				wk_attempt_to(a, WK_S_DONE);
				continue;
			}
			if (s != WK_S_LINK)
				tf_metric_add_l(TF_M_WK_ATTEMPTS, 1, lost);
			wk_attempt_end(a);
		}
	}
}

void
wk_attempts_tick(struct wk *wk, uint64_t now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&wk->state[WK_S_LINK], e, tmp) {
		struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);

		if (now - a->since >= WK_LINK_MS)
			wk_attempt_end(a);
	}
	TF_LIST_EACH(&wk->state[WK_S_SEND], e, tmp) {
		struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);
		struct dl_kept v;

		if (dl_xlate_kept(a->x, a->kept, &v))
			wk_answer_flush(a);
	}
	TF_LIST_EACH(&wk->state[WK_S_ENDED], e, tmp) {
		struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);

		if (now - a->ended > WK_END_MAX_MS || (a->acked && now - a->ended > WK_CALL_END_MS))
			wk_attempt_to(a, WK_S_DONE);
		else if (!a->acked && now - a->since >= WK_END_REPEAT_MS)
			wk_end_send(a);
	}
}

void
wk_attempts_fail(struct wk *wk, int err, const char *message)
{
	for (int s = 0; s < WK_S_ENDED; s++) {
		struct tf_node *e, *tmp;

		TF_LIST_EACH(&wk->state[s], e, tmp) {
			struct wk_attempt *a = TF_CONTAINER(e, struct wk_attempt, node);

			dl_fault_set(&a->fault, err, NULL, "%s", message);
			a->fault.retryable = true;
			tf_buf_reset(&a->out);
			wk_attempt_end(a);
		}
	}
}

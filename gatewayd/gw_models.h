/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd: models and who serves them, and their lists in the shape of each API. */
#ifndef GW_MODELS_H
#define GW_MODELS_H

#include "gatewayd/gw.h"

/* gw_models.c */
/* Whose model names count: the error's shape follows the called API, and so do the aliases. */
static inline enum conf_side
gw_side(const struct gw_req *req)
{
	return req->anthropic ? CONF_SIDE_ANTHROPIC : CONF_SIDE_OPENAI;
}
/* Members that both shapes of a model share, inside an open object. */
void gw_model_extras(struct js_w *w, const struct gw_req *req, const struct conf_model *m);
/* Writes each capability that a model can have, in the form of the called API. */
void gw_model_capabilities(struct js_w *w, const struct conf_model *m, void (*write)(struct js_w *w, const char *name, bool yes));
bool gw_model_has(const struct conf_model *m, const char *capability);
/* Answers what w has written to out; frees out. */
void gw_models_reply(struct gw_req *req, struct js_w *w, struct tf_buf *out);
/* The error of a model, as the client wrote it, that does not exist for this key. */
void gw_model_unknown(struct dl_fault *f, struct tf_span asked);
void gw_models_live(struct gw_thread *t, const struct wire_models *m);
bool gw_capability_known(const char *name);
/* What its workers announced, DL_NEED_* and DL_LIVE_*; 0 without any. */
uint64_t gw_models_live_needs(const struct gw_thread *t, const char *id);
bool gw_models_is_live(const struct gw_thread *t, const char *id);
bool gw_models_any_live(const struct gw_thread *t);

/* gw_models_anthropic.c */
int gw_models_anthropic(struct gw_req *req);
int gw_model_anthropic(struct gw_req *req, const struct conf_model *m);

/* gw_codex.c: the list that Codex looks for beside the OpenAI one */
/* Reads codex-models-file, which is left empty without one. TF_E_*, and the reason in why. */
int gw_codex_read(const struct conf *c, struct tf_buf *out, char *why, size_t size) TF_MUSTCHECK;
/* Writes the member `models` into an open object. */
void gw_codex_write(struct js_w *w, const struct gw_req *req);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and their workspaces as a thread of gatewayd knows them, and what they may do. */
#ifndef GW_KEY_H
#define GW_KEY_H

#include "common/base/base.h"
#include "common/wire/wire.h"
#include "gatewayd/gw_room.h"

struct gw_req;
struct gw_thread;

#define GW_KEYS_MAX 50000u /* cached keys of a thread */
#define GW_KEYS_ASKED_MAX 1000u /* look-ups under way */

enum gw_key_state {
	GW_KEY_ASKED,   /* KEY_ASK is under way; requests wait */
	GW_KEY_KNOWN,   /* verified */
	GW_KEY_STALE,   /* was known, must be asked again before use */
	GW_KEY_REFUSED, /* unknown, revoked or expired; believed until `until` */
};

/* A workspace: its account is billingd's, shared by all its keys. */
struct gw_space {
	uint8_t id[16];
	struct tf_list keys;    /* gw_key.of_space */
	bool budgeted;          /* the plan has a token window */
	bool changed;           /* announced; its limits may be higher now */
	uint64_t board_of;      /* boot of the billingd on whose board it stands */
	uint32_t board;         /* slot of its minute, and behind it of its token window; 0: none */
	struct gw_room minute, budget;
};

/* A piece of room in the limits that billingd handed us. */
struct gw_grant {
	struct tf_node node; /* gw_key.grants, oldest first */
	uint64_t number;
	struct gw_amount left; /* unused */
	unsigned bounded;      /* bits 1 << enum gw_unit; of the others it covers whatever is needed */
	uint64_t expires;      /* tf_mono_ms */
	struct gw_windows windows;
};

/* A record that billingd has not acknowledged, as far as it is about limits. */
struct gw_settling {
	uint64_t seq;
	struct gw_key *key;        /* counted in its refs */
	struct gw_windows windows;
	struct gw_amount reserved;
	uint64_t back;             /* tokens that it did not use */
	uint64_t granted_by;       /* boot of the billingd that counted its request */
};

/* What a key may do beside its limits. */
struct gw_may {
	uint64_t scopes;     /* WIRE_SCOPE_* bits */
	uint64_t operations; /* bits 1 << enum tf_operation */
	struct tf_network *networks;
	size_t nnetworks;
	bool nowhere_else;   /* only from these networks */
};

struct gw_key {
	struct tf_node lru;  /* gw_thread.keys_lru, least recently used first */
	struct tf_node busy; /* gw_thread.keys_busy: something is under way or held, the tick looks at it */
	uint8_t digest[TF_SHA256];
	enum gw_key_state state;
	bool changed;       /* a change was announced since it was verified */
	uint64_t as_of;     /* number of the last change that its newest answer includes */
	uint64_t until;     /* tf_mono_ms: expiry of the key, or of a refusal; UINT64_MAX never */
	uint64_t asked;     /* tf_mono_ms of the KEY_ASK under way */
	struct tf_id ask;   /* its id */
	unsigned refs;      /* requests that point here */
	uint8_t id[16], workspace[16];
	struct gw_space *space; /* NULL until it was known once */
	struct tf_node of_space;
	char *name, *workspace_name, *plan;
	char **models; /* allow-list; none: all */
	size_t nmodels;
	struct gw_may may;
	uint64_t rpm, tpm; /* of the plan; 0: no limit */
	uint64_t own_rpm, own_tpm; /* of the key alone; 0: no limit */
	struct gw_room minute;     /* what is left of those */
	uint32_t board;            /* slot of that, on the same board as its space; 0: none */
	struct tf_list waiting;   /* gw_req.wait: for KEY */
	struct tf_list admitting; /* gw_req.wait: for room, oldest first */
	struct tf_list grants;
	bool granting;         /* GRANT_ASK under way */
	struct tf_id grant_id; /* its id */
	uint64_t grant_asked;  /* tf_mono_ms */
	struct gw_amount grant_least; /* what it asked for at least */
	uint64_t grant_again;  /* tf_mono_ms: not before, after a transient refusal */
	uint64_t ahead_again;  /* tf_mono_ms: until then nothing is asked ahead of need */
	unsigned refusals;     /* so far */
	struct gw_amount refused;   /* what the last of them was about */
	uint64_t room_tokens, room_money; /* what it said is left; UINT64_MAX: nothing */
	int short_err;              /* what was short when a refusal was transient last; 0: none was */
	struct gw_windows windows;  /* of the newest grant */
	uint64_t granted_by;        /* boot of the billingd that gave it */
	uint64_t rate_at;           /* tf_mono_ms: start of the second that is counted */
	struct gw_amount rate;      /* admitted in this second so far */
	struct gw_amount last;      /* in the one before */
};

/* gw_key.c: authentication */
/* 0: req->key is verified; TF_E_AGAIN: it waits; positive: refused. */
int gw_key_auth(struct gw_req *req);
void gw_key_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_key *m);
void gw_key_changed(struct gw_thread *t, const struct wire_key_change *m);
/* All must be asked again; changed: a change of some of them passed us by. */
void gw_key_distrust_all(struct gw_thread *t, bool changed);
void gw_key_link_up(struct gw_thread *t);
void gw_key_drop(struct gw_req *req); /* the request lets go of its key */
void gw_key_busy(struct gw_thread *t, struct gw_key *k);
void gw_key_tick(struct gw_thread *t, uint64_t now);
void gw_keys_free(struct gw_thread *t);

/* gw_may.c: what a key may do */
void gw_may_clear(struct gw_may *may);
int gw_may_learn(struct gw_may *may, const struct wire_key *m) TF_MUSTCHECK; /* 0 or TF_E_NOMEM */
/* May the request's key call its route, from where it comes? 0, or TF_E_FORBIDDEN and a sentence in why. */
int gw_may_call(const struct gw_req *req, char *why, size_t size) TF_MUSTCHECK;
/* May it use the model of that catalogue id? */
enum gw_denied { GW_ALLOWED, GW_DENIED_KEY, GW_DENIED_PLAN };
enum gw_denied gw_may_model(const struct gw_req *req, const char *id);
struct gw_client_facts {        /* of a request */
	const struct sockaddr *peer; /* NULL: unknown */
	struct tf_span forwarded_for; /* of a proxy that is believed; p NULL: none says it */
};
/* The client's address as the nearest proxy saw it. TF_E_INVAL: nobody knows. */
int gw_client_address(const struct gw_client_facts *f, uint8_t out[static TF_ADDRESS]) TF_MUSTCHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole billingd in this process, and gateways that talk to it over the wire and keep what
 * they hear. Two loops, turned in turn, so that one side can be taken away and come back.
 */
#ifndef TESTS_BILLINGD_BED_H
#define TESTS_BILLINGD_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "billingd/billingd.h"

#define BED_GATEWAYS 4

struct heard { /* counts, and the last of each */
	unsigned ups, downs, keys, changes, grants, refusals, recalls, acks, answers;
	struct wire_key key;
	struct tf_id key_id;
	struct wire_grant grant;
	struct wire_grant_refuse refuse;
	char code[64], param[64];
	uint64_t ack, change;
	unsigned of_acks; /* for starts that died */
	uint64_t of_ack, of_boot;
	char of_name[32];
	struct { uint64_t requests, tokens; } granted; /* all of it */
	struct tf_buf body;
	uint64_t recall_grant; /* grant to return, unused, when a recall comes; 0: none */
	uint64_t recall_requests, recall_tokens;
};

struct gw {
	struct bed *bed;
	struct wire_dial *dial;
	struct wire_peer *peer;
	struct heard h;
	char name[32];
	uint64_t boot, seq;
	bool declare; /* says that it holds nothing when it comes up */
};

struct bed {
	char dir[64];
	struct ev_loop *bl_loop, *gw_loop;
	struct ev_zctx *zctx;
	struct conf *conf;
	struct bl *bl;
	struct gw gw[BED_GATEWAYS];
	/* the last change that was asked for */
	int rc;
	unsigned done;
	char text[TF_APIKEY_MAX + 1];
	struct tf_id id;
};

/* more: lines for [billingd] and whatever follows. */
void bed_open(struct bed *b, const char *more);
void bed_close(struct bed *b);
int bed_teardown(void **state); /* for cmocka: closes the bed that *state is */
#define BED_PLANS "grant-ttl = 400ms\n[plan small]\nrpm = 5\ntpm = 1000\n[plan free]\nrpm = 0\ntpm = 0"
void bed_start(struct bed *b);
void bed_stop(struct bed *b);
/* Turns both loops. */
void bed_turn(struct bed *b);
/* Until the condition holds; fails after 5 s. */
#define UNTIL(b, cond) \
	do { \
		uint64_t until_end_ = bed_real_ms() + 30000; \
		while (!(cond)) { \
			bed_turn(b); \
			if (bed_real_ms() > until_end_) \
				fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #cond); \
		} \
	} while (0)
uint64_t bed_real_ms(void);
void bed_pass(struct bed *b, unsigned ms); /* turns for so long */
void bed_gateway(struct bed *b, int i, uint64_t boot);
void bed_gateway_gone(struct bed *b, int i);

struct tf_id bed_workspace(struct bed *b, const char *name, const char *plan);
struct tf_id bed_key(struct bed *b, struct tf_id workspace, int64_t expires_ms); /* text in b->text */
bl_changed bed_done;
#define BED_ORDER(b) (&(struct bl_order){ "test", "test", bed_done, (b) })
/* bl_admin_revoke of that key. */
int bed_revoke(struct bed *b, const struct tf_id *key);

void bed_key_ask(struct bed *b, int i, const char *text); /* and waits */
/* Asks and waits; true: granted. */
bool bed_ask(struct bed *b, int i, struct tf_id key, uint64_t requests, uint64_t tokens, uint64_t want);
void bed_return(struct bed *b, int i, struct tf_id key, uint64_t grant, uint64_t requests, uint64_t tokens);
struct wire_usage bed_usage(struct bed *b, int i, struct tf_id key);
void bed_tell(struct bed *b, int i, const struct wire_usage *u, struct tf_id request);
const char *bed_query(struct bed *b, int i, struct tf_id workspace, const char *args);
const char *bed_table(struct bed *b, int i, struct tf_id workspace, const char *args);
int64_t bed_sql(struct bed *b, const char *sql);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole stored in this process, and gateways that talk to it over the wire and wait for
 * its answers. Two loops, turned in turn, so that stored can be taken away and come back.
 */
#ifndef TESTS_STORED_BED_H
#define TESTS_STORED_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "stored/stored.h"

#define BED_GATEWAYS 2

struct bed_gw {
	struct bed *bed;
	struct wire_dial *dial;
	struct wire_peer *peer;
	char name[32];
	/* the answer to the last question */
	struct tf_id id;
	bool done;
	char code[64], param[ST_NAME_MAX + 1], type[ST_TYPE_MAX + 1];
	uint64_t total;
	struct tf_buf body;
	uint64_t state, turn; /* of a claim */
	struct tf_id request;
};

struct bed {
	char dir[64];
	struct ev_loop *st_loop, *gw_loop;
	struct ev_zctx *zctx;
	struct conf *conf;
	struct st *st;
	struct bed_gw gw[BED_GATEWAYS];
};

/* more: lines for [stored]. */
void bed_open(struct bed *b, const char *more);
void bed_close(struct bed *b);
/* Ends stored, and starts it again on the same files. */
void bed_stop(struct bed *b);
void bed_start(struct bed *b);
void bed_turn(struct bed *b);
void bed_gateway(struct bed *b, int i);

/* Each asks, waits for the answer, and returns its code: "" is success. ws: number of a workspace. */
const char *bed_put(struct bed *b, unsigned kind, unsigned ws, const char *name, struct tf_span value);
const char *bed_put_as(struct bed *b, const struct wire_put *m, struct tf_span value);
const char *bed_get(struct bed *b, unsigned kind, unsigned ws, const char *name);
const char *bed_ask(struct bed *b, const struct wire_get *m);
const char *bed_drop(struct bed *b, unsigned kind, unsigned ws, const char *name);
/* bed_claim: as gateway i; body: a number; its state and request are in b->gw[i] afterwards. */
const char *bed_claim(struct bed *b, int i, unsigned ws, const char *name, unsigned body);
const char *bed_claim_as(struct bed *b, int i, const struct tf_id *id, const struct wire_claim *m);
const char *bed_release(struct bed *b, int i, unsigned ws, const char *name, struct tf_id claim);
/* What the last one answered, as a string. */
const char *bed_body(struct bed *b);
struct tf_span bed_ws(unsigned ws);
int64_t bed_int(struct bed *b, const char *sql);
/* Files in the blob directory. */
size_t bed_files(struct bed *b);
/* Removes them behind stored's back. */
void bed_lose(struct bed *b);
void bed_pass(struct bed *b, unsigned ms);
/* n bytes that do not compress, the same each time. Good until one asks for more. */
struct tf_span bed_noise(size_t n);
/* A response with one input and one output item; previous: the id of the one it continues, or NULL. As bed_put(). */
const char *bed_put_response(struct bed *b, unsigned ws, const char *id, const char *previous, const char *input);
/* Asks for it, with what else `with` says; its kind is that of responses where it says none. As bed_ask(). */
const char *bed_view(struct bed *b, unsigned ws, const char *id, const struct wire_get *with);
/* Asks for all that it continues. */
const char *bed_chain(struct bed *b, unsigned ws, const char *id);

#endif

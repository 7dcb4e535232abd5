/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits text in which the reasoning stands inline, up to </think>. Private to this folder.
 */
#ifndef TF_DIALECT_THINK_H
#define TF_DIALECT_THINK_H

#include "common/base/base.h"

#define DL_THINK_KEPT (256u << 10) /* bytes of reasoning without tags that can still turn out to be the answer */

/* All zero to begin with. */
struct dl_think {
	int state;
	bool tagged;        /* <think> was seen */
	struct tf_buf hold; /* what may be the beginning of a tag */
	struct tf_buf said; /* given out as reasoning though no tag was seen yet */
};
/* Called with pieces that are not empty. */
typedef int dl_think_fn(void *arg, bool reasoning, struct tf_span text);

int dl_think_feed(struct dl_think *t, struct tf_span text, dl_think_fn *fn, void *arg) TF_MUSTCHECK;
/* The text is over. cut: by a limit. Without any tag and not cut, all of it was the answer: it is given again, as text. */
int dl_think_end(struct dl_think *t, bool cut, dl_think_fn *fn, void *arg) TF_MUSTCHECK;
void dl_think_fini(struct dl_think *t);

#endif

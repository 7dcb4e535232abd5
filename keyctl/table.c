/* SPDX-License-Identifier: Apache-2.0 */
/* cmd.def as data. */
#include "config.h"

#include "keyctl/kc.h"

#define LOCAL KC_LOCAL
#define BILLINGD KC_BILLINGD
#define ROUTERD KC_ROUTERD
#define GATEWAYD KC_GATEWAYD
#define STORED KC_STORED
#define DAEMON KC_DAEMON
#define ROWS KC_ROWS
#define ONE KC_ONE
#define KEY KC_KEY
#define CMD_BEGIN(words, target, priv, output, help) { KC_CMD, words, target, priv, output, "", help },
#define CMD_POS(name, type, rule, meta, help) { KC_POS, name, KC_##type, KC_IS_##rule, KC_ROWS, meta, help },
#define CMD_OPT(name, type, rule, meta, help) { KC_OPT, name, KC_##type, KC_IS_##rule, KC_ROWS, meta, help },
#define CMD_COL(member, form, heading) { KC_COL, member, KC_AS_##form, 0, KC_ROWS, heading, "" },
#define CMD_SLOW { KC_SLOW, "", 0, 0, KC_ROWS, "", "" },
#define CMD_END { KC_END, "", 0, 0, KC_ROWS, "", "" },

const struct kc_line kc_table[] = {
#include "keyctl/cmd.def"
};
const size_t kc_ntable = TF_LEN(kc_table);

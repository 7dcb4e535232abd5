/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd as a library: what its main and the tests see. */
#ifndef TF_GATEWAYD_H
#define TF_GATEWAYD_H

struct dmn_hooks;
extern const struct dmn_hooks gatewayd;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* workerd as a library: what its main and the tests see. */
#ifndef TF_WORKERD_H
#define TF_WORKERD_H

struct dmn_hooks;
extern const struct dmn_hooks workerd;

#endif

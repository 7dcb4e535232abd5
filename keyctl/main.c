/* SPDX-License-Identifier: Apache-2.0 */
/* The program: everything is in keyctl.c, so that tests can call it. */
#include "config.h"

#include "keyctl/kc.h"

int
main(int argc, char **argv)
{
	return kc_main(argc, argv, stdout, stderr);
}

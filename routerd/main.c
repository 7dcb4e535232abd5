/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "routerd/router.h"

int
main(int argc, char **argv)
{
	return rt_main(argc, argv);
}

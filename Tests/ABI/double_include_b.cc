// SPDX-License-Identifier: Apache-2.0
#include <ivg.h>
#include <ivg.h>

uint32_t version_seen_by_b();
uint32_t version_seen_by_b() { return IVG_VERSION_NUMBER; }

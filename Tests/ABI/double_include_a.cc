// SPDX-License-Identifier: Apache-2.0
// Two units include the header twice each and are linked together: nothing in it may be defined twice.
#include <ivg.h>
#include <ivg.h>

uint32_t version_seen_by_b();

int main() { return version_seen_by_b() == ivg_version_number() ? 0 : 1; }

# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel does to pages at times of its own, stopped, so that two looks see the same ones."""

NO_DAMON = """
# DAMON marks pages idle, and holds each for a moment: 7.3 has it on from boot.
damon=/sys/module/damon_stat/parameters/enabled
[ ! -e $damon ] || echo N > $damon
"""

QUIET = f"""
{NO_DAMON}
# What was advised to be huge is not collapsed then either; what is huge stays so.
echo never > /sys/kernel/mm/transparent_hugepage/enabled
echo 0 > /proc/sys/vm/compaction_proactiveness
sync
# What was set off before is over by then, and CPUs have given back what their lists need no longer.
sleep 3
# The worker that has them do so, once a second.
echo 3600 > /proc/sys/vm/stat_interval
"""
"""Script for a shell in the guest; no pages are merged either, where KSM is off."""

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What `make demo` runs in a guest: pages of a type, freed while they are traced, then reported.
set -eu

fill_zram() {
    echo 64M > /sys/block/zram0/disksize
    dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 2> /dev/null
}

say() {
    echo
    echo "\$ $*"
}

modprobe zram num_devices=1
fill_zram
say "pageinspect trace -- sh -c 'echo 1 > /sys/block/zram0/reset'     # frees 32 MiB of zram"
pageinspect trace -- sh -c 'echo 1 > /sys/block/zram0/reset'

fill_zram
echo 8 > /proc/sys/vm/nr_hugepages
say "pageinspect summary                       # this kernel, live"
pageinspect summary

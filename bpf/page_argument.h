/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PAGEINSPECT_PAGE_ARGUMENT_H
#define PAGEINSPECT_PAGE_ARGUMENT_H

/* Reads an argument of the hook as a number. The verifier forbids most arithmetic on an argument that it
 * knows to be a pointer, and does not let a program load a pointer to pointers. */
static inline __attribute__((always_inline)) u64 argument(struct bpf_raw_tracepoint_args *ctx, u32 number)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), &ctx->args[number]);
	return value;
}

#endif

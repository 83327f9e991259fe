/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finds who allocated or freed without the kernel's unwinder: steps over the frames of functions
 * whose sizes are known. Where the walk fails, the stack is recorded instead.
 *
 *   TEXT_BLOCKS      blocks of the kernel's code; nothing is compiled in without it
 *   FRAME_TABLES     tables for them
 */
#ifndef PAGEINSPECT_PAGE_CALLER_H
#define PAGEINSPECT_PAGE_CALLER_H

/* A table has the words of the stack frame at each byte of so much code, or one of the two others. */
#define BLOCK_SHIFT 10
#define BLOCK_BYTES (1 << BLOCK_SHIFT)
#define FRAME_OUTSIDE 0 /* of a function that is not in the path to the tracepoint */
#define FRAME_UNKNOWN 255

#define PATH_BITS 32 /* of the number of a table: a block has one for each path */

#ifdef TEXT_BLOCKS
#define MOST_FRAMES 14
#define FIRST_FRAMES 6 /* the program, those of tracing and one of the allocator are among them */
#define ENTRY_WORDS 32 /* from the arguments of the tracepoint to the return address of their frame */

struct frame_table {
	u8 words[BLOCK_BYTES];
};

/* Where a walk begins: `ctx` is in the frame of the function that runs the program, and `offset`
 * bytes above it is the address `from`, to which that function returns. */
struct walk {
	u64 text;
	u64 from;
	u64 offset;
};

/* Defined with the maps: bcc does not translate uses of maps in headers. */
static inline __attribute__((always_inline)) u64 *text_block_at(u32 number);
static inline __attribute__((always_inline)) struct frame_table *frame_table_at(u32 number);
static inline __attribute__((always_inline)) struct walk *walk_at(u32 number);

/* Words of the frame of the function that contains the call which returns to this address, if the
 * function is in the path with this number. */
static inline __attribute__((always_inline)) u32 frame_words(u64 text, u64 address, u32 path)
{
	u64 offset = address - 1 - text;
	struct frame_table *table;
	u32 number;
	u64 *at;

	if (offset >= (u64)TEXT_BLOCKS << BLOCK_SHIFT)
		return FRAME_OUTSIDE;
	at = text_block_at(offset >> BLOCK_SHIFT);
	if (!at)
		return FRAME_UNKNOWN;
	number = *at >> PATH_BITS * path;
	if (!number)
		return FRAME_OUTSIDE;
	table = frame_table_at(number);
	return table ? table->words[offset & (BLOCK_BYTES - 1)] : FRAME_UNKNOWN;
}

/* The address of the arguments as a number: the verifier does not let a program calculate with it. */
static inline __attribute__((always_inline)) u64 address_of(void *ctx)
{
	u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &ctx);
	return number;
}

/* Returns the caller's address less that of the kernel's code; 0 if the walk does not find it. */
static inline __attribute__((always_inline)) s32 find_caller(void *ctx, u32 path)
{
	u64 address = 0, slot;
	struct walk *walk = walk_at(path);
	u32 words, i;
	s64 found;

	if (!walk || !walk->from)
		return 0;
	slot = address_of(ctx) + walk->offset;
	bpf_probe_read_kernel(&address, sizeof(address), (void *)slot);
	if (address != walk->from)
		return 0;
#pragma clang loop unroll(full)
	for (i = 0; i < MOST_FRAMES; i++) {
		words = frame_words(walk->text, address, path);
		if (words == FRAME_UNKNOWN)
			return 0;
		if (words == FRAME_OUTSIDE) {
			/* Modules are less than 2 GiB from it. */
			found = address - walk->text;
			return found == (s32)found ? found : 0;
		}
		slot += words * sizeof(address);
		if (bpf_probe_read_kernel(&address, sizeof(address), (void *)slot))
			return 0;
	}
	return 0;
}

/* Finds where a walk begins, from a stack of the kernel's unwinder. */
static inline __attribute__((always_inline)) void find_start(void *ctx, u32 path)
{
	u64 frames[FIRST_FRAMES] = {}, from = 0, word = 0;
	struct walk *walk = walk_at(path);
	u32 i;

	if (!walk)
		return;
	bpf_get_stack(ctx, frames, sizeof(frames), 0);
#pragma clang loop unroll(full)
	for (i = 1; i < FIRST_FRAMES; i++)
		if (!from && frame_words(walk->text, frames[i], path) != FRAME_OUTSIDE)
			from = frames[i];
	if (!from)
		return;
#pragma clang loop unroll(full)
	for (i = 0; i < ENTRY_WORDS; i++) {
		bpf_probe_read_kernel(&word, sizeof(word), (u64 *)ctx + i);
		if (word == from) {
			walk->from = from;
			walk->offset = i * sizeof(word);
			return;
		}
	}
}

/* Returns what find_caller() does; where that is 0, finds where the next walk begins. */
static inline __attribute__((always_inline)) s32 caller_or_start(void *ctx, u32 path)
{
	s32 caller = find_caller(ctx, path);

	if (!caller)
		find_start(ctx, path);
	return caller;
}
#endif

#endif

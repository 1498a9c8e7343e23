/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* prefix.h looks up source prefixes: tables of chunks and sorted ranges, in pages of words.
 *
 *   IPv4      31         14 13         0         IPv6   127 125 124        105 104          64 63      0
 *            +-------------+------------+              +-------+--------------+--------------+---------+
 *            |    chunk    |    key     |              |  001  |    chunk     |     key      |         |
 *            +-------------+------------+              +-------+--------------+--------------+---------+
 *
 *   the word of a chunk ─┬─ the head of the chain of rules of all its addresses (0: none)
 *                        └─ PREFIX_SPLIT | where its ranges lie ──▶ count, then so many start << 16 | head, by their starts
 *
 * The first range of a chunk starts at 0, and each ends where the next one starts, so the last start that is not above the key decides.
 * Of IPv4 a range is a word, and those of a chunk lie in one page: at most 14 steps in its memory. Of IPv6 it is two words, and
 * there may be any number of them. The pages lie in an array whose length is no part of its shape: it is as long as the rows need,
 * and nothing has to be migrated when a host gets another capacity.
 *
 * Against the trie: a lookup in a million random rows meets three or four cache lines in place of twenty nodes. The tables are frozen; they
 * are written, read back and explained by loader/compile/prefixtable.go. */
#ifndef SPILLWAY_PREFIX_H
#define SPILLWAY_PREFIX_H

#include <bpf/bpf_helpers.h>

#include "types.h"
#include "verifier.h"

static __always_inline const struct prefix_page *page_of(void *table, __u32 word)
{
	__u32 page = word / PREFIX_PAGE;
	return bpf_map_lookup_elem(table, &page);
}

/* chunk_word returns that of a chunk. */
static __always_inline __u32 chunk_word(void *table, __u32 chunk)
{
	const struct prefix_page *page = page_of(table, chunk);
	return page ? page->words[chunk % PREFIX_PAGE] : 0;
}

/* find4_in returns the head of the chain of rules for an address, in the order of this machine, and 0 for none. */
static __always_inline __u32 find4_in(void *table, __u32 address)
{
	__u32 word = chunk_word(table, address >> PREFIX_KEY4);
	if (!(word & PREFIX_SPLIT))
		return word & 0xffff;
	word &= ~PREFIX_SPLIT;
	const struct prefix_page *page = page_of(table, word);
	if (!page)
		return 0;
	__u32 at = word % PREFIX_PAGE, left = page->words[at];
	/* Of a range that starts here every head is below it. */
	__u32 key = (address & ((1 << PREFIX_KEY4) - 1)) << 16 | 0xffff;
	at = (at + 1) % PREFIX_PAGE;
	for (int i = 0; i < PREFIX_KEY4 && left > 1; i++) {
		__u32 middle = (at + left / 2) % PREFIX_PAGE;
		if (page->words[middle] <= key)
			at = middle;
		left -= left / 2;
	}
	return page->words[at] & 0xffff;
}

/* A page that was looked up, so that its next word is read without a call. */
struct prefix_cursor {
	const struct prefix_page *page;
	__u32 number;
};

/* range6 returns a count or a range of IPv6; they never cross pages, for they begin at even words. */
static __always_inline __u64 range6(void *table, struct prefix_cursor *c, __u32 word)
{
	if (word / PREFIX_PAGE != c->number) {
		c->number = word / PREFIX_PAGE;
		c->page = page_of(table, word);
	}
	return c->page ? *(const __u64 *)&c->page->words[word & (PREFIX_PAGE - 2)] : 0;
}

/* find6_in is find4_in for the first 64 bits of an address in 2000::/3. */
static __always_inline __u32 find6_in(void *table, __u64 address)
{
	__u32 at = chunk_word(table, address >> PREFIX_KEY6 & ((1 << (61 - PREFIX_KEY6)) - 1));
	if (!(at & PREFIX_SPLIT))
		return at & 0xffff;
	at &= ~PREFIX_SPLIT;
	struct prefix_cursor c = { .page = page_of(table, at), .number = at / PREFIX_PAGE };
	__u32 left = range6(table, &c, at);
	__u64 key = (address & ((1ULL << PREFIX_KEY6) - 1)) << 16 | 0xffff;
	at += 2;
	for (int i = 0; i < PREFIX_STEPS6 && left > 1; i++) {
		__u32 middle = at + (left / 2) * 2;
		if (range6(table, &c, middle) <= key)
			at = middle;
		left -= left / 2;
	}
	return range6(table, &c, at) & 0xffff;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ja4.h turns the shape of a ClientHello into its JA4 and stable JA4: by a lookup where the shape is known, by sorting and
 * SHA-256 where it is new. Format: FoxIO-LLC/ja4, technical_details/JA4.md (BSD-3-Clause, the TLS client method only).
 *
 *   shape (clienthello.h: a keyed hash of everything that JA4 is made of)
 *     ├─ in shapes ─────────────┐
 *     ├─ else in shapes_listed ─┴──▶ the JA4 that stands there, if its check is right
 *     └─ new ── within the budgets (budget.h) ──▶ listed (lists.h), sorted, hashed; stored where somebody vouches
 *            └─ else ──▶ the first part alone        for the connection
 *                        (leave_head), and hello_busy
 *
 * shapes_listed has those that a feature named, so that a flood of new shapes evicts nothing that blocks: what it
 * evicts from shapes is found there. A row of shapes says whether its shape is there, too, so that a known shape costs
 * one lookup. Both maps are LRUs of a fixed size; a row that two processors wrote at once fails its check, and is
 * computed again. */
#ifndef SPILLWAY_JA4_H
#define SPILLWAY_JA4_H

#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "lists.h"
#include "sha256.h"
#include "source.h"

struct sorting {
	struct hello_values *list;
};

/* sort_digit sorts by one digit of four bits. n is read from memory in each round: what a round teaches the verifier of
 * n would make all its successors differ. */
static long sort_digit(__u32 digit, struct sorting *s)
{
	struct workspace *ws = get_workspace();
	struct hello_values *list = s->list;
	if (!ws)
		return 1;
	__u32 i, sum = 0, shift = digit * 4 & 15;
	for (i = 0; i < 16; i++)
		ws->counts[i] = 0;
	for (i = 0; i < HELLO_VALUES && i < reload(ws->sort_count); i++) {
		__u32 value = list->values[i];
		ws->spare.values[i] = value;
		ws->counts[value >> shift & 15] += 1;
	}
	for (i = 0; i < 16; i++) {
		__u32 count = ws->counts[i];
		ws->counts[i] = sum;
		sum += count;
	}
	for (i = 0; i < HELLO_VALUES && i < reload(ws->sort_count); i++) {
		__u32 value = ws->spare.values[i];
		__u32 to = ws->counts[value >> shift & 15]++;
		list->values[to & (HELLO_VALUES - 1)] = value;
	}
	return 0;
}

/* sort_values sorts the first n values: a radix sort of four digits, the same work for every order. */
__noinline int sort_values(struct hello_values *list, __u32 n)
{
	struct workspace *ws = get_workspace();
	if (!list || !ws || n > HELLO_VALUES)
		return 0;
	ws->sort_count = n;
	struct sorting s = { .list = list };
	bpf_loop(4, sort_digit, &s, 0);
	return 0;
}

/* Four hexadecimal digits, the highest at the lowest address. */
static __always_inline __u32 hex(__u32 value)
{
	__u32 x = (value >> 12 & 0x0f) | (value & 0x0f00) | (value & 0x00f0) << 12 | (value & 0x000f) << 24;
	__u32 letters = (x + 0x06060606) >> 4 & 0x01010101;
	return x + 0x30303030 + letters * ('a' - '0' - 10);
}

/* write_values writes n values to text[at] on, a comma behind each, and returns where they end. */
__noinline int write_values(struct hello_values *list, __u32 n, __u32 at)
{
	struct workspace *ws = get_workspace();
	if (!list || !ws || n > HELLO_VALUES)
		return 0;
	bounded(n);
	for (__u32 i = 0; i < HELLO_VALUES && i < n; i++) {
		__u32 to = (at + 5 * i) & (HELLO_TEXT - 1);
		void *place = &ws->text[to];
		*(__u32 *)place = hex(list->values[i]);
		ws->text[to + 4] = ',';
	}
	return at + 5 * n;
}

/* hash_text leaves the first six bytes of the SHA-256 of the text. */
static __always_inline void hash_text(struct workspace *ws, __u32 len, __u8 to[6])
{
	sha256_text(len);
	*(__be16 *)&to[0] = bpf_htons(ws->sha[0] >> 16);
	*(__be16 *)&to[2] = bpf_htons(ws->sha[0]);
	*(__be16 *)&to[4] = bpf_htons(ws->sha[1] >> 16);
}

/* hash_ciphers leaves JA4_b. */
static __always_inline void hash_ciphers(struct workspace *ws)
{
	__u32 n = ws->key.cipher_count;
	if (!n)
		return;
	sort_values(&ws->ciphers, n);
	hash_text(ws, write_values(&ws->ciphers, n, 0) - 1, ws->tls.b);
}

/* hash_extensions leaves JA4_c of a list of extensions: sorted, then an underscore and the signature algorithms. */
static __always_inline void hash_extensions(struct workspace *ws, struct hello_values *list, __u32 n, __u8 to[6])
{
	if (!n)
		return;
	sort_values(list, n);
	__u32 end = write_values(list, n, 0);
	if (ws->signature_count) {
		ws->text[(end - 1) & (HELLO_TEXT - 1)] = '_';
		end = write_values(&ws->signatures, ws->signature_count, end);
	}
	hash_text(ws, end - 1, to);
}

/* The two characters of a version, first one first in memory. */
#define CHARACTERS(a, b) ((a) | (b) << 8)

static __always_inline __u16 version_name(__u32 version)
{
	switch (version) {
	case 0x0304:
		return CHARACTERS('1', '3');
	case 0x0303:
		return CHARACTERS('1', '2');
	case 0x0302:
		return CHARACTERS('1', '1');
	case 0x0301:
		return CHARACTERS('1', '0');
	case 0x0300:
		return CHARACTERS('s', '3');
	case 0x0002:
		return CHARACTERS('s', '2');
	case 0xfeff: /* those of DTLS, which nothing over TCP should say */
		return CHARACTERS('d', '1');
	case 0xfefd:
		return CHARACTERS('d', '2');
	case 0xfefc:
		return CHARACTERS('d', '3');
	}
	return CHARACTERS('0', '0');
}

static __always_inline void write_count(__u8 to[2], __u32 n)
{
	to[0] = '0' + n / 10 % 10;
	to[1] = '0' + n % 10;
}

/* write_head leaves JA4_a. Counts are at most 99 here. */
static __always_inline void write_head(struct workspace *ws)
{
	struct tls_fingerprint *t = &ws->tls;
	__u16 version = version_name(ws->key.version);
	t->a[0] = 't';
	t->a[1] = version;
	t->a[2] = version >> 8;
	t->a[3] = ws->key.sni ? 'd' : 'i';
	write_count(&t->a[4], ws->key.cipher_count);
	write_count(&t->a[6], ws->key.extension_count);
	t->a[8] = ws->key.alpn[0];
	t->a[9] = ws->key.alpn[1];
	write_count(t->stable_count, ws->key.stable_count);
}

/* leave_head leaves what JA4 says without its hashes: features that name no more are matched. */
static __always_inline void leave_head(struct packet *p, struct workspace *ws)
{
	__builtin_memset(&ws->tls, 0, sizeof(ws->tls));
	write_head(ws);
	ws->tls.is_head = 1;
	p->flags |= PACKET_HAS_HEAD;
}

/* compute_ja4 leaves the fingerprint of the hello whose lists were kept last. */
__noinline int compute_ja4(void)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return REASON_INTERNAL;
	__builtin_memset(&ws->tls, 0, sizeof(ws->tls));
	write_head(ws);
	hash_ciphers(ws);
	hash_extensions(ws, &ws->extensions, ws->listed_count, ws->tls.c);
	if (ws->stable_count == ws->listed_count)
		__builtin_memcpy(ws->tls.stable_c, ws->tls.c, sizeof(ws->tls.c));
	else
		hash_extensions(ws, &ws->stable, ws->stable_count, ws->tls.stable_c);
	return REASON_CONTINUE;
}

static __always_inline __u64 shape_check(const struct shape_key *k, const struct tls_fingerprint *t,
					 const struct runtime *rt)
{
	const __u64 *key = (const __u64 *)k, *value = (const __u64 *)t;
	__u64 sum = rt->seed[0];
	for (int i = 0; i < 4; i++)
		sum = rotl64(sum, 23) * 0x9e3779b97f4a7c15ULL ^ key[i];
	for (int i = 0; i < 4; i++)
		sum = rotl64(sum, 23) * 0x9e3779b97f4a7c15ULL ^ value[i];
	return sum;
}

/* The lowest bit of a row's check: the shape is kept in shapes_listed. */
#define SHAPE_LISTED 1ULL

/* take_shape copies what is known of the shape, if it is whole. */
static __always_inline bool take_shape(struct workspace *ws, const struct runtime *rt, const struct shape *known)
{
	if (!known)
		return false;
	__u64 check = known->check;
	ws->tls = known->tls;
	ws->is_listed = check & SHAPE_LISTED;
	return (check | SHAPE_LISTED) == (shape_check(&ws->key, &ws->tls, rt) | SHAPE_LISTED);
}

static __always_inline void fill_shape(struct workspace *ws, const struct runtime *rt, __u64 listed)
{
	ws->shape.check = (shape_check(&ws->key, &ws->tls, rt) & ~SHAPE_LISTED) | listed;
	ws->shape.tls = ws->tls;
}

/* Forged hellos leave nothing behind, except at services whose sockets are elsewhere: there all are alike. */
static __always_inline bool may_store(const struct packet *p)
{
	return p->flags & (PACKET_PROVEN | PACKET_REMOTE);
}

/* list_shape keeps a shape that a feature named where unknown ones cannot evict it. One that is there is looked up: its use keeps it, and what
 * others evicted all the same is put back. */
__noinline int list_shape(void)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt || !ws->is_named || (ws->is_listed && bpf_map_lookup_elem(&shapes_listed, &ws->key)))
		return 0;
	fill_shape(ws, rt, SHAPE_LISTED);
	bpf_map_update_elem(&shapes_listed, &ws->key, &ws->shape, BPF_ANY);
	struct shape *known = bpf_map_lookup_elem(&shapes, &ws->key);
	if (known)
		known->check = ws->shape.check;
	return 0;
}

/* find_shape says whether the shape of the hello that was read last is known, and leaves its fingerprint. */
__noinline int find_shape(void)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt)
		return 0;
	ws->is_named = 0;
	if (take_shape(ws, rt, bpf_map_lookup_elem(&shapes, &ws->key)) ||
	    take_shape(ws, rt, bpf_map_lookup_elem(&shapes_listed, &ws->key)))
		return 1;
	ws->is_listed = 0;
	return 0;
}

/* make_shape leaves the fingerprint of the hello whose lists were kept last. */
__noinline int make_shape(struct packet *p)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!p || !ws || !rt)
		return REASON_INTERNAL;
	int reason = compute_ja4();
	if (reason || !may_store(p))
		return reason;
	fill_shape(ws, rt, 0);
	bpf_map_update_elem(&shapes, &ws->key, &ws->shape, BPF_ANY);
	return REASON_CONTINUE;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * unpack.h - stored blocks of sixteen rows become blocks of unsigned bytes and float scales.
 *
 * A tile_block covers 32 columns. With q the weight bytes and x the int8 activations of those columns, a
 * weight stands for one of four forms (`o` is civg_offset, subtracted exactly in integers):
 *
 *   plain            d (q - o)                      Q8_0 Q4_0 Q5_0
 *   minimum          d q + m                        Q4_1 Q5_1 Q4_K Q5_K
 *   halves           d s[h] (q - o)                 Q6_K Q3_K        h = column / 16
 *   halves, minimum  d s[h] q + m n[h]              Q2_K
 *
 * The types that come in blocks of 256 columns decode all their scales in unpack_open; the bytes follow step by
 * step. `type` is a constant wherever these functions are called, so every switch disappears.
 */
#ifndef CIVG_UNPACK_H
#define CIVG_UNPACK_H

/* ggml type ids. */
enum {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  BF16 = 30
};

/* 32 columns of sixteen rows. Only the fields of the type's form are set. */
typedef struct tile_block {
  v16i w[8 * (1 + CIVG_WORDS)]; /* lane i, byte b of w[j]: column 4 j + b of row i. In words: see words_of_block */
  v16f d, m;       /* scale and minimum */
  v16f s[2], n[2]; /* small whole numbers: scale and minimum of each half */
} tile_block;

/* What is known of a 256-column block beyond its bytes. */
typedef struct tile_super {
  v16f d[8], m[8];   /* minimum form: per 32 columns. Halves form: d[0], m[0] */
  v16f s[16], n[16]; /* halves forms: per 16 columns */
  v16i high[8];      /* the bit plane that all steps share */
  v16i raw[16];      /* bytes of the current step */
} tile_super;

CIVG_INLINE int civg_is_super(int type) { return type >= Q2_K && type <= Q6_K; }
CIVG_INLINE int civg_has_minimum(int type) {
  return type == Q4_1 || type == Q5_1 || type == Q4_K || type == Q5_K || type == Q2_K;
}
CIVG_INLINE int civg_has_halves(int type) { return type == Q6_K || type == Q3_K || type == Q2_K; }

/* What is subtracted from every weight byte. */
CIVG_INLINE int civg_offset(int type) {
  switch (type) {
    case Q8_0: return CIVG_Q8_OFFSET;
    case Q4_0: return 8;
    case Q5_0: return 16;
    case Q6_K: return 32;
    case Q3_K: return 4;
    default: return 0;
  }
}

/* A bound on the weight bytes: they use this many bits. 8 means that they need all, and a sign. */
CIVG_INLINE int civg_bits(int type) {
  switch (type) {
    case Q8_0: return 8;
    case Q6_K: return 6;
    case Q5_0: case Q5_1: case Q5_K: return 5;
    default: return 4;
  }
}

/* Whether a type is multiplied in words of 16 bits: products of 8-bit weights cannot be added up in so many. */
CIVG_INLINE int civg_in_words(int type) { return CIVG_WORDS && civg_bits(type) == 8; }

CIVG_INLINE size_t civg_block_bytes(int type) {
  switch (type) {
    case Q4_0: return 18;
    case Q4_1: return 20;
    case Q5_0: return 22;
    case Q5_1: return 24;
    case Q8_0: return 34;
    case Q2_K: return 84;
    case Q3_K: return 110;
    case Q4_K: return 144;
    case Q5_K: return 176;
    default: return 210;
  }
}

/* Columns in a stored block, and 32-column blocks decoded in one step. */
CIVG_INLINE size_t civg_block_columns(int type) { return civg_is_super(type) ? 256 : 32; }
CIVG_INLINE int civg_step_blocks(int type) {
  return type == Q4_K || type == Q5_K ? 2 : civg_is_super(type) ? 4 : 1;
}

/* What stands before the nibbles of a 4- or 5-bit block of 32 columns: halves d, and m of the minimum forms, then the
 * fifth bits. */
typedef struct tile_head {
  v16i scales; /* d in the high half, with m: d in the low half and m in the high one */
  v16i bits;   /* one bit per column */
} tile_head;

/* Sixteen low nibbles then sixteen high nibbles: the layout of the 32-column types. */
CIVG_INLINE tile_head unpack_nibbles(int type, const tile_rows *t, size_t offset, tile_block *b) {
  const int minimum = civg_has_minimum(type), fifth = civg_bits(type) == 5;
  const size_t head = 2 + 2 * (size_t)minimum + 4 * (size_t)fifth;
  v16i raw[4], before[2], mask = splat_i(0x0f0f0f0f);
  if (offset > 0) {
    transpose16_before(t, offset + head, raw, before);
  } else { /* nothing may be read before the first row */
    transpose16(t, offset + head, raw);
    before[1 - fifth] = minimum ? gather32(t, offset) : __builtin_convertvector(gather16(t, offset), v16i) << 16;
    if (fifth) before[1] = gather32(t, offset + head - 4);
  }
  CIVG_UNROLL for (int j = 0; j < 4; j++) {
    b->w[j] = raw[j] & mask;
    b->w[j + 4] = shift_right(raw[j], 4) & mask;
  }
  return (tile_head){before[1 - fifth], before[1]};
}

/* Adds bit 4 of the 32 columns from a word that holds one bit per column. */
CIVG_INLINE void unpack_fifth_bits(v16i bits, tile_block *b) {
  CIVG_UNROLL for (int j = 0; j < 8; j++) b->w[j] |= spread_bits(shift_right(bits, 4 * j));
}

/* One stored block of a 32-column type. */
CIVG_INLINE void unpack_small(int type, const tile_rows *t, size_t offset, tile_block *b) {
  tile_head head;
  v16i before[2];
  switch (type) {
    case Q8_0:
      if (offset > 0) {
        transpose16_before(t, offset + 2, b->w, before);
        b->d = high_half(before[1]);
      } else {
        transpose16(t, offset + 2, b->w);
        b->d = half16(gather16(t, offset));
      }
      transpose16(t, offset + 18, b->w + 4);
      CIVG_UNROLL for (int j = 0; j < 8; j++) b->w[j] ^= splat_i(CIVG_Q8_OFFSET * 0x01010101u);
      break;
    default: /* Q4_0, Q4_1, Q5_0, Q5_1 */
      head = unpack_nibbles(type, t, offset, b);
      if (civg_bits(type) == 5) unpack_fifth_bits(head.bits, b);
      b->d = civg_has_minimum(type) ? low_half(head.scales) : high_half(head.scales);
      if (civg_has_minimum(type)) b->m = high_half(head.scales);
      break;
  }
}

/* Turns an unpacked block's signed bytes into words: of the even columns in w[0] to w[7], of the odd ones behind. */
CIVG_INLINE void words_of_block(tile_block *b) {
  CIVG_UNROLL for (int j = 0; j < 8; j++) {
    v32s bytes = (v32s)b->w[j];
    b->w[j + 8 * CIVG_WORDS] = (v16i)(bytes >> 8);
    b->w[j] = (v16i)((bytes << 8) >> 8);
  }
}

/* Byte `i` of every lane as a whole number. */
CIVG_INLINE v16f byte_float(v16i v, int i) { return to_float(shift_right(v, 8 * i) & splat_i(255)); }
CIVG_INLINE v16f signed_byte_float(v16i v, int i) { return to_float((v << (24 - 8 * i)) >> 24); }

/* Q4_K and Q5_K share their first 16 bytes: d, dmin, and eight pairs of 6-bit scale and minimum in 12 bytes. */
CIVG_INLINE void open_pairs(const tile_rows *t, size_t offset, tile_super *u) {
  v16i h[4], six = splat_i(0x3f3f3f3f), four = splat_i(0x0f0f0f0f), top = splat_i(0x30303030);
  transpose16(t, offset, h);
  v16f d = low_half(h[0]), least = -high_half(h[0]);
  v16i scale[2] = {h[1] & six, (h[3] & four) | (shift_right(h[1], 2) & top)};
  v16i minimum[2] = {h[2] & six, (shift_right(h[3], 4) & four) | (shift_right(h[2], 2) & top)};
  CIVG_UNROLL for (int i = 0; i < 8; i++) {
    u->d[i] = d * byte_float(scale[i / 4], i % 4);
    u->m[i] = least * byte_float(minimum[i / 4], i % 4);
  }
}

/* Q3_K packs sixteen 6-bit scales, biased by 32, in 12 bytes: low nibbles first, then pairs of high bits.
 * The 16 bytes read here begin two bytes early, so that they end with d at the end of the block. */
CIVG_INLINE void open_q3(const tile_rows *t, size_t offset, tile_super *u) {
  v16i h[4], four = splat_i(0x0f0f0f0f), two = splat_i(0x03030303);
  transpose16(t, offset + 94, h);
  v16i a = shift_right(h[0], 16) | (h[1] << 16), b = shift_right(h[1], 16) | (h[2] << 16);
  v16i c = shift_right(h[2], 16) | (h[3] << 16);
  u->d[0] = high_half(h[3]);
  v16i scale[4] = {
      (a & four) | ((c & two) << 4),
      (b & four) | ((shift_right(c, 2) & two) << 4),
      (shift_right(a, 4) & four) | ((shift_right(c, 4) & two) << 4),
      (shift_right(b, 4) & four) | ((shift_right(c, 6) & two) << 4),
  };
  CIVG_UNROLL for (int i = 0; i < 16; i++) u->s[i] = byte_float(scale[i / 4], i % 4) - splat(32);
  transpose32(t, offset, u->high);
}

/* Scales of a 256-column block, and the bit plane that its steps share. */
CIVG_INLINE void unpack_open(int type, const tile_rows *t, size_t offset, tile_super *u) {
  v16i h[4];
  switch (type) {
    case Q4_K:
      open_pairs(t, offset, u);
      break;
    case Q5_K:
      open_pairs(t, offset, u);
      transpose32(t, offset + 16, u->high);
      break;
    case Q6_K:
      transpose16(t, offset + 192, h);
      CIVG_UNROLL for (int i = 0; i < 16; i++) u->s[i] = signed_byte_float(h[i / 4], i % 4);
      u->d[0] = half16(gather16(t, offset + 208));
      break;
    case Q3_K:
      open_q3(t, offset, u);
      break;
    default: /* Q2_K */
      transpose16(t, offset, h);
      CIVG_UNROLL for (int i = 0; i < 16; i++) {
        v16i byte = shift_right(h[i / 4], 8 * (i % 4));
        u->s[i] = to_float(byte & splat_i(15));
        u->n[i] = to_float(shift_right(byte, 4) & splat_i(15));
      }
      h[0] = gather32(t, offset + 80);
      u->d[0] = low_half(h[0]);
      u->m[0] = -high_half(h[0]);
      break;
  }
}

/* Block `i` of step `step` of a 256-column block. Blocks of a step are asked for in order. */
CIVG_INLINE void unpack_step(int type, const tile_rows *t, size_t offset, int step, int i,
                             tile_super *u, tile_block *b) {
  v16i four = splat_i(0x0f0f0f0f), two = splat_i(0x03030303);
  int block = step * civg_step_blocks(type) + i;
  switch (type) {
    case Q4_K:
    case Q5_K:
      if (i == 0) transpose32(t, offset + (type == Q4_K ? 16 : 48) + 32 * (size_t)step, u->raw);
      CIVG_UNROLL for (int j = 0; j < 8; j++) {
        b->w[j] = shift_right(u->raw[j], 4 * i) & four;
        if (type == Q5_K) {
          b->w[j] |= (shift_right(u->high[j], block) & splat_i(0x01010101)) << 4;
        }
      }
      b->d = u->d[block];
      b->m = u->m[block];
      return;
    case Q6_K:
      if (i == 0) {
        transpose32(t, offset + 64 * (size_t)step, u->raw);
        transpose32(t, offset + 64 * (size_t)step + 32, u->raw + 8);
        transpose32(t, offset + 128 + 32 * (size_t)step, u->high);
      }
      CIVG_UNROLL for (int j = 0; j < 8; j++) {
        v16i low = shift_right(u->raw[8 * (i & 1) + j], 4 * (i >> 1)) & four;
        b->w[j] = low | ((shift_right(u->high[j], 2 * i) & two) << 4);
      }
      break;
    case Q3_K:
      if (i == 0) transpose32(t, offset + 32 + 32 * (size_t)step, u->raw);
      CIVG_UNROLL for (int j = 0; j < 8; j++) {
        v16i low = shift_right(u->raw[j], 2 * i) & two;
        b->w[j] = low | ((shift_right(u->high[j], block) & splat_i(0x01010101)) << 2);
      }
      break;
    default: /* Q2_K */
      if (i == 0) transpose32(t, offset + 16 + 32 * (size_t)step, u->raw);
      CIVG_UNROLL for (int j = 0; j < 8; j++) b->w[j] = shift_right(u->raw[j], 2 * i) & two;
      b->m = u->m[0];
      b->n[0] = u->n[2 * block];
      b->n[1] = u->n[2 * block + 1];
      break;
  }
  b->d = u->d[0];
  b->s[0] = u->s[2 * block];
  b->s[1] = u->s[2 * block + 1];
}

#endif /* CIVG_UNPACK_H */

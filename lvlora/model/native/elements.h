/* Vectors of this processor, and the elements that weights, keys and values are kept in. */

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#define TILE_ROWS 6
#elif defined(__aarch64__)
#define LANES 4
#define TILE_ROWS 5
#else
#define LANES 8
#define TILE_ROWS 2
#endif
#define TILE_COLUMNS 4
#define SIDE 16 /* rows of an AMX tile, and numbers or pairs of elements in a row */
#define PAGE 32
#define PAGE_VECTORS (PAGE / LANES)
#define AHEAD 8 /* rows of weights are asked for before they are used */
#define QUERIES (PAGE_VECTORS >= 8 ? 1 : 12 / PAGE_VECTORS) /* that go through a page together */
#define MOST_QUERIES 6
#define MOST_HEADS 8 /* key/value heads whose queries go through pages together */
#define ENOUGH_TASKS 8 /* a thread: heads may go together */
#define MOST_HEAD_DIM 256
#define BLOCK_BYTES 262144 /* of inputs that stay in a core's second cache */
#define HUGE_PAGE (1 << 21)
#define ARENA_BYTES (32 * HUGE_PAGE) /* that pages of keys and values are cut from */
#define MOST_BLOCK_ROWS 384
#define MOST_BLOCK_COLUMNS 32
#define FEW_ROWS 16 /* so few that reading weights takes longer than multiplying them */
#define FEW_ROWS_COLUMNS (MOST_BLOCK_ROWS * MOST_BLOCK_COLUMNS / FEW_ROWS)

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* a b + c, rounded once where the processor has that: written out, because a compiler that may
   choose chooses differently from place to place, and results would depend on the batch */
static inline vector fused(vector a, vector b, vector c) {
#if LANES == 16
    return (vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

static inline vector every(float x) { return x - (vector){0}; }

/* elements: what weights, keys and values are kept in */

#ifdef BFLOAT16
typedef uint16_t element;
#define PER_LANE 2 /* elements that a product of one lane multiplies */

static inline element rounded(float x) {
    union { float f; uint32_t u; } b = {x};
    uint32_t up = (b.u + 0x7fff + ((b.u >> 16) & 1)) >> 16;
    return (element)((b.u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : up);
}
static inline float widened(element x) {
    union { uint32_t u; float f; } b = {(uint32_t)x << 16};
    return b.f;
}
typedef __m512i pack;
static inline pack load_pack(const element *p) { return _mm512_loadu_si512(p); }
static inline pack spread_pack(const element *p) { /* one lane's elements in every lane */
    int32_t both;
    memcpy(&both, p, 4);
    return _mm512_set1_epi32(both);
}
static inline vector multiply_add(vector sum, pack a, pack b) {
    return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
typedef float element;
#define PER_LANE 1
static inline element rounded(float x) { return x; }
static inline float widened(element x) { return x; }
typedef vector pack;
static inline pack load_pack(const element *p) { return *(const vector *)p; }
static inline pack spread_pack(const element *p) { return every(*p); }
static inline vector multiply_add(vector sum, pack a, pack b) { return fused(a, b, sum); }
#endif

#define PACK (LANES * PER_LANE)

/* Into the second cache: a core has few requests for the first one open at a time, and waits where
   there are more. */
static inline void ask_for(const element *p) { __builtin_prefetch(p, 0, 2); }

/* a where the mask is all ones, b where it is none */
static inline vector chosen(ivector mask, vector a, vector b) {
    return (vector)(((ivector)a & mask) | ((ivector)b & ~mask));
}

/* the larger of both, lane by lane; where one is NaN, b */
static inline vector largest(vector a, vector b) {
#if LANES == 16
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return chosen((ivector)(a > b), a, b);
#endif
}

/* a mask of the first n lanes */
static inline ivector seen(int64_t n) {
    ivector lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i;
    int32_t limit = (int32_t)(n < 0 ? 0 : n > LANES ? LANES : n);
    return lanes < limit - (ivector){0};
}

static inline float largest_of(vector v) {
#if LANES == 16
    return _mm512_reduce_max_ps((__m512)v);
#endif
    float all[LANES];
    memcpy(all, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) all[i] = all[i] > all[i + half] ? all[i] : all[i + half];
    return all[0];
}

static inline float total(vector v) {
#if LANES == 16
    return _mm512_reduce_add_ps((__m512)v);
#endif
    float sum[LANES];
    memcpy(sum, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* sums of four vectors each, together */
static inline void totals(const vector v[4], float out[4]) {
#if LANES == 16
    __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 all = _mm512_add_ps(
        (__m512)_mm512_unpacklo_pd((__m512d)ab, (__m512d)cd),
        (__m512)_mm512_unpackhi_pd((__m512d)ab, (__m512d)cd));
    __m256 half = _mm256_add_ps(
        _mm512_castps512_ps256(all), (__m256)_mm512_extractf64x4_pd((__m512d)all, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#else
    for (int i = 0; i < 4; i++) out[i] = total(v[i]);
#endif
}

/* e^x for x up to 0, to what products round to (Cody and Waite's reduction, a polynomial); NaN
   stays */
static inline vector exponentials(vector x) {
    const vector turn = every(12582912.0f); /* 1.5 2^23: adding it rounds to whole numbers */
    x = largest(every(-87.0f), x);
    vector shifted = fused(x, every(1.44269504088896341f), turn);
    vector n = shifted - turn;
    vector r = fused(n, every(-0.693359375f), x);
    r = fused(n, every(2.12194440e-4f), r);
#ifdef BFLOAT16
    vector p = fused(r, every(4.3655555e-2f), every(1.6666665459e-1f));
#else
    vector p = fused(r, every(1.9875691500e-4f), every(1.3981999507e-3f));
    p = fused(p, r, every(8.3334519073e-3f));
    p = fused(p, r, every(4.1665795894e-2f));
    p = fused(p, r, every(1.6666665459e-1f));
#endif
    p = fused(p, r, every(5.0000001201e-1f));
    p = fused(p * r, r, r) + 1.0f;
    /* a product, because a NaN's own bits may be any and must not be added to */
    return p * (vector)(((ivector)shifted << 23) + (127 << 23));
}

/* x / (1 + e^-x), from e^-|x| so that nothing overflows */
static inline vector silu(vector x) {
    vector z = exponentials((vector)((ivector)x | INT32_MIN));
    return x * chosen((ivector)(x < (vector){0}), z, every(1.0f)) / (1.0f + z);
}

static inline void store_rounded(vector v, element *to) {
#ifdef BFLOAT16
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    memcpy(to, &v, sizeof v);
#endif
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

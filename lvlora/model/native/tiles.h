/* Products in AMX tiles: 16 outputs times 16 tokens at once, 32 elements of each to a step.

   Weights stay as they are: rows of them are the first factor. Inputs are the second, which AMX
   wants with pairs of elements of 16 tokens beside each other: `pack` turns them, once for all
   products of the same inputs. Packed rows of `width` elements are blocks of 16 tokens, 16 * width
   elements each; element e of token t is at (t / 16 * width + e / 2 * 2) * 16 + t % 16 * 2 + e % 2,
   so that elements from an even place on begin 16 times as far into the block.

   With -DEMULATED_TILES tiles are computed by plain C as Intel's manual defines TDPBF16PS (Software
   Developer's Manual, volume 2): for tests on processors without them. */

#if defined(BFLOAT16) && (defined(EMULATED_TILES) || (defined(__AMX_BF16__) && defined(__linux__)))
#define HAVE_TILES
#include <unistd.h>
#include <sys/syscall.h>

#define STEP 32 /* elements that a tile of each factor has of a row */

typedef struct { /* operand of LDTILECFG */
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* tiles 0 to 3 are sums, 4 and 5 weights, 6 and 7 inputs; `outputs` rows of weights and sums */
static TileConfig config_of(int64_t outputs) {
    TileConfig config = {.palette = 1};
    for (int i = 0; i < 8; i++)
        config.row_bytes[i] = 64, config.rows[i] = (uint8_t)(i < 6 ? outputs : SIDE);
    return config;
}

#ifdef EMULATED_TILES

static _Thread_local struct { TileConfig config; uint32_t tile[8][SIDE][SIDE]; } emulated;

static float flushed(float x) { /* denormal numbers are zeros */
    union { float f; uint32_t u; } b = {x};
    if (!(b.u & 0x7f800000)) b.u &= 0x80000000;
    return b.f;
}
static void load_config(const TileConfig *config) { memcpy(&emulated, config, sizeof *config); }
static void store_config(TileConfig *config) { memcpy(config, &emulated, sizeof *config); }
static void load_rows(int tile, const void *from, int64_t stride) {
    memset(emulated.tile[tile], 0, sizeof emulated.tile[tile]);
    for (int i = 0; i < emulated.config.rows[tile]; i++)
        memcpy(emulated.tile[tile][i], (const char *)from + i * stride, 64);
}
static void store_rows(int tile, void *to, int64_t stride) {
    for (int i = 0; i < emulated.config.rows[tile]; i++)
        memcpy((char *)to + i * stride, emulated.tile[tile][i], 64);
}
static void multiply_rows(int sum, int left, int right) {
    for (int m = 0; m < emulated.config.rows[sum]; m++)
        for (int n = 0; n < SIDE; n++) {
            float even = 0, odd = 0, all; /* a product of two elements is exact */
            for (int k = 0; k < SIDE; k++) {
                uint32_t a = emulated.tile[left][m][k], b = emulated.tile[right][k][n];
                even = flushed(
                    even + flushed(widened((element)a)) * flushed(widened((element)b)));
                odd = flushed(
                    odd + flushed(widened((element)(a >> 16))) * flushed(widened(b >> 16)));
            }
            memcpy(&all, &emulated.tile[sum][m][n], 4);
            all = flushed(flushed(all) + flushed(even + odd));
            memcpy(&emulated.tile[sum][m][n], &all, 4);
        }
}
#define LOAD_CONFIG(config) load_config(config)
#define STORE_CONFIG(config) store_config(config)
#define LOAD(tile, from, stride) load_rows(tile, from, stride)
#define STORE(tile, to, stride) store_rows(tile, to, stride)
#define CLEAR(t) memset(emulated.tile[t], 0, sizeof emulated.tile[t])
#define MULTIPLY(sum, left, right) multiply_rows(sum, left, right)
static int tiles_allowed(void) { return 1; }

#else

#define LOAD_CONFIG(config) _tile_loadconfig(config)
#define STORE_CONFIG(config) _tile_storeconfig(config)
#define LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define CLEAR(tile) _tile_zero(tile)
#define MULTIPLY(sum, left, right) _tile_dpbf16ps(sum, left, right)

/* Linux gives the registers to a process that asks (ARCH_REQ_XCOMP_PERM for XTILEDATA) */
static int tiles_allowed(void) { return !syscall(SYS_arch_prctl, 0x1023, 18); }

#endif

/* 16 x 16 numbers of four bytes, rows and columns exchanged */
static inline void turn(__m512i a[SIDE]) {
    __m512i b[SIDE];
    UNROLLED for (int i = 0; i < SIDE; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLLED for (int i = 0; i < SIDE; i += 4)
        UNROLLED for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
            a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
        }
    UNROLLED for (int i = 0; i < SIDE; i += 8)
        UNROLLED for (int j = 0; j < 4; j++) {
            b[i + j] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0x88);
            b[i + j + 4] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0xdd);
        }
    UNROLLED for (int j = 0; j < 8; j++) {
        a[j] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0x88);
        a[j + 8] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0xdd);
    }
}

/* a block of up to 16 tokens, packed; those that are missing are zeros */
static void pack_block(const element *x, int64_t ldx, int64_t rows, int64_t width, element *to) {
    for (int64_t at = 0; at < width; at += STEP) {
        __m512i part[SIDE];
        for (int i = 0; i < SIDE; i++)
            part[i] = i < rows ? load_pack(x + i * ldx + at) : _mm512_setzero_si512();
        turn(part);
        for (int i = 0; i < SIDE; i++) _mm512_storeu_si512(to + at * SIDE + i * STEP, part[i]);
    }
}

/* y[token][output] (+)= sums[output][token] */
static void give_out(
    const float sums[SIDE][SIDE], int64_t outputs, int64_t rows, float *y, int64_t ldy, int add) {
    const __mmask16 there = (__mmask16)((1u << outputs) - 1);
    __m512i part[SIDE];
    for (int i = 0; i < SIDE; i++) part[i] = _mm512_load_si512(sums[i]);
    turn(part);
    for (int64_t i = 0; i < rows; i++) {
        __m512 out = (__m512)part[i];
        if (add) out = _mm512_add_ps(_mm512_maskz_loadu_ps(there, y + i * ldy), out);
        _mm512_mask_storeu_ps(y + i * ldy, there, out);
    }
}

/* one or two tiles of outputs times one or two of tokens; weights are asked for `ahead` of them */
static inline __attribute__((always_inline)) void tile_product(
    const element *x, int64_t block, int64_t rows, const element *w, int64_t outputs, int64_t k,
    float *y, int64_t ldy, int add, int64_t ahead, const int two_outputs, const int two_tokens) {
    const int64_t stride = k * (int64_t)sizeof(element);
    CLEAR(0);
    if (two_tokens) CLEAR(1);
    if (two_outputs) CLEAR(2);
    if (two_outputs && two_tokens) CLEAR(3);
    for (int64_t at = 0; at < k; at += STEP) {
        LOAD(4, w + at, stride);
        LOAD(6, x + at * SIDE, 64);
        if (ahead)
            for (int i = 0; i < SIDE * (1 + two_outputs); i++) ask_for(w + ahead + i * k + at);
        MULTIPLY(0, 4, 6);
        if (two_tokens) {
            LOAD(7, x + block + at * SIDE, 64);
            MULTIPLY(1, 4, 7);
        }
        if (two_outputs) {
            LOAD(5, w + SIDE * k + at, stride);
            MULTIPLY(2, 5, 6);
        }
        if (two_outputs && two_tokens) MULTIPLY(3, 5, 7);
    }
    float sums[SIDE][SIDE] __attribute__((aligned(64))) = {{0}};
    STORE(0, sums, 64);
    give_out(sums, outputs, smaller(rows, SIDE), y, ldy, add);
    if (two_tokens) {
        STORE(1, sums, 64);
        give_out(sums, outputs, rows - SIDE, y + SIDE * ldy, ldy, add);
    }
    if (two_outputs) {
        STORE(2, sums, 64);
        give_out(sums, SIDE, smaller(rows, SIDE), y + SIDE, ldy, add);
    }
    if (two_outputs && two_tokens) {
        STORE(3, sums, 64);
        give_out(sums, SIDE, rows - SIDE, y + SIDE * ldy + SIDE, ldy, add);
    }
}

/* y (rows, ldy) (+)= x wT as `multiply` in products.h, of packed x whose blocks are `block` elements
   apart */
static void multiply_tiles(
    const element *x, int64_t block, int64_t rows, const element *w, int64_t columns, int64_t k,
    float *y, int64_t ldy, int add) {
    for (int64_t j = 0; j < columns;) {
        const int two = columns - j >= 2 * SIDE;
        const int64_t n = two ? 2 * SIDE : smaller(columns - j, SIDE);
        if (j == 0 || n < SIDE) {
            const TileConfig config = config_of(smaller(n, SIDE));
            LOAD_CONFIG(&config);
        }
        for (int64_t i = 0; i < rows; i += 2 * SIDE) {
            const int64_t m = smaller(rows - i, 2 * SIDE);
            /* once, and only as far as the weights of this piece go */
            const int64_t ahead = i == 0 && j + 2 * n <= columns ? n * k : 0;
            const element *from = x + i / SIDE * block, *weights = w + j * k;
            float *to = y + i * ldy + j;
            if (two && m > SIDE)
                tile_product(from, block, m, weights, SIDE, k, to, ldy, add, ahead, 1, 1);
            else if (two)
                tile_product(from, block, m, weights, SIDE, k, to, ldy, add, ahead, 1, 0);
            else if (m > SIDE)
                tile_product(from, block, m, weights, n, k, to, ldy, add, ahead, 0, 1);
            else
                tile_product(from, block, m, weights, n, k, to, ldy, add, ahead, 0, 0);
        }
        j += n;
    }
}

#ifdef EMULATED_TILES
/* for tests: y (rows, outputs) (+)= x (rows, k) wT (outputs, k); 0, or -1 without memory */
int packed_product(
    const element *x, int64_t rows, const element *w, int64_t outputs, int64_t k, float *y,
    int add) {
    element *packed = malloc((size_t)(pieces(rows, SIDE) * SIDE * k) * sizeof *packed);
    if (!packed) return -1;
    for (int64_t i = 0; i < rows; i += SIDE)
        pack_block(x + i * k, k, smaller(rows - i, SIDE), k, packed + i * k);
    multiply_tiles(packed, SIDE * k, rows, w, outputs, k, y, outputs, add);
    free(packed);
    return 0;
}
#endif

#endif

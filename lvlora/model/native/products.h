/* Products of inputs with weights, in tiles that fit into the registers. */

#define UNROLLED _Pragma("GCC unroll 8")

/* y[m][n] (+)= sum_k x[m][k] w[n][k] for a tile of m x n; at each step `asks` packs of `ask`, of
   weights that are wanted soon, are asked for */
#define TILE(M, N)                                                                               \
    static void tile_##M##_##N(                                                                  \
        const element *x, int64_t ldx, const element *w, int64_t ldw, int64_t k, float *y,       \
        int64_t ldy, int add, const element *ask, int asks) {                                    \
        vector sum[M][N];                                                                        \
        UNROLLED for (int i = 0; i < M; i++)                                                     \
            UNROLLED for (int j = 0; j < N; j++) sum[i][j] = (vector){0};                        \
        for (int64_t at = 0; at < k; at += PACK) {                                               \
            pack right[N];                                                                       \
            UNROLLED for (int j = 0; j < N; j++) right[j] = load_pack(w + j * ldw + at);         \
            UNROLLED for (int j = 0; j < N; j++)                                                 \
                if (j < asks) ask_for(ask + at * asks + j * PACK);                               \
            UNROLLED for (int i = 0; i < M; i++) {                                               \
                pack left = load_pack(x + i * ldx + at);                                         \
                UNROLLED for (int j = 0; j < N; j++)                                             \
                    sum[i][j] = multiply_add(sum[i][j], left, right[j]);                         \
            }                                                                                    \
        }                                                                                        \
        UNROLLED for (int i = 0; i < M; i++) {                                                   \
            float out[4];                                                                        \
            if (N == 4)                                                                          \
                totals(sum[i], out);                                                             \
            else                                                                                 \
                for (int j = 0; j < N; j++) out[j] = total(sum[i][j]);                           \
            float *to = y + i * ldy;                                                             \
            for (int j = 0; j < N; j++) to[j] = add ? to[j] + out[j] : out[j];                   \
        }                                                                                        \
    }

typedef void (*Tile)(
    const element *, int64_t, const element *, int64_t, int64_t, float *, int64_t, int,
    const element *, int);

TILE(1, 4)
TILE(2, 4)
TILE(1, 1)
TILE(2, 1)
#if TILE_ROWS >= 5
TILE(3, 4)
TILE(4, 4)
TILE(5, 4)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
#endif
#if TILE_ROWS >= 6
TILE(6, 4)
TILE(6, 1)
#endif

static const Tile TILES_4[] = {
    tile_1_4, tile_2_4,
#if TILE_ROWS >= 5
    tile_3_4, tile_4_4, tile_5_4,
#endif
#if TILE_ROWS >= 6
    tile_6_4,
#endif
};
static const Tile TILES_1[] = {
    tile_1_1, tile_2_1,
#if TILE_ROWS >= 5
    tile_3_1, tile_4_1, tile_5_1,
#endif
#if TILE_ROWS >= 6
    tile_6_1,
#endif
};

/* y (rows, ldy) (+)= x wT, w being `columns` rows of k. While some of these are multiplied, as many
   are asked for AHEAD of them, and at the end those of `then`, which is going to be multiplied
   next. Each tile asks for its share, because more requests at once than a core can have open would
   be waited for. */
static void multiply(
    const element *x, int64_t ldx, int64_t rows, const element *w, int64_t columns, int64_t k,
    float *y, int64_t ldy, int add, const element *then) {
    const int64_t n_tiles = pieces(rows, TILE_ROWS);
    for (int64_t j = 0; j < columns;) {
        const int64_t n = columns - j >= TILE_COLUMNS ? TILE_COLUMNS : 1, soon = j + AHEAD;
        const Tile *tiles = n == TILE_COLUMNS ? TILES_4 : TILES_1;
        const int asks = (int)pieces(n, n_tiles);
        const element *ask = soon < columns ? w + soon * k : then + (soon - columns) * k;
        const element *asked = ask + n * k;
        for (int64_t i = 0; i < rows; i += TILE_ROWS, ask += asks * k)
            tiles[smaller(rows - i, TILE_ROWS) - 1](
                x + i * ldx, ldx, w + j * k, k, k, y + i * ldy + j, ldy, add, ask,
                ask < asked ? asks : 0);
        j += n;
    }
}

// Batch normalisation of a training batch, with an addition and ReLU after it, in two passes over the memory; and its
// gradient in two. Maps are N H W C in memory (channels_last), bfloat16 or float32; statistics are added up in double.
//
// The work is cut into PARTS whatever the number of threads, so that the bits do not depend on it.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
constexpr int PARTS = 32;
constexpr long ROWS = 512;  // added up in float before they go into a double

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

struct BFloat16 { uint16_t bits; };

inline Floats load(const float *from) {
    Floats value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline Floats load(const BFloat16 *from) {
    Halves half;
    std::memcpy(&half, from, sizeof half);
    return (Floats)(__builtin_convertvector(half, Words) << 16);
}

inline double number(float value) { return value; }
inline double number(BFloat16 value) {
    const uint32_t word = (uint32_t)value.bits << 16;
    float wide;
    std::memcpy(&wide, &word, sizeof wide);
    return wide;
}

inline void store(float *to, Floats value) { std::memcpy(to, &value, sizeof value); }

#ifdef __AVX512BF16__
inline void store(BFloat16 *to, Floats value) {
    const __m256bh half = _mm512_cvtneps_pbh((__m512)value);
    std::memcpy(to, &half, sizeof half);
}
#else
inline void store(BFloat16 *to, Floats value) {  // to the nearest, ties to even; NaN stays NaN
    const Words word = (Words)value;
    const Words rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
    const Words nan = (Words)(value != value);
    const Halves half = __builtin_convertvector((rounded & ~nan) | ((word >> 16 | 0x40) & nan), Halves);
    std::memcpy(to, &half, sizeof half);
}
#endif

// Where `mask` is not below zero: NaN passes, as through torch.relu.
inline Floats unless_negative(Floats value, Floats mask) { return (Floats)((Words)value & ~(Words)(mask < 0)); }
inline Floats where_positive(Floats value, Floats mask) { return (Floats)((Words)value & ~(Words)(mask <= 0)); }

// Distances from the first row are added up, so that a mean far from zero costs no digits of the variance.
// One panel of K * LANES channels, beginning at a channel, of rows `from` to `to`; a row is `channels` long.

template <int K, typename T>
void add_up(const T *x, const T *first, long channels, long from, long to, double *sums, double *squares) {
    Floats pivot[K];
    for (int k = 0; k < K; k++) pivot[k] = load(first + k * LANES);
    for (long start = from; start < to; start += ROWS) {
        const long end = start + ROWS < to ? start + ROWS : to;
        Floats sum[K] = {}, square[K] = {};
        for (long row = start; row < end; row++)
            for (int k = 0; k < K; k++) {
                const Floats value = load(x + row * channels + k * LANES) - pivot[k];
                sum[k] += value;
                square[k] += value * value;
            }
        for (int k = 0; k < K; k++)
            for (int lane = 0; lane < LANES; lane++) {
                sums[k * LANES + lane] += sum[k][lane];
                squares[k * LANES + lane] += square[k][lane];
            }
    }
}

template <int K, bool ADDS, bool RELU, typename T>
void normalise(const T *x, const T *shortcut, T *y, const float *scale, const float *shift, long channels, long from,
               long to) {
    Floats factor[K], offset[K];
    for (int k = 0; k < K; k++) factor[k] = load(scale + k * LANES), offset[k] = load(shift + k * LANES);
    for (long row = from; row < to; row++)
        for (int k = 0; k < K; k++) {
            const long at = row * channels + k * LANES;
            Floats value = load(x + at) * factor[k] + offset[k];
            if (ADDS) value += load(shortcut + at);
            if (RELU) value = unless_negative(value, value);
            store(y + at, value);
        }
}

// A pointer that may be null, moved.
template <typename T>
T *moved(T *pointer, long by) { return pointer ? pointer + by : nullptr; }

// How ReLU let a value through is seen in the map it gave, or computed again from its input.
enum class Relu { NONE, SEEN, COMPUTED };

// What is needed to know which values a layer let through.
template <typename T>
struct Passed {
    const T *y;                  // what came out
    const float *scale, *shift;  // x * scale + shift came before ReLU, where nothing was added
    Passed at(long channel) const { return {moved(y, channel), scale + channel, shift + channel}; }
};

// The gradient after ReLU; `second` is another part of the gradient.
template <int K, bool TWO, Relu RELU, typename T>
struct Gradient {
    const T *first, *second;
    Passed<T> passed;
    Floats scale[K], shift[K];

    Gradient(const T *first, const T *second, const Passed<T> &passed) : first(first), second(second), passed(passed) {
        if (RELU == Relu::COMPUTED)
            for (int k = 0; k < K; k++)
                scale[k] = load(passed.scale + k * LANES), shift[k] = load(passed.shift + k * LANES);
    }

    Floats at(long place, int k, Floats x) const {
        Floats value = load(first + place);
        if (TWO) value += load(second + place);
        if (RELU == Relu::SEEN) value = where_positive(value, load(passed.y + place));
        if (RELU == Relu::COMPUTED) value = where_positive(value, x * scale[k] + shift[k]);
        return value;
    }
};

// What the statistics need of the gradient, which is also written to `kept` if it KEEPS.
template <int K, bool KEEPS, typename G, typename T>
void add_up_gradient(const G &gradient, const T *x, T *kept, const float *mean, long channels, long from, long to,
                     double *sums, double *products) {
    Floats middle[K];
    for (int k = 0; k < K; k++) middle[k] = load(mean + k * LANES);
    for (long start = from; start < to; start += ROWS) {
        const long end = start + ROWS < to ? start + ROWS : to;
        Floats sum[K] = {}, product[K] = {};
        for (long row = start; row < end; row++)
            for (int k = 0; k < K; k++) {
                const long at = row * channels + k * LANES;
                const Floats was = load(x + at), value = gradient.at(at, k, was);
                if (KEEPS) store(kept + at, value);
                sum[k] += value;
                product[k] += value * (was - middle[k]);
            }
        for (int k = 0; k < K; k++)
            for (int lane = 0; lane < LANES; lane++) {
                sums[k * LANES + lane] += sum[k][lane];
                products[k * LANES + lane] += product[k][lane];
            }
    }
}

template <int K, typename G, typename T>
void propagate(const G &gradient, const T *x, T *to_x, const float *by_gradient, const float *by_x,
               const float *offset, long channels, long from, long to) {
    Floats a[K], b[K], c[K];
    for (int k = 0; k < K; k++)
        a[k] = load(by_gradient + k * LANES), b[k] = load(by_x + k * LANES), c[k] = load(offset + k * LANES);
    for (long row = from; row < to; row++)
        for (int k = 0; k < K; k++) {
            const long at = row * channels + k * LANES;
            const Floats was = load(x + at);
            store(to_x + at, gradient.at(at, k, was) * a[k] + was * b[k] + c[k]);
        }
}

// All panels of one part: of four vectors where the channels divide by 64, else of two or one.
template <typename Work>
void in_panels(long channels, Work work) {
    for (long channel = 0; channel < channels;) {
        const long left = channels - channel;
        if (left >= 4 * LANES) work(std::integral_constant<int, 4>(), channel), channel += 4 * LANES;
        else if (left >= 2 * LANES) work(std::integral_constant<int, 2>(), channel), channel += 2 * LANES;
        else work(std::integral_constant<int, 1>(), channel), channel += LANES;
    }
}

template <typename Work>
void in_parts(long rows, int threads, Work work) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < PARTS; part++) work(part, rows * part / PARTS, rows * (part + 1) / PARTS);
}

struct Sums {
    long channels;
    std::vector<double> values;
    explicit Sums(long channels) : channels(channels), values(2 * PARTS * channels) {}
    double *at(int part, int which, long channel) { return values.data() + (2 * part + which) * channels + channel; }
    double total(int which, long channel) {
        double sum = 0;
        for (int part = 0; part < PARTS; part++) sum += *at(part, which, channel);
        return sum;
    }
};

}  // namespace

// What both directions share; the caller keeps it. Statistics are those of `rows` rows.
struct Layer {
    long rows, channels;
    int threads, relu;
    double epsilon, momentum;
    const float *weight, *bias;
    float *running_mean, *running_var;  // null: they stay
    double *mean, *inverse;             // of this batch, 1 / sqrt(variance + epsilon); written forward, read backward
};

// What the statistics of a batch make of a layer: x * scale + shift.
struct Affine {
    std::vector<float> scale, shift;
    explicit Affine(const Layer &layer) : scale(layer.channels), shift(layer.channels) {
        for (long c = 0; c < layer.channels; c++) {
            scale[c] = layer.weight[c] * layer.inverse[c];
            shift[c] = layer.bias[c] - layer.mean[c] * layer.weight[c] * layer.inverse[c];
        }
    }
};

template <Relu VALUE>
using Is = std::integral_constant<Relu, VALUE>;

template <typename T>
void forward(const Layer &layer, const T *x, const T *shortcut, T *y) {
    const long channels = layer.channels;
    Sums sums(channels);
    in_parts(layer.rows, layer.threads, [&](int part, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            add_up<k>(x + channel, x + channel, channels, from, to, sums.at(part, 0, channel), sums.at(part, 1, channel));
        });
    });
    const double count = layer.rows;
    for (long c = 0; c < channels; c++) {
        const double distance = sums.total(0, c) / count, mean = number(x[c]) + distance;
        double variance = sums.total(1, c) / count - distance * distance;
        if (variance < 0) variance = 0;
        layer.mean[c] = mean;
        layer.inverse[c] = 1 / std::sqrt(variance + layer.epsilon);
        if (layer.running_mean) {
            const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
            layer.running_mean[c] += layer.momentum * (mean - layer.running_mean[c]);
            layer.running_var[c] += layer.momentum * (unbiased - layer.running_var[c]);
        }
    }
    const Affine affine(layer);
    in_parts(layer.rows, layer.threads, [&](int, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const float *factor = affine.scale.data() + channel, *offset = affine.shift.data() + channel;
            const T *in = x + channel, *added = moved(shortcut, channel);
            T *out = y + channel;
            if (shortcut) normalise<k, true, true>(in, added, out, factor, offset, channels, from, to);
            else if (layer.relu) normalise<k, false, true>(in, added, out, factor, offset, channels, from, to);
            else normalise<k, false, false>(in, added, out, factor, offset, channels, from, to);
        });
    });
}

// The maps of a backward pass. `second`, another part of the gradient, may be null; `y` and `to_shortcut` are null where
// nothing was added; where something was, ReLU follows.
template <typename T>
struct Backward {
    const T *gradient, *second, *x, *y;
    T *to_x, *to_shortcut;
};

// What `backward` adds up first. Two parts of a gradient are added once and kept, where the shortcut's gradient goes or
// else where the result will be.
template <bool TWO, Relu RELU, bool KEEPS, typename T>
void add_up_all(const Layer &layer, const Backward<T> &maps, T *kept, const Passed<T> &passed, const float *mean,
                Sums &sums) {
    const long channels = layer.channels;
    in_parts(layer.rows, layer.threads, [&](int part, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const Gradient<k, TWO, RELU, T> gradient(maps.gradient + channel, moved(maps.second, channel),
                                                   passed.at(channel));
            add_up_gradient<k, KEEPS>(gradient, maps.x + channel, moved(kept, channel), mean + channel, channels, from,
                                      to, sums.at(part, 0, channel), sums.at(part, 1, channel));
        });
    });
}

template <Relu RELU, typename T>
void propagate_all(const Layer &layer, const T *gradient, const Backward<T> &maps, const Passed<T> &passed,
                   const float *by_gradient, const float *by_x, const float *offset) {
    const long channels = layer.channels;
    in_parts(layer.rows, layer.threads, [&](int, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const Gradient<k, false, RELU, T> own(gradient + channel, nullptr, passed.at(channel));
            propagate<k>(own, maps.x + channel, maps.to_x + channel, by_gradient + channel, by_x + channel,
                         offset + channel, channels, from, to);
        });
    });
}

template <typename T>
void backward(const Layer &layer, const Backward<T> &maps, float *to_weight, float *to_bias) {
    const long channels = layer.channels;
    const std::vector<float> mean(layer.mean, layer.mean + channels);
    const Affine affine(layer);
    const Passed<T> passed{maps.y, affine.scale.data(), affine.shift.data()};
    Sums sums(channels);
    T *kept = maps.to_shortcut ? maps.to_shortcut : maps.second ? maps.to_x : nullptr;
    const auto add_up = [&](auto two, auto relu, auto keeps) {
        add_up_all<two, relu, keeps>(layer, maps, kept, passed, mean.data(), sums);
    };
    const auto how = [&](auto relu, auto always) {
        if (maps.second) add_up(std::true_type(), relu, std::true_type());
        else add_up(std::false_type(), relu, always);
    };
    if (maps.to_shortcut) how(Is<Relu::SEEN>(), std::true_type());
    else if (layer.relu) how(Is<Relu::COMPUTED>(), std::false_type());
    else how(Is<Relu::NONE>(), std::false_type());

    std::vector<float> by_gradient(channels), by_x(channels), offset(channels);
    const double count = layer.rows;
    for (long c = 0; c < channels; c++) {
        const double sum = sums.total(0, c), product = sums.total(1, c), inverse = layer.inverse[c];
        to_bias[c] = sum;
        to_weight[c] = product * inverse;
        const double scale = layer.weight[c] * inverse, slope = -scale * inverse * inverse * product / count;
        by_gradient[c] = scale;
        by_x[c] = slope;
        offset[c] = -scale * sum / count - slope * layer.mean[c];
    }
    const float *a = by_gradient.data(), *b = by_x.data(), *c = offset.data();
    if (kept) propagate_all<Relu::NONE, T>(layer, kept, maps, passed, a, b, c);
    else if (layer.relu) propagate_all<Relu::COMPUTED, T>(layer, maps.gradient, maps, passed, a, b, c);
    else propagate_all<Relu::NONE, T>(layer, maps.gradient, maps, passed, a, b, c);
}

template <typename T>
Backward<T> in_backward(const void *gradient, const void *second, const void *x, const void *y, void *to_x,
                        void *to_shortcut) {
    return {(const T *)gradient, (const T *)second, (const T *)x, (const T *)y, (T *)to_x, (T *)to_shortcut};
}

extern "C" {

void forward_bfloat16(const Layer *layer, const void *x, const void *shortcut, void *y) {
    forward(*layer, (const BFloat16 *)x, (const BFloat16 *)shortcut, (BFloat16 *)y);
}

void forward_float32(const Layer *layer, const void *x, const void *shortcut, void *y) {
    forward(*layer, (const float *)x, (const float *)shortcut, (float *)y);
}

void backward_bfloat16(const Layer *layer, const void *gradient, const void *second, const void *x, const void *y,
                       void *to_x, void *to_shortcut, float *to_weight, float *to_bias) {
    backward(*layer, in_backward<BFloat16>(gradient, second, x, y, to_x, to_shortcut), to_weight, to_bias);
}

void backward_float32(const Layer *layer, const void *gradient, const void *second, const void *x, const void *y,
                      void *to_x, void *to_shortcut, float *to_weight, float *to_bias) {
    backward(*layer, in_backward<float>(gradient, second, x, y, to_x, to_shortcut), to_weight, to_bias);
}

}  // extern "C"

// Batch normalisation of a training batch, with an addition and ReLU after it, in two passes over the memory; and its
// gradient in two. Maps are N H W C in memory (channels_last), bfloat16 or float32; statistics are added up in double.
//
// The work is cut into PARTS whatever the number of threads, so that the bits do not depend on it.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

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

inline void store(BFloat16 *to, Floats value) {  // to the nearest, ties to even; NaN stays NaN
    const Words word = (Words)value;
    const Words rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
    const Words nan = (Words)(value != value);
    const Halves half = __builtin_convertvector((rounded & ~nan) | ((word >> 16 | 0x40) & nan), Halves);
    std::memcpy(to, &half, sizeof half);
}

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

// The gradient after ReLU, which is also that of the shortcut; what the statistics need of it.
template <int K, bool ADDS, bool RELU, typename T>
void add_up_gradient(const T *gradient, const T *y, const T *x, T *masked, const float *mean, long channels, long from,
                     long to, double *sums, double *products) {
    Floats middle[K];
    for (int k = 0; k < K; k++) middle[k] = load(mean + k * LANES);
    for (long start = from; start < to; start += ROWS) {
        const long end = start + ROWS < to ? start + ROWS : to;
        Floats sum[K] = {}, product[K] = {};
        for (long row = start; row < end; row++)
            for (int k = 0; k < K; k++) {
                const long at = row * channels + k * LANES;
                Floats value = load(gradient + at);
                if (RELU) value = where_positive(value, load(y + at));
                if (ADDS) store(masked + at, value);
                sum[k] += value;
                product[k] += value * (load(x + at) - middle[k]);
            }
        for (int k = 0; k < K; k++)
            for (int lane = 0; lane < LANES; lane++) {
                sums[k * LANES + lane] += sum[k][lane];
                products[k * LANES + lane] += product[k][lane];
            }
    }
}

template <int K, bool RELU, typename T>
void propagate(const T *gradient, const T *y, const T *x, T *to_x, const float *by_gradient, const float *by_x,
               const float *offset, long channels, long from, long to) {
    Floats a[K], b[K], c[K];
    for (int k = 0; k < K; k++)
        a[k] = load(by_gradient + k * LANES), b[k] = load(by_x + k * LANES), c[k] = load(offset + k * LANES);
    for (long row = from; row < to; row++)
        for (int k = 0; k < K; k++) {
            const long at = row * channels + k * LANES;
            Floats value = load(gradient + at);
            if (RELU) value = where_positive(value, load(y + at));
            store(to_x + at, value * a[k] + load(x + at) * b[k] + c[k]);
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

template <typename T>
void forward(const Layer &layer, const T *x, const T *shortcut, T *y) {
    const long channels = layer.channels;
    Sums sums(channels);
    in_parts(layer.rows, layer.threads, [&](int part, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            add_up<k>(x + channel, x + channel, channels, from, to, sums.at(part, 0, channel), sums.at(part, 1, channel));
        });
    });
    std::vector<float> scale(channels), shift(channels);
    const double count = layer.rows;
    for (long c = 0; c < channels; c++) {
        const double distance = sums.total(0, c) / count, mean = number(x[c]) + distance;
        double variance = sums.total(1, c) / count - distance * distance;
        if (variance < 0) variance = 0;
        layer.mean[c] = mean;
        layer.inverse[c] = 1 / std::sqrt(variance + layer.epsilon);
        scale[c] = layer.weight[c] * layer.inverse[c];
        shift[c] = layer.bias[c] - mean * layer.weight[c] * layer.inverse[c];
        if (layer.running_mean) {
            const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
            layer.running_mean[c] += layer.momentum * (mean - layer.running_mean[c]);
            layer.running_var[c] += layer.momentum * (unbiased - layer.running_var[c]);
        }
    }
    in_parts(layer.rows, layer.threads, [&](int, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const float *factor = scale.data() + channel, *offset = shift.data() + channel;
            const T *in = x + channel, *added = shortcut ? shortcut + channel : nullptr;
            T *out = y + channel;
            if (shortcut) normalise<k, true, true>(in, added, out, factor, offset, channels, from, to);
            else if (layer.relu) normalise<k, false, true>(in, added, out, factor, offset, channels, from, to);
            else normalise<k, false, false>(in, added, out, factor, offset, channels, from, to);
        });
    });
}

// `to_shortcut` is null where nothing was added; where something was, ReLU follows.
template <typename T>
void backward(const Layer &layer, const T *gradient, const T *x, const T *y, T *to_x, T *to_shortcut, float *to_weight,
              float *to_bias) {
    const long channels = layer.channels;
    Sums sums(channels);
    std::vector<float> mean(layer.mean, layer.mean + channels);
    in_parts(layer.rows, layer.threads, [&](int part, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const T *in = gradient + channel, *out = y + channel, *was = x + channel;
            T *masked = to_shortcut ? to_shortcut + channel : nullptr;
            const float *middle = mean.data() + channel;
            double *sum = sums.at(part, 0, channel), *product = sums.at(part, 1, channel);
            if (to_shortcut)
                add_up_gradient<k, true, true>(in, out, was, masked, middle, channels, from, to, sum, product);
            else if (layer.relu)
                add_up_gradient<k, false, true>(in, out, was, masked, middle, channels, from, to, sum, product);
            else
                add_up_gradient<k, false, false>(in, out, was, masked, middle, channels, from, to, sum, product);
        });
    });
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
    // The shortcut's gradient is masked already: reading it spares the mask.
    const T *source = to_shortcut ? to_shortcut : gradient;
    const bool masks = layer.relu && !to_shortcut;
    in_parts(layer.rows, layer.threads, [&](int, long from, long to) {
        in_panels(channels, [&](auto k, long channel) {
            const float *a = by_gradient.data() + channel, *b = by_x.data() + channel, *c = offset.data() + channel;
            const T *in = source + channel, *out = y + channel, *was = x + channel;
            if (masks) propagate<k, true>(in, out, was, to_x + channel, a, b, c, channels, from, to);
            else propagate<k, false>(in, out, was, to_x + channel, a, b, c, channels, from, to);
        });
    });
}

extern "C" {

void forward_bfloat16(const Layer *layer, const void *x, const void *shortcut, void *y) {
    forward(*layer, (const BFloat16 *)x, (const BFloat16 *)shortcut, (BFloat16 *)y);
}

void forward_float32(const Layer *layer, const void *x, const void *shortcut, void *y) {
    forward(*layer, (const float *)x, (const float *)shortcut, (float *)y);
}

void backward_bfloat16(const Layer *layer, const void *gradient, const void *x, const void *y, void *to_x,
                       void *to_shortcut, float *to_weight, float *to_bias) {
    backward(*layer, (const BFloat16 *)gradient, (const BFloat16 *)x, (const BFloat16 *)y, (BFloat16 *)to_x,
             (BFloat16 *)to_shortcut, to_weight, to_bias);
}

void backward_float32(const Layer *layer, const void *gradient, const void *x, const void *y, void *to_x,
                      void *to_shortcut, float *to_weight, float *to_bias) {
    backward(*layer, (const float *)gradient, (const float *)x, (const float *)y, (float *)to_x, (float *)to_shortcut,
             to_weight, to_bias);
}

}  // extern "C"

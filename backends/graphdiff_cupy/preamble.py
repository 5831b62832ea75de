"""The C++ that stands before every generated kernel.

It uses nothing but what NVRTC knows without headers, so that the same text compiles for a GPU and, behind a shim that
makes one thread of it, for a CPU.
"""

PREAMBLE = r"""
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };

#define float_infinity __int_as_float(0x7f800000)
#define double_infinity __longlong_as_double(0x7ff0000000000000LL)
#define float_nan __int_as_float(0x7fc00000)
#define double_nan __longlong_as_double(0x7ff8000000000000LL)

// The value that the thread some places on in the same warp has.
template <class T> __device__ T from_lane(T x, int distance) {
    if constexpr (sizeof(T) < 4) return (T)__shfl_down_sync(0xffffffffu, (int)x, distance);
    else return __shfl_down_sync(0xffffffffu, x, distance);
}

// A NaN in either operand is the result, as in NumPy.
template <class T> __device__ T greater_of(T x, T y) { return x >= y || x != x ? x : y; }
template <class T> __device__ T lesser_of(T x, T y) { return x <= y || x != x ? x : y; }

template <class T> __device__ T magnitude(T x) { return x < 0 ? (T)-x : x; }
template <> __device__ float magnitude(float x) { return fabs(x); }
template <> __device__ double magnitude(double x) { return fabs(x); }
template <class T> __device__ T sign_of(T x) { return x > 0 ? (T)1 : x < 0 ? (T)-1 : x == 0 ? (T)0 : x; }

template <class T> __device__ T log_sum(T x, T y) {
    const T most = greater_of(x, y), least = lesser_of(x, y);
    return x == y ? x + (T)0.693147180559945309417 : most + log1p(exp(least - most));
}

template <class T> __device__ T gelu_inner(T x) {
    return tanh((T)0.797884560802865355880 * x * (1 + (T)0.044715 * x * x));
}
template <class T> __device__ T gelu_tanh(T x) { return (T)0.5 * x * (1 + gelu_inner(x)); }
template <class T> __device__ T gelu_tanh_slope(T x) {
    const T inner = gelu_inner(x), falling = 1 - inner * inner;
    if (falling == 0) return (T)0.5 * (1 + inner);  // for large x, where what it is multiplied by may overflow
    const T slope = (T)0.797884560802865355880 * (1 + (T)0.134145 * x * x);
    return (T)0.5 * (1 + inner) + (T)0.5 * x * falling * slope;
}

// The sign of the divisor, as Python's % and // have it; of integers, 0 where the divisor is 0, as in NumPy.
template <class T> __device__ T floor_remainder(T x, T y) {
    if (y == 0) return 0;
    const T rest = x % y;
    return rest != 0 && (rest < 0) != (y < 0) ? (T)(rest + y) : rest;
}
template <class T> __device__ T floor_quotient(T x, T y) {
    if (y == 0) return 0;
    return (T)(x / y - (x % y != 0 && (x < 0) != (y < 0)));
}
template <class T> __device__ T float_remainder(T x, T y) {
    const T rest = fmod(x, y);
    if (rest == 0) return copysign((T)0, y);
    return (rest < 0) != (y < 0) ? rest + y : rest;
}
template <class T> __device__ T float_quotient(T x, T y) {
    if (y == 0) return x / y;
    const T rest = fmod(x, y);
    const T exact = (x - rest) / y - (T)(rest != 0 && (rest < 0) != (y < 0)), below = floor(exact);
    if (exact == 0) return copysign((T)0, x / y);
    return exact - below > (T)0.5 ? below + 1 : below;
}
template <> __device__ float floor_remainder(float x, float y) { return float_remainder(x, y); }
template <> __device__ double floor_remainder(double x, double y) { return float_remainder(x, y); }
template <> __device__ float floor_quotient(float x, float y) { return float_quotient(x, y); }
template <> __device__ double floor_quotient(double x, double y) { return float_quotient(x, y); }

// Round to the nearest, halves to even; what is no number stays none.
__device__ unsigned short to_bf16(float x) {
    const unsigned int bits = __float_as_uint(x);
    if (x != x) return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ unsigned short to_fp16(float x) {
    const unsigned int bits = __float_as_uint(x), size = bits & 0x7fffffff;
    const unsigned int sign = bits >> 16 & 0x8000;
    if (size > 0x7f800000) return (unsigned short)(sign | 0x7e00);
    if (size >= 0x47800000) return (unsigned short)(sign | 0x7c00);
    if (size < 0x38800000) return (unsigned short)(sign | (unsigned int)rint(fabs(x) * 16777216.0f));  // subnormal
    return (unsigned short)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}

__device__ float from_bf16(unsigned short x) { return __int_as_float((int)x << 16); }

__device__ float from_fp16(unsigned short x) {
    const int sign = (x & 0x8000) << 16, size = x & 0x7fff;
    if (size >= 0x7c00) return __int_as_float(sign | 0x7f800000 | (size & 0x3ff) << 13);
    const float magnitude = size < 0x400 ? size * 0x1p-24f : __int_as_float((size << 13) + 0x38000000);
    return sign ? -magnitude : magnitude;
}

// Philox4x64-10: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011); and the numbers
// in [0, 1) that NumPy's generator makes of it. `stream` is key (2), counter (4), values drawn since that counter.
__device__ double philox_uniform(const unsigned long long* stream, unsigned long long place) {
    const unsigned long long drawn = stream[6] + place;
    unsigned long long key[2] = {stream[0], stream[1]};
    unsigned long long counter[4] = {stream[2], stream[3], stream[4], stream[5]};
    unsigned long long carry = drawn / 4 + 1;
    for (int word = 0; word < 4; ++word) {
        counter[word] += carry;
        carry = counter[word] < carry;
    }
    for (int round = 0; round < 10; ++round) {
        const unsigned long long a = 0xD2E7470EE14C6C93ULL, b = 0xCA5A826395121157ULL;
        const unsigned long long high_a = __umul64hi(a, counter[0]), high_b = __umul64hi(b, counter[2]);
        const unsigned long long low_a = a * counter[0], low_b = b * counter[2];
        counter[0] = high_b ^ counter[1] ^ key[0];
        counter[1] = low_b;
        counter[2] = high_a ^ counter[3] ^ key[1];
        counter[3] = low_a;
        key[0] += 0x9E3779B97F4A7C15ULL;
        key[1] += 0xBB67AE8584CAA73BULL;
    }
    return (double)(counter[drawn % 4] >> 11) * 0x1.0p-53;
}
"""
"""Helpers by the names that `expressions` uses."""

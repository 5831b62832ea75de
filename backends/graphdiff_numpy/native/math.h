// What the loops of plans call by name: functions that a compiler turns into vector instructions, at most 2 units in the
// last place from the exact value, and right at ±0, infinities, NaN and subnormal numbers. Without branches, tables and
// headers: nothing is computed under a condition but what cannot raise a floating-point exception, which is what lets
// loops become vectors without -fno-trapping-math. (With that option gcc 12 makes wrong vectors of nested selections.)
//
// exp: argument reduction by ln 2 in two parts (W. J. Cody and W. Waite, Software manual for the elementary functions,
// 1980), a polynomial on ±ln 2 / 2, scaled by two powers of two, so that subnormal results are rounded once.
// log: s = f / (2 + f), as in fdlibm's e_log.c and e_logf.c (Sun Microsystems, 1993): its polynomials.
// tanh: the rational functions of S. L. Moshier's Cephes near 0, else 1 - 2 / (exp 2x + 1).

#define INLINE static inline __attribute__((always_inline))
typedef long long Count;
#define true 1
#define false 0

#define float_infinity __builtin_inff()
#define double_infinity __builtin_inf()
#define float_nan __builtin_nanf("")
#define double_nan __builtin_nan("")

typedef union { float real; int bits; } FloatBits;
typedef union { double real; long long bits; } DoubleBits;

INLINE float power_of_two_f(int k) { FloatBits u; u.bits = (int)((unsigned)(k + 127) << 23); return u.real; }
INLINE double power_of_two_d(long long k) {
    DoubleBits u;
    u.bits = (long long)((unsigned long long)(k + 1023) << 52);
    return u.real;
}

// exp(r) - 1 for |r| <= ln 2 / 2.
INLINE float expm1_near_f(float r) {
    float p = 0.0013926926614f;
    p = p * r + 0.00836377387441f;
    p = p * r + 0.0416665501103f;
    p = p * r + 0.166665733819f;
    p = p * r + 0.5f;
    return r + r * r * p;
}
INLINE double expm1_near_d(double r) {
    double p = 0x1.1f75aba0b1e2ep-29;
    p = p * r + 0x1.af52906239de4p-26;
    p = p * r + 0x1.27e4da1a3bf04p-22;
    p = p * r + 0x1.71ddffef9e7b1p-19;
    p = p * r + 0x1.a01a01a741b3cp-16;
    p = p * r + 0x1.a01a01aca0134p-13;
    p = p * r + 0x1.6c16c16c16212p-10;
    p = p * r + 0x1.111111110ff87p-7;
    p = p * r + 0x1.5555555555556p-5;
    p = p * r + 0x1.5555555555557p-3;
    p = p * r + 0x1.0000000000000p-1;
    return r + r * r * p;
}

INLINE float exp_f(float x) {
    float y = x < -104.0f ? -104.0f : x;
    y = y > 89.0f ? 89.0f : y;
    FloatBits rounded;
    rounded.real = y * 0x1.715476p+0f + 0x1.8p23f;
    const float n = rounded.real - 0x1.8p23f;
    const int k = rounded.bits - 0x4b400000, half = k >> 1;
    float r = y - n * 0x1.62e4p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    return (1 + expm1_near_f(r)) * power_of_two_f(half) * power_of_two_f(k - half);
}
INLINE double exp_d(double x) {
    double y = x < -746.0 ? -746.0 : x;
    y = y > 710.0 ? 710.0 : y;
    DoubleBits rounded;
    rounded.real = y * 0x1.71547652b82fep+0 + 0x1.8p52;
    const double n = rounded.real - 0x1.8p52;
    const long long k = rounded.bits - 0x4338000000000000LL, half = ((k + 4096) >> 1) - 2048;
    double r = y - n * 0x1.62e42fefa0000p-1;
    r = r - n * 0x1.cf79abc9e3b3ap-40;
    return (1 + expm1_near_d(r)) * power_of_two_d(half) * power_of_two_d(k - half);
}

INLINE float expm1_f(float x) {
    float y = x < -20.0f ? -20.0f : x;
    y = y > 89.0f ? 89.0f : y;
    FloatBits rounded;
    rounded.real = y * 0x1.715476p+0f + 0x1.8p23f;
    const float n = rounded.real - 0x1.8p23f;
    const int k = rounded.bits - 0x4b400000;
    float r = y - n * 0x1.62e4p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    // 2^k may be more than the greatest number while half of it is not.
    const float scale = power_of_two_f(k - 1), near = scale * expm1_near_f(r) + (scale - 0.5f);
    return x == 0 ? x : k == 0 ? expm1_near_f(r) : 2 * near;
}
INLINE double expm1_d(double x) {
    double y = x < -40.0 ? -40.0 : x;
    y = y > 710.0 ? 710.0 : y;
    DoubleBits rounded;
    rounded.real = y * 0x1.71547652b82fep+0 + 0x1.8p52;
    const double n = rounded.real - 0x1.8p52;
    const long long k = rounded.bits - 0x4338000000000000LL;
    double r = y - n * 0x1.62e42fefa0000p-1;
    r = r - n * 0x1.cf79abc9e3b3ap-40;
    const double scale = power_of_two_d(k - 1), near = scale * expm1_near_d(r) + (scale - 0.5);
    return x == 0 ? x : k == 0 ? expm1_near_d(r) : 2 * near;
}

INLINE float log_f(float x) {
    const int tiny = x < 0x1p-126f;
    const float raised = x * 0x1p25f;
    FloatBits u;
    u.real = tiny ? raised : x;
    const int shifted = (int)((unsigned)u.bits + (0x3f800000u - 0x3f3504f3u));
    const float n = (float)((shifted >> 23) - 127 - (tiny ? 25 : 0));
    u.bits = (shifted & 0x7fffff) + 0x3f3504f3;
    const float f = u.real - 1, s = f / (2 + f), z = s * s, w = z * z, half = 0.5f * f * f;
    const float odd = z * (0.66666662693f + w * 0.28498786688f), even = w * (0.40000972152f + w * 0.24279078841f);
    float y = s * (half + (odd + even)) + n * 9.0580006145e-06f - half + f + n * 6.9313812256e-01f;
    y = x == float_infinity ? x : y;
    y = x == 0 ? -float_infinity : y;
    return x >= 0 ? y : float_nan;
}
INLINE double log_d(double x) {
    const int tiny = x < 0x1p-1022;
    const double raised = x * 0x1p54;
    DoubleBits u, k;
    u.real = tiny ? raised : x;
    const long long shifted = (long long)((unsigned long long)u.bits + (0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL));
    u.bits = (shifted & 0xfffffffffffffLL) + 0x3fe6a09e667f3bcdLL;
    // An integer of 64 bits becomes a double by its bits: vectors of those have no other way before AVX-512.
    k.bits = (((shifted >> 52) - 1023 - (tiny ? 54 : 0)) + 4096) + 0x4330000000000000LL;
    const double n = k.real - 0x1p52 - 4096;
    const double f = u.real - 1, s = f / (2 + f), z = s * s, w = z * z, half = 0.5 * f * f;
    const double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const double odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01
                            + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double y = s * (half + (odd + even)) + n * 1.90821492927058770002e-10 - half + f + n * 6.93147180369123816490e-01;
    y = x == double_infinity ? x : y;
    y = x == 0 ? -double_infinity : y;
    return x >= 0 ? y : double_nan;
}

// log(1 + x) of the sum as it was rounded, and what rounding it has lost.
#define LOG1P(T, S) \
    INLINE T log1p_##S(T x) { \
        const T sum = 1 + x, lost = x - (sum - 1), y = log_##S(sum) + lost / sum; \
        return x == 0 || x == T##_infinity ? x : sum == 0 ? -T##_infinity : y; \
    }
LOG1P(float, f)
LOG1P(double, d)

INLINE float tanh_f(float x) {
    const float size = __builtin_fabsf(x), bounded = size > 10.0f ? 10.0f : size, z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float far = 1 - 2 / (exp_f(2 * bounded) + 1);
    const float y = __builtin_copysignf(size < 0.625f ? size + size * (p * z) : far, x);
    return x != x ? x : y;
}
INLINE double tanh_d(double x) {
    const double size = __builtin_fabs(x), bounded = size > 20.0 ? 20.0 : size, z = x * x;
    const double p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
    const double q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
    const double far = 1 - 2 / (exp_d(2 * bounded) + 1);
    const double y = __builtin_copysign(size < 0.625 ? size + size * (z * p / q) : far, x);
    return x != x ? x : y;
}

#define exp(x) _Generic((x), float: exp_f, default: exp_d)(x)
#define expm1(x) _Generic((x), float: expm1_f, default: expm1_d)(x)
#define log(x) _Generic((x), float: log_f, default: log_d)(x)
#define log1p(x) _Generic((x), float: log1p_f, default: log1p_d)(x)
#define tanh(x) _Generic((x), float: tanh_f, default: tanh_d)(x)

// The C library's, element by element.
#define OF_LIBRARY(name, x) _Generic((x), float: __builtin_##name##f, default: __builtin_##name)
#define sqrt(x) OF_LIBRARY(sqrt, x)(x)
#define log2(x) OF_LIBRARY(log2, x)(x)
#define log10(x) OF_LIBRARY(log10, x)(x)
#define sin(x) OF_LIBRARY(sin, x)(x)
#define cos(x) OF_LIBRARY(cos, x)(x)
#define tan(x) OF_LIBRARY(tan, x)(x)
#define asin(x) OF_LIBRARY(asin, x)(x)
#define acos(x) OF_LIBRARY(acos, x)(x)
#define atan(x) OF_LIBRARY(atan, x)(x)
#define sinh(x) OF_LIBRARY(sinh, x)(x)
#define cosh(x) OF_LIBRARY(cosh, x)(x)
#define asinh(x) OF_LIBRARY(asinh, x)(x)
#define acosh(x) OF_LIBRARY(acosh, x)(x)
#define atanh(x) OF_LIBRARY(atanh, x)(x)
#define erf(x) OF_LIBRARY(erf, x)(x)
#define floor(x) OF_LIBRARY(floor, x)(x)
#define ceil(x) OF_LIBRARY(ceil, x)(x)
#define trunc(x) OF_LIBRARY(trunc, x)(x)
#define rint(x) OF_LIBRARY(rint, x)(x)
#define pow(x, y) OF_LIBRARY(pow, x)(x, y)
#define atan2(x, y) OF_LIBRARY(atan2, x)(x, y)
#define hypot(x, y) OF_LIBRARY(hypot, x)(x, y)

// A NaN in either operand is the result, as in NumPy.
#define greater_of(x, y) (((x) >= (y)) | ((x) != (x)) ? (x) : (y))
#define lesser_of(x, y) (((x) <= (y)) | ((x) != (x)) ? (x) : (y))
#define magnitude(x) \
    _Generic((x), float: __builtin_fabsf(x), double: __builtin_fabs(x), default: ((x) < 0 ? -(x) : (x)))
#define sign_of(x) ((x) > 0 ? 1 : (x) < 0 ? -1 : (x) == 0 ? 0 : (x))

// The sign of the divisor, as Python's % and // have it; of integers, 0 where the divisor is 0, as in NumPy.
INLINE long long floor_remainder_i(long long x, long long y) {
    if (y == 0 || y == -1) return 0;
    const long long rest = x % y;
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
INLINE long long floor_quotient_i(long long x, long long y) {
    if (y == 0) return 0;
    if (y == -1) return (long long)(0 - (unsigned long long)x);
    return x / y - (x % y != 0 && (x < 0) != (y < 0));
}
INLINE unsigned long long floor_remainder_u(unsigned long long x, unsigned long long y) { return y ? x % y : 0; }
INLINE unsigned long long floor_quotient_u(unsigned long long x, unsigned long long y) { return y ? x / y : 0; }

#define OF_FLOATS(T, S, B) \
    INLINE T floor_remainder_##S(T x, T y) { \
        const T rest = __builtin_fmod##B(x, y); \
        if (rest == 0) return __builtin_copysign##B((T)0, y); \
        return (rest < 0) != (y < 0) ? rest + y : rest; \
    } \
    INLINE T floor_quotient_##S(T x, T y) { \
        if (y == 0) return x / y; \
        const T rest = __builtin_fmod##B(x, y); \
        const T exact = (x - rest) / y - (T)(rest != 0 && (rest < 0) != (y < 0)), below = __builtin_floor##B(exact); \
        if (exact == 0) return __builtin_copysign##B((T)0, x / y); \
        return exact - below > (T)0.5 ? below + 1 : below; \
    } \
    INLINE T log_sum_##S(T x, T y) { \
        const T most = greater_of(x, y), least = lesser_of(x, y); \
        return x == y ? x + (T)0.693147180559945309417 : most + log1p_##S(exp_##S(least - most)); \
    } \
    INLINE T gelu_inner_##S(T x) { return tanh_##S((T)0.797884560802865355880 * x * (1 + (T)0.044715 * x * x)); } \
    INLINE T gelu_tanh_##S(T x) { return (T)0.5 * x * (1 + gelu_inner_##S(x)); } \
    INLINE T gelu_tanh_slope_##S(T x) { \
        const T inner = gelu_inner_##S(x), falling = 1 - inner * inner; \
        const T slope = (T)0.797884560802865355880 * (1 + (T)0.134145 * x * x); \
        const T y = (T)0.5 * (1 + inner) + (T)0.5 * x * falling * slope; \
        return falling == 0 ? (T)0.5 * (1 + inner) : y; /* for large x, where the slope may overflow */ \
    }
OF_FLOATS(float, f, f)
OF_FLOATS(double, d, )

#define OF_NUMBERS(name, x) \
    _Generic((x), float: name##_f, double: name##_d, unsigned long long: name##_u, default: name##_i)
#define floor_remainder(x, y) OF_NUMBERS(floor_remainder, x)(x, y)
#define floor_quotient(x, y) OF_NUMBERS(floor_quotient, x)(x, y)
#define log_sum(x, y) _Generic((x), float: log_sum_f, default: log_sum_d)(x, y)
#define gelu_tanh(x) _Generic((x), float: gelu_tanh_f, default: gelu_tanh_d)(x)
#define gelu_tanh_slope(x) _Generic((x), float: gelu_tanh_slope_f, default: gelu_tanh_slope_d)(x)

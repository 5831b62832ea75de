// Vectors by type and length, of memory aligned as its elements are, and sums of vectors.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define VECTOR(T, name, bytes) typedef T name __attribute__((vector_size(bytes), aligned(sizeof(T)), may_alias))
VECTOR(float, float4, 16); VECTOR(float, float8, 32); VECTOR(float, float16, 64);
VECTOR(double, double2, 16); VECTOR(double, double4, 32); VECTOR(double, double8, 64);
VECTOR(float, float2, 8);
typedef float float1; typedef double double1;

typedef int float4_bits __attribute__((vector_size(16), aligned(4), may_alias));
typedef int float8_bits __attribute__((vector_size(32), aligned(4), may_alias));
typedef int float16_bits __attribute__((vector_size(64), aligned(4), may_alias));
typedef long long double4_bits __attribute__((vector_size(32), aligned(8), may_alias));
typedef long long double8_bits __attribute__((vector_size(64), aligned(8), may_alias));

// Lanes of two vectors, by their numbers.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(V, p, q, ...) __builtin_shufflevector(p, q, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(V, p, q, ...) __builtin_shuffle(p, q, (V##_bits){__VA_ARGS__})
#endif

// Products may round x · y + z once. Loops over elements do not, and so have the bits that they have elsewhere.
#ifdef __clang__
#define FUSED
#define FUSE _Pragma("clang fp contract(fast)")
#else
#define FUSED __attribute__((optimize("fp-contract=fast")))
#define FUSE
#endif

// The products of BLAS, by its C interface.
#define BLAS_PRODUCT(T, name)                                                                     \
    typedef void (*name)(int, int, int, BlasInt, BlasInt, BlasInt, T, const T *, BlasInt, const T *, \
                         BlasInt, T, T *, BlasInt)
BLAS_PRODUCT(float, SingleProduct);
BLAS_PRODUCT(double, DoubleProduct);

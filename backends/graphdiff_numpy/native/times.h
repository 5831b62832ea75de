// When each step has ended, for profiles.
#ifdef TIMED
#include <time.h>
static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
#define MARK(k) ((long long *)t[3])[k] = now();
#else
#define MARK(k)
#endif

/* Preloaded into a server that is measured: every fsync and fdatasync takes SLOWSYNC_US microseconds longer, to stand in for a
 * cloud disk, and is counted in the file SLOWSYNC_COUNT (8 bytes, native order).
 * cc -O2 -shared -fPIC slowsync.c -ldl -o slowsync.so */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static unsigned long nothing, *count = &nothing;
static struct timespec longer;

__attribute__((constructor)) static void begin(void) {
    const char *us = getenv("SLOWSYNC_US"), *path = getenv("SLOWSYNC_COUNT");
    long n = us ? atol(us) : 0;
    longer = (struct timespec){n / 1000000, n % 1000000 * 1000};
    int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file >= 0 && ftruncate(file, sizeof *count) == 0) {
        void *page = mmap(0, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (page != MAP_FAILED)
            count = page;
    }
    if (file >= 0)
        close(file);
}

static int slowly(const char *name, int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int done = sync(file);
    __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    nanosleep(&longer, 0);
    return done;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }

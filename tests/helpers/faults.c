// A file system that fails: preloaded, it counts what changes files below a folder, and from the n-th change on the
// disk is full, or at the n-th the process is killed, half of what it was writing written, or halts until it is told to
// go on. Its clock can be set to jump.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long at, count;
static enum { FULL_DISK, KILL, HALT } fault;

// Counts from now on; place 0: nothing fails. Called in the process itself.
void faults_arm(const char *below, long place, int what) {
    strncpy(folder, below, sizeof folder - 1);
    at = place;
    count = 0;
    fault = what;
}

long faults_count(void) { return count; }

static int below_folder(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int watched_file(int fd) {
    if (!folder[0]) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below_folder(path);
}

static int watched_path(int dirfd, const char *path) {
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') return below_folder(path);
    char base[PATH_MAX];
    if (dirfd != AT_FDCWD) return watched_file(dirfd);
    return getcwd(base, sizeof base) && below_folder(base);
}

// 1: this change fails with a full disk.
static int fails(int grows) {
    ++count;
    if (!at || count < at) return 0;
    if (fault != FULL_DISK) {
        if (count == at) raise(fault == KILL ? SIGKILL : SIGSTOP);
        return 0;
    }
    if (!grows) return 0;
    errno = ENOSPC;
    return 1;
}

static long ahead, step;
static int to_and_fro;

// From now on the clock of the day is so many seconds ahead, with every look at it by a step more, or to and fro.
void faults_clock(long seconds, long step_of_each, int changes_sign) {
    ahead = seconds;
    step = step_of_each;
    to_and_fro = changes_sign;
}

static long jump(void) {
    long now = ahead;
    ahead = to_and_fro ? -ahead : ahead + step;
    return now;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (!watched_file(fd)) return real(fd, data, size);
    if (at && count + 1 == at && size > 1 && fault != HALT) {  // torn: half of it arrives
        if (fault == KILL) {
            real(fd, data, size / 2);
        } else {
            ++count;
            return real(fd, data, size / 2);
        }
    }
    return fails(1) ? -1 : real(fd, data, size);
}

size_t fwrite(const void *data, size_t size, size_t items, FILE *file) {
    REAL(fwrite);
    if (!watched_file(fileno(file))) return real(data, size, items, file);
    return fails(1) ? 0 : real(data, size, items, file);
}

int fsync(int fd) {
    REAL(fsync);
    if (watched_file(fd) && fails(0)) return -1;
    return real(fd);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    if (watched_file(fd) && fails(0)) return -1;
    return real(fd, size);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    if (watched_file(fd) && fails(0)) return -1;
    return real(fd, size);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (watched_path(AT_FDCWD, to) && fails(0)) return -1;
    return real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    if (watched_path(AT_FDCWD, path) && fails(0)) return -1;
    return real(path);
}

int unlinkat(int dirfd, const char *path, int flags) {
    REAL(unlinkat);
    if (watched_path(dirfd, path) && fails(0)) return -1;
    return real(dirfd, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    if (watched_path(AT_FDCWD, path) && fails(0)) return -1;
    return real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (watched_path(AT_FDCWD, path) && fails(1)) return -1;
    return real(path, mode);
}

static int creates(int dirfd, const char *path, int flags) {
    if (!(flags & (O_CREAT | O_TRUNC)) || !watched_path(dirfd, path)) return 0;
    return (flags & O_CREAT) && faccessat(dirfd, path, F_OK, 0) != 0 ? fails(1) : fails(0);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    REAL(open64);
    return creates(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    REAL(open);
    return creates(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += jump();
    return failed;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *place, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    place->tv_sec = now.tv_sec;
    place->tv_usec = now.tv_nsec / 1000;
    return 0;
}

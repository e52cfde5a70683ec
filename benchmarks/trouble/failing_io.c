/* Lets the k-th change of a file below a folder fail, for LD_PRELOAD: failing_io_arm tells which, and with what error.
 *
 * It stands before the calls of the C library with which Python, numpy, HDF5 and TensorFlow change files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long left;          /* changes until one fails; 0 where none is to fail */
static int code, done;     /* the error, and whether it was given */
static char below[PATH_MAX];

void failing_io_arm(long k, int error, const char* folder) {
  left = k;
  code = error;
  done = 0;
  strncpy(below, folder, sizeof below - 1);
}

int failing_io_done(void) { return done; }

static int fails(const char* path) {
  if (left == 0 || strncmp(path, below, strlen(below)) != 0) return 0;
  if (--left > 0) return 0;
  done = 1;
  errno = code;
  return 1;
}

static int fails_fd(int fd) {
  char name[64], path[PATH_MAX];
  ssize_t n;
  if (left == 0) return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  n = readlink(name, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return fails(path);
}

#define REAL(type, name) static type (*real)(); if (!real) real = (type(*)())dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void* data, size_t n) { REAL(ssize_t, write); return fails_fd(fd) ? -1 : real(fd, data, n); }
ssize_t writev(int fd, const struct iovec* v, int n) { REAL(ssize_t, writev); return fails_fd(fd) ? -1 : real(fd, v, n); }
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) { REAL(ssize_t, pwrite); return fails_fd(fd) ? -1 : real(fd, data, n, at); }
ssize_t pwrite64(int fd, const void* data, size_t n, off_t at) { REAL(ssize_t, pwrite64); return fails_fd(fd) ? -1 : real(fd, data, n, at); }
ssize_t sendfile(int to, int from, off_t* at, size_t n) { REAL(ssize_t, sendfile); return fails_fd(to) ? -1 : real(to, from, at, n); }
ssize_t sendfile64(int to, int from, off_t* at, size_t n) { REAL(ssize_t, sendfile64); return fails_fd(to) ? -1 : real(to, from, at, n); }
int fsync(int fd) { REAL(int, fsync); return fails_fd(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(int, fdatasync); return fails_fd(fd) ? -1 : real(fd); }
int ftruncate(int fd, off_t n) { REAL(int, ftruncate); return fails_fd(fd) ? -1 : real(fd, n); }
int ftruncate64(int fd, off_t n) { REAL(int, ftruncate64); return fails_fd(fd) ? -1 : real(fd, n); }
int rename(const char* from, const char* to) { REAL(int, rename); return fails(to) ? -1 : real(from, to); }
int renameat2(int a, const char* from, int b, const char* to, unsigned f) { REAL(int, renameat2); return fails(to) ? -1 : real(a, from, b, to, f); }
int mkdir(const char* path, mode_t mode) { REAL(int, mkdir); return fails(path) ? -1 : real(path, mode); }
size_t fwrite(const void* data, size_t size, size_t n, FILE* file) {
  REAL(size_t, fwrite);
  return left && fails_fd(fileno(file)) ? 0 : real(data, size, n, file);
}

static int opened(const char* path, int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails(path); }

int open(const char* path, int flags, ...) {
  va_list more;
  mode_t mode;
  REAL(int, open);
  va_start(more, flags);
  mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened(path, flags) ? -1 : real(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  mode_t mode;
  REAL(int, open64);
  va_start(more, flags);
  mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened(path, flags) ? -1 : real(path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) { REAL(FILE*, fopen); return strpbrk(mode, "wa+") && fails(path) ? NULL : real(path, mode); }
FILE* fopen64(const char* path, const char* mode) { REAL(FILE*, fopen64); return strpbrk(mode, "wa+") && fails(path) ? NULL : real(path, mode); }

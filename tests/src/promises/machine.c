/* A machine whose disk and clock can be made to fail, for a process that is started with this library in LD_PRELOAD.
 *
 * MACHINE_FOLDER   the folder whose store.sqlite and store.sqlite-wal are meant
 * MACHINE_LOG      every write, sync, truncation and removal of these two is appended to this file, once it is done
 * MACHINE_FAULT    while this file exists, it names what fails: "sync" or "write" with EIO, "full" with ENOSPC,
 *                  "read" with EIO
 * MACHINE_CLOCK    this file holds eight bytes: seconds by which the clock of the wall is wrong
 *
 * A record is: operation (w, s, t, u), file (0 the database, 1 its log), two bytes of nothing, length in 4 bytes,
 * offset in 8, then what was written; in the order of this machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static signed char files[FDS]; /* 0: not ours, else 1 + file */
static int log_fd = -1;
static const char *folder, *fault;
static const volatile int64_t *wrong_by;

__attribute__((constructor)) static void begin(void) {
  folder = getenv("MACHINE_FOLDER");
  fault = getenv("MACHINE_FAULT");
  const char *log = getenv("MACHINE_LOG"), *clock = getenv("MACHINE_CLOCK");
  if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (clock) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, clock, O_RDONLY | O_CLOEXEC, 0);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) wrong_by = page;
    if (0 <= fd) syscall(SYS_close, fd);
  }
}

static int file_of(const char *path) {
  size_t n = folder ? strlen(folder) : 0;
  if (!n || strncmp(path, folder, n) || path[n] != '/') return 0;
  return !strcmp(path + n, "/store.sqlite") ? 1 : !strcmp(path + n, "/store.sqlite-wal") ? 2 : 0;
}

static int ours(int fd) { return 0 <= fd && fd < FDS ? files[fd] : 0; }

static void put(const void *bytes, size_t n) {
  while (n) {
    ssize_t done = syscall(SYS_write, log_fd, bytes, n);
    if (done <= 0) abort();
    bytes = (const char *)bytes + done;
    n -= (size_t)done;
  }
}

static void note(char operation, int file, uint64_t offset, const void *bytes, uint32_t n) {
  if (log_fd < 0) return;
  char head[16] = {operation, (char)(file - 1)};
  memcpy(head + 4, &n, 4);
  memcpy(head + 8, &offset, 8);
  put(head, sizeof head);
  if (bytes) put(bytes, n);
}

/* Whether `what` fails now, with which error. */
static int fails(const char *what) {
  char word[8] = {0};
  int fd = fault ? (int)syscall(SYS_openat, AT_FDCWD, fault, O_RDONLY, 0) : -1;
  if (fd < 0) return 0;
  ssize_t n = syscall(SYS_read, fd, word, sizeof word - 1);
  syscall(SYS_close, fd);
  if (n <= 0) return 0;
  if (!strcmp(word, what)) return EIO;
  return !strcmp(word, "full") && !strcmp(what, "write") ? ENOSPC : 0;
}

#define FAIL(what) \
  do { \
    int error = fails(what); \
    if (error) { \
      errno = error; \
      return -1; \
    } \
  } while (0)

static int opened(int fd, const char *path) {
  if (0 <= fd && fd < FDS) files[fd] = (signed char)file_of(path);
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
    va_end(rest); \
    return opened(NEXT(name)(path, flags, mode), path); \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (0 <= fd && fd < FDS) files[fd] = 0;
  return NEXT(close)(fd);
}

static ssize_t wrote(int fd, const void *bytes, size_t n, off_t at, int moves) {
  FAIL("write");
  pthread_mutex_lock(&order);
  ssize_t done = moves ? syscall(SYS_write, fd, bytes, n) : syscall(SYS_pwrite64, fd, bytes, n, at);
  if (0 < done) note('w', ours(fd), (uint64_t)at, bytes, (uint32_t)done);
  pthread_mutex_unlock(&order);
  return done;
}

ssize_t write(int fd, const void *bytes, size_t n) {
  if (!ours(fd)) return NEXT(write)(fd, bytes, n);
  return wrote(fd, bytes, n, lseek(fd, 0, SEEK_CUR), 1);
}

#define PWRITE(name) \
  ssize_t name(int fd, const void *bytes, size_t n, off_t at) { \
    return ours(fd) ? wrote(fd, bytes, n, at, 0) : NEXT(name)(fd, bytes, n, at); \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t read(int fd, void *bytes, size_t n) {
  if (ours(fd)) FAIL("read");
  return NEXT(read)(fd, bytes, n);
}

#define PREAD(name) \
  ssize_t name(int fd, void *bytes, size_t n, off_t at) { \
    if (ours(fd)) FAIL("read"); \
    return NEXT(name)(fd, bytes, n, at); \
  }
PREAD(pread)
PREAD(pread64)

#define SYNC(name) \
  int name(int fd) { \
    if (!ours(fd)) return NEXT(name)(fd); \
    FAIL("sync"); \
    pthread_mutex_lock(&order); \
    int done = NEXT(name)(fd); \
    if (!done) note('s', ours(fd), 0, NULL, 0); \
    pthread_mutex_unlock(&order); \
    return done; \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name) \
  int name(int fd, off_t size) { \
    if (!ours(fd)) return NEXT(name)(fd, size); \
    FAIL("write"); \
    pthread_mutex_lock(&order); \
    int done = NEXT(name)(fd, size); \
    if (!done) note('t', ours(fd), (uint64_t)size, NULL, 0); \
    pthread_mutex_unlock(&order); \
    return done; \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int unlink(const char *path) {
  int file = file_of(path);
  if (!file) return NEXT(unlink)(path);
  pthread_mutex_lock(&order);
  int done = NEXT(unlink)(path);
  if (!done) note('u', file, 0, NULL, 0);
  pthread_mutex_unlock(&order);
  return done;
}

int clock_gettime(clockid_t which, struct timespec *now) {
  int done = (int)syscall(SYS_clock_gettime, which, now);
  if (!done && which == CLOCK_REALTIME && wrong_by) now->tv_sec += *wrong_by;
  return done;
}

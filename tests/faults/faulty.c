/* A file layer with faults, preloaded into a process: it counts what is done to files below one folder, and at a chosen
 * count kills the process, before or after the call or in the middle of a write, or lets the call fail.
 *
 * Nothing happens until faulty_arm() is called. Calls that glibc makes inside itself are not seen, so stdio is counted
 * where it is called: fopen, fwrite, fflush, fclose. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, KILL_BEFORE, KILL_AFTER, KILL_INSIDE, FAIL_ONCE, FAIL_FROM };

static _Atomic int mode = OFF, wanted, code, reads, journal = -1;
static _Atomic int counted;
static char folder[PATH_MAX];
static size_t folder_size;

/* mode, the call's number (from 1), the error's number, whether reads are counted instead of writes, and a file
 * descriptor that gets a line for each call, or -1. */
void faulty_arm(const char *below, int what, int number, int error, int of_reads, int journal_fd) {
    strncpy(folder, below, sizeof folder - 1);
    folder_size = strlen(folder);
    wanted = number;
    code = error;
    reads = of_reads;
    journal = journal_fd;
    counted = 0;
    mode = what;
}

int faulty_counted(void) { return counted; }

static int below(const char *path) { return folder_size && strncmp(path, folder, folder_size) == 0; }

static int full_path(int at, const char *path, char *full) {
    char link[64];
    ssize_t size;
    if (path[0] == '/') {
        strncpy(full, path, PATH_MAX - 1);
        return 1;
    }
    if (at == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX - 1)) return 0;
        size = strlen(full);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        size = readlink(link, full, PATH_MAX - 1);
        if (size < 0) return 0;
    }
    snprintf(full + size, PATH_MAX - size, "/%s", path);
    return 1;
}

static int of_descriptor(int fd, char *full) {
    char link[64];
    ssize_t size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, full, PATH_MAX - 1);
    if (size < 0) return 0;
    full[size] = 0;
    return 1;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What to do with this call: 0 nothing, -1 let it fail, 1 die after it, 2 write half and die. */
static int met(const char *name, const char *path, int is_read) {
    char line[PATH_MAX + 64];
    int number, size;
    if (mode == OFF || is_read != reads || !below(path)) return 0;
    number = ++counted;
    if (journal >= 0) {
        size = snprintf(line, sizeof line, "%d %s %s\n", number, name, path + folder_size);
        if (write(journal, line, size) < 0) journal = -1;
    }
    if (mode == FAIL_FROM && number >= wanted) return -1;
    if (number != wanted) return 0;
    switch (mode) {
    case KILL_BEFORE: die(); /* fall through */
    case KILL_AFTER: return 1;
    case KILL_INSIDE: return 2;
    case FAIL_ONCE: return -1;
    default: return 0;
    }
}

static int met_path(const char *name, int at, const char *path, int is_read) {
    char full[PATH_MAX] = "";
    if (mode == OFF || !path || !full_path(at, path, full)) return 0;
    return met(name, full, is_read);
}

static int met_fd(const char *name, int fd, int is_read) {
    char full[PATH_MAX] = "";
    if (mode == OFF || !of_descriptor(fd, full)) return 0;
    return met(name, full, is_read);
}

static void *found(void **slot, const char *name) {
    if (!*slot) *slot = dlsym(RTLD_NEXT, name);
    return *slot;
}

#define REAL(name) ((__typeof__(name) *)found(&real_##name, #name))
#define DECLARE(name) static void *real_##name
#define AFTER(what, call)                       \
    do {                                        \
        int fate = (what);                      \
        if (fate < 0) { errno = code; return -1; } \
        __auto_type result = (call);            \
        if (fate > 0) die();                    \
        return result;                          \
    } while (0)

/* Opening to write is a write, opening to read a read. */
#define OPENS(flags) (((flags) & O_ACCMODE) == O_RDONLY && !((flags) & O_CREAT))
#define MODE_OF(flags)                                   \
    mode_t rights = 0;                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {               \
        va_list more;                                    \
        va_start(more, flags);                           \
        rights = va_arg(more, mode_t);                   \
        va_end(more);                                    \
    }

DECLARE(open);
int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    AFTER(met_path("open", AT_FDCWD, path, OPENS(flags)), REAL(open)(path, flags, rights));
}
DECLARE(open64);
int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    AFTER(met_path("open", AT_FDCWD, path, OPENS(flags)), REAL(open64)(path, flags, rights));
}
DECLARE(openat);
int openat(int at, const char *path, int flags, ...) {
    MODE_OF(flags)
    AFTER(met_path("open", at, path, OPENS(flags)), REAL(openat)(at, path, flags, rights));
}
DECLARE(openat64);
int openat64(int at, const char *path, int flags, ...) {
    MODE_OF(flags)
    AFTER(met_path("open", at, path, OPENS(flags)), REAL(openat64)(at, path, flags, rights));
}

DECLARE(write);
ssize_t write(int fd, const void *data, size_t size) {
    int fate = fd == journal ? 0 : met_fd("write", fd, 0);
    if (fate < 0) { errno = code; return -1; }
    ssize_t done = REAL(write)(fd, data, fate == 2 ? size / 2 : size);
    if (fate > 0) die();
    return done;
}
DECLARE(pwrite);
ssize_t pwrite(int fd, const void *data, size_t size, off_t where) {
    int fate = met_fd("pwrite", fd, 0);
    if (fate < 0) { errno = code; return -1; }
    ssize_t done = REAL(pwrite)(fd, data, fate == 2 ? size / 2 : size, where);
    if (fate > 0) die();
    return done;
}
DECLARE(pwrite64);
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t where) {
    int fate = met_fd("pwrite", fd, 0);
    if (fate < 0) { errno = code; return -1; }
    ssize_t done = REAL(pwrite64)(fd, data, fate == 2 ? size / 2 : size, where);
    if (fate > 0) die();
    return done;
}
DECLARE(writev);
ssize_t writev(int fd, const struct iovec *parts, int count) { AFTER(met_fd("writev", fd, 0), REAL(writev)(fd, parts, count)); }
DECLARE(sendfile);
ssize_t sendfile(int out, int in, off_t *from, size_t size) { AFTER(met_fd("sendfile", out, 0), REAL(sendfile)(out, in, from, size)); }
DECLARE(sendfile64);
ssize_t sendfile64(int out, int in, off64_t *from, size_t size) { AFTER(met_fd("sendfile", out, 0), REAL(sendfile64)(out, in, from, size)); }
DECLARE(fsync);
int fsync(int fd) { AFTER(met_fd("fsync", fd, 0), REAL(fsync)(fd)); }
DECLARE(ftruncate);
int ftruncate(int fd, off_t size) { AFTER(met_fd("ftruncate", fd, 0), REAL(ftruncate)(fd, size)); }
DECLARE(ftruncate64);
int ftruncate64(int fd, off64_t size) { AFTER(met_fd("ftruncate", fd, 0), REAL(ftruncate64)(fd, size)); }

DECLARE(rename);
int rename(const char *from, const char *to) { AFTER(met_path("rename", AT_FDCWD, from, 0), REAL(rename)(from, to)); }
DECLARE(renameat);
int renameat(int at, const char *from, int at_to, const char *to) { AFTER(met_path("rename", at, from, 0), REAL(renameat)(at, from, at_to, to)); }
DECLARE(unlink);
int unlink(const char *path) { AFTER(met_path("unlink", AT_FDCWD, path, 0), REAL(unlink)(path)); }
DECLARE(unlinkat);
int unlinkat(int at, const char *path, int flags) { AFTER(met_path("unlink", at, path, 0), REAL(unlinkat)(at, path, flags)); }
DECLARE(rmdir);
int rmdir(const char *path) { AFTER(met_path("rmdir", AT_FDCWD, path, 0), REAL(rmdir)(path)); }
DECLARE(mkdir);
int mkdir(const char *path, mode_t rights) { AFTER(met_path("mkdir", AT_FDCWD, path, 0), REAL(mkdir)(path, rights)); }
DECLARE(mkdirat);
int mkdirat(int at, const char *path, mode_t rights) { AFTER(met_path("mkdir", at, path, 0), REAL(mkdirat)(at, path, rights)); }

DECLARE(fopen);
FILE *fopen(const char *path, const char *how) {
    int fate = met_path("fopen", AT_FDCWD, path, how[0] == 'r' && !strchr(how, '+'));
    if (fate < 0) { errno = code; return NULL; }
    FILE *file = REAL(fopen)(path, how);
    if (fate > 0) die();
    return file;
}
DECLARE(fopen64);
FILE *fopen64(const char *path, const char *how) {
    int fate = met_path("fopen", AT_FDCWD, path, how[0] == 'r' && !strchr(how, '+'));
    if (fate < 0) { errno = code; return NULL; }
    FILE *file = REAL(fopen64)(path, how);
    if (fate > 0) die();
    return file;
}
DECLARE(fwrite);
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    int fate = mode == OFF ? 0 : met_fd("fwrite", fileno(file), 0);
    if (fate < 0) { errno = code; return 0; }
    size_t done = REAL(fwrite)(data, size, fate == 2 ? count / 2 : count, file);
    if (fate > 0) { fflush(file); die(); }
    return done;
}
DECLARE(fflush);
int fflush(FILE *file) {
    int fate = mode == OFF || !file ? 0 : met_fd("fflush", fileno(file), 0);
    if (fate < 0) { errno = code; return EOF; }
    int result = REAL(fflush)(file);
    if (fate > 0) die();
    return result;
}
DECLARE(fclose);
int fclose(FILE *file) {
    int fate = mode == OFF ? 0 : met_fd("fclose", fileno(file), 0);
    if (fate < 0) { errno = code; REAL(fclose)(file); errno = code; return EOF; }
    int result = REAL(fclose)(file);
    if (fate > 0) die();
    return result;
}

DECLARE(read);
ssize_t read(int fd, void *data, size_t size) { AFTER(met_fd("read", fd, 1), REAL(read)(fd, data, size)); }
DECLARE(pread);
ssize_t pread(int fd, void *data, size_t size, off_t where) { AFTER(met_fd("read", fd, 1), REAL(pread)(fd, data, size, where)); }
DECLARE(pread64);
ssize_t pread64(int fd, void *data, size_t size, off64_t where) { AFTER(met_fd("read", fd, 1), REAL(pread64)(fd, data, size, where)); }

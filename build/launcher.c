/* The program a person starts in the folder form on Linux: it looks at the machine, then becomes edgechat.bin.

   What is packed is linked with the C library, so on a system without glibc, or with an older one, the loader ends it
   before a line of ours runs, in words nobody understands. This program is linked with nothing: it runs on any Linux, and
   says what is missing and what to do. It is a program and not a script since file managers show scripts in an editor.

   Compiled by bundle.py without a C library; LOADER, GLIBC and VERSION are given as strings. */

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, CLOSE = 3, IOCTL = 16, EXECVE = 59, EXIT = 60, WAIT4 = 61, FORK = 57, OPENAT = 257,
       READLINKAT = 267, FACCESSAT = 269 };
static long call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}
#define FORK_CALL() call(FORK, 0, 0, 0, 0)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt\n");
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, CLOSE = 57, IOCTL = 29, EXECVE = 221, EXIT = 93, WAIT4 = 260, CLONE = 220, OPENAT = 56,
       READLINKAT = 78, FACCESSAT = 48 };
static long call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#define FORK_CALL() call(CLONE, 17 /* SIGCHLD */, 0, 0, 0)
__asm__(".globl _start\n_start:\n mov x29, xzr\n mov x30, xzr\n mov x0, sp\n bl begin\n brk #1\n");
#else
#error "This processor has no launcher yet: add its system calls."
#endif

#define HERE (-100)         /* AT_FDCWD */
#define LONGEST 4096        /* PATH_MAX */
#define LIBRARY (4 << 20)   /* the loader is a quarter of a megabyte */
#define TERMINAL 0x5401     /* TCGETS */
enum { ENOENT = 2, EACCES = 13, ENOEXEC = 8 };

static char words[2 * LONGEST], library[LIBRARY];

/* The compiler may put calls to these in. */
void *memcpy(void *to, const void *from, unsigned long size) {
    for (unsigned long at = 0; at < size; at++) ((volatile char *)to)[at] = ((const char *)from)[at];
    return to;
}
void *memset(void *to, int value, unsigned long size) {
    for (unsigned long at = 0; at < size; at++) ((volatile char *)to)[at] = (char)value;
    return to;
}

static long length(const char *text) {
    long size = 0;
    while (text[size]) size++;
    return size;
}

static int begins(const char *text, const char *with) {
    while (*with && *text == *with) text++, with++;
    return !*with;
}

static void add(char *to, long room, const char *text) {
    long at = length(to);
    while (*text && at < room - 1) to[at++] = *text++;
    to[at] = 0;
}

static const char *variable(char **environment, const char *name) {
    for (; *environment; environment++)
        if (begins(*environment, name) && (*environment)[length(name)] == '=') return *environment + length(name) + 1;
    return "";
}

static int terminal(int descriptor) {
    char settings[256];
    return call(IOCTL, descriptor, TERMINAL, (long)settings, 0) == 0;
}

/* A dialog, by the first of the programs for it that can be started. */
static void show(char **environment) {
    static char *dialogs[][6] = {
        {"zenity", "--error", "--no-markup", "--text", words, 0},
        {"kdialog", "--error", words, 0},
        {"xmessage", "-center", words, 0},
    };
    static const char *places[] = {"/usr/bin/", "/bin/", "/usr/local/bin/"};
    for (unsigned dialog = 0; dialog < sizeof dialogs / sizeof *dialogs; dialog++)
        for (unsigned place = 0; place < sizeof places / sizeof *places; place++) {
            char path[64] = "";
            add(path, sizeof path, places[place]);
            add(path, sizeof path, dialogs[dialog][0]);
            if (call(FACCESSAT, HERE, (long)path, 1, 0) != 0) continue;
            long child = FORK_CALL();
            if (child == 0) {
                call(EXECVE, (long)path, (long)dialogs[dialog], (long)environment, 0);
                call(EXIT, 127, 0, 0, 0);
            }
            if (child > 0) call(WAIT4, child, 0, 0, 0);
            return;
        }
}

static void fail(char **environment, int code, const char *title, const char *reason, const char *more, const char *next) {
    const char *parts[] = {"edgechat: ", title, "\n  ", reason, more, "\n  ", next, "\n"};
    words[0] = 0;
    for (unsigned part = 0; part < sizeof parts / sizeof *parts; part++) add(words, sizeof words, parts[part]);
    call(WRITE, 2, (long)words, length(words), 0);
    if (!terminal(0) && !terminal(2) && (*variable(environment, "DISPLAY") || *variable(environment, "WAYLAND_DISPLAY")))
        show(environment);
    call(EXIT, code, 0, 0, 0);
}

static const char *number(const char *text, long *value) {
    for (*value = 0; *text >= '0' && *text <= '9' && *value < 100000; text++) *value = *value * 10 + (*text - '0');
    return text;
}

/* Whether a version is lower than another: both are two numbers with a dot between. Anything else is lower than none. */
static int older(const char *has, const char *wants) {
    long major, minor, least, least_minor;
    const char *rest = number(has, &major);
    if (rest == has || *rest != '.') return 0;
    number(rest + 1, &minor);
    rest = number(wants, &least);
    if (*rest != '.') return 0;
    number(rest + 1, &least_minor);
    return major < least || (major == least && minor < least_minor);
}

/* The version of the C library, empty if it does not tell: its loader carries it (glibc 2.33 and newer) or is a link to a
   file that is named by it (ld-2.31.so). */
static void find_version(char *version, long room) {
    static const char mark[] = "release version ";
    char target[LONGEST];
    const char *found = 0;
    long size = call(READLINKAT, HERE, (long)LOADER, (long)target, sizeof target - 1);
    if (size > 0) {
        target[size] = 0;
        for (long at = 0; at < size; at++)
            if (begins(target + at, "ld-") && target[at + 3] >= '0' && target[at + 3] <= '9') found = target + at + 3;
    }
    if (!found) {
        long file = call(OPENAT, HERE, (long)LOADER, 0, 0), got = 0, read;
        if (file < 0) return;
        while (got < LIBRARY - 64 && (read = call(READ, file, (long)(library + got), LIBRARY - 64 - got, 0)) > 0) got += read;
        call(CLOSE, file, 0, 0, 0);
        for (long at = 0; at < got && !found; at++)
            if (begins(library + at, mark)) found = library + at + sizeof mark - 1;
    }
    if (!found) return;
    long at = 0;
    for (; at < room - 1 && (found[at] == '.' || (found[at] >= '0' && found[at] <= '9')); at++) version[at] = found[at];
    while (at > 0 && version[at - 1] == '.') at--;
    version[at] = 0;
}

__attribute__((used)) void begin(char **stack) {
    long count = *(long *)stack;
    char **arguments = stack + 1, **environment = arguments + count + 1;
    char program[LONGEST] = "", version[32] = "";
    long size = call(READLINKAT, HERE, (long)"/proc/self/exe", (long)program, sizeof program - 16);
    if (size > 0) program[size] = 0;
    else add(program, sizeof program, count > 0 ? arguments[0] : ""); /* no /proc: the path it was started by */
    add(program, sizeof program, ".bin");

    if (call(FACCESSAT, HERE, (long)LOADER, 0, 0) != 0)
        fail(environment, 1, "This system cannot run this edgechat",
             "It needs glibc " GLIBC " or newer, and this system has another C library, as Alpine with its musl: ",
             LOADER " is missing.",
             "Use a system with glibc, or a container that has it: Debian, Ubuntu, Fedora.");
    find_version(version, sizeof version);
    if (older(version, GLIBC))
        fail(environment, 1, "This system is too old for this edgechat",
             "It needs glibc " GLIBC " or newer, and this system has ", version,
             "Update the system, or get an edgechat that was built for older ones.");
    long error = -call(EXECVE, (long)program, (long)arguments, (long)environment, 0);
    if (error == ENOENT)
        fail(environment, 5, "A file is missing", program, "", "Copy the whole folder again from where it came.");
    if (error == EACCES)
        fail(environment, 5, "A program may not be started", program,
             " has no right to be run, or its disk is mounted with `noexec`.",
             "Copy the folder to a disk of this computer, with its rights: cp -a, or tar.");
    if (error == ENOEXEC)
        fail(environment, 1, "This edgechat is for another machine", program, " is not a program of this processor.",
             "Get the file for this one.");
    fail(environment, 1, "edgechat cannot be started", program, " was refused by the system.",
         "Copy the whole folder again from where it came.");
}

/* The server that all clients of a benchmark talk to: one thread, epoll, answers prebuilt in files.
 *
 *     server GEMINI OPENAI LATENCY_SECONDS SPREAD_SECONDS [CERT KEY]
 *
 * GEMINI and OPENAI hold whole HTTP answers, heads included. A POST to ...:generateContent gets the first, one to
 * .../images/generations the second, after a latency that is uniform in LATENCY +- SPREAD and the same sequence in
 * every run. A GET gets the server's own figures, and starts counting the greatest ones anew. Plain answers leave by
 * sendfile; over TLS (compiled with -DWITH_TLS) by SSL_write. The first line of standard output is the port.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#endif

enum { REQUEST_BYTES = 64 * 1024, EVENTS = 256, BACKLOG = 4096 };

struct answer {
    const char *data;
    size_t length;
    int fd; /* -1: send from data */
};

struct peer {
    int fd;
    bool writing; /* EPOLLOUT is asked for */
    bool due;     /* an entry of the heap points here */
    bool dead;    /* closed; freed when its entry leaves the heap */
    bool counted; /* an image is in flight */
    bool last;    /* the client wants the connection closed after this answer */
    const struct answer *answer; /* NULL: none is wanted */
    size_t sent;
    struct answer own; /* an answer written for this request alone */
    char text[512];
    size_t received;
    char request[REQUEST_BYTES + 1];
#ifdef WITH_TLS
    SSL *ssl;
#endif
};

struct entry {
    uint64_t at; /* nanoseconds */
    struct peer *peer;
};

static int poller, timer;
static struct answer gemini, openai;
static double latency, spread;
static struct entry *heap;
static size_t heap_length, heap_room;
static long answers, in_flight, most_in_flight, connections, most_connections;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the heap of answers that wait for their time ---- */

static void set_timer(void) {
    struct itimerspec when = {0};
    if (heap_length) {
        when.it_value.tv_sec = (time_t)(heap[0].at / 1000000000u);
        when.it_value.tv_nsec = (long)(heap[0].at % 1000000000u);
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void heap_push(struct entry new) {
    if (heap_length == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap) die("realloc");
    }
    size_t at = heap_length++;
    for (; at && heap[(at - 1) / 2].at > new.at; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = new;
    if (at == 0) set_timer();
}

static struct peer *heap_pop(void) {
    struct peer *first = heap[0].peer;
    struct entry last = heap[--heap_length];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap_length; at = child) {
        if (child + 1 < heap_length && heap[child + 1].at < heap[child].at) child++;
        if (heap[child].at >= last.at) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return first;
}

static uint64_t next_due(void) {
    static uint64_t state = 88172645463325252u; /* xorshift64 */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    double unit = (double)(state >> 11) / 9007199254740992.0;
    double wait = latency + spread * (2 * unit - 1);
    return now() + (uint64_t)(wait > 0 ? wait * 1e9 : 0);
}

/* ---- one connection ---- */

static void end_answer(struct peer *peer) {
    if (peer->counted) in_flight--;
    peer->counted = false;
    peer->answer = NULL;
    peer->sent = 0;
}

static void drop(struct peer *peer) {
    if (peer->dead) return;
    end_answer(peer);
#ifdef WITH_TLS
    if (peer->ssl) SSL_free(peer->ssl);
    ERR_clear_error();
#endif
    close(peer->fd);
    connections--;
    peer->dead = true;
}

static void want_write(struct peer *peer, bool writing) {
    if (peer->writing == writing) return;
    peer->writing = writing;
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
}

/* Move bytes; returns what moved, 0 when the socket is not ready, -1 when the connection is over. */
#ifdef WITH_TLS
static ssize_t tls_result(struct peer *peer, int moved) {
    if (moved > 0) return moved;
    int why = SSL_get_error(peer->ssl, moved);
    if (why == SSL_ERROR_WANT_WRITE) want_write(peer, true);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}
#endif

static ssize_t receive(struct peer *peer) {
    char *to = peer->request + peer->received;
    size_t room = REQUEST_BYTES - peer->received;
    if (!room) return -1;
#ifdef WITH_TLS
    if (peer->ssl) return tls_result(peer, SSL_read(peer->ssl, to, (int)room));
#endif
    ssize_t count = recv(peer->fd, to, room, 0);
    if (count > 0) return count;
    return count < 0 && errno == EAGAIN ? 0 : -1;
}

static ssize_t push(struct peer *peer) {
    const struct answer *answer = peer->answer;
    size_t left = answer->length - peer->sent;
#ifdef WITH_TLS
    if (peer->ssl)
        return tls_result(peer, SSL_write(peer->ssl, answer->data + peer->sent, (int)(left < 65536 ? left : 65536)));
#endif
    off_t from = (off_t)peer->sent;
    ssize_t count = answer->fd < 0 ? send(peer->fd, answer->data + peer->sent, left, 0)
                                   : sendfile(peer->fd, answer->fd, &from, left);
    if (count > 0) return count;
    if (count < 0 && errno == EAGAIN) {
        want_write(peer, true);
        return 0;
    }
    return -1;
}

static void say(struct peer *peer, const char *status, const char *body) {
    int length = snprintf(peer->text, sizeof peer->text,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                          strlen(body), body);
    peer->own = (struct answer){peer->text, (size_t)length, -1};
    peer->answer = &peer->own;
}

static void say_figures(struct peer *peer) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    char body[256];
    snprintf(body, sizeof body,
             "{\"answers\": %ld, \"most_in_flight\": %ld, \"most_connections\": %ld, \"cpu_seconds\": %.3f}", answers,
             most_in_flight, most_connections, cpu);
    most_in_flight = in_flight;
    most_connections = 0; /* the one that asks does not count */
    say(peer, "200 OK", body);
}

/* Take one whole request out of the buffer and choose its answer; false when none is whole yet. */
static bool take_request(struct peer *peer) {
    peer->request[peer->received] = 0;
    char *end = strstr(peer->request, "\r\n\r\n");
    if (!end) return false;
    *end = 0; /* the head is a string of its own now */
    char *length = strcasestr(peer->request, "\r\ncontent-length:");
    size_t whole = (size_t)(end - peer->request) + 4 + (length ? strtoul(length + 17, NULL, 10) : 0);
    if (whole > peer->received) {
        *end = '\r';
        return false;
    }
    peer->last = strcasestr(peer->request, "\r\nconnection: close") != NULL;
    bool chunked = strcasestr(peer->request, "\r\ntransfer-encoding:") != NULL;
    char *line_end = strstr(peer->request, "\r\n");
    if (line_end) *line_end = 0;
    bool post = strncmp(peer->request, "POST ", 5) == 0;
    if (chunked) {
        peer->last = true;
        say(peer, "411 Length Required", "{}");
    } else if (post && strstr(peer->request, ":generateContent")) {
        peer->answer = &gemini;
    } else if (post && strstr(peer->request, "/images/generations")) {
        peer->answer = &openai;
    } else if (strncmp(peer->request, "GET ", 4) == 0) {
        say_figures(peer);
    } else {
        say(peer, "404 Not Found", "{}");
    }
    memmove(peer->request, peer->request + whole, peer->received - whole);
    peer->received -= whole;
    return true;
}

/* Do all that can be done for a connection now. */
static void serve(struct peer *peer) {
    for (;;) {
        if (!peer->answer) {
            if (!take_request(peer)) return;
            if (peer->answer != &peer->own) {
                peer->counted = true;
                if (++in_flight > most_in_flight) most_in_flight = in_flight;
                if (latency > 0 || spread > 0) {
                    peer->due = true;
                    heap_push((struct entry){next_due(), peer});
                    return;
                }
            }
        }
        while (peer->sent < peer->answer->length) {
            ssize_t count = push(peer);
            if (count < 0) drop(peer);
            if (count <= 0) return;
            peer->sent += (size_t)count;
        }
        answers += peer->counted;
        end_answer(peer);
        want_write(peer, false);
        if (peer->last) {
            drop(peer);
            return;
        }
    }
}

static void on_event(struct peer *peer, uint32_t events) {
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t count;
        while ((count = receive(peer)) > 0) peer->received += (size_t)count;
        if (count < 0) {
            drop(peer);
            return;
        }
    } else if (!peer->answer) { /* a handshake that waited for room */
        want_write(peer, false);
        on_event(peer, EPOLLIN);
        return;
    }
    if (!peer->due) serve(peer);
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *peer = calloc(1, sizeof *peer);
        if (!peer) die("calloc");
        peer->fd = fd;
        if (++connections > most_connections) most_connections = connections;
#ifdef WITH_TLS
        if (tls) {
            peer->ssl = SSL_new(tls);
            SSL_set_fd(peer->ssl, fd);
            SSL_set_accept_state(peer->ssl);
        }
#endif
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void send_due(void) {
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer");
    uint64_t time = now();
    while (heap_length && heap[0].at <= time) {
        struct peer *peer = heap_pop();
        peer->due = false;
        if (peer->dead)
            free(peer);
        else {
            serve(peer);
            if (peer->dead) free(peer);
        }
    }
    set_timer();
}

/* ---- start ---- */

static struct answer load(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) < 0) die(path);
    void *data = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (data == MAP_FAILED) die(path);
    return (struct answer){data, (size_t)facts.st_size, fd};
}

static void start_tls(const char *cert, const char *key) {
#ifdef WITH_TLS
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
#else
    fprintf(stderr, "compiled without TLS: %s %s\n", cert, key);
    exit(1);
#endif
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 7) {
        fprintf(stderr, "usage: server GEMINI OPENAI LATENCY_SECONDS SPREAD_SECONDS [CERT KEY]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    gemini = load(argv[1]);
    openai = load(argv[2]);
    latency = atof(argv[3]);
    spread = atof(argv[4]);
    if (argc == 7) start_tls(argv[5], argv[6]);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, BACKLOG) < 0) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        bool timed = false;
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            if (what == &listener)
                accept_all(listener);
            else if (what == &timer)
                timed = true;
            else {
                struct peer *peer = what;
                on_event(peer, events[i].events);
                if (peer->dead && !peer->due) free(peer);
            }
        }
        if (timed) send_due(); /* last: it may free peers that the events above name */
    }
}

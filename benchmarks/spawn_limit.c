/* The machine's limit: PROCESSES loops that each start /bin/true SECONDS long, read what it prints and wait for it.
 *
 * Prints how many were started a second. Nothing is decided, written down or promised here: what any supervisor adds
 * to this is its own cost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void read_to_end(int out, int err) {
    struct pollfd pipes[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
    char data[65536];
    int open_pipes = 2;
    while (open_pipes) {
        poll(pipes, 2, -1);
        for (int i = 0; i < 2; i++)
            if (pipes[i].fd >= 0 && pipes[i].revents && read(pipes[i].fd, data, sizeof data) <= 0) {
                close(pipes[i].fd);
                pipes[i].fd = -1;
                open_pipes--;
            }
    }
}

static void run_once(void) {
    int out[2], err[2], status;
    pid_t pid;
    char *argv[] = {"/bin/true", NULL};
    posix_spawn_file_actions_t actions;
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) exit(1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ)) exit(1);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    read_to_end(out[0], err[0]);
    waitpid(pid, &status, 0);
}

int main(int argc, char **argv) {
    int processes = argc > 1 ? atoi(argv[1]) : 10;
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    long *counts = mmap(NULL, processes * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double began = now(), until = began + seconds;
    for (int i = 0; i < processes; i++)
        if (fork() == 0) {
            while (now() < until) {
                run_once();
                counts[i]++;
            }
            _exit(0);
        }
    while (wait(NULL) > 0) {}
    long total = 0;
    for (int i = 0; i < processes; i++) total += counts[i];
    printf("%.0f\n", total / (now() - began));
    return 0;
}

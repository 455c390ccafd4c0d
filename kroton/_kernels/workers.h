/* A pool of threads that share the parts of one task; included by workers.pyx alone.
 *
 * One task at a time: who finds the pool taken runs all parts himself, so that several callers
 * never use more threads than there are. The threads sleep between tasks, touch no Python object,
 * and block all signals. A process that forks starts again without any.
 */
#ifndef KROTON_WORKERS_H
#define KROTON_WORKERS_H
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

typedef void (*kroton_task)(void *context, int part);

#define KROTON_MOST_WORKERS 64

static pthread_mutex_t kroton_pool_taken = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t kroton_pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kroton_pool_wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t kroton_pool_done = PTHREAD_COND_INITIALIZER;
static int kroton_pool_threads = 0; /* that run */
static int kroton_pool_idle = 0;    /* of them, those that may take parts of this task */
static int kroton_pool_watched = 0; /* whether forks are */

/* The task, under kroton_pool_lock. */
static kroton_task kroton_pool_task = NULL;
static void *kroton_pool_context = NULL;
static int kroton_pool_next = 0, kroton_pool_parts = 0, kroton_pool_finished = 0;

static void kroton_pool_after_fork(void)
{
    pthread_mutex_init(&kroton_pool_taken, NULL);
    pthread_mutex_init(&kroton_pool_lock, NULL);
    pthread_cond_init(&kroton_pool_wake, NULL);
    pthread_cond_init(&kroton_pool_done, NULL);
    kroton_pool_threads = kroton_pool_idle = 0;
    kroton_pool_next = kroton_pool_parts = kroton_pool_finished = 0;
}

/* Take parts while there are some. Called, and returns, with the lock held. */
static void kroton_pool_work(void)
{
    while (kroton_pool_next < kroton_pool_parts) {
        kroton_task task = kroton_pool_task;
        void *context = kroton_pool_context;
        int part = kroton_pool_next++;
        pthread_mutex_unlock(&kroton_pool_lock);
        task(context, part);
        pthread_mutex_lock(&kroton_pool_lock);
        if (++kroton_pool_finished == kroton_pool_parts)
            pthread_cond_signal(&kroton_pool_done);
    }
}

static void *kroton_pool_thread(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&kroton_pool_lock);
    for (;;) {
        while (kroton_pool_next >= kroton_pool_parts || kroton_pool_idle == 0)
            pthread_cond_wait(&kroton_pool_wake, &kroton_pool_lock);
        kroton_pool_idle--;
        kroton_pool_work();
    }
    return NULL;
}

/* Have `wanted` threads beside the caller's, or as many as the system grants. */
static void kroton_pool_grow(int wanted)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    if (wanted > KROTON_MOST_WORKERS)
        wanted = KROTON_MOST_WORKERS;
    if (kroton_pool_threads >= wanted || pthread_attr_init(&attributes) != 0)
        return;
    if (!kroton_pool_watched)
        kroton_pool_watched = pthread_atfork(NULL, NULL, kroton_pool_after_fork) == 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (kroton_pool_threads < wanted
           && pthread_create(&thread, &attributes, kroton_pool_thread, NULL) == 0)
        kroton_pool_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Run task(context, part) for each part below `parts`, in at most `threads` threads. */
static void kroton_pool_run(kroton_task task, void *context, int parts, int threads)
{
    if (parts <= 1 || threads <= 1 || pthread_mutex_trylock(&kroton_pool_taken) != 0) {
        for (int part = 0; part < parts; part++)
            task(context, part);
        return;
    }
    kroton_pool_grow((threads < parts ? threads : parts) - 1);
    pthread_mutex_lock(&kroton_pool_lock);
    kroton_pool_task = task;
    kroton_pool_context = context;
    kroton_pool_next = kroton_pool_finished = 0;
    kroton_pool_parts = parts;
    kroton_pool_idle = (threads < parts ? threads : parts) - 1;
    pthread_cond_broadcast(&kroton_pool_wake);
    kroton_pool_work();
    while (kroton_pool_finished < kroton_pool_parts)
        pthread_cond_wait(&kroton_pool_done, &kroton_pool_lock);
    kroton_pool_next = kroton_pool_parts = 0;
    pthread_mutex_unlock(&kroton_pool_lock);
    pthread_mutex_unlock(&kroton_pool_taken);
}

/* The cores that this process may run on. */
static int kroton_usable_cores(void)
{
    long cores;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : (int)cores;
}
#endif

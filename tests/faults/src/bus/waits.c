/* librdkafka waits by C11's cnd_timedwait, which libfaketime does not know: a deadline by the clock that was set would be
 * compared with the machine's, and a wait of a second would take as long as the clock is ahead. glibc's cnd_t and mtx_t are
 * a pthread_cond_t and a pthread_mutex_t. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int error = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

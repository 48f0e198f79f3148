/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans from C, or from any language that calls C: libsoftmpc.so.0. A bundle that was trained on a
 * built-in task opens as it is; another brings a learned reward or is given one as a callback.
 *
 * What stays within libsoftmpc.so.0: each function, each number below, and each struct, which grows
 * at its end only. Its first member is the size that the caller knows (sizeof); what a smaller one
 * lacks is at its default, and a size that is too small or larger than the library knows is
 * SOFTMPC_ERROR_ARGUMENT.
 *
 * Every array and struct is the caller's, and is not kept after the call. No function throws, exits
 * or prints. One thread at a time uses a handle, handles are independent of each other; only
 * softmpc_prepare() may run beside softmpc_plan(), and of a runner what says so. A callback must
 * return (no exception, no longjmp) and must not call into its own handle, which answers
 * SOFTMPC_ERROR_BUSY.
 */
#ifndef SOFTMPC_C_API_H
#define SOFTMPC_C_API_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SOFTMPC_API __attribute__((visibility("default")))
#else
#define SOFTMPC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** The number in the library's file name; softmpc_abi() is that of the library. */
#define SOFTMPC_ABI 0

typedef struct softmpc_controller softmpc_controller;
typedef struct softmpc_prepared softmpc_prepared;
typedef struct softmpc_runner softmpc_runner;

/** What a function has done. */
typedef int32_t softmpc_result;
enum {
  SOFTMPC_DONE = 0,
  SOFTMPC_ERROR_ARGUMENT = -1, /* null, out of range, of a size that is not known */
  SOFTMPC_ERROR_FILE = -2,     /* the bundle cannot be read */
  SOFTMPC_ERROR_FORMAT = -3,   /* it is no bundle, or damaged */
  SOFTMPC_ERROR_VERSION = -4,  /* it is of a newer softmpc */
  SOFTMPC_ERROR_MEMORY = -5,
  SOFTMPC_ERROR_DEVICE = -6,      /* "cuda" was asked for and cannot be used */
  SOFTMPC_ERROR_UNSUPPORTED = -7, /* this bundle cannot do what is asked for */
  SOFTMPC_ERROR_BUSY = -8,    /* the handle is in use: by a callback's caller, a thread, a runner */
  SOFTMPC_ERROR_INTERNAL = -9 /* a fault of softmpc's */
};

/** What a plan is; all but OK, ALL_INVALID and DEADLINE are commands of the fallback. */
typedef int32_t softmpc_status;
enum {
  SOFTMPC_STATUS_WRONG_ARGUMENT = -1, /* or the handle is in use: nothing was written */
  SOFTMPC_STATUS_OK = 0,
  SOFTMPC_STATUS_ALL_INVALID = 1,    /* every rollout left the box, so all of them count */
  SOFTMPC_STATUS_NOT_FINITE = 2,     /* no rollout has a finite cost */
  SOFTMPC_STATUS_BAD_STATE = 3,      /* of another length, or it holds NaN or infinity */
  SOFTMPC_STATUS_DEADLINE = 4,       /* planned with the rollouts that were done in time */
  SOFTMPC_STATUS_NO_TIME = 5,        /* too few were */
  SOFTMPC_STATUS_REJECTED = 6,       /* by validate */
  SOFTMPC_STATUS_STALE_STATE = 7,    /* older than max_state_age_ns */
  SOFTMPC_STATUS_UNLIKELY_STATE = 8, /* far outside what training saw */
  SOFTMPC_STATUS_USER_ERROR = 9,     /* a callback returned an error */
  SOFTMPC_STATUS_DEVICE_FAULT = 10
};

/** What is sent where there is no plan. */
enum {
  SOFTMPC_FALLBACK_SHIFTED_PLAN = 0, /* the plan of before, at the time asked for */
  SOFTMPC_FALLBACK_HOLD = 1,         /* the last command again */
  SOFTMPC_FALLBACK_REST = 2,         /* options.rest */
  SOFTMPC_FALLBACK_CALLBACK = 3      /* what options.on_fallback says */
};

/** How a plan is read between two steps. */
enum { SOFTMPC_READING_LINEAR = 0, SOFTMPC_READING_HOLD = 1 };

/** What validate returns. */
enum {
  SOFTMPC_SEND = 0,
  SOFTMPC_REJECT = 1,            /* the fallback is sent, planning goes on from the plan before */
  SOFTMPC_REJECT_AND_RESTART = 2 /* the same, and the next plan is drawn anew */
};

/* Models of the caller's, over a block of rollouts: component i of rollout j is at
 * [i * stride + j], j = 0..count-1; x [nx], a [nu], next [nx]; some may be fill, whose results do
 * not count. Calls come from several threads at once if threads is not 1. They return 0; anything
 * else is SOFTMPC_STATUS_USER_ERROR. A CPU alone plans with them. */
/** out[j] = r(x_j, a_j, next_j), to be maximised. */
typedef int32_t (*softmpc_reward_fn)(void* user, const float* x, const float* a, const float* next,
                                     int32_t stride, int32_t count, float* out);
/** out[j] = 1 if next_j ends the episode, else 0. */
typedef int32_t (*softmpc_terminated_fn)(void* user, const float* next, int32_t stride,
                                         int32_t count, uint8_t* out);
/** next_j = f(x_j, a_j). */
typedef int32_t (*softmpc_step_fn)(void* user, const float* x, const float* a, int32_t stride,
                                   int32_t count, float* next);
/** out[j] = Q(x_j, a_j), the value of what comes after the horizon. */
typedef int32_t (*softmpc_value_fn)(void* user, const float* x, const float* a, int32_t stride,
                                    int32_t count, float* out);

/** In: size, and where the arrays go. Out: the rest, written where size reaches. */
typedef struct softmpc_plan_out {
  size_t size;
  float* action;    /* [nu] the command */
  float* sequence;  /* [H+1, nu] the plan, relative to the neutral action; or NULL */
  float* predicted; /* [H+1, nx] where it leads, NaN if not known (want_predicted); or NULL */
  softmpc_status status;
  int32_t from_fallback; /* 0 or 1 */
  int32_t rollouts_used, iterations_done;
  double value; /* soft value; NaN where nothing was planned */
  double effective_samples, valid_share;
  double disagreement; /* of the members about the first step; NaN without want_predicted */
  int64_t duration_ns;
  uint64_t index; /* counts plans, from 0 */
  uint64_t bundle_hash;
} softmpc_plan_out;

/** Sees state [nx] and plan (index and duration_ns are 0) before the command leaves; anything but
 *  the three values above is SOFTMPC_REJECT. */
typedef int32_t (*softmpc_validate_fn)(void* user, const float* state,
                                       const softmpc_plan_out* plan);
/** Writes action [nu], which is clipped to the bounds, and returns 0; else rest is sent. `state` is
 *  [nx], NULL if it came with another length. */
typedef int32_t (*softmpc_fallback_fn)(void* user, softmpc_status why, const float* state,
                                       float* action);

/** softmpc_options_init() sets the defaults, which are in brackets. */
typedef struct softmpc_options {
  size_t size;
  uint64_t seed;            /* [1] the same seed, bundle and states give the same plans */
  int32_t threads;          /* [1] 0..4096; 0: all cores */
  int32_t min_rollouts;     /* [0] fewer in time are no plan; 0: a quarter of the bundle's */
  int32_t fallback;         /* [SOFTMPC_FALLBACK_SHIFTED_PLAN] */
  int32_t max_fallbacks;    /* [0] in a row, then rest is sent; 0: the horizon */
  int32_t want_predicted;   /* [0] 1: predicted and disagreement, for members * H model steps */
  int32_t reading;          /* [SOFTMPC_READING_LINEAR] */
  int64_t max_state_age_ns; /* [0] 0: any age */
  int64_t command_delay_ns; /* [0] until a command acts; at most 64 model steps */
  double state_margin;      /* [1] widths of training's range that a state may lie outside of it */
  const float* rest;        /* [NULL] [nu] inside the bounds; NULL: the neutral action */
  const float* max_rate;    /* [NULL] [nu] largest change of the command a second; NULL: none */
  const char* device;       /* [NULL] "cpu", "cuda", "auto"; NULL: cpu */
  /* [NULL] models in place of the bundle's and the task's; a reward or termination that the
     bundle's nets predict cannot be replaced (UNSUPPORTED), but together with step */
  softmpc_reward_fn reward;
  softmpc_terminated_fn terminated;
  softmpc_step_fn step; /* in place of the bundle's members, as a single one */
  softmpc_value_fn value;
  softmpc_validate_fn validate;    /* [NULL] NULL: every plan is sent */
  softmpc_fallback_fn on_fallback; /* [NULL] of SOFTMPC_FALLBACK_CALLBACK */
  void* user;                      /* [NULL] first argument of all callbacks */
  const char* precision;           /* [NULL] "float32", "bfloat16", "auto"; NULL: the bundle's */
  /* [NULL] "FILE" or "FILE:MiB": the latest plans and all that decided them, in a file that
     outlives the process, for `softmpc verify` and `softmpc explain`; without it where the file
     cannot be had, as softmpc_get_notes() says */
  const char* black_box;
} softmpc_options;

typedef struct softmpc_request {
  size_t size;
  const float* state;    /* [nx] */
  size_t state_count;    /* its length: another than nx is BAD_STATE; 0: nx, unchecked */
  int64_t state_time_ns; /* when it was measured, by any steady clock; 0: a model step later */
  int64_t deadline_ns;   /* CLOCK_MONOTONIC, when the plan is needed; 0: no deadline */
  int64_t now_ns;        /* by state_time_ns's clock, for max_state_age_ns; 0: CLOCK_MONOTONIC's */
} softmpc_request;

typedef struct softmpc_sizes {
  size_t size;
  int32_t nx, nu;
  int32_t horizon; /* H */
  int32_t rollouts;
  int32_t members; /* dynamics models; 1 with options.step */
  int32_t reserved;
  double dt;          /* seconds of a model step */
  size_t state_bytes; /* of softmpc_save_state() */
} softmpc_sizes;

/** Counts since softmpc_open(). */
typedef struct softmpc_statistics {
  size_t size;
  uint64_t plans;
  uint64_t by_status[16]; /* index: the status */
  uint64_t fallbacks;
  uint64_t rests;           /* of these, rest after max_fallbacks in a row */
  uint64_t callback_errors; /* on_fallback failed, rest was sent */
  uint64_t clipped;         /* plans that were clipped to the bounds */
  uint64_t rate_limited;    /* commands that max_rate changed */
  uint64_t time_backwards;  /* states older than the one before */
  uint64_t cold_starts;     /* plans drawn anew */
  uint64_t swaps;
  int64_t p50_ns, p90_ns, p99_ns, p999_ns, max_ns; /* of softmpc_plan(), at most 9 % too high */
} softmpc_statistics;

SOFTMPC_API uint32_t softmpc_abi(void);
SOFTMPC_API const char* softmpc_version(void); /* "0.1.0" */
/** "ok", "deadline", ...; "unknown" for a number that is none. */
SOFTMPC_API const char* softmpc_status_name(softmpc_status status);
SOFTMPC_API const char* softmpc_result_name(softmpc_result result);

/** The defaults; `size` is sizeof(softmpc_options). Nothing happens to NULL. */
SOFTMPC_API void softmpc_options_init(softmpc_options* options, size_t size);

/** A controller of the file `bundle`; `options` may be NULL. Allocates everything, tries 16 plans.
 *  On an error *out is NULL and `error` holds one line, cut at error_size and terminated; it may be
 *  NULL. */
SOFTMPC_API softmpc_result softmpc_open(const char* bundle, const softmpc_options* options,
                                        softmpc_controller** out, char* error, size_t error_size);
/** The same from the bytes of such a file. */
SOFTMPC_API softmpc_result softmpc_open_memory(const void* data, size_t bytes,
                                               const softmpc_options* options,
                                               softmpc_controller** out, char* error,
                                               size_t error_size);
/** Nothing happens to NULL. */
SOFTMPC_API void softmpc_close(softmpc_controller* controller);

SOFTMPC_API softmpc_result softmpc_get_sizes(const softmpc_controller* controller,
                                             softmpc_sizes* sizes);
/** The bundle's bounds of the action, [nu] each. */
SOFTMPC_API softmpc_result softmpc_get_bounds(const softmpc_controller* controller, float* low,
                                              float* high);
/** Tighter ones from the next plan on, for all that is sent and looked ahead with: low <= high
 *  [nu], inside the bundle's. They stay until others come, by this call or with a state. ARGUMENT,
 *  and nothing is changed, where they are no such bounds. */
SOFTMPC_API softmpc_result softmpc_set_bounds(softmpc_controller* controller, const float* low,
                                              const float* high);

/** A command inside the bounds, whatever the state; returns plan->status. Does not allocate (but
 *  where a callback fails), lock (with one thread, on the CPU) or block. */
SOFTMPC_API softmpc_status softmpc_plan(softmpc_controller* controller,
                                        const softmpc_request* request, softmpc_plan_out* plan);
/** Starts an episode: a new plan, no command sent. */
SOFTMPC_API softmpc_result softmpc_reset(softmpc_controller* controller);

/** All that decides the next plan, bounds too, nets and options apart; `bytes` is
 *  softmpc_sizes.state_bytes.
 *  load: ARGUMENT, and nothing is changed, for anything but such a state of the same sizes. */
SOFTMPC_API softmpc_result softmpc_save_state(const softmpc_controller* controller, void* data,
                                              size_t bytes);
SOFTMPC_API softmpc_result softmpc_load_state(softmpc_controller* controller, const void* data,
                                              size_t bytes);

/** Loads and tries another bundle of the same task and sizes, on any thread while the controller
 *  plans. Free it before the controller is closed. */
SOFTMPC_API softmpc_result softmpc_prepare(const softmpc_controller* controller, const char* bundle,
                                           softmpc_prepared** out, char* error, size_t error_size);
/** Exchanges nets between two plans, in no time; `prepared` holds the old ones afterwards. ARGUMENT
 *  for what another controller prepared. */
SOFTMPC_API softmpc_result softmpc_swap(softmpc_controller* controller, softmpc_prepared* prepared);
SOFTMPC_API void softmpc_prepared_free(softmpc_prepared* prepared);

/** What the controller goes without, a line with one sentence each; "" where all is there. */
SOFTMPC_API softmpc_result softmpc_get_notes(const softmpc_controller* controller, char* text,
                                             size_t text_size);
SOFTMPC_API softmpc_result softmpc_get_statistics(const softmpc_controller* controller,
                                                  softmpc_statistics* statistics);

/* ---- a runner: plans on a thread of its own ----
 * The robot's loop hands states in and reads commands out at its own rate, and never waits for a
 * plan. Times are of one monotonic clock, CLOCK_MONOTONIC where max_state_age_ns is used. Callbacks
 * of the controller come from the runner's thread, and of models from those of options.threads;
 * they may call what any thread may. */

/** When a runner plans. */
enum {
  SOFTMPC_TRIGGER_NEW_STATE = 0, /* as soon as there is a state that was not planned from */
  SOFTMPC_TRIGGER_PERIOD = 1     /* every period_ns, from the latest state, be it new or not */
};

/** softmpc_runner_options_init() sets the defaults, which are in brackets. */
typedef struct softmpc_runner_options {
  size_t size;
  int32_t trigger;     /* [SOFTMPC_TRIGGER_NEW_STATE] */
  int32_t reading;     /* [SOFTMPC_READING_HOLD] of the plan between its steps */
  int64_t period_ns;   /* [0] of TRIGGER_PERIOD: 1 ns..1 h */
  int64_t budget_ns;   /* [0] what a plan may take, 0..1 h; 0: no deadline */
  int32_t priority;    /* [0] SCHED_FIFO 1..99; 0: that of the thread that starts it */
  int32_t cpu;         /* [-1] it runs on this one, 0..1023; -1: on any */
  int32_t lock_memory; /* [0] 1: no page of the process leaves memory, now and later */
  int32_t reserved;    /* [0] */
} softmpc_runner_options;

/** Where a command comes from; written where size reaches. */
typedef struct softmpc_command_info {
  size_t size;
  int32_t known;          /* 0: there is no plan yet, the action is rest, the rest says nothing */
  int32_t beyond_horizon; /* 1: the time lies after the plan's last step, the action is rest */
  int32_t from_fallback;
  softmpc_status status;
  uint64_t index; /* of the plan */
  uint64_t bundle_hash;
  int64_t state_time_ns; /* when the state was measured that was planned from */
  int64_t age_ns;        /* the time asked for, less that */
} softmpc_command_info;

/** The defaults; `size` is sizeof(softmpc_runner_options). Nothing happens to NULL. */
SOFTMPC_API void softmpc_runner_options_init(softmpc_runner_options* options, size_t size);

/** Takes `controller`: until softmpc_runner_stop() gives it back its functions answer BUSY, and
 *  softmpc_close() does nothing. `options` may be NULL. On an error, of which `error` is as for
 *  softmpc_open(), *out is NULL and the controller stays the caller's; MEMORY: no thread starts. */
SOFTMPC_API softmpc_result softmpc_runner_start(softmpc_controller* controller,
                                                const softmpc_runner_options* options,
                                                softmpc_runner** out, char* error,
                                                size_t error_size);
/** Waits for a plan that is being made, ends the thread, frees the runner and gives the controller
 *  back; an offer that still waits is dropped. BUSY from a callback. Beside no other call into the
 *  runner. */
SOFTMPC_API softmpc_result softmpc_runner_stop(softmpc_runner* runner, softmpc_controller** out);

/** Hands in `state` [nx], measured at `measured_ns`, which is not 0; `state_count` is its length,
 *  0: nx, unchecked. The latest counts. No wait, no allocation, at most one system call. From one
 *  thread at a time: BUSY for another. ARGUMENT, and the state is not taken, where the length is
 *  not nx or the time is 0; what is wrong inside is a status of the plan. */
SOFTMPC_API softmpc_result softmpc_runner_submit(softmpc_runner* runner, const float* state,
                                                 size_t state_count, int64_t measured_ns);
/** The newest plan's command at `t_ns`, to `action` [nu]: its first step, also before it begins;
 *  later steps clipped to the bounds, without max_rate; then rest. `info` may be NULL. From any
 *  threads at once. No wait, no allocation, no system call. */
SOFTMPC_API softmpc_result softmpc_runner_command_at(const softmpc_runner* runner, int64_t t_ns,
                                                     float* action, softmpc_command_info* info);

/** As softmpc_prepare(), while the runner plans. From any thread. Free what it gives, or have it
 *  taken, before the controller is closed. */
SOFTMPC_API softmpc_result softmpc_runner_prepare(const softmpc_runner* runner, const char* bundle,
                                                  softmpc_prepared** out, char* error,
                                                  size_t error_size);
/** Has the next plan swap nets with `prepared`, which is the runner's from then on. BUSY while an
 *  earlier one waits for its plan, ARGUMENT for what another controller prepared; then it stays the
 *  caller's. From any thread. */
SOFTMPC_API softmpc_result softmpc_runner_offer(softmpc_runner* runner, softmpc_prepared* prepared);

/** The controller's as of the last plan. From any thread. */
SOFTMPC_API softmpc_result softmpc_runner_get_statistics(const softmpc_runner* runner,
                                                         softmpc_statistics* statistics);
/** What the system refused of priority, cpu and lock_memory, a line each, cut as an error is; empty
 *  where nothing was. From any thread. */
SOFTMPC_API softmpc_result softmpc_runner_notes(const softmpc_runner* runner, char* text,
                                                size_t text_size);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
#include "softmpc/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "softmpc/error.h"

namespace softmpc {
namespace {

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

struct ThreadPool::Impl {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake, done;
  bool stopping = false;

  // a run(): guarded by mutex except `next`, which hands out indices
  const std::function<void(int, int)>* task = nullptr;
  int count = 0;
  std::atomic<int> next{0};
  int active = 0;  // workers inside the present run
  std::uint64_t generation = 0;

  std::deque<std::function<void(int)>> jobs;  // waiting to be taken
  int jobs_running = 0;
  std::exception_ptr task_error, job_error;

  /// The run's task and count are arguments, read under the lock: run() takes `task` back while
  /// the last indices are still worked on.
  void take_tasks(const std::function<void(int, int)>& run_task, int run_count, int worker) {
    for (int i = next.fetch_add(1); i < run_count; i = next.fetch_add(1)) {
      try {
        run_task(i, worker);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!task_error) task_error = std::current_exception();
      }
    }
  }

  void take_job(std::unique_lock<std::mutex>& lock, int worker) {
    const std::function<void(int)> mine = std::move(jobs.front());
    jobs.pop_front();
    ++jobs_running;
    lock.unlock();
    std::exception_ptr error;
    try {
      mine(worker);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !job_error) job_error = error;
    if (--jobs_running == 0) done.notify_all();
  }

  void stop() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (auto& worker : workers) worker.join();
    workers.clear();
  }

  void work(int worker) {
    std::unique_lock lock(mutex);
    std::uint64_t seen = 0;
    for (;;) {
      const auto has_task = [&] { return task && generation != seen; };
      wake.wait(lock, [&] { return stopping || !jobs.empty() || has_task(); });
      if (stopping) return;
      if (!has_task()) {
        take_job(lock, worker);
        continue;
      }
      seen = generation;
      ++active;
      const auto& run_task = *task;
      const int run_count = count;
      lock.unlock();
      take_tasks(run_task, run_count, worker);
      lock.lock();
      if (--active == 0) done.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  if (threads < 0 || threads > 4096)
    throw UsageError("threads: " + std::to_string(threads) + " is out of range 0..4096");
  if (threads == 0) threads = available_cores();
  impl_->workers.reserve(threads);
  try {
    for (int i = 1; i < threads; ++i)
      impl_->workers.emplace_back([impl = impl_.get(), i] { impl->work(i); });
  } catch (const std::exception& error) {  // each needs address space for its stack
    const int started = this->threads();
    impl_->stop();
    throw Error("threads: " + std::to_string(started) + " of " + std::to_string(threads) +
                " could start (" + error.what() +
                "): ask for fewer (--threads, trainer.threads), or raise ulimit -v or ulimit -u");
  }
}

ThreadPool::~ThreadPool() { impl_->stop(); }

int ThreadPool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::run(int count, const std::function<void(int, int)>& task) {
  if (count <= 0) return;
  Impl& p = *impl_;
  if (count == 1 || p.workers.empty()) {
    for (int i = 0; i < count; ++i) task(i, 0);
    return;
  }
  {
    std::lock_guard lock(p.mutex);
    p.task = &task;
    p.count = count;
    p.next.store(0);
    p.task_error = nullptr;
    ++p.generation;
  }
  p.wake.notify_all();
  p.take_tasks(task, count, 0);
  std::unique_lock lock(p.mutex);
  p.task = nullptr;  // a worker that has not woken yet finds nothing
  p.done.wait(lock, [&] { return p.active == 0; });
  if (p.task_error) std::rethrow_exception(std::exchange(p.task_error, nullptr));
}

void ThreadPool::start(std::function<void(int)> job) {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->jobs.push_back(std::move(job));
  }
  impl_->wake.notify_one();
}

void ThreadPool::finish() {
  Impl& p = *impl_;
  std::unique_lock lock(p.mutex);
  while (!p.jobs.empty()) p.take_job(lock, 0);
  p.done.wait(lock, [&] { return p.jobs_running == 0; });
  if (p.job_error) std::rethrow_exception(std::exchange(p.job_error, nullptr));
}

}  // namespace softmpc

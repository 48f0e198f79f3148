// SPDX-License-Identifier: Apache-2.0
// A small thread pool that sleeps when there is no work: on shared machines spinning costs more
// than waking.
#pragma once

#include <functional>
#include <memory>

namespace softmpc {

class ThreadPool {
 public:
  /// `threads` workers in all, the calling thread included; 0: one per available core. Throws Error
  /// where the system does not start that many.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  int threads() const;

  /// Calls task(index, worker) for index = 0..count-1, in any order, on all threads; worker is in
  /// [0, threads). Returns when all are done; the first exception is rethrown. Not reentrant.
  void run(int count, const std::function<void(int index, int worker)>& task);

  /// Queues a job of another kind beside the run() calls that follow: a worker takes it when no
  /// task of a run() is left.
  void start(std::function<void(int worker)> job);
  /// Takes part in the queued jobs and waits for all; rethrows the first exception.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc

// SPDX-License-Identifier: Apache-2.0
// Each function of a model is a call on rows of lanes, and all calls pass the same trials.
#include "softmpc/check_models.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr int kLanes = 61;  // no multiple of any vector
constexpr int kThreads = 4;
constexpr std::size_t kAlign = 64, kGuard = 256;  // bytes, of scratch
constexpr std::byte kCanary{0xA5};
constexpr float kUnwritten = -1.2345e33f;  // of results, and about them

/// Rows of lanes with room about them.
struct Rows {
  Rows(int rows, int lanes)
      : count(rows),
        stride(lanes + 5),
        values(static_cast<std::size_t>(rows + 2) * stride, kUnwritten) {}
  float* row(int i) { return values.data() + static_cast<std::size_t>(i + 1) * stride; }
  const float* row(int i) const { return const_cast<Rows*>(this)->row(i); }
  Columns columns() { return {row(0), stride}; }
  ConstColumns columns() const { return {row(0), stride}; }

  int count, stride;
  std::vector<float> values;
};

/// Scratch of just the bytes that a model asks for.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes)
      : bytes_(bytes), memory_(bytes + 2 * kGuard + kAlign, kCanary) {
    void* at = memory_.data() + kGuard;
    std::size_t room = bytes + kAlign;
    begin_ = static_cast<std::byte*>(std::align(kAlign, bytes, at, room));
    std::fill_n(begin_, bytes, std::byte{0xFF});  // NaN, should it be read
  }
  void* get() { return begin_; }
  bool whole() const {
    const auto intact = [](std::byte b) { return b == kCanary; };
    return std::all_of(memory_.begin(), memory_.begin() + (begin_ - memory_.data()), intact) &&
           std::all_of(memory_.begin() + (begin_ + bytes_ - memory_.data()), memory_.end(), intact);
  }

 private:
  std::size_t bytes_;
  std::vector<std::byte> memory_;
  std::byte* begin_;
};

/// A block of lanes on its way through a call.
struct Block {
  Block(int nx, int nu, int results, int lanes)
      : lanes_(lanes), x(nx, lanes), a(nu, lanes), next(nx, lanes), out(results, lanes) {}
  int lanes_;
  Rows x, a, next, out;
  std::vector<std::uint8_t> flags;
};

/// One function of one model. Its results are rows of floats, and flags as a further row.
struct Call {
  std::string name;  // "dynamics, step of member 0"
  int results = 1;
  bool flag = false;  // the last row is written as bytes
  std::function<std::size_t(int count)> scratch;
  std::function<void(Block&, int count, void* scratch)> run;
};

class Check {
 public:
  Check(const Models& models, const ProblemShape& shape, std::uint64_t seed)
      : models_(models),
        shape_(shape),
        random_(seed),
        x_(shape.nx, kLanes),
        a_(shape.nu, kLanes),
        next_(shape.nx, kLanes) {
    draw();
  }

  void all() {
    if (models_.dynamics != nullptr) dynamics();
    if (models_.reward != nullptr) reward();
    const ProblemShape& s = shape_;
    if (const TerminalValue* value = models_.value)
      examine({.name = "value, evaluate",
               .scratch = [value](int count) { return value->scratch_bytes(count); },
               .run =
                   [value](Block& b, int count, void* scratch) {
                     value->evaluate(std::as_const(b.x).columns(), std::as_const(b.a).columns(),
                                     count, b.out.row(0), scratch);
                   }});
    if (const Policy* policy = models_.policy)
      examine({.name = "policy, evaluate",
               .results = s.nu,
               .scratch = [policy](int count) { return policy->scratch_bytes(count); },
               .run =
                   [policy](Block& b, int count, void* scratch) {
                     policy->evaluate(std::as_const(b.x).columns(), count, b.out.columns(),
                                      scratch);
                   }});
  }
  void compare(const cuda::DeviceOptions& device);
  ModelReport report;

 private:
  void find(const std::string& what) { report.findings.push_back(what); }
  void draw();
  void dynamics();
  void reward();
  void examine(const Call& call);
  void first_step(int member, const Call& step);

  Block block_of(const Call& call, const std::vector<int>& lanes) const;
  std::string fault(const Call& call, Block& block) const;
  std::string lane_text(const Call& call, const Block& block, int k, int lane) const;
  bool agree(const Call& call, const Block& got, const std::vector<int>& lanes,
             const std::string& rule);

  const Models& models_;
  const ProblemShape& shape_;
  std::mt19937_64 random_;
  Rows x_, a_, next_;             // of all lanes
  std::vector<float> reference_;  // [kLanes, results] of the call that is examined
  std::vector<int> every_ = [] {
    std::vector<int> lanes(kLanes);
    std::iota(lanes.begin(), lanes.end(), 0);
    return lanes;
  }();
};

void Check::draw() {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> share(0, 1);
  for (int j = 0; j < kLanes; ++j) {
    for (int i = 0; i < shape_.nx; ++i) {
      x_.row(i)[j] = normal(random_);
      next_.row(i)[j] = x_.row(i)[j] + 0.1f * normal(random_);
    }
    for (int i = 0; i < shape_.nu; ++i) {
      const float low = shape_.action_low[static_cast<std::size_t>(i)],
                  high = shape_.action_high[static_cast<std::size_t>(i)];
      const float within = low + share(random_) * (high - low);
      a_.row(i)[j] = std::isfinite(within) ? within : std::clamp(normal(random_), low, high);
    }
  }
}

void Check::dynamics() {
  const DynamicsModel* model = models_.dynamics;
  const int nx = shape_.nx, rewards = model->predicts_reward() ? 1 : 0;
  for (int member = 0; member < model->members(); ++member) {
    Call call = {.name = "dynamics, step of member " + std::to_string(member),
                 .results = nx + rewards + model->predicts_termination(),
                 .flag = model->predicts_termination(),
                 .scratch = [model](int count) { return model->scratch_bytes(count); },
                 .run = {}};
    const auto out = [nx, rewards](Block& b) {
      return StepResult{b.out.columns(), rewards ? b.out.row(nx) : nullptr,
                        b.flags.empty() ? nullptr : b.flags.data() + 1};
    };
    call.run = [model, member, out](Block& b, int count, void* scratch) {
      model->step(member, std::as_const(b.x).columns(), std::as_const(b.a).columns(), count, out(b),
                  scratch);
    };
    examine(call);
    first_step(member, call);
  }
  if (model->members() < 1)
    find("dynamics: has " + std::to_string(model->members()) + " members, must have at least 1");
}

void Check::reward() {
  const RewardModel* model = models_.reward;
  const auto none = [](int) { return std::size_t{0}; };
  examine({.name = "reward, reward", .scratch = none, .run = [model](Block& b, int count, void*) {
             model->reward(std::as_const(b.x).columns(), std::as_const(b.a).columns(),
                           std::as_const(b.next).columns(), count, b.out.row(0));
           }});
  if (model->has_termination())
    examine({.name = "reward, terminated",
             .flag = true,
             .scratch = none,
             .run = [model](Block& b, int count, void*) {
               model->terminated(std::as_const(b.next).columns(), count, b.flags.data() + 1);
             }});
}

/// The inputs of `lanes`, in this order; NaN behind them.
Block Check::block_of(const Call& call, const std::vector<int>& lanes) const {
  const int count = static_cast<int>(lanes.size());
  Block block(shape_.nx, shape_.nu, call.results, count);
  const auto gather = [&](const Rows& from, Rows& to) {
    for (int i = 0; i < from.count; ++i) {
      std::fill_n(to.row(i), to.stride, std::nanf(""));
      for (int k = 0; k < count; ++k)
        to.row(i)[k] = from.row(i)[lanes[static_cast<std::size_t>(k)]];
    }
  };
  gather(x_, block.x);
  gather(a_, block.a);
  gather(next_, block.next);
  if (call.flag) block.flags.assign(static_cast<std::size_t>(count) + 2, std::uint8_t{0xA5});
  return block;
}

bool same_bits(std::span<const float> one, std::span<const float> other) {
  return std::memcmp(one.data(), other.data(), one.size_bytes()) == 0;
}

/// Runs the call, and says what it did beside its work; flags become the last row.
std::string Check::fault(const Call& call, Block& b) const {
  const int count = b.lanes_;
  const Block before = b;
  Scratch scratch(call.scratch(count));
  try {
    call.run(b, count, scratch.get());
  } catch (const std::exception& error) {
    return std::string("throws '") + error.what() + "', which ends a plan as user_error";
  } catch (...) {
    return "throws, which ends a plan as user_error";
  }
  if (!scratch.whole())
    return "writes beyond its " + std::to_string(call.scratch(count)) +
           " bytes of scratch, which scratch_bytes(" + std::to_string(count) + ") gives";
  if (!same_bits(b.x.values, before.x.values) || !same_bits(b.a.values, before.a.values) ||
      !same_bits(b.next.values, before.next.values))
    return "changes its inputs, which are for reading";
  const std::string outside = "writes outside of the " + std::to_string(count) +
                              " lanes of its results, into those of others";
  Rows blank = b.out;  // what should lie about the results
  for (int i = 0; i < blank.count - call.flag; ++i) std::fill_n(blank.row(i), count, kUnwritten);
  if (!same_bits(blank.values, before.out.values)) return outside;
  if (!call.flag) return {};
  if (b.flags.front() != before.flags.front() || b.flags.back() != before.flags.back())
    return outside;
  for (int k = 0; k < count; ++k)
    b.out.row(call.results - 1)[k] = b.flags[static_cast<std::size_t>(k) + 1];
  return {};
}

std::string Check::lane_text(const Call& call, const Block& block, int k, int lane) const {
  std::string text;
  for (int i = 0; i < call.results && text.empty(); ++i) {
    const float value = block.out.row(i)[k];
    const bool flag = call.flag && i + 1 == call.results;
    const std::string where = "result " + std::to_string(i) + " of lane " + std::to_string(lane);
    if (value == kUnwritten || (flag && value == 0xA5))
      text = where + " is not written, must be for every lane";
    else if (flag && value != 0 && value != 1)
      text = where + " is " + std::to_string(static_cast<int>(value)) + ", must be 0 or 1";
    else if (!std::isfinite(value))
      text = where + " is " + std::to_string(value) + ", must be finite for finite inputs";
  }
  return text;
}

/// Whether `got`, the results of `lanes`, has the bits of the reference; finds the first that has
/// not.
bool Check::agree(const Call& call, const Block& got, const std::vector<int>& lanes,
                  const std::string& rule) {
  for (std::size_t k = 0; k < lanes.size(); ++k)
    for (int i = 0; i < call.results; ++i) {
      const float is = got.out.row(i)[k];
      const float was = reference_[static_cast<std::size_t>(lanes[k]) * call.results + i];
      if (std::bit_cast<std::uint32_t>(is) == std::bit_cast<std::uint32_t>(was)) continue;
      find(call.name + ": result " + std::to_string(i) + " of lane " + std::to_string(lanes[k]) +
           " is " + std::to_string(is) + " and was " + std::to_string(was) + ", must be the same " +
           rule);
      return false;
    }
  return true;
}

void Check::examine(const Call& call) {
  Block first = block_of(call, every_);
  std::string wrong = fault(call, first);
  for (int k = 0; k < kLanes && wrong.empty(); ++k) wrong = lane_text(call, first, k, k);
  if (!wrong.empty()) return find(call.name + ": " + wrong);
  reference_.clear();
  for (int k = 0; k < kLanes; ++k)
    for (int i = 0; i < call.results; ++i) reference_.push_back(first.out.row(i)[k]);

  // one after the other: what fails the first trial would fail the others, too
  Block again = block_of(call, every_);
  wrong = fault(call, again);
  if (!wrong.empty()) return find(call.name + ": " + wrong);
  if (!agree(call, again, every_, "when called again")) return;
  for (const int count : {1, 2, 7, 16, 33, kLanes}) {
    std::vector<int> lanes = every_;
    std::shuffle(lanes.begin(), lanes.end(), random_);
    lanes.resize(static_cast<std::size_t>(count));
    Block block = block_of(call, lanes);
    wrong = fault(call, block);
    if (!wrong.empty()) return find(call.name + ": " + wrong);
    if (!agree(call, block, lanes, "at another place of a block of " + std::to_string(count)))
      return;
  }
  std::vector<Block> blocks(kThreads, block_of(call, every_));
  std::vector<std::string> faults(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int round = 0; round < 20 && faults[static_cast<std::size_t>(t)].empty(); ++round) {
          Block& block = blocks[static_cast<std::size_t>(t)] = block_of(call, every_);
          faults[static_cast<std::size_t>(t)] = fault(call, block);
        }
      });
  }
  for (int t = 0; t < kThreads; ++t) {
    const std::string& found = faults[static_cast<std::size_t>(t)];
    if (!found.empty()) return find(call.name + ": beside other threads " + found);
    if (!agree(call, blocks[static_cast<std::size_t>(t)], every_, "beside other threads")) return;
  }
}

/// Two runs of lanes, each of one state.
void Check::first_step(int member, const Call& step) {
  const DynamicsModel* model = models_.dynamics;
  const int half = kLanes / 2;
  Rows kept = x_;
  for (int i = 0; i < shape_.nx; ++i)
    for (int j = 0; j < kLanes; ++j) x_.row(i)[j] = kept.row(i)[j < half ? 0 : half];
  Call first = step;
  first.name = "dynamics, first_step of member " + std::to_string(member);
  first.run = [&](Block& b, int count, void* scratch) {
    const LaneRun runs[] = {{0, half, 0}, {half, count, 1}};
    model->first_step(member, runs, std::as_const(b.x).columns(), std::as_const(b.a).columns(),
                      count,
                      {b.out.columns(), model->predicts_reward() ? b.out.row(shape_.nx) : nullptr,
                       b.flags.empty() ? nullptr : b.flags.data() + 1},
                      scratch);
  };
  Block plain = block_of(step, every_), shared = block_of(first, every_);
  if (fault(step, plain).empty()) {  // else it has been found
    reference_.clear();
    for (int k = 0; k < kLanes; ++k)
      for (int i = 0; i < step.results; ++i) reference_.push_back(plain.out.row(i)[k]);
    const std::string wrong = fault(first, shared);
    if (!wrong.empty())
      find(first.name + ": " + wrong);
    else
      agree(first, shared, every_, "as step() gives");
  }
  x_ = kept;
}

// ---- CPU and device ----

/// V and the refined plan of each problem.
struct Answer {
  std::vector<double> value;
  std::vector<float> plan;
};

Answer solve(Planner& planner, const std::vector<float>& x, std::uint64_t seed) {
  const auto problems = static_cast<std::size_t>(planner.shape().max_problems);
  Answer solved{std::vector<double>(problems), std::vector<float>(problems * planner.plan_size())};
  std::vector<float> action(problems * static_cast<std::size_t>(planner.shape().nu));
  std::vector<PlanStatus> status(problems);
  PlanBatch batch;
  batch.problems = static_cast<int>(problems);
  batch.observation = x;
  batch.plan = solved.plan;
  batch.action = action;
  batch.value = solved.value;
  batch.status = status;
  planner.solve({seed, 0}, batch);
  return solved;
}

/// Plans are sums over rollouts of exponentials: rounding shows, another formula shows more.
void Check::compare(const cuda::DeviceOptions& device) {
  constexpr double kRelative = 2e-3;
  try {
    PlannerConfig config;
    config.rollouts = 64;
    config.horizon = 3;
    config.precision = Precision::float32;
    config.handle_terminations = models_.reward != nullptr && models_.reward->has_termination();
    ProblemShape shape = shape_;
    shape.max_problems = 8;
    const Models models = {models_.dynamics, models_.reward, models_.value};
    std::vector<float> x;
    for (int b = 0; b < shape.max_problems; ++b)
      for (int i = 0; i < shape.nx; ++i) x.push_back(x_.row(i)[b]);
    const std::uint64_t seed = random_();
    const Answer here = solve(*make_planner(config, shape, models), x, seed);
    const Answer there = solve(
        *make_planner(config, shape, models, {.device = Device::cuda, .cuda = &device}), x, seed);
    for (std::size_t b = 0; b < here.value.size(); ++b)
      if (!(std::abs(here.value[b] - there.value[b]) <= kRelative * (1 + std::abs(here.value[b]))))
        return find("device_rules: the value of plan " + std::to_string(b) + " is " +
                    std::to_string(there.value[b]) + " on the device and " +
                    std::to_string(here.value[b]) +
                    " on the CPU, must agree within 0.2 %: text and C++ are not the same formula");
  } catch (const Error& error) {
    find(std::string("device_rules: ") + error.what());
  }
}

void check_sizes(const ProblemShape& s) {
  const auto nu = static_cast<std::size_t>(std::max(s.nu, 0));
  if (s.nx < 1 || s.nu < 1)
    throw UsageError("check_models: the shape has nx " + std::to_string(s.nx) + ", nu " +
                     std::to_string(s.nu) + ", must be positive");
  if (s.action_low.size() != nu || s.action_high.size() != nu)
    throw UsageError("check_models: the shape has " + std::to_string(s.action_low.size()) +
                     " and " + std::to_string(s.action_high.size()) + " bounds, nu is " +
                     std::to_string(s.nu));
  for (std::size_t i = 0; i < nu; ++i)
    if (!(s.action_low[i] <= s.action_high[i]))
      throw UsageError("check_models: the bounds of action " + std::to_string(i) + " are " +
                       std::to_string(s.action_low[i]) + ".." + std::to_string(s.action_high[i]) +
                       ", must not be crossed");
}

}  // namespace

ModelReport check_models(const Models& models, const ProblemShape& shape, std::uint64_t seed,
                         const cuda::DeviceOptions* device) {
  check_sizes(shape);
  Check check(models, shape, seed);
  check.all();
  if (device != nullptr) check.compare(*device);
  return check.report;
}

}  // namespace softmpc

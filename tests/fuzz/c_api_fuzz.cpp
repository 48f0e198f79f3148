// SPDX-License-Identifier: Apache-2.0
// Fuzzes sequences of calls of the C interface, decoded from the input: arguments right and wrong,
// structs in blocks of just the size they say, callbacks that fail.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <memory>

#include "fuzz/fuzz.h"
#include "softmpc/c_api.hpp"

namespace {

using namespace softmpc;
using namespace softmpc::fuzz;

constexpr int kMostCalls = 24;
constexpr int kNx = 12, kNu = 3;  // of a Hopper

/// A bundle in memory, which softmpc_prepare() opens by a path.
struct MemoryFile {
  std::string bytes, path;
  explicit MemoryFile(std::string content) : bytes(std::move(content)) {
    const int file = ::memfd_create("softmpc_fuzz", 0);
    hold(::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
         "the bundle fits into memory");
    path = "/proc/self/fd/" + std::to_string(file);
  }
};

struct Files {
  Bundle bundle = named(8);
  MemoryFile running{bytes_of(bundle)}, other{bytes_of(named(9))},
      misfit{bytes_of(small_bundle(3, 2))};
  static Bundle named(std::uint64_t seed) {
    Bundle b = small_bundle(kNx, kNu, seed);
    b.task = "Hopper";
    return b;
  }
};

const Files& files() {
  static const Files made;
  return made;
}

/// A struct in a block of its own of the size that it says, as far as there is so much of it.
template <class T>
class Sized {
 public:
  Sized(const T& value, std::size_t said) {
    const std::size_t bytes = std::clamp(said, sizeof said, sizeof value);
    block_ = std::make_unique<std::byte[]>(bytes);
    std::memcpy(block_.get(), &value, bytes);
    std::memcpy(block_.get(), &said, sizeof said);
  }
  T* get() { return reinterpret_cast<T*>(block_.get()); }

 private:
  std::unique_ptr<std::byte[]> block_;
};

class Session {
 public:
  Session(const std::uint8_t* data, std::size_t size) : from_(data, size) {}
  ~Session() {
    for (softmpc_prepared*& prepared : prepared_) softmpc_prepared_free(prepared);
    softmpc_close(handle_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void run() {
    open();
    for (int call = 0; call < kMostCalls && from_.remaining_bytes() > 0; ++call) {
      mood_ = from_.ConsumeIntegral<std::uint8_t>();
      one_call();
    }
  }

 private:
  // ---- what is drawn from the input ----

  bool rarely() { return from_.ConsumeIntegral<std::uint8_t>() >= 248; }
  float number() {
    const auto bits = from_.ConsumeIntegral<std::uint32_t>();
    if (bits % 8 != 0) return from_.ConsumeFloatingPointInRange<float>(-2, 2);
    float any = 0;
    std::memcpy(&any, &bits, sizeof any);
    return any;
  }
  std::vector<float> numbers(std::size_t count) {
    std::vector<float> out(count);
    for (float& x : out) x = from_.remaining_bytes() > 0 ? number() : 0.1f;
    return out;
  }
  std::int64_t time() {
    switch (from_.ConsumeIntegralInRange<int>(0, 3)) {
      case 0:
        return 0;
      case 1:
        return from_.ConsumeIntegral<std::int64_t>();
      default:
        return clock_ += from_.ConsumeIntegralInRange<std::int64_t>(-30'000'000, 300'000'000);
    }
  }
  template <class T>
  std::size_t size_of() {
    return rarely() ? from_.ConsumeIntegralInRange<std::size_t>(0, 2 * sizeof(T)) : sizeof(T);
  }
  softmpc_controller* handle() { return rarely() ? nullptr : handle_; }

  // ---- callbacks ----

  std::int32_t fill(float* out, std::int32_t count, float value) {
    // while a handle is opened there is none yet; beside a preparation it may be used
    hold(preparing_ || softmpc_reset(handle_) != SOFTMPC_DONE, "a callback cannot use its handle");
    for (int j = 0; j < count; ++j) out[j] = mood_ % 16 == 1 ? NAN : value;
    return mood_ % 16 == 2;
  }
  static std::int32_t reward(void* user, const float*, const float* a, const float*, std::int32_t,
                             std::int32_t count, float* out) {
    return static_cast<Session*>(user)->fill(out, count, a[0]);
  }
  static std::int32_t value(void* user, const float* x, const float*, std::int32_t,
                            std::int32_t count, float* out) {
    return static_cast<Session*>(user)->fill(out, count, x[0]);
  }
  static std::int32_t step(void* user, const float* x, const float*, std::int32_t stride,
                           std::int32_t count, float* next) {
    std::int32_t failed = 0;
    for (int i = 0; i < kNx; ++i)
      failed |= static_cast<Session*>(user)->fill(next + i * stride, count, x[i * stride]);
    return failed;
  }
  static std::int32_t terminated(void* user, const float*, std::int32_t, std::int32_t count,
                                 std::uint8_t* out) {
    const auto mood = static_cast<Session*>(user)->mood_;
    for (int j = 0; j < count; ++j) out[j] = mood % 8 == 3;
    return mood % 16 == 4;
  }
  static std::int32_t validate(void* user, const float* state, const softmpc_plan_out* plan) {
    hold(state != nullptr && plan->action != nullptr, "a validator sees state and plan");
    return static_cast<Session*>(user)->mood_ % 4;
  }
  static std::int32_t fall_back(void* user, softmpc_status why, const float*, float* action) {
    hold(std::strcmp(softmpc_status_name(why), "unknown") != 0, "a status has a name");
    auto* self = static_cast<Session*>(user);
    return self->fill(action, kNu, static_cast<float>(self->mood_));
  }

  // ---- calls ----

  softmpc_options options() {
    softmpc_options o = c_api::default_options();
    o.seed = from_.ConsumeIntegral<std::uint64_t>();
    if (rarely()) o.threads = from_.ConsumeIntegralInRange<std::int32_t>(-2, 3);
    if (rarely()) o.min_rollouts = from_.ConsumeIntegral<std::int32_t>();
    o.fallback = from_.ConsumeIntegralInRange<std::int32_t>(0, rarely() ? 255 : 3);
    o.max_fallbacks = rarely() ? from_.ConsumeIntegral<std::int32_t>() : 2;
    o.want_predicted = from_.ConsumeIntegralInRange<std::int32_t>(0, rarely() ? 255 : 1);
    o.reading = from_.ConsumeIntegralInRange<std::int32_t>(0, rarely() ? 255 : 1);
    if (rarely()) o.max_state_age_ns = from_.ConsumeIntegral<std::int64_t>();
    if (from_.ConsumeBool()) o.command_delay_ns = from_.ConsumeIntegralInRange<int>(0, 700'000'000);
    if (rarely()) o.command_delay_ns = from_.ConsumeIntegral<std::int64_t>();
    if (rarely()) o.state_margin = number();
    constexpr std::array<const char*, 4> kDevices = {"cpu", "auto", "cuda", "none"};
    if (rarely()) o.device = from_.PickValueInArray(kDevices);
    const unsigned callbacks = from_.ConsumeIntegral<std::uint8_t>();
    if ((callbacks & 3) == 3) o.reward = reward;
    if ((callbacks & 4) != 0) o.terminated = terminated;
    if ((callbacks & 24) == 24) o.step = step;
    if ((callbacks & 96) == 96) o.value = value;
    if ((callbacks & 128) != 0) o.validate = validate;
    o.on_fallback = fall_back;
    o.user = this;
    return o;
  }

  void open() {
    softmpc_options o = options();
    rest_ = numbers(kNu);
    rate_ = numbers(kNu);
    if (rarely()) o.rest = rest_.data();
    if (from_.ConsumeBool()) o.max_rate = rate_.data();
    Sized<softmpc_options> given(o, size_of<softmpc_options>());
    std::string bytes = files().running.bytes;
    while (rarely()) bytes[from_.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1)] ^= 1;
    if (rarely()) bytes.resize(from_.ConsumeIntegralInRange<std::size_t>(0, bytes.size()));
    std::vector<char> text(from_.ConsumeIntegral<std::uint8_t>(), '\n');
    const softmpc_result result = softmpc_open_memory(bytes.data(), bytes.size(), given.get(),
                                                      &handle_, text.data(), text.size());
    hold((result == SOFTMPC_DONE) == (handle_ != nullptr), "a handle is what was opened");
    check_text(result, text);
    rest_.clear();  // they are not kept
    rate_.clear();
  }

  static void check_text(softmpc_result result, const std::vector<char>& text) {
    hold(std::strcmp(softmpc_result_name(result), "unknown") != 0, "a result has a name");
    if (text.empty()) return;
    const auto end = std::ranges::find(text, '\0');
    hold(end != text.end(), "an error's text is terminated");
    hold(std::find(text.begin(), end, '\n') == end, "an error is one line");
  }

  void one_call() {
    switch (from_.ConsumeIntegralInRange<int>(0, 12)) {
      case 0:
        return done(softmpc_reset(handle()));
      case 1:
        return get_sizes();
      case 2:
        return get_statistics();
      case 3:
        return save();
      case 4:
        return load();
      case 5:
        return prepare();
      case 6:
        return done(softmpc_swap(handle(), prepared_[from_.ConsumeBool()]));
      case 7: {
        softmpc_prepared*& prepared = prepared_[from_.ConsumeBool()];
        softmpc_prepared_free(prepared);
        prepared = nullptr;
        return;
      }
      case 8:
        return names();
      default:
        return plan();
    }
  }

  static void done(softmpc_result result) {
    hold(result <= 0 && result >= SOFTMPC_ERROR_INTERNAL, "a result has a number of its own");
    hold(result != SOFTMPC_ERROR_INTERNAL, "no call fails for a reason that nobody knows");
  }

  void plan() {
    softmpc_request request = {};
    std::vector<float> state = numbers(rarely() ? from_.ConsumeIntegral<std::uint8_t>() : kNx);
    request.state = rarely() ? nullptr : state.data();
    request.state_count = state.empty() ? kNx + 1 : state.size();
    request.state_time_ns = time();
    request.deadline_ns = rarely() ? from_.ConsumeIntegral<std::int64_t>() : 0;
    request.now_ns = rarely() ? time() : 0;
    std::vector<float> action(kNu, -9), sequence(3 * kNu), predicted(3 * kNx);
    softmpc_plan_out out = {};
    out.action = rarely() ? nullptr : action.data();
    out.sequence = from_.ConsumeBool() ? sequence.data() : nullptr;
    out.predicted = from_.ConsumeBool() ? predicted.data() : nullptr;
    Sized<softmpc_request> in(request, size_of<softmpc_request>());
    Sized<softmpc_plan_out> to(out, size_of<softmpc_plan_out>());
    const softmpc_status status = softmpc_plan(handle(), in.get(), to.get());
    hold(std::strcmp(softmpc_status_name(status), "unknown") != 0, "a status has a name");
    if (status != SOFTMPC_STATUS_WRONG_ARGUMENT)
      hold_inside(action, files().bundle.action_low, files().bundle.action_high);
  }

  void get_sizes() {
    Sized<softmpc_sizes> sizes({}, size_of<softmpc_sizes>());
    done(softmpc_get_sizes(handle(), sizes.get()));
    std::vector<float> low(kNu), high(kNu);
    done(softmpc_get_bounds(handle(), low.data(), rarely() ? nullptr : high.data()));
  }

  void get_statistics() {
    Sized<softmpc_statistics> statistics({}, size_of<softmpc_statistics>());
    done(softmpc_get_statistics(handle(), statistics.get()));
  }

  void save() {
    softmpc_sizes sizes = {};
    sizes.size = sizeof sizes;
    if (softmpc_get_sizes(handle_, &sizes) != SOFTMPC_DONE) return;
    saved_.assign(rarely() ? from_.ConsumeIntegral<std::uint16_t>() : sizes.state_bytes, 0);
    done(softmpc_save_state(handle(), saved_.data(), saved_.size()));
  }

  void load() {
    while (!saved_.empty() && rarely())
      saved_[from_.ConsumeIntegralInRange<std::size_t>(0, saved_.size() - 1)] ^= 1;
    done(softmpc_load_state(handle(), saved_.data(), saved_.size()));
  }

  void prepare() {
    softmpc_prepared*& prepared = prepared_[from_.ConsumeBool()];
    softmpc_prepared_free(prepared);
    const std::array<const char*, 5> paths = {files().running.path.c_str(),
                                              files().other.path.c_str(),
                                              files().misfit.path.c_str(), "/dev/null", nullptr};
    std::vector<char> text(from_.ConsumeIntegral<std::uint8_t>(), '\n');
    preparing_ = true;
    check_text(softmpc_prepare(handle(), from_.PickValueInArray(paths), &prepared, text.data(),
                               text.size()),
               text);
    preparing_ = false;
  }

  void names() {
    hold(softmpc_status_name(from_.ConsumeIntegral<std::int32_t>()) != nullptr, "any has a name");
    hold(softmpc_result_name(from_.ConsumeIntegral<std::int32_t>()) != nullptr, "any has a name");
    const auto size = from_.ConsumeIntegralInRange<std::size_t>(0, 2 * sizeof(softmpc_options));
    std::vector<std::byte> block(size + alignof(softmpc_options));
    softmpc_options_init(reinterpret_cast<softmpc_options*>(block.data()), size);
  }

  FuzzedDataProvider from_;
  softmpc_controller* handle_ = nullptr;
  std::array<softmpc_prepared*, 2> prepared_ = {};
  std::vector<std::uint8_t> saved_;
  std::vector<float> rest_, rate_;
  std::int64_t clock_ = 5'000'000'000;
  std::uint8_t mood_ = 0;
  bool preparing_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Session(data, size).run();
  return 0;
}

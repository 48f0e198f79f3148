// SPDX-License-Identifier: Apache-2.0
// Fuzzes load_bundle() with a checksum that is right: each bundle is refused in a sentence, or
// gives a controller whose plans are plans, or is refused in a sentence there.
#include <iterator>
#include <random>

#include "fuzz/fuzz.h"
#include "io/safetensors.h"
#include "softmpc/error.h"

namespace {

using namespace softmpc;
using namespace softmpc::fuzz;

/// How far inputs come; a mutator that never gets through would test the first check alone.
struct Tally {
  long inputs = 0, loaded = 0, planned = 0;
  ~Tally() {
    std::fprintf(stderr, "bundle_fuzz: %ld inputs, %ld loaded, %ld planned\n", inputs, loaded,
                 planned);
  }
} tally;

// ---- mutation ----

/// Copies the file with its checksum made right; 0 if it has no such form, or is too long.
std::size_t write(TensorFile& file, std::uint8_t* data, std::size_t most) {
  try {
    file.metadata["checksum"] = content_checksum(file);
    const std::string bytes = encode_safetensors(file);
    if (bytes.size() > most) return 0;
    std::memcpy(data, bytes.data(), bytes.size());
    return bytes.size();
  } catch (const Error&) {
    return 0;
  }
}

template <class Map>
auto any_of(Map& map, std::minstd_rand& random) {
  return std::next(map.begin(), static_cast<std::ptrdiff_t>(random() % map.size()));
}

std::string mutated(std::string text) {
  const std::size_t size = text.size();
  text.resize(size + 32);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  return text;
}

/// Another digit, sign or point, which leaves JSON what it is more often than any other change.
void change_number(std::string& text, std::minstd_rand& random) {
  for (int tries = 0; tries < 50 && !text.empty(); ++tries) {
    char& c = text[random() % text.size()];
    if (std::strchr("0123456789.-", c) == nullptr) continue;
    c = "0123456789.-e"[random() % 13];
    return;
  }
}

void change_metadata(TensorFile& file, std::minstd_rand& random) {
  if (file.metadata.empty()) return;
  const auto entry = any_of(file.metadata, random);
  switch (random() % 16) {
    case 0:
      file.metadata.erase(entry);
      return;
    case 1:
    case 2:
    case 3:
      entry->second = mutated(entry->second);
      return;
    default:
      return change_number(entry->second, random);
  }
}

void change_values(Tensor& tensor, std::minstd_rand& random) {
  if (tensor.bytes.size() < sizeof(float)) return;
  const float strange[] = {0, -0.0f, 1e-42f, 1e20f, -1e30f, 3e38f, NAN, INFINITY};
  const std::size_t at = random() % (tensor.bytes.size() / sizeof(float)) * sizeof(float);
  if (random() % 2 == 0)
    std::memcpy(&tensor.bytes[at], &strange[random() % std::size(strange)], sizeof(float));
  else
    LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(&tensor.bytes[at]), sizeof(float),
                     sizeof(float));
}

const TensorFile& good_file(std::minstd_rand& random) {
  static const std::vector<TensorFile> files = [] {
    std::vector<TensorFile> made;
    for (const Bundle& bundle : good_bundles())
      made.push_back(decode_safetensors(bytes_of(bundle)));
    return made;
  }();
  return files[random() % files.size()];
}

void change_tensor(TensorFile& file, std::minstd_rand& random) {
  if (file.tensors.empty()) return;
  const auto entry = any_of(file.tensors, random);
  Tensor& tensor = entry->second;
  switch (random() % 16) {
    case 0:
      file.tensors.erase(entry);
      return;
    case 1: {
      auto moved = file.tensors.extract(entry);
      moved.key() = mutated(moved.key());
      file.tensors.insert(std::move(moved));
      return;
    }
    case 2: {
      if (tensor.shape.empty()) return;
      tensor.shape[random() % tensor.shape.size()] = static_cast<std::int64_t>(random() % 9);
      std::size_t bytes = element_bytes(tensor.type);
      for (const std::int64_t size : tensor.shape)
        bytes = std::min<std::size_t>(bytes * static_cast<std::size_t>(size), 1 << 20);
      tensor.bytes.resize(bytes);
      return;
    }
    default:
      return change_values(tensor, random);
  }
}

// ---- what is tried ----

/// A legal bundle may ask for hours of work.
void shorten(PlannerConfig& planner) {
  planner.rollouts = std::min(planner.rollouts, 40);
  planner.horizon = std::min(planner.horizon, 4);
  planner.iterations = std::min(planner.iterations, 2);
  if (planner.precision == Precision::automatic) planner.precision = Precision::float32;
}

void play(Controller& controller, const Bundle& bundle) {
  std::vector<float> x(static_cast<std::size_t>(bundle.nx));
  for (int tick = 0; tick < 2; ++tick) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = bundle.critics.normalisation.input_mean[i];
    const Plan& plan = controller.plan(PlanRequest{.observation = x});
    hold_inside(plan.action, bundle.action_low, bundle.action_high);
    hold(plan.from_fallback == !usable(plan.status), "a fallback is what is not usable");
  }
}

template <class Work>
bool done(Work&& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    hold_one_line(error.what());
    return false;
  }
}

/// What plans while bundles are tried.
struct Running {
  Bundle bundle = small_bundle(3, 2);
  testing::TestReward reward{3, 2, false};
  Controller controller{bundle, &reward};
  Running() {
    for (int tick = 0; tick < 3; ++tick) play(controller, bundle);
  }
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  const bool raw = random() % 8 == 0;
  if (raw) size = LLVMFuzzerMutate(data, size, most);
  try {
    // most inputs that bring something new are bundles that are refused: back to good ones
    TensorFile file = random() % 2 == 0 && !raw
                          ? good_file(random)
                          : decode_safetensors({reinterpret_cast<const char*>(data), size});
    for (unsigned k = raw ? 0 : 1 + random() % 3; k > 0; --k)
      random() % 2 == 0 ? change_tensor(file, random) : change_metadata(file, random);
    if (const std::size_t written = write(file, data, most)) return written;
  } catch (const Error&) {  // no such file, or no more
    if (raw) return size;
  }
  return LLVMFuzzerMutate(data, size, most);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Running running;
  ++tally.inputs;
  Bundle bundle;
  if (!done([&] { bundle = load_bundle(std::as_bytes(std::span(data, size)), "fuzzed"); }))
    return 0;
  ++tally.loaded;
  shorten(bundle.planner);
  const testing::TestReward reward(bundle.nx, bundle.nu, false);
  tally.planned += done([&] {
    Controller controller(bundle, bundle.outputs.reward ? nullptr : &reward);
    play(controller, bundle);
  });
  done([&] {
    Prepared prepared(running.controller, bundle);
    running.controller.swap(prepared);
    play(running.controller, bundle);
    running.controller.swap(prepared);
  });
  return 0;
}

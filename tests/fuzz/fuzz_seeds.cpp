// SPDX-License-Identifier: Apache-2.0
// fuzz_seeds FOLDER: writes what the targets' mutations start from, a folder for each target.
#include <filesystem>

#include "fuzz/flight_case.h"
#include "fuzz/state_case.h"

namespace {

using namespace softmpc;
using namespace softmpc::fuzz;

struct Folder {
  std::string path;
  int files = 0;
  Folder(const std::string& root, const char* target) : path(root + "/" + target) {
    std::filesystem::create_directories(path);
  }
  void add(std::span<const std::byte> bytes) {
    write_file_atomically(path + "/seed" + std::to_string(files++), bytes);
  }
  void add(const std::string& bytes) { add(std::as_bytes(std::span(bytes))); }
};

void write_bundles(Folder to) {
  for (const Bundle& bundle : good_bundles()) to.add(bytes_of(bundle));
}

void write_states(Folder to) {
  StateCase c;
  for (std::size_t k = 0; k < c.controllers.size(); ++k)
    for (int tick = 0; tick < 5; ++tick) {
      const std::int64_t time = tick % 2 == 0 ? 5'000'000'000 + tick * 70'000'000 : 0;
      c.controllers[k].plan(
          PlanRequest{.observation = std::vector<float>(3, 0.1f), .state_time = Nanoseconds(time)});
      std::vector<std::byte> input(kStateAt, std::byte(k));
      std::memcpy(&input[1], &time, sizeof time);
      const std::vector<std::byte> state = StateCase::saved(c.controllers[k]);
      input.insert(input.end(), state.begin(), state.end());
      to.add(input);
    }
}

void write_flights(Folder to) {
  const FlightCase flight;
  to.add(std::string(1, '\0') + flight.records);
  to.add(std::string(1, '\0') + flight.records.substr(0, flight.layout.whole));
  const std::size_t length = flight.header.size();
  const std::string text = {static_cast<char>(length % 256), static_cast<char>(length / 256)};
  to.add("\2" + text + flight.header + flight.records.substr(0, flight.layout.whole));
}

void write_calls(Folder to) {
  testing::Random random(5);
  for (const int length : {60, 300, 1000, 3000})
    for (int k = 0; k < 4; ++k) {
      std::string bytes(static_cast<std::size_t>(length), '\0');
      for (char& c : bytes) c = static_cast<char>(random.whole(0, 255));
      to.add(bytes);
    }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  write_bundles({arguments[1], "bundle_fuzz"});
  write_states({arguments[1], "state_fuzz"});
  write_flights({arguments[1], "black_box_fuzz"});
  write_calls({arguments[1], "c_api_fuzz"});
}

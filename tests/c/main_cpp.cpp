// c_api.hpp in a program that ships without us.
#include <softmpc/version.h>
#include <cstdio>
#include <cstring>
#include <softmpc/c_api.hpp>

int main(int, char** argv) {
  try {
    softmpc::c_api::Controller("no such file");
    return 1;
  } catch (const softmpc::c_api::Error& error) {
    if (error.result != SOFTMPC_ERROR_FILE || !std::strstr(error.what(), "no such file")) return 1;
  }
  softmpc_options options = softmpc::c_api::default_options();
  options.max_fallbacks = 5;
  softmpc::c_api::Controller controller(argv[1], options);
  const std::vector<float> state = {1.25f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto saved = controller.save_state();
  const softmpc_plan_out plan = controller.plan(state);
  const std::vector<float> action = controller.action();
  auto prepared = controller.prepare(argv[1]);
  controller.swap(prepared);
  controller.load_state(saved);
  const bool same = controller.plan(state).value == plan.value && controller.action() == action;
  std::printf("%s %s %s\n", softmpc_version(), softmpc_status_name(plan.status),
              same ? "same" : "other");
  return same && controller.statistics().plans == 2 &&
                 std::strcmp(softmpc_version(), SOFTMPC_VERSION_STRING) == 0
             ? 0
             : 1;
}

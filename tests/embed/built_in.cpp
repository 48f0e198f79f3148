// A robot that plays what was trained on a built-in task: its reward needs no simulator.
#include <softmpc/softmpc.h>
#include <softmpc/task_rules.h>
#include <cstdio>
#include <vector>

int main(int, char** argv) {
  const softmpc::Bundle bundle = softmpc::load_bundle(argv[1]);
  const auto reward = softmpc::make_rollout_reward(bundle);
  softmpc::Controller controller(bundle, reward.get());
  const std::vector<float> state(bundle.nx, 0.5f);
  const softmpc::Plan& plan = controller.plan({.observation = state});
  std::printf("%s\n", to_string(plan.status));
  return plan.from_fallback ? 1 : 0;
}

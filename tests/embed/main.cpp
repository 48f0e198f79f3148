#include <softmpc/eigen.h>  // lanes as Eigen arrays; all else needs no Eigen
#include <softmpc/softmpc.h>
#include <cstdio>

// The robot's task: bring position and velocity to 0, cheaply.
struct Rest final : softmpc::RewardModel {
  void reward(softmpc::ConstColumns x, softmpc::ConstColumns a, softmpc::ConstColumns, int count,
              float* out) const override {
    softmpc::row(out, count) = -row(x, 0, count).square() - 0.1f * row(x, 1, count).square() -
                               0.1f * row(a, 0, count).square();
  }
};

int main(int, char** argv) {
  const softmpc::Bundle bundle = softmpc::load_bundle(argv[1]);  // what training wrote
  const Rest reward;
  softmpc::Controller controller(bundle, &reward, {.seed = 1, .threads = 1});
  float state[] = {1, 0};  // position, velocity
  for (int tick = 0; tick < 100; ++tick) {
    const softmpc::Plan& plan = controller.plan(state);
    state[0] += 0.1f * state[1];  // the robot, here a double integrator
    state[1] += 0.1f * plan.action[0];
    if (tick % 33 == 0)
      std::printf("t %.1f  position %+.2f  status %s\n", tick * 0.1, state[0],
                  to_string(plan.status));
  }
}

#include <softmpc/check_models.h>
#include <softmpc/rules.h>
#include <cstdio>

SOFTMPC_RULES(
    kCart, struct Cart {  // a point on a line, to be brought to 0
      static constexpr bool has_termination = false;
      template <class X, class A, class Next>
      SOFTMPC_HD static void step(const X& x, const A& a, Next& next) {
        next[0] = x[0] + 0.1f * x[1];
        next[1] = x[1] + 0.1f * a[0];
      }
      template <class X, class A, class Next>
      SOFTMPC_HD static float reward(const X&, const A& a, const Next& next) {
        return -next[0] * next[0] - 0.1f * a[0] * a[0];
      }
    };)

int main() {
  const softmpc::RuleDynamics<Cart> dynamics(kCart);
  const softmpc::RuleReward<Cart> reward(kCart);
  const softmpc::ProblemShape shape = {.nx = 2, .nu = 1, .action_low = {-1}, .action_high = {1}};
  const softmpc::ModelReport report = softmpc::check_models({&dynamics, &reward}, shape, 1);
  for (const auto& finding : report.findings) std::printf("%s\n", finding.c_str());
  return report.passed() ? 0 : 1;
}

#include <softmpc/c_api.h>
#include <stdio.h>

int main(int argc, char** argv) {
  softmpc_options options;
  softmpc_options_init(&options, sizeof options);
  options.fallback = SOFTMPC_FALLBACK_HOLD; /* the last command again, where there is no plan */

  char error[200];
  softmpc_controller* controller = NULL;
  if (argc < 2 || softmpc_open(argv[1], &options, &controller, error, sizeof error)) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: plan BUNDLE" : error);
    return 1;
  }
  float state[11] = {1.25f}; /* Hopper: height, angles, then velocities; here it stands still */
  float action[3];           /* torques of thigh, leg and foot */
  softmpc_sizes sizes = {.size = sizeof sizes};
  softmpc_get_sizes(controller, &sizes);
  if (sizes.nx != 11 || sizes.nu != 3) return 1;

  for (int tick = 0; tick < 3; ++tick) {
    const softmpc_request request = {.size = sizeof request, .state = state, .state_count = 11};
    softmpc_plan_out plan = {.size = sizeof plan, .action = action};
    softmpc_plan(controller, &request, &plan);
    printf("status %s  torques %+.2f %+.2f %+.2f\n", softmpc_status_name(plan.status),
           (double)action[0], (double)action[1], (double)action[2]);
  }
  softmpc_close(controller);
  return 0;
}

// A robot's shared library that plans: it exports this function, and nothing of softmpc's.
#include <softmpc/softmpc.h>

extern "C" int softmpc_plugin_state_size(const char* bundle) {
  return softmpc::load_bundle(bundle).nx;
}

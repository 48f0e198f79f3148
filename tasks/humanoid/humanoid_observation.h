// SPDX-License-Identifier: Apache-2.0
// What Humanoid and HumanoidStandup share in the simulator.
#pragma once

#include "../mujoco_task.h"

namespace softmpc::tasks {

/// Positions (from z on unless `view.positions`), velocities; then, unless `view` leaves it out, of
/// every body but the world inertia and velocity about the centre of mass; actuator forces of the
/// joints; contact forces.
inline void observe_humanoid(const mjModel& m, const mjData& d, const TaskOptions& view,
                             ObservationWriter& out) {
  const int first = view.positions ? 0 : 2;
  const int bodies = static_cast<int>(m.nbody) - 1;
  out.add(d.qpos + first, static_cast<int>(m.nq) - first);
  out.add(d.qvel, static_cast<int>(m.nv));
  if (!view.bodies) return;
  out.add(d.cinert + 10, 10 * bodies);
  out.add(d.cvel + 6, 6 * bodies);
  out.add(d.qfrc_actuator + 6, static_cast<int>(m.nv) - 6);
  out.add(d.cfrc_ext + 6, 6 * bodies);
}

/// |contact forces|^2 over all bodies
inline double contact_squared(const mjModel& m, const mjData& d) {
  double sum = 0;
  for (int i = 0; i < 6 * m.nbody; ++i) sum += d.cfrc_ext[i] * d.cfrc_ext[i];
  return sum;
}

}  // namespace softmpc::tasks

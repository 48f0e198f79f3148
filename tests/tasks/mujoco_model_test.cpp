// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/mujoco_model.cpp, and that the MJCF files hold every recorded constant.
#include "mujoco_model.h"

#include "golden.h"
#include "task_files.h"

namespace softmpc::tasks {
namespace {

std::string folder_of(const std::string& task) {
  std::string folder;
  for (char c : task) {
    if (c >= 'A' && c <= 'Z') {
      if (!folder.empty()) folder += '_';
      c = static_cast<char>(c - 'A' + 'a');
    }
    folder += c;
  }
  return folder;
}

std::string_view mjcf_of(const std::string& task) {
  const std::string path = folder_of(task) + "/" + folder_of(task) + ".xml";
  for (const auto& file : task_files()) {
    if (path == file.name) return file.text;
  }
  throw Error("no " + path);
}

class Constants : public testing::TestWithParam<std::string> {};

/// Compares recorded entries of one object with a compiled array.
void expect_equal(const nlohmann::json& recorded, const mjtNum* compiled, const std::string& what) {
  if (recorded.is_array()) {
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      EXPECT_DOUBLE_EQ(compiled[i], recorded[i].get<double>()) << what << "[" << i << "]";
    }
  } else {
    EXPECT_DOUBLE_EQ(*compiled, recorded.get<double>()) << what;
  }
}

TEST_P(Constants, Bodies) {
  const nlohmann::json file = read_golden("mjmodel/" + GetParam() + ".json");
  const ModelPointer m = parse_model(GetParam(), mjcf_of(GetParam()));
  ASSERT_EQ(m->nbody, file.at("sizes").at("nbody").get<int>());
  int i = 0;
  for (const auto& body : file.at("body")) {
    const std::string what = "body " + std::to_string(i) + " ";
    EXPECT_EQ(m->body_parentid[i], body.at("parent").get<int>());
    expect_equal(body.at("pos"), m->body_pos + 3 * i, what + "pos");
    expect_equal(body.at("quat"), m->body_quat + 4 * i, what + "quat");
    expect_equal(body.at("ipos"), m->body_ipos + 3 * i, what + "ipos");
    expect_equal(body.at("iquat"), m->body_iquat + 4 * i, what + "iquat");
    expect_equal(body.at("mass"), m->body_mass + i, what + "mass");
    expect_equal(body.at("inertia"), m->body_inertia + 3 * i, what + "inertia");
    ++i;
  }
}

TEST_P(Constants, Joints) {
  const nlohmann::json file = read_golden("mjmodel/" + GetParam() + ".json");
  const ModelPointer m = parse_model(GetParam(), mjcf_of(GetParam()));
  ASSERT_EQ(m->njnt, file.at("sizes").at("njnt").get<int>());
  int i = 0;
  for (const auto& joint : file.at("joint")) {
    const std::string what = "joint " + std::to_string(i) + " ";
    EXPECT_EQ(m->jnt_type[i], joint.at("type").get<int>()) << what;
    EXPECT_EQ(m->jnt_bodyid[i], joint.at("body").get<int>()) << what;
    EXPECT_EQ(static_cast<int>(m->jnt_limited[i]), joint.at("limited").get<int>()) << what;
    expect_equal(joint.at("pos"), m->jnt_pos + 3 * i, what + "pos");
    expect_equal(joint.at("axis"), m->jnt_axis + 3 * i, what + "axis");
    expect_equal(joint.at("range"), m->jnt_range + 2 * i, what + "range");
    expect_equal(joint.at("margin"), m->jnt_margin + i, what + "margin");
    expect_equal(joint.at("solref"), m->jnt_solref + mjNREF * i, what + "solref");
    expect_equal(joint.at("solimp"), m->jnt_solimp + mjNIMP * i, what + "solimp");
    ++i;
  }
  i = 0;
  for (const auto& dof : file.at("dof")) {
    const std::string what = "dof " + std::to_string(i) + " ";
    expect_equal(dof.at("armature"), m->dof_armature + i, what + "armature");
    expect_equal(dof.at("frictionloss"), m->dof_frictionloss + i, what + "frictionloss");
    ++i;
  }
  expect_equal(file.at("qpos0"), m->qpos0, "qpos0");
  expect_equal(file.at("qpos_spring"), m->qpos_spring, "qpos_spring");
}

TEST_P(Constants, Geoms) {
  const nlohmann::json file = read_golden("mjmodel/" + GetParam() + ".json");
  const ModelPointer m = parse_model(GetParam(), mjcf_of(GetParam()));
  ASSERT_EQ(m->ngeom, file.at("sizes").at("ngeom").get<int>());
  int i = 0;
  for (const auto& geom : file.at("geom")) {
    const std::string what = "geom " + std::to_string(i) + " ";
    EXPECT_EQ(m->geom_type[i], geom.at("type").get<int>()) << what;
    EXPECT_EQ(m->geom_bodyid[i], geom.at("body").get<int>()) << what;
    EXPECT_EQ(m->geom_contype[i], geom.at("contype").get<int>()) << what;
    EXPECT_EQ(m->geom_conaffinity[i], geom.at("conaffinity").get<int>()) << what;
    EXPECT_EQ(m->geom_condim[i], geom.at("condim").get<int>()) << what;
    EXPECT_EQ(m->geom_priority[i], geom.at("priority").get<int>()) << what;
    expect_equal(geom.at("size"), m->geom_size + 3 * i, what + "size");
    expect_equal(geom.at("pos"), m->geom_pos + 3 * i, what + "pos");
    expect_equal(geom.at("quat"), m->geom_quat + 4 * i, what + "quat");
    expect_equal(geom.at("friction"), m->geom_friction + 3 * i, what + "friction");
    expect_equal(geom.at("margin"), m->geom_margin + i, what + "margin");
    expect_equal(geom.at("gap"), m->geom_gap + i, what + "gap");
    expect_equal(geom.at("solmix"), m->geom_solmix + i, what + "solmix");
    expect_equal(geom.at("solref"), m->geom_solref + mjNREF * i, what + "solref");
    expect_equal(geom.at("solimp"), m->geom_solimp + mjNIMP * i, what + "solimp");
    ++i;
  }
}

TEST_P(Constants, ActuatorsTendonsAndOptions) {
  const nlohmann::json file = read_golden("mjmodel/" + GetParam() + ".json");
  const ModelPointer m = parse_model(GetParam(), mjcf_of(GetParam()));
  ASSERT_EQ(m->nu, file.at("sizes").at("nu").get<int>());
  int i = 0;
  for (const auto& actuator : file.at("actuator")) {
    const std::string what = "actuator " + std::to_string(i) + " ";
    EXPECT_EQ(m->actuator_trnid[2 * i], actuator.at("joint").get<int>()) << what;
    EXPECT_EQ(static_cast<int>(m->actuator_ctrllimited[i]), actuator.at("ctrllimited").get<int>());
    EXPECT_EQ(static_cast<int>(m->actuator_forcelimited[i]),
              actuator.at("forcelimited").get<int>());
    expect_equal(actuator.at("gear"), m->actuator_gear + 6 * i, what + "gear");
    expect_equal(actuator.at("ctrlrange"), m->actuator_ctrlrange + 2 * i, what + "ctrlrange");
    expect_equal(actuator.at("gainprm"), m->actuator_gainprm + mjNGAIN * i, what + "gainprm");
    expect_equal(actuator.at("biasprm"), m->actuator_biasprm + mjNBIAS * i, what + "biasprm");
    ++i;
  }
  EXPECT_EQ(m->ntendon, file.at("sizes").at("ntendon").get<int>());
  EXPECT_EQ(m->nexclude, file.at("sizes").at("nexclude").get<int>());
  EXPECT_EQ(m->nsite, file.at("sizes").at("nsite").get<int>());
  const auto& option = file.at("option");
  expect_equal(option.at("timestep"), &m->opt.timestep, "timestep");
  expect_equal(option.at("gravity"), m->opt.gravity, "gravity");
  expect_equal(option.at("density"), &m->opt.density, "density");
  expect_equal(option.at("viscosity"), &m->opt.viscosity, "viscosity");
  expect_equal(option.at("impratio"), &m->opt.impratio, "impratio");
  expect_equal(option.at("tolerance"), &m->opt.tolerance, "tolerance");
  expect_equal(option.at("ls_tolerance"), &m->opt.ls_tolerance, "ls_tolerance");
  EXPECT_EQ(m->opt.integrator, option.at("integrator").get<int>());
  EXPECT_EQ(m->opt.solver, option.at("solver").get<int>());
  EXPECT_EQ(m->opt.cone, option.at("cone").get<int>());
  EXPECT_EQ(m->opt.jacobian, option.at("jacobian").get<int>());
  EXPECT_EQ(m->opt.iterations, option.at("iterations").get<int>());
  EXPECT_EQ(m->opt.ls_iterations, option.at("ls_iterations").get<int>());
  EXPECT_EQ(m->opt.disableflags, option.at("disableflags").get<int>());
  EXPECT_EQ(m->opt.enableflags, option.at("enableflags").get<int>());
}

INSTANTIATE_TEST_SUITE_P(Tasks, Constants, testing::ValuesIn(simulated_tasks()), task_of);

TEST(MujocoModel, ReportsWrongMjcf) {
  EXPECT_NE(message_of([] { parse_model("Toy", "<mujoco"); }).find("Toy: MJCF is not readable: "),
            std::string::npos);
  const std::string message = message_of(
      [] { parse_model("Toy", "<mujoco><worldbody><body><joint/></body></worldbody></mujoco>"); });
  EXPECT_NE(message.find("Toy: MJCF does not compile: "), std::string::npos) << message;
}

TEST(MujocoModel, TurnsErrorsIntoExceptions) {
  const MujocoScope quiet;
  EXPECT_EQ(message_of([] { mju_error("out of %s", "luck"); }), "MuJoCo: out of luck");
}

TEST(MujocoModel, DropsWarningsOnlyWhereAsked) {
  testing::internal::CaptureStderr();
  {
    const MujocoScope quiet;
    mju_warning("inside");
  }
  mju_warning("outside");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("inside"), std::string::npos);
  EXPECT_NE(text.find("outside"), std::string::npos);
}

}  // namespace
}  // namespace softmpc::tasks

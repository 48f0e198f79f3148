# Defines softmpc::mujoco. Looked for in MUJOCO_ROOT (variable or environment), by
# find_package(mujoco) in mujoco_DIR and CMAKE_PREFIX_PATH, then in SOFTMPC_DEPS_DIR.
# Also installed: the package file of softmpc reads it.
set(SOFTMPC_MUJOCO_MINIMUM 3.0.0)

function(softmpc_find_mujoco)
  if(TARGET softmpc::mujoco)
    return()
  endif()
  if(NOT MUJOCO_ROOT AND NOT "$ENV{MUJOCO_ROOT}" STREQUAL "")
    set(MUJOCO_ROOT "$ENV{MUJOCO_ROOT}")
  endif()

  set(root "")
  if(MUJOCO_ROOT)
    set(root "${MUJOCO_ROOT}")
  else()
    find_package(mujoco 3 CONFIG QUIET)
    if(TARGET mujoco::mujoco)
      add_library(softmpc::mujoco INTERFACE IMPORTED)
      target_link_libraries(softmpc::mujoco INTERFACE mujoco::mujoco)
      message(STATUS "softmpc: MuJoCo ${mujoco_VERSION} in ${mujoco_DIR}")
      return()
    endif()
    set(root "${SOFTMPC_DEPS_DIR}/mujoco")
  endif()

  # The release archives keep the library in lib/, the Python wheel beside include/.
  file(GLOB libraries "${root}/lib/libmujoco.so*" "${root}/libmujoco.so*" "${root}/lib/libmujoco.dylib")
  set(header "${root}/include/mujoco/mujoco.h")
  if(NOT EXISTS "${header}" OR NOT libraries)
    message(FATAL_ERROR "softmpc: MuJoCo not found in '${root}' (needs include/mujoco/mujoco.h and lib/libmujoco.so): "
      "run tools/setup, or set -DMUJOCO_ROOT=FOLDER, or -DSOFTMPC_WITH_TASKS=OFF -DSOFTMPC_WITH_TRAIN=OFF")
  endif()
  list(GET libraries 0 library)
  file(STRINGS "${header}" line REGEX "#define mjVERSION_HEADER")
  string(REGEX REPLACE "[^0-9]*([0-9]+).*" "\\1" number "${line}")
  # 3.3.7 is written 337; later versions have three digits for each part, 4.0.0 is 4000000.
  if(number LESS 1000000)
    math(EXPR major "${number} / 100")
    math(EXPR minor "${number} / 10 % 10")
    math(EXPR patch "${number} % 10")
  else()
    math(EXPR major "${number} / 1000000")
    math(EXPR minor "${number} / 1000 % 1000")
    math(EXPR patch "${number} % 1000")
  endif()
  set(version "${major}.${minor}.${patch}")
  if(version VERSION_LESS SOFTMPC_MUJOCO_MINIMUM)
    message(FATAL_ERROR "softmpc: MuJoCo in '${root}' is version ${version}, at least ${SOFTMPC_MUJOCO_MINIMUM} is needed")
  endif()

  add_library(softmpc::mujoco SHARED IMPORTED)
  set_target_properties(softmpc::mujoco PROPERTIES
    IMPORTED_LOCATION "${library}"
    INTERFACE_INCLUDE_DIRECTORIES "${root}/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${root}/include")
  message(STATUS "softmpc: MuJoCo ${version} in ${root}")
endfunction()

softmpc_find_mujoco()

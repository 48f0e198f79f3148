# Defines softmpc::libtorch. Looked for in Torch_DIR (variable or environment; either LibTorch's
# root or its share/cmake/Torch), in CMAKE_PREFIX_PATH, then in SOFTMPC_DEPS_DIR.
# Also installed: the package file of softmpc reads it.
#
# LibTorch's own package file is not used: that of a CUDA build demands a whole CUDA
# toolkit, even of a program that computes on the CPU.
set(SOFTMPC_TORCH_MINIMUM 2.6)  # the first whose packages use the C++11 ABI

function(softmpc_find_torch)
  if(TARGET softmpc::libtorch)
    return()
  endif()
  if(NOT Torch_DIR AND NOT "$ENV{Torch_DIR}" STREQUAL "")
    set(Torch_DIR "$ENV{Torch_DIR}")
  endif()

  set(root "")
  if(Torch_DIR)
    string(REGEX REPLACE "/share/cmake/Torch/?$" "" root "${Torch_DIR}")
  else()
    # Only where the user points: a distribution's own LibTorch is old and slow.
    string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
    foreach(prefix IN LISTS CMAKE_PREFIX_PATH environment_prefixes)
      if(NOT root AND EXISTS "${prefix}/include/torch/csrc/api/include/torch/torch.h")
        set(root "${prefix}")
      endif()
    endforeach()
    if(NOT root)
      set(root "${SOFTMPC_DEPS_DIR}/torch")
    endif()
  endif()

  set(api "${root}/include/torch/csrc/api/include")
  if(NOT EXISTS "${api}/torch/torch.h" OR NOT EXISTS "${root}/lib/libtorch_cpu.so")
    message(FATAL_ERROR "softmpc: LibTorch not found in '${root}' (needs include/torch and lib/libtorch_cpu.so): "
      "run tools/setup, or set -DTorch_DIR=FOLDER, or -DSOFTMPC_WITH_TORCH=OFF")
  endif()
  set(version unknown)
  if(EXISTS "${root}/include/torch/headeronly/version.h")
    set(version_header "${root}/include/torch/headeronly/version.h")
  else()
    set(version_header "${api}/torch/version.h")
  endif()
  if(EXISTS "${version_header}")
    set(numbers "")
    foreach(part MAJOR MINOR PATCH)
      file(STRINGS "${version_header}" line REGEX "#define TORCH_VERSION_${part} ")
      string(REGEX MATCH "[0-9]+$" number "${line}")
      list(APPEND numbers "${number}")
    endforeach()
    list(JOIN numbers "." version)
    if(version VERSION_LESS SOFTMPC_TORCH_MINIMUM)
      message(FATAL_ERROR "softmpc: LibTorch in '${root}' is version ${version}, at least ${SOFTMPC_TORCH_MINIMUM} is needed")
    endif()
  endif()

  add_library(softmpc::c10 SHARED IMPORTED)
  set_target_properties(softmpc::c10 PROPERTIES IMPORTED_LOCATION "${root}/lib/libc10.so")
  add_library(softmpc::libtorch SHARED IMPORTED)
  set_target_properties(softmpc::libtorch PROPERTIES
    IMPORTED_LOCATION "${root}/lib/libtorch_cpu.so"
    INTERFACE_INCLUDE_DIRECTORIES "${root}/include;${api}"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${root}/include;${api}"
    INTERFACE_LINK_LIBRARIES softmpc::c10)
  # What libtorch_cpu itself needs is found by its own rpath at run time, by these when linking.
  foreach(folder "${root}/lib" "${root}/../nvidia/cu13/lib")
    if(EXISTS "${folder}")
      target_link_options(softmpc::libtorch INTERFACE "LINKER:-rpath-link,${folder}")
    endif()
  endforeach()
  # The CUDA half registers itself when loaded; no symbol of it is named, so it must be linked by force.
  if(EXISTS "${root}/lib/libtorch_cuda.so" AND EXISTS "${root}/../nvidia/cudnn/lib")
    target_link_options(softmpc::libtorch INTERFACE
      "LINKER:--push-state,--no-as-needed,${root}/lib/libtorch_cuda.so,--pop-state")
  endif()
  message(STATUS "softmpc: LibTorch ${version} in ${root}")
endfunction()

softmpc_find_torch()

# softmpc_find_onednn(FOUND): defines softmpc::onednn where oneDNN and OpenMP are found, else sets FOUND to
# OFF and the reason to FOUND_reason. Looked for by header and library: Debian's own package file stops the
# configuration where the OpenCL headers are missing, which nothing here uses.
# Also installed: the package file of softmpc reads it.
set(SOFTMPC_ONEDNN_MINIMUM 2.5)

function(softmpc_find_onednn found)
  set(${found} OFF PARENT_SCOPE)
  if(TARGET softmpc::onednn)
    set(${found} ON PARENT_SCOPE)
    return()
  endif()
  find_path(SOFTMPC_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp)
  find_library(SOFTMPC_ONEDNN_LIBRARY dnnl)
  if(NOT SOFTMPC_ONEDNN_INCLUDE OR NOT SOFTMPC_ONEDNN_LIBRARY)
    set(${found}_reason "oneDNN not found: install libdnnl-dev" PARENT_SCOPE)
    return()
  endif()
  # its team size is set through the runtime that both link
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(NOT TARGET OpenMP::OpenMP_CXX)
    set(${found}_reason "the compiler has no OpenMP" PARENT_SCOPE)
    return()
  endif()
  set(numbers "")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${SOFTMPC_ONEDNN_INCLUDE}/oneapi/dnnl/dnnl_version.h" line REGEX "#define DNNL_VERSION_${part} ")
    string(REGEX MATCH "[0-9]+$" number "${line}")
    list(APPEND numbers "${number}")
  endforeach()
  list(JOIN numbers "." version)
  if(version VERSION_LESS SOFTMPC_ONEDNN_MINIMUM)
    set(${found}_reason "oneDNN is version ${version}, at least ${SOFTMPC_ONEDNN_MINIMUM} is needed" PARENT_SCOPE)
    return()
  endif()
  add_library(softmpc::onednn SHARED IMPORTED GLOBAL)
  set_target_properties(softmpc::onednn PROPERTIES
    IMPORTED_LOCATION "${SOFTMPC_ONEDNN_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${SOFTMPC_ONEDNN_INCLUDE}"
    INTERFACE_LINK_LIBRARIES OpenMP::OpenMP_CXX)
  set(${found} ON PARENT_SCOPE)
  message(STATUS "softmpc: oneDNN ${version} in ${SOFTMPC_ONEDNN_LIBRARY}")
endfunction()

# Where programs look for MuJoCo and LibTorch. In the build tree relative to themselves, where these lie in
# the checkout, so that it can be moved; once installed, in the places themselves. CMake would pad the build
# tree's path so that installing can rewrite it, and its padding is an empty entry: the current folder.
# So we give that path ourselves, and rewrite it ourselves.

# softmpc_library_folders(OUT): of the libraries that tools/setup fetched or a user named.
function(softmpc_library_folders out)
  set(folders "")
  foreach(library softmpc::libtorch softmpc::c10 softmpc::mujoco mujoco::mujoco)
    if(TARGET ${library})
      get_target_property(type ${library} TYPE)
      get_target_property(file ${library} IMPORTED_LOCATION)
      if(type STREQUAL "SHARED_LIBRARY" AND file)
        get_filename_component(folder "${file}" DIRECTORY)
        list(APPEND folders "${folder}")
      endif()
    endif()
  endforeach()
  list(REMOVE_DUPLICATES folders)
  set(${out} "${folders}" PARENT_SCOPE)
endfunction()

# softmpc_install_run_path(program): see above; what CMake does for paths that it gave itself.
function(softmpc_install_run_path program)
  softmpc_library_folders(folders)
  list(JOIN folders ":" path)
  install(CODE "file(RPATH_SET
    FILE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/$<TARGET_FILE_NAME:${program}>\"
    NEW_RPATH \"${path}\")")
endfunction()

if(NOT softmpc_top)
  return()
endif()

set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # folders outside the checkout, as they are
set(CMAKE_INSTALL_RPATH "")
softmpc_library_folders(softmpc_folders)
# the loader's $ORIGIN is a path without links
file(REAL_PATH "${PROJECT_SOURCE_DIR}" softmpc_real_source)
file(REAL_PATH "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}" softmpc_real_programs)
cmake_path(IS_PREFIX softmpc_real_source "${softmpc_real_programs}" softmpc_programs_inside)
file(RELATIVE_PATH softmpc_up "${softmpc_real_programs}" "${softmpc_real_source}")
foreach(folder IN LISTS softmpc_folders)
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR "${folder}" inside)
  if(inside AND softmpc_programs_inside)
    file(RELATIVE_PATH inner "${PROJECT_SOURCE_DIR}" "${folder}")
    list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/${softmpc_up}${inner}")
  elseif(inside)
    list(APPEND CMAKE_INSTALL_RPATH "${folder}")
  endif()
endforeach()
# room for the path of the installed program
string(LENGTH "${CMAKE_INSTALL_RPATH}" softmpc_length)
string(LENGTH "${softmpc_folders}" softmpc_needed)
while(softmpc_length GREATER 0 AND softmpc_length LESS softmpc_needed)
  string(APPEND CMAKE_INSTALL_RPATH "/.")
  math(EXPR softmpc_length "${softmpc_length} + 2")
endwhile()

# Installation: one export set per component, so that core can be used where MuJoCo and LibTorch are not.
include(CMakePackageConfigHelpers)
set(softmpc_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/softmpc")

foreach(component core cuda rules tasks train c)
  if(TARGET softmpc_${component})
    set_target_properties(softmpc_${component} PROPERTIES EXPORT_NAME ${component})
    # core and cuda call each other, so one export set holds both; rules belong to every robot
    set(export softmpc_${component})
    if(component MATCHES "^(cuda|rules)$")
      set(export softmpc_core)
    endif()
    install(TARGETS softmpc_${component} EXPORT ${export}
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    if(component STREQUAL "train")
      set_target_properties(softmpc_torch PROPERTIES EXPORT_NAME torch)
      install(TARGETS softmpc_torch EXPORT softmpc_train ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    endif()
    if(export STREQUAL "softmpc_${component}")
      install(EXPORT softmpc_${component} NAMESPACE softmpc:: DESTINATION ${softmpc_package_dir}
        FILE softmpc_${component}Targets.cmake)
    endif()
  endif()
endforeach()
set(softmpc_absent "")  # headers of what is not built
if(NOT TARGET softmpc_c)
  list(APPEND softmpc_absent PATTERN "c_api.h*" EXCLUDE)
endif()
if(NOT TARGET softmpc_train)
  list(APPEND softmpc_absent PATTERN "train" EXCLUDE)
endif()
install(DIRECTORY include/softmpc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" ${softmpc_absent})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET softmpc)
  install(TARGETS softmpc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  softmpc_install_run_path(softmpc)
  if(NOT CMAKE_CROSSCOMPILING)  # what the program prints of itself
    install(CODE "set(program \"$<TARGET_FILE:softmpc>\")\nset(data_dir \"${CMAKE_INSTALL_DATADIR}\")")
    install(SCRIPT tools/cmake/softmpc_install_words.cmake)
  endif()
endif()

configure_package_config_file(tools/cmake/softmpcConfig.cmake.in
  ${PROJECT_BINARY_DIR}/softmpcConfig.cmake INSTALL_DESTINATION ${softmpc_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/softmpcConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/softmpcConfig.cmake
  ${PROJECT_BINARY_DIR}/softmpcConfigVersion.cmake
  tools/cmake/softmpc_torch.cmake
  tools/cmake/softmpc_mujoco.cmake
  tools/cmake/softmpc_onednn.cmake
  DESTINATION ${softmpc_package_dir})

# The core for those who do not use CMake. Its folders follow the file, so the tree can be moved.
file(RELATIVE_PATH softmpc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
if(SOFTMPC_WITH_ONEDNN)
  set(softmpc_pkg_libraries "-ldnnl -fopenmp")
endif()
configure_file(tools/cmake/softmpc.pc.in ${PROJECT_BINARY_DIR}/softmpc.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/softmpc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TARGET softmpc_c)
  configure_file(tools/cmake/softmpc-c.pc.in ${PROJECT_BINARY_DIR}/softmpc-c.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/softmpc-c.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

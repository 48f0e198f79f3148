# softmpc_embed(TARGET tgt [NAMESPACE softmpc::detail] [ROOT folder] NAME function FILES a.xml b.json ...)
# compiles text files into a target. The generated header "function.h" declares
#   std::span<const softmpc::detail::EmbeddedFile> NAMESPACE::function();
# in the order given; a file's name is its path as written in FILES, below ROOT (the current source folder).
function(softmpc_embed)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET;NAMESPACE;ROOT;NAME" "FILES")
  foreach(required TARGET NAME FILES)
    if(NOT arg_${required})
      message(FATAL_ERROR "softmpc_embed: ${required} is missing")
    endif()
  endforeach()
  if(NOT arg_NAMESPACE)
    set(arg_NAMESPACE softmpc::detail)
  endif()
  if(NOT arg_ROOT)
    set(arg_ROOT "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/embed")
  set(script "${PROJECT_SOURCE_DIR}/tools/cmake/embed.cmake")
  string(REPLACE ";" "|" files "${arg_FILES}")
  set(depends "")
  foreach(file IN LISTS arg_FILES)
    list(APPEND depends "${arg_ROOT}/${file}")
  endforeach()
  add_custom_command(
    OUTPUT "${folder}/${arg_NAME}.cpp" "${folder}/${arg_NAME}.h"
    COMMAND ${CMAKE_COMMAND} "-DOUT=${folder}/${arg_NAME}" "-DNAME=${arg_NAME}" "-DNAMESPACE=${arg_NAMESPACE}"
      "-DROOT=${arg_ROOT}" "-DFILES=${files}" -P "${script}"
    DEPENDS ${depends} "${script}"
    COMMENT "Embedding ${arg_NAME}"
    VERBATIM)
  target_sources(${arg_TARGET} PRIVATE "${folder}/${arg_NAME}.cpp" "${folder}/${arg_NAME}.h")
  target_include_directories(${arg_TARGET} PRIVATE "${folder}")
endfunction()

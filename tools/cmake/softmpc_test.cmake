# gtest and JSON, precompiled once for all tests: their compiler's options are the same, position-independent
# code for executables among them.
add_executable(softmpc_test_headers EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/test_headers.cpp)
softmpc_quick_compile(softmpc_test_headers)
target_precompile_headers(softmpc_test_headers PRIVATE <gtest/gtest.h> <nlohmann/json.hpp> <string> <vector>)
target_link_libraries(softmpc_test_headers PRIVATE softmpc_options GTest::gtest nlohmann_json::nlohmann_json Threads::Threads)

# softmpc_test(name SOURCES a_test.cpp ... [LIBS softmpc::core ...] [LABELS core ...]
#              [ARGS ...] [TIMEOUT seconds] [PROCESSORS n])
# One GoogleTest program, one ctest entry. Labels in use: core tasks models pipeline tools cuda embed c fuzz slow gpu.
# Tests find the golden files in SOFTMPC_GOLDEN_DIR, a compile definition.
# A test whose libraries are not part of this build is left out, and configuring says so;
# one labelled slow is not built with sanitizers.
function(softmpc_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT;PROCESSORS" "SOURCES;LIBS;LABELS;ARGS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "softmpc_test(${name}): needs SOURCES; unknown: '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(SOFTMPC_SANITIZE AND "slow" IN_LIST arg_LABELS)
    return()
  endif()
  foreach(library IN LISTS arg_LIBS)
    if(library MATCHES "::" AND NOT TARGET ${library})
      message(STATUS "softmpc: test ${name} left out: ${library} is not part of this build")
      return()
    endif()
  endforeach()
  add_executable(${name} ${arg_SOURCES})
  softmpc_quick_compile(${name})
  target_precompile_headers(${name} REUSE_FROM softmpc_test_headers)
  target_link_libraries(${name} PRIVATE ${arg_LIBS} softmpc_options GTest::gtest GTest::gtest_main Threads::Threads)
  target_compile_definitions(${name} PRIVATE SOFTMPC_GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden")
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
  softmpc_test_properties(${name})
endfunction()

# softmpc_test_command(name COMMAND ... [LABELS ...] [TIMEOUT s] [PROCESSORS n]): any command, a script for one.
# It finds the program in the environment variable SOFTMPC_PROGRAM; exit code 77 is a skip.
function(softmpc_test_command name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT;PROCESSORS" "COMMAND;LABELS")
  if(SOFTMPC_SANITIZE AND "slow" IN_LIST arg_LABELS)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_property(TEST ${name} PROPERTY SKIP_RETURN_CODE 77)
  softmpc_test_properties(${name})
endfunction()

macro(softmpc_test_properties name)
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_PROCESSORS)
    set(arg_PROCESSORS 1)
  endif()
  set_tests_properties(${name} PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} PROCESSORS ${arg_PROCESSORS}
    ENVIRONMENT "SOFTMPC_PROGRAM=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/softmpc;SOFTMPC_GOLDEN_DIR=${PROJECT_SOURCE_DIR}/tests/golden")
endmacro()

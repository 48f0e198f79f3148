# softmpc_options: what every target of ours is compiled with, and no user's target.
# Link it as  target_link_libraries(tgt PRIVATE $<BUILD_INTERFACE:softmpc_options>).
add_library(softmpc_options INTERFACE)

if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(softmpc_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual>
    $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-unknown-pragmas>)  # GCC's ivdep
  if(SOFTMPC_WERROR)
    target_compile_options(softmpc_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
endif()

# A project that adds this folder may have no build type, which means -O0: a planner ten times slower.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT CMAKE_CXX_FLAGS MATCHES "(^| )-O")
  message(STATUS "softmpc: CMAKE_BUILD_TYPE is empty; softmpc's own files are compiled with -O3")
  target_compile_options(softmpc_options INTERFACE -O3)
  target_compile_definitions(softmpc_options INTERFACE NDEBUG)
endif()

# softmpc_quick_compile(target): for what computes nothing itself, commands and tests, in which optimising
# costs more at each build than it saves at run time.
function(softmpc_quick_compile target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE $<IF:$<CONFIG:Debug>,-O0,-O1>)
  endif()
endfunction()

if(SOFTMPC_SANITIZE MATCHES "realtime" AND NOT (CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
    AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 20))
  message(FATAL_ERROR "softmpc: SOFTMPC_SANITIZE=${SOFTMPC_SANITIZE} needs clang 20 or later with its runtime (Debian: "
    "clang-22 libclang-rt-22-dev), the compiler is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}: "
    "set -DCMAKE_CXX_COMPILER=clang++-22")
endif()
if(SOFTMPC_SANITIZE)
  target_compile_options(softmpc_options INTERFACE
    -fsanitize=${SOFTMPC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(softmpc_options INTERFACE -fsanitize=${SOFTMPC_SANITIZE})
endif()

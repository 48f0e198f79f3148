# softmpc_options: what every target of ours is compiled with, and no user's target.
# Link it as  target_link_libraries(tgt PRIVATE $<BUILD_INTERFACE:softmpc_options>).
add_library(softmpc_options INTERFACE)

if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(softmpc_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual>)
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

if(SOFTMPC_SANITIZE)
  target_compile_options(softmpc_options INTERFACE
    -fsanitize=${SOFTMPC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(softmpc_options INTERFACE -fsanitize=${SOFTMPC_SANITIZE})
endif()

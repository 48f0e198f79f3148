# Compiles through ccache where there is one; a user's own launcher wins.
if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SOFTMPC_CCACHE ccache)
  mark_as_advanced(SOFTMPC_CCACHE)
  if(SOFTMPC_CCACHE)
    # what it needs to keep files that use precompiled headers
    set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${SOFTMPC_CCACHE}")
  endif()
endif()

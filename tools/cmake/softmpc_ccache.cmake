# Compiles through ccache where there is one; a user's own launcher wins.
if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SOFTMPC_CCACHE ccache)
  mark_as_advanced(SOFTMPC_CCACHE)
  if(SOFTMPC_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${SOFTMPC_CCACHE}")
  endif()
endif()

# softmpc_find_dygraphs(FOLDER): sets FOLDER to where dygraph.min.js and dygraph.min.css lie, "" if nowhere.
# SOFTMPC_DYGRAPHS_DIR names another place.
set(SOFTMPC_DYGRAPHS_DIR "" CACHE PATH "folder of dygraph.min.js, if not the system's")

function(softmpc_find_dygraphs folder)
  find_path(found dygraph.min.js NO_CACHE NO_CMAKE_FIND_ROOT_PATH HINTS "${SOFTMPC_DYGRAPHS_DIR}"
    PATHS /usr/share/javascript/dygraphs /usr/share/nodejs/dygraphs/dist)
  if(found AND EXISTS "${found}/dygraph.min.css")
    set(${folder} "${found}" PARENT_SCOPE)
  else()
    set(${folder} "" PARENT_SCOPE)
    message(STATUS "softmpc: reports have static pictures alone: no dygraphs (Debian: libjs-dygraphs)")
  endif()
endfunction()

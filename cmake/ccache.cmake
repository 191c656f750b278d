# Compiles by ccache where it is installed and no other launcher was chosen.
find_program(FASTPOOL_CCACHE ccache)
if(FASTPOOL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Relative paths, so that another checkout of the same sources finds its objects too.
  get_filename_component(base "${CMAKE_CURRENT_LIST_DIR}" DIRECTORY)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${base} CCACHE_NOHASHDIR=1 ${FASTPOOL_CCACHE})
endif()

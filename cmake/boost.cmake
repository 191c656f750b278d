# Finds Boost's headers: the target Boost::headers, in the directory that includes this.
# Boost installs a package file of its own; CMake's module, which new policies remove, serves headers without it.
find_package(Boost 1.74 CONFIG QUIET)
if(NOT Boost_FOUND)
  find_package(Boost 1.74 REQUIRED)
endif()

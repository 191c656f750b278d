# Finds nghttp2: the target nghttp2::nghttp2. Used by the build, and by fastpoolConfig.cmake, beside which it is installed.
# nghttp2 installs a package file of its own only after 1.64, and only where CMake built it; elsewhere this looks for the header
# and the library.
# NGHTTP2_USE_STATIC_LIBS: the static library alone.
include(FindPackageHandleStandardArgs)

if(NOT NGHTTP2_USE_STATIC_LIBS)
  find_package(nghttp2 ${nghttp2_FIND_VERSION} CONFIG QUIET)
  if(nghttp2_FOUND)
    if(NOT TARGET nghttp2::nghttp2)  # it was built without the shared library
      add_library(nghttp2::nghttp2 INTERFACE IMPORTED)
      set_target_properties(nghttp2::nghttp2 PROPERTIES INTERFACE_LINK_LIBRARIES nghttp2::nghttp2_static)
    endif()
    find_package_handle_standard_args(nghttp2 CONFIG_MODE)
    return()
  endif()
endif()

find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(nghttp2_PC QUIET libnghttp2)
endif()
# A result of its own for each kind: a build folder that changes from one to the other does not keep the other's.
set(_nghttp2_library nghttp2_LIBRARY)
set(_nghttp2_names nghttp2 nghttp2_static)
if(NGHTTP2_USE_STATIC_LIBS)
  set(_nghttp2_library nghttp2_STATIC_LIBRARY)
  set(_nghttp2_names libnghttp2.a libnghttp2_static.a)
endif()
find_path(nghttp2_INCLUDE_DIR nghttp2/nghttp2.h HINTS ${nghttp2_PC_INCLUDE_DIRS})
find_library(${_nghttp2_library} NAMES ${_nghttp2_names} HINTS ${nghttp2_PC_LIBRARY_DIRS})
mark_as_advanced(nghttp2_INCLUDE_DIR ${_nghttp2_library})
if(EXISTS "${nghttp2_INCLUDE_DIR}/nghttp2/nghttp2ver.h")
  file(STRINGS "${nghttp2_INCLUDE_DIR}/nghttp2/nghttp2ver.h" nghttp2_VERSION REGEX "^#define NGHTTP2_VERSION ")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" nghttp2_VERSION "${nghttp2_VERSION}")
endif()
find_package_handle_standard_args(nghttp2 REQUIRED_VARS ${_nghttp2_library} nghttp2_INCLUDE_DIR VERSION_VAR nghttp2_VERSION
  REASON_FAILURE_MESSAGE "install its development files (Debian: libnghttp2-dev), or name its prefix in CMAKE_PREFIX_PATH")

if(nghttp2_FOUND AND NOT TARGET nghttp2::nghttp2)
  add_library(nghttp2::nghttp2 UNKNOWN IMPORTED)
  set_target_properties(nghttp2::nghttp2 PROPERTIES
    IMPORTED_LOCATION "${${_nghttp2_library}}"
    INTERFACE_INCLUDE_DIRECTORIES "${nghttp2_INCLUDE_DIR}")
endif()

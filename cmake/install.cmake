# `cmake --install`: the headers, the library, and what find_package(fastpool) and pkg-config read.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_target_property(type fastpool TYPE)

set(targets fastpool)
if(FASTPOOL_DECODE)
  list(APPEND targets fastpool_decode)
endif()
install(TARGETS ${targets} EXPORT fastpoolTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/fastpool DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
  PATTERN decode.h EXCLUDE)
if(FASTPOOL_DECODE)
  install(FILES include/fastpool/decode.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fastpool)
endif()
install(EXPORT fastpoolTargets NAMESPACE fastpool:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)
configure_package_config_file(cmake/fastpoolConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfigVersion.cmake
  cmake/Findnghttp2.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)

# The prefix is found from the place of the file: `cmake --install --prefix` and a moved tree keep it right.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/${pkgconfig_dir}" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(type STREQUAL "SHARED_LIBRARY")
  set(pc_requires "Requires.private: openssl >= 3.0, libnghttp2 >= 1.52")
  set(pc_cflags "-DFASTPOOL_SHARED")
  set(pc_libs "")
else()
  set(pc_requires "Requires: openssl >= 3.0, libnghttp2 >= 1.52")
  set(pc_cflags "")
  set(pc_libs "${CMAKE_THREAD_LIBS_INIT}")
  foreach(library ${CMAKE_DL_LIBS})
    string(APPEND pc_libs " -l${library}")
  endforeach()
endif()
configure_file(cmake/fastpool.pc.in ${CMAKE_CURRENT_BINARY_DIR}/fastpool.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fastpool.pc DESTINATION ${pkgconfig_dir})
if(FASTPOOL_DECODE)
  set(pc_codings "zlib, libbrotlidec, libzstd")
  if(type STREQUAL "SHARED_LIBRARY")
    set(pc_requires "Requires.private: ${pc_codings}")
    set(pc_codings "")
  else()
    set(pc_requires "")
    string(PREPEND pc_codings ", ")
  endif()
  configure_file(cmake/fastpool-decode.pc.in ${CMAKE_CURRENT_BINARY_DIR}/fastpool-decode.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fastpool-decode.pc DESTINATION ${pkgconfig_dir})
endif()

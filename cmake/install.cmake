# `cmake --install`: headers, the static library, and what find_package(fastpool) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS fastpool EXPORT fastpoolTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/fastpool DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT fastpoolTargets NAMESPACE fastpool:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)
configure_package_config_file(cmake/fastpoolConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/fastpoolConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fastpool)

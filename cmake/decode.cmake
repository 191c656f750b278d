# fastpool::decode: content codings, over the public headers alone, so that fastpool itself needs none of their libraries.
find_package(ZLIB REQUIRED)
foreach(library brotlidec zstd)
  set(header ${library}.h)
  if(library STREQUAL "brotlidec")
    set(header brotli/decode.h)
  endif()
  find_path(FASTPOOL_${library}_INCLUDE_DIR ${header})
  find_library(FASTPOOL_${library}_LIBRARY ${library})
  if(NOT FASTPOOL_${library}_INCLUDE_DIR OR NOT FASTPOOL_${library}_LIBRARY)
    message(FATAL_ERROR "FASTPOOL_DECODE needs ${library} (Debian: libbrotli-dev, libzstd-dev)")
  endif()
endforeach()

file(GLOB FASTPOOL_DECODE_SOURCES CONFIGURE_DEPENDS src/codings/*.cpp)
fastpool_add_target(fastpool_decode "${FASTPOOL_DECODE_SOURCES}")
add_library(fastpool::decode ALIAS fastpool_decode)
set_target_properties(fastpool_decode PROPERTIES EXPORT_NAME decode)
target_link_libraries(fastpool_decode PUBLIC fastpool PRIVATE ZLIB::ZLIB)
foreach(library brotlidec zstd)
  target_include_directories(fastpool_decode SYSTEM PRIVATE ${FASTPOOL_${library}_INCLUDE_DIR})
  # Installed, a target that fastpoolConfig.cmake defines: where the library lies on this machine says nothing about another.
  target_link_libraries(fastpool_decode PRIVATE
    $<BUILD_INTERFACE:${FASTPOOL_${library}_LIBRARY}> $<INSTALL_INTERFACE:fastpool::${library}>)
endforeach()
if(FASTPOOL_brotlidec_LIBRARY MATCHES "[.]a$")  # a shared one brings it along
  find_library(FASTPOOL_brotlicommon_LIBRARY brotlicommon REQUIRED)
  target_link_libraries(fastpool_decode PRIVATE $<BUILD_INTERFACE:${FASTPOOL_brotlicommon_LIBRARY}>)
endif()

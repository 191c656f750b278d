# fastpool_add_target(NAME SOURCES [STATIC] [EXCLUDE_FROM_ALL]): a library of the project; without STATIC of the kind that
# BUILD_SHARED_LIBS says.
function(fastpool_add_target name sources)
  add_library(${name} ${ARGN} ${sources})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:fastpool_build_flags>)
  # Static data in templates and inline functions, Boost's above all, would become STB_GNU_UNIQUE: bound to the first copy
  # in the process, whichever version of Boost it is of, and in the way of dlclose().
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  set_target_properties(${name} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)

  get_target_property(type ${name} TYPE)
  if(type STREQUAL "SHARED_LIBRARY")
    target_compile_definitions(${name} PUBLIC FASTPOOL_SHARED)
    # Before 1.0 each minor version may break the binary interface.
    set_target_properties(${name} PROPERTIES
      VERSION ${PROJECT_VERSION}
      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
    set(map ${PROJECT_SOURCE_DIR}/cmake/fastpool.map)
    target_link_options(${name} PRIVATE LINKER:--version-script=${map})
    set_target_properties(${name} PROPERTIES LINK_DEPENDS ${map})
  endif()
endfunction()

# fastpool_add_library(NAME [STATIC] [EXCLUDE_FROM_ALL]): a target of all sources but those of fastpool::decode.
file(GLOB FASTPOOL_SOURCES CONFIGURE_DEPENDS src/*/*.cpp)
list(FILTER FASTPOOL_SOURCES EXCLUDE REGEX "/src/codings/")
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-std=c++2b FASTPOOL_CXX23)
if(FASTPOOL_CXX23)  # for std::string::resize_and_overwrite
  set_source_files_properties(src/client/append_unset.cpp PROPERTIES COMPILE_OPTIONS -std=c++2b)
endif()

# In a unity build (CMAKE_UNITY_BUILD) these stay alone: their unnamed namespaces, or <linux/tcp.h>, meet those of others there.
set_source_files_properties(src/client/request_events.cpp src/h1/message_reader.cpp src/net/tcp_state.cpp
  PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

function(fastpool_add_library name)
  fastpool_add_target(${name} "${FASTPOOL_SOURCES}" ${ARGN})
  target_link_libraries(${name} PRIVATE
    $<BUILD_INTERFACE:Boost::headers> OpenSSL::SSL OpenSSL::Crypto nghttp2::nghttp2 Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# Installs the build into a prefix of its own, builds examples/cpp against it with find_package, and runs each example that was
# built: those for libraries that are not installed are left out.
set(prefix ${BUILD_DIR}/installed)
set(examples ${BUILD_DIR}/examples)
file(REMOVE_RECURSE ${prefix} ${examples})

function(run step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "step '${step}' failed: ${result}")
  endif()
endfunction()

run(install ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})
run(configure ${CMAKE_COMMAND} -S ${SOURCE_DIR}/examples/cpp -B ${examples} -DCMAKE_PREFIX_PATH=${prefix})
run(build ${CMAKE_COMMAND} --build ${examples} --parallel 2)
foreach(example get events coroutines upload lease asio uv)
  if(EXISTS ${examples}/${example})
    run(${example} ${examples}/${example} --self-test)
  elseif(NOT example MATCHES "asio|uv")
    message(FATAL_ERROR "the example ${example} was not built")
  endif()
endforeach()

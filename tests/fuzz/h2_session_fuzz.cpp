// libFuzzer entry point: clang++ -std=c++20 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc -Itests
//   tests/fuzz/h2_session_fuzz.cpp src/h2/*.cpp src/http/*.cpp -lnghttp2
// The input is what a server sends.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/h2_session_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::string broken = fastpool::h2::test::broken_promise({reinterpret_cast<const char*>(data), size});
  if (!broken.empty()) {
    std::fprintf(stderr, "%s\n", broken.c_str());
    std::abort();
  }
  return 0;
}

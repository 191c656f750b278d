// libFuzzer entry point: clang++ -std=c++20 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc -Itests
//   tests/fuzz/response_parser_fuzz.cpp src/h1/*.cpp src/http/*.cpp
// The first byte chooses the request's method, the rest is the response.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/response_parser_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;  // byte by byte is quadratic; nothing in the grammar needs more
  const std::string bytes(data + 1, data + size);
  const std::string broken = fastpool::h1::test::broken_promise(bytes, (data[0] & 1U) != 0, size < 128);
  if (!broken.empty()) {
    std::fprintf(stderr, "%s\n", broken.c_str());
    std::abort();
  }
  return 0;
}

// Compiled as C++23, where that is known: C++20 can only append bytes that have a value, which costs as much as to copy them.

#include "client/append_unset.h"

#include <algorithm>

namespace fastpool::client {

void append_unset(std::string& text, std::size_t room, const std::function<std::size_t(char*)>& fill) {
  const std::size_t before = text.size();
#ifdef __cpp_lib_string_resize_and_overwrite
  text.resize_and_overwrite(before + room, [&](char* bytes, std::size_t) { return before + fill(bytes + before); });
#else
  text.resize(before + room);
  text.resize(before + fill(text.data() + before));
#endif
}

}  // namespace fastpool::client

// A codec of each library that fastpool::decode needs refuses what is not in its coding.
#include <string_view>

#include <fastpool/decode.h>

int main() {
  for (const std::string_view coding : {"gzip", "deflate", "br", "zstd"}) {
    auto decoder = fastpool::Decoder::make(coding);
    if (!decoder) return 1;
    decoder->feed("this is no compressed text");
    if (decoder->next()) return 1;
  }
  return 0;
}

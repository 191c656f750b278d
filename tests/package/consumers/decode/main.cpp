// Decodes a gzip body, and names every function of decode.h.
#include <array>
#include <utility>

#include <fastpool/client.h>
#include <fastpool/decode.h>

namespace {

// "hello" by gzip.
constexpr std::array<unsigned char, 25> coded{0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
                                              0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86,
                                              0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00};

bool decodes_a_response() {
  fastpool::Response response;
  response.headers.add("Content-Encoding", "gzip");
  response.body.assign(reinterpret_cast<const char*>(coded.data()), coded.size());
  return fastpool::decode(response, {.max_size = 5}) && response.body == "hello" && response.headers.empty();
}

bool knows_its_codings() {
  auto decoder = fastpool::Decoder::make(fastpool::accepted_codings);
  if (!decoder) return false;
  fastpool::Decoder moved = std::move(decoder).value();
  moved.feed("");
  const auto nothing = moved.next();
  return nothing && nothing->empty() && moved.finish();
}

bool reads(fastpool::Stream& stream) {
  auto decoding = fastpool::DecodedStream::make(stream);
  return decoding && decoding->read();
}

}  // namespace

int main(int count, char**) {
  if (count > 1) {
    fastpool::Client client;
    auto stream = client.open({.url = "http://127.0.0.1/"});
    return stream && reads(*stream) ? 0 : 1;
  }
  return decodes_a_response() && knows_its_codings() ? 0 : 1;
}

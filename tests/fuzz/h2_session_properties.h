#pragma once

/// \file
/// What holds of a session whatever its peer sends. For the fuzzer and for the short run of what it does.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "h2/session.h"

namespace fastpool::h2::test {

/// What a client with two requests has of a peer's bytes. `broken` says which promise was broken; empty: none.
struct Outcome {
  std::array<std::string, 2> responses;  ///< those that came whole
  std::string told;
  std::string broken;
};

inline std::string describe(const Stream& stream) {
  std::string text = std::to_string(stream.head.status) + " " + std::to_string(stream.head.headers.size()) + " " +
                     std::to_string(stream.interim.size()) + " " + std::to_string(stream.trailers.size()) + " '" +
                     stream.body + "'" + (stream.ended ? " ended" : "") + (stream.is_open() ? " open" : "");
  if (stream.failure)
    text += " failed " + std::to_string(stream.failure->code) + (stream.failure->unread ? " unread" : "");
  return text;
}

/// \param piece how many bytes at a time.
inline Outcome outcome_of(std::string_view bytes, std::size_t piece) {
  std::array<Stream, 2> streams;
  const auto client = Session::create();
  const std::vector<Header> headers{{"Host", "one.example"}};
  (void)client->open(streams[0], {"GET", "https", "/", headers}, true);
  (void)client->open(streams[1], {"POST", "https", "/", headers}, false);
  client->write(streams[1], "some text", false);
  std::string sent;
  (void)client->pull(sent);
  Outcome outcome;
  bool failed = false;
  while (!bytes.empty()) {
    const std::string_view next = bytes.substr(0, piece);
    bytes.remove_prefix(next.size());
    const auto fed = client->feed(next);
    if (failed && fed.ok()) outcome.broken = "a session that has failed reads on";
    failed = failed || !fed.ok();
    (void)client->pull(sent);
  }
  if (failed != client->failed()) outcome.broken = "failed() and feed() disagree";
  for (std::size_t index = 0; index < streams.size(); ++index) {
    const Stream& stream = streams.at(index);
    if (stream.ended && !stream.failure) outcome.responses.at(index) = describe(stream);
    outcome.told += describe(stream) + "; ";
    if (failed && stream.is_open()) outcome.broken = "a stream outlives its session";
    if (stream.failure && stream.is_open()) outcome.broken = "a stream that has failed is open";
    if (stream.ended && !stream.has_head) outcome.broken = "a response without a head ended";
  }
  outcome.told += failed ? "failed" : "fine";
  while (client->take_changed() != nullptr) {
  }
  return outcome;
}

/// Which promise is broken for these bytes; empty: none. What becomes of bytes behind a mistake depends on whether the peer could know
/// of it, and so on when they come. A response that came whole is the same whenever its bytes came.
inline std::string broken_promise(std::string_view bytes) {
  const Outcome whole = outcome_of(bytes, bytes.size() + 1);
  const Outcome single = outcome_of(bytes, 1);
  if (!whole.broken.empty()) return whole.broken;
  if (!single.broken.empty()) return single.broken;
  for (std::size_t index = 0; index < whole.responses.size(); ++index) {
    const std::string& one = whole.responses.at(index);
    const std::string& other = single.responses.at(index);
    if (!one.empty() && !other.empty() && one != other) return "in one piece: " + one + ", byte by byte: " + other;
  }
  return {};
}

}  // namespace fastpool::h2::test

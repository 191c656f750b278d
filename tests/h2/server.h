#pragma once

/// \file
/// The other side of a session: nghttp2 as a server, or frames made by hand.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include <gtest/gtest.h>

#include "h2/session.h"

namespace fastpool::h2::test {

/// A frame as it stands on the wire (RFC 9113 section 4.1).
inline std::string frame(unsigned char type, unsigned char flags, std::uint32_t stream, std::string_view payload = {}) {
  std::string made;
  const auto size = static_cast<std::uint32_t>(payload.size());
  for (const std::uint32_t byte : {size >> 16U, size >> 8U, size, std::uint32_t{type}, std::uint32_t{flags},
                                   stream >> 24U, stream >> 16U, stream >> 8U, stream})
    made.push_back(static_cast<char>(byte & 0xffU));
  return made.append(payload);
}

inline std::string four(std::uint32_t number) {
  return {static_cast<char>(number >> 24U), static_cast<char>(number >> 16U & 0xffU),
          static_cast<char>(number >> 8U & 0xffU), static_cast<char>(number & 0xffU)};
}

/// Header fields as HPACK literals without indexing (RFC 7541 section 6.2.2), for names and values of up to 126 bytes.
inline std::string literals(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block.push_back('\0');
    block.push_back(static_cast<char>(name.size()));
    block += name;
    block.push_back(static_cast<char>(value.size()));
    block += value;
  }
  return block;
}

constexpr unsigned char data = 0, headers = 1, priority = 2, rst_stream = 3, settings = 4, push_promise = 5, ping = 6,
                        goaway = 7, window_update = 8, continuation = 9;
constexpr unsigned char end_stream = 1, ack = 1, end_headers = 4;

/// A request as the server saw it.
struct Asked {
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool ended = false;
  std::uint32_t reset = 0;  ///< the code of a RST_STREAM, 0: none
};

/// A server that answers what the test says.
class Server {
 public:
  explicit Server(std::vector<nghttp2_settings_entry> its_settings = {}) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                      const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
          static_cast<Server*>(self)->asked[frame->hd.stream_id].fields.emplace_back(text(name, name_size),
                                                                                     text(value, value_size));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks,
        [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size, void* self) {
          static_cast<Server*>(self)->asked[id].body += text(bytes, size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto& server = *static_cast<Server*>(self);
          if (frame->hd.type == NGHTTP2_RST_STREAM)
            server.asked[frame->hd.stream_id].reset = frame->rst_stream.error_code;
          if (frame->hd.type == NGHTTP2_GOAWAY) server.goodbye = static_cast<int>(frame->goaway.error_code);
          if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
              (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            server.asked[frame->hd.stream_id].ended = true;
          return 0;
        });
    nghttp2_session_server_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, its_settings.data(), its_settings.size());
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { nghttp2_session_del(session); }

  void answer(std::int32_t id, int status, std::string body,
              std::vector<std::pair<std::string, std::string>> fields = {}) {
    fields.insert(fields.begin(), {":status", std::to_string(status)});
    bodies_[id] = std::move(body);
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = [](nghttp2_session*, std::int32_t stream, std::uint8_t* buffer, std::size_t room,
                                std::uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      std::string& rest = static_cast<Server*>(source->ptr)->bodies_[stream];
      const std::size_t size = rest.copy(reinterpret_cast<char*>(buffer), room);
      rest.erase(0, size);
      if (rest.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(size);
    };
    auto pairs = pairs_of(fields);
    nghttp2_submit_response(session, id, pairs.data(), pairs.size(), bodies_[id].empty() ? nullptr : &provider);
  }
  void inform(std::int32_t id, int status) {
    std::vector<std::pair<std::string, std::string>> fields{{":status", std::to_string(status)}, {"x-interim", "yes"}};
    auto pairs = pairs_of(fields);
    nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, id, nullptr, pairs.data(), pairs.size(), nullptr);
  }
  [[nodiscard]] static std::vector<nghttp2_nv> pairs_of(std::vector<std::pair<std::string, std::string>>& fields) {
    std::vector<nghttp2_nv> pairs;
    for (auto& [name, value] : fields)
      pairs.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    return pairs;
  }

  /// Carries what the server has to say to the client.
  void speak(Session& client) {
    const std::uint8_t* made = nullptr;
    for (ssize_t size = 0; (size = nghttp2_session_mem_send(session, &made)) > 0;)
      ASSERT_TRUE(client.feed({reinterpret_cast<const char*>(made), static_cast<std::size_t>(size)}).ok());
  }
  /// Carries bytes both ways until neither side has any.
  void converse(Session& client) {
    for (bool moved = true; moved;) {
      moved = false;
      std::string out;
      ASSERT_TRUE(client.pull(out));
      if (!out.empty()) {
        moved = true;
        nghttp2_session_mem_recv(session, reinterpret_cast<const std::uint8_t*>(out.data()), out.size());
      }
      const std::uint8_t* made = nullptr;
      for (ssize_t size = 0; (size = nghttp2_session_mem_send(session, &made)) > 0;) {
        moved = true;
        fed = client.feed({reinterpret_cast<const char*>(made), static_cast<std::size_t>(size)});
        if (!fed) return;
      }
    }
  }

  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Asked> asked;
  int goodbye = -1;  ///< the code of the client's GOAWAY
  Result<void> fed{};

 private:
  static std::string text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }
  static std::uint8_t* bytes(std::string& text) { return reinterpret_cast<std::uint8_t*>(text.data()); }
  std::map<std::int32_t, std::string> bodies_;
};

/// A client with a request or two under way, whose server has seen them.
struct Begun {
  explicit Begun(Stream& first, const SessionSettings& its_settings = {}, std::string_view method = "GET")
      : client(Session::create(its_settings)) {
    open(first, method);
    server.converse(*client);
  }
  Begun(Stream& first, Stream& second, const SessionSettings& its_settings = {})
      : client(Session::create(its_settings)) {
    open(first, "GET");
    open(second, "GET");
    server.converse(*client);
  }
  /// A GET ends at once; a POST has its body to come.
  void open(Stream& stream, std::string_view method) const {
    const std::vector<Header> host{{"Host", "one.example"}};
    const auto opened = client->open(stream, {method, "https", "/", host}, method == "GET");
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
  }

  std::unique_ptr<Session> client;
  Server server;
};

}  // namespace fastpool::h2::test

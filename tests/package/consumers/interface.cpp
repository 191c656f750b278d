// What a user writes: designated initialisers that name some members, Results, and every function that the library
// defines. It must compile without warnings, and link with a shared library. It is not run.
#include <optional>

#include <fastpool/client.h>
#include <fastpool/loop.h>
#include <fastpool/origin.h>
#include <fastpool/version.h>

namespace {

fastpool::Result<int> status_of(fastpool::Client& client) {
  fastpool::Result<fastpool::Response> response =
      client.send({.url = "https://example.com/"},
                  {.timeouts = {.connect = std::chrono::seconds(1), .pool = std::chrono::seconds(2)}});
  if (!response) return std::move(response).error();
  return response->status;
}

std::size_t use_streams(fastpool::Client& client) {
  std::size_t size = 0;
  fastpool::Response response;
  if (client.send({.url = "https://example.com/"}, response)) size += response.body.size() + response.trailers.size();
  auto lease = client.lease("https://example.com/");
  if (lease && lease->alive() && lease->native_handle() >= 0) {
    if (lease->send({.url = "https://example.com/"}, response)) ++size;
    if (const auto whole = lease->send({.url = "https://example.com/"}); whole) ++size;
    if (const auto opened = lease->open({.url = "https://example.com/"}); opened) ++size;
    lease->discard();
  }
  auto stream = client.open({.method = "PUT", .url = "https://example.com/", .body = fastpool::Body::written(4)});
  if (!stream) return size;
  if (const auto more = stream->write("text"); more && stream->finish()) size += *more ? 1 : 0;
  if (const auto piece = stream->read(); piece) size += piece->size();
  size += stream->head().headers.size() + stream->trailers().size() + stream->info().peer_address.size();
  stream->cancel();
  return size + (stream->switched() || stream->native_handle() < 0 ? 1 : 0);
}

std::size_t use_loop(fastpool::Client& client) {
  std::size_t size = 0;
  auto loop = fastpool::Loop::make();
  if (!loop) return size;
  fastpool::send(*loop, client, {.url = "https://example.com/"}, {.total = std::chrono::seconds(1)},
                 [&](const fastpool::Result<fastpool::Response>& response) { size += response ? 1 : 0; });
  std::optional<fastpool::Stream> kept;
  fastpool::open(*loop, client, {.url = "https://example.com/"}, {}, [&](fastpool::Result<fastpool::Stream> stream) {
    if (!stream) return;
    kept.emplace(std::move(stream).value());
    fastpool::read(*loop, *kept, [&](const fastpool::Result<std::string_view>& piece) { size += piece ? 1 : 0; });
    fastpool::write(*loop, *kept, "text", [&](const fastpool::Result<bool>& more) { size += more ? 1 : 0; });
    fastpool::finish(*loop, *kept, [&](const fastpool::Result<void>& finished) { size += finished ? 1 : 0; });
  });
  std::optional<fastpool::Lease> leased;
  fastpool::lease(*loop, client, "https://example.com/", {}, [&](fastpool::Result<fastpool::Lease> lease) {
    if (!lease) return;
    leased.emplace(std::move(lease).value());
    fastpool::send(*loop, client, {.url = "https://example.com/"}, {.lease = &*leased},
                   [&](const fastpool::Result<fastpool::Response>& response) { size += response ? 1 : 0; });
  });
  while (loop->busy())
    loop->wait(std::chrono::seconds(1));
  loop->turn();
  loop->close();
  return size + static_cast<std::size_t>(loop->descriptor());
}

std::size_t use_every_function(fastpool::Client& client, const fastpool::Origin& origin,
                               const fastpool::Profile& profile) {
  fastpool::HeaderList headers;
  headers.reserve(1, 8);
  headers.add("name", "value");
  std::size_t size = headers[0].value.size() + headers.find("name").size() + headers.size();
  for (const std::string_view value : headers.all("name"))
    size += value.size();
  for (const fastpool::Header& header : headers)
    size += fastpool::equals_ignoring_case(header.name, "NAME") ? 1 : 0;
  headers.clear();
  size += origin.to_string().size() + origin.host_header().size() + to_string(origin.scheme).size() +
          default_port(origin.scheme) + (profile == fastpool::Profile() ? 1 : 0);
  if (const auto parsed = fastpool::Origin::parse("https://example.com"); !parsed) {
    size += to_string(parsed.error().code).size() + to_string(parsed.error().phase).size();
    size += parsed.error().error_code() == fastpool::ErrorCode::invalid_argument ? 1 : 0;
  }
  for (const auto kind : {fastpool::Event::Kind::leak, fastpool::Event::Kind::close})
    size += to_string(kind).size() + to_string(fastpool::CloseReason::limit).size();
  if (const auto found = fastpool::resolve_by_system("localhost"); found) size += found->size();
  if (const auto idle = client.warm("https://example.com", 1); idle) size += *idle;
  if (client.set_max_leases("https://example.com", 5, std::chrono::seconds(1))) {
    if (const auto used = client.usage("https://example.com")) size += used->leased + used->waiting;
  }
  (void)client.set_max_leases_until("https://example.com", 5, std::chrono::seconds(1));
  (void)client.set_max_leases("https://example.com", std::nullopt);
  size += client.stats().leases + fastpool::default_max_connections();
  size += use_streams(client) + use_loop(client);
  if (const auto drained = client.drain(std::chrono::seconds(1)); drained) size += *drained ? 1 : 0;
  client.close();
  return size + std::string_view(fastpool::version()).size() +
         std::string_view(fastpool::error_category().name()).size();
}

}  // namespace

int main() {
  const fastpool::Request post{.method = "POST", .url = "https://example.com/", .body = "text"};
  const fastpool::Profile profile{.tls = {.ca_file = "ca.pem"},
                                  .server_name = "example.com",
                                  .proxy = {.url = "http://proxy.example:3128", .headers = {{"X-Tenant", "one"}}},
                                  .protocols = {.http1 = true, .http2 = true}};
  std::size_t closed = 0;
  fastpool::Client client(
      {.max_connections = 10, .idle_timeout = std::chrono::seconds(30)}, profile,
      {.on_event = [&](const fastpool::Event& event) { closed += event.kind == fastpool::Event::Kind::close ? 1 : 0; },
       .resolve = fastpool::resolve_fixed({{"example.com", {"192.0.2.1"}}})});
  const fastpool::Event event{.origin = "https://example.com:443", .status = 200};
  const fastpool::Origin origin{.host = "example.com"};
  const fastpool::Header header{.name = "accept"};
  const fastpool::Error error{.code = fastpool::ErrorCode::read_failed, .detail = "why"};
  const fastpool::SocketOption option{.level = 1};
  const fastpool::Response response{.status = 200};
  const fastpool::Call call{.total = std::chrono::seconds(10), .max_body = 1000, .idempotent = true};
  const fastpool::StreamInfo info{.reused = true};
  const fastpool::PoolStats stats{.leases = 1};
  const fastpool::EndpointStats endpoint{.name = "one"};
  const fastpool::Histogram histogram{.count = 1};
  const bool all = post.headers.empty() && origin.port == 443 && header.value.empty() && error.bytes_sent == 0 &&
                   option.value.empty() && response.body.empty() && call.connect_retries == 0 && info.reused &&
                   stats.reused == 0 && endpoint.waiters == 0 && histogram.sum < 1 && event.took.count() == 0;
  if (use_every_function(client, origin, profile) == 0) return 1;
  return status_of(client).value_or(FASTPOOL_VERSION_MAJOR) + (all ? 0 : 1);
}

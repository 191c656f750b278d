// What a user writes: designated initialisers that name some members, Results, and every function that the library
// defines. It must compile without warnings, and link with a shared library. It is not run.
#include <fastpool/client.h>
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
  if (const auto idle = client.warm("https://example.com", 1); idle) size += *idle;
  size += client.stats().leases + fastpool::default_max_connections();
  client.close();
  return size + std::string_view(fastpool::version()).size() +
         std::string_view(fastpool::error_category().name()).size();
}

}  // namespace

int main() {
  const fastpool::Request post{.method = "POST", .url = "https://example.com/", .body = "text"};
  const fastpool::Profile profile{.tls = {.ca_file = "ca.pem"}, .server_name = "example.com"};
  fastpool::Client client({.max_connections = 10, .idle_timeout = std::chrono::seconds(30)}, profile);
  const fastpool::Origin origin{.host = "example.com"};
  const fastpool::Header header{.name = "accept"};
  const fastpool::Error error{.code = fastpool::ErrorCode::read_failed, .detail = "why"};
  const fastpool::SocketOption option{.level = 1};
  const fastpool::Response response{.status = 200};
  const fastpool::RequestOptions options{.interrupt = {.context = &client}};
  const fastpool::PoolStats stats{.leases = 1};
  const fastpool::EndpointStats endpoint{.name = "one"};
  const fastpool::Histogram histogram{.count = 1};
  const bool all = post.headers.empty() && origin.port == 443 && header.value.empty() && error.bytes_sent == 0 &&
                   option.value.empty() && response.body.empty() && !options.interrupt.active() && stats.reused == 0 &&
                   endpoint.waiters == 0 && histogram.sum < 1;
  if (use_every_function(client, origin, profile) == 0) return 1;
  return status_of(client).value_or(FASTPOOL_VERSION_MAJOR) + (all ? 0 : 1);
}

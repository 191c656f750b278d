// Contexts are built from the content that the files had when they were read, and are shared only for the same content.

#include "tls/settings_files.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "tls/context_cache.h"
#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Returns the name under which a CA directory stores the first certificate of a file.
std::string hashed_name(const std::string& pem_file) {
  std::FILE* const file = std::fopen(pem_file.c_str(), "rb");
  X509* const certificate = PEM_read_X509(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  char name[16];
  std::snprintf(name, sizeof name, "%08lx.0", X509_subject_name_hash(certificate));
  X509_free(certificate);
  return name;
}

class RenewedFiles : public TlsTest {
 protected:
  static TlsSettings read(const TlsSettings& settings) {
    auto done = read_files(settings);
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().detail);
    return *done;
  }
  [[nodiscard]] TlsSettings of_file(const std::string& path) const {
    TlsSettings settings;
    settings.ca_file = path;
    return settings;
  }
  [[nodiscard]] TlsSettings of_directory(const std::string& path) const {
    TlsSettings settings;
    settings.ca_directory = path;
    return settings;
  }
  support::CertificateAuthority other_{"another test CA"};
  support::TemporaryDirectory directory_;
};

TEST_F(RenewedFiles, settings_are_equal_if_the_contents_are) {
  const std::string path = directory_.write("ca.pem", content_of(authority_.ca_file()));
  const TlsSettings first = read(of_file(path));
  directory_.write("ca.pem", content_of(authority_.ca_file()));
  EXPECT_EQ(read(of_file(path)), first);
  directory_.write("ca.pem", content_of(other_.ca_file()));
  EXPECT_NE(read(of_file(path)), first);
  EXPECT_NE(of_file(path), first);
}

TEST_F(RenewedFiles, a_context_trusts_what_was_read_and_not_what_the_file_holds_later) {
  const support::LoopbackServer server(localhost_, [](auto&) {});
  const std::string path = directory_.write("ca.pem", content_of(authority_.ca_file()));
  const TlsSettings settings = read(of_file(path));
  directory_.write("ca.pem", content_of(other_.ca_file()));
  auto channel = make_channel(make_context(settings), server);
  EXPECT_EQ(run_handshake(*channel), net::IoStatus::ok) << channel->handshake_error().detail;
  EXPECT_EQ(failure_of(read(of_file(path)), server).code, ErrorCode::tls_failed);
  std::filesystem::remove(path);
  EXPECT_EQ(run_handshake(*make_channel(make_context(settings), server)), net::IoStatus::ok);
}

TEST_F(RenewedFiles, a_client_certificate_and_its_key_are_those_that_were_read) {
  const auto files = authority_.issue({.for_client = true});
  TlsSettings settings;
  settings.certificate_file = directory_.write("client.crt", content_of(files.certificate));
  settings.private_key_file = directory_.write("client.key", content_of(files.key));
  const TlsSettings before = read(settings);
  directory_.write("client.key", content_of(authority_.issue({.for_client = true}).key));
  EXPECT_TRUE(Context::create(before).ok());
  EXPECT_FALSE(Context::create(read(settings)).ok());
}

TEST_F(RenewedFiles, contexts_of_different_contents_are_not_shared) {
  ContextCache cache;
  const std::string path = directory_.write("ca.pem", content_of(authority_.ca_file()));
  const auto first = *cache.get(read(of_file(path)));
  EXPECT_EQ(*cache.get(read(of_file(path))), first);
  directory_.write("ca.pem", content_of(other_.ca_file()));
  EXPECT_NE(*cache.get(read(of_file(path))), first);
}

TEST_F(RenewedFiles, of_a_directory_only_what_its_names_promise_is_trusted) {
  const support::LoopbackServer server(localhost_, [](auto&) {});
  directory_.write("00000001.0", content_of(authority_.ca_file()));                             // another hash
  directory_.write(hashed_name(authority_.ca_file()) + "x", content_of(authority_.ca_file()));  // no such name
  std::string second = hashed_name(authority_.ca_file());
  second.back() = '1';  // OpenSSL looks for 0 first
  directory_.write(second, content_of(authority_.ca_file()));
  EXPECT_EQ(failure_of(read(of_directory(directory_.path(""))), server).code, ErrorCode::tls_failed);
  directory_.write(hashed_name(authority_.ca_file()), content_of(authority_.ca_file()));
  auto channel = make_channel(make_context(read(of_directory(directory_.path("")))), server);
  EXPECT_EQ(run_handshake(*channel), net::IoStatus::ok) << channel->handshake_error().detail;
}

TEST_F(RenewedFiles, what_openssl_found_in_a_directory_later_is_not_given_to_the_next_client) {
  const support::LoopbackServer server(localhost_, [](auto&) {});
  directory_.write(hashed_name(other_.ca_file()), content_of(other_.ca_file()));
  const TlsSettings settings = of_directory(directory_.path(""));
  ContextCache cache;
  const auto living = *cache.get(read(settings));
  const std::string added = directory_.write(hashed_name(authority_.ca_file()), content_of(authority_.ca_file()));
  EXPECT_EQ(run_handshake(*make_channel(living, server)), net::IoStatus::ok);
  EXPECT_TRUE(living->outgrown());
  std::filesystem::remove(added);
  const auto next = *cache.get(read(settings));
  EXPECT_NE(next, living);
  EXPECT_EQ(run_handshake(*make_channel(next, server)), net::IoStatus::error);
  EXPECT_EQ(*cache.get(read(settings)), next);
}

TEST_F(RenewedFiles, several_directories_stand_in_one_setting) {
  support::TemporaryDirectory second;
  directory_.write(hashed_name(other_.ca_file()), content_of(other_.ca_file()));
  second.write(hashed_name(authority_.ca_file()), content_of(authority_.ca_file()));
  const support::LoopbackServer server(localhost_, [](auto&) {});
  const TlsSettings settings = read(of_directory(directory_.path("") + ":" + second.path("")));
  EXPECT_EQ(run_handshake(*make_channel(make_context(settings), server)), net::IoStatus::ok);
}

TEST_F(RenewedFiles, an_endless_file_and_a_fifo_without_a_writer_are_refused_and_not_waited_for) {
  EXPECT_FALSE(read_files(of_file("/dev/zero")).ok());
  const std::string fifo = directory_.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(Context::create(of_file(fifo)).ok());
}

}  // namespace
}  // namespace fastpool::tls

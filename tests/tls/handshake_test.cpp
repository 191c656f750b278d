// Which certificates and settings a handshake accepts, which it refuses, and the text of each error.

#include <fstream>
#include <iterator>
#include <utility>

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509_vfy.h>

#include "net/tcp_channel.h"
#include "tls/openssl.h"
#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

class Handshake : public TlsTest {
 protected:
  support::LoopbackServer server_with(const support::CertificateWish& wish) {
    return support::LoopbackServer({authority_.issue(wish)}, support::echo);
  }

  static void expect_refused(const Error& error, std::string_view words) {
    EXPECT_EQ(error.code, ErrorCode::tls_failed);
    EXPECT_EQ(error.phase, Phase::tls_handshake);
    EXPECT_TRUE(error.final);
    EXPECT_NE(error.detail.find(words), std::string::npos) << error.detail;
  }
};

TEST_F(Handshake, a_trusted_server_with_the_right_name_is_talked_to) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  EXPECT_EQ(channel->version(), "TLSv1.3");
  EXPECT_FALSE(channel->resumed());
  write_all(*channel, "hello");
  EXPECT_EQ(read_exactly(*channel, 5), "hello");
}

TEST_F(Handshake, an_expired_certificate_is_refused_and_the_error_says_until_when_it_was_valid) {
  const auto server = server_with({.names = {"DNS:localhost"}, .valid_from = -7200, .valid_until = -3600});
  const Error error = failure_of(trusting(), server);
  expect_refused(error, "certificate has expired");
  expect_refused(error, "it was valid until ");
  expect_refused(error, "'localhost'");
}

TEST_F(Handshake, a_certificate_of_the_future_is_refused) {
  const auto server = server_with({.names = {"DNS:localhost"}, .valid_from = 3600});
  expect_refused(failure_of(trusting(), server), "certificate is not yet valid");
}

TEST_F(Handshake, a_certificate_for_another_host_is_refused_and_the_error_lists_its_names) {
  const auto server = server_with({.names = {"DNS:one.example", "DNS:two.example", "IP:192.0.2.1"}});
  const Error error = failure_of(trusting(), server);
  expect_refused(error, "certificate is not valid for 'localhost'");
  expect_refused(error, "'one.example', 'two.example', '192.0.2.1'");
}

TEST_F(Handshake, a_common_name_does_not_count_beside_alternative_names) {
  const auto server = server_with({.common_name = "localhost", .names = {"DNS:other.example"}});
  expect_refused(failure_of(trusting(), server), "certificate is not valid for 'localhost'");
}

TEST_F(Handshake, a_wildcard_covers_one_label_and_only_as_a_whole_label) {
  const auto context = make_context(trusting());
  const auto whole = server_with({.names = {"DNS:*.fastpool.example"}});
  EXPECT_TRUE(connect(context, whole, "api.fastpool.example")->version().starts_with("TLS"));
  expect_refused(failure_of(trusting(), whole, "a.b.fastpool.example"), "not valid for 'a.b.fastpool.example'");
  const auto partial = server_with({.names = {"DNS:a*.fastpool.example"}});
  expect_refused(failure_of(trusting(), partial, "api.fastpool.example"), "not valid for 'api.fastpool.example'");
}

TEST_F(Handshake, what_else_is_to_be_verified_counts) {
  const support::LoopbackServer server(localhost_, support::echo);
  TlsSettings settings = trusting();
  settings.verify_flags = X509_V_FLAG_CRL_CHECK;
  expect_refused(failure_of(settings, server), "unable to get certificate CRL");
}

TEST_F(Handshake, an_unknown_issuer_is_refused_by_name) {
  support::CertificateAuthority other("Somebody Else");
  const support::LoopbackServer server({other.issue_localhost()}, support::echo);
  const Error error = failure_of(trusting(), server);
  expect_refused(error, "unable to get local issuer certificate");
  expect_refused(error, "unknown issuer: CN = Somebody Else");
}

TEST_F(Handshake, a_self_signed_certificate_is_refused) {
  support::CertificateAuthority other("Self");
  const support::LoopbackServer server({other.issue_self_signed()}, support::echo);
  expect_refused(failure_of(trusting(), server), "self-signed certificate");
}

TEST_F(Handshake, an_ip_address_is_checked_against_the_addresses_of_the_certificate) {
  const auto context = make_context(trusting());
  const support::LoopbackServer server(localhost_, support::echo);
  connect(context, server, "127.0.0.1");
  connect(context, server, "::1");
  expect_refused(failure_of(trusting(), server, "127.0.0.2"), "certificate is not valid for '127.0.0.2'");
}

TEST_F(Handshake, an_ip_address_written_as_a_dns_name_does_not_count) {
  const auto server = server_with({.common_name = "127.0.0.1", .names = {"DNS:127.0.0.1"}});
  expect_refused(failure_of(trusting(), server, "127.0.0.1"), "certificate is not valid for '127.0.0.1'");
}

TEST_F(Handshake, sni_carries_host_names_without_a_final_dot_and_never_an_address) {
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    const char* name = SSL_get_servername(connection.tls(), TLSEXT_NAMETYPE_host_name);
    connection.write(name == nullptr ? "<none>." : std::string(name) + ".");
    connection.read_to_end();
  });
  const auto context = make_context(trusting());
  EXPECT_EQ(read_exactly(*connect(context, server, "localhost"), 10), "localhost.");
  EXPECT_EQ(read_exactly(*connect(context, server, "localhost."), 10), "localhost.");
  EXPECT_EQ(read_exactly(*connect(context, server, "127.0.0.1"), 7), "<none>.");
}

TEST_F(Handshake, http_1_1_is_offered_by_alpn) {
  const support::LoopbackServer server(localhost_, [](support::ServerConnection& connection) {
    connection.write(connection.offered_protocols() + ".");
    connection.read_to_end();
  });
  EXPECT_EQ(read_exactly(*connect(make_context(trusting()), server), 9), "http/1.1.");
}

TEST_F(Handshake, without_verification_any_certificate_will_do) {
  support::CertificateAuthority other;
  const support::LoopbackServer server(
      {other.issue({.names = {"DNS:elsewhere.example"}, .valid_from = -7200, .valid_until = -3600})}, support::echo);
  TlsSettings settings;
  settings.verify_peer = false;
  const auto channel = connect(make_context(settings), server);
  write_all(*channel, "x");
  EXPECT_EQ(read_exactly(*channel, 1), "x");
}

TEST_F(Handshake, without_the_host_name_check_the_chain_is_still_verified) {
  const auto server = server_with({.names = {"DNS:elsewhere.example"}});
  TlsSettings settings = trusting();
  settings.verify_hostname = false;
  connect(make_context(settings), server);
  support::CertificateAuthority other;
  const support::LoopbackServer unknown({other.issue_localhost()}, support::echo);
  expect_refused(failure_of(settings, unknown), "unknown issuer");
}

TEST_F(Handshake, a_server_that_speaks_only_tls_1_1_is_refused) {
  localhost_.minimum_version = TLS1_VERSION;
  localhost_.maximum_version = TLS1_1_VERSION;
  const support::LoopbackServer server(localhost_, support::echo);
  expect_refused(failure_of(trusting(), server), "no TLS version in common");
  TlsSettings lenient = trusting();
  lenient.minimum_version = TLS1_VERSION;  // never below 1.2, whatever the setting
  expect_refused(failure_of(lenient, server), "no TLS version in common");
}

TEST_F(Handshake, a_maximum_version_is_kept_to) {
  const support::LoopbackServer server(localhost_, support::echo);
  TlsSettings settings = trusting();
  settings.maximum_version = TLS1_2_VERSION;
  EXPECT_EQ(connect(make_context(settings), server)->version(), "TLSv1.2");
}

TEST_F(Handshake, a_server_of_plain_http_is_recognised) {
  const support::LoopbackServer server([](support::ServerConnection& connection) {
    connection.read_some();
    connection.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    connection.read_to_end();
  });
  expect_refused(failure_of(trusting(), server), "is it speaking plain HTTP?");
}

TEST_F(Handshake, a_server_that_closes_during_the_handshake_may_be_tried_again) {
  const support::LoopbackServer server([](support::ServerConnection& connection) { connection.read_some(); });
  const Error error = failure_of(trusting(), server);
  EXPECT_EQ(error.code, ErrorCode::tls_failed);
  EXPECT_FALSE(error.final);
  EXPECT_NE(error.detail.find("during the handshake"), std::string::npos) << error.detail;
}

TEST_F(Handshake, a_reset_during_the_handshake_keeps_its_errno) {
  const support::LoopbackServer server([](support::ServerConnection& connection) {
    connection.read_some();
    connection.reset();
  });
  const Error error = failure_of(trusting(), server);
  EXPECT_EQ(error.os_error, ECONNRESET);
  EXPECT_FALSE(error.final);
}

TEST_F(Handshake, a_client_certificate_is_shown_when_asked_for) {
  localhost_.client_ca_file = authority_.ca_file();
  const support::LoopbackServer server(localhost_, support::echo);
  const auto client = authority_.issue({.common_name = "client", .for_client = true});
  TlsSettings settings = trusting();
  settings.certificate_file = client.certificate;
  settings.private_key_file = client.key;
  const auto channel = connect(make_context(settings), server);
  write_all(*channel, "x");
  EXPECT_EQ(read_exactly(*channel, 1), "x");
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The certificate and its key as the bytes of a PKCS #12 file.
std::string pkcs12_of(const support::CertificateFiles& files, const char* password) {
  const BioHandle certificate_reader(BIO_new_file(files.certificate.c_str(), "r"));
  const std::unique_ptr<X509, Freed<&X509_free>> certificate(
      PEM_read_bio_X509(certificate_reader.get(), nullptr, nullptr, nullptr));
  const BioHandle key_reader(BIO_new_file(files.key.c_str(), "r"));
  const std::unique_ptr<EVP_PKEY, Freed<&EVP_PKEY_free>> key(
      PEM_read_bio_PrivateKey(key_reader.get(), nullptr, nullptr, nullptr));
  const std::unique_ptr<PKCS12, Freed<&PKCS12_free>> file(
      PKCS12_create(password, "client", key.get(), certificate.get(), nullptr, 0, 0, 0, 0, 0));
  const BioHandle writer(BIO_new(BIO_s_mem()));
  EXPECT_EQ(i2d_PKCS12_bio(writer.get(), file.get()), 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(writer.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

TEST_F(Handshake, a_client_certificate_may_be_text_in_memory) {
  localhost_.client_ca_file = authority_.ca_file();
  const support::LoopbackServer server(localhost_, support::echo);
  const auto client = authority_.issue({.common_name = "client", .for_client = true});
  TlsSettings settings;
  settings.ca = content_of(authority_.ca_file());
  settings.certificate = content_of(client.certificate);
  settings.private_key = content_of(client.key);
  for (const bool together : {false, true}) {
    if (together) settings.certificate += std::exchange(settings.private_key, {});
    const auto channel = connect(make_context(settings), server);
    write_all(*channel, "x");
    EXPECT_EQ(read_exactly(*channel, 1), "x");
  }
}

TEST_F(Handshake, a_client_certificate_may_be_pkcs12_in_memory) {
  localhost_.client_ca_file = authority_.ca_file();
  const support::LoopbackServer server(localhost_, support::echo);
  const auto client = authority_.issue({.common_name = "client", .for_client = true});
  TlsSettings settings = trusting();
  for (const char* password : {"open sesame", ""}) {
    settings.pkcs12 = pkcs12_of(client, password);
    settings.private_key_password = password;
    const auto channel = connect(make_context(settings), server);
    write_all(*channel, "x");
    EXPECT_EQ(read_exactly(*channel, 1), "x");
  }
  settings.pkcs12 = pkcs12_of(client, "open sesame");
  settings.private_key_password = "guess";
  EXPECT_NE(Context::create(settings).error().detail.find("wrong password"), std::string::npos);
  settings.pkcs12 = "nonsense";
  EXPECT_NE(Context::create(settings).error().detail.find("cannot be read"), std::string::npos);
}

TEST_F(Handshake, a_certificate_text_that_trusts_the_server_may_stand_beside_a_file) {
  const support::CertificateAuthority other("another CA");
  const support::LoopbackServer server(localhost_, support::echo);
  TlsSettings settings;
  settings.ca_file = other.ca_file();
  EXPECT_EQ(failure_of(settings, server).code, ErrorCode::tls_failed);
  settings.ca = content_of(authority_.ca_file());
  const auto channel = connect(make_context(settings), server);
  write_all(*channel, "x");
  EXPECT_EQ(read_exactly(*channel, 1), "x");
}

TEST_F(Handshake, an_encrypted_key_is_opened_with_its_password) {
  localhost_.client_ca_file = authority_.ca_file();
  const support::LoopbackServer server(localhost_, support::echo);
  const auto client = authority_.issue({.key_password = "open sesame", .for_client = true});
  TlsSettings settings = trusting();
  settings.certificate_file = client.certificate;
  settings.private_key_file = client.key;
  settings.private_key_password = "open sesame";
  const auto channel = connect(make_context(settings), server);
  write_all(*channel, "x");
  EXPECT_EQ(read_exactly(*channel, 1), "x");
}

TEST_F(Handshake, a_missing_client_certificate_ends_a_tls_1_2_handshake_with_the_alert) {
  localhost_.client_ca_file = authority_.ca_file();
  localhost_.maximum_version = TLS1_2_VERSION;
  const support::LoopbackServer server(localhost_, support::echo);
  expect_refused(failure_of(trusting(), server), "alert 'handshake failure'");
}

TEST_F(Handshake, a_missing_client_certificate_shows_at_the_first_read_of_tls_1_3) {
  localhost_.client_ca_file = authority_.ca_file();
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  std::string buffer(16, '\0');
  EXPECT_EQ(channel->read(buffer, net::IoMode::wait).status, net::IoStatus::error);
  EXPECT_NE(channel->last_error().find("certificate required"), std::string::npos) << channel->last_error();
  EXPECT_EQ(channel->read(buffer, net::IoMode::wait).status, net::IoStatus::error) << "and it stays an error";
  EXPECT_EQ(channel->peek(), net::Liveness::dead);
}

TEST_F(Handshake, a_server_name_that_no_certificate_can_carry_is_an_invalid_argument) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  for (const std::string& name :
       {std::string(), std::string(".localhost"), std::string("local\0host", 10), std::string(300, 'a')}) {
    auto made = TlsChannel::create(context, std::make_unique<net::TcpChannel>(server.connect()), name, "key");
    ASSERT_FALSE(made.ok()) << name;
    EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace fastpool::tls

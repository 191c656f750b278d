// The snapshot of a handshake, which can be read while the connection is in use and after its end.

#include <openssl/pem.h>

#include "net/tcp_channel.h"
#include "tls/openssl.h"
#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

using Session = std::shared_ptr<const net::TlsSession>;

class SessionSnapshot : public TlsTest {
 protected:
  static std::string der_of(const std::string& pem_file) {
    const BioHandle file(BIO_new_file(pem_file.c_str(), "r"));
    X509* certificate = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr);
    unsigned char* bytes = nullptr;
    const int size = i2d_X509(certificate, &bytes);
    std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    OPENSSL_free(bytes);
    X509_free(certificate);
    return der;
  }
};

TEST_F(SessionSnapshot, reports_the_negotiated_parameters) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = make_channel(make_context(trusting()), server);
  EXPECT_EQ(channel->tls_session(), nullptr) << "before the handshake there is nothing to tell";
  ASSERT_EQ(run_handshake(*channel), net::IoStatus::ok);
  const Session session = channel->tls_session();
  EXPECT_EQ(session->version, "TLSv1.3");
  EXPECT_TRUE(session->cipher.starts_with("TLS_")) << session->cipher;
  EXPECT_EQ(session->cipher_protocol, "TLSv1.3");
  EXPECT_GE(session->cipher_bits, 128);
  EXPECT_EQ(session->server_name, "localhost");
  EXPECT_FALSE(session->resumed);
  EXPECT_TRUE(session->verified);
  EXPECT_EQ(session->certificate, der_of(localhost_.certificate.certificate));
  EXPECT_FALSE(session->channel_binding.empty());
}

TEST_F(SessionSnapshot, an_older_version_shows_with_its_cipher) {
  localhost_.maximum_version = TLS1_2_VERSION;
  const support::LoopbackServer server(localhost_, support::echo);
  const Session session = connect(make_context(trusting()), server)->tls_session();
  EXPECT_EQ(session->version, "TLSv1.2");
  EXPECT_TRUE(session->cipher.starts_with("ECDHE-")) << session->cipher;
  EXPECT_EQ(session->cipher_protocol, "TLSv1.2");
}

TEST_F(SessionSnapshot, the_server_name_stays_as_it_was_given) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  EXPECT_EQ(connect(context, server, "localhost.")->tls_session()->server_name, "localhost.");
  EXPECT_EQ(connect(context, server, "127.0.0.1")->tls_session()->server_name, "127.0.0.1");
}

TEST_F(SessionSnapshot, without_verification_the_certificate_is_there_and_is_not_called_verified) {
  support::CertificateAuthority other;
  const auto files = other.issue({.names = {"DNS:elsewhere.example"}});
  const support::LoopbackServer server({files}, support::echo);
  TlsSettings settings;
  settings.verify_peer = false;
  const Session session = connect(make_context(settings), server)->tls_session();
  EXPECT_FALSE(session->verified);
  EXPECT_EQ(session->certificate, der_of(files.certificate));
}

TEST_F(SessionSnapshot, a_resumed_session_has_the_certificate_of_the_first) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    localhost_.maximum_version = version;
    const support::LoopbackServer server(localhost_, support::echo);
    const auto context = make_context(trusting());
    const auto meet = [&] {
      const auto channel = connect(context, server);
      write_all(*channel, "x");
      EXPECT_EQ(read_exactly(*channel, 1), "x");  // tickets of TLS 1.3 arrive with the first read
      return channel->tls_session();
    };
    const Session first = meet();
    const Session second = meet();
    EXPECT_FALSE(first->resumed);
    EXPECT_TRUE(second->resumed);
    EXPECT_EQ(second->certificate, first->certificate);
    EXPECT_TRUE(second->verified);
    EXPECT_NE(second->channel_binding, first->channel_binding);
  }
}

TEST_F(SessionSnapshot, the_channel_binding_is_what_the_server_has) {
  const support::LoopbackServer server(localhost_, [](support::ServerConnection& connection) {
    std::string finished(64, '\0');
    finished.resize(SSL_get_peer_finished(connection.tls(), finished.data(), finished.size()));
    connection.write(finished);
    connection.read_to_end();
  });
  const auto channel = connect(make_context(trusting()), server);
  const Session session = channel->tls_session();
  EXPECT_EQ(read_exactly(*channel, session->channel_binding.size()), session->channel_binding);
}

TEST_F(SessionSnapshot, it_outlives_its_channel) {
  const support::LoopbackServer server(localhost_, support::echo);
  Session session;
  {
    const auto channel = connect(make_context(trusting()), server);
    session = channel->tls_session();
    EXPECT_EQ(channel->tls_session(), session) << "one for all who ask";
  }
  EXPECT_EQ(session->version, "TLSv1.3");
  EXPECT_EQ(session->certificate, der_of(localhost_.certificate.certificate));
}

TEST_F(SessionSnapshot, a_plain_connection_has_none) {
  const support::LoopbackServer server(support::echo);
  EXPECT_EQ(net::TcpChannel(server.connect()).tls_session(), nullptr);
}

}  // namespace
}  // namespace fastpool::tls

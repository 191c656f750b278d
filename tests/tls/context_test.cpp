// Each setting that cannot be used gives one clear error that names the file.

#include "tls/context.h"
#include "support/certificates.h"

#include <gtest/gtest.h>

namespace fastpool::tls {
namespace {

class ContextSettings : public ::testing::Test {
 protected:
  static void expect_refused(const TlsSettings& settings, std::initializer_list<std::string_view> words) {
    const auto made = Context::create(settings);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
    for (const std::string_view word : words) {
      EXPECT_NE(made.error().detail.find(word), std::string::npos) << made.error().detail;
    }
  }

  support::CertificateAuthority authority_;
  support::TemporaryDirectory directory_;
};

TEST_F(ContextSettings, the_defaults_make_a_context) {
  const auto made = Context::create({});
  EXPECT_TRUE(made.ok());
}

TEST_F(ContextSettings, a_ca_file_that_is_not_there_is_named) {
  TlsSettings settings;
  settings.ca_file = directory_.path("absent.pem");
  expect_refused(settings, {"CA file", "absent.pem", "No such file"});
}

TEST_F(ContextSettings, a_ca_file_that_is_a_directory_is_reported_as_one) {
  TlsSettings settings;
  settings.ca_file = directory_.path("");
  expect_refused(settings, {"CA file", "Is a directory"});
}

TEST_F(ContextSettings, a_ca_file_without_certificates_is_refused) {
  TlsSettings settings;
  settings.ca_file = directory_.write("empty.pem", "nothing to see\n");
  expect_refused(settings, {"CA file", "empty.pem", "holds no certificates"});
}

TEST_F(ContextSettings, a_ca_directory_must_be_a_directory) {
  TlsSettings settings;
  settings.ca_directory = authority_.ca_file();
  expect_refused(settings, {"CA directory", "Not a directory"});
  settings.ca_directory = directory_.path("absent");
  expect_refused(settings, {"CA directory", "absent", "No such file"});
}

TEST_F(ContextSettings, a_client_certificate_that_is_none_is_named) {
  TlsSettings settings;
  settings.certificate_file = directory_.write("client.pem", "-----BEGIN NONSENSE-----\n");
  expect_refused(settings, {"client certificate", "client.pem"});
}

TEST_F(ContextSettings, a_client_certificate_has_one_source) {
  const auto files = authority_.issue({.for_client = true});
  TlsSettings settings;
  settings.certificate_file = files.certificate;
  settings.private_key_file = files.key;
  settings.pkcs12 = "bytes";
  expect_refused(settings, {"give one of them"});
  settings = {};
  settings.certificate = "text";
  settings.pkcs12 = "bytes";
  expect_refused(settings, {"give one of them"});
  settings = {};
  settings.private_key = "text";
  expect_refused(settings, {"without a client certificate"});
}

TEST_F(ContextSettings, text_in_memory_that_is_no_pem_is_refused) {
  TlsSettings settings;
  settings.ca = "nothing to see";
  expect_refused(settings, {"CA text given in memory", "no certificates"});
  settings = {};
  settings.certificate = "nothing to see";
  expect_refused(settings, {"client certificate given in memory"});
}

TEST_F(ContextSettings, a_certificate_file_without_its_key_is_refused) {
  TlsSettings settings;
  settings.certificate_file = authority_.issue({.for_client = true}).certificate;
  expect_refused(settings, {"private key", settings.certificate_file});
}

TEST_F(ContextSettings, a_key_of_another_certificate_is_refused) {
  TlsSettings settings;
  settings.certificate_file = authority_.issue({.for_client = true}).certificate;
  settings.private_key_file = authority_.issue({.for_client = true}).key;
  expect_refused(settings, {"does not belong to", settings.certificate_file, settings.private_key_file});
}

TEST_F(ContextSettings, a_key_without_a_certificate_is_refused) {
  TlsSettings settings;
  settings.private_key_file = authority_.issue({.for_client = true}).key;
  expect_refused(settings, {"without a client certificate"});
}

TEST_F(ContextSettings, an_encrypted_key_needs_its_password_and_never_asks_on_the_terminal) {
  const auto files = authority_.issue({.key_password = "right", .for_client = true});
  TlsSettings settings;
  settings.certificate_file = files.certificate;
  settings.private_key_file = files.key;
  expect_refused(settings, {files.key, "is encrypted and no password was given"});
  settings.private_key_password = "wrong";
  expect_refused(settings, {files.key, "wrong password?"});
  settings.private_key_password = std::string(5000, 'x');
  expect_refused(settings, {files.key});
  settings.private_key_password = "right";
  EXPECT_TRUE(Context::create(settings).ok());
}

TEST_F(ContextSettings, ciphers_groups_levels_and_versions_are_checked) {
  TlsSettings settings;
  settings.cipher_list = "NO-SUCH-CIPHER";
  expect_refused(settings, {"cipher list 'NO-SUCH-CIPHER'"});
  settings = {};
  settings.groups = "nonsense";
  expect_refused(settings, {"groups 'nonsense'"});
  settings = {};
  settings.security_level = 9;
  expect_refused(settings, {"security level"});
  settings = {};
  settings.minimum_version = 0x0304;
  settings.maximum_version = 0x0303;
  expect_refused(settings, {"maximum TLS version is below the minimum"});
}

}  // namespace
}  // namespace fastpool::tls

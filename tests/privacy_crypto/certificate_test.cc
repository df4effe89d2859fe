#include "privacy/crypto/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <set>
#include <string>

#include "privacy/crypto/openssl_util.h"
#include "tests/privacy_crypto/given.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kNow;

X509Ptr Parse(const std::string& pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return X509Ptr(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

// OpenSSL's own judgement of a chain, as a TLS stack would ask for it.
int Verify(const std::string& leaf_pem, const std::string& ca_pem, int purpose,
           absl::Time now) {
  const X509Ptr leaf = Parse(leaf_pem), ca = Parse(ca_pem);
  const OpensslPtr<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), ca.get());
  const OpensslPtr<X509_STORE_CTX, X509_STORE_CTX_free> context(
      X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(parameters, purpose);
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(now));
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

CertificateAndKey MakeCa(const std::string& name = "test CA") {
  return MakeCertificateAuthority(name, kNow, kNow + absl::Hours(1000)).value();
}

CertificateRequest DeviceRequest() {
  CertificateRequest request;
  request.common_name = "d1";
  request.uri = "edgetune://device/d1";
  request.client_auth = true;
  request.not_before = kNow;
  request.not_after = kNow + absl::Hours(10);
  return request;
}

CertificateRequest ServerRequest() {
  CertificateRequest request = DeviceRequest();
  request.common_name = "server";
  request.uri = "edgetune://server/server";
  request.client_auth = false;
  request.server_auth = true;
  request.dns_names = {"localhost", "coordinator.example.org"};
  request.addresses = {"127.0.0.1", "::1"};
  return request;
}

TEST(CertificateTest, AnIssuedCertificateIsAcceptedForItsPurposeAlone) {
  const CertificateAndKey ca = MakeCa();
  const auto device = IssueCertificate(ca, DeviceRequest());
  const auto server = IssueCertificate(ca, ServerRequest());
  ASSERT_TRUE(device.ok()) << device.status();
  ASSERT_TRUE(server.ok()) << server.status();
  const absl::Time now = kNow + absl::Hours(1);
  const auto verify = [&](const CertificateAndKey& leaf, int purpose) {
    return Verify(leaf.certificate_pem, ca.certificate_pem, purpose, now);
  };
  EXPECT_EQ(verify(*device, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(verify(*server, X509_PURPOSE_SSL_SERVER), X509_V_OK);
  EXPECT_EQ(verify(*device, X509_PURPOSE_SSL_SERVER),
            X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(verify(*server, X509_PURPOSE_SSL_CLIENT),
            X509_V_ERR_INVALID_PURPOSE);
}

TEST(CertificateTest, AnotherCaOfTheSameNameIsNoIssuer) {
  const CertificateAndKey ca = MakeCa(), stranger = MakeCa();
  const auto leaf = IssueCertificate(ca, DeviceRequest());
  ASSERT_TRUE(leaf.ok());
  EXPECT_NE(Verify(leaf->certificate_pem, stranger.certificate_pem,
                   X509_PURPOSE_SSL_CLIENT, kNow),
            X509_V_OK);
  EXPECT_TRUE(CheckIssuedBy(leaf->certificate_pem, ca.certificate_pem).ok());
  const absl::Status denied =
      CheckIssuedBy(leaf->certificate_pem, stranger.certificate_pem);
  EXPECT_EQ(denied.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(denied.message()), HasSubstr("'d1'"));
}

TEST(CertificateTest, ItCountsOnlyWhileInDate) {
  const CertificateAndKey ca = MakeCa();
  const auto leaf = IssueCertificate(ca, DeviceRequest());
  ASSERT_TRUE(leaf.ok());
  const auto at = [&](absl::Time time) {
    return Verify(leaf->certificate_pem, ca.certificate_pem,
                  X509_PURPOSE_SSL_CLIENT, time);
  };
  EXPECT_EQ(at(kNow + absl::Hours(10) + absl::Seconds(1)),
            X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_NE(at(kNow - absl::Seconds(1)), X509_V_OK);
  EXPECT_EQ(at(kNow + absl::Seconds(1)), X509_V_OK);
}

TEST(CertificateTest, ALeafCannotIssue) {
  const CertificateAndKey ca = MakeCa();
  const auto leaf = IssueCertificate(ca, DeviceRequest());
  ASSERT_TRUE(leaf.ok());
  const auto below = IssueCertificate(*leaf, DeviceRequest());
  ASSERT_TRUE(below.ok()) << below.status();
  const absl::Status denied =
      CheckIssuedBy(below->certificate_pem, leaf->certificate_pem);
  EXPECT_EQ(denied.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(denied.message()),
              HasSubstr("not a certificate authority"));
}

TEST(CertificateTest, TheAuthorityHasPathLengthZeroAndSignsCertificatesOnly) {
  const X509Ptr ca = Parse(MakeCa().certificate_pem);
  ASSERT_NE(ca, nullptr);
  EXPECT_EQ(X509_check_ca(ca.get()), 1);
  EXPECT_EQ(X509_get_pathlen(ca.get()), 0);
  EXPECT_EQ(X509_get_key_usage(ca.get()), uint32_t{KU_KEY_CERT_SIGN});
  for (const int nid : {NID_key_usage, NID_basic_constraints}) {
    const int index = X509_get_ext_by_NID(ca.get(), nid, -1);
    ASSERT_GE(index, 0);
    EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(ca.get(), index)), 1);
  }
}

TEST(CertificateTest, ALeafHasTheExtensionsThatTlsStacksAskFor) {
  const CertificateAndKey ca = MakeCa();
  const auto issued = IssueCertificate(ca, ServerRequest());
  ASSERT_TRUE(issued.ok());
  const X509Ptr leaf = Parse(issued->certificate_pem);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_get_key_usage(leaf.get()), uint32_t{KU_DIGITAL_SIGNATURE});
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), uint32_t{XKU_SSL_SERVER});
  EXPECT_NE(X509_get0_subject_key_id(leaf.get()), nullptr);
  EXPECT_NE(X509_get0_authority_key_id(leaf.get()), nullptr);
}

TEST(CertificateTest, AServerAnswersToItsNamesAndNoOthers) {
  const auto issued = IssueCertificate(MakeCa(), ServerRequest());
  ASSERT_TRUE(issued.ok());
  const X509Ptr leaf = Parse(issued->certificate_pem);
  const auto host = [&](const char* name) {
    return X509_check_host(leaf.get(), name, 0, 0, nullptr);
  };
  EXPECT_EQ(host("localhost"), 1);
  EXPECT_EQ(host("coordinator.example.org"), 1);
  EXPECT_EQ(host("example.org"), 0);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "127.0.0.2", 0), 0);
}

TEST(CertificateTest, FactsAreReadBack) {
  const auto issued = IssueCertificate(MakeCa(), DeviceRequest());
  ASSERT_TRUE(issued.ok());
  const auto facts = ReadCertificate(issued->certificate_pem);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->common_name, "d1");
  EXPECT_THAT(facts->uris, ElementsAre("edgetune://device/d1"));
  EXPECT_EQ(facts->not_before, kNow);
  EXPECT_EQ(facts->not_after, kNow + absl::Hours(10));
  EXPECT_EQ(facts->sha256.size(), 32u);
}

TEST(CertificateTest, SerialsHaveSixteenBytesAndDiffer) {
  const CertificateAndKey ca = MakeCa();
  std::set<std::string> serials;
  for (int i = 0; i < 20; ++i) {
    const auto issued = IssueCertificate(ca, DeviceRequest());
    ASSERT_TRUE(issued.ok());
    const X509Ptr leaf = Parse(issued->certificate_pem);
    const ASN1_INTEGER* serial = X509_get0_serialNumber(leaf.get());
    EXPECT_EQ(ASN1_STRING_length(serial), 16);
    EXPECT_EQ(ASN1_STRING_type(serial), V_ASN1_INTEGER);  // not negative
    serials.emplace(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)), 16);
  }
  EXPECT_EQ(serials.size(), 20u);
}

TEST(CertificateTest, KeysAreMatchedToCertificates) {
  const CertificateAndKey ca = MakeCa();
  const auto first = IssueCertificate(ca, DeviceRequest());
  const auto second = IssueCertificate(ca, DeviceRequest());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(CheckKeyMatches(first->certificate_pem, first->key_pem).ok());
  EXPECT_EQ(CheckKeyMatches(first->certificate_pem, second->key_pem).code(),
            absl::StatusCode::kPermissionDenied);
  const absl::Status no_key = CheckKeyMatches(first->certificate_pem, "no");
  EXPECT_EQ(no_key.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(no_key.message()), HasSubstr("the private key"));
  EXPECT_THAT(std::string(CheckKeyMatches("no", first->key_pem).message()),
              HasSubstr("the certificate"));
}

TEST(CertificateTest, ImpossibleRequestsAreRefused) {
  const CertificateAndKey ca = MakeCa();
  std::vector<CertificateRequest> bad(7, DeviceRequest());
  bad[0].client_auth = false;
  bad[1].not_after = bad[1].not_before;
  bad[2].not_after = kNow + absl::Hours(1001);
  bad[3].common_name = std::string(65, 'n');
  bad[4].addresses = {"not an address"};
  bad[5].uri = std::string("edgetune://device/d1\0x", 22);
  bad[6].common_name = "";
  for (const CertificateRequest& request : bad) {
    EXPECT_EQ(IssueCertificate(ca, request).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(CertificateTest, TextInANameIsNeverTakenAsConfiguration) {
  CertificateRequest request = DeviceRequest();
  request.uri = "edgetune://device/d1,URI:edgetune://operator/x";
  const auto issued = IssueCertificate(MakeCa(), request);
  ASSERT_TRUE(issued.ok());
  EXPECT_THAT(ReadCertificate(issued->certificate_pem)->uris,
              ElementsAre(request.uri));
}

TEST(CertificateTest, DamagedTextIsNoCertificate) {
  const std::string pem = MakeCa().certificate_pem;
  EXPECT_FALSE(ReadCertificate("").ok());
  EXPECT_FALSE(ReadCertificate(pem.substr(0, pem.size() / 2)).ok());
  EXPECT_FALSE(ReadCertificate(MakeCa().key_pem).ok());
  for (size_t i = 28; i < pem.size() - 30; i += 7) {
    std::string bad = pem;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    // Whatever can still be read is no longer signed by anyone.
    const absl::Status status = CheckIssuedBy(bad, pem);
    EXPECT_TRUE(bad == pem || !status.ok()) << i;
  }
  EXPECT_EQ(ReadCertificate(std::string(2 << 20, 'x')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace edgetune

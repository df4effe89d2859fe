// Requests for certificates: ours, those of the openssl program, and bad ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <string>

#include "absl/strings/escaping.h"
#include "base/units.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/openssl_util.h"
#include "tests/privacy_crypto/given.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kNow;

// openssl ecparam -name prime256v1 -genkey; openssl req -new -subj /CN=anyone
constexpr char kGood[] =
    "MIHLMHMCAQAwETEPMA0GA1UEAwwGYW55b25lMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQ"
    "cDQgAEshahO+hGsRyyqOV9Hf9N9vzlPz5BO0NBvZ/MBliNJNFPeBMPjp7EH4D+Lkrq"
    "rJN0AKZFO6bvUzl97F8jBj/SwqAAMAoGCCqGSM49BAMCA0gAMEUCIQC0qa6GdxQuLn"
    "LpUf6fxA8xCIF+F4WVXXFtnzuuHzmRoAIgVYLM+Y+7k7o9g7lpbl9tzEtKKmqF6itW"
    "h4Av8oxWHEw=";
// Its public point, by `openssl ec -pubout`.
constexpr char kGoodPoint[] =
    "04b216a13be846b11cb2a8e57d1dff4df6fce53f3e413b4341bd9fcc06588d24d1"
    "4f78130f8e9ec41f80fe2e4aeaac937400a6453ba6ef53397dec5f23063fd2c2";
// The same with -param_enc explicit.
constexpr char kWrittenOutCurve[] =
    "MIIBwjCCAWcCAQAwETEPMA0GA1UEAwwGYW55b25lMIIBSzCCAQMGByqGSM49AgEwgf"
    "cCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAAAAAAAAAAAAAA////////////////"
    "MFsEIP////8AAAABAAAAAAAAAAAAAAAA///////////////8BCBaxjXYqjqT57PrvV"
    "V2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSdNgiG5wSTamZ44ROdJreBn36QBEEEaxfR"
    "8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2"
    "sxXs7LtkBoN79R9QIhAP////8AAAAA//////////+85vqtpxeehPO5ysL8YyVRAgEB"
    "A0IABEpP/BqmzJSjI9GnvoU+/QfMvi3LtXmdKoK7J9Lfp+QCjraC4eLoZVyA163Baj"
    "8oQCPTiVxRbbHYYbgRWpmSsCegADAKBggqhkjOPQQDAgNJADBGAiEAt4R03VOkxQly"
    "GCImpm7kMVnI8DDwDIq1pPO2ImaU+dYCIQCFx7CZM+CTClhC9ymMX94BpmYxQyNzYQ"
    "uh69z9DBjkeg==";

std::string Decode(const char* base64) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(base64, &bytes));
  return bytes;
}

using Request = OpensslPtr<X509_REQ, X509_REQ_free>;

// A request for `key`, signed with `signer`, by OpenSSL itself.
std::string RequestOf(const PkeyPtr& key, const PkeyPtr& signer,
                      const EVP_MD* hash) {
  const Request request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key.get());
  X509_REQ_sign(request.get(), signer.get(), hash);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  const std::string text(reinterpret_cast<char*>(der), size);
  OPENSSL_free(der);
  return text;
}

class SigningRequestTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::string> Certify(std::string_view der) const {
    CertificateRequest wish;
    wish.common_name = "d1";
    wish.uri = "edgetune://device/d1";
    wish.client_auth = true;
    wish.not_before = kNow;
    wish.not_after = kNow + absl::Hours(10);
    return CertifyRequest(ca_, wish, der);
  }
  void ExpectRefused(std::string_view der, const std::string& message) const {
    const auto certificate = Certify(der);
    EXPECT_TRUE(absl::IsInvalidArgument(certificate.status()))
        << certificate.status();
    EXPECT_THAT(std::string(certificate.status().message()),
                HasSubstr(message));
  }

  const CertificateAndKey ca_ =
      MakeCertificateAuthority("test CA", kNow, kNow + absl::Hours(1000))
          .value();
};

TEST_F(SigningRequestTest, OursBecomesACertificateForItsKey) {
  const auto request = MakeSigningRequest("someone");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto certificate = Certify(request->request_der);
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  EXPECT_TRUE(CheckIssuedBy(*certificate, ca_.certificate_pem).ok());
  EXPECT_TRUE(CheckKeyMatches(*certificate, request->key_pem).ok());
  // The authority's words count, not the request's.
  const auto facts = ReadCertificate(*certificate);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->common_name, "d1");
  EXPECT_THAT(facts->uris, ElementsAre("edgetune://device/d1"));
}

TEST_F(SigningRequestTest, ThatOfTheOpensslProgramIsReadAlike) {
  const auto pem = Certify(Decode(kGood));
  ASSERT_TRUE(pem.ok()) << pem.status();
  const BioPtr bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  const X509Ptr certificate(
      PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  unsigned char* point = nullptr;
  const size_t size = EVP_PKEY_get1_encoded_public_key(
      X509_get0_pubkey(certificate.get()), &point);
  EXPECT_EQ(ToHex(std::span<const uint8_t>(point, size)), kGoodPoint);
  OPENSSL_free(point);
}

TEST_F(SigningRequestTest, OurRequestIsValidToOpensslItself) {
  const auto ours = MakeSigningRequest("someone");
  ASSERT_TRUE(ours.ok());
  const auto* at =
      reinterpret_cast<const unsigned char*>(ours->request_der.data());
  const Request request(
      d2i_X509_REQ(nullptr, &at, static_cast<long>(ours->request_der.size())));
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())),
            1);
}

TEST_F(SigningRequestTest, OtherKindsOfKeysAreRefused) {
  const PkeyPtr p384(EVP_EC_gen("P-384")), rsa(EVP_RSA_gen(2048)),
      ed(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  ExpectRefused(RequestOf(p384, p384, EVP_sha256()), "P-256");
  ExpectRefused(RequestOf(rsa, rsa, EVP_sha256()), "P-256");
  ExpectRefused(RequestOf(ed, ed, nullptr), "P-256");
  ExpectRefused(Decode(kWrittenOutCurve), "P-256");
}

TEST_F(SigningRequestTest, SomebodyElsesKeyIsRefused) {
  const PkeyPtr mine(EVP_EC_gen("P-256")), theirs(EVP_EC_gen("P-256"));
  ExpectRefused(RequestOf(theirs, mine, EVP_sha256()),
                "not signed with its own key");
}

TEST_F(SigningRequestTest, EveryFlippedBitIsRefused) {
  const std::string good = Decode(kGood);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_TRUE(absl::IsInvalidArgument(Certify(bad).status())) << bit;
  }
}

TEST_F(SigningRequestTest, CutLongAndEmptyOnesAreRefused) {
  const std::string good = Decode(kGood);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(absl::IsInvalidArgument(Certify(good.substr(0, size)).status()))
        << size;
  }
  ExpectRefused(good + "x", "bytes after its end");
  ExpectRefused(std::string(4097, '0'), "4097 bytes");
  ExpectRefused("", "0 bytes");
}

TEST_F(SigningRequestTest, ANameThatCannotBeIsOurCallersFault) {
  EXPECT_FALSE(MakeSigningRequest("").ok());
  EXPECT_FALSE(MakeSigningRequest(std::string(65, 'a')).ok());
}

}  // namespace
}  // namespace edgetune

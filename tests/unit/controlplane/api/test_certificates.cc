#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <catch2/catch_all.hpp>
#include <memory>
#include <string>

#include "tests/unit/controlplane/api/admin_world.h"

namespace spillway::api {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key MakeKey() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }

void AddExtension(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself when that is null.
Certificate MakeCertificate(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                            int nid, const char* extension) {
  Certificate certificate(X509_new(), &X509_free);
  X509_set_version(certificate.get(), 2);
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24L * 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(certificate.get(),
                       X509_get_subject_name(issuer == nullptr ? certificate.get() : issuer));
  AddExtension(certificate.get(), nid, extension);
  REQUIRE(X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0);
  return certificate;
}

std::string WriteKey(const std::string& path, EVP_PKEY* key) {
  FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  std::fclose(file);
  return path;
}

std::string WriteCertificate(const std::string& path, X509* certificate) {
  FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(PEM_write_X509(file, certificate) == 1);
  std::fclose(file);
  return path;
}

}  // namespace

TestCertificates MakeCertificates(const TempFolder& folder) {
  const Key ca_key = MakeKey();
  const Key server_key = MakeKey();
  const Key client_key = MakeKey();
  const Certificate ca = MakeCertificate("test authority", ca_key.get(), nullptr, ca_key.get(),
                                         NID_basic_constraints, "critical,CA:TRUE");
  const Certificate server = MakeCertificate("localhost", server_key.get(), ca.get(), ca_key.get(),
                                             NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  const Certificate client = MakeCertificate("operator", client_key.get(), ca.get(), ca_key.get(),
                                             NID_basic_constraints, "CA:FALSE");
  return {.ca = WriteCertificate(folder.Path("ca.pem"), ca.get()),
          .server_cert = WriteCertificate(folder.Path("server.pem"), server.get()),
          .server_key = WriteKey(folder.Path("server.key"), server_key.get()),
          .client_cert = WriteCertificate(folder.Path("client.pem"), client.get()),
          .client_key = WriteKey(folder.Path("client.key"), client_key.get())};
}

}  // namespace spillway::api

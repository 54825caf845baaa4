#include "common/crypto/signing.h"

#include <array>
#include <catch2/catch_all.hpp>
#include <filesystem>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

using v1::Signed;

constexpr std::array kPurposes = {Signed::PURPOSE_LATEST,   Signed::PURPOSE_DELTA,
                                  Signed::PURPOSE_MANIFEST, Signed::PURPOSE_INSTRUCTION,
                                  Signed::PURPOSE_GRANT,    Signed::PURPOSE_SNAPSHOT_FILE};

struct Pair {
  Signer signer;
  Verifier verifier;
};
Pair MakePair(const TempFolder& folder, const std::string& name = "sign.pem") {
  auto signer = Signer::FromFile(folder.Path(name), /*create=*/true).value();
  return {std::move(signer), Verifier::FromFile(folder.Path(name + ".pub")).value()};
}

}  // namespace

TEST_CASE("what is signed is verified, for every purpose") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  for (const auto purpose : kPurposes) {
    for (const std::string& payload :
         {std::string(), std::string("x"), std::string(100'000, 'y')}) {
      const Signed message = pair.signer.Sign(purpose, payload, true);
      CHECK(message.payload() == payload);
      CHECK(message.zstd());
      CHECK(message.key_id() == pair.signer.key_id());
      CHECK(message.signature().size() == 64);
      CHECK(pair.verifier.Verify(message, purpose));
    }
  }
}

TEST_CASE("a signature holds for its own purpose only") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  for (const auto signed_for : kPurposes) {
    Signed message = pair.signer.Sign(signed_for, "payload");
    for (const auto wanted : kPurposes) {
      if (wanted == signed_for) continue;
      CHECK_FALSE(pair.verifier.Verify(message, wanted));
      // Relabelling does not help either: the signature covers the purpose.
      Signed relabelled = message;
      relabelled.set_purpose(wanted);
      CHECK_FALSE(pair.verifier.Verify(relabelled, wanted));
    }
  }
  Signed nameless = pair.signer.Sign(Signed::PURPOSE_LATEST, "payload");
  nameless.set_purpose(Signed::PURPOSE_UNSPECIFIED);
  CHECK_FALSE(pair.verifier.Verify(nameless, Signed::PURPOSE_UNSPECIFIED));
}

TEST_CASE("an altered message is refused") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  const Signed good = pair.signer.Sign(Signed::PURPOSE_DELTA, "payload");
  const auto refused = [&](auto&& change) {
    Signed bad = good;
    change(bad);
    const auto result = pair.verifier.Verify(bad, Signed::PURPOSE_DELTA);
    return !result && result.error().code == ErrorCode::kCorrupt;
  };
  CHECK(refused([](Signed& m) { m.set_payload("paylord"); }));
  CHECK(refused([](Signed& m) { m.clear_payload(); }));
  CHECK(refused([](Signed& m) { m.set_key_id("0123456789abcdef"); }));
  CHECK(refused([](Signed& m) { m.clear_signature(); }));
  CHECK(refused([](Signed& m) { m.mutable_signature()->push_back('\0'); }));
  CHECK(refused([](Signed& m) { m.mutable_signature()->resize(63); }));
  for (size_t i = 0; i < 64; ++i) {
    REQUIRE(refused([i](Signed& m) { (*m.mutable_signature())[i] ^= 1; }));
  }
}

TEST_CASE("another key's signature is refused, also under our id") {
  const TempFolder folder;
  const Pair ours = MakePair(folder);
  const Pair theirs = MakePair(folder, "theirs.pem");
  Signed message = theirs.signer.Sign(Signed::PURPOSE_LATEST, "payload");
  CHECK_FALSE(ours.verifier.Verify(message, Signed::PURPOSE_LATEST));
  message.set_key_id(ours.signer.key_id());
  CHECK_FALSE(ours.verifier.Verify(message, Signed::PURPOSE_LATEST));
}

TEST_CASE("a key is made once, private, and read again") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  CHECK(folder.Mode("sign.pem") == 0600);
  CHECK(folder.Mode("sign.pem.pub") == 0644);
  CHECK(folder.Read("sign.pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
  CHECK(folder.Read("sign.pem.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
  CHECK(pair.signer.key_id().size() == 16);

  const auto again = Signer::FromFile(folder.Path("sign.pem"), /*create=*/true).value();
  CHECK(again.key_id() == pair.signer.key_id());
  CHECK(pair.verifier.Verify(again.Sign(Signed::PURPOSE_GRANT, "x"), Signed::PURPOSE_GRANT));
}

TEST_CASE("a lost public half is made again") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  const std::string before = folder.Read("sign.pem.pub");
  std::filesystem::remove(folder.Path("sign.pem.pub"));
  REQUIRE(Signer::FromFile(folder.Path("sign.pem"), /*create=*/true));
  CHECK(folder.Read("sign.pem.pub") == before);
}

TEST_CASE("what is no Ed25519 key is refused") {
  const TempFolder folder;
  const Pair pair = MakePair(folder);
  CHECK(Signer::FromFile(folder.Path("absent"), false).error().code == ErrorCode::kUnavailable);
  CHECK(Signer::FromFile(folder.Write("junk", "junk"), true).error().code == ErrorCode::kCorrupt);
  CHECK_FALSE(Signer::FromFile(folder.Path("sign.pem.pub"), false));
  CHECK_FALSE(Verifier::FromFile(folder.Path("sign.pem")));
  CHECK_FALSE(Verifier::FromFile(folder.Path("absent")));
  // An X25519 key: the right size, the wrong algorithm.
  CHECK_FALSE(Verifier::FromFile(
      folder.Write("x25519",
                   "-----BEGIN PUBLIC KEY-----\n"
                   "MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                   "-----END PUBLIC KEY-----\n")));
}

}  // namespace spillway

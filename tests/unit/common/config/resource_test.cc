#include "common/config/resource.h"

#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch_all.hpp>

#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {

TEST_CASE("kinds have names, singular and plural") {
  CHECK(AllKinds().size() == 11);
  for (const v1::Kind kind : AllKinds()) {
    CHECK(KindNamed(NameOf(kind)) == kind);
    CHECK(KindNamed(std::string(NameOf(kind)) + "s") == kind);
  }
  CHECK(KindNamed("rate-limits") == v1::KIND_RATE_LIMIT);
  CHECK(KindNamed("price-book") == v1::KIND_PRICE_BOOK);
  CHECK(NameOf(v1::KIND_UNSPECIFIED) == "unknown");
  for (const char* name : {"", "s", "unknown", "Model", "modelss", "guardrail", "rate--limit"})
    CHECK(KindNamed(name) == std::nullopt);
}

TEST_CASE("entries hold the same bytes every time and become the resource again") {
  const LoadResult loaded = LoadText(kFullSample);
  REQUIRE(loaded.config.resources.size() == kFullResources);
  for (const v1::Resource& resource : loaded.config.resources) {
    const v1::Entry entry = ToEntry(resource);
    CHECK(entry.kind() == KindOf(resource));
    CHECK(entry.name() == NameOf(resource));
    CHECK(entry.bytes() == ToEntry(v1::Resource(resource)).bytes());
    const auto back = FromEntry(entry);
    REQUIRE(back);
    CHECK(google::protobuf::util::MessageDifferencer::Equals(*back, resource));
  }
}

TEST_CASE("entries that do not hold what they say are refused") {
  v1::Resource model;
  model.mutable_model()->set_name("m");
  const v1::Entry good = ToEntry(model);
  v1::Entry bad = good;
  bad.set_name("other");
  CHECK(FromEntry(bad).error().code == ErrorCode::kCorrupt);
  bad = good;
  bad.set_bytes("\xFF\xFF");
  CHECK_FALSE(FromEntry(bad));
  bad = good;
  bad.set_kind(v1::KIND_UNSPECIFIED);
  CHECK_FALSE(FromEntry(bad));
  bad.set_kind(static_cast<v1::Kind>(10));
  CHECK_FALSE(FromEntry(bad));
  bad.set_kind(static_cast<v1::Kind>(-3));
  CHECK_FALSE(FromEntry(bad));
}

TEST_CASE("a resource of no kind has neither kind nor name") {
  CHECK(KindOf(v1::Resource()) == v1::KIND_UNSPECIFIED);
  CHECK(NameOf(v1::Resource()).empty());
  CHECK_FALSE(FromEntry(ToEntry(v1::Resource())));
}

TEST_CASE("what operators see holds no secret") {
  v1::Resource provider;
  provider.mutable_provider()->set_name("p");
  v1::Secret& secret = *provider.mutable_provider()->add_credentials()->mutable_api_key();
  secret.set_reference("${env:X}");
  secret.set_plaintext("sk-plain");
  secret.mutable_sealed()->set_ciphertext("sealed-bytes");
  const std::string shown = Redacted(provider).SerializeAsString();
  CHECK(shown.contains("${env:X}"));
  CHECK_FALSE(shown.contains("sk-plain"));
  CHECK_FALSE(shown.contains("sealed-bytes"));

  v1::Resource sink;
  *sink.mutable_alert_sink()->mutable_url() = secret;
  *sink.mutable_alert_sink()->mutable_signing_secret() = secret;
  const std::string shown_sink = Redacted(sink).SerializeAsString();
  CHECK(shown_sink.contains("${env:X}"));
  CHECK_FALSE(shown_sink.contains("sk-plain"));
  CHECK_FALSE(shown_sink.contains("sealed-bytes"));
  CHECK_FALSE(Redacted(v1::Resource(sink)).alert_sink().url().has_sealed());

  v1::Resource key;
  key.mutable_key()->set_name("k");
  key.mutable_key()->add_secrets()->set_sha256("digest-bytes");
  key.mutable_key()->mutable_secrets(0)->set_public_id("abcdefghijkl");
  CHECK_FALSE(Redacted(key).SerializeAsString().contains("digest-bytes"));
  CHECK(Redacted(key).key().secrets(0).public_id() == "abcdefghijkl");
}

}  // namespace spillway::config

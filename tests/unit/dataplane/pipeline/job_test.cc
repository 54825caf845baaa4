#include "dataplane/pipeline/job.h"

#include <catch2/catch_all.hpp>

namespace spillway {
namespace {

struct Row {
  const char* name;
  const char* key_user;
  const char* header;
  const char* metadata_user;
  const char* body_user;
  const char* metadata_feature;
  const char* user;
  const char* feature;
};

TEST_CASE("who pays is the key's own user, else the one the request names") {
  const Row rows[] = {
      {"nothing said", "", "", "", "", "", "", "keys-feature"},
      {"the key's own user wins", "alice", R"({"user":"mallory"})", "mallory", "mallory", "",
       "alice", "keys-feature"},
      {"header first", "", R"({"user":"u1","feature":"f1"})", "u2", "u3", "f2", "u1", "f1"},
      {"metadata next", "", "", "u2", "u3", "f2", "u2", "f2"},
      {"the body's user last", "", "", "", "u3", "", "u3", "keys-feature"},
      {"a user that is no name", "", "", "not a name", "u3", "", "u3", "keys-feature"},
      {"a feature with a line end", "", "", "", "", "a\nb", "", "keys-feature"},
      {"header with one of them", "", R"({"feature":"f1"})", "u2", "", "f2", "u2", "f1"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      KeySpec key;
      key.user = row.key_user;
      key.feature = "keys-feature";
      Job job{.key = std::make_shared<KeySpec>(key)};
      job.request.metadata_user = row.metadata_user;
      job.request.user = row.body_user;
      job.request.metadata_feature = row.metadata_feature;
      RequestHead head;
      if (*row.header != '\0') head.headers.push_back({"X-Spillway-Metadata", row.header});
      REQUIRE(Attribute(head, job).has_value());
      CHECK(job.user == row.user);
      CHECK(job.feature == row.feature);
    }
  }
}

TEST_CASE("a metadata header that is no object is refused") {
  for (const char* value : {"x", "[1]", "{\"user\":\"a\"", "{\"user\":\"a\",\"user\":\"b\"}"}) {
    DYNAMIC_SECTION(value) {
      Job job{.key = std::make_shared<KeySpec>()};
      RequestHead head;
      head.headers.push_back({"x-spillway-metadata", value});
      const Result<void> result = Attribute(head, job);
      REQUIRE_FALSE(result.has_value());
      CHECK(result.error().code == ErrorCode::kInvalidRequest);
    }
  }
}

TEST_CASE("a long feature is cut between characters") {
  Job job{.key = std::make_shared<KeySpec>()};
  for (int i = 0; i < 100; ++i) job.request.metadata_feature += "\xc3\xa9";
  job.request.metadata_feature.insert(0, "x");
  REQUIRE(Attribute({}, job).has_value());
  CHECK(job.feature.size() == 127);
}

TEST_CASE("the client's timeout is a positive number") {
  const std::pair<const char*, int64_t> rows[] = {
      {"1", 1},   {"30000", 30'000}, {"0", -1},        {"-5", -1},
      {"1s", -1}, {"1.5", -1},       {"86400001", -1}, {"", 0}};
  for (const auto& [value, want] : rows) {
    DYNAMIC_SECTION("'" << value << "'") {
      RequestHead head;
      head.headers.push_back({"x-spillway-timeout-ms", value});
      CHECK(ClientTimeoutMs(head).value_or(-1) == want);
    }
  }
}

}  // namespace
}  // namespace spillway

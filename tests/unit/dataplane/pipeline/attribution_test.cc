#include "dataplane/pipeline/attribution.h"

#include <catch2/catch_all.hpp>

namespace spillway {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Job JobOf(const std::string& key_user = "") {
  KeySpec key;
  key.name = "bot";
  key.team = "support";
  key.organization = "acme";
  key.user = key_user;
  key.feature = "keys-feature";
  return Job{.key = std::make_shared<KeySpec>(key)};
}

RequestHead HeadWith(std::string_view metadata) {
  RequestHead head;
  if (!metadata.empty()) head.headers.push_back({"X-Spillway-Metadata", metadata});
  return head;
}

TEST_CASE("who pays is the key's own user, else the one the request names") {
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
  const Row rows[] = {
      {"nothing said", "", "", "", "", "", "", "keys-feature"},
      {"the key's own user wins", "alice", R"({"user":"mallory"})", "mallory", "mallory", "",
       "alice", "keys-feature"},
      {"header first", "", R"({"user":"u1","feature":"f1"})", "u2", "u3", "f2", "u1", "f1"},
      {"metadata next", "", "", "u2", "u3", "f2", "u2", "f2"},
      {"the body's user last", "", "", "", "u3", "", "u3", "keys-feature"},
      {"an address is a user", "", "", "a.b+c@example.com", "u3", "", "a.b+c@example.com",
       "keys-feature"},
      {"a user with a control character", "", "", "a\x1b[0m", "u3", "", "u3", "keys-feature"},
      {"a user that is no UTF-8", "", "", "a\xff", "u3", "", "u3", "keys-feature"},
      {"one of the other control characters", "", "", "a\xc2\x85", "u3", "", "u3", "keys-feature"},
      {"a feature with a line end", "", "", "", "", "a\nb", "", "keys-feature"},
      {"header with one of them", "", R"({"feature":"f1"})", "u2", "", "f2", "u2", "f1"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Job job = JobOf(row.key_user);
      job.request.metadata_user = row.metadata_user;
      job.request.user = row.body_user;
      job.request.metadata_feature = row.metadata_feature;
      REQUIRE(Attribute(HeadWith(row.header), job, nullptr).has_value());
      CHECK(job.user == row.user);
      CHECK(job.feature == row.feature);
    }
  }
}

TEST_CASE("tags come from the header, then from the body, sorted and clean") {
  struct Row {
    const char* name;
    const char* header;
    Pairs body;
    Pairs want;
  };
  const std::string long_name(65, 'n');
  const std::string long_value(70, 'v');
  const Row rows[] = {
      {"none", "", {}, {}},
      {"body", "", {{"env", "prod"}, {"app", "web"}}, {{"app", "web"}, {"env", "prod"}}},
      {"the header wins",
       R"({"env":"test"})",
       {{"env", "prod"}, {"b", "1"}},
       {{"b", "1"}, {"env", "test"}}},
      {"user and feature are no tags",
       R"({"user":"u","feature":"f","x":"1"})",
       {{"user", "v"}, {"feature", "g"}},
       {{"x", "1"}}},
      {"a name too long is dropped", "", {{long_name, "1"}, {"b", "2"}}, {{"b", "2"}}},
      {"a value too long is cut", "", {{"b", long_value}}, {{"b", std::string(64, 'v')}}},
      {"control characters", "", {{"a\n", "1"}, {"b", "\t"}, {"c", "3"}}, {{"c", "3"}}},
      {"empty", "", {{"", "1"}, {"b", ""}, {"c", "3"}}, {{"c", "3"}}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Job job = JobOf();
      job.request.metadata = row.body;
      REQUIRE(Attribute(HeadWith(row.header), job, nullptr).has_value());
      CHECK(job.tags == row.want);
    }
  }
}

TEST_CASE("no request has more than eight tags, and the header's are kept") {
  Job job = JobOf();
  for (int i = 0; i < 9; ++i) job.request.metadata.emplace_back("b" + std::to_string(i), "1");
  REQUIRE(Attribute(HeadWith(R"({"z1":"1","z2":"2"})"), job, nullptr).has_value());
  REQUIRE(job.tags.size() == kTagsMax);
  CHECK(job.tags.front().first == "b0");
  CHECK(job.tags[5].first == "b5");
  CHECK(job.tags[6].first == "z1");
  CHECK(job.tags[7].first == "z2");
}

TEST_CASE("a metadata header that is no object is refused") {
  for (const char* value : {"x", "[1]", R"({"user":"a")", R"({"user":"a","user":"b"})"}) {
    DYNAMIC_SECTION(value) {
      Job job = JobOf();
      const Result<void> result = Attribute(HeadWith(value), job, nullptr);
      REQUIRE_FALSE(result.has_value());
      CHECK(result.error().code == ErrorCode::kInvalidRequest);
    }
  }
}

TEST_CASE("a long feature is cut between characters") {
  Job job = JobOf();
  job.key = std::make_shared<KeySpec>();
  for (int i = 0; i < 100; ++i) job.request.metadata_feature += "\xc3\xa9";
  job.request.metadata_feature.insert(0, "x");
  REQUIRE(Attribute({}, job, nullptr).has_value());
  CHECK(job.feature.size() == 127);
}

TEST_CASE("what clients invent is bounded per team, what operators configured is not") {
  ManualClock clock;
  DistinctNames names(clock, 1);
  const auto attribute = [&](Job job) {
    REQUIRE(Attribute({}, job, &names).has_value());
    return job;
  };
  Job first = JobOf();
  first.request.user = "u1";
  first.request.metadata = {{"env", "e1"}};
  CHECK(attribute(first).user == "u1");
  Job second = JobOf();
  second.request.user = "u2";
  second.request.metadata = {{"env", "e2"}};
  second = attribute(second);
  CHECK(second.user == "(overflow)");
  CHECK(second.feature == "keys-feature");
  CHECK(second.tags == Pairs{{"env", "(overflow)"}});
  CHECK(attribute(JobOf("alice")).user == "alice");
  CHECK(names.overflowed(DistinctNames::Kind::kUser) == 1);
}

TEST_CASE("scopes see the client's own words, and the target only when there is one") {
  Job job = JobOf();
  job.user = "alice";
  job.request.model = "tier";
  job.tags = {{"env", "prod"}};
  ModelSpec model;
  model.name = "mini";
  ProviderSpec provider;
  provider.name = "openai";
  model.provider = std::make_shared<ProviderSpec>(provider);
  const Facts before = FactsOf(job, nullptr);
  CHECK(before.organization == "acme");
  CHECK(before.team == "support");
  CHECK(before.key == "bot");
  CHECK(before.user == "alice");
  CHECK(before.route == "tier");
  CHECK(before.model.empty());
  CHECK(before.provider.empty());
  REQUIRE(before.tags.size() == 1);
  CHECK(FactsOf(job, &model).model == "mini");
  CHECK(FactsOf(job, &model).provider == "openai");
}

}  // namespace
}  // namespace spillway

#include "controlplane/store/instances.h"

#include <catch2/catch_all.hpp>

#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

v1::Instance Seen(const std::string& name, const std::string& incarnation, bool here = true) {
  v1::Instance instance;
  instance.set_instance(name);
  instance.set_incarnation(incarnation);
  instance.set_version("1");
  instance.set_connected(here);
  instance.set_revision(9);
  return instance;
}

struct InstancesFixture {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open({.path = folder.path()}).value();
  std::unique_ptr<Instances> instances = Instances::Open(*store).value();
};

}  // namespace

TEST_CASE("the roster keeps who was heard, and counts who is expected") {
  InstancesFixture fixture;
  CHECK(fixture.instances->Expected() == 0);
  REQUIRE(fixture.instances->Note(Seen("a", "1")));
  REQUIRE(fixture.instances->Note(Seen("b", "1")));
  REQUIRE(fixture.instances->Note(Seen("a", "1")));
  CHECK(fixture.instances->Expected() == 2);
  REQUIRE(fixture.instances->Note(Seen("a", "1", false)));  // goodbye
  CHECK(fixture.instances->Expected() == 1);
  fixture.instances = Instances::Open(*fixture.store).value();
  CHECK(fixture.instances->Expected() == 1);
  CHECK(fixture.instances->List().size() == 2);
  CHECK(fixture.instances->Find("a")->incarnation() == "1");
  CHECK(fixture.instances->Find("a")->revision() == 0);  // nothing that does not last
  REQUIRE(fixture.instances->Note(Seen("a", "2")));
  CHECK(fixture.instances->Expected() == 2);
}

TEST_CASE("a retired instance stays retired until it lives again") {
  InstancesFixture fixture;
  CHECK(fixture.instances->Retire("a", 1).error().code == ErrorCode::kNotFound);
  REQUIRE(fixture.instances->Note(Seen("a", "1")));
  WriteBatch with;
  with.Put(Table::kLedgerMarks, "mark", "x");
  const auto retired = fixture.instances->Retire("a", 5, std::move(with));
  REQUIRE(retired);
  CHECK(fixture.store->Get(Table::kLedgerMarks, "mark").value() == "x");
  CHECK(fixture.instances->Find("a")->retired());
  CHECK(fixture.instances->Expected() == 0);
  REQUIRE(fixture.instances->Note(Seen("a", "1")));  // a late heartbeat of the same life
  CHECK(fixture.instances->Find("a")->retired());
  fixture.instances = Instances::Open(*fixture.store).value();
  CHECK(fixture.instances->Find("a")->retired());
  REQUIRE(fixture.instances->Note(Seen("a", "2")));
  CHECK_FALSE(fixture.instances->Find("a")->retired());
  CHECK(fixture.instances->Expected() == 1);
}

TEST_CASE("on a full roster the one gone for the longest makes room") {
  InstancesFixture fixture;
  WriteBatch full;
  for (int i = 0; i < 10'000; ++i) {
    v1::Instance instance = Seen("dp-" + std::to_string(i), "1");
    instance.set_last_seen_ms(1'000 + i);
    instance.set_connected(i != 7 && i != 9);
    instance.set_retired(i == 8);
    full.Put(Table::kInstances, instance.instance(), instance.SerializeAsString());
  }
  const auto filled = fixture.store->Write(std::move(full));
  REQUIRE(filled);
  fixture.instances = Instances::Open(*fixture.store).value();
  const bool reopened = GENERATE(true, false);
  for (const std::string left : {"dp-7", "dp-8", "dp-9"}) {
    REQUIRE(fixture.instances->Note(Seen("in place of " + left, "1")));
    if (reopened) fixture.instances = Instances::Open(*fixture.store).value();
    CHECK_FALSE(fixture.instances->Find(left));
    CHECK(fixture.instances->Find("in place of " + left));
    CHECK(fixture.instances->List().size() == 10'000);
  }
  // Who is only silent may come back.
  const auto refused = fixture.instances->Note(Seen("one more", "1"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("retire") != std::string::npos);
  CHECK(fixture.instances->Note(Seen("dp-1", "2")));
}

TEST_CASE("names that cannot be are not kept") {
  InstancesFixture fixture;
  CHECK_FALSE(fixture.instances->Note(Seen("", "1")));
  CHECK_FALSE(fixture.instances->Note(Seen(std::string(129, 'x'), "1")));
  CHECK(fixture.instances->List().empty());
}

}  // namespace spillway

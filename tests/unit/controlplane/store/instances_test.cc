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
  CHECK(fixture.instances->IsRetired("a"));
  CHECK(fixture.instances->Expected() == 0);
  REQUIRE(fixture.instances->Note(Seen("a", "1")));  // a late heartbeat of the same life
  CHECK(fixture.instances->IsRetired("a"));
  fixture.instances = Instances::Open(*fixture.store).value();
  CHECK(fixture.instances->IsRetired("a"));
  REQUIRE(fixture.instances->Note(Seen("a", "2")));
  CHECK_FALSE(fixture.instances->IsRetired("a"));
  CHECK(fixture.instances->Expected() == 1);
}

TEST_CASE("names that cannot be are not kept") {
  InstancesFixture fixture;
  CHECK_FALSE(fixture.instances->Note(Seen("", "1")));
  CHECK_FALSE(fixture.instances->Note(Seen(std::string(129, 'x'), "1")));
  CHECK(fixture.instances->List().empty());
}

}  // namespace spillway

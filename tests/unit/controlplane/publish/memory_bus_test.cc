#include "tests/fakes/memory_bus.h"

#include <catch2/catch_all.hpp>

namespace spillway {

TEST_CASE("subjects match as NATS matches them") {
  struct Row {
    const char* pattern;
    const char* subject;
    bool want;
  };
  const Row rows[] = {{"a.b", "a.b", true},      {"a.b", "a.c", false}, {"a.*", "a.b", true},
                      {"a.*", "a.b.c", false},   {"a.*", "a", false},   {"a.>", "a.b.c", true},
                      {"a.>", "a", false},       {"*.b", "a.b", true},  {"a.*.c", "a.b.c", true},
                      {"a.*.c", "a.b.d", false}, {"a", "a.b", false},   {">", "a.b", true},
                      {"a.b", "a", false},       {"ab", "a", false}};
  for (const Row& row : rows) {
    INFO(row.pattern << " " << row.subject);
    CHECK(SubjectMatches(row.pattern, row.subject) == row.want);
  }
}

TEST_CASE("the memory bus keeps streams as the server does") {
  MemoryBus bus;
  REQUIRE(bus.EnsureStream({.name = "S", .subjects = {"s.*"}, .messages_per_subject_max = 1}));
  CHECK(bus.PublishToStream("other", "x", {}).error().code == ErrorCode::kUnavailable);
  CHECK(bus.PublishToStream("s.a", "1", {.message_id = "m"}).value() == 1);
  CHECK(bus.PublishToStream("s.a", "1", {.message_id = "m"}).value() == 1);
  CHECK(bus.PublishToStream("s.a", "2", {.expect_last_subject_seq = 0}).error().code ==
        ErrorCode::kConflict);
  CHECK(bus.PublishToStream("s.a", "2", {.expect_last_subject_seq = 1}).value() == 2);
  CHECK(bus.PublishToStream("s.b", "3", {.expect_last_subject_seq = 0}).value() == 3);
  CHECK(bus.Messages("S").size() == 2);
  CHECK(bus.GetLast("S", "s.a", 1)->value().payload == "2");
  CHECK(bus.GetLast("S", "s.c", 1).value() == std::nullopt);
  CHECK(bus.GetLast("T", "s.c", 1).error().code == ErrorCode::kNotFound);
  const int64_t created = bus.GetStreamState("S")->created_ns;
  REQUIRE(bus.Purge("S", 3, ""));
  CHECK(bus.GetStreamState("S")->first_seq == 3);
  CHECK(bus.GetStreamState("S")->last_seq == 3);
  bus.WipeStream("S");
  CHECK(bus.GetStreamState("S").error().code == ErrorCode::kNotFound);
  REQUIRE(bus.EnsureStream({.name = "S", .subjects = {"s.*"}}));
  CHECK(bus.GetStreamState("S")->created_ns != created);
}

TEST_CASE("a full stream that discards the new refuses, one that discards the old forgets") {
  MemoryBus bus;
  REQUIRE(bus.EnsureStream({.name = "N", .subjects = {"n"}, .bytes_max = 10, .discard_new = true}));
  REQUIRE(bus.EnsureStream({.name = "O", .subjects = {"o"}, .bytes_max = 10}));
  CHECK(bus.PublishToStream("n", "123456", {}));
  CHECK(bus.PublishToStream("n", "123456", {}).error().code == ErrorCode::kUnavailable);
  CHECK(bus.PublishToStream("o", "123456", {}));
  CHECK(bus.PublishToStream("o", "123456", {}));
  CHECK(bus.Messages("O").size() == 1);
}

TEST_CASE("a pull consumer delivers again what was not acknowledged") {
  MemoryBus bus;
  REQUIRE(bus.EnsureStream({.name = "S", .subjects = {"s"}}));
  for (const char* payload : {"1", "2", "3"}) REQUIRE(bus.PublishToStream("s", payload, {}));
  auto consumer = bus.Consume({.stream = "S", .name = "c", .start_seq = 2}).value();
  CHECK(consumer->Fetch(10, 0)->size() == 2);
  CHECK(consumer->Fetch(10, 0)->size() == 2);
  REQUIRE(consumer->AckAll());
  CHECK(consumer->Fetch(10, 0)->empty());
  REQUIRE(bus.PublishToStream("s", "4", {}));
  consumer = bus.Consume({.stream = "S", .name = "c", .start_seq = 1}).value();
  CHECK(consumer->Fetch(10, 0)->front().payload == "4");
  REQUIRE(bus.DeleteConsumer("S", "c"));
  CHECK(consumer->Fetch(10, 0).error().code == ErrorCode::kNotFound);
}

TEST_CASE("each client of the memory bus can be cut off by itself") {
  MemoryBus bus;
  const auto other = bus.Client();
  int heard = 0;
  auto subscription = other->Subscribe("a.>", [&](const BusMessage&) { ++heard; }).value();
  int connects = 0;
  other->OnConnected([&] { ++connects; });
  CHECK(connects == 1);
  REQUIRE(bus.Publish("a.b", "x"));
  CHECK(heard == 1);
  other->Disconnect();
  REQUIRE(bus.Publish("a.b", "x"));
  CHECK(heard == 1);
  CHECK(other->Publish("a.b", "x").error().code == ErrorCode::kUnavailable);
  CHECK(other->state() == BusState::kConnecting);
  other->Reconnect();
  CHECK(connects == 2);
  bus.DeliverTwice(true);
  REQUIRE(bus.Publish("a.b", "x"));
  CHECK(heard == 3);
  subscription.reset();
  REQUIRE(bus.Publish("a.b", "x"));
  CHECK(heard == 3);
}

TEST_CASE("faults of the memory bus") {
  MemoryBus bus;
  REQUIRE(bus.EnsureStream({.name = "S", .subjects = {"s"}}));
  bus.DropAcks(1);
  CHECK_FALSE(bus.PublishToStream("s", "stored", {}));
  bus.FailPublishes(1);
  CHECK_FALSE(bus.PublishToStream("s", "not stored", {}));
  bus.FailPublishesFrom(2);
  CHECK(bus.PublishToStream("s", "stored", {}));
  CHECK_FALSE(bus.PublishToStream("s", "not stored", {}));
  CHECK_FALSE(bus.PublishToStream("s", "not stored", {}));
  bus.FailPublishes(0);
  CHECK(bus.Messages("S").size() == 2);
  bus.HoldAcks(true);
  int acks = 0;
  REQUIRE(bus.PublishToStreamAsync("s", "x", {}, [&](auto seq) { acks += seq ? 1 : 0; }));
  CHECK(acks == 0);
  bus.FlushAcks();
  CHECK(acks == 1);
}

}  // namespace spillway

// What the book hands out, and what it lets go.
#include "controlplane/alerts/alert_book.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "controlplane/alerts/alert.h"
#include "tests/fakes/temp_folder.h"

namespace spillway::alerts {
namespace {

constexpr int64_t kEndMs = 1'000'000;

v1::Alert AlertOf(int number, std::string_view state) {
  v1::Alert alert;
  alert.set_type(std::string(kThreshold));
  alert.set_budget_id("b1");
  alert.set_subject("u" + std::to_string(number));
  alert.set_window_end_ms(kEndMs);
  v1::AlertDelivery& delivery = *alert.add_deliveries();
  delivery.set_sink(number % 2 == 0 ? "even" : "odd");
  delivery.set_state(std::string(state));
  return alert;
}

struct BookWorld {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open({.path = folder.Path("db")}).value();
  std::unique_ptr<AlertBook> book = AlertBook::Open(*store).value();

  void Put(int count, std::string_view state) const {
    std::vector<v1::Alert> alerts;
    alerts.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) alerts.push_back(AlertOf(i, state));
    REQUIRE(book->Put(alerts));
  }
};

TEST_CASE("only alerts with a delivery that is due are handed out, and no more than asked for") {
  const BookWorld world;
  world.Put(10, kPending);
  const auto odd = [](const v1::AlertDelivery& delivery) { return delivery.sink() == "odd"; };
  CHECK(world.book->Due(100, odd).size() == 5);
  const std::vector<v1::Alert> some = world.book->Due(2, odd);
  REQUIRE(some.size() == 2);
  CHECK(some[0].subject() == "u1");
  CHECK(some[1].subject() == "u3");
  world.Put(10, kDelivered);
  CHECK(world.book->Due(100, odd).empty());
}

TEST_CASE("all that is over is pruned at once, however much it is") {
  const BookWorld world;
  world.Put(10'007, kDelivered);
  CHECK(world.book->Prune(kEndMs) == 0);
  REQUIRE(world.book->Put(std::vector{AlertOf(20'000, kPending)}));
  CHECK(world.book->Prune(kEndMs + 1) == 10'007);
  const auto left = world.book->Newest(10);
  REQUIRE(left.has_value());
  REQUIRE(left->size() == 1);
  CHECK(left->front().subject() == "u20000");
}

}  // namespace
}  // namespace spillway::alerts

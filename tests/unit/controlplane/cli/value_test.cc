#include "controlplane/cli/value.h"

#include <catch2/catch_all.hpp>

#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::cli {
namespace {

TEST_CASE("a message becomes snake_case JSON with numbers as numbers") {
  v1::RetireInstanceResponse retired;
  retired.set_orphans_settled(9'007'199'254'740'992);
  retired.set_estimated_nanos(1'500'000);
  CHECK(ValueOf(retired).ToJson() == R"({
  "orphans_settled": 9007199254740992,
  "estimated_nanos": 1500000,
  "estimated_usd": "0.0015"
}
)");
  v1::OpenBudgetGateResponse opened;
  opened.add_waited_for("dp-1");
  CHECK(ValueOf(opened).ToJson() == R"({
  "was_shut": false,
  "waited_for": [
    "dp-1"
  ]
}
)");
}

TEST_CASE("enums lose what their names have in common, absent messages are left out") {
  v1::AdminToken token;
  token.set_role(v1::ROLE_EDITOR);
  CHECK(ValueOf(token).ToJson().contains("\"role\": \"editor\""));
  v1::Model model;
  CHECK_FALSE(ValueOf(model).ToJson().contains("price"));
  model.mutable_price()->set_input(250'000'000);
  const std::string json = ValueOf(model).ToJson();
  CHECK(json.contains("\"input_nanos\": 250000000"));
  CHECK(json.contains("\"input_usd\": \"0.25\""));
  CHECK_FALSE(json.contains("output_nanos"));
  v1::Change change;
  change.set_action(v1::Change::ACTION_DELETE);
  change.set_kind(v1::KIND_KEY);
  CHECK(ValueOf(change).ToJson().contains("\"action\": \"delete\""));
  CHECK(ValueOf(change).ToJson().contains("\"kind\": \"key\""));
}

TEST_CASE("YAML has the same shape, with every text quoted") {
  Value item;
  item.Set("name", "no").Set("tags", Value::List{"a", "b"}).Set("empty", Value::List{});
  Value inner;
  inner.Set("n", int64_t{7}).Set("ok", true);
  item.Set("inner", inner);
  CHECK(Value::Items({item}).ToYaml() == R"(items:
  - name: "no"
    tags:
      - "a"
      - "b"
    empty: []
    inner:
      n: 7
      ok: true
)");
  CHECK(Value::Items({}).ToYaml() == "items: []\n");
  CHECK(Value::Items({}).ToJson() == "{\n  \"items\": []\n}\n");
}

TEST_CASE("texts are escaped") {
  Value value;
  value.Set("text", "a\"b\n");
  CHECK(value.ToJson() == "{\n  \"text\": \"a\\\"b\\n\"\n}\n");
}

}  // namespace
}  // namespace spillway::cli

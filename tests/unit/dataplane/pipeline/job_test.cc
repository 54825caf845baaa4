#include "dataplane/pipeline/job.h"

#include <catch2/catch_all.hpp>

namespace spillway {
namespace {

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

TEST_CASE("what a job costs depends on what its request says") {
  Job job;
  job.body = "0123456789";
  job.request.model = "tier";
  job.request.messages = 3;
  job.request.media_parts = 2;
  job.request.media_bytes = 7;
  job.request.choices = 4;
  job.request.output_tokens_max = 50;
  job.request.service_tier = "flex";
  const ModelSpec model;
  const CallShape shape = ShapeOf(job, model);
  CHECK(shape.route == "tier");
  CHECK(&shape.model == &model);
  CHECK(shape.body_bytes == 10);
  CHECK(shape.messages == 3);
  CHECK(shape.media_parts == 2);
  CHECK(shape.media_bytes == 7);
  CHECK(shape.choices == 4);
  CHECK(shape.output_tokens_max == 50);
  CHECK(shape.service_tier == "flex");
  CHECK(shape.makes_output);
  job.request.operation = openai::Operation::kEmbeddings;
  CHECK_FALSE(ShapeOf(job, model).makes_output);
}

}  // namespace
}  // namespace spillway

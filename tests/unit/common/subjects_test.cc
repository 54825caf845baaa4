#include "common/subjects.h"

#include <catch2/catch_all.hpp>

namespace spillway::subjects {

TEST_CASE("subjects are what the server's permissions name") {
  CHECK(Delta(7) == "spillway.config.delta.7");
  CHECK(Manifest(256) == "spillway.config.full.256.manifest");
  CHECK(Chunk(256, 3) == "spillway.config.full.256.3");
  CHECK(Usage("dp-1") == "spillway.usage.dp-1");
  CHECK(Fleet("dp-1") == "spillway.fleet.dp-1");
  CHECK(Instruction("dp-1") == "spillway.instruct.dp-1");
}

TEST_CASE("only harmless texts are tokens of a subject") {
  struct Row {
    std::string text;
    bool want;
  };
  const auto row = GENERATE(values<Row>({{"dp-1_A", true},
                                         {std::string(64, 'a'), true},
                                         {"", false},
                                         {std::string(65, 'a'), false},
                                         {"a.b", false},
                                         {"*", false},
                                         {">", false},
                                         {"a b", false},
                                         {"a\r\n", false}}));
  CAPTURE(row.text);
  CHECK(IsToken(row.text) == row.want);
}

}  // namespace spillway::subjects

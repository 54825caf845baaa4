#include "dataplane/metering/record_encoding.h"

#include <catch2/catch_all.hpp>

#include "common/crypto/crc32c.h"
#include "dataplane/metering/frame.h"

namespace spillway {
namespace {

TEST_CASE("a hand-written Started is the one protobuf writes") {
  RecordBuffer buffer;
  const std::string attribution =
      EncodeAttribution({.organization = "acme", .team = "t", .key = "k", .model = "m"});
  EncodeStarted(1'700'000'000'123,
                {.request_id = "r",
                 .attempt_id = "a",
                 .attempt = 3,
                 .attribution = attribution,
                 .reserved = 123'456'789'012,
                 .estimate = {.input = 300, .output = 5},
                 .revision = 9},
                buffer);
  v1::UsageRecord want;
  want.set_time_ms(1'700'000'000'123);
  v1::Started& started = *want.mutable_started();
  started.set_request_id("r");
  started.set_attempt_id("a");
  started.set_attempt(3);
  started.mutable_attribution()->set_organization("acme");
  started.mutable_attribution()->set_team("t");
  started.mutable_attribution()->set_key("k");
  started.mutable_attribution()->set_model("m");
  started.set_reserved_nanos(123'456'789'012);
  started.mutable_estimate()->set_input_tokens(300);
  started.mutable_estimate()->set_output_tokens(5);
  started.set_revision(9);
  CHECK(std::string(buffer.view()) == want.SerializeAsString());
}

TEST_CASE("a hand-written Finished is the one protobuf writes, and is peeked at") {
  RecordBuffer buffer;
  const std::string attribution = EncodeAttribution({.team = "t"});
  EncodeFinished(5,
                 {.started_seq = 300,
                  .request_id = "r",
                  .attempt_id = "a",
                  .attempt = 1,
                  .attribution = attribution,
                  .usage = {.input = 1, .output = 2, .cached_input = 3, .reasoning = 4},
                  .cost = -1,
                  .source = v1::USAGE_SOURCE_PROVIDER,
                  .end = v1::END_CLIENT_LEFT,
                  .http_status = -7,
                  .winner = true,
                  .stream = true,
                  .duration_us = INT64_MAX,
                  .first_token_us = 1},
                 buffer);
  v1::UsageRecord got;
  REQUIRE(got.ParseFromArray(buffer.view().data(), static_cast<int>(buffer.view().size())));
  CHECK(got.SerializeAsString() == buffer.view());
  CHECK(got.finished().cost_nanos() == -1);
  CHECK(got.finished().http_status() == -7);
  CHECK(got.finished().usage().reasoning_tokens() == 4);
  CHECK(got.finished().duration_us() == INT64_MAX);
  const RecordPeek peek = PeekRecord(buffer.view());
  CHECK(peek.kind == v1::UsageRecord::kFinished);
  CHECK(peek.started_seq == 300);
  CHECK(peek.time_ms == 5);
}

TEST_CASE("texts in records are always readable and bounded") {
  struct Case {
    const char* name;
    std::string input;
    size_t bytes_max;
    std::string want;
  };
  const Case kCases[] = {
      {"plain", "alice", 128, "alice"},
      {"empty", "", 128, ""},
      {"no UTF-8", "a\xff\xfe z", 128, "a?? z"},
      {"truncated sequence", "a\xe2\x82", 128, "a??"},
      {"cut between characters", "\xe2\x82\xac\xe2\x82\xac", 5, "\xe2\x82\xac"},
      {"cut exactly", "abcdef", 3, "abc"},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) { CHECK(CleanText(test.input, test.bytes_max) == test.want); }
  }
  v1::Attribution parsed;
  const std::string endless(100'000, 'x');
  const std::string bad(100'000, '\xff');
  REQUIRE(parsed.ParseFromString(EncodeAttribution({.organization = endless,
                                                    .team = bad,
                                                    .user = bad,
                                                    .key = bad,
                                                    .feature = endless,
                                                    .route = endless,
                                                    .model = bad,
                                                    .provider = endless})));
  CHECK(parsed.feature().size() == kFeatureBytesMax);
  CHECK(parsed.team() == std::string(kNameBytesMax, '?'));
}

TEST_CASE("a peek at garbage finds nothing and reads nothing beyond it") {
  for (const std::string& garbage :
       {std::string(""), std::string("\xff"), std::string("\x1a\x7f", 2), std::string(20, '\x80')})
    CHECK(PeekRecord(garbage).started_seq == 0);
}

// A segment in memory with records "r1", "r2", ...
struct Segment {
  std::string bytes = SegmentHeader(std::string(32, 'a'), 1);
  std::vector<size_t> offsets;
  void Append(int64_t seq, const std::string& record) {
    offsets.push_back(bytes.size());
    const size_t at = bytes.size();
    bytes.resize(at + FrameBytes(record.size() + kSeqFieldBytesMax));
    bytes.resize(at + PutFrame(bytes.data() + at, record, Crc32c(record), seq));
  }
};

std::vector<int64_t> Scan(const std::string& bytes) {
  std::vector<int64_t> seqs;
  FrameScanner frames(bytes);
  for (Frame frame; frames.Next(frame, true);) seqs.push_back(frame.seq);
  return seqs;
}

TEST_CASE("frames are found again, whatever bit flips") {
  Segment segment;
  for (int64_t seq = 1; seq <= 5; ++seq)
    segment.Append(seq, "record number " + std::to_string(seq * 1000));
  const size_t used = segment.bytes.size();
  segment.bytes.resize(used + 4096);
  REQUIRE(Scan(segment.bytes) == std::vector<int64_t>{1, 2, 3, 4, 5});
  int lost_one = 0;
  for (size_t at = segment.offsets[2]; at < segment.offsets[3]; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = segment.bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto seqs = Scan(flipped);
      const bool padding = seqs == std::vector<int64_t>{1, 2, 3, 4, 5};
      if (!padding) CHECK(seqs == std::vector<int64_t>{1, 2, 4, 5});
      if (!padding) ++lost_one;
    }
  }
  CHECK(lost_one > 100);  // almost every bit matters; padding does not
}

TEST_CASE("a broken last frame is told from a clean end") {
  Segment segment;
  segment.Append(1, "one");
  segment.Append(2, "two");
  segment.bytes.resize(segment.bytes.size() + 512);
  Frame frame;
  SECTION("clean") {
    FrameScanner frames(segment.bytes);
    while (frames.Next(frame, true)) {
    }
    CHECK_FALSE(frames.broken());
  }
  SECTION("the record is torn") {
    segment.bytes[segment.offsets[1] + kFrameHeaderBytes] ^= 1;
    FrameScanner frames(segment.bytes);
    while (frames.Next(frame, true)) {
    }
    CHECK(frames.broken());
  }
  SECTION("killed before the length was stored") {
    for (int i = 0; i < 4; ++i) segment.bytes[segment.offsets[1] + static_cast<size_t>(i)] = 0;
    FrameScanner frames(segment.bytes);
    while (frames.Next(frame, true)) {
    }
    CHECK_FALSE(frames.broken());
  }
}

}  // namespace
}  // namespace spillway

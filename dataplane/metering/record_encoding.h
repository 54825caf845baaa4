#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// UsageRecords on the wire, written and peeked at by hand: request threads journal two records a
// request, and building messages for that costs several times as much. Everything here is the
// protobuf encoding of usage.proto, without the record's seq (the journal adds it). Stateless.

// Longest texts: ids, names, and the free text of `feature`; what is longer is cut at a character,
// bytes that are no UTF-8 become '?', as protobuf refuses them when reading.
inline constexpr size_t kIdBytesMax = 128;
inline constexpr size_t kNameBytesMax = 256;
inline constexpr size_t kFeatureBytesMax = 128;
inline constexpr size_t kTagsMax = 8;
inline constexpr size_t kTagBytesMax = 64;  // of a name, of a value
inline constexpr size_t kTierBytesMax = 32;
inline constexpr size_t kAccountsBytesMax = size_t{8} * 1024;  // of all accounts of one record

struct AttributionNames {
  std::string_view organization, team, user, key, feature, route, model, provider;
  std::span<const std::pair<std::string, std::string>> tags = {};
};
// A serialised Attribution.
std::string EncodeAttribution(const AttributionNames& names);

// A text as it may stand in a record.
std::string CleanText(std::string_view text, size_t bytes_max);

// Serialised Accounts, one after the other with their lengths before them, as records need them;
// what would not fit kAccountsBytesMax is left out (the budgets' own limits keep below it).
std::string JoinAccounts(std::span<const std::shared_ptr<const std::string>> accounts);
// The accounts of a joined text, in order.
void ForEachAccount(std::string_view joined, const std::function<void(std::string_view)>& on_one);

// The bytes of one record, on the stack: 8 names of 256 bytes, 8 tags, two ids, numbers and
// kAccountsBytesMax of accounts fit.
class RecordBuffer {
 public:
  std::string_view view() const { return {data_.data() + begin_, end_ - begin_}; }

 private:
  friend class RecordEncoder;
  static constexpr size_t kHeadRoom =
      32;  // for what stands before the body and is written after it
  std::array<char, size_t{13} * 1024> data_;
  size_t begin_ = kHeadRoom;
  size_t end_ = kHeadRoom;
};

struct StartedFields {
  std::string_view request_id, attempt_id;  // clean
  int attempt = 1;
  std::string_view attribution;  // EncodeAttribution
  Nanos reserved = 0;
  TokenUsage estimate;
  std::string_view service_tier = {};  // clean, at most kTierBytesMax
  int64_t revision = 0;
  std::string_view accounts = {};  // JoinAccounts
  std::string_view holder = {};    // of the accounts; empty: the incarnation
  Nanos likely = 0;                // 0: as reserved
  int64_t started_seq = 0;         // not 0: takes the place of that one (UsageRecord.outgrown)
};
void EncodeStarted(int64_t time_ms, const StartedFields& fields, RecordBuffer& out);

struct FinishedFields {
  int64_t started_seq = 0;
  std::string_view request_id, attempt_id;
  int attempt = 1;
  std::string_view attribution;
  TokenUsage usage;
  Nanos cost = 0;
  v1::UsageSource source = v1::USAGE_SOURCE_UNSPECIFIED;
  v1::EndReason end = v1::END_REASON_UNSPECIFIED;
  int http_status = 0;
  bool winner = false;
  bool stream = false;
  int64_t duration_us = 0;
  int64_t first_token_us = 0;
  std::string_view service_tier = {};  // clean, at most kTierBytesMax
  std::string_view accounts = {};      // JoinAccounts
  std::string_view holder = {};        // of the accounts; empty: the incarnation
  Nanos hold = 0;
  bool unpriced = false;
  bool fallback = false;
  bool downgraded = false;
};
void EncodeFinished(int64_t time_ms, const FinishedFields& fields, RecordBuffer& out);

// What a record is, without parsing it.
struct RecordPeek {
  v1::UsageRecord::BodyCase kind = v1::UsageRecord::BODY_NOT_SET;
  int64_t time_ms = 0;
  int64_t started_seq = 0;  // of Finished, Abandoned and outgrown ones
};
RecordPeek PeekRecord(std::string_view record);
// An `outgrown` record as the Started that it takes the place of, without a seq; empty: not one.
std::string AsStarted(std::string_view outgrown);

// What a record charges to one budget account; views into the record.
struct RecordCharge {
  std::string_view holder;   // empty: the incarnation
  std::string_view account;  // serialised
  Nanos charged = 0;
};
// The charges of a Finished, an Abandoned or an Aggregate, without parsing it.
void ForEachCharge(std::string_view record,
                   const std::function<void(const RecordCharge&)>& on_charge);

}  // namespace spillway

#include "dataplane/metering/record_encoding.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/utf8.h"

namespace spillway {
namespace {

constexpr int kVarint = 0;
constexpr int kBytes = 2;

// Appends protobuf fields; zero values and empty texts are absent, as proto3 has it.
class FieldWriter {
 public:
  explicit FieldWriter(char* at) : at_(at) {}
  char* at() const { return at_; }

  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }
  void Tag(int field, int type) {
    Varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type));
  }
  void Number(int field, int64_t value) {
    if (value == 0) return;
    Tag(field, kVarint);
    Varint(static_cast<uint64_t>(value));
  }
  void Text(int field, std::string_view text) {
    if (!text.empty()) Message(field, text);
  }
  // Also when empty: its presence means something.
  void Message(int field, std::string_view bytes) {
    Tag(field, kBytes);
    Varint(bytes.size());
    if (bytes.empty()) return;
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void Usage(int field, const TokenUsage& usage, std::string_view service_tier = {}) {
    char body[9 * 11 + 2 + kTierBytesMax];
    FieldWriter inner(body);
    inner.Number(v1::Usage::kInputTokensFieldNumber, usage.input);
    inner.Number(v1::Usage::kOutputTokensFieldNumber, usage.output);
    inner.Number(v1::Usage::kCachedInputTokensFieldNumber, usage.cached_input);
    inner.Number(v1::Usage::kReasoningTokensFieldNumber, usage.reasoning);
    inner.Number(v1::Usage::kCacheWrite5MTokensFieldNumber, usage.cache_write_5m);
    inner.Number(v1::Usage::kCacheWrite1HTokensFieldNumber, usage.cache_write_1h);
    inner.Number(v1::Usage::kAudioInputTokensFieldNumber, usage.audio_input);
    inner.Number(v1::Usage::kAudioOutputTokensFieldNumber, usage.audio_output);
    inner.Number(v1::Usage::kImagesFieldNumber, usage.images);
    inner.Text(v1::Usage::kServiceTierFieldNumber, service_tier.substr(0, kTierBytesMax));
    Message(field, {body, static_cast<size_t>(inner.at() - body)});
  }
  // Each with its length before it already.
  void Accounts(int field, std::string_view joined) {
    ForEachAccount(joined, [&](std::string_view account) { Message(field, account); });
  }

 private:
  char* at_;
};

// Reads fields one by one; stops at the first thing it cannot read.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : rest_(bytes) {}
  int field = 0;
  uint64_t number = 0;
  std::string_view bytes;

  // Bytes with their length before them, without a tag.
  bool Sized(std::string_view& out) {
    uint64_t size = 0;
    if (rest_.empty() || !Varint(size) || size > rest_.size()) return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool Next() {
    uint64_t tag = 0;
    if (rest_.empty() || !Varint(tag)) return false;
    field = static_cast<int>(tag >> 3);
    bytes = {};
    number = 0;
    switch (tag & 7) {
      case kVarint:
        return Varint(number);
      case kBytes:
        return Sized(bytes);
      case 1:
        return Skip(8);
      case 5:
        return Skip(4);
      default:
        return false;
    }
  }

 private:
  bool Skip(size_t size) {
    if (size > rest_.size()) return false;
    rest_.remove_prefix(size);
    return true;
  }
  bool Varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  std::string_view rest_;
};

// Eight bytes at a time: texts of records almost always are.
bool IsAscii(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  uint64_t word = 0;
  uint64_t seen = 0;
  while (text.size() >= sizeof(word)) {
    std::memcpy(&word, text.data(), sizeof(word));
    seen |= word;
    text.remove_prefix(sizeof(word));
  }
  for (const char c : text) seen |= static_cast<uint8_t>(c);
  return (seen & kHighBits) == 0;
}

}  // namespace

std::string CleanText(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max && IsAscii(text)) return std::string(text);
  std::string clean;
  clean.reserve(std::min(text.size(), bytes_max));
  while (!text.empty() && clean.size() < bytes_max) {
    const size_t length = Utf8Length(text);
    const std::string_view piece = length == 0 ? std::string_view("?") : text.substr(0, length);
    if (clean.size() + piece.size() > bytes_max) break;
    clean.append(piece);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return clean;
}

namespace {

void PutTag(std::string_view name, std::string_view value, FieldWriter& writer) {
  char body[2 * (kTagBytesMax + 2)];
  FieldWriter inner(body);
  inner.Text(v1::Tag::kNameFieldNumber, CleanText(name, kTagBytesMax));
  inner.Text(v1::Tag::kValueFieldNumber, CleanText(value, kTagBytesMax));
  writer.Message(v1::Attribution::kTagsFieldNumber, {body, static_cast<size_t>(inner.at() - body)});
}

}  // namespace

std::string EncodeAttribution(const AttributionNames& names) {
  char buffer[8 * (kNameBytesMax + 3) + kTagsMax * (2 * (kTagBytesMax + 2) + 3)];
  FieldWriter writer(buffer);
  const auto put = [&writer](int field, std::string_view text, size_t bytes_max) {
    // ASCII of a sane length, the usual case, goes straight through.
    if (text.size() <= bytes_max && IsAscii(text)) return writer.Text(field, text);
    writer.Text(field, CleanText(text, bytes_max));
  };
  put(v1::Attribution::kOrganizationFieldNumber, names.organization, kNameBytesMax);
  put(v1::Attribution::kTeamFieldNumber, names.team, kNameBytesMax);
  put(v1::Attribution::kUserFieldNumber, names.user, kNameBytesMax);
  put(v1::Attribution::kKeyFieldNumber, names.key, kNameBytesMax);
  put(v1::Attribution::kFeatureFieldNumber, names.feature, kFeatureBytesMax);
  put(v1::Attribution::kRouteFieldNumber, names.route, kNameBytesMax);
  put(v1::Attribution::kModelFieldNumber, names.model, kNameBytesMax);
  put(v1::Attribution::kProviderFieldNumber, names.provider, kNameBytesMax);
  for (const auto& [name, value] : names.tags.first(std::min(names.tags.size(), kTagsMax)))
    PutTag(name, value, writer);
  return {buffer, static_cast<size_t>(writer.at() - buffer)};
}

std::string JoinAccounts(std::span<const std::shared_ptr<const std::string>> accounts) {
  std::string joined;
  for (const auto& account : accounts) {
    if (joined.size() + account->size() + 4 > kAccountsBytesMax) continue;
    char length[4];
    FieldWriter writer(length);
    writer.Varint(account->size());
    joined.append(length, static_cast<size_t>(writer.at() - length)).append(*account);
  }
  return joined;
}

void ForEachAccount(std::string_view joined, const std::function<void(std::string_view)>& on_one) {
  FieldReader reader(joined);
  for (std::string_view account; reader.Sized(account);) on_one(account);
}

// Writes the body's fields first, then, before them, what needs the body's length.
class RecordEncoder {
 public:
  explicit RecordEncoder(RecordBuffer& out)
      : out_(out), body_(out.data_.data() + RecordBuffer::kHeadRoom) {}
  FieldWriter& body() { return body_; }
  void Finish(int64_t time_ms, int field) {
    char* const start = out_.data_.data() + RecordBuffer::kHeadRoom;
    const auto size = static_cast<size_t>(body_.at() - start);
    char head[RecordBuffer::kHeadRoom];
    FieldWriter writer(head);
    writer.Number(v1::UsageRecord::kTimeMsFieldNumber, time_ms);
    writer.Tag(field, kBytes);
    writer.Varint(size);
    const auto head_size = static_cast<size_t>(writer.at() - head);
    std::memcpy(start - head_size, head, head_size);
    out_.begin_ = RecordBuffer::kHeadRoom - head_size;
    out_.end_ = RecordBuffer::kHeadRoom + size;
  }

 private:
  RecordBuffer& out_;
  FieldWriter body_;
};

void EncodeStarted(int64_t time_ms, const StartedFields& fields, RecordBuffer& out) {
  RecordEncoder encoder(out);
  FieldWriter& body = encoder.body();
  body.Number(v1::Started::kStartedSeqFieldNumber,
              fields.started_seq);  // first: PeekRecord looks no further
  body.Text(v1::Started::kRequestIdFieldNumber, fields.request_id);
  body.Text(v1::Started::kAttemptIdFieldNumber, fields.attempt_id);
  body.Number(v1::Started::kAttemptFieldNumber, fields.attempt);
  body.Message(v1::Started::kAttributionFieldNumber, fields.attribution);
  body.Number(v1::Started::kReservedNanosFieldNumber, fields.reserved);
  body.Usage(v1::Started::kEstimateFieldNumber, fields.estimate, fields.service_tier);
  body.Number(v1::Started::kRevisionFieldNumber, fields.revision);
  body.Accounts(v1::Started::kAccountsFieldNumber, fields.accounts);
  body.Number(v1::Started::kLikelyNanosFieldNumber, fields.likely);
  body.Text(v1::Started::kHolderFieldNumber, fields.holder);
  encoder.Finish(time_ms, fields.started_seq == 0 ? v1::UsageRecord::kStartedFieldNumber
                                                  : v1::UsageRecord::kOutgrownFieldNumber);
}

void EncodeFinished(int64_t time_ms, const FinishedFields& fields, RecordBuffer& out) {
  RecordEncoder encoder(out);
  FieldWriter& body = encoder.body();
  body.Number(v1::Finished::kStartedSeqFieldNumber,
              fields.started_seq);  // first: PeekRecord looks no further
  body.Text(v1::Finished::kRequestIdFieldNumber, fields.request_id);
  body.Text(v1::Finished::kAttemptIdFieldNumber, fields.attempt_id);
  body.Number(v1::Finished::kAttemptFieldNumber, fields.attempt);
  body.Message(v1::Finished::kAttributionFieldNumber, fields.attribution);
  body.Usage(v1::Finished::kUsageFieldNumber, fields.usage, fields.service_tier);
  body.Number(v1::Finished::kCostNanosFieldNumber, fields.cost);
  body.Number(v1::Finished::kSourceFieldNumber, fields.source);
  body.Number(v1::Finished::kEndFieldNumber, fields.end);
  body.Number(v1::Finished::kHttpStatusFieldNumber, fields.http_status);
  body.Number(v1::Finished::kWinnerFieldNumber, fields.winner ? 1 : 0);
  body.Number(v1::Finished::kStreamFieldNumber, fields.stream ? 1 : 0);
  body.Number(v1::Finished::kDurationUsFieldNumber, fields.duration_us);
  body.Number(v1::Finished::kFirstTokenUsFieldNumber, fields.first_token_us);
  body.Accounts(v1::Finished::kAccountsFieldNumber, fields.accounts);
  body.Number(v1::Finished::kHoldNanosFieldNumber, fields.hold);
  body.Number(v1::Finished::kUnpricedFieldNumber, fields.unpriced ? 1 : 0);
  body.Number(v1::Finished::kFallbackFieldNumber, fields.fallback ? 1 : 0);
  body.Number(v1::Finished::kDowngradedFieldNumber, fields.downgraded ? 1 : 0);
  body.Text(v1::Finished::kHolderFieldNumber, fields.holder);
  encoder.Finish(time_ms, v1::UsageRecord::kFinishedFieldNumber);
}

RecordPeek PeekRecord(std::string_view record) {
  RecordPeek peek;
  FieldReader fields(record);
  while (fields.Next()) {
    if (fields.field == v1::UsageRecord::kTimeMsFieldNumber)
      peek.time_ms = static_cast<int64_t>(fields.number);
    if (fields.field < v1::UsageRecord::kHelloFieldNumber ||
        fields.field > v1::UsageRecord::kOutgrownFieldNumber)
      continue;
    peek.kind = static_cast<v1::UsageRecord::BodyCase>(fields.field);
    const bool ends =
        peek.kind == v1::UsageRecord::kFinished || peek.kind == v1::UsageRecord::kAbandoned;
    const bool outgrows = peek.kind == v1::UsageRecord::kOutgrown;
    if (!ends && !outgrows) continue;
    // What comes first in all three; of two it is field 1.
    const int seq_field = outgrows ? static_cast<int>(v1::Started::kStartedSeqFieldNumber)
                                   : static_cast<int>(v1::Finished::kStartedSeqFieldNumber);
    FieldReader body(fields.bytes);
    if (body.Next() && static_cast<int>(body.field) == seq_field)
      peek.started_seq = static_cast<int64_t>(body.number);
  }
  return peek;
}

std::string AsStarted(std::string_view outgrown) {
  v1::UsageRecord record;
  if (!record.ParseFromArray(outgrown.data(), static_cast<int>(outgrown.size()))) return {};
  v1::Started now = std::move(*record.mutable_outgrown());
  now.clear_started_seq();
  *record.mutable_started() = std::move(now);
  record.clear_seq();
  return record.SerializeAsString();
}

namespace {

using OnCharge = std::function<void(const RecordCharge&)>;

// A Finished: its hold and its holder stand behind its accounts.
void ChargesOfEnd(std::string_view body, const OnCharge& on_charge) {
  std::vector<std::string_view> accounts;
  RecordCharge charge;
  for (FieldReader fields(body); fields.Next();) {
    if (fields.field == v1::Finished::kAccountsFieldNumber) accounts.push_back(fields.bytes);
    if (fields.field == v1::Finished::kHolderFieldNumber) charge.holder = fields.bytes;
    if (fields.field == v1::Finished::kHoldNanosFieldNumber)
      charge.charged = static_cast<Nanos>(fields.number);
  }
  if (charge.charged == 0) return;
  for (const std::string_view account : accounts) {
    charge.account = account;
    on_charge(charge);
  }
}

void ChargesOfAggregate(std::string_view body, const OnCharge& on_charge) {
  std::vector<RecordCharge> charges;
  std::string_view holder;
  for (FieldReader fields(body); fields.Next();) {
    if (fields.field == v1::Aggregate::kHolderFieldNumber) holder = fields.bytes;
    if (fields.field != v1::Aggregate::kAccountsFieldNumber) continue;
    RecordCharge& charge = charges.emplace_back();
    for (FieldReader inner(fields.bytes); inner.Next();) {
      if (inner.field == v1::AccountCharge::kAccountFieldNumber) charge.account = inner.bytes;
      if (inner.field == v1::AccountCharge::kChargedFieldNumber)
        charge.charged = static_cast<Nanos>(inner.number);
    }
  }
  for (RecordCharge& charge : charges) {
    charge.holder = holder;
    if (charge.charged != 0) on_charge(charge);
  }
}

}  // namespace

void ForEachCharge(std::string_view record, const OnCharge& on_charge) {
  for (FieldReader fields(record); fields.Next();) {
    if (fields.field == v1::UsageRecord::kFinishedFieldNumber) {
      ChargesOfEnd(fields.bytes, on_charge);
    } else if (fields.field == v1::UsageRecord::kAggregateFieldNumber) {
      ChargesOfAggregate(fields.bytes, on_charge);
    } else if (fields.field == v1::UsageRecord::kAbandonedFieldNumber) {
      for (FieldReader inner(fields.bytes); inner.Next();)
        if (inner.field == v1::Abandoned::kEstimateFieldNumber)
          ChargesOfEnd(inner.bytes, on_charge);
    }
  }
}

}  // namespace spillway

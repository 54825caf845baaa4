#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "spillway/v1/usage.pb.h"

// Key formats of the ledger's tables. Integers are big-endian, so that byte order is number order;
// an incarnation is its 16 bytes.
//   kLedgerMarks    incarnation                        -> LedgerMark
//   kLedgerOpen     incarnation, i64 seq of Started    -> 'O' + UsageRecord: the attempt runs
//                                                         'E' + event key: settled at its estimate
//                                                         'F': its end came before it
//   kLedgerEvents   i64 time ms, incarnation, i64 seq  -> UsageRecord as journalled (Finished,
//                                                         Abandoned, Aggregate), or the estimate of
//                                                         a retired data plane's Started
//   kLedgerRollups  i64 hour (Unix s), then each name: u16 length + bytes -> numbers (totals.h)
//   kMeta           "ledger/..."                       -> position, backup, pruned, date
namespace spillway::ledger {

inline constexpr std::string_view kPositionKey = "ledger/position";
inline constexpr std::string_view kBackupKey = "ledger/backup";
inline constexpr std::string_view kPrunedKey = "ledger/pruned";    // i64: events before it are gone
inline constexpr std::string_view kSteadyDateKey = "ledger/date";  // i64: Ledger::SteadyDate
inline constexpr std::string_view kConsumerKey =
    "ledger/consumer";  // the durable consumer last made

inline constexpr int64_t kHourMs = 3'600'000;

void AppendInt64(std::string& out, int64_t value);
int64_t ReadInt64(std::string_view bytes);  // at least 8 bytes

// 32 hex digits <-> 16 bytes; nullopt: something else.
std::optional<std::string> PackIncarnation(std::string_view hex);
std::string UnpackIncarnation(std::string_view bytes);

std::string OpenKey(std::string_view packed, int64_t started_seq);
std::string EventKey(int64_t time_ms, std::string_view packed, int64_t seq);
struct EventId {
  int64_t time_ms = 0;
  std::string_view packed;
  int64_t seq = 0;
};
std::optional<EventId> ReadEventKey(std::string_view key);

// The time that files a record: its own, within what keys can hold.
int64_t FiledMs(int64_t time_ms);
inline int64_t HourOf(int64_t time_ms) { return FiledMs(time_ms) / kHourMs * 3600; }

// A roll-up's key; names longer than 65,535 bytes are cut.
std::string RollupKey(int64_t hour_s, const v1::Attribution& attribution);
std::string OverflowKey(int64_t hour_s);
std::string HourPrefix(int64_t hour_s);
struct RollupId {
  int64_t hour_s = 0;
  std::string_view names[8];  // organization, team, user, key, feature, model, route, provider
};
std::optional<RollupId> ReadRollupKey(std::string_view key);

}  // namespace spillway::ledger

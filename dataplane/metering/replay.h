#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "dataplane/metering/account_charges.h"
#include "dataplane/metering/frame.h"

namespace spillway {

// Where a segment's records lie.
struct SegmentSpan {
  std::string path;
  int64_t first_seq = 0;
  int64_t last_seq = 0;
  int64_t bytes = 0;
  int64_t created_ms = 0;
};

// What a folder of segments holds.
struct JournalScan {
  std::vector<SegmentSpan> segments;        // in order, none empty
  std::vector<std::string> empty_segments;  // prepared, never used
  int64_t last_seq = 0;
  bool closed = false;
  std::map<int64_t, std::string> open;  // seq of a Started without an end -> its record
  std::vector<std::pair<int64_t, int64_t>> unreadable;  // inclusive ranges
  int64_t last_used_bytes = 0;  // of the last segment's file; 0: its tail is broken
  AccountCharges charges;       // of all its records, the freed ones too
  int64_t charges_upto = 0;     // what is in from the freed ones
};

// File of Started records whose segments were freed while their attempts still ran.
inline constexpr std::string_view kCarriedFile = "carried";
std::string SegmentName(int64_t index);
// Segment files of a folder, in order.
std::vector<std::string> SegmentFiles(const std::string& folder);

// Reads a whole journal. `settled_upto`: records up to it were freed with permission. `known_upto`:
// records up to it are known to have existed (they were published). Stateless.
Result<JournalScan> ScanJournal(const std::string& folder, int64_t settled_upto,
                                int64_t known_upto);

struct Closing {
  int64_t abandoned = 0;
  int64_t lost = 0;
};
// Ends a dead incarnation's journal, behind its last record: Lost for what could not be read,
// Abandoned at the reserved cost for each open attempt, then Closed with what budget accounts come
// to; one file that appears whole or not at all. Does nothing when it is closed. `scan` shows the
// result.
Result<Closing> CloseJournal(const std::string& folder, const std::string& incarnation,
                             int64_t now_ms, const FinalCharges& final_charges, JournalScan& scan);

}  // namespace spillway

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "dataplane/snapshot/limits.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// One resource of a state, as bytes. Views: into the buffer or message it was read from.
struct EntryView {
  v1::Kind kind = v1::KIND_UNSPECIFIED;
  std::string_view name;
  std::string_view bytes;
};

// Reads a serialised EntryList (snapshot.proto) without copying: the views point into `list`.
// Fields of later versions are skipped. Refusals: kCorrupt, kOversized.
Result<std::vector<EntryView>> ParseEntryList(std::string_view list, const SnapshotLimits& limits);
// Appends one entry to a serialised EntryList.
void AppendEntry(const EntryView& entry, std::string& list);

// The resource's name for messages: "key/support-bot". A name that is none is cut and quoted.
std::string Describe(v1::Kind kind, std::string_view name);

}  // namespace spillway

#pragma once

#include <cstddef>

#include "common/error.h"
#include "dataplane/exchange/request.h"
#include "dataplane/pipeline/distinct_names.h"
#include "dataplane/pipeline/job.h"

namespace spillway {

inline constexpr size_t kTagsMax = 8;
inline constexpr size_t kTagBytesMax = 64;     // of a name, of a value
inline constexpr size_t kLabelBytesMax = 128;  // of a user, of a feature

// Fills the job's user, feature and tags. The key's own user cannot be overruled; otherwise the
// header x-spillway-metadata (a JSON object of texts) comes first, then the body's `metadata`, then
// its `user`, then the key's feature. Every other member of the two objects is a tag: the first
// kTagsMax, the header's before the body's. Texts that are longer are cut between characters; those
// that a report could not show (no UTF-8, control characters) and tag names that are longer are
// dropped. `names` (may be nullptr) bounds how many different ones a team brings.
// kInvalidRequest when the header is no JSON object.
Result<void> Attribute(const RequestHead& head, Job& job, DistinctNames* names);

// Whom and what the job is for, as scopes match it; views into the job. `model`: nullptr before a
// target is known.
Facts FactsOf(const Job& job, const ModelSpec* model);

}  // namespace spillway

#pragma once

#include <optional>
#include <string_view>

#include "spillway/v1/resources.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// The subject under which a budget of this scope counts a call: empty without `each`, else the
// value of that dimension; nullopt: not at all, also when the call has no value of it. Valid as
// long as `who`.
std::optional<std::string_view> SubjectIn(const v1::Scope& scope, const v1::Attribution& who);

// Whether roll-ups, which keep no tags, can answer for it.
bool NeedsTags(const v1::Scope& scope);

}  // namespace spillway

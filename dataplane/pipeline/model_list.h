#pragma once

#include <string>
#include <string_view>

#include "common/error.h"
#include "dataplane/exchange/caller.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// GET /v1/models and /v1/models/{id}: what this caller may put in "model".
bool IsModelsPath(std::string_view path);
// The JSON answer. kModelNotFound for an id that is not there for this caller. The id may hold '/',
// and may be percent-encoded.
Result<std::string> AnswerModels(std::string_view path, const Caller& caller,
                                 const Snapshot& snapshot);

}  // namespace spillway

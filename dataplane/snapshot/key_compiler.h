#pragma once

#include <string_view>

#include "common/error.h"
#include "dataplane/snapshot/key_index.h"
#include "dataplane/snapshot/tables.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// Serialised Key to KeySpec, against the tables it refers to. Reuses one message: cheap for many
// keys. Not thread-safe; `tables` outlives it.
class KeyCompiler {
 public:
  explicit KeyCompiler(const Tables& tables) : tables_(tables) {}
  // Checks this key alone: its name, its references, its secrets. Refusals: kInvalid.
  Result<CompiledKey> Compile(std::string_view name, std::string_view bytes);

 private:
  Result<void> Check(std::string_view name) const;

  const Tables& tables_;
  v1::Key key_;
};

}  // namespace spillway

#include "controlplane/publish/instructions.h"

#include "common/subjects.h"

namespace spillway {

Result<void> Instructions::Send(v1::Instruction instruction) {
  const int64_t epoch = epoch_.value();
  if (epoch == 0) return Fail(ErrorCode::kUnavailable, "no epoch is claimed");
  instruction.set_epoch(epoch);
  const v1::Signed message =
      signer_.Sign(v1::Signed::PURPOSE_INSTRUCTION, instruction.SerializeAsString());
  return bus_.Publish(subjects::Instruction(instruction.instance()), message.SerializeAsString());
}

}  // namespace spillway

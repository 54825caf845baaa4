#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Every subject and stream of the bus, in one place: the two planes meet only here and in proto/.
// deploy/nats.conf grants permissions on exactly these.
namespace spillway::subjects {

// Stream SPILLWAY_CONTROL: one message per subject. Payload of epoch: decimal "<counter> <nonce>".
inline constexpr std::string_view kControlStream = "SPILLWAY_CONTROL";
inline constexpr std::string_view kEpoch = "spillway.control.epoch";

// Stream SPILLWAY_CONFIG: one message per subject; direct gets allowed. All messages are Signed.
inline constexpr std::string_view kConfigStream = "SPILLWAY_CONFIG";
inline constexpr std::string_view kConfigAll = "spillway.config.>";
inline constexpr std::string_view kLatest = "spillway.config.latest";   // Latest
inline constexpr std::string_view kDeltas = "spillway.config.delta.*";  // push: core subscription
std::string Delta(int64_t revision);     // spillway.config.delta.<rev>
std::string Manifest(int64_t revision);  // spillway.config.full.<rev>.manifest
std::string Chunk(int64_t revision,
                  int index);  // spillway.config.full.<rev>.<i>: raw bytes, proven by the manifest

// Stream SPILLWAY_USAGE: limits retention, discard new. Payload: UsageRun.
inline constexpr std::string_view kUsageStream = "SPILLWAY_USAGE";
inline constexpr std::string_view kUsageAll = "spillway.usage.*";
std::string Usage(std::string_view instance);

// Core NATS, no stream.
inline constexpr std::string_view kFleetAll = "spillway.fleet.*";  // Heartbeat
std::string Fleet(std::string_view instance);
std::string Instruction(
    std::string_view instance);  // spillway.instruct.<instance>: Signed{Instruction}

// Leases and limits, core NATS.
inline constexpr std::string_view kLeaseAll = "spillway.lease.*";  // LeaseRequest
inline constexpr std::string_view kRecall = "spillway.recall";     // Signed{Recall}
inline constexpr std::string_view kGossip = "spillway.gossip";     // Gossip
std::string Lease(std::string_view instance);
std::string Grant(std::string_view instance);  // spillway.grant.<instance>: Signed{LeaseGrant}

// True for what may stand as one token of a subject, so for instance ids: [a-zA-Z0-9_-]{1,64}.
bool IsToken(std::string_view text);

}  // namespace spillway::subjects

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway::config {

// "provider", "model", ... and back; the plural is accepted too ("providers"),
// and a dash for the underscore ("rate-limits").
std::string_view NameOf(v1::Kind kind);
std::optional<v1::Kind> KindNamed(std::string_view name);
const std::vector<v1::Kind>& AllKinds();

v1::Kind KindOf(const v1::Resource& resource);
const std::string& NameOf(const v1::Resource& resource);

// Deterministic serialisation of the inner message, made once when a resource is stored, and back.
v1::Entry ToEntry(const v1::Resource& resource);
Result<v1::Resource> FromEntry(const v1::Entry& entry);

// Field by field, without secrets: a secret appears as its reference; digests do not appear.
std::vector<v1::FieldChange> DiffFields(const v1::Resource& before, const v1::Resource& after);
// What operators may see: sealed bytes, plaintext and digests removed.
v1::Resource Redacted(v1::Resource resource);

}  // namespace spillway::config

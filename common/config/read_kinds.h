#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/config/section.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// The fields of one resource but its name. What is wrong becomes violations of the section.
void Read(Section& section, v1::Provider& provider);
void Read(Section& section, v1::Model& model);
void Read(Section& section, v1::Route& route);
void Read(Section& section, v1::Organization& organization);
void Read(Section& section, v1::Team& team);
void Read(Section& section, v1::User& user);
void Read(Section& section, v1::Key& key);
void Read(Section& section, v1::Budget& budget);
void Read(Section& section, v1::RateLimit& limit);
void Read(Section& section, v1::AlertSink& sink);
void Read(Section& section, v1::PriceBook& book);

// A price with its long contexts and tiers.
void ReadPrice(Section& section, v1::Price& price);
// A number of tokens from 1 on.
std::optional<int64_t> ReadCount(Section& section, std::string_view field);
// 0 stands for the default in the stored form, so a written 0 would not mean what it says.
std::optional<int64_t> ReadTimeout(Section& section, std::string_view field);

// A secret as a file holds it. `plaintext` stays empty when references are not resolved.
struct WrittenSecret {
  std::string reference;
  std::string plaintext;
};
// Absent, or wrong and reported: nullopt.
std::optional<WrittenSecret> ReadSecret(Section& section, std::string_view field);
void ReadSecretInto(Section& section, std::string_view field, v1::Secret& secret);

}  // namespace spillway::config

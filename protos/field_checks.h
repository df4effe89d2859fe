#ifndef EDGETUNE_PROTOS_FIELD_CHECKS_H_
#define EDGETUNE_PROTOS_FIELD_CHECKS_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace edgetune {

// Any real-valued setting without a limit of its own.
inline constexpr double kLargestSetting = 1e9;

// A word off the wire in quotes, cut short: whatever it holds must not reach a
// terminal.
std::string Quoted(std::string_view word);

// One pass over the fields of one document. Each call looks at one field; the
// first that fails decides status(), later ones change nothing, so a check
// reads as a list. Life: construct with the document's name, call, status().
// One thread. Errors: InvalidArgument naming field, value and what is wanted.
class FieldChecks {
 public:
  explicit FieldChecks(std::string_view document) : document_(document) {}

  using Words = std::initializer_list<std::string_view>;

  void Whole(std::string_view field, uint64_t value, uint64_t low,
             uint64_t high);
  // Finite and in [low, high].
  void Real(std::string_view field, double value, double low, double high);
  // Finite and in (0, high].
  void Positive(std::string_view field, double value, double high);
  // One of `known`; a word of `planned` is refused as not in this version.
  void Word(std::string_view field, std::string_view value, Words known,
            Words planned = {});
  void Digest(std::string_view field, std::string_view value);
  // 1 to `limit` characters, none of them a control character.
  void Label(std::string_view field, std::string_view value, size_t limit);
  void Require(bool condition, std::string_view field, std::string_view got,
               std::string_view wanted);
  // Walks all messages below `message`; `path` is "" at the top.
  void NoUnknownFields(const google::protobuf::Message& message,
                       const std::string& path);

  const absl::Status& status() const { return status_; }

 private:
  void Refuse(std::string_view field, std::string_view rest);

  const std::string document_;
  absl::Status status_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_FIELD_CHECKS_H_

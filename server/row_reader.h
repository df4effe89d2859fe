#ifndef EDGETUNE_SERVER_ROW_READER_H_
#define EDGETUNE_SERVER_ROW_READER_H_

// Reading and writing the columns of the coordinator's tables; for the sources
// of this room.

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/blob_store.h"
#include "storage/database.h"

namespace edgetune {

// Reads the columns of one row in order; the first wrong type is remembered.
class RowReader {
 public:
  RowReader(const char* table, const Row& row) : table_(table), row_(row) {}

  std::string Bytes() {
    const Blob* blob = Next<Blob>();
    return blob == nullptr ? "" : blob->bytes;
  }
  // A SHA-256 digest.
  edgetune::Digest Digest() {
    const auto digest = DigestFromBytes(Bytes());
    if (!digest.ok()) Fail();
    return digest.value_or(edgetune::Digest());
  }
  std::string Text() {
    const std::string* text = Next<std::string>();
    return text == nullptr ? "" : *text;
  }
  int64_t Integer() {
    const int64_t* number = Next<int64_t>();
    return number == nullptr ? 0 : *number;
  }
  double Real() {
    const double* number = Next<double>();
    return number == nullptr ? 0 : *number;
  }
  // An integer in [0, most].
  uint32_t Small(int64_t most = 0xffffffff) {
    const int64_t number = Integer();
    if (number < 0 || number > most) Fail();
    return static_cast<uint32_t>(number);
  }
  void Fail() {
    if (!status_.ok()) return;
    status_ = absl::DataLossError(
        absl::StrCat("table ", table_, ": column ", at_,
                     " does not hold what this program writes"));
  }
  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  const T* Next() {
    const T* value = at_ < row_.size() ? std::get_if<T>(&row_[at_]) : nullptr;
    ++at_;
    if (value == nullptr) Fail();
    return value;
  }

  const char* const table_;
  const Row& row_;
  size_t at_ = 0;
  absl::Status status_;
};

inline Value Integer(uint64_t value) { return static_cast<int64_t>(value); }
inline Value Bytes(std::string bytes) { return Blob{std::move(bytes)}; }

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_ROW_READER_H_

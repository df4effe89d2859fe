#ifndef EDGETUNE_MODELS_IO_TOKENIZER_NFC_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_NFC_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace edgetune {

// A text in Unicode's Normalization Form C (UAX #15), and where its bytes come
// from. Bytes that are not UTF-8 stay as they are. A run that begins with an
// ASCII character (or such a byte) and goes on without one is normalised by
// itself, which is the same, and its bytes are told apart only if it did not
// change. Immutable, thread-safe.
class NfcText {
 public:
  // `raw` must outlive it.
  explicit NfcText(std::string_view raw);
  NfcText(const NfcText&) = delete;
  NfcText& operator=(const NfcText&) = delete;

  std::string_view text() const { return text_; }
  // The bytes of the raw text that the bytes [begin, end) of text() stand for:
  // RawBegin(begin) and RawEnd(end).
  size_t RawBegin(size_t begin) const;
  size_t RawEnd(size_t end) const;

 private:
  // A run that changed; ascending, without overlap.
  struct Change {
    size_t begin, end;          // in text()
    size_t raw_begin, raw_end;  // in the raw text
  };
  const Change* Before(size_t at) const;

  std::string buffer_;  // unused where nothing changed
  std::string_view text_;
  std::vector<Change> changes_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_NFC_H_

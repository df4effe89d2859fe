#include "models/io/strict_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace edgetune {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 16;

// Builds the tree and sees every key, of which the library's own parser would
// silently drop the second.
class JsonBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit JsonBuilder(JsonStream* stream) : stream_(stream) {}

  const std::string& problem() const { return problem_; }
  json Take() { return std::move(root_); }

  bool null() override { return Finish(json()); }
  bool boolean(bool value) override { return Finish(json(value)); }
  bool number_integer(number_integer_t value) override {
    return Finish(json(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Finish(json(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Finish(json(value));
  }
  bool string(string_t& value) override {
    return Finish(json(std::move(value)));
  }
  bool binary(binary_t&) override { return false; }  // not in text
  bool start_object(size_t) override { return Enter(json::object()); }
  bool start_array(size_t) override { return Enter(json::array()); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool key(string_t& name) override {
    Frame& frame = frames_.back();
    frame.key = std::move(name);
    if (frame.streamed || frame.seen.insert(frame.key).second) return true;
    problem_ = fmt::format("key '{}' appears twice", frame.key);
    return false;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem_ = fmt::format("not JSON at byte {}", position);
    return false;
  }

 private:
  // A container whose end has not come yet.
  struct Frame {
    json value;
    std::string path;
    bool streamed = false;
    std::string key;
    std::set<std::string> seen;
  };

  bool Enter(json value) {
    if (frames_.size() == kMaxDepth) {
      problem_ = fmt::format("nested deeper than {}", kMaxDepth);
      return false;
    }
    Frame frame{std::move(value), PathOfNext(), false, {}, {}};
    frame.streamed = stream_ != nullptr && stream_->Wants(frame.path);
    frames_.push_back(std::move(frame));
    return true;
  }

  // Empty below arrays, where nothing can be streamed.
  std::string PathOfNext() const {
    if (frames_.empty() || frames_.back().key.empty()) return "";
    const Frame& parent = frames_.back();
    if (frames_.size() == 1) return parent.key;
    return parent.path.empty() ? "" : parent.path + "/" + parent.key;
  }

  bool Leave() {
    json value = std::move(frames_.back().value);
    frames_.pop_back();
    return Finish(std::move(value));
  }

  bool Finish(json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Frame& frame = frames_.back();
    if (frame.streamed) {
      stream_->Take(frame.path, std::move(frame.key), std::move(value));
      frame.key.clear();
    } else if (frame.value.is_array()) {
      frame.value.push_back(std::move(value));
    } else {
      frame.value[frame.key] = std::move(value);
    }
    return true;
  }

  JsonStream* const stream_;  // may be null
  std::vector<Frame> frames_;
  json root_;
  std::string problem_;
};

absl::StatusOr<json> ParseWith(std::string_view text, std::string_view what,
                               JsonStream* stream) {
  JsonBuilder builder(stream);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::DataLossError(fmt::format("{}: {}", what, builder.problem()));
  }
  return builder.Take();
}

}  // namespace

std::string JsonFileText(const nlohmann::ordered_json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<json> ParseStrictJson(std::string_view text,
                                     std::string_view what) {
  return ParseWith(text, what, nullptr);
}

absl::StatusOr<json> ParseStrictJson(std::string_view text,
                                     std::string_view what,
                                     JsonStream& stream) {
  return ParseWith(text, what, &stream);
}

}  // namespace edgetune

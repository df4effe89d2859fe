#ifndef EDGETUNE_CONFIG_SETTINGS_H_
#define EDGETUNE_CONFIG_SETTINGS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "config/run_file.h"
#include "config/toml_reader.h"

namespace edgetune {

// The keys that one kind of file knows, each bound to the member it sets. Life:
// declare every key, Apply the sources from the lowest to the highest, then
// Origins. The members must outlive it; until Apply they hold the defaults. One
// thread. Errors: InvalidArgument that begins with where the value stands.
class Settings {
 public:
  void Flag(const std::string& key, bool* to);
  void Whole(const std::string& key, int64_t* to, int64_t low, int64_t high);
  // Finite and in [low, high], or in (low, high] when `above`.
  void Real(const std::string& key, double* to, double low, double high,
            bool above = false);
  void Text(const std::string& key, std::string* to);
  // Text that may be empty.
  void AnyText(const std::string& key, std::string* to);
  // Words of `planned` are refused as not in this version.
  void Word(const std::string& key, std::string* to,
            std::vector<std::string> known,
            std::vector<std::string> planned = {});
  // Any texts, each once; kept in the order of their bytes.
  void Texts(const std::string& key, std::vector<std::string>* to);
  void Words(const std::string& key, std::vector<std::string>* to,
             std::vector<std::string> known);
  // Text such as "450MB" (ParseBytes), or "0" for none.
  void Bytes(const std::string& key, uint64_t* to, uint64_t low, uint64_t high);
  void Time(const std::string& key, absl::Duration* to, absl::Duration low,
            absl::Duration high);
  // Keys and whole sections that later versions will know.
  void Planned(std::vector<std::string> keys) { planned_ = std::move(keys); }

  absl::Status Apply(const std::vector<SettingEntry>& entries);

  // In order of declaration.
  std::vector<ConfigOrigin> Origins() const;
  // "default" unless a source set it.
  const std::string& OriginOf(const std::string& key) const;

 private:
  struct Row {
    std::string key;
    std::function<absl::Status(const SettingEntry&)> set;
    std::function<std::string()> show;
    std::string origin = "default";
  };

  absl::Status UnknownKey(const SettingEntry& entry) const;

  std::vector<Row> rows_;
  std::vector<std::string> planned_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CONFIG_SETTINGS_H_

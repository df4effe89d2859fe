#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_

// Names inside a kit and the rules of its texts, for the sources of this room.

#include <optional>
#include <string>
#include <string_view>

namespace edgetune {

inline constexpr char kKitFile[] = "kit.json";
inline constexpr char kCaFile[] = "ca.pem";
inline constexpr char kCertificateFile[] = "certificate.pem";
inline constexpr char kKeyFile[] = "key.pem";
inline constexpr char kRoundKeyFile[] = "round.key.pem";
inline constexpr char kReleaseKeyFile[] = "release.key.pem";
inline constexpr int kKitVersion = 1;

bool IsPartyId(std::string_view id);  // [a-z0-9._-]{1,64}, not "." or ".."

// The host of "host:port" or "[v6]:port"; nullopt when it is neither.
std::optional<std::string> HostOf(std::string_view address);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_

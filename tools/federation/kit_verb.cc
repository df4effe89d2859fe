#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/status.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/kit.h"
#include "privacy/identity/renewal.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct KitOptions {
  std::string kit;
  std::string enroll_kit;
  int64_t days = 0;  // 0: as provisioning does
};

std::string EndText(const KitStatus& kit, absl::Time now) {
  const std::string date = absl::FormatTime("%Y-%m-%d %H:%M UTC", kit.not_after,
                                            absl::UTCTimeZone());
  const int64_t days = absl::ToInt64Hours(kit.not_after - now) / 24;
  return now < kit.not_after ? fmt::format("{}, in {} days", date, days)
                             : fmt::format("{}: it has expired", date);
}

absl::Status Report(const KitOptions& options, const KitStatus& kit,
                    absl::Time now, const Output& output) {
  const std::string role(PartyRoleName(kit.identity.role));
  return output.Finish(
      {{"kit", options.kit},
       {"role", role},
       {"id", kit.identity.id},
       {"server_address", kit.server_address},
       {"enroll_address", kit.enroll_address},
       {"certificate_expires_ms", absl::ToUnixMillis(kit.not_after)},
       {"expired", now >= kit.not_after}},
      fmt::format(
          "{}\n"
          "  role              {} ({})\n"
          "  coordinator       {}\n"
          "  enrolment         {}\n"
          "  certificate ends  {}\n",
          options.kit, role, kit.identity.id, kit.server_address,
          kit.enroll_address.empty() ? "none is known" : kit.enroll_address,
          EndText(kit, now)));
}

absl::Status Show(const KitOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const KitStatus kit, ReadKitStatus(options.kit));
  return Report(options, kit, absl::Now(), output);
}

absl::Status Renew(const KitOptions& options, const Output& output) {
  const absl::Time now = absl::Now();
  // Not its certificate: a damaged one is a reason to renew.
  EDGETUNE_ASSIGN_OR_RETURN(const KitFacts facts, ReadKitFacts(options.kit));
  absl::Duration life = absl::Hours(24 * options.days);
  if (options.days == 0) {
    life = facts.identity.role == PartyRole::kDevice ? kDeviceCertificateLife
                                                     : kServerCertificateLife;
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      const KitStatus kit,
      RenewKit(options.kit, options.enroll_kit, life, now));
  return Report(options, kit, now, output);
}

}  // namespace

void AddKitVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group =
      AddGroup(app, "kit", "A party's kit: show it, renew its certificate");
  const Output& output = invocation.output;
  auto options = std::make_shared<KitOptions>();
  CLI::App* show = AddVerb(
      *group, invocation, "show", "Whose it is and when its certificate ends",
      [options, &output] { return Show(*options, output); });
  CLI::App* renew =
      AddVerb(*group, invocation, "renew",
              "Give it a new TLS key and certificate; running programs notice",
              [options, &output] { return Renew(*options, output); });
  for (CLI::App* verb : {show, renew}) {
    verb->add_option("kit", options->kit, "Directory of the kit")->required();
  }
  renew
      ->add_option("--enroll-kit", options->enroll_kit,
                   "Directory of the enrolment kit, which holds the CA's key")
      ->required();
  renew
      ->add_option("--days", options->days,
                   "How long the certificate is good; default: 365, for a "
                   "device 30")
      ->check(CLI::Range(1, 3650));
}

}  // namespace edgetune

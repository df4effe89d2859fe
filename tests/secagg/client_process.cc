#include "tests/secagg/client_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune::testing {
namespace {

void Write(const std::string& path, const std::string& bytes) {
  EDGETUNE_CHECK(WriteFileAtomically(path, bytes).ok());
}

void WriteParty(const TlsFleet& fleet, uint32_t index,
                const std::string& directory) {
  const TlsFleet::Member& member = fleet.members[index];
  EDGETUNE_CHECK(MakeDirectories(directory).ok());
  Write(directory + "/name", member.name);
  Write(directory + "/ca.pem", member.kit.ca_pem);
  Write(directory + "/certificate.pem", member.kit.certificate_pem);
  Write(directory + "/key.pem", member.kit.key_pem);
  Write(directory + "/identity.pem", member.identity.ToPem().value());
  const TrustedKeys& trusted = fleet.keys.trusted;
  Write(directory + "/release.pem", trusted.release[0].ToPem());
  Write(directory + "/round.pem", trusted.round[0].ToPem());
  Write(directory + "/roster.pem", trusted.roster[0].ToPem());
}

std::string Read(const std::string& directory, const char* name) {
  return ReadFile(directory + "/" + name).value();
}

PublicKey ReadKey(const std::string& directory, const char* name) {
  return PublicKey::FromPem(Read(directory, name)).value();
}

}  // namespace

ClientProcess::ClientProcess(const TlsFleet& fleet, uint32_t member,
                             const std::string& address,
                             const std::string& directory) {
  WriteParty(fleet, member, directory);
  std::string program = EDGETUNE_BINARY_DIR "/tests/secagg_client_process";
  std::string target = address, home = directory;
  char* arguments[] = {program.data(), target.data(), home.data(), nullptr};
  EDGETUNE_CHECK(posix_spawn(&pid_, program.c_str(), nullptr, nullptr,
                             arguments, environ) == 0);
}

ClientProcess::~ClientProcess() { Kill(); }

void ClientProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
}

RealClient::Party ReadParty(const std::string& directory,
                            SigningKey* identity) {
  RealClient::Party party;
  party.kit.identity = {PartyRole::kDevice, Read(directory, "name")};
  party.kit.ca_pem = Read(directory, "ca.pem");
  party.kit.certificate_pem = Read(directory, "certificate.pem");
  party.kit.key_pem = Read(directory, "key.pem");
  party.trusted.release = {ReadKey(directory, "release.pem")};
  party.trusted.round = {ReadKey(directory, "round.pem")};
  party.trusted.roster = {ReadKey(directory, "roster.pem")};
  party.identity = identity;
  return party;
}

SigningKey ReadIdentity(const std::string& directory) {
  return SigningKey::FromPem(Read(directory, "identity.pem")).value();
}

}  // namespace edgetune::testing

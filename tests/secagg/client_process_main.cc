// secagg_client_process ADDRESS DIRECTORY: a RealClient until it is killed.

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/secagg/client_process.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  edgetune::SigningKey identity = edgetune::testing::ReadIdentity(argv[2]);
  edgetune::testing::RealClient client(
      edgetune::testing::ReadParty(argv[2], &identity), argv[1], argv[2]);
  client.Start();
  while (true) pause();
}

// The one door of libedgetune_mpi.so: a Post over MPI. Level of threads:
// MPI_THREAD_SERIALIZED, for rank 0 joins on its main thread and talks on
// another; never two at a time. Every transfer is non-blocking, so a rank that
// is gone holds up nobody who looks at the clock.

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <climits>
#include <cstdlib>
#include <cstring>
#include <list>
#include <string>
#include <utility>

#include "simulations/mpi/post.h"

namespace edgetune {
namespace {

constexpr int kTag = 1;

class MpiPost final : public Post {
 public:
  // What MPI_Init_thread gave is not enough: false.
  bool Join(std::string* error) {
    int provided = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) !=
        MPI_SUCCESS) {
      *error = "MPI_Init_thread failed";
      return false;
    }
    if (provided < MPI_THREAD_SERIALIZED) {
      *error = "this MPI has no MPI_THREAD_SERIALIZED";
      return false;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &here);
    MPI_Comm_size(here, &neighbours_);
    MPI_Comm_free(&here);
    char name[MPI_MAX_PROCESSOR_NAME] = {};
    int length = 0;
    MPI_Get_processor_name(name, &length);
    host_.assign(name, static_cast<size_t>(length));
    return true;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int neighbours() const override { return neighbours_; }
  std::string host() const override { return host_; }

  void Send(int to, std::string bytes) override {
    if (bytes.size() > INT_MAX) {
      fault_ = "a letter of 2 GiB or more";
      return;
    }
    Transfer& letter = sent_.emplace_back();
    letter.bytes = std::move(bytes);
    Check(MPI_Isend(letter.bytes.data(), static_cast<int>(letter.bytes.size()),
                    MPI_BYTE, to, kTag, MPI_COMM_WORLD, &letter.request));
  }

  std::optional<Letter> Receive() override {
    std::erase_if(sent_, [this](Transfer& letter) { return IsDone(letter); });
    BeginToReceive();
    // Of one rank the first letter first, though a later one may be shorter.
    for (auto at = coming_.begin(); at != coming_.end(); ++at) {
      if (!IsFirstOfItsRank(at) || !IsDone(*at)) continue;
      Letter letter{.from = at->from, .bytes = std::move(at->bytes)};
      coming_.erase(at);
      return letter;
    }
    return std::nullopt;
  }

  bool busy() const override { return !sent_.empty() || !coming_.empty(); }
  std::string fault() const override { return fault_; }

  void Leave() override { MPI_Finalize(); }
  [[noreturn]] void Abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  struct Transfer {
    int from = 0;
    std::string bytes;  // stays where it is until the request is done
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void Check(int code) {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    fault_.assign(text, static_cast<size_t>(length));
  }

  bool IsDone(Transfer& letter) {
    int done = 0;
    Check(MPI_Test(&letter.request, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }

  bool IsFirstOfItsRank(std::list<Transfer>::const_iterator letter) const {
    auto at = coming_.begin();
    while (at->from != letter->from) ++at;
    return at == letter;
  }

  void BeginToReceive() {
    while (true) {
      int found = 0;
      MPI_Message message;
      MPI_Status status;
      Check(MPI_Improbe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &found, &message,
                        &status));
      if (found == 0) return;
      int size = 0;
      MPI_Get_count(&status, MPI_BYTE, &size);
      Transfer& letter = coming_.emplace_back();
      letter.from = status.MPI_SOURCE;
      letter.bytes.resize(static_cast<size_t>(size));
      Check(MPI_Imrecv(letter.bytes.data(), size, MPI_BYTE, &message,
                       &letter.request));
    }
  }

  int rank_ = 0, size_ = 1, neighbours_ = 1;
  std::string host_, fault_;
  std::list<Transfer> sent_, coming_;
};

}  // namespace
}  // namespace edgetune

extern "C" __attribute__((visibility("default"))) edgetune::Post* edgetune_post(
    const char* build_id, const char** error) {
  static std::string why;
  static edgetune::MpiPost post;
  if (std::strcmp(build_id, EDGETUNE_POST_BUILD_ID) != 0) why = "build";
  if (why.empty() && post.Join(&why)) return &post;
  *error = why.c_str();
  return nullptr;
}

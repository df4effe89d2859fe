#ifndef EDGETUNE_TOOLS_ARCHIVE_READER_H_
#define EDGETUNE_TOOLS_ARCHIVE_READER_H_

#include <archive.h>

#include <memory>

namespace edgetune {

struct ArchiveCloser {
  void operator()(archive* a) const { archive_read_free(a); }
};
// What archive_read_new() made, with its errors and its rules; one thread.
using ArchiveReader = std::unique_ptr<archive, ArchiveCloser>;

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_ARCHIVE_READER_H_

#include "client/grpc/device_stream.h"

#include "client/grpc/channel.h"
#include "protos/grpc_setup.h"

namespace edgetune {
namespace {

constexpr size_t kMaxQueued = 1024;
// Longer than a connection may live (10 min and 60 s of grace), so that the
// server ends streams, not the clock.
constexpr absl::Duration kStreamLife = absl::Minutes(15);

}  // namespace

void DeviceStream::Begin(v1::Federation::Stub* stub) {
  SetDeadline(context_, kStreamLife);
  stub->async()->Participate(&context_, this);
  // Reads and writes are started from outside reactions until Release.
  AddHold();
  StartRead(&incoming_);
  StartCall();
}

DeviceStream::Event DeviceStream::Next() {
  if (accepted_ && !told_up_) {
    told_up_ = true;
    return Event::kUp;
  }
  if (has_message_) {
    has_message_ = false;
    return Event::kMessage;
  }
  return done_ ? Event::kDone : Event::kNone;
}

void DeviceStream::ReadOn() {
  incoming_.Clear();
  if (!broken_) StartRead(&incoming_);
}

void DeviceStream::Send(const v1::ClientMessage& message) {
  if (!accepted_ || broken_) return;
  if (outgoing_.size() > kMaxQueued) {
    context_.TryCancel();
    return;
  }
  outgoing_.push_back(message);
  if (writing_) return;
  writing_ = true;
  StartWrite(&outgoing_.front());
}

// Lets gRPC call OnDone. The lock is held.
void DeviceStream::Release() {
  if (broken_) return;
  broken_ = true;
  RemoveHold();
}

void DeviceStream::OnReadInitialMetadataDone(bool ok) {
  std::lock_guard<std::mutex> lock(*mu_);
  // A refusal also brings metadata; only an open stream brings this key.
  if (ok && context_.GetServerInitialMetadata().count(kStreamOpenKey) > 0) {
    accepted_ = true;
  }
  changed_->notify_all();
}

void DeviceStream::OnReadDone(bool ok) {
  std::lock_guard<std::mutex> lock(*mu_);
  if (ok) {
    accepted_ = true;
    has_message_ = true;
  } else {
    Release();
  }
  changed_->notify_all();
}

void DeviceStream::OnWriteDone(bool ok) {
  std::lock_guard<std::mutex> lock(*mu_);
  writing_ = false;
  outgoing_.pop_front();
  if (!ok) {
    // The pending or next read fails too, and tells the owner.
    outgoing_.clear();
    return;
  }
  if (outgoing_.empty() || broken_) return;
  writing_ = true;
  StartWrite(&outgoing_.front());
}

void DeviceStream::OnDone(const grpc::Status& status) {
  std::lock_guard<std::mutex> lock(*mu_);
  status_ = status;
  done_ = true;
  changed_->notify_all();
}

}  // namespace edgetune

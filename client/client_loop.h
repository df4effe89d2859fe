#ifndef EDGETUNE_CLIENT_CLIENT_LOOP_H_
#define EDGETUNE_CLIENT_CLIENT_LOOP_H_

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "client/assignment.h"
#include "client/client.h"
#include "client/client_session.h"
#include "client/device_policy.h"
#include "client/mailbox.h"
#include "client/masking_store.h"
#include "client/model_cache.h"
#include "client/participation.h"
#include "client/session_store.h"
#include "client/status_file.h"
#include "client/work_thread.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/secagg/client.h"

namespace edgetune {

// Client's shell: one loop turns what the transport and the work thread say
// into events of ClientSession and performs its actions. The transport's
// thread and the work thread only write to the mailbox; everything else
// belongs to Run's thread but for the atomics. RequestStop is
// async-signal-safe.
class ClientLoop final : public Client, private Transport::Listener {
 public:
  ClientLoop(Dependencies dependencies, Options options);

  absl::Status Run() override;
  void RequestStop() override;
  absl::Status Start() override;
  void Step() override;
  absl::Time NextTimer() const override;
  bool HasEnded() const override { return result_.has_value(); }
  absl::Status Leave() override;

 private:
  using Event = ClientSession::Event;
  using Action = ClientSession::Action;

  void OnUp() override;
  void OnMessage(const v1::ServerMessage& message) override;
  void OnDown(const absl::Status& status) override;

  // client_loop.cc: news.
  BaseModels* Models();
  absl::Status Restore();
  void Handle(const ClientEvent& event);
  void HandleMessage(const v1::ServerMessage& message);
  void HandleOutcome(const v1::Outcome& outcome);
  void HandleDown(const absl::Status& status);
  void CheckTimers();
  absl::Duration TimeToNextTimer() const;
  PolicyAnswer Policy() const;
  bool Working() const;
  void Feed(Event event);
  void DrainEvents();
  void Finish(absl::Status status);
  void FinishAfterAnswer(absl::Status status);

  // client_actions.cc: what the session decided.
  void Perform(const Action& action);
  void CheckIn();
  void Wait();
  absl::Status Verify(const SessionId& id);
  void Accept();
  void Decline();
  void End(const SessionId& id, ClientSession::Ending ending);
  void EndOnce(const SessionId& id, ClientSession::Ending ending);
  void StartWork(WorkStep step, absl::Status (Participation::*method)());
  void SayResume();
  void SendReport();
  void ShowWaiting(const std::string& reason);
  void ShowStatus(const std::string& detail);

  // client_masking.cc: the session of secure aggregation.
  void StartMasking();
  absl::Status TryStartMasking();
  void HandleSecAgg(const v1::ServerSecAgg& message);
  void PerformMasking(secagg::SecAggClient::Actions actions);
  absl::Status PerformMasking(secagg::SecAggClient::Action& action);
  void AbortMasking(const absl::Status& status);
  void GiveUpMaskingIfDue();
  void RepeatMasking();
  void MaskedSent();

  const Dependencies dependencies_;
  const Options options_;
  Mailbox mailbox_;
  std::atomic<bool> stop_{false};  // RequestStop
  StopToken work_stop_{false};     // the step in progress
  SessionStore sessions_;
  MaskingStore masking_store_;
  OwnVectorStore own_vectors_;
  std::optional<ModelCache> own_models_;
  DataCache data_;
  const ReadData read_data_;
  std::optional<Unspent> unspent_;
  const Workshop workshop_;

  ClientSession session_;
  std::deque<Event> follow_ups_;  // of actions that end at once
  bool feeding_ = false;          // DrainEvents is under way
  v1::Assignment incoming_;       // the newest that is not the session's own
  std::optional<v1::Report> stored_report_;  // of a restored session
  bool restored_ = false;
  std::unique_ptr<Participation> participation_;
  SystemRandom system_random_;
  RandomSource* const random_;
  std::optional<secagg::SecAggClient> masking_;
  absl::Time mask_until_ = absl::InfiniteFuture();
  bool masking_failed_ = false;  // while the masked update was being sent
  std::optional<WorkThread> own_work_;
  WorkRunner* work_ = nullptr;  // from Start to Leave

  bool up_ = false;
  int failed_connections_ = 0;  // in a row
  absl::Time hello_at_ = absl::InfiniteFuture();
  absl::Time not_before_ = absl::InfinitePast();  // after a decline
  absl::Duration come_back_after_;
  std::string come_back_reason_;
  absl::Status failure_;  // of the step that failed last
  bool halted_ = false;   // failure_ is the policy's
  std::string outcome_detail_;
  std::set<std::string> told_runs_;  // whose notice was given
  DeviceStatus status_;
  // Why Run will return once the coordinator has answered what was declined:
  // closing at once would lose the message.
  std::optional<absl::Status> leaving_;
  absl::Time leave_by_ = absl::InfiniteFuture();
  std::optional<absl::Status> result_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_CLIENT_LOOP_H_

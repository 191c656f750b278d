#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <fastpool/detail/operation.h>

#include "client/transfer.h"
#include "driver/event_loop.h"
#include "driver/loop_operation.h"

namespace fastpool::client {

/// Drives one operation of a transfer in an event loop, and calls its completion when that has a result. Destroying it ends the
/// wait without a call. Used by the loop's thread.
class LoopTask final : public driver::LoopOperation {
 public:
  /// \param transfer outlives the task, or its part().
  LoopTask(std::shared_ptr<driver::EventLoop> loop, Transfer& transfer, detail::Completion completion) noexcept
      : LoopOperation(std::move(loop), transfer.call().timeouts), transfer_(&transfer), completion_(completion) {}
  LoopTask(const LoopTask&) = delete;
  LoopTask& operator=(const LoopTask&) = delete;
  ~LoopTask() override { part(); }

  /// Advances the operation until it would wait. An immediate result is reported in the loop's next turn.
  /// \returns false if the loop is closed: the result is there, and the completion is not called.
  [[nodiscard]] bool start() {
    set_deadline(transfer_->deadline());
    if (transfer_->may_cancel()) {
      wakes_ = true;
      transfer_->cancellation().wake(&external_waker());
    }
    result_ = transfer_->advance(*this);
    return !result_ || tell_later();
  }
  /// The same for one that could not be begun.
  [[nodiscard]] bool start_failed(Error error) {
    result_ = std::move(error);
    return tell_later();
  }
  /// Once it has one.
  [[nodiscard]] Result<bool> take_result() {
    return *std::exchange(result_, std::nullopt);  // NOLINT(bugprone-unchecked-optional-access)
  }
  /// Refers to the transfer no more. After the result, or to end without one.
  void part() noexcept {
    // Before forget(): no cancel() posts it from then on.
    if (std::exchange(wakes_, false)) transfer_->cancellation().wake(nullptr);
    transfer_ = nullptr;
    forget();
  }

 private:
  void step() noexcept override {
    if (!result_) result_ = transfer_->advance(*this);
    if (result_) tell();
  }
  void orphaned() noexcept override {
    if (!result_) result_ = Error::make(ErrorCode::cancelled, Phase::none, "the loop was closed");
    tell();
  }
  [[nodiscard]] bool tell_later() {
    part();
    return put_off();
  }
  /// Its last act: the owner may destroy it.
  void tell() noexcept {
    part();
    completion_.done(completion_.context);
  }

  Transfer* transfer_;
  const detail::Completion completion_;
  bool wakes_ = false;  // the transfer's cancel() wakes it
  std::optional<Result<bool>> result_;
};

}  // namespace fastpool::client

// The form of a request: all of its message but the values of its tensors. The requests of a
// training loop have one form; their plan is cached under it.
#ifndef LOSSD_PROTO_CODEC_REQUEST_FORM_H_
#define LOSSD_PROTO_CODEC_REQUEST_FORM_H_

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "core/batch.h"
#include "core/problem/plan.h"
#include "proto/codec/recent.h"
#include "proto/codec/wire_write.h"

namespace lossd {

/// Immutable, so safe to share.
class RequestForm {
 public:
  /// The form of an encoded v1.EvaluateRequest whose plan is `plan`. Null if its tensors are not
  /// plain raw bytes, a field is repeated or unknown, or the bytes beside the raw ones are too
  /// many.
  static std::shared_ptr<const RequestForm> Of(absl::string_view message,
                                               std::shared_ptr<const Plan> plan);

  /// Whether `message` is of this form. The form includes tags and lengths, so that a message that
  /// fits would parse to the same request but for the tensors' values.
  [[nodiscard]] bool Fits(absl::string_view message) const;

  /// Views into `message`. REQUIRES: Fits(message).
  [[nodiscard]] Operands OperandsOf(absl::string_view message) const;

  [[nodiscard]] const std::shared_ptr<const Plan>& plan() const { return plan_; }
  [[nodiscard]] const ResponseFrame& frame() const { return frame_; }
  /// Bytes of a message of this form.
  [[nodiscard]] size_t size() const { return size_; }

 private:
  struct Range {
    size_t begin = 0;
    size_t size = 0;
  };

  RequestForm() = default;

  std::shared_ptr<const Plan> plan_;
  ResponseFrame frame_;
  size_t size_ = 0;
  std::string rest_;  // The message without its raw bytes.
  // Raw bytes of the tensors, in the order of the message. The range of an absent tensor is empty.
  std::array<Range, 3> raw_;
  Range input_;
  Range target_;
  Range grad_output_;
};

/// A cache of recent forms. Thread-safe.
class RequestForms {
 public:
  /// The form of `message`; null if it is not cached.
  [[nodiscard]] std::shared_ptr<const RequestForm> Find(absl::string_view message);
  /// Caches `form`, which may replace another one. Null is ignored.
  void Keep(std::shared_ptr<const RequestForm> form);

 private:
  Recent<RequestForm> recent_;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_REQUEST_FORM_H_

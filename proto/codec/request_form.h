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

/// Immutable, safe to share.
class RequestForm {
 public:
  /// The form of an encoded v1.EvaluateRequest that gave `plan`; null where its tensors are not
  /// plain raw bytes, a field comes twice or is unknown, or what is not raw bytes is too long.
  static std::shared_ptr<const RequestForm> Of(absl::string_view message,
                                               std::shared_ptr<const Plan> plan);

  /// Whether `message` is of this form. Tags and lengths are part of it, so that what parsing would
  /// find is the same but for the values.
  [[nodiscard]] bool Fits(absl::string_view message) const;

  /// Views into `message`. REQUIRES: it fits.
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
  // In the order of the message; those of a tensor that is not there are empty.
  std::array<Range, 3> raw_;
  Range input_;
  Range target_;
  Range grad_output_;
};

/// The forms of late. Thread-safe.
class RequestForms {
 public:
  /// The form that `message` has; null where it is not among those kept.
  [[nodiscard]] std::shared_ptr<const RequestForm> Find(absl::string_view message);
  /// In the place of another, perhaps. Null is not kept.
  void Keep(std::shared_ptr<const RequestForm> form);

 private:
  Recent<RequestForm> recent_;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_REQUEST_FORM_H_
